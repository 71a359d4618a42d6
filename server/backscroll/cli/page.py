"""docs/help.md, written from the commands themselves: `python -m backscroll.cli.page > docs/help.md`."""

from typing import Any

import click

from . import commands

_WIDTHS: dict[str, Any] = {"terminal_width": 100, "max_content_width": 100}
_HELP = commands.context_settings["help_option_names"]


def help_page() -> str:
    """Every command's help, as Markdown."""
    root = click.Context(commands, info_name="backscroll", help_option_names=_HELP, **_WIDTHS)
    parts = ["# Commands\n\nWritten by `python -m backscroll.cli.page`; a test compares it.\n"]
    parts.append(_section("backscroll", root))
    for name in commands.list_commands(root):
        command = commands.get_command(root, name)
        assert command is not None
        context = click.Context(command, root, info_name=name, **_WIDTHS)
        parts.append(_section(f"backscroll {name}", context))
        if isinstance(command, click.Group):
            for part, below in command.commands.items():
                within = click.Context(below, context, info_name=part, **_WIDTHS)
                parts.append(_section(f"backscroll {name} {part}", within))
    return "\n".join(parts)


def _section(title: str, context: click.Context) -> str:
    text = "\n".join(line.rstrip() for line in context.get_help().splitlines())
    return f"## {title}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    click.echo(help_page(), nl=False)
