"""What each client program does: run its lines of the document, and talk to Backscroll where they say `...`.

Standard library only: some programs run in an environment of their own, with neither pytest nor us.
"""

import ast
import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

PATIENCE_SECONDS = 60


class Answer(TypedDict):
    """What a framework makes of a result: `shown` is what its model would read of it."""

    shown: str
    failed: bool


Call = Callable[[str, str], Awaitable[Answer]]
"""Calls a tool by name, through the framework's own code. Arguments are JSON text, as a model writes them."""

TURN: list[dict[str, Any]] = [
    {"role": "user", "content": "Why does the café test fail?\n\tOnly on Mondays… 日本語"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "bash", "arguments": '{"command": "pytest -k café"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "FAILED test_opening_hours: KeyError 'monday'"},
    {"role": "assistant", "content": "The timetable has no key for Monday. I added it."},
]


async def talk(call: Call) -> dict[str, Answer]:
    """Record a turn, find it, read it, and be refused, each in the ways that models do it."""

    async def ask(tool: str, **arguments: Any) -> Answer:
        return await call(tool, json.dumps(arguments))

    turn = {"messages": TURN, "session_id": "café/1", "run_id": "turn-1", "title": "Monday"}
    answers = {
        "recorded": await ask("record_run", **turn, state={"open": None, "days": [1, 2]}, metrics={}),
        "recorded again": await ask("record_run", **turn),
        "found": await ask("search_session_history", query="café monday"),
        "read": await ask("get_chat_history", session_id="#1"),
        "read with nulls": await ask("get_chat_history", session_id=None, num_history_runs=None, cursor=None),
        "calls": await ask("get_tool_call_history", tool_name="bash", status="ok"),
        "as json": await ask("get_chat_history", session_id="#1", format="json"),
        "sessions": await call("list_sessions", "{}"),
        "updated": await ask("update_session", session_id="#1", archived=False, metadata={"seen": True}),
        "no such session": await ask("get_chat_history", session_id="#99"),
        "no such argument": await ask("get_chat_history", user_id="ada"),
        "nothing to record": await ask("record_run"),
    }
    searches = (ask("search_session_history", query="monday", limit=n) for n in (1, 2, 3))
    together = await asyncio.gather(*searches)
    answers |= {f"together {n}": answer for n, answer in enumerate(together, 1)}
    answers["nothing to delete"] = await ask("delete_session", session_id="gone")
    return answers


Drive = Callable[[Mapping[str, Any]], Awaitable[tuple[Mapping[str, Any], Call, str]]]
"""Takes the names that the document's lines made; gives schemas by tool, a Call, the protocol's version."""


def python_blocks(document: Path, heading: str) -> Sequence[str]:
    """The Python under a heading of the document."""
    under = re.split(r"^##+ (.*)\n", document.read_text("utf-8"), flags=re.M)
    return re.findall(r"^```python\n(.*?)^```", under[under.index(heading) + 1], re.M | re.S)


def main(heading: str, drive: Drive) -> None:
    """Arguments: the document, which of the heading's blocks, the home folder, the file to write to."""
    document, block, home, written = sys.argv[1:]
    os.environ["HOME"] = home  # the one variable by which every client lets the server find its database
    lines = python_blocks(Path(document), heading)[int(block)]
    names: dict[str, Any] = {}
    report: dict[str, Any] = {}

    async def speak() -> None:
        schemas, call, report["protocol"] = await drive(names)
        report["schemas"] = schemas
        report["answers"] = await talk(call)

    async def run() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            code = compile(
                re.sub(r"^( *)\.\.\.$", r"\1await speak()", lines, flags=re.M),
                f"{document}: {heading}",
                "exec",
                flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            )
            await eval(code, names)

    names["speak"] = speak
    asyncio.run(run())
    Path(written).write_text(json.dumps(report), "utf-8")
