"""What a client may take of a server: size, time, places, requests a minute. Each refusal says what to do."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

import backscroll
from builders import a_tool_turn, a_turn
from http_doors import call_of, modern, start, the_http_server, token_for

HEADERS = {"content-type": "application/json", "accept": "application/json"}


def head_of(length: int) -> bytes:
    usual = ("Host: 127.0.0.1", *(f"{name}: {value}" for name, value in HEADERS.items()))
    return "\r\n".join(("POST /mcp HTTP/1.1", *usual, f"Content-Length: {length}", "", "")).encode()


def why(answer: httpx2.Response) -> str:
    """The refusal as a client shows it, which is the same as the problem that comes along."""
    error = answer.json()["error"]
    assert error["data"]["status"] == answer.status_code
    assert error["data"]["detail"] == error["message"]
    return str(error["message"])


async def test_a_body_that_is_too_large_is_refused_however_it_is_sent(database: Path) -> None:
    async with the_http_server(database, "--no-auth", env={"BACKSCROLL_HTTP_MAX_BODY_BYTES": "20kB"}) as server:
        small = call_of("record_run", messages=a_turn("x" * 15_000), session_id="s")
        assert (await server.post(small)).status_code == 200
        large = json.dumps(call_of("record_run", messages=a_turn("x" * 30_000), session_id="s")).encode()

        async def pieces() -> Any:
            for start in range(0, len(large), 1000):
                yield large[start : start + 1000]

        for answer in (
            await server.post(large),
            await server.http.post(server.url, content=pieces(), headers=HEADERS),
        ):
            assert answer.status_code == 413
            assert answer.headers["connection"] == "close"
            assert "BACKSCROLL_HTTP_MAX_BODY_BYTES" in why(answer)
        await server.line(status=413, reason="body_size")


async def test_a_run_as_large_as_the_record_limits_allow_gets_in(database: Path) -> None:
    """A message of 30 MB, which is near the largest that is kept."""
    async with the_http_server(database, "--no-auth") as server:
        answer = await server.post(call_of("record_run", messages=a_turn("word " * 6_000_000), session_id="s"))
        assert answer.json()["result"]["structuredContent"]["recorded"] == 2


async def test_a_body_that_comes_too_slowly_is_waited_for_no_longer_than_set(database: Path) -> None:
    async with the_http_server(database, "--no-auth", env={"BACKSCROLL_HTTP_BODY_TIMEOUT_S": "1"}) as server:
        back = await server.bytes_back(head_of(100) + b'{"jsonrpc"')
        assert back.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in back and b"BACKSCROLL_HTTP_BODY_TIMEOUT_S" in back
        assert (await server.post(call_of("list_sessions"))).status_code == 200


async def test_no_more_requests_are_served_at_once_than_set(database: Path) -> None:
    async with the_http_server(database, "--no-auth", env={"BACKSCROLL_HTTP_MAX_REQUESTS": "2"}) as server:
        opened = [await asyncio.open_connection(server.host, server.port) for _ in range(2)]
        for _, writer in opened:
            writer.write(head_of(9))
        with anyio.fail_after(30):
            while (answer := await server.post(call_of("list_sessions"))).status_code == 200:
                pass
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "BACKSCROLL_HTTP_MAX_REQUESTS" in why(answer)
        assert (await server.get("/healthz")).status_code == 200
        for reader, writer in opened:
            writer.write(b"not JSON!")
            assert b" 400 " in await reader.readline()
            writer.close()
        with anyio.fail_after(30):
            while (await server.post(call_of("list_sessions"))).status_code != 200:
                pass


async def test_a_stream_takes_no_place_of_a_request(database: Path) -> None:
    async with the_http_server(database, "--no-auth", env={"BACKSCROLL_HTTP_MAX_REQUESTS": "1"}) as server:
        params = {"notifications": {"resourcesListChanged": True}}
        message, headers = modern({"jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen", "params": params})
        sent = {**HEADERS, **headers, "accept": "application/json, text/event-stream"}
        async with server.http.stream("POST", server.url, json=message, headers=sent) as stream:
            async for line in stream.aiter_lines():
                if "acknowledged" in line:
                    break
            assert (await server.post(call_of("list_sessions"))).status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_each_token_has_one_rate_however_many_workers_answer(workers: str, database: Path) -> None:
    env = {"BACKSCROLL_HTTP_RATE_PER_MINUTE": "1", "BACKSCROLL_HTTP_RATE_BURST": "10"}
    async with the_http_server(database, "--workers", workers, env=env) as server:
        (ada, ada_id), (bob, _) = await token_for(database, "ada"), await token_for(database, "bob")

        async def ask(token: str) -> httpx2.Response:
            headers = {**HEADERS, "authorization": f"Bearer {token}"}
            async with httpx2.AsyncClient(timeout=30) as fresh:  # a connection of its own, to either worker
                return await fresh.post(server.url, json=call_of("list_sessions"), headers=headers)

        answers = await asyncio.gather(*(ask(ada) for _ in range(24)))
        served = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        # One more comes free every minute.
        assert 10 <= len(served) <= 11 and len(served) + len(refused) == 24
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
        assert "Retry-After" in why(refused[0])
        assert (await ask(bob)).status_code == 200
        await server.line(status=429, reason="rate", token_id=ada_id)


async def test_without_tokens_the_rate_is_the_address_s(database: Path) -> None:
    env = {"BACKSCROLL_HTTP_RATE_PER_MINUTE": "1", "BACKSCROLL_HTTP_RATE_BURST": "2"}
    async with the_http_server(database, "--no-auth", env=env) as server:
        statuses = [(await server.post(call_of("list_sessions"))).status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]


@pytest.mark.parametrize("era", ["old", "new"])
async def test_a_call_that_takes_too_long_is_given_up_and_leaves_nothing_half_done(
    era: str, app: backscroll.Backscroll, database: Path
) -> None:
    env = {"BACKSCROLL_HTTP_CALL_TIMEOUT_S": "1", "BACKSCROLL_BUSY_TIMEOUT_S": "4"}
    async with the_http_server(database, "--no-auth", env=env) as server:
        holder = sqlite3.connect(database, isolation_level=None)
        message = call_of("record_run", messages=a_tool_turn(1), session_id="slow", run_id="slow-1")
        message, headers = (message, {}) if era == "old" else modern(message)
        holder.execute("BEGIN IMMEDIATE")
        try:
            answer = await server.post(message, headers)
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        assert "BACKSCROLL_HTTP_CALL_TIMEOUT_S" in answer.json()["error"]["message"]
        assert (await server.line(outcome="timeout"))["tool"] == "record_run"
        # As it says: recording again is safe, whether the first came through or not.
        again = await server.post(message, headers)
        assert again.json()["result"]["structuredContent"]["run_id"] == "slow-1"
    assert len(await app.memory("local").get_messages_for_session("slow")) == 4


async def test_a_compressed_body_is_refused_by_name(database: Path) -> None:
    async with the_http_server(database, "--no-auth") as server:
        answer = await server.post(b"\x1f\x8b", {"content-encoding": "gzip"})
        assert answer.status_code == 415 and "Content-Encoding" in why(answer)


async def test_a_bad_setting_is_told_by_its_name(database: Path) -> None:
    for name, value in (
        ("BACKSCROLL_HTTP_HOSTS", "http://memory.example.com/"),
        ("BACKSCROLL_HTTP_ORIGINS", "*"),
        ("BACKSCROLL_HTTP_URL", "memory.example.com"),
        ("BACKSCROLL_HTTP_MAX_BODY_BYTES", "lots"),
    ):
        process = await start(database, "--http", "127.0.0.1:0", "--no-auth", env={name: value})
        with anyio.fail_after(30):
            _, errors = await process.communicate()
        assert process.returncode in (1, 2)
        assert name in errors.decode() and errors.decode().count("Error: ") == 1
