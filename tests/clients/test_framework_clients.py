"""Agent frameworks attach over stdio with their own clients, record, recall and are refused.

Each is a program of its own (`with_*.py`) that runs the lines of docs/clients.md as they stand there. Those
that cannot share the server's MCP SDK say at their head what they need, and uv makes them an environment.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from conversation import TURN, python_blocks

import backscroll
from backscroll.tool_arguments import input_schema
from backscroll.tools import TOOLS

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "clients.md"
PATIENCE_SECONDS = 300  # the first run of some fetches what they need


@dataclass(frozen=True)
class Client:
    """A program, its heading in the document, the protocol it speaks, and its own way with results."""

    program: str
    heading: str
    protocol: str
    block: int = 0
    shows_json_of_receipts: bool = False
    marks_refusals: bool = True
    refuses_by_itself: str | None = None


CLIENTS = {
    "mcp, 2026": Client("with_mcp", "MCP Python SDK", "2026-07-28"),
    "mcp, 2025": Client("with_mcp", "MCP Python SDK", "2025-11-25", block=1),
    "mcp 1": Client("with_mcp_1", "MCP Python SDK 1", "2025-11-25"),
    "agno": Client("with_agno", "Agno", "2025-11-25"),
    "openai-agents": Client(
        "with_openai_agents",
        "OpenAI Agents SDK",
        "2026-07-28",
        marks_refusals=False,
        refuses_by_itself="An error occurred while running the tool. Please try again.",
    ),
    "langchain": Client("with_langchain", "LangChain", "2025-11-25"),
    "pydantic-ai": Client("with_pydantic_ai", "Pydantic AI", "2026-07-28", shows_json_of_receipts=True),
}


@pytest.fixture(scope="session")
def surroundings() -> Mapping[str, str]:
    """The environment before each test moves the home folder, where uv keeps its cache and settings."""
    beside = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([beside, os.environ["PATH"]])}


@pytest.fixture(params=list(CLIENTS.values()), ids=list(CLIENTS))
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


@pytest.mark.clients
async def test_it_attaches_records_recalls_and_is_refused(
    client: Client, surroundings: Mapping[str, str], own_folders: Path, tmp_path: Path
) -> None:
    report = await talked(client, surroundings, own_folders, tmp_path / "report.json")

    assert report["protocol"] == client.protocol
    assert report["schemas"] == {tool.name: input_schema(tool) for tool in TOOLS}

    answers = report["answers"]
    said = {name: answer["shown"] for name, answer in answers.items()}
    refused = {"no such session", "no such argument", "nothing to record", "nothing to delete"}
    if client.marks_refusals:
        assert {name for name, answer in answers.items() if answer["failed"]} == refused
    assert "list_sessions" in said["no such session"] and "#99" in said["no such session"]
    assert "no argument 'user_id'; it takes session_id, " in said["no such argument"]
    assert (client.refuses_by_itself or "messages is required.") in said["nothing to record"]

    if client.shows_json_of_receipts:
        assert json.loads(said["recorded"])["recorded"] == len(TURN)
        assert json.loads(said["recorded again"])["duplicate"] is True
        assert json.loads(said["updated"])["metadata"] == {"seen": True}
    else:
        assert said["recorded"] == "Recorded 4 messages as run 1 of session #1."
        assert said["recorded again"].startswith("Nothing new")
        assert said["updated"] == 'Session #1 is updated: "Monday".'

    assert "#1.3" in said["found"] and "KeyError 'monday'" in said["found"]
    for name in ("read", "read with nulls"):
        assert all(message["content"] in said[name] for message in TURN if message["content"])
    assert "#1.2 bash ok" in said["calls"]
    assert '{"command":"pytest -k café"}' in said["calls"]
    assert json.loads(said["as json"])["messages"][0]["text"] == TURN[0]["content"]
    assert "Monday" in said["sessions"]
    assert all("KeyError 'monday'" in said[f"together {n}"] for n in (1, 2, 3))

    [database] = own_folders.rglob("backscroll.db")
    async with backscroll.open(str(database)) as memory:
        messages = await memory.get_messages_for_session("café/1")
    assert [(message.role, message.text) for message in messages] == [
        (message["role"], message["content"] or "") for message in TURN
    ]


async def talked(client: Client, surroundings: Mapping[str, str], home: Path, written: Path) -> Mapping[str, Any]:
    """Run the client's program to its end; give what it reports."""
    program = HERE / f"{client.program}.py"
    python = [sys.executable]
    if program.read_text("utf-8").startswith("# /// script"):
        uv = surroundings.get("UV") or shutil.which("uv", path=surroundings["PATH"])
        assert uv, "uv is not on PATH: run these tests as `uv run --group clients pytest -m clients`"
        python = [uv, "run", "--quiet", "--no-project", "--python", sys.executable, "--script"]
    command = [*python, str(program), str(DOCUMENT), str(client.block), str(home), str(written)]
    with anyio.fail_after(PATIENCE_SECONDS):
        finished = await anyio.run_process(command, env=surroundings, cwd=home, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    report: Mapping[str, Any] = json.loads(written.read_text("utf-8"))
    return report


def test_every_block_of_the_document_is_run() -> None:
    headings = {client.heading for client in CLIENTS.values()}
    counts = {heading: len(python_blocks(DOCUMENT, heading)) for heading in headings}
    blocks = [(heading, block) for heading, count in counts.items() for block in range(count)]
    assert sorted(blocks) == sorted((client.heading, client.block) for client in CLIENTS.values())
    assert DOCUMENT.read_text("utf-8").count("```python\n") == len(blocks)
