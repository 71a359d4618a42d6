"""What README says is so: its code runs, its tables are the code's own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click

from backscroll import tools
from backscroll.cli import commands
from backscroll.config import PREFIX, Settings, load_settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if containing in text)


def test_the_python_sample_runs(tmp_path: Path) -> None:
    sample = block("python", "record_run")
    done = subprocess.run(
        [sys.executable, "-c", sample], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "#1" in done.stdout
    assert "wall clock" in done.stdout
    assert (tmp_path / "notes.db").exists()


def test_the_tool_table_lists_every_tool_in_order() -> None:
    section = README.split("## The tools")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [tool.name for tool in tools.TOOLS]


def test_the_command_list_names_every_command() -> None:
    section = README.split("## The command line")[1].split(":")[0]
    assert isinstance(commands, click.Group)
    assert sorted(re.findall(r"`(\w+)`", section)) == sorted(commands.commands)


def test_the_settings_table_names_settings_that_exist() -> None:
    section = README.split("## Settings")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`_?([A-Z_]+)`", row)]
    assert len(named) >= 10
    for name in named:
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields, name


def test_the_settings_table_tells_the_true_defaults() -> None:
    settings = load_settings()
    assert (settings.user, settings.profile, settings.synchronous) == ("local", "full", "FULL")
    assert (settings.store_media, settings.store_tool_messages, settings.store_history_messages) == (True, True, False)
    assert settings.enable_session_summaries is False
    assert settings.sends_text_to() is None


def test_the_example_configuration_is_one_that_settings_know() -> None:
    (server,) = json.loads((ROOT / "mcp.json.example").read_text())["mcpServers"].values()
    assert (server["command"], server["args"]) == ("backscroll", ["serve"])
    for name in server["env"]:
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields


def test_the_changelog_has_an_entry_for_what_is_not_released() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
