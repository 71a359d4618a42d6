"""The front: what is answered while the server loads, and what becomes of the rest."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backscroll.front import LINE_OVERHEAD_BYTES, QUEUE_BYTES, Front
from backscroll.snapshot import SNAPSHOTS_KEPT, Snapshot, keep_snapshot, snapshot_path
from fixtures.front_client import (
    ENVELOPE,
    HELLO,
    INITIALIZE,
    Gate,
    call,
    notice,
    program,
    request,
    snapshot_of_the_stub,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stub waits at FIFOs")


@pytest.fixture(scope="module")
async def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub's snapshot, as it wrote it itself."""
    path = tmp_path_factory.mktemp("cache") / "front.json"
    await snapshot_of_the_stub(path)
    return path


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


def names_of(answer: dict[str, Any]) -> list[str]:
    return [tool["name"] for tool in answer["result"]["tools"]]


def a_snapshot() -> Snapshot:
    return Snapshot({"2025-11-25": {"initialize": {}}}, {"2026-07-28": {"server/discover": {}}})


def test_the_front_imports_nothing_slow() -> None:
    slow = "mcp mcp_types pydantic asyncio anyio tiktoken logging pathlib dataclasses inspect click"
    check = f"import backscroll.front, sys; print(*sys.modules.keys() & set({slow.split()!r}))"
    # -S: what site imports is not the front's doing
    path = str(Path(__file__).parents[1] / "server")
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {path!r}); {check}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


# Snapshots on disk


def test_a_snapshot_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = snapshot_path(tmp_path / "new" / "folder", "1.0 full")
    a_snapshot().write(path, "1.0 full")
    assert Snapshot.read(path, "1.0 full") == a_snapshot()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_snapshot_of_another_key_is_not_used(tmp_path: Path) -> None:
    a_snapshot().write(tmp_path / "s", "1.0")
    assert Snapshot.read(tmp_path / "s", "1.1") is None
    assert snapshot_path(tmp_path, "1.0") != snapshot_path(tmp_path, "1.1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"key": "k"}',
        '{"key": "k", "handshake": {}, "modern": {}}',
        '{"key": "k", "handshake": [1], "modern": {"v": {"server/discover": {}}}}',
        '{"key": "k", "handshake": {"v": {"initialize": 1}}, "modern": {"v": {"server/discover": {}}}}',
        '{"key": "k", "handshake": {"v": {"initialize": {}}}, "modern": {"v": 3}}',
        "\udcff",
        "[" * 100_000,
    ],
)
def test_a_broken_snapshot_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "s").write_text(text, "utf-8", "surrogateescape")
    assert Snapshot.read(tmp_path / "s", "k") is None
    assert Snapshot.read(tmp_path, "k") is None
    assert Snapshot.read(tmp_path / "missing", "k") is None


def test_old_snapshots_are_removed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for age in range(SNAPSHOTS_KEPT + 5):
        path = snapshot_path(cache, str(age))
        keep_snapshot(a_snapshot(), path, str(age))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    newest = snapshot_path(cache, "new")
    keep_snapshot(a_snapshot(), newest, "new")
    kept = set(cache.iterdir())
    assert len(kept) == SNAPSHOTS_KEPT
    assert {newest, snapshot_path(cache, "0")} < kept
    assert snapshot_path(cache, str(SNAPSHOTS_KEPT + 4)) not in kept


# While the server loads


async def test_a_handshake_host_has_its_tools_while_the_server_loads(snapshot: Path, gate: Gate) -> None:
    async with program(snapshot=snapshot, load_gate=gate) as server:
        hello = await server.ask(INITIALIZE[0])
        assert hello["result"]["protocolVersion"] == HELLO["protocolVersion"]
        await server.send(INITIALIZE[1])
        assert (await server.ask(request(1, "ping")))["result"] == {}
        assert "echo" in names_of(await server.ask(request(2, "tools/list")))
        assert (await server.ask(request(3, "prompts/list", {})))["result"]["prompts"]
        assert (await server.ask(request(4, "resources/templates/list")))["result"]["resourceTemplates"]
        await server.send(call(5, "echo", "first"), call(6, "echo", "second"))
        await gate.release()
        answers = [await server.receive(), await server.receive()]
        assert [answer["result"]["content"][0]["text"] for answer in answers] == ["first", "second"]
        # The SDK's own answer to `initialize` was held back.
        assert await server.rest() == ([], 0)


