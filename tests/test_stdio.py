"""Serving through the front: the wire itself, and what the SDK's own client makes of it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.lowlevel import Server

from backscroll import streams
from backscroll.front import Front
from backscroll.snapshot import Snapshot
from backscroll.stdio import serve, take_snapshot
from backscroll.streams import MAX_IN_FLIGHT
from backscroll.wire import STATIC_LISTS
from fixtures.front_client import (
    ENVELOPE,
    HELLO,
    INITIALIZE,
    PATIENCE_SECONDS,
    SERVER,
    Gate,
    call,
    line_of,
    notice,
    program,
    request,
    snapshot_of_the_stub,
)
from fixtures.front_server import build

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stub waits at FIFOs")

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
DESCRIPTION = "Says it back: naïve, 日本語."


@pytest.fixture(scope="module")
async def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cache") / "front.json"
    await snapshot_of_the_stub(path)
    return path


class Pipes:
    """A front in this process, its stdin closed behind what was sent."""

    def __init__(self, *messages: Any, snapshot: Snapshot | None = None) -> None:
        self.front = Front(snapshot)
        stdin, self._to_front = os.pipe()
        self._from_front, self._stdout = os.pipe()
        before = set(threading.enumerate())
        self.front.start(stdin, self._stdout)
        [self._reading] = set(threading.enumerate()) - before
        self._sending = threading.Thread(target=self._send, args=(b"".join(map(line_of, messages)),))
        self._sending.start()
        self._stdin = stdin

    def _send(self, data: bytes) -> None:
        with os.fdopen(self._to_front, "wb") as file:
            file.write(data)

    async def all_read(self) -> None:
        """Wait until the front has queued it all, and seen the end."""
        with anyio.fail_after(PATIENCE_SECONDS):
            await anyio.to_thread.run_sync(self._sending.join)
            await anyio.to_thread.run_sync(self._reading.join)

    async def answers(self) -> dict[Any, dict[str, Any]]:
        """All that was written, by id. Nothing can be written after it."""
        os.close(self._stdout)
        with os.fdopen(self._from_front, "rb") as file:
            lines = await anyio.to_thread.run_sync(file.readlines)
        os.close(self._stdin)
        return {message["id"]: message for message in map(json.loads, lines)}


async def serve_all(server: Server[Any], *messages: Any) -> dict[Any, dict[str, Any]]:
    pipes = Pipes(*messages)
    await pipes.all_read()
    with anyio.fail_after(PATIENCE_SECONDS):
        await serve(server, pipes.front)
    return await pipes.answers()


def text_of(answer: dict[str, Any]) -> str:
    text = answer["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


# The snapshot is what the server says


@pytest.mark.parametrize("version", HANDSHAKE_VERSIONS)
async def test_the_front_answers_a_handshake_host_as_the_live_server_does(
    tmp_path: Path, snapshot: Path, version: str
) -> None:
    gate = Gate(tmp_path / "gate")
    hello = request(1, "initialize", {**HELLO, "protocolVersion": version})
    asked = [hello, *(request(number, method) for number, method in enumerate(("ping", *STATIC_LISTS), 2))]
    async with program(snapshot=snapshot, load_gate=gate) as server:
        early = [await server.ask(message) for message in asked]
    # A server that has neither front nor snapshot.
    live = await asked_of_the_sdk(asked)
    assert early == live
    assert [answer["id"] for answer in early if "result" in answer] == [1, 2, 3, 4, 5]


async def test_the_front_answers_a_modern_host_as_the_live_server_does(tmp_path: Path, snapshot: Path) -> None:
    gate = Gate(tmp_path / "gate")
    methods = ("server/discover", *STATIC_LISTS)
    asked = [request(number, method, ENVELOPE) for number, method in enumerate(methods, 1)]
    async with program(snapshot=snapshot, load_gate=gate) as server:
        early = [await server.ask(message) for message in asked]
    assert early == await asked_of_the_sdk(asked)
    assert [answer["id"] for answer in early if "result" in answer] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"_meta": {}},
        {"_meta": {**ENVELOPE["_meta"], "io.modelcontextprotocol/protocolVersion": "2031-01-01"}},
        {"_meta": {**ENVELOPE["_meta"], "io.modelcontextprotocol/protocolVersion": 3}},
        {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
    ],
)
async def test_a_discover_that_the_sdk_refuses_is_refused(
    snapshot: Path, tmp_path: Path, params: dict[str, Any] | None
) -> None:
    asked = request(1, "server/discover", params)
    [live] = await asked_of_the_sdk([asked])
    gate = Gate(tmp_path / "gate")
    async with program(snapshot=snapshot, load_gate=gate) as server:
        early = await server.ask(asked)
        # and it locks nothing
        assert "result" in await server.ask(INITIALIZE[0])
        await gate.release()
        assert (await server.ask(asked)) == early
    assert early["error"]["code"] == live["error"]["code"]
    assert early["error"].get("data") == (live["error"].get("data") or None)


async def asked_of_the_sdk(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers over the SDK's own stdio transport."""
    script = (
        "import anyio, sys; from mcp.server.stdio import stdio_server; "
        "from fixtures.front_server import build\n"
        "async def main():\n"
        f"    server = build({DESCRIPTION!r})\n"
        "    async with stdio_server() as streams:\n"
        "        await server.run(*streams, server.create_initialization_options())\n"
        "anyio.run(main)\n"
    )
    path = os.pathsep.join([str(SERVER.parents[1]), str(SERVER.parents[2] / "server")])
    async with await anyio.open_process(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, stderr=None
    ) as process:
        assert process.stdin and process.stdout
        answers: list[dict[str, Any]] = []
        with anyio.fail_after(PATIENCE_SECONDS):
            for message in asked:
                await process.stdin.send(line_of(message))
                data = b""
                while not data.endswith(b"\n"):
                    data += await process.stdout.receive()
                answers.append(json.loads(data))
    return answers


