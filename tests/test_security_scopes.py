"""A token does what it was made for and nothing else, by whatever route and in whatever disguise, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from builders import a_turn
from http_doors import JSON, call_of, modern
from mcp_doors import READING, WRITING
from security_doors import SECRET, Guarded, every_way, outcome, refused, the_guarded_server, told


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with the_guarded_server(tmp_path_factory.mktemp("scopes")) as running:
        yield running


@pytest.fixture(scope="module")
async def of_many(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with the_guarded_server(tmp_path_factory.mktemp("many"), "--multi-user") as running:
        yield running


def asking(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


OWN = "ada-own"
CALLS: dict[str, dict[str, Any]] = {
    "search_session_history": {"query": "crown"},
    "list_sessions": {},
    "get_chat_history": {"session_id": OWN},
    "get_tool_call_history": {"session_id": OWN},
    "get_session_context": {"session_id": OWN},
    "record_run": {"messages": a_turn("smuggled"), "session_id": OWN},
    "summarize_session": {"session_id": OWN, "summary": "smuggled"},
    "update_session": {"session_id": OWN, "title": "smuggled"},
    "fork_session": {"session_id": OWN},
    "delete_session": {"session_id": OWN},
}
READS: dict[str, dict[str, Any]] = {
    **{name: call_of(name, **CALLS[name]) for name in READING},
    "session": asking("resources/read", uri=f"session://{OWN}"),
    "transcript": asking("resources/read", uri=f"session://{OWN}/transcript"),
    "message": asking("resources/read", uri=f"session://{OWN}/messages/1"),
    "summary": asking("resources/read", uri=f"session://{OWN}/summary"),
    "recent": asking("resources/read", uri="sessions://recent"),
    "prompt": asking("prompts/get", name="resume", arguments={"session": OWN}),
    "completion": asking(
        "completion/complete",
        ref={"type": "ref/prompt", "name": "resume"},
        argument={"name": "session", "value": "ada"},
    ),
    "listening": asking("subscriptions/listen", notifications={"resourceSubscriptions": [f"session://{OWN}"]}),
}
LISTS = ("resources/list", "resources/templates/list", "prompts/list")


def test_every_tool_is_tried() -> None:
    assert set(CALLS) == {*READING, *WRITING}


@pytest.mark.parametrize("name", READS)
async def test_who_may_not_read_reads_nothing(guarded: Guarded, name: str) -> None:
    for who in ("writer", "deleter"):
        for way, answer in await every_way(guarded, READS[name], guarded.token[who]):
            assert refused(answer), (who, way, answer.text)
            assert SECRET not in answer.text and "willow" not in answer.text


@pytest.mark.parametrize("method", LISTS)
async def test_who_may_not_read_is_shown_empty_lists(guarded: Guarded, method: str) -> None:
    for way, answer in await every_way(guarded, asking(method), guarded.token["writer"]):
        (shown,) = (value for value in outcome(answer)["result"].values() if isinstance(value, list))
        assert shown == [], way


@pytest.mark.parametrize(
    ("who", "tools"),
    [("reader", WRITING), ("writer", ["delete_session"]), ("deleter", ["record_run", "update_session"])],
)
async def test_who_may_not_change_changes_nothing(guarded: Guarded, who: str, tools: tuple[str, ...]) -> None:
    before = await guarded.sessions_of("ada")
    for name in tools:
        for way, answer in await every_way(guarded, call_of(name, **CALLS[name]), guarded.token[who]):
            assert refused(answer), (name, way, answer.text)
            assert "needs the scope" in told(answer)
    assert await guarded.sessions_of("ada") == before


WRITE = call_of("record_run", **CALLS["record_run"])
SLIPPED_IN: dict[str, Any] = {
    "scopes in _meta": {"_meta": {"scope": "write", "scopes": ["write"], "backscroll.access": {"scopes": ["write"]}}},
    "a user in _meta": {"_meta": {"user_id": "bob", "backscroll/user": "bob", "io.modelcontextprotocol/user": "bob"}},
    "another tool in _meta": {"_meta": {"name": "list_sessions", "io.modelcontextprotocol/method": "tools/list"}},
    "scopes beside the arguments": {"scope": "write", "access": {"scopes": ["read", "write", "delete", "act-as"]}},
    "a task, which takes calls elsewhere": {"task": {"ttl": 60000}},
}


@pytest.mark.parametrize("name", SLIPPED_IN)
async def test_what_a_request_says_of_itself_gives_no_scope(guarded: Guarded, name: str) -> None:
    before = await guarded.sessions_of("ada")
    added = SLIPPED_IN[name]
    for message in (
        {**WRITE, "params": {**WRITE["params"], **added}},
        {**WRITE, **added},
        {**WRITE, "params": {**WRITE["params"], "arguments": {**WRITE["params"]["arguments"], **added}}},
    ):
        for way, answer in await every_way(guarded, message, guarded.token["reader"]):
            assert refused(answer), (way, answer.text)
    assert await guarded.sessions_of("ada") == before


FALSE_NAMES = [
    ("TOOLS/CALL", "record_run"), ("Tools/Call", "record_run"), ("tools/call ", "record_run"),
    (" tools/call", "record_run"), ("tools//call", "record_run"), ("tools/./call", "record_run"),
    ("tools/call\0", "record_run"), ("tools\\call", "record_run"), ("tools%2Fcall", "record_run"),
    ("ｔools/call", "record_run"), ("tools/call", "RECORD_RUN"), ("tools/call", "record_run "),
    ("tools/call", " record_run"), ("tools/call", "record_run\0"), ("tools/call", "record_run\u200b"),
    ("tools/call", "record%5Frun"), ("tools/call", "ｒecord_run"), ("tools/call", "../record_run"),
    ("tools/call", "backscroll.record_run"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "tool"), FALSE_NAMES)
async def test_a_name_that_only_looks_like_one_is_none(guarded: Guarded, method: str, tool: str) -> None:
    """Even for who may write: what is checked under one name is never done under another."""
    before = await guarded.sessions_of("ada")
    message = {**call_of(tool, **CALLS["record_run"]), "method": method}
    for who in ("reader", "ada"):
        for headers in ({}, {"accept": "application/json;q=0.1, text/event-stream"}):
            assert refused(await guarded.server.post(message, headers, token=guarded.token[who]))
    assert await guarded.sessions_of("ada") == before


@pytest.mark.parametrize("who", ["reader", "ada"])
async def test_a_batch_is_refused_whole(guarded: Guarded, who: str) -> None:
    """JSON-RPC's arrays are not of these eras; none is taken apart, not even of one."""
    before = await guarded.sessions_of("ada")
    for batch in ([WRITE], [call_of("list_sessions"), WRITE], [[WRITE]], [WRITE] * 500, []):
        for kind in ({}, {"accept": "application/json;q=0.1, text/event-stream"}, modern(WRITE)[1]):
            answer = await guarded.server.post(batch, kind, token=guarded.token[who])
            assert answer.status_code == 400, answer.text
            assert SECRET not in answer.text
    assert await guarded.sessions_of("ada") == before