async def test_a_modern_host_has_its_tools_while_the_server_loads(snapshot: Path, gate: Gate) -> None:
    async with program(snapshot=snapshot, load_gate=gate) as server:
        found = await server.ask(request(1, "server/discover", ENVELOPE))
        assert found["result"]["supportedVersions"] == ["2026-07-28"]
        listed = await server.ask(request(2, "tools/list", ENVELOPE))
        assert "echo" in names_of(listed)
        assert listed["result"]["ttlMs"] == 1000
        await server.send(call(3, "echo", "late", **ENVELOPE))
        await gate.release()
        assert (await server.receive())["result"]["content"][0]["text"] == "late"
        # and live
        assert (await server.ask(request(4, "tools/list", ENVELOPE)))["result"] == listed["result"]
        assert (await server.ask(request(5, "server/discover", ENVELOPE)))["result"] == found["result"]
        assert await server.rest() == ([], 0)


async def test_an_unknown_handshake_version_gets_the_newest(snapshot: Path, gate: Gate) -> None:
    async with program(snapshot=snapshot, load_gate=gate) as server:
        hello = await server.ask(request(1, "initialize", {**HELLO, "protocolVersion": "2031-01-01"}))
        assert hello["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("kept", [False, True])
async def test_discover_locks_no_era(snapshot: Path, tmp_path: Path, gate: Gate, loaded: bool, kept: bool) -> None:
    """A host that asks, gives up and falls back to `initialize` is served, whenever it does so."""
    options: dict[str, Any] = {"snapshot": snapshot if kept else tmp_path / "none", "load_gate": gate}
    async with program(**options) as server:
        await server.send(request(1, "server/discover", ENVELOPE))
        if loaded:
            await gate.release()
            assert "result" in await server.receive()
        await server.send(notice("notifications/cancelled", requestId=1), *INITIALIZE, call(2, "echo", "hi"))
        if not loaded:
            await gate.release()
            assert "result" in await server.receive()
        assert (await server.receive())["result"]["protocolVersion"] == HELLO["protocolVersion"]
        assert (await server.receive())["result"]["content"][0]["text"] == "hi"
        # The other way round: asking again does no harm to a handshake connection either.
        assert "result" in await server.ask(request(3, "server/discover", ENVELOPE))
        assert "echo" in names_of(await server.ask(request(4, "tools/list")))


async def test_discover_needs_no_snapshot(gate: Gate) -> None:
    async with program(load_gate=gate) as server:
        await server.send(request(1, "server/discover", ENVELOPE), request(2, "tools/list", ENVELOPE))
        await gate.release()
        assert "result" in await server.receive()
        assert "echo" in names_of(await server.receive())


async def test_initialize_behind_a_modern_call_is_refused_as_the_sdk_does(snapshot: Path, gate: Gate) -> None:
    async with program(snapshot=snapshot, load_gate=gate) as server:
        await server.send(call(1, "echo", **ENVELOPE), INITIALIZE[0], request(2, "tools/list", ENVELOPE))
        assert (await server.receive())["id"] == 2
        await gate.release()
        answers = [await server.receive(), await server.receive()]
        assert {answer["id"]: answer.get("error", {}).get("code") for answer in answers} == {
            1: None,
            "hello": -32022,
        }


async def test_the_front_leaves_to_the_server_what_it_does_not_know(snapshot: Path, gate: Gate) -> None:
    async with program(snapshot=snapshot, load_gate=gate) as server:
        await server.send(
            request(1, "tools/list"),  # before `initialize`: an error of the server's
            request(2, "initialize", {**HELLO, "clientInfo": {}}),  # refused by the server
        )
        await gate.release()
        assert [(await server.receive())["error"]["code"] for _ in range(2)] == [-32602, -32602]

    gate.path.unlink()
    os.mkfifo(gate.path)
    async with program(snapshot=snapshot, load_gate=gate) as server:
        await server.ask(INITIALIZE[0])
        await server.send(
            request(1, "resources/list"),  # sessions change
            request(2, "tools/list", {"cursor": "x"}),
            request(3, "tools/list", {"_meta": 5}),
            request(4, "tools/list", ENVELOPE),  # of the other era
            request(5, "no/such/method"),
        )
        assert await server.ask(request(6, "ping")) == {"jsonrpc": "2.0", "id": 6, "result": {}}
        await gate.release()
        answers = {answer["id"]: answer for answer in [await server.receive() for _ in range(5)]}
        assert answers[1]["result"]["resources"]
        assert "echo" in names_of(answers[2])
        assert [answers[number]["error"]["code"] for number in (3, 4, 5)] == [-32602, -32600, -32601]


async def test_a_queued_request_can_be_cancelled(snapshot: Path, gate: Gate) -> None:
    async with program(snapshot=snapshot, load_gate=gate) as server:
        await server.ask(INITIALIZE[0])
        never = gate.path.with_name("never")
        os.mkfifo(never)
        await server.send(call(1, "wait", never), notice("notifications/cancelled", requestId=1))
        await server.send(call(2, "echo", "on"))
        await gate.release()
        assert (await server.receive())["id"] == 2
        assert await server.rest() == ([], 0)


async def test_what_was_asked_before_eof_is_answered_though_the_server_still_loads(
    snapshot: Path, gate: Gate, tmp_path: Path
) -> None:
    async with program(snapshot=snapshot, load_gate=gate, closed=tmp_path / "closed") as server:
        await server.ask(INITIALIZE[0])
        await server.send(call(1, "echo", "a"), json.dumps(call(2, "echo", "no newline")).encode())
        server.stdin.close()
        await gate.release()
        answers, code = await server.rest()
        assert [answer["result"]["content"][0]["text"] for answer in answers] == ["a", "no newline"]
        assert code == 0
        assert (tmp_path / "closed").read_text() == "closed"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("waiting", ["load_gate", "open_gate"])
async def test_a_signal_while_loading_ends_it_well(
    snapshot: Path, gate: Gate, waiting: str, signum: signal.Signals
) -> None:
    async with program(snapshot=snapshot, **{waiting: gate}) as server:
        await server.ask(INITIALIZE[0])
        await server.until_it_says("opening" if waiting == "open_gate" else "loading")
        server.process.send_signal(signum)
        assert await server.exit_code() == 0
        assert "Traceback" not in await server.stderr()


async def test_stray_prints_stay_off_the_wire(snapshot: Path) -> None:
    async with program(snapshot=snapshot) as server:
        await server.ask(INITIALIZE[0])
        assert (await server.ask(call(1, "print", "stray")))["result"]["content"][0]["text"] == "stray"
        assert await server.rest() == ([], 0)
        told = await server.stderr()
        assert told.count("stray\n") + told.count("straystray\n") >= 2
        assert "a stray line while loading" in told


async def test_a_client_that_leaves_is_no_crash(snapshot: Path, gate: Gate) -> None:
    async with program(snapshot=snapshot, load_gate=gate) as server:
        await server.ask(INITIALIZE[0])
        server.stdout._transport.close()  # type: ignore[attr-defined]
        await server.send(request(1, "ping"), call(2, "echo"))
        await gate.release()
        assert await server.exit_code() == 0
        assert "Traceback" not in await server.stderr()


@pytest.mark.parametrize("redirect", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "</dev/null"])
def test_missing_standard_streams_are_no_crash(snapshot: Path, redirect: str) -> None:
    server = Path(__file__).parent / "fixtures" / "front_server.py"
    command = f'exec "$0" "$1" --snapshot "$2" {redirect}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, server, snapshot],
        input=b"" if "<" not in redirect else None,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")