async def test_a_snapshot_is_the_same_each_time() -> None:
    server = build(DESCRIPTION)
    taken = await take_snapshot(server)
    assert taken == await take_snapshot(server)
    assert tuple(taken.handshake) == HANDSHAKE_VERSIONS


async def test_a_list_that_the_server_refuses_is_not_in_the_snapshot() -> None:
    taken = await take_snapshot(Server("bare"))
    assert taken.handshake["2025-11-25"].keys() == {"initialize", "ping"}
    assert taken.modern["2026-07-28"].keys() == {"server/discover"}


# The SDK's own client


@asynccontextmanager
async def sdk_client(mode: Literal["legacy", "auto"], path: Path | str) -> AsyncIterator[Client]:
    server_path = os.pathsep.join(sys.path)
    parameters = StdioServerParameters(
        command=sys.executable, args=[str(SERVER), "--snapshot", str(path)], env={"PYTHONPATH": server_path}
    )
    with anyio.fail_after(PATIENCE_SECONDS):
        async with Client(parameters, mode=mode) as client:
            yield client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("kept", [False, True])
async def test_the_sdk_client_is_served(
    tmp_path: Path, snapshot: Path, mode: Literal["legacy", "auto"], kept: bool
) -> None:
    async with sdk_client(mode, snapshot if kept else tmp_path / "none") as client:
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
        tools = await client.list_tools()
        assert [tool.name for tool in tools.tools][:2] == ["echo", "noop"]
        result = await client.call_tool("echo", {"text": "hi 日本語"})
        assert isinstance(result.content[0], types.TextContent)
        assert result.content[0].text == "hi 日本語"
        assert (await client.list_resources()).resources
        result = await client.call_tool("big", {"text": "1000000"})
        assert isinstance(result.content[0], types.TextContent)
        assert len(result.content[0].text) == 1_000_000
        assert (await client.call_tool("noop")).structured_content == {"ok": True}


# Lines


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"{broken\n", -32700, None),
        (b"\xff\xfe\n", -32700, None),
        (b"[" * 100_000 + b"\n", -32700, None),
        ([request(7, "ping")], -32600, None),
        (b"3\n", -32600, None),
        ({"jsonrpc": "1.0", "id": 7, "method": "ping"}, -32600, 7),
        ({"jsonrpc": "2.0", "id": "a", "method": "ping", "params": [1]}, -32600, "a"),
        ({"jsonrpc": "2.0", "id": 7, "method": 5}, -32600, 7),
        ({"jsonrpc": "2.0", "id": 7}, -32600, None),
        ({"jsonrpc": "2.0", "id": 7, "result": 5}, -32600, None),
    ],
)
@pytest.mark.parametrize("loading", [False, True])
async def test_a_line_that_is_no_message_is_answered(
    snapshot: Path, line: Any, code: int, request_id: Any, loading: bool
) -> None:
    async with program(snapshot=snapshot) as server:
        if not loading:
            await server.send(*INITIALIZE, call(1, "echo"))
            assert [(await server.receive())["id"] for _ in range(2)] == ["hello", 1]
        await server.send(line)
        answer = await server.receive()
        assert (answer["id"], answer["error"]["code"]) == (request_id, code)
        # and it is served on
        assert await server.ask(request(8, "ping")) == {"jsonrpc": "2.0", "id": 8, "result": {}}


