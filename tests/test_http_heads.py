"""Requests that a proxy and a server could cut apart in different places are refused, and the connection closed."""

import json
from collections.abc import AsyncIterator

import pytest

from http_doors import HttpServer, call_of, folders, the_http_server

BODY = json.dumps(call_of("list_sessions")).encode()
HIDDEN = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HttpServer]:
    home = tmp_path_factory.mktemp("heads")
    env = {**folders(home), "BACKSCROLL_HTTP_HEADER_TIMEOUT_S": "1.5", "BACKSCROLL_HTTP_MAX_HEADER_BYTES": "4096"}
    async with the_http_server(home / "sessions.db", "--no-auth", env=env) as running:
        yield running


def head(*lines: bytes, start: bytes = b"POST /mcp HTTP/1.1") -> bytes:
    usual = (b"Host: 127.0.0.1", b"Content-Type: application/json", b"Accept: application/json")
    return b"\r\n".join((start, *usual, *lines, b"", b""))


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

SMUGGLED = {
    "a length beside chunked": head(LENGTH, b"Transfer-Encoding: chunked") + CHUNKED + HIDDEN,
    "chunked beside a length": head(b"Transfer-Encoding: chunked", b"Content-Length: 4") + CHUNKED + HIDDEN,
    "two lengths that differ": head(LENGTH, b"Content-Length: 0") + BODY + HIDDEN,
    "two lengths that agree": head(LENGTH, LENGTH) + BODY,
    "a list of lengths": head(b"Content-Length: %d, %d" % (len(BODY), len(BODY))) + BODY,
    "a length with a sign": head(b"Content-Length: +%d" % len(BODY)) + BODY,
    "a length in hexadecimal": head(b"Content-Length: 0x10") + BODY,
    "a space before the colon": head(b"Content-Length : %d" % len(BODY)) + BODY,
    "another coding": head(b"Transfer-Encoding: gzip, chunked") + CHUNKED,
    "a coding that is none": head(b"Transfer-Encoding: xchunked") + CHUNKED,
    "chunked with a tab in it": head(b"Transfer-Encoding:\x0bchunked") + CHUNKED,
    "chunked twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + CHUNKED,
    "chunked in HTTP/1.0": head(b"Transfer-Encoding: chunked", start=b"POST /mcp HTTP/1.0") + CHUNKED,
    "lines that end in LF": head(LENGTH).replace(b"\r\n", b"\n") + BODY,
    "one line that ends in LF": head(b"X: 1\nContent-Length: 0", LENGTH) + BODY + HIDDEN,
    "a CR alone": head(b"X: 1\rContent-Length: 0", LENGTH) + BODY + HIDDEN,
    "a folded header": head(b"X: 1\r\n Content-Length: 0", LENGTH) + BODY,
    "a folded header, by a tab": head(b"X: 1\r\n\tmore", LENGTH) + BODY,
    "a header without a name": head(b": 1", LENGTH) + BODY,
    "a NUL": head(b"X: a\0b", LENGTH) + BODY,
    "two hosts": head(b"Host: evil.example", LENGTH) + BODY,
    "no host": b"POST /mcp HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "an empty line before all": b"\r\n\r\n" + head(LENGTH) + BODY,
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "HTTP/2 without being asked": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a chunk that is longer than it says": head(b"Transfer-Encoding: chunked") + b"1\r\nabc\r\n0\r\n\r\n" + HIDDEN,
    "a chunk size that is none": head(b"Transfer-Encoding: chunked") + b"zz\r\n" + BODY + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=SMUGGLED)
async def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(
    server: HttpServer, sent: bytes
) -> None:
    back = await server.bytes_back(sent)
    # One answer, and nothing for what was hidden behind it.
    assert back.count(b"\r\n\r\n") == 1
    status, _, rest = back.partition(b"\r\n")
    assert status.split()[1] in (b"400", b"501"), back
    assert b"connection: close" in rest.lower()


async def test_the_same_request_said_properly_is_served(server: HttpServer) -> None:
    for sent in (
        head(LENGTH, b"Connection: close") + BODY,
        head(b"Transfer-Encoding: chunked", b"Connection: close") + CHUNKED,
    ):
        back = await server.bytes_back(sent)
        assert back.startswith(b"HTTP/1.1 200 ") and b"jsonrpc" in back


async def test_requests_in_a_row_on_one_connection_are_all_served(server: HttpServer) -> None:
    back = await server.bytes_back(
        head(LENGTH) + BODY + head(LENGTH) + BODY + head(LENGTH, b"Connection: close") + BODY
    )
    assert back.count(b"HTTP/1.1 200 ") == 3


async def test_the_second_of_two_requests_is_read_as_strictly(server: HttpServer) -> None:
    back = await server.bytes_back(head(LENGTH) + BODY + SMUGGLED["a length beside chunked"])
    assert back.count(b"HTTP/1.1 200 ") == 1 and back.count(b"HTTP/1.1 400 ") == 1


async def test_headers_that_are_too_large_are_refused(server: HttpServer) -> None:
    for sent in (head(b"X: " + b"x" * 5000, LENGTH) + BODY, b"POST /" + b"x" * 8000):
        back = await server.bytes_back(sent)
        assert back.startswith(b"HTTP/1.1 431 ")
        assert b"BACKSCROLL_HTTP_MAX_HEADER_BYTES" in back


async def test_headers_that_do_not_come_are_waited_for_no_longer_than_set(server: HttpServer) -> None:
    back = await server.bytes_back(b"POST /mcp HTTP/1.1\r\nHost: ")
    assert back.startswith(b"HTTP/1.1 408 ")
    assert await server.bytes_back() == b""


async def test_on_a_kept_connection_too_the_next_headers_must_come_in_time(server: HttpServer) -> None:
    back = await server.bytes_back(head(LENGTH) + BODY, b"POST /mcp HTT")
    assert back.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in back