# When there is no server


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("import", "The file is not a database. Move it away."),
        ("unusable", "The file is not a database. Move it away."),
        ("crash", "Backscroll could not start: RuntimeError. Its standard error says more."),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
async def test_a_server_that_cannot_open_says_why(
    snapshot: Path, tmp_path: Path, gate: Gate, *, failure: str, said: str, kept: bool
) -> None:
    path = snapshot if kept else tmp_path / "none"
    async with program(snapshot=path, load_gate=gate, fail=failure) as server:
        await server.send(*INITIALIZE, call(1, "echo"), b"{broken\n")
        await gate.release()
        answers, code = await server.rest()
        told = await server.stderr()
    refused = {answer["id"]: answer["error"] for answer in answers if "error" in answer}
    assert refused.keys() == ({1} if kept else {"hello", 1})
    assert refused[1] == {"code": -32603, "message": said}
    assert code == 1
    assert f"backscroll: {said}\n" in told
    assert ("a secret" in told) == ("Traceback" in told) == (failure == "crash")


# Staleness


async def test_a_missing_snapshot_is_written(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "front.json"
    await snapshot_of_the_stub(path)
    assert Snapshot.read(path, "k") is not None


@pytest.mark.parametrize("stale", ["key", "content", "broken"])
async def test_a_stale_snapshot_is_rebuilt(tmp_path: Path, gate: Gate, stale: str) -> None:
    path = tmp_path / "front.json"
    await snapshot_of_the_stub(path, description="old", key="old" if stale == "key" else "k")
    if stale == "broken":
        path.write_bytes(path.read_bytes()[:-100])

    async with program(snapshot=path, description="new", load_gate=gate) as server:
        await server.send(*INITIALIZE, request(1, "tools/list"))
        await gate.release()
        await server.receive()
        first = await server.receive()
        await server.rest()
    gate.path.unlink()
    os.mkfifo(gate.path)
    async with program(snapshot=path, description="new", load_gate=gate) as server:
        await server.ask(INITIALIZE[0])
        second = await server.ask(request(1, "tools/list"))

    served = [answer["result"]["tools"][0]["description"] for answer in (first, second)]
    assert served == ["old" if stale == "content" else "new", "new"]


@pytest.mark.parametrize("blocked", ["folder", "file"])
async def test_a_place_that_cannot_be_written_is_no_trouble(tmp_path: Path, blocked: str) -> None:
    path = tmp_path / "cache" / "front.json"
    if blocked == "folder":
        path.parent.write_text("a file where the folder should be")
    else:
        path.mkdir(parents=True)
    async with program(snapshot=path) as server:
        await server.ask(INITIALIZE[0])
        assert "echo" in names_of(await server.ask(request(1, "tools/list")))
        assert await server.rest() == ([], 0)
        assert "Traceback" not in await server.stderr()


# The queue


def test_a_full_queue_stops_the_reader() -> None:
    """The pipe fills, and everything arrives, in order, once it is taken."""
    stdin, writer = os.pipe()
    os.set_blocking(writer, False)
    front = Front()
    front.start(stdin, os.open(os.devnull, os.O_WRONLY))
    sent = b"".join(b'{"n": %06d, "pad": "%s"}\n' % (n, b"x" * 4000) for n in range(5000))
    assert len(sent) > 2 * QUEUE_BYTES
    left = memoryview(sent)
    received: list[bytes] = []
    ended = False
    while not ended:
        queued = 0
        while left and select.select((), (writer,), (), 0.2)[1]:
            count = os.write(writer, left[:4096])
            left, queued = left[count:], queued + count
            assert queued < QUEUE_BYTES + 1_000_000
        if not left and writer >= 0:
            os.close(writer)
            writer = -1
        lines, ended = front.take()
        assert sum(len(line) + LINE_OVERHEAD_BYTES for line, _ in lines) < QUEUE_BYTES + 10_000
        received += [line for line, _ in lines]
    assert b"\n".join([*received, b""]) == sent
    os.close(stdin)
