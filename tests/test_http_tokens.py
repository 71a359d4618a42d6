"""Over HTTP a token is asked for, always, in one way: what it opens, what is said otherwise, what the log keeps."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx2
import pytest

from builders import a_turn
from http_doors import JSON, HttpServer, call_of, folders, modern, run, the_http_server, token_for
from mcp_doors import ERAS, answer_of, said

METADATA = "/.well-known/oauth-protected-resource/mcp"


class Door(NamedTuple):
    server: HttpServer
    token: str
    token_id: str
    database: Path
    env: dict[str, str]


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    home = tmp_path_factory.mktemp("tokens")
    env = folders(home)
    async with the_http_server(home / "sessions.db", "--workers", "2", env=env) as server:
        token, token_id = await token_for(home / "sessions.db", "ada", **env)
        yield Door(server, token, token_id, home / "sessions.db", env)


def challenge_of(answer: httpx2.Response) -> str:
    told: str = answer.headers["www-authenticate"]
    assert told.startswith("Bearer ")
    assert f'resource_metadata="{str(answer.url).removesuffix("/mcp")}{METADATA}"' in told
    return told


@pytest.mark.parametrize("era", ERAS)
async def test_a_token_opens_its_users_sessions(door: Door, era: str) -> None:
    async with door.server.client(era, token=door.token) as client:
        answer_of(await client.call_tool("record_run", {"messages": a_turn("of Ada"), "session_id": f"ada-{era}"}))
        assert "of Ada" in said(await client.call_tool("get_chat_history", {"session_id": f"ada-{era}"}))
    other, _ = await token_for(door.database, "bob", "read", **door.env)
    async with door.server.client(era, token=other) as client:
        assert "No sessions match" in said(await client.call_tool("list_sessions"))
        assert (await client.call_tool("get_chat_history", {"session_id": f"ada-{era}"})).is_error
        assert {tool.name for tool in (await client.list_tools()).tools}.isdisjoint({"record_run", "delete_session"})


async def test_without_a_token_a_client_is_told_where_tokens_come_from(door: Door) -> None:
    answer = await door.server.post(call_of("list_sessions"))
    assert answer.status_code == 401
    # RFC 6750, 3.1: who sent no credential gets no error code.
    assert "error" not in challenge_of(answer)
    assert "backscroll token create" in answer.json()["error"]["message"]
    metadata = await door.server.get(METADATA)
    assert metadata.status_code == 200
    assert metadata.json()["resource"] == door.server.url
    assert "read" in metadata.json()["scopes_supported"]


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Basic abc", "Bearer  {token}", "Bearer {token} ", "Bearer {token},x", "bearer:{token}",
     "{token}", "Token {token}", "Bearer x{token}", "Bearer {cut}", "Bearer {token}=x", 'Bearer "{token}"'],
)  # fmt: skip
async def test_what_is_no_valid_bearer_token_is_401(door: Door, header: str) -> None:
    sent = header.format(token=door.token, cut=door.token[:-1]).encode()
    # Spaces at the end are the header's own, not the token's (RFC 9110, 5.5).
    expected = 200 if header.endswith("{token} ") else 401
    body = json.dumps(call_of("list_sessions")).encode()
    lines = [b"POST /mcp HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close", b"Authorization: " + sent]
    lines += [f"{name}: {value}".encode() for name, value in JSON.items()]
    lines += [b"Content-Length: %d" % len(body), b"", body]
    back = await door.server.bytes_back(b"\r\n".join(lines))
    assert back.startswith(b"HTTP/1.1 %d " % expected)
    if expected == 401:
        assert b'error="invalid_token"' in back


async def test_the_scheme_may_be_written_in_any_case(door: Door) -> None:
    answer = await door.server.post(call_of("list_sessions"), {"authorization": f"bEARER {door.token}"})
    assert answer.status_code == 200


async def test_two_authorization_headers_are_refused(door: Door) -> None:
    both = [("authorization", f"Bearer {door.token}"), ("authorization", f"Bearer {door.token}"), *JSON.items()]
    answer = await door.server.http.post(door.server.url, json=call_of("list_sessions"), headers=both)
    assert answer.status_code == 400 and 'error="invalid_request"' in challenge_of(answer)


@pytest.mark.parametrize("query", ["access_token={token}", "x=1&access%5Ftoken={token}"])
async def test_a_token_in_a_url_is_refused_even_beside_a_good_one(door: Door, query: str) -> None:
    url = f"{door.server.url}?{query.format(token=door.token)}"
    for headers in (JSON, {**JSON, "authorization": f"Bearer {door.token}"}):
        answer = await door.server.http.post(url, json=call_of("list_sessions"), headers=headers)
        assert answer.status_code == 400 and "URL" in answer.json()["error"]["message"]


async def test_a_token_in_the_body_or_in_another_header_opens_nothing(door: Door) -> None:
    message = {**call_of("list_sessions", access_token=door.token), "access_token": door.token}
    for headers in ({"x-authorization": f"Bearer {door.token}"}, {"proxy-authorization": f"Bearer {door.token}"}, {}):
        assert (await door.server.post(message, headers)).status_code == 401


async def test_a_revoked_token_opens_nothing_from_then_on_and_its_stream_ends(door: Door) -> None:
    token, token_id = await token_for(door.database, "eve", **door.env)
    params = {"notifications": {"resourcesListChanged": True}}
    message, headers = modern({"jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen", "params": params})
    sent = {**JSON, **headers, "authorization": f"Bearer {token}"}
    async with door.server.http.stream("POST", door.server.url, json=message, headers=sent) as stream:
        lines = stream.aiter_lines()
        async for line in lines:
            if "acknowledged" in line:
                break
        await run("token", "revoke", "--db", str(door.database), token_id, env=door.env)
        for _ in range(8):  # either worker
            async with httpx2.AsyncClient() as fresh:
                sent = {**JSON, "authorization": f"Bearer {token}"}
                answer = await fresh.post(door.server.url, json=call_of("list_sessions"), headers=sent)
            assert answer.status_code == 401 and 'error="invalid_token"' in challenge_of(answer)
        with anyio.fail_after(30):
            rest = [json.loads(line.removeprefix("data: ")) async for line in lines if line.startswith("data: ")]
    assert "not valid any more" in rest[-1]["error"]["message"]


async def test_the_public_address_is_the_one_in_the_metadata(database: Path) -> None:
    env = {"BACKSCROLL_HTTP_URL": "https://memory.example.com/team/mcp"}
    async with the_http_server(database, env=env) as server:
        answer = await server.post(call_of("list_sessions"))
        told = answer.headers["www-authenticate"]
        assert 'resource_metadata="https://memory.example.com/.well-known/oauth-protected-resource/team/mcp"' in told
        metadata = await server.get("/.well-known/oauth-protected-resource/team/mcp")
        assert metadata.json()["resource"] == "https://memory.example.com/team/mcp"


async def test_a_request_has_one_id_in_answer_and_log(door: Door) -> None:
    answer = await door.server.post(call_of("list_sessions"), {"x-request-id": "trace-42.a"}, token=door.token)
    assert answer.headers["x-request-id"] == "trace-42.a"
    line = await door.server.line(request_id="trace-42.a")
    assert line["event"] == "request"
    assert (line["method"], line["tool"], line["status"], line["outcome"]) == ("tools/call", "list_sessions", 200, "ok")
    assert line["token_id"] == door.token_id
    assert line["duration_ms"] > 0 and isinstance(line["worker"], int)


@pytest.mark.parametrize("given", ["", "a b", "x" * 200, "ü", 'a"b', "a{b}"])
async def test_an_id_that_is_no_plain_word_is_replaced(door: Door, given: str) -> None:
    headers = [("x-request-id", given), ("authorization", f"Bearer {door.token}"), *JSON.items()]
    sent = [(name.encode(), value.encode()) for name, value in headers]
    answer = await door.server.http.post(door.server.url, json=call_of("list_sessions"), headers=sent)
    made = answer.headers["x-request-id"]
    assert made != given and len(made) == 16
    await door.server.line(request_id=made)


async def test_the_log_never_has_what_was_said_nor_a_token(door: Door) -> None:
    """Whatever is asked, and however wrongly."""
    secret = "sesame-zanzibar"
    server, token = door.server, door.token
    for message in (
        call_of("record_run", messages=a_turn(f"The word is {secret}"), session_id=secret),
        call_of("search_session_history", query=secret),
        call_of("get_chat_history", session_id=secret, cursor=secret),
        call_of(secret),
        {"jsonrpc": "2.0", "id": secret, "method": secret},
        {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": f"session://{secret}"}},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7, secret: secret}},
        {"jsonrpc": "2.0", "method": f"notifications/{secret}", "params": {secret: secret}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [secret]}},
        [secret],
        f'{{"{secret}',
        b"\xff\xfe" + secret.encode(),
    ):
        await server.post(message, token=token)
        await server.post(message, {"accept": "application/json;q=0.1, text/event-stream"}, token=token)
        sent, headers = modern(message) if isinstance(message, dict) else (message, {})
        await server.post(sent, headers, token=token)
    await server.http.post(f"{server.base}/{secret}?q={secret}", headers={secret: secret, "authorization": secret})
    await server.http.post(f"{server.url}?q={secret}", headers={"mcp-protocol-version": secret, "host": secret})
    await server.post(call_of("list_sessions"), {"mcp-session-id": secret, "user-agent": secret, "accept": secret})
    last = await server.post(call_of("list_sessions"), token=token)
    await server.line(request_id=last.headers["x-request-id"])
    assert len(server.lines()) > 30
    assert secret not in server.log()
    assert token not in server.log() and token[-20:] not in server.log()
    assert "ada" not in {line.get("user") for line in server.lines()}


async def test_the_log_tells_the_operator_why_a_token_is_refused(door: Door) -> None:
    """The client is not told: which tokens there are is none of its business."""
    ended, ended_id = await token_for(door.database, "ada", **door.env)
    await run("token", "revoke", "--db", str(door.database), ended_id, env=door.env)
    answers = [await door.server.post(call_of("list_sessions"), token=token) for token in (ended, "x" * 40)]
    assert {answer.status_code for answer in answers} == {401}
    assert answers[0].json() == answers[1].json()
    for answer, why in zip(answers, ("revoked", "malformed"), strict=True):
        line = await door.server.line(request_id=answer.headers["x-request-id"])
        assert line["why"] == why
