"""What strangers can do by the form of a request alone: nothing is served, nothing told, nobody else held up."""

import asyncio
import json
from collections.abc import AsyncIterator

import anyio
import pytest

from http_doors import JSON, call_of, modern
from security_doors import SECRET, Guarded, the_guarded_server, told


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with the_guarded_server(tmp_path_factory.mktemp("http")) as running:
        yield running


def raw(
    guarded: Guarded,
    *lines: bytes,
    token: str | None = "ada",
    start: bytes = b"POST /mcp HTTP/1.1",
    host: bytes = b"127.0.0.1",
) -> bytes:
    """The head of a request, which ends its connection."""
    usual = [b"Host: " + host, b"Connection: close", *(f"{name}: {value}".encode() for name, value in JSON.items())]
    if token is not None:
        usual.append(b"Authorization: Bearer " + guarded.token[token].encode())
    return b"\r\n".join([start, *usual, *lines, b"", b""])


BODY = json.dumps(call_of("list_sessions")).encode()
LENGTH = b"Content-Length: %d" % len(BODY)


HOSTS = [
    b"evil.example", b"evil.example:8000", b"127.0.0.1.evil.example", b"localhost.evil.example",
    b"127.0.0.1@evil.example", b"evil.example#127.0.0.1", b"localhost:8000.evil.example", b"0.0.0.0", b"[::]",
    b"0x7f000001", b"2130706433", b"127.0.0.1, evil.example", b"", b" ", b"169.254.169.254", b"localhost.",
    b"127.0.0.1%00.evil.example", b"127.1",
]  # fmt: skip


async def test_a_name_rebound_to_this_machine_serves_nobody(guarded: Guarded) -> None:
    """DNS rebinding: a page's own name leads here, and its browser would send what it is told to. Even with a token."""
    for host in HOSTS:
        back = await guarded.server.bytes_back(raw(guarded, LENGTH, host=host) + BODY)
        assert back.split(b" ")[1] in (b"421", b"400"), (host, back)
        assert SECRET.encode() not in back
        # Who relays for others may say so; it is not believed.
        forwarded = (b"X-Forwarded-Host: 127.0.0.1", b"Forwarded: host=127.0.0.1", b"X-Host: 127.0.0.1")
        back = await guarded.server.bytes_back(raw(guarded, *forwarded, LENGTH, host=host) + BODY)
        assert back.split(b" ")[1] in (b"421", b"400"), (host, back)