async def test_a_call_that_wants_no_answer_is_not_made(guarded: Guarded) -> None:
    """A notification has no id, and none of a call's is answered; so a refusal could not be told either."""
    before = await guarded.sessions_of("ada")
    without_id = {name: value for name, value in WRITE.items() if name != "id"}
    for message in (without_id, {**without_id, "id": None}):
        for who in ("reader", "writer", "ada"):
            for way, answer in await every_way(guarded, message, guarded.token[who]):
                assert '"recorded"' not in answer.text, way
    assert await guarded.sessions_of("ada") == before


async def test_the_headers_must_say_what_the_body_does(guarded: Guarded) -> None:
    """A gateway that lets requests through by their headers must not be told another story than we are."""
    before = await guarded.sessions_of("ada")
    message, headers = modern(WRITE)
    for false in (
        {"mcp-name": "list_sessions"},
        {"mcp-method": "tools/list"},
        {"mcp-method": "ping", "mcp-name": "record_run"},
        {"mcp-name": "Record_Run"},
        {"mcp-name": "=?base64?bGlzdF9zZXNzaW9ucw==?="},
        {"mcp-protocol-version": "1999-01-01"},
    ):
        answer = await guarded.server.post(message, {**headers, **false}, token=guarded.token["ada"])
        assert answer.status_code == 400, (false, answer.text)
    # In the old era these headers mean nothing: what is done hangs on the body, and so does what is allowed.
    old = {**headers, "mcp-protocol-version": "2025-11-25", "mcp-name": "list_sessions"}
    assert refused(await guarded.server.post(message, old, token=guarded.token["reader"]))
    assert await guarded.sessions_of("ada") == before


async def test_a_member_said_twice_is_checked_as_it_is_done(guarded: Guarded) -> None:
    before = await guarded.sessions_of("ada")
    params = json.dumps(WRITE["params"])
    harmless = json.dumps(call_of("list_sessions")["params"])
    for first, second in ((params, harmless), (harmless, params)):
        body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{first},"params":{second}}}'
        await guarded.server.post(body, token=guarded.token["reader"])
    name = f'{{"name":"list_sessions","name":"record_run","arguments":{json.dumps(CALLS["record_run"])}}}'
    for method in ('"method":"tools/list","method":"tools/call"', '"method":"tools/call"'):
        body = f'{{"jsonrpc":"2.0","id":1,{method},"params":{name}}}'
        assert refused(await guarded.server.post(body, token=guarded.token["reader"]))
    assert await guarded.sessions_of("ada") == before


