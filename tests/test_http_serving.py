"""`backscroll serve --http`, the real process: both eras, JSON and streams, health, paths, and how it ends."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest

import backscroll
from builders import a_tool_turn, a_turn
from http_doors import HttpServer, call_of, folders, modern, start, the_http_server
from mcp_doors import ERAS, answer_of, said

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it is stopped by signals")

eras = pytest.mark.parametrize("era", ERAS)
STREAM = {"accept": "application/json;q=0.5, text/event-stream"}


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HttpServer]:
    """One server for all tests here that leave it as it is: two workers, no tokens."""
    home = tmp_path_factory.mktemp("http")
    flags = ("--no-auth", "--workers", "2", "--metrics", "0")
    async with the_http_server(home / "sessions.db", *flags, env=folders(home)) as running:
        yield running


@eras
async def test_a_session_is_recorded_and_recalled_over_http(server: HttpServer, era: str) -> None:
    async with server.client(era) as client:
        receipt = answer_of(await client.call_tool("record_run", {"messages": a_tool_turn(7), "session_id": era}))
        assert receipt["recorded"] == 4
        assert "matter 7 is fine" in said(await client.call_tool("get_chat_history", {"session_id": era}))
        assert len((await client.list_tools()).tools) == 10
        assert any(str(one.uri) == "sessions://recent" for one in (await client.list_resources()).resources)
        assert (await client.list_prompts()).prompts


async def test_who_takes_json_alone_gets_json(server: HttpServer) -> None:
    for message, headers in ((call_of("list_sessions"), {}), modern(call_of("list_sessions"))):
        answer = await server.post(message, {**headers, "accept": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json()["result"]["content"]


async def test_who_likes_a_stream_better_gets_one(server: HttpServer) -> None:
    answer = await server.post(call_of("list_sessions", 5), STREAM)
    assert answer.headers["content-type"].startswith("text/event-stream")
    (data,) = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(data)["id"] == 5 and json.loads(data)["result"]["content"]


async def test_a_client_hears_of_changes_that_any_worker_makes(server: HttpServer) -> None:
    """The stream is one worker's; the changes come over many connections, and so from both."""
    async with server.client("auto") as client:
        answer_of(await client.call_tool("record_run", {"messages": a_turn(), "session_id": "told"}))
        async with client.listen(resource_subscriptions=["session://told"]) as changes:
            for number in range(4):
                message = call_of(
                    "record_run", messages=a_turn(f"and {number}"), session_id="told", run_id=f"told-{number}"
                )
                async with httpx2.AsyncClient() as fresh:
                    headers = {"content-type": "application/json", "accept": "application/json"}
                    answer = await fresh.post(server.url, json=message, headers=headers)
                assert answer.json()["result"]["structuredContent"]["recorded"] == 2
                with anyio.fail_after(20):
                    async for event in changes:
                        assert "session://told" in str(event)
                        break


