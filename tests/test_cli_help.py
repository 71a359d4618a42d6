"""Help: every command has some, with an example, and docs/help.md is what the commands say."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from backscroll import __version__
from backscroll.cli import commands
from backscroll.cli.page import help_page

COMMANDS = list(commands.commands)
PAGE = Path(__file__).parents[1] / "docs" / "help.md"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_explains_itself_with_an_example(command: str, flag: str) -> None:
    result = CliRunner().invoke(commands, [command, flag])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"backscroll {command}" in result.output.split("Examples:")[1]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("demo", "copy")])
def test_every_command_takes_the_database_and_the_user(command: str) -> None:
    names = {name for parameter in commands.commands[command].params for name in parameter.opts}
    assert {"--db", "--user"} <= names


@pytest.mark.parametrize("command", ["search", "list", "show", "calls", "stats"])
def test_every_reading_command_has_json(command: str) -> None:
    assert "--json" in {name for parameter in commands.commands[command].params for name in parameter.opts}


def test_the_list_of_commands_tells_each_whole() -> None:
    result = CliRunner().invoke(commands, ["-h"])
    assert result.exit_code == 0
    assert "..." not in result.output.split("Commands:")[1].split("Examples:")[0]


def test_every_example_is_a_command_that_exists() -> None:
    for command in (commands, *commands.commands.values()):
        for line in (command.epilog or "").splitlines():
            words = line.split()
            if words[:1] == ["backscroll"]:
                assert words[1] in COMMANDS


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(commands, ["--version"]).output == f"backscroll {__version__}\n"


def test_the_help_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == help_page(), (
        "Write it anew: python -m backscroll.cli.page > docs/help.md"
    )


def test_a_wrong_option_is_a_matter_of_usage() -> None:
    for arguments in (
        ["--bogus"],
        ["bogus"],
        ["show"],
        ["search", "-n", "0"],
        ["import"],
        ["list", "--limit", "x"],
    ):
        result = CliRunner().invoke(commands, arguments)
        assert result.exit_code == 2, arguments
        assert "Usage:" in result.output