@pytest.mark.parametrize(
    "header", ["x-user-id", "x-forwarded-user", "x-remote-user", "x-scope", "mcp-session-id", "forwarded"]
)
async def test_no_header_but_the_tokens_says_who_asks(guarded: Guarded, header: str) -> None:
    for value in ("ada", "write", "for=127.0.0.1;user=ada"):
        for way, answer in await every_way(guarded, call_of("list_sessions"), guarded.token["bob"], {header: value}):
            assert OWN not in answer.text and SECRET not in answer.text, way
        assert (await guarded.server.post(call_of("list_sessions"), {header: value})).status_code == 401


async def test_names_of_headers_may_be_in_any_case_and_count_the_same(guarded: Guarded) -> None:
    body = json.dumps(WRITE).encode()
    for name in (b"Authorization", b"AUTHORIZATION", b"aUtHoRiZaTiOn"):
        lines = [
            b"POST /mcp HTTP/1.1",
            b"Host: 127.0.0.1",
            b"Connection: close",
            name + b": Bearer " + guarded.token["reader"].encode(),
        ]
        lines += [f"{key}: {value}".encode() for key, value in JSON.items()]
        back = await guarded.server.bytes_back(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body]))
        assert back.startswith(b"HTTP/1.1 200 ") and b"needs the scope" in back
    two = [b"Authorization: Bearer " + guarded.token[who].encode() for who in ("reader", "ada")]
    lines = [b"POST /mcp HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close", two[0], two[1].replace(b"Auth", b"AUTH")]
    back = await guarded.server.bytes_back(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body]))
    assert back.startswith(b"HTTP/1.1 400 ")


async def test_tokens_asked_with_at_once_are_not_mixed_up(guarded: Guarded) -> None:
    """The same id of a request, by everybody at the same time."""

    async def ask(who: str) -> tuple[str, str]:
        return who, (await guarded.server.post(call_of("get_chat_history"), token=guarded.token[who])).text

    for who, text in await asyncio.gather(*(ask(who) for who in ("ada", "bob", "writer", "reader") * 25)):
        assert (SECRET in text) == (who in ("ada", "reader")), (who, text)


# Another's name


@pytest.mark.parametrize("who", ["ada", "reader", "writer"])
async def test_without_act_as_no_call_names_a_user(of_many: Guarded, who: str) -> None:
    before = await of_many.sessions_of("bob")
    for name, own in CALLS.items():
        plain = {**own, "session_id": "bob-own"} if "session_id" in own else own
        for key in ("user_id", "USER_ID", "user", "userId"):
            for way, answer in await every_way(of_many, call_of(name, **{**plain, key: "bob"}), of_many.token[who]):
                assert refused(answer), (name, key, way, answer.text)
                assert "nothing much" not in answer.text
        for beside in ({"user_id": "bob"}, {"_meta": {"user_id": "bob"}}):
            message = call_of(name, **plain)
            message["params"] |= beside
            for way, answer in await every_way(of_many, message, of_many.token[who]):
                assert "nothing much" not in answer.text, way  # at most a session of her own gets that name
    assert await of_many.sessions_of("bob") == before


async def test_act_as_names_users_in_calls_and_only_there(of_many: Guarded) -> None:
    token = of_many.token["back end"]
    for way, answer in await every_way(of_many, call_of("get_chat_history", user_id="ada", session_id=OWN), token):
        assert SECRET in told(answer), (way, answer.text)
    for message in (
        asking("resources/read", uri=f"session://{OWN}", user_id="ada"),
        asking("resources/read", uri=f"session://ada@{OWN}"),
        asking("resources/read", uri=f"session://{OWN}?user_id=ada"),
        asking("prompts/get", name="resume", arguments={"session": OWN, "user_id": "ada"}),
        asking("prompts/get", name="resume", arguments={"session": OWN}, user_id="ada"),
    ):
        for way, answer in await every_way(of_many, message, token):
            assert refused(answer) and SECRET not in answer.text, (way, answer.text)


async def test_act_as_means_nothing_where_the_server_is_not_for_many(guarded: Guarded) -> None:
    for way, answer in await every_way(guarded, call_of("list_sessions", user_id="ada"), guarded.token["back end"]):
        assert refused(answer) and OWN not in answer.text, way