ORIGINS = [
    "http://evil.example", "https://127.0.0.1.evil.example", "null", "file://", "http://localhost.evil.example",
    "http://127.0.0.1@evil.example", "chrome-extension://x", "http://", "", "http://[::]",
    "http://evil.example, http://127.0.0.1", "HTTP://EVIL.EXAMPLE",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
async def test_a_page_of_elsewhere_is_refused_before_its_token_is_looked_at(guarded: Guarded, origin: str) -> None:
    for who in ("ada", None):
        back = await guarded.server.bytes_back(raw(guarded, b"Origin: " + origin.encode(), LENGTH, token=who) + BODY)
        assert back.startswith(b"HTTP/1.1 403 "), back
        # No page is ever told that it may read an answer.
        assert b"access-control" not in back.lower()


TARGETS = [
    b"http://evil.example/mcp", b"http://127.0.0.1/mcp", b"//evil.example/mcp", b"/mcp/../mcp", b"/./mcp", b"/mcp;x=1",
    b"/MCP", b"/mcp%00", b"/%6dcp", b"/..%2f..%2fetc%2fpasswd", b"/%c0%ae%c0%ae/etc/passwd", b"/mcp/%2e%2e/metrics",
    b"/metrics", b"*", b"/.well-known/../mcp", b"/mcp#x", b"\\mcp",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
async def test_only_the_path_as_it_is_written_leads_in(guarded: Guarded, target: bytes) -> None:
    back = await guarded.server.bytes_back(raw(guarded, LENGTH, start=b"POST " + target + b" HTTP/1.1") + BODY)
    assert back.split(b" ")[1] in (b"404", b"400"), back
    assert SECRET.encode() not in back and b"root:" not in back


async def test_methods_are_told_apart_by_case(guarded: Guarded) -> None:
    for method in (b"post", b"Post", b"POSTS", b"TRACE", b"CONNECT", b"PATCH", b"PROPFIND", b"M-SEARCH"):
        back = await guarded.server.bytes_back(raw(guarded, LENGTH, start=method + b" /mcp HTTP/1.1") + BODY)
        assert back.split(b" ")[1] in (b"405", b"400"), (method, back)
        assert guarded.token["ada"].encode() not in back  # TRACE would send it back


async def test_many_headers_are_refused(guarded: Guarded) -> None:
    for lines in ([b"X-%d: 1" % number for number in range(5_000)], [b"X: 1"] * 6_000, [b"X:"] * 9_000):
        back = await guarded.server.bytes_back(raw(guarded, *lines, LENGTH) + BODY)
        assert back.startswith(b"HTTP/1.1 431 "), back[:200]


STRANGERS = {
    "many braces": b"[" * 500_000,
    "many objects": b'{"a":' * 200_000,
    "deep arguments": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
    b'{"name":"list_sessions","arguments":{"project":'
    + b"[" * 100_000 + b"]" * 100_000 + b"}}}",
    "a long number": b'{"jsonrpc":"2.0","id":' + b"9" * 100_000 + b',"method":"ping"}',
    "a long exponent": b'{"jsonrpc":"2.0","id":1e999999999,"method":"ping"}',
    "a number that is none": b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    "no UTF-8": b'{"jsonrpc":"2.0","id":"\xff\xfe","method":"ping"}',
    "overlong UTF-8": b'{"jsonrpc":"2.0","id":"\xc0\xaf","method":"ping"}',
    "half a character": b'{"jsonrpc":"2.0","id":"\\ud800","method":"tools/\\udfff","params":{"\\ud800":"\\ud800"}}',
    "a NUL": b'{"jsonrpc":"2.0","id":1,"method":"tools/call\\u0000","params":{}}',
    "UTF-16": '{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"),
    "a mark before all": b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
    "nothing": b"",
    "blanks": b" " * 100_000,
    "null": b"null",
    "a form": b"jsonrpc=2.0&id=1&method=tools%2Flist",
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "very many members": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{'
    + b",".join(b'"%d":1' % number for number in range(200_000)) + b"}}",
    "a name of a class": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
    b'{"name":"__class__","arguments":{"__proto__":{"x":1}}}}',
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
async def test_a_body_that_is_odd_is_refused_by_name_and_the_server_goes_on(guarded: Guarded, name: str) -> None:
    for headers in (
        {},
        {"accept": "application/json;q=0.1, text/event-stream"},
        {"mcp-protocol-version": "2026-07-28", "mcp-method": "ping"},
    ):
        answer = await guarded.server.post(STRANGERS[name], headers, token=guarded.token["bob"])
        assert answer.status_code in (200, 202, 400, 413), (answer.status_code, answer.text[:300])
        assert len(answer.content) < 210_000  # an id comes back as it was
        assert "Traceback" not in answer.text and "site-packages" not in answer.text and "root:" not in answer.text
    assert '"result"' in told(await guarded.server.post(call_of("list_sessions"), token=guarded.token["bob"]))


@pytest.mark.parametrize(
    "body", ["[]", "{}", "7", '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', '[{"secret":1}]']
)
async def test_what_is_no_message_is_told_shortly_and_without_the_parsers_words(guarded: Guarded, body: str) -> None:
    for headers in ({}, {"accept": "application/json;q=0.1, text/event-stream"}):
        answer = await guarded.server.post(body, headers, token=guarded.token["bob"])
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == -32600
        assert "one JSON object" in answer.json()["error"]["message"]
        assert len(answer.content) < 700 and "pydantic" not in answer.text and "secret" not in answer.text


@pytest.mark.parametrize(
    "kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_what_a_page_can_send_unasked_is_not_taken(guarded: Guarded, kind: str) -> None:
    """A browser sends these kinds to anywhere without asking first; JSON it does not."""
    answer = await guarded.server.post(BODY, {"content-type": kind}, token=guarded.token["ada"])
    assert answer.status_code in (400, 415)
    assert answer.headers["content-type"] == "application/json"
    assert "application/json" in answer.json()["error"]["message"]


async def test_who_takes_no_kind_of_answer_that_there_is_is_told_which_there_are(guarded: Guarded) -> None:
    message, headers = modern(call_of("list_sessions"))
    for accept in ("text/event-stream;q=0.9", "text/html", "application/xml"):
        for sent, named in ((message, headers), (call_of("list_sessions"), {})):
            answer = await guarded.server.post(sent, {**named, "accept": accept}, token=guarded.token["ada"])
            assert answer.status_code == 406 or '"result"' in told(answer)
            if answer.status_code == 406:
                assert "application/json" in answer.json()["error"]["message"]


async def test_who_has_no_token_is_not_waited_for_nor_read(guarded: Guarded) -> None:
    """A stranger's body is neither held nor awaited, however large or slow it is."""
    with anyio.fail_after(10):
        back = await guarded.server.bytes_back(raw(guarded, b"Content-Length: 60000000", token=None) + b"x" * 1000)
        assert back.startswith(b"HTTP/1.1 401 ")
        back = await guarded.server.bytes_back(
            raw(guarded, b"Transfer-Encoding: chunked", token=None) + b"5\r\nhello\r\n"
        )
        assert back.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in back


async def test_who_opens_connections_and_says_nothing_keeps_nobody_out(guarded: Guarded) -> None:
    silent = [await asyncio.open_connection(guarded.server.host, guarded.server.port) for _ in range(300)]
    try:
        for number, (_, writer) in enumerate(silent):
            if number % 2:
                writer.write(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        with anyio.fail_after(10):
            answer = await guarded.server.post(call_of("list_sessions"), token=guarded.token["bob"])
        assert answer.status_code == 200
    finally:
        for _, writer in silent:
            writer.close()


async def test_after_all_of_this_the_log_tells_of_no_failure_and_of_no_token(guarded: Guarded) -> None:
    last = await guarded.server.post(call_of("list_sessions"), token=guarded.token["bob"])
    await guarded.server.line(request_id=last.headers["x-request-id"])
    assert [line for line in guarded.server.lines() if line["level"] == "error" or line.get("status", 0) >= 500] == []
    for token in guarded.token.values():
        assert token not in guarded.server.log()
    assert SECRET not in guarded.server.log()