async def test_text_that_is_not_quite_unicode_comes_back_visibly_replaced() -> None:
    escaped = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"%s"}}}\n'
    answers = await serve_all(
        build(""),
        *INITIALIZE,
        escaped % rb"half \ud83d of \ud83d\ude00 an emoji",
        (escaped % b"bad \xff byte").replace(b'"id":1', b'"id":2'),
        b"\xef\xbb\xbf" + line_of(call(3, "echo", "mark")),
        b"\r\n \n" + line_of(call(4, "echo", "blank lines"))[:-1] + b"\r\n",
    )
    assert text_of(answers[1]) == "half � of 😀 an emoji"
    assert text_of(answers[2]) == "bad � byte"
    assert text_of(answers[3]) == "mark"
    assert text_of(answers[4]) == "blank lines"
    assert None not in answers


async def test_a_lone_surrogate_in_an_answer_does_not_end_the_server() -> None:
    async def call_tool(_ctx: Any, _params: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text="half \ud83d emoji")])

    answers = await serve_all(Server("s", on_call_tool=call_tool), *INITIALIZE, call(1, "any"), call(2, "any"))
    assert [text_of(answers[number]) for number in (1, 2)] == ["half � emoji"] * 2


@pytest.mark.parametrize("loading", [False, True])
async def test_a_line_of_many_megabytes_goes_both_ways(snapshot: Path, tmp_path: Path, loading: bool) -> None:
    text = "é" * 6_000_000
    gate = Gate(tmp_path / "gate")
    async with program(snapshot=snapshot, load_gate=gate) as server:
        await server.ask(INITIALIZE[0])
        if not loading:
            await gate.release()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.send, call(1, "echo", text))
            if loading:
                await gate.release()
            assert text_of(await server.receive()) == text
        assert await server.rest() == ([], 0)


# The flow


async def test_no_more_than_so_many_requests_are_worked_on_at_once() -> None:
    release = anyio.Event()
    running = most = 0

    async def call_tool(_ctx: Any, _params: Any) -> types.CallToolResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return types.CallToolResult(content=[types.TextContent(text="ok")])

    count = MAX_IN_FLIGHT + 50
    pipes = Pipes(*INITIALIZE, *(call(number, "any") for number in range(count)))
    await pipes.all_read()
    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, Server("s", on_call_tool=call_tool), pipes.front)
            while running < MAX_IN_FLIGHT:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert most == MAX_IN_FLIGHT
            release.set()
    answers = await pipes.answers()
    assert len(answers) == count + 1
    assert most == MAX_IN_FLIGHT


async def test_a_burst_is_answered_whole(snapshot: Path) -> None:
    async with program(snapshot=snapshot) as server:
        calls = [call(number, "echo", "x" * (number % 9000)) for number in range(2000)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.send, *(INITIALIZE + calls))
            answers = [await server.receive() for _ in range(2001)]
        lengths = {answer["id"]: len(text_of(answer)) for answer in answers[1:]}
        assert lengths == {number: number % 9000 for number in range(2000)}


async def test_a_client_that_does_not_read_costs_no_answers(snapshot: Path) -> None:
    """The pipe to it fills; what is asked meanwhile waits, and comes when it reads."""
    async with program(snapshot=snapshot) as server:
        await server.send(*INITIALIZE, *(call(number, "big", 100_000) for number in range(50)))
        await server.send(request("last", "server/discover", ENVELOPE))
        answers = [await server.receive() for _ in range(52)]
        assert {answer["id"] for answer in answers} == {"hello", "last", *range(50)}
        assert await server.rest() == ([], 0)


async def test_a_call_can_be_cancelled(snapshot: Path, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "never")
    async with program(snapshot=snapshot) as server:
        await server.send(*INITIALIZE, call(1, "wait", gate.path))
        await server.until_it_says("waiting")
        await server.send(notice("notifications/cancelled", requestId=1))
        await server.receive()
        assert (await server.ask(call(2, "echo")))["id"] == 2
        assert await server.rest() == ([], 0)


