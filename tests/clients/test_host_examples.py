"""What the documents tell hosts to start is what `backscroll` takes, in the form that each host reads."""

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from mcp import Client, StdioServerParameters

from backscroll.__main__ import serve_flags
from backscroll.config import load_settings
from backscroll.tools import tools_of

ROOT = Path(__file__).parents[2]
ATTACHING = ROOT / "docs" / "clients.md"
EXAMPLE = ROOT / "mcp.json.example"
README = ROOT / "README.md"


class Told(NamedTuple):
    """A server that a document tells a host to start."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)


def in_configuration(found: Mapping[str, Any]) -> Iterator[Told]:
    """The servers of a host's configuration, under the name that each host gives to them."""
    servers = [found[key] for key in ("mcpServers", "servers", "mcp", "mcp_servers") if key in found]
    assert len(servers) == 1, f"no host reads {list(found)}"
    for name, server in servers[0].items():
        program = server["command"]
        yield Told(name, program if isinstance(program, list) else [program, *server["args"]], server.get("env", {}))


def on_command_lines(lines: str) -> Iterator[Told]:
    """The servers that a host's own command adds: after `--`, or for Gemini after the name."""
    for line in lines.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[1:3] != ["mcp", "add"] or "http" in words:
            continue  # a server that is there already is not started
        if "--" in words:
            dashes = words.index("--")
            yield Told(words[dashes - 1], words[dashes + 1 :], {})
        else:
            name = words.index("backscroll")
            yield Told(words[name], words[name + 1 :], {})


def told() -> list[Told]:
    """Everything that docs/clients.md, the README and the example file tell a host to start."""
    found = [one for text in blocks(ATTACHING, "json") for one in in_configuration(json.loads(text))]
    found += [one for text in blocks(ATTACHING, "toml") for one in in_configuration(tomllib.loads(text))]
    found += [one for text in blocks(ATTACHING, "sh") for one in on_command_lines(text)]
    found += [one for text in blocks(README, "console") for one in on_command_lines(text)]
    return [*found, *in_configuration(json.loads(EXAMPLE.read_text("utf-8")))]


def test_every_host_is_told_how() -> None:
    # Claude Code, Codex twice, Gemini, Cursor, VS Code, Claude Desktop, OpenCode; the example; the README.
    assert len(told()) >= 8 + 1 + 3


@pytest.mark.parametrize("server", told(), ids=lambda server: " ".join(server.command))
def test_a_host_is_told_a_command_that_exists(server: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    program, *arguments = server.command
    assert server.name == "backscroll"
    assert Path(program).name in scripts
    assert arguments[0] == "serve"
    flags = serve_flags(arguments[1:])
    assert flags is not None
    unset = load_settings(flags)
    for name, value in server.environment.items():
        assert name.startswith("BACKSCROLL_")
        monkeypatch.setenv(name, value)
        assert hasattr(unset, name.removeprefix("BACKSCROLL_").lower())
    load_settings(flags)


def test_a_command_in_the_text_is_one_that_serves() -> None:
    commands = re.findall(r"`backscroll serve([^`]*)`", ATTACHING.read_text("utf-8"))
    assert any(commands)
    for flags in commands:
        assert serve_flags(shlex.split(flags)) is not None


@pytest.mark.parametrize("profile", ["recall", "full"])
async def test_such_a_command_serves_the_profile_it_names(profile: str, own_folders: Path) -> None:
    path = os.pathsep.join(filter(None, sys.path))
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "backscroll", "serve", "--profile", profile],
        env={"PYTHONPATH": path},
        cwd=own_folders,
    )
    with anyio.fail_after(30):
        async with Client(server) as client:
            offered = await client.list_tools()
    assert [tool.name for tool in offered.tools] == [tool.name for tool in tools_of(profile)]


def test_the_readme_attaches_as_the_document_does() -> None:
    known = blocks(ATTACHING, "python")
    for block in blocks(README, "python"):
        if "backscroll" in block and "import backscroll" not in block:
            assert block in known, f"docs/clients.md, whose lines are tested, does not have:\n{block}"
