"""docs/help.md, written from the commands themselves: `python -m backscroll.cli.page > docs/help.md`."""

import click

from . import cli

_WIDTH = 100


def help_page() -> str:
    """Every command's help, as Markdown."""
    root = click.Context(cli, info_name="backscroll", max_content_width=_WIDTH, terminal_width=_WIDTH)
    parts = ["# Commands\n\nWritten by `python -m backscroll.cli.page`; a test compares it.\n"]
    parts.append(_section("backscroll", root))
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(
            command, root, info_name=name, max_content_width=_WIDTH, terminal_width=_WIDTH,
            help_option_names=["-h", "--help"],
        )  # fmt: skip
        parts.append(_section(f"backscroll {name}", context))
    return "\n".join(parts)


def _section(title: str, context: click.Context) -> str:
    text = "\n".join(line.rstrip() for line in context.get_help().splitlines())
    return f"## {title}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    click.echo(help_page(), nl=False)
