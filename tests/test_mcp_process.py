"""The real server, a process of its own: its streams, its end, sudden or not, others beside it, its first answers."""

import asyncio
import json
from pathlib import Path
from typing import Any

import anyio
import pytest

import backscroll
from builders import a_tool_turn, a_turn
from fixtures.front_client import ENVELOPE, HELLO, INITIALIZE, Program, request
from mcp_doors import ERAS, READING, WRITING, answer_of, over_stdio, said, the_server

eras = pytest.mark.parametrize("era", ERAS)

STATIC = ("tools/list", "prompts/list", "resources/templates/list")


def envelope(era: str) -> dict[str, Any]:
    return {} if era == "legacy" else ENVELOPE


def calling(number: int | str, name: str, arguments: dict[str, Any], era: str) -> dict[str, Any]:
    return request(number, "tools/call", {"name": name, "arguments": arguments, **envelope(era)})


async def hello(server: Program, era: str) -> None:
    if era == "legacy":
        await server.ask(INITIALIZE[0])
        await server.send(INITIALIZE[1])


@eras
async def test_every_tool_works_end_to_end(era: str, database: Path) -> None:
    """A session's life: recorded, found, opened, resumed, summed up, renamed, forked, deleted."""
    async with over_stdio(database, era) as client:
        receipt = answer_of(await client.call_tool("record_run", {"messages": a_tool_turn(7), "session_id": "s"}))
        assert (receipt["session"], receipt["recorded"], receipt["run_index"]) == ("#1", 4, 1)
        assert "#1.3" in said(await client.call_tool("search_session_history", {"query": "matter fine"}))
        assert "matter 7 is fine" in said(await client.call_tool("get_chat_history", {"session_id": "#1.3"}))
        assert "look 7" in said(await client.call_tool("get_tool_call_history", {"tool_name": "bash"}))
        made = answer_of(await client.call_tool("summarize_session", {}))
        assert made["summary"]["made_by"] == "extractive"
        answer_of(await client.call_tool("update_session", {"session_id": "s", "title": "Seven", "state": {"n": 7}}))
        context = said(await client.call_tool("get_session_context"))
        assert "Seven" in context and '"n":7' in context and "Matter 7 is fine." in context
        fork = answer_of(await client.call_tool("fork_session", {"session_id": "#1.1", "new_session_id": "f"}))
        assert (fork["session"], fork["forked_from"]) == ("#2", "#1")
        listed = said(await client.call_tool("list_sessions"))
        assert "fork of #1" in listed and "Seven" in listed
        refused = await client.call_tool("delete_session", {"session_id": "s"})
        assert refused.is_error
        gone = answer_of(
            await client.call_tool("delete_session", {"session_id": "s", "forks": "delete", "purge": True})
        )
        assert gone["deleted"]["sessions"] == 2
        assert "Nothing matches" in said(await client.call_tool("search_session_history", {"query": "matter"}))


@eras
async def test_stdout_is_the_protocols_alone(era: str, database: Path) -> None:
    async with the_server(database) as server:
        await hello(server, era)
        calls = [calling(n, name, {}, era) for n, name in enumerate((*READING, *WRITING, "no such tool"))]
        await server.send(*calls)
        # Each line that comes is a JSON-RPC message: `receive` reads no other.
        answers = [await server.receive() for _ in calls]
        assert {answer["id"] for answer in answers} == set(range(len(calls)))
        assert all(answer["jsonrpc"] == "2.0" for answer in answers)
        assert await server.rest() == ([], 0)


@eras
async def test_at_eof_what_was_asked_is_answered(app: backscroll.Backscroll, era: str, database: Path) -> None:
    async with the_server(database) as server:
        messages = [*INITIALIZE] if era == "legacy" else []
        messages += [calling(n, "record_run", {"messages": a_tool_turn(), "run_id": f"r{n}"}, era) for n in range(5)]
        await server.send(*messages)
        answers, code = await server.rest()
    assert code == 0
    recorded = [one["result"]["structuredContent"] for one in answers if one["id"] in range(5)]
    assert len(recorded) == 5
    memory = app.memory("local")
    for receipt in recorded:
        assert len(await memory.get_messages_for_session(receipt["session_id"])) == 4