async def test_healthz_tells_nothing_but_that_it_is_there(server: HttpServer) -> None:
    answer = await server.get("/healthz", {"host": "10.1.2.3"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert set(answer.headers) == {"date", "content-length", "cache-control", "x-request-id"}


def spoil(database: Path) -> None:
    """Write over an open database in place, and over what its connections share, so that they look at it again."""
    for end, content in (("", b"no database any more" * 1000), ("-wal", b""), ("-shm", bytes(32_768))):
        beside = database.with_name(database.name + end)
        with beside.open("r+b") as file:
            file.truncate(len(content) or 0)
            file.write(content)


async def test_readyz_is_503_once_the_store_does_not_answer(database: Path) -> None:
    async with the_http_server(database, "--no-auth") as server:
        assert (await server.get("/readyz")).status_code == 200
        spoil(database)
        answer = await server.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "doctor" in answer.json()["detail"]
        assert (await server.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/mcp/",
        "//mcp",
        "/mcp/../mcp",
        "/x/../mcp",
        "/%6dcp",
        "/mcp%2f",
        "/.%2e/mcp",
        "/mcp;a=b",
        "/MCP",
        "/healthz/",
    ],
)
async def test_any_other_way_to_write_a_path_leads_nowhere(server: HttpServer, path: str) -> None:
    body = json.dumps(call_of("list_sessions")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nConnection: close\r\n"
    more = f"Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    back = await server.bytes_back((head + more).encode() + body)
    assert back.startswith(b"HTTP/1.1 404 ")
    assert b"/mcp" in back.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
async def test_the_endpoint_takes_post_alone(server: HttpServer, method: str) -> None:
    answer = await server.http.request(method, server.url, headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:80"}, 421),
        ({"host": "127.evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://127.0.0.1"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:99"}, 200),
    ],
)
async def test_only_pages_and_names_of_this_machine_are_served(
    server: HttpServer, headers: dict[str, str], status: int
) -> None:
    answer = await server.post(call_of("list_sessions"), headers)
    assert answer.status_code == status
    if status != 200:
        assert "BACKSCROLL_HTTP_" in answer.json()["error"]["message"]


async def test_a_name_behind_a_proxy_is_served_where_it_is_set(database: Path) -> None:
    env = {
        "BACKSCROLL_HTTP_HOSTS": "memory.example.com, other.example:8443",
        "BACKSCROLL_HTTP_ORIGINS": "https://app.example.com",
    }
    async with the_http_server(database, "--no-auth", env=env) as server:
        for host, status in (
            ("memory.example.com", 200),
            ("Memory.Example.com:443", 200),
            ("other.example:8443", 200),
            ("other.example", 421),
            ("x.memory.example.com", 421),
        ):
            assert (await server.post(call_of("list_sessions"), {"host": host})).status_code == status, host
        assert (await server.post(call_of("list_sessions"), {"origin": "https://app.example.com"})).status_code == 200
        assert (await server.post(call_of("list_sessions"), {"origin": "http://app.example.com"})).status_code == 403


async def test_it_listens_on_ipv6(database: Path) -> None:
    try:
        context = the_http_server(database, "--no-auth", http="[::1]:0")
        async with context as server:
            assert server.url.startswith("http://[::1]:")
            assert (await server.post(call_of("list_sessions"))).status_code == 200
    except json.JSONDecodeError:
        pytest.skip("this machine has no IPv6")


REFUSED = [
    (["--http", "0.0.0.0:0", "--no-auth"], "for this machine's own addresses"),
    (["--http", "10.0.0.1:0", "--no-auth"], "for this machine's own addresses"),
    (["--http", "example.com:0", "--no-auth"], "for this machine's own addresses"),
    (["--http", "[::]:0", "--no-auth"], "for this machine's own addresses"),
    (["--http", "8000"], "HOST:PORT"),
    (["--http", "::1:8000"], "HOST:PORT"),
    (["--http", "127.0.0.1:70000"], "HOST:PORT"),
    (["--http", "127.0.0.1:0", "--no-auth", "--multi-user"], "act-as"),
    (["--workers", "2"], "go with --http"),
    (["--no-auth"], "go with --http"),
    (["--http", "127.0.0.1:0", "--workers", "0"], "--workers"),
]


@pytest.mark.parametrize(("flags", "told"), REFUSED)
async def test_what_cannot_be_served_is_refused_in_one_sentence(flags: list[str], told: str, database: Path) -> None:
    process = await start(database, *flags)
    with anyio.fail_after(30):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert told in " ".join(errors.decode().split())
    assert not database.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_database_that_cannot_be_opened_is_told_once(workers: str, database: Path) -> None:
    database.write_bytes(b"certainly no database " * 100)
    process = await start(database, "--http", "127.0.0.1:0", "--no-auth", "--workers", workers)
    with anyio.fail_after(60):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().count("Error: ") == 1


async def recording(server: HttpServer, name: str, acknowledged: set[str], enough: asyncio.Event) -> int | None:
    """Records run after run until it is refused; the status of the refusal, None where the connection was closed."""
    async with httpx2.AsyncClient(timeout=30) as http:
        for number in range(10_000):
            run_id = f"{name}-{number}"
            message = call_of("record_run", messages=a_tool_turn(number), session_id=name, run_id=run_id)
            headers = {"content-type": "application/json", "accept": "application/json"}
            try:
                answer = await http.post(server.url, json=message, headers=headers)
            except httpx2.TransportError:
                return None
            if answer.status_code != 200:
                return answer.status_code
            assert answer.json()["result"]["structuredContent"]["run_id"] == run_id
            acknowledged.add(run_id)
            if len(acknowledged) >= 40:
                enough.set()
    raise AssertionError("it was never stopped")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_told_to_stop_amid_writes_it_loses_none_that_it_acknowledged(
    workers: str, app: backscroll.Backscroll, database: Path
) -> None:
    acknowledged: set[str] = set()
    enough = asyncio.Event()
    async with the_http_server(database, "--no-auth", "--workers", workers) as server:
        clients = [asyncio.ensure_future(recording(server, f"s{n}", acknowledged, enough)) for n in range(6)]
        with anyio.fail_after(60):
            await enough.wait()
            server.process.send_signal(signal.SIGTERM)
            ends = await asyncio.gather(*clients)
        assert await server.exit_code() == 0
        assert set(ends) <= {None, 503}
        assert server.lines()[-1]["event"] == "stopped"
        assert not [line for line in server.lines() if line["level"] == "error" and line.get("status") != 503]
    await all_whole(app, acknowledged)


async def all_whole(app: backscroll.Backscroll, acknowledged: set[str]) -> None:
    """Each acknowledged run is there, and each that is there is so as a whole."""
    found: dict[str, int] = {}
    for session in (await app.memory("local").list_sessions(limit=50, max_tokens=20_000)).sessions:
        for message in await app.memory("local").get_messages_for_session(session.session_id):
            found[message.run_id] = found.get(message.run_id, 0) + 1
    assert acknowledged <= set(found)
    assert set(found.values()) == {4}


async def test_a_stream_is_ended_properly_when_it_is_told_to_stop(database: Path) -> None:
    async with the_http_server(database, "--no-auth") as server:
        params = {"notifications": {"resourcesListChanged": True}}
        message, headers = modern({"jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen", "params": params})
        sent = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
        async with server.http.stream("POST", server.url, json=message, headers=sent) as answer:
            lines = answer.aiter_lines()
            with anyio.fail_after(20):
                async for line in lines:
                    if "acknowledged" in line:
                        break
                server.process.send_signal(signal.SIGTERM)
                rest = [json.loads(line.removeprefix("data: ")) async for line in lines if line.startswith("data: ")]
        assert rest[-1]["id"] == 9 and "result" in rest[-1]
        assert await server.exit_code() == 0


async def test_ctrl_c_ends_it_well(database: Path) -> None:
    async with the_http_server(database, "--no-auth", "--workers", "2") as server:
        server.process.send_signal(signal.SIGINT)
        assert await server.exit_code() == 0
