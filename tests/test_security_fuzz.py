"""Requests that hypothesis makes up, raw and by the protocol's shapes, against the real server.

Whatever is sent: the server answers with no error of its own, tells nothing of its inside nor of another's sessions,
serves nobody without a token, and goes on. More examples: `BACKSCROLL_FUZZ_EXAMPLES=5000 HYPOTHESIS_PROFILE=hunt`;
`scripts/security.py` runs them so.
"""

import asyncio
import json
import os
import re
import string
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_doors import JSON, call_of
from mcp_doors import READING, WRITING
from security_doors import SECRET, Guarded, the_guarded_server, told

EXAMPLES = int(os.environ.get("BACKSCROLL_FUZZ_EXAMPLES", "60"))
PATIENCE_SECONDS = 30
INSIDE = re.compile(
    rb"Traceback|site-packages|File \"|\.py[:\"',]|sqlite3|psycopg|sessions\.db|aiosqlite|pydantic", re.IGNORECASE
)
many = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    home = tmp_path_factory.mktemp("fuzz")
    # What is not sent to its end is waited for; here that is most of it.
    times = {"BACKSCROLL_HTTP_HEADER_TIMEOUT_S": "0.3", "BACKSCROLL_HTTP_BODY_TIMEOUT_S": "0.3"}
    async with the_guarded_server(home, "--multi-user", **times) as running:
        yield running
        failures = [line for line in running.server.lines() if line["level"] in ("error", "critical")]
        assert failures == []


# What is sent

