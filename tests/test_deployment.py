"""What the files for operators name is there: settings, flags, files; and their table tells the true defaults."""

import re
import shlex
from pathlib import Path

import pytest

from backscroll.cli import commands
from backscroll.config import PREFIX, Settings

ROOT = Path(__file__).parents[1]
FILES = ("Containerfile", "compose.yaml", "deploy/Caddyfile", "deploy/nginx.conf", "deploy/backscroll.service")
DOCS = "docs/deployment.md"
OWN = {"BACKSCROLL_HOST", "BACKSCROLL_UPSTREAM", "BACKSCROLL_TOKEN"}
"""Names that these files pass among themselves."""


@pytest.mark.parametrize("name", [*FILES, DOCS])
def test_variables_are_settings(name: str) -> None:
    for variable in set(re.findall(r"BACKSCROLL_[A-Z_]+\b", (ROOT / name).read_text())) - OWN:
        assert variable.removeprefix(PREFIX).lower() in Settings.model_fields, variable


def _settings_of_table() -> dict[str, str]:
    """Each setting that the table names, and the cell of its default."""
    section = (ROOT / DOCS).read_text().split("## Settings")[1].split("\n## ")[0]
    found = {}
    for names, default in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE):
        for name in re.findall(r"`(?:BACKSCROLL)?_([A-Z_]+)`", names):
            found[name.lower()] = default
    return found


def test_the_table_names_every_setting_of_a_service() -> None:
    of_a_service = {name for name in Settings.model_fields if name.startswith(("http_", "jwt_", "postgres_"))}
    assert of_a_service | {"multi_user", "jwks", "busy_timeout_s"} == set(_settings_of_table())


def test_the_table_tells_the_true_defaults() -> None:
    for name, told in _settings_of_table().items():
        default = Settings.model_fields[name].default
        if isinstance(default, bool):
            assert str(default).lower() == told
        elif isinstance(default, int | float):
            forms = {f"{default:g}", str(default), f"{default / (1 << 20):g} MiB", f"{default / (1 << 10):g} KiB"}
            assert forms & set(re.split(r"[,;] ", told)), (name, default, told)
        elif default:
            assert default in re.split(r"[,;] ", told), (name, default, told)


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml", "deploy/backscroll.service"])
def test_the_server_is_started_with_flags_that_it_has(name: str) -> None:
    text = (ROOT / name).read_text().replace("${WORKERS:-2}", "2")
    started = re.findall(r'(?:CMD|command:) (\["serve".*?\])', text) or re.findall(r"backscroll (serve .*)", text)
    assert started
    for line in started:
        flags = re.findall(r'"(.*?)"', line) or shlex.split(line)
        with commands.make_context("backscroll", ["serve"]) as parent:
            commands.commands["serve"].make_context("serve", flags[1:], parent=parent)


def test_the_commands_of_the_page_are_there() -> None:
    named = re.findall(r"(?:[$#] |bin/|backscroll )backscroll ([a-z]+)", " ".join(_code(DOCS)))
    assert {"token", "copy"} <= set(named) <= set(commands.commands)


def _code(name: str) -> list[str]:
    return re.findall(r"```console\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


def test_files_that_are_linked_are_there() -> None:
    for name in (DOCS, "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text()):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"
