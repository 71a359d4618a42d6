"""Whatever stands in a resource's URI, nothing but the asker's own sessions is read, and no answer tells of others'."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from builders import picture
from http_doors import call_of
from security_doors import OLD_WAYS, SECRET, WAYS, Guarded, every_way, outcome, the_guarded_server, told


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with the_guarded_server(tmp_path_factory.mktemp("uris")) as running:
        yield running


def reading(uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}}


MEDIA_ID = "0" * 64
TRICKS = [
    "file:///etc/passwd", "file://localhost/etc/passwd", "FILE:///etc/passwd", "/etc/passwd", "../../../../etc/passwd",
    "C:\\Windows\\win.ini", "session://../..", "session://..%2f..%2f", "session://%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "session://..\\..\\", "session:////etc/passwd", "session://%00", "session://ada-own%00", "session://%00ada-own",
    "session://ada-own%2500", "session://ada-own%0a", "session://ada-own ", "session://%c0%ae%c0%ae%c0%af",
    "session://%e0%80%af", "session://%f0%80%80%af", "session://%ff%fe", "session://%ed%a0%80", "session://%",
    "session://%2", "session://%zz", "session://%u002e", "session://ada-own/../bob-own",
    "session://bob-own/../ada-own", "session://ada-own/..", "session://bob-own/%2e%2e/ada-own",
    "session://bob-own%2f..%2fada-own", "session://ada%2Down", "session://ada-own/transcript",
    "session://ada-own/summary", "session://ada-own/messages/1", "session://ada-own/messages/-1",
    "session://ada-own/messages/1e3", "session://ada-own/messages/٣",
    "session://ada-own/messages/999999999999999999999", "session://*", "session://%25", "session://_",
    "session://?session_id=ada-own", "session://bob-own?session_id=ada-own", "session://bob-own#ada-own",
    "session://ada@bob-own", "session://ada:x@bob-own", "session://bob-own:80", "session://[::1]", "SESSION://ada-own",
    "session:ada-own", "session://'%20OR%20'1'='1", "session://ada-own'--", "session://ada-own%22",
    "session://%F0%9F%92%A9", "media://..%2f", "media://../../etc/passwd", f"media://{MEDIA_ID}",
    f"media://{MEDIA_ID}/..", f"media://{MEDIA_ID}%00", "media://%00", "media://", "sessions://",
    "sessions://../recent", "sessions://recent/..", "sessions://RECENT", "sessions://recent?user=ada",
    "sessions://ada/recent", "sessions://coverage", "http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/",
    "gopher://x", "data:text/plain,hi", "javascript:1", "jar:file:///etc/passwd!/", "", " ", "\0", "\n", "%", "://",
    "session", "a" * 100_000, "session://" + "%41" * 50_000, "session://" + "../" * 20_000,
]  # fmt: skip
MACHINE = re.compile(r"root:|/sessions\.db|site-packages|Traceback|sqlite|\.py\b|jwks\.json", re.IGNORECASE)


@pytest.mark.parametrize("uri", TRICKS, ids=lambda uri: ascii(uri)[:50])
async def test_a_uri_that_is_a_trick_reads_nothing(guarded: Guarded, uri: str) -> None:
    # In the new era a header says it too, and has no room for the long ones.
    ways = WAYS if len(uri) < 10_000 else OLD_WAYS
    for way, answer in await every_way(guarded, reading(uri), guarded.token["bob"], ways=ways):
        assert answer.status_code in (200, 400, 404), (way, answer.text[:500])
        error = outcome(answer)["error"]
        assert error["code"] in (-32602, -32600), (way, error)
        assert len(error["message"]) < 1000
        assert SECRET not in answer.text
        assert not MACHINE.search(error["message"].replace(uri[:200], "")), error


async def test_a_uri_with_half_a_character_in_it_is_refused_too(guarded: Guarded) -> None:
    """What JSON can write and UTF-8 cannot."""
    body = '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"session://\\ud800"}}'
    answer = await guarded.server.post(body, token=guarded.token["bob"])
    assert answer.status_code in (200, 400) and "error" in outcome(answer)


KINDS: dict[str, dict[str, Any]] = {
    "session": reading("session://{id}"),
    "transcript": reading("session://{id}/transcript"),
    "summary": reading("session://{id}/summary"),
    "message": reading("session://{id}/messages/1"),
    "prompt": {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "prompts/get",
        "params": {"name": "resume", "arguments": {"session": "{id}"}},
    },
    "history": call_of("get_chat_history", session_id="{id}"),
    "tool calls": call_of("get_tool_call_history", session_id="{id}"),
    "context": call_of("get_session_context", session_id="{id}"),
    "search": call_of("search_session_history", query="willow", session_id="{id}"),
    "deletion": call_of("delete_session", session_id="{id}"),
    "change": call_of("update_session", session_id="{id}", title="x"),
    "fork": call_of("fork_session", session_id="{id}"),
    "summing up": call_of("summarize_session", session_id="{id}", summary="x"),
}


def named(value: Any, session_id: str) -> Any:
    if isinstance(value, dict):
        return {name: named(one, session_id) for name, one in value.items()}
    return value.replace("{id}", session_id) if isinstance(value, str) else value


@pytest.mark.parametrize("kind", KINDS)
async def test_another_users_id_is_answered_as_one_that_never_was(guarded: Guarded, kind: str) -> None:
    before = await guarded.sessions_of("ada")
    theirs = await every_way(guarded, named(KINDS[kind], "ada-own"), guarded.token["bob"])
    never = await every_way(guarded, named(KINDS[kind], "xyz-own"), guarded.token["bob"])
    for (way, one), (_, other) in zip(theirs, never, strict=True):
        assert one.status_code == other.status_code
        assert told(one).replace("ada-own", "xyz-own") == told(other), way
        assert SECRET not in one.text
    assert await guarded.sessions_of("ada") == before


async def test_another_users_picture_is_as_unknown_as_none(guarded: Guarded) -> None:
    messages = [{"role": "user", "content": [picture()]}]
    recorded = await guarded.server.post(
        call_of("record_run", messages=messages, session_id="pictures", store_media=True), token=guarded.token["ada"]
    )
    assert '"recorded":1' in recorded.text, recorded.text
    whole = await guarded.server.post(reading("session://pictures/transcript"), token=guarded.token["ada"])
    found = re.search(r"media://([0-9a-f]{64})", whole.text)
    assert found is not None, whole.text
    assert "blob" in (await guarded.server.post(reading(found[0]), token=guarded.token["ada"])).text
    theirs = await every_way(guarded, reading(found[0]), guarded.token["bob"])
    never = await every_way(guarded, reading(f"media://{MEDIA_ID}"), guarded.token["bob"])
    for (way, one), (_, other) in zip(theirs, never, strict=True):
        assert told(one).replace(found[1], MEDIA_ID) == told(other), way
