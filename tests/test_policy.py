"""What is left out before saving: as pure functions, and as bytes that must not be in the file."""

import base64
import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backscroll import Backscroll, Memory
from backscroll.models import NewMedia, NewMessage, NewToolCall
from backscroll.policy import (
    FENCE_SENTENCE,
    PRIVATE,
    RECALLED,
    scrub_history,
    scrub_media,
    scrub_private,
    scrub_recalled,
    scrub_tool_messages,
    without_private,
)
from builders import a_turn, assistant, bytes_of, call, faults_of_sequence, picture, result, texts, user

NOISE = random.Random(7).randbytes(900)
ENCODED = base64.b64encode(NOISE).decode()

PIECES = st.sampled_from(
    [
        "",
        "plain",
        " ",
        "<private>",
        "</private>",
        "<PRIVATE>",
        "\\u003cprivate\\u003e",
        "<\\/private>",
        ENCODED[:400],
        ENCODED[:200],
        f"data:image/png;base64,{ENCODED[:80]}",
        "data:,x",
        "=",
        "-" * 300,
        "[media removed: 3 bytes]",
        "\n",
        "a/b",
    ]
)
TEXTS = st.lists(PIECES, max_size=7).map("".join)
PAYLOADS = st.none() | st.dictionaries(
    st.sampled_from(["k", "data"]), st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
)
MESSAGES = st.builds(
    NewMessage,
    role=st.sampled_from(["user", "assistant", "tool", "system"]),
    text=TEXTS,
    reasoning=TEXTS,
    media=st.lists(st.builds(NewMedia, data=st.binary(min_size=1)), max_size=1).map(tuple),
    tool_calls=st.lists(st.builds(NewToolCall, tool_name=st.just("f"), arguments=TEXTS), max_size=2).map(tuple),
    from_history=st.booleans(),
    payload=PAYLOADS,
)


@given(st.lists(MESSAGES, max_size=5))
def test_to_scrub_twice_is_to_scrub_once(messages: list[NewMessage]) -> None:
    before = copy.deepcopy(messages)
    private = [scrub_private(message) for message in messages]
    assert [scrub_private(message) for message in private] == private
    for scrub in (scrub_media, scrub_tool_messages, scrub_history):
        once = scrub(messages)
        again = scrub(once.messages)
        assert again.messages == once.messages
        assert again.removed == 0
    assert messages == before


@given(st.lists(MESSAGES, max_size=5))
def test_the_order_of_policies_makes_no_difference_to_what_is_left(messages: list[NewMessage]) -> None:
    one_way = scrub_history(scrub_tool_messages(scrub_media(messages).messages).messages).messages
    other_way = scrub_media(scrub_tool_messages(scrub_history(messages).messages).messages).messages
    assert one_way == other_way


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a <private>b</private> c", f"a {PRIVATE} c"),
        ("<private>a<private>b</private>c</private>d", f"{PRIVATE}d"),
        ("a <private>never closed", f"a {PRIVATE}"),
        ("a </private> b", "a </private> b"),
        ("<PRIVATE>a</Private>b", f"{PRIVATE}b"),
        ("a <private >b</private > c", f"a {PRIVATE} c"),
        ('{"a":"\\u003cprivate\\u003eb\\u003c/private\\u003e"}', f'{{"a":"{PRIVATE}"}}'),
        ("<private>a</private><private>b</private>", PRIVATE * 2),
        ("no <privately> said </privately>", "no <privately> said </privately>"),
    ],
)
def test_private_text_is_replaced_by_a_mark(said: str, kept: str) -> None:
    assert without_private(said) == kept


WORD = "xyzzyplugh"


async def test_private_text_never_reaches_the_file(memory: Memory, database: Path) -> None:
    hidden = f"<private>{WORD}</private>"
    await memory.record_run(
        [
            user(f"keep {hidden} out", name=hidden),
            {"role": "user", "content": [{"type": "text", "text": f"<private>{WORD}"}, {"type": "odd", "x": [hidden]}]},
            assistant(f"so {hidden}", call("c", "f", json.dumps({"q": hidden})), reasoning_content=hidden),
            result("c", f"{hidden} found"),
        ],
        session_id="s",
        run_id="r",
        status="running",
        title=f"about {hidden}",
        metadata={"a": {"b": [hidden]}},
        state={"a": hidden},
    )
    await memory.record_run([assistant("half of it <private>" + WORD)], session_id="t", run_id="t", status="running")
    await memory.record_run([assistant(f"half of it {hidden} and on")], session_id="t", run_id="t", status="running")
    await memory.update_session("s", title=hidden, state={"b": hidden}, metadata={"c": [hidden]})
    await memory.summarize_session("s", summary=f"sum {hidden}", topics=[hidden])
    await memory.fork_session("s", title=hidden)
    assert texts(await memory.get_messages_for_session("t")) == [f"half of it {PRIVATE} and on"]
    assert WORD.encode() not in bytes_of(database)
    assert (await memory.search_session_history(WORD)).total == 0


def hiding_places(data: bytes) -> list[dict[str, Any]]:
    encoded = base64.b64encode(data).decode()
    wrapped = base64.encodebytes(data).decode()
    return [
        {"role": "user", "content": [picture(data), {"type": "image", "source": {"type": "odd", "data": encoded}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}]},
        {"role": "user", "content": f"see data:image/png;base64,{encoded} and img={encoded}"},
        {
            "role": "user",
            "content": [{"type": "hologram", "bytes": encoded}],
            "images": [{"content": encoded}],
            "x": [encoded],
        },
        assistant("", call("c1", "draw", json.dumps({"canvas": encoded}))),
        result("c1", json.dumps({"content": [{"type": "image", "data": encoded}]})),
        assistant("", call("c2", "shot", {"at": wrapped})),
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [{"type": "image", "data": encoded, "mimeType": "image/png"}],
        },
        assistant(f"```\n{wrapped}\n```", call("c3"), reasoning_content=encoded),
        result("c3", base64.urlsafe_b64encode(data).decode() + "tail"),
    ]