METHODS = ["POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "post", "PRI", ""]
PATHS = [
    "/mcp",
    "/mcp",
    "/mcp",
    "/healthz",
    "/readyz",
    "/.well-known/oauth-protected-resource/mcp",
    "/",
    "*",
    "/mcp/",
    "//mcp",
]
NAMES = [
    "Host", "Origin", "Content-Length", "Transfer-Encoding", "Content-Type", "Accept", "Authorization", "Mcp-Method",
    "Mcp-Name", "Mcp-Protocol-Version", "Mcp-Session-Id", "Last-Event-Id", "Content-Encoding", "Expect", "Upgrade",
    "Connection", "X-Request-Id", "Range",
]  # fmt: skip
VALUES = [
    "127.0.0.1", "evil.example", "chunked", "0", "5", "-1", "application/json", "text/event-stream;q=0.9", "*/*",
    "Bearer x", "tools/call", "2026-07-28", "2025-11-25", "gzip", "100-continue", "h2c", "websocket", "keep-alive",
    "bytes=0-1", "=?base64?eA==?=",
]  # fmt: skip
RPC_METHODS = [
    "initialize", "ping", "server/discover", "tools/list", "tools/call", "resources/list", "resources/read",
    "resources/templates/list", "prompts/list", "prompts/get", "completion/complete", "logging/setLevel",
    "resources/subscribe", "notifications/cancelled", "notifications/initialized", "tasks/get",
    "sampling/createMessage",
]  # fmt: skip

latin = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)
line_noise = st.text(st.characters(max_codepoint=255), max_size=40)
headers = st.lists(
    st.tuples(st.sampled_from(NAMES) | st.text(string.ascii_letters + "-", min_size=1, max_size=20) | line_noise,
              st.sampled_from(VALUES) | latin | line_noise), max_size=8,
)  # fmt: skip
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
)
words = st.sampled_from(
    [
        "ada-own",
        "#1",
        "#1.1",
        "bob-own",
        "session://ada-own",
        "session://%00",
        "sessions://recent",
        "resume",
        "%",
        "*",
        '"',
    ]
)


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Three times of four what belongs there, else anything."""
    return st.one_of(usual, usual, usual, values)


ARGUMENTS = [
    "session_id", "query", "cursor", "max_tokens", "limit", "user_id", "messages", "format", "since", "run_id", "title",
    "summary",
]  # fmt: skip
arguments = st.dictionaries(
    st.sampled_from(ARGUMENTS)
    | st.text(max_size=8),
    mostly(words | st.integers(-5, 10**6)), max_size=5,
)  # fmt: skip
meta = st.fixed_dictionaries(
    {},
    optional={
        "io.modelcontextprotocol/protocolVersion": mostly(st.sampled_from(["2026-07-28", "2025-11-25"])),
        "io.modelcontextprotocol/clientCapabilities": mostly(st.just({})),
        "progressToken": values,
        "user_id": words,
    },
)
params = st.fixed_dictionaries(
    {},
    optional={
        "name": mostly(st.sampled_from([*READING, *WRITING, "resume"])),
        "arguments": mostly(arguments),
        "uri": mostly(words),
        "ref": mostly(st.sampled_from([{"type": "ref/prompt", "name": "resume"}, {"type": "ref/resource", "uri": "session://{session_id}"}])),
        "argument": mostly(st.fixed_dictionaries({"name": st.just("session"), "value": words})),
        "cursor": values,
        "protocolVersion": mostly(st.just("2025-11-25")),
        "capabilities": mostly(st.just({})),
        "clientInfo": mostly(st.just({"name": "x", "version": "1"})),
        "_meta": mostly(meta),
    },
)  # fmt: skip
message = st.fixed_dictionaries(
    {"jsonrpc": mostly(st.just("2.0")), "method": mostly(st.sampled_from(RPC_METHODS))},
    optional={"id": mostly(st.integers(0, 9)), "params": mostly(params), "result": values, "error": values},
)
bodies = st.one_of(message, message, message, st.lists(message, max_size=3), values)


def written(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


# What comes back


async def answers(guarded: Guarded, sent: bytes) -> bytes:
    """All that comes back for one connection, or what came before the server cut it."""
    back = b""
    with anyio.fail_after(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection(guarded.server.host, guarded.server.port)
        try:
            writer.write(sent)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while piece := await reader.read(65_536):
                back += piece
        except ConnectionError:
            pass
        finally:
            writer.close()
    return back


STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)


def check(guarded: Guarded, back: bytes, sent: bytes, *, may_serve: bool) -> None:
    statuses = [int(status) for status in STATUS.findall(back)]
    assert all(status < 500 or status in (501, 503) for status in statuses), (sent, back)
    for secret in (SECRET, *guarded.token.values()):
        assert secret.encode() not in back or secret.encode() in sent, (sent, back)
    assert not INSIDE.search(back) or INSIDE.search(sent), (sent, back)
    if not may_serve:
        assert b'"result"' not in back, (sent, back)


async def goes_on(guarded: Guarded) -> None:
    answer = await guarded.server.post(call_of("list_sessions"), token=guarded.token["bob"])
    assert answer.status_code == 200 and '"result"' in told(answer)


def request(
    method: str, path: str, pairs: list[tuple[str, str]], body: bytes, *, sized: bool, token: str | None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1", "replace")]
    lines += [f"{name}: {value}".encode("latin-1", "replace") for name, value in pairs]
    if token is not None:
        lines.append(b"Authorization: Bearer " + token.encode())
    if sized:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


@many
@given(
    method=st.sampled_from(METHODS) | latin,
    path=st.sampled_from(PATHS)
    | st.sampled_from(PATHS).flatmap(lambda path: latin.map(lambda more: path + more))
    | latin,
    pairs=headers,
    usual=st.booleans(),
    body=bodies.map(written) | st.binary(max_size=200),
    sized=st.booleans(),
    who=st.sampled_from(["bob", None]),
)
async def test_whatever_is_sent_as_a_request_is_answered_soundly(
    guarded: Guarded,
    method: str,
    path: str,
    pairs: list[tuple[str, str]],
    usual: bool,
    body: bytes,
    sized: bool,
    who: str | None,
) -> None:
    if usual:
        pairs = [("Host", "127.0.0.1"), *JSON.items(), *pairs]
    sent = request(method, path, pairs, body, sized=sized, token=None if who is None else guarded.token[who])
    check(guarded, await answers(guarded, sent), sent, may_serve=who is not None)
    await goes_on(guarded)


@many
@given(sent=st.binary(max_size=2000), cut=st.integers(0, 400))
async def test_whatever_bytes_come_are_answered_soundly(guarded: Guarded, sent: bytes, cut: int) -> None:
    sound = request(
        "POST",
        "/mcp",
        [("Host", "127.0.0.1"), *JSON.items()],
        written(call_of("list_sessions")),
        sized=True,
        token=None,
    )
    check(guarded, await answers(guarded, sent), sent, may_serve=False)
    check(guarded, await answers(guarded, sound[:cut] + sent), sound[:cut] + sent, may_serve=False)
    await goes_on(guarded)


@many
@given(
    body=bodies,
    named=st.booleans(),
    accept=st.sampled_from(
        ["application/json, text/event-stream", "application/json;q=0.1, text/event-stream", "*/*", "text/html", ""]
    ),
    version=st.sampled_from(["2026-07-28", "2025-11-25", "2025-06-18", "x", None]),
    who=st.sampled_from(["bob", "writer", "back end", None]),
)
async def test_whatever_is_said_in_the_protocol_is_answered_soundly(
    guarded: Guarded, body: Any, named: bool, accept: str, version: str | None, who: str | None
) -> None:
    pairs = {"accept": accept}
    if version is not None:
        pairs["mcp-protocol-version"] = version
    if named and isinstance(body, dict):
        for header, value in (("mcp-method", body.get("method")), ("mcp-name", _name_in(body))):
            if isinstance(value, str) and value.isascii() and value.isprintable():
                pairs[header] = value
    sent = written(body)
    with anyio.fail_after(PATIENCE_SECONDS):
        answer = await guarded.server.post(sent, pairs, token=None if who is None else guarded.token[who])
    back = f"HTTP/1.1 {answer.status_code} \r\n".encode() + answer.content
    if who is None:
        assert answer.status_code == 401, (sent, back)
    if who == "back end":
        # Whoever may name anybody may read anybody; no other does.
        back = back.replace(SECRET.encode(), b"")
    check(guarded, back, sent, may_serve=who is not None)
    await goes_on(guarded)


def _name_in(body: dict[str, Any]) -> Any:
    inner = body.get("params")
    return inner.get("name", inner.get("uri")) if isinstance(inner, dict) else None