def run_of(answer: dict[str, Any]) -> str:
    found = answer.get("result", {}).get("structuredContent")
    assert found is not None, answer
    return str(found["run_id"])


async def killed_in_the_middle(app: backscroll.Backscroll, era: str, database: Path, before: int) -> None:
    """`before` runs are acknowledged, more are under way when the process is killed."""
    memory = app.memory("local")
    # In a modern connection the order of answers is free, and so it is here in both.
    acknowledged: set[str] = set()
    async with the_server(database) as server:
        await hello(server, era)
        sent = [
            calling(
                n,
                "record_run",
                {"messages": a_tool_turn(), "session_id": f"k{before}"},
                era,
            )
            for n in range(before + 12)
        ]
        await server.send(*sent)
        for _ in range(before):
            acknowledged.add(run_of(await server.receive()))
        server.process.kill()
        assert await server.exit_code() == -9
        # What had been written to the pipe was acknowledged as well.
        for line in (await server.stdout.read()).splitlines(keepends=True):
            if line.endswith(b"\n"):
                acknowledged.add(run_of(json.loads(line)))
    async with the_server(database) as server:
        await hello(server, era)
        found = await server.ask(calling(1, "get_chat_history", {"session_id": f"k{before}", "format": "json"}, era))
        assert found["result"]["structuredContent"]["total"] >= 4 * len(acknowledged)
        again = await server.ask(calling(2, "record_run", {"messages": a_tool_turn(), "session_id": f"k{before}"}, era))
        assert again["result"]["structuredContent"]["recorded"] == 4
        assert await server.rest() == ([], 0)
    runs = await memory.get_runs(f"k{before}")
    assert acknowledged <= {run.run_id for run in runs}
    messages = await memory.get_messages_for_session(f"k{before}")
    for run in runs:
        assert [m.role for m in messages if m.run_id == run.run_id] == ["user", "assistant", "tool", "assistant"]
    assert await app.store.check() == []


@eras
@pytest.mark.parametrize("before", [pytest.param(1, marks=pytest.mark.slow), 6])
async def test_killed_in_a_call_the_acknowledged_runs_are_there(
    app: backscroll.Backscroll, era: str, database: Path, before: int
) -> None:
    await killed_in_the_middle(app, era, database, before)


@pytest.mark.slow
@eras
async def test_killed_at_many_points(app: backscroll.Backscroll, era: str, database: Path) -> None:
    for before in range(1, 26):
        await killed_in_the_middle(app, era, database, before)


@eras
async def test_killed_between_calls_nothing_is_lost(app: backscroll.Backscroll, era: str, database: Path) -> None:
    for n in range(3):
        async with the_server(database) as server:
            await hello(server, era)
            done = await server.ask(calling(1, "record_run", {"messages": a_turn(), "session_id": "s"}, era))
            assert done["result"]["structuredContent"]["run_index"] == n + 1
            server.process.kill()
            await server.exit_code()
    assert len(await app.memory("local").get_runs("s")) == 3
    assert await app.store.check() == []


@eras
async def test_two_servers_serve_one_file(app: backscroll.Backscroll, era: str, database: Path) -> None:
    async with over_stdio(database, era) as one, over_stdio(database, era) as other:

        async def record(client: Any, name: str) -> None:
            for n in range(15):
                for session_id in ("both", name):
                    arguments = {
                        "messages": a_tool_turn(),
                        "session_id": session_id,
                        "run_id": f"{name}-{session_id}-{n}",
                    }
                    answer_of(await client.call_tool("record_run", arguments))

        with anyio.fail_after(30):
            await asyncio.gather(record(one, "one"), record(other, "other"))
        # Each sees what the other wrote.
        for client in (one, other):
            listed = answer_of(await client.call_tool("list_sessions", {"format": "json"}))
            assert {s["session_id"]: s["runs"] for s in listed["sessions"]} == {"both": 30, "one": 15, "other": 15}
        context = answer_of(await one.call_tool("get_session_context", {"session_id": "other", "format": "json"}))
        assert context["messages_total"] == 60
    messages = await app.memory("local").get_messages_for_session("both")
    assert [message.seq for message in messages] == list(range(1, 121))
    assert await app.store.check() == []