@pytest.mark.parametrize("size", [192, 300, 901, 30_000])
async def test_without_media_no_byte_of_them_is_in_the_file(memory: Memory, database: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    sent = hiding_places(data)
    before = copy.deepcopy(sent)
    receipt = await memory.record_run(sent, session_id="s", store_media=False)
    assert sent == before
    assert receipt.scrubbed.media >= 12
    kept = bytes_of(database)
    for spelled in (data, base64.b64encode(data), base64.urlsafe_b64encode(data)):
        for start in range(0, len(spelled) - 40, 37):
            assert spelled[start : start + 40] not in kept
    told = await memory.get_messages_for_session("s")
    assert len(told) == len(sent)
    assert not any(m.media for m in told)
    assert faults_of_sequence(told) == []
    assert await memory.store.check() == []


async def test_a_small_picture_is_known_by_its_first_bytes(memory: Memory, database: Path) -> None:
    from builders import PNG

    encoded = base64.b64encode(PNG).decode()
    await memory.record_run([assistant(None, call()), result("c1", json.dumps({"data": encoded}))], store_media=False)
    assert encoded[:40].encode() not in bytes_of(database)


@pytest.mark.parametrize(
    "text",
    [
        "deadbeef" * 40,
        "0123456789" * 40,
        "/usr/share/a_long-path/with-many_parts" * 10,
        "the quick brown fox jumps over the lazy dog " * 20,
        "-" * 400,
        "=" * 400,
        "word " * 200,
        "some_snake_case_name_" * 3,
    ],
)
def test_words_paths_and_digests_are_not_taken_for_media(text: str) -> None:
    assert scrub_media([NewMessage(role="tool", text=text)]).removed == 0


async def test_without_tool_messages_no_argument_and_no_result_is_in_the_file(memory: Memory, database: Path) -> None:
    sent = [
        user("find it"),
        assistant("beside the call", call("c", "grep", '{"q":"argumentword"}'), reasoning_content="thoughtword"),
        result("c", "resultword"),
        assistant("Found it."),
    ]
    before = copy.deepcopy(sent)
    receipt = await memory.record_run(sent, session_id="s", store_tool_messages=False)
    again = await memory.record_run(
        [*sent, *a_turn()], session_id="s", store_tool_messages=False, store_history_messages=True
    )
    assert sent == before
    assert receipt.scrubbed.tool_messages == 2
    assert again.history == 4
    kept = bytes_of(database)
    for word in (b"argumentword", b"resultword", b"thoughtword", b"beside the call"):
        assert word not in kept
    assert texts(await memory.get_messages_for_session("s"))[:4] == ["find it", "Found it.", "find it", "Found it."]
    (left,) = (await memory.get_tool_call_history("s")).tool_calls
    assert (left.tool_name, left.arguments, left.result, left.status) == ("grep", None, None, "ok")


async def test_without_tool_messages_an_answer_that_comes_to_call_a_tool_goes_too(
    memory: Memory, database: Path
) -> None:
    how: dict[str, Any] = {"session_id": "s", "run_id": "r", "status": "running", "store_tool_messages": False}
    await memory.record_run([user("go"), assistant("plannedword")], **how)
    grown = [user("go"), assistant("plannedword so", call("c", "grep", "argumentword")), result("c", "resultword")]
    await memory.record_run(grown, **how)
    await memory.record_run([*grown, assistant("done")], **how)
    assert texts(await memory.get_messages_for_session("s")) == ["go", "done"]
    assert [c.status for c in (await memory.get_tool_call_history("s")).tool_calls] == ["ok"]
    for word in (b"argumentword", b"resultword"):
        assert word not in bytes_of(database)
    assert await memory.store.check() == []


async def test_policies_are_settings_that_an_argument_overrides(url: str, tokens: object) -> None:
    from backscroll import Settings

    closed = Settings(store_media=False, store_tool_messages=False, store_history_messages=True)
    async with Backscroll(url, closed) as app:
        memory = app.memory("ada")
        sent = [{"role": "user", "content": [picture()]}, assistant("", call()), result(), assistant("ok")]
        by_setting = await memory.record_run(sent, session_id="s")
        by_argument = await memory.record_run(sent, session_id="t", store_media=True, store_tool_messages=True)
    assert (by_setting.scrubbed.media, by_setting.scrubbed.tool_messages) == (1, 2)
    assert (by_argument.scrubbed.media, by_argument.scrubbed.tool_messages) == (0, 0)


@pytest.mark.parametrize(
    "name", ["search_session_history", "mcp__backscroll__get_chat_history", "backscroll_list_sessions"]
)
async def test_what_was_recalled_is_not_recorded_again(memory: Memory, name: str) -> None:
    page = f"[history ab] {FENCE_SENTENCE}\n#1.1 {WORD}\n[/history ab]"
    await memory.record_run([assistant(None, call("c", name, '{"query":"x"}')), result("c", page)], session_id="s")
    told = await memory.get_messages_for_session("s")
    assert told[0].tool_calls[0].arguments == {"query": "x"}
    assert told[1].text == RECALLED
    assert (await memory.search_session_history(WORD)).total == 0


def test_another_tool_of_the_same_name_is_kept() -> None:
    message = NewMessage(role="tool", tool_name="list_sessions", text="of another program")
    assert scrub_recalled(message) is message