async def test_non_blocking_sockets_serve_as_well_as_pipes(snapshot: Path) -> None:
    """Node gives its children sockets, and whoever shares a descriptor may have made it non-blocking."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    process = subprocess.Popen(
        [sys.executable, str(SERVER), "--snapshot", str(snapshot)],
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
    )
    theirs.close()
    with anyio.fail_after(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection(sock=ours, limit=2**26)
        big = call(1, "echo", "x" * 5_000_000)
        writer.write(b"".join(map(line_of, [*INITIALIZE, big, big, request(2, "ping")])))
        answers = [json.loads(await reader.readline()) for _ in range(4)]
        assert sorted(len(text_of(answer)) for answer in answers if answer["id"] == 1) == [5_000_000] * 2
        writer.write_eof()
        assert await reader.read() == b""
        assert await asyncio.to_thread(process.wait) == 0
        writer.close()
        await writer.wait_closed()


# The end


async def test_calls_in_flight_end_before_the_server_does(snapshot: Path, tmp_path: Path) -> None:
    gate, closed = Gate(tmp_path / "gate"), tmp_path / "closed"
    async with program(snapshot=snapshot, closed=closed) as server:
        await server.send(*INITIALIZE, call(1, "wait", gate.path))
        await server.until_it_says("waiting")
        server.stdin.close()
        await gate.release()
        answers, code = await server.rest()
        assert [answer["id"] for answer in answers] == ["hello", 1]
        assert text_of(answers[1]) == str(gate.path)
        assert (code, closed.read_text()) == (0, "closed")


async def test_eof_is_kept_from_the_sdk_while_a_call_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "DRAIN_SECONDS", math.inf)

    async def call_tool(_ctx: Any, _params: Any) -> types.CallToolResult:
        await anyio.wait_all_tasks_blocked()  # on this call alone
        return types.CallToolResult(content=[types.TextContent(text="done")])

    answers = await serve_all(Server("s", on_call_tool=call_tool), *INITIALIZE, call(1, "any"))
    assert text_of(answers[1]) == "done"


async def test_nobody_waits_for_a_call_that_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "DRAIN_SECONDS", math.inf)

    async def call_tool(_ctx: Any, _params: Any) -> types.CallToolResult:
        await anyio.sleep_forever()
        raise AssertionError

    cancelled = notice("notifications/cancelled", requestId=1)
    answers = await serve_all(Server("s", on_call_tool=call_tool), *INITIALIZE, call(1, "any"), cancelled)
    assert answers.keys() == {"hello"}


async def test_a_call_that_never_ends_is_given_up_after_eof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "DRAIN_SECONDS", 0.05)

    async def call_tool(_ctx: Any, _params: Any) -> types.CallToolResult:
        await anyio.sleep_forever()
        raise AssertionError

    answers = await serve_all(Server("s", on_call_tool=call_tool), *INITIALIZE, call(1, "any"))
    assert answers[1]["error"]["message"] == "Connection closed"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kept", [False, True])
async def test_a_signal_closes_the_server_and_exits_with_zero(
    snapshot: Path, tmp_path: Path, signum: signal.Signals, kept: bool
) -> None:
    gate, closed = Gate(tmp_path / "gate"), tmp_path / "closed"
    async with program(snapshot=snapshot if kept else tmp_path / "none", closed=closed) as server:
        await server.send(*INITIALIZE, call(1, "wait", gate.path))
        await server.until_it_says("waiting")
        server.process.send_signal(signum)
        assert await server.exit_code() == 0
        assert closed.read_text() == "closed"
        assert "Traceback" not in await server.stderr()


@pytest.mark.parametrize("size", [1, 1_000_000])
async def test_a_client_that_stops_reading_ends_the_server(snapshot: Path, tmp_path: Path, size: int) -> None:
    closed = tmp_path / "closed"
    async with program(snapshot=snapshot, closed=closed) as server:
        await server.send(*INITIALIZE, call(1, "echo"))
        assert [(await server.receive())["id"] for _ in range(2)] == ["hello", 1]
        server.stdout._transport.close()  # type: ignore[attr-defined]
        await server.send(call(2, "big", size))
        assert await server.exit_code() == 0
        assert closed.read_text() == "closed"
        assert "Traceback" not in await server.stderr()