# Ready before it is loaded


def first_words(era: str) -> list[dict[str, Any]]:
    """All that may be answered before anything is loaded, each era in its order."""
    if era == "legacy":
        asked = [INITIALIZE[0], request("ping", "ping")]
        return asked + [request(method, method) for method in STATIC]
    return [request(method, method, ENVELOPE) for method in ("server/discover", *STATIC)]


async def heard(server: Program, era: str) -> list[dict[str, Any]]:
    found = []
    for message in first_words(era):
        answer = await server.ask(message)
        assert "result" in answer, answer
        found.append(answer["result"])
        if message is INITIALIZE[0]:
            await server.send(INITIALIZE[1])
    return found


@eras
@pytest.mark.parametrize("profile", ["full", "recall"])
async def test_the_snapshot_says_what_the_server_says(era: str, profile: str, database: Path) -> None:
    flags = ("--profile", profile)
    async with the_server(database, *flags) as server:
        # There is none yet: this is the server itself.
        live = await heard(server, era)
        assert await server.rest() == ([], 0)
    names = [tool["name"] for tool in live[2 if era == "legacy" else 1]["tools"]]
    assert tuple(names) == (READING if profile == "recall" else READING + WRITING)
    for log in database.parent.glob(f"{database.name}*"):
        log.unlink()
    database.write_bytes(b"This is no database. " * 500)
    before = database.read_bytes()
    async with the_server(database, *flags) as server:
        # Now nothing else than the snapshot can answer: behind it there is no server.
        assert await heard(server, era) == live
        refused = await server.ask(calling("c", "list_sessions", {}, era))
        message = refused["error"]["message"] if "error" in refused else refused["result"]["content"][0]["text"]
        assert database.name in message and "not a" in message
        assert "Traceback" not in message
        _, code = await server.rest()
        assert code == 1
        assert "Traceback" not in await server.stderr()
    assert database.read_bytes() == before


@eras
async def test_another_setting_is_another_snapshot(era: str, database: Path, tmp_path: Path) -> None:
    number = 2 if era == "legacy" else 1
    for profile, count, by_flag in [("full", 10, True), ("recall", 5, True), ("recall", 5, False), ("full", 10, True)]:
        flags = ("--profile", profile) if by_flag else ()
        env = {} if by_flag else {"BACKSCROLL_PROFILE": profile}
        async with the_server(database, *flags, env=env) as server:
            assert len((await heard(server, era))[number]["tools"]) == count


async def test_a_setting_that_is_wrong_is_one_clear_line(database: Path) -> None:
    async with the_server(database, env={"BACKSCROLL_PROFILE": "everything"}) as server:
        refused = await server.ask(request(1, "initialize", HELLO))
        assert "BACKSCROLL_PROFILE" in refused["error"]["message"]
        _, code = await server.rest()
        assert code == 1
        (line,) = (await server.stderr()).splitlines()
        assert "BACKSCROLL_PROFILE" in line
    assert not database.exists()


async def test_resources_are_listed_live(app: backscroll.Backscroll, database: Path) -> None:
    """They show sessions, so no snapshot may answer for them."""
    memory = app.memory("local")
    for n in range(1, 3):
        await memory.record_run(a_turn(), session_id=f"s{n}")
        await memory.summarize_session(f"s{n}", summary="Summed up.")
        async with the_server(database) as server:
            await hello(server, "legacy")
            answer = await server.ask(request(1, "resources/list"))
            assert len(answer["result"]["resources"]) == 2 + n
