"""What a caller reads when something goes wrong inside, what the log keeps to itself, and calls that are cancelled."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import mcp_types as mcp
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

import backscroll
from builders import a_tool_turn, a_turn
from fixtures.front_client import ENVELOPE, INITIALIZE, notice, request
from mcp_doors import ERAS, a_server, answer_of, attached, complaint, said, the_server

eras = pytest.mark.parametrize("era", ERAS)

WORD = "MARKERWORD"


async def a_damaged_session(memory: backscroll.Memory, database: Path) -> None:
    """A row that no program of ours wrote; what reads it fails in a way that nobody foresaw, and may quote it."""
    await memory.record_run(a_turn(f"{WORD} kettle"), session_id="damaged", title=f"{WORD} title", state={"is": WORD})
    with sqlite3.connect(database) as db:
        db.execute("UPDATE sessions SET state = ?", (f'["{WORD}"]',))
    db.close()


FAILING = ("get_session_context", {"session_id": "damaged"})


@eras
async def test_what_nobody_foresaw_is_told_in_general_words(
    app: backscroll.Backscroll, era: str, database: Path
) -> None:
    memory = app.memory("ada")
    await a_damaged_session(memory, database)
    # Not raised in the test's face, but answered as a host would see it.
    async with a_server(app) as server, Client(server, mode=era, cache=None) as client:
        text = complaint(await client.call_tool(*FAILING))
        assert text.startswith("Backscroll failed inside (")
        assert WORD not in text
        for uri in ("session://damaged", "session://damaged/summary"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.code == mcp.INTERNAL_ERROR
            assert caught.value.message.startswith("Backscroll failed inside (")
        for prompt in ("resume", "summarize"):
            with pytest.raises(MCPError) as caught:
                await client.get_prompt(prompt, {"session": "damaged"})
            assert WORD not in caught.value.message
        # The rest goes on.
        answer_of(await client.call_tool("record_run", {"messages": a_turn(), "session_id": "sound"}))
        said(await client.call_tool("get_chat_history", {"session_id": "sound"}))


@eras
async def test_the_log_carries_no_text(app: backscroll.Backscroll, era: str, database: Path) -> None:
    """Of the real server: neither what was recorded, nor what was asked, nor what was refused."""
    await a_damaged_session(app.memory("ada"), database)
    envelope = {} if era == "legacy" else ENVELOPE
    bad: list[tuple[str, dict[str, Any]]] = [
        ("tools/call", {"name": FAILING[0], "arguments": FAILING[1]}),
        ("tools/call", {"name": "record_run", "arguments": {"messages": [{"role": WORD, "content": WORD}]}}),
        ("tools/call", {"name": "record_run", "arguments": {"messages": a_turn(WORD, WORD), WORD: WORD}}),
        ("tools/call", {"name": "search_session_history", "arguments": {"query": [WORD]}}),
        ("tools/call", {"name": "search_session_history", "arguments": {"query": WORD}}),
        ("tools/call", {"name": "get_chat_history", "arguments": {"session_id": WORD}}),
        ("tools/call", {"name": "get_chat_history", "arguments": {"cursor": WORD}}),
        ("tools/call", {"name": WORD, "arguments": {"query": WORD}}),
        ("tools/call", {"name": "list_sessions", "arguments": WORD}),
        ("tools/call", {"name": {"x": WORD}}),
        ("resources/read", {"uri": f"session://{WORD}"}),
        ("resources/read", {"uri": "session://damaged"}),
        ("resources/read", {"uri": [WORD]}),
        ("prompts/get", {"name": "resume", "arguments": {"session": "damaged"}}),
        ("prompts/get", {"name": "resume", "arguments": {"session": [WORD]}}),
        ("completion/complete", {"ref": {"type": WORD}, "argument": {"name": "session", "value": WORD}}),
        (WORD, {"text": WORD}),
    ]
    async with the_server(database, "--user", "ada") as server:
        if era == "legacy":
            await server.ask(INITIALIZE[0])
            await server.send(INITIALIZE[1])
        for number, (method, params) in enumerate(bad):
            answer = await server.ask(request(number, method, {**params, **envelope}))
            assert "Traceback" not in str(answer)
        await server.send(f'{{"broken": "{WORD}'.encode() + b"\n", notice("notifications/nonsense", text=WORD))
        assert (await server.receive())["error"]["code"] == -32700
        _, code = await server.rest()
        assert code == 0
        log = await server.stderr()
    assert "failed" in log  # the damaged row is worth a line, or a few
    assert WORD not in log


@eras
async def test_a_cancelled_call_leaves_all_or_nothing(app: backscroll.Backscroll, era: str) -> None:
    """Wherever it is cancelled; and the next call works."""
    memory = app.memory("ada")
    await memory.record_run(a_turn(), session_id="s")
    landed = 0
    async with attached(app, era) as client:
        for steps in range(0, 60, 2):
            messages = a_tool_turn()
            arguments = {"messages": messages, "session_id": "s", "run_id": f"r{steps}"}
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "record_run", arguments)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            with anyio.fail_after(5):
                again = answer_of(await client.call_tool("record_run", arguments))
            # It was recorded whole, or not at all: now it is there, once.
            assert (again["duplicate"], again["recorded"]) in ((True, 0), (True, 4), (False, 4))
            landed += again["duplicate"]
        runs = await memory.get_runs("s")
        assert [run.run_id for run in runs[1:]] == [f"r{steps}" for steps in range(0, 60, 2)]
        assert len(await memory.get_messages_for_session("s")) == 2 + 4 * 30
    assert await app.store.check() == []


@eras
async def test_reading_can_be_cancelled_anywhere(app: backscroll.Backscroll, era: str) -> None:
    memory = app.memory("ada")
    for n in range(20):
        await memory.record_run(a_tool_turn(n), session_id="s")
    async with attached(app, era) as client:
        for steps in range(0, 40, 4):
            async with anyio.create_task_group() as tasks:
                for name in (
                    "search_session_history",
                    "get_chat_history",
                    "get_tool_call_history",
                    "get_session_context",
                ):
                    tasks.start_soon(client.call_tool, name, {})
                tasks.start_soon(client.read_resource, "session://s/transcript")
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            with anyio.fail_after(5):
                said(await client.call_tool("get_chat_history", {"session_id": "s"}))


@eras
async def test_over_stdio_a_call_that_waits_can_be_cancelled(
    app: backscroll.Backscroll, era: str, database: Path
) -> None:
    memory = app.memory("ada")
    await memory.record_run(a_turn(), session_id="s")
    envelope = {} if era == "legacy" else ENVELOPE

    def recording(number: int, run_id: str) -> dict[str, Any]:
        arguments = {"messages": a_tool_turn(), "session_id": "s", "run_id": run_id}
        return request(number, "tools/call", {"name": "record_run", "arguments": arguments, **envelope})

    def reading(number: int) -> dict[str, Any]:
        return request(number, "tools/call", {"name": "list_sessions", "arguments": {}, **envelope})

    async with the_server(database, "--user", "ada") as server:
        if era == "legacy":
            await server.ask(INITIALIZE[0])
            await server.send(INITIALIZE[1])
        await server.ask(reading(1))
        # Another program holds the database for writing, so that the call cannot end before it is cancelled.
        holder = await asyncio.to_thread(sqlite3.connect, database, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        await server.send(recording(2, "cancelled"))
        await server.ask(reading(3))
        await server.send(notice("notifications/cancelled", requestId=2, reason="the user changed her mind"))
        await server.ask(reading(4))
        holder.execute("COMMIT")
        holder.close()
        done = await server.ask(recording(5, "next"))
        assert done["result"]["structuredContent"]["recorded"] == 4
        assert await server.rest() == ([], 0)
    runs = {run.run_id for run in await memory.get_runs("s")}
    assert "next" in runs
    messages = await memory.get_messages_for_session("s")
    assert len(messages) == 2 + 4 * len(runs & {"next", "cancelled"})
    assert await app.store.check() == []
