"""Following cursors visits everything exactly once, from a 10 MB message to the last hit, whatever comes meanwhile."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backscroll import Memory
from backscroll.answers import ChatPage, Page
from backscroll.errors import InvalidArgument
from backscroll.models import Message
from builders import a_tool_turn, a_turn, assistant, call, result, user
from hunting import examples

CUT = re.compile(r'cursor "([^"]+)"')
_ids = itertools.count(1)


async def pages(read: Any, form: str = "text", **how: Any) -> AsyncIterator[Any]:
    """The first page and all that `next_cursor` leads to."""
    page = await read(format=form, **how)
    yield page
    small = {name: how[name] for name in ("max_tokens", "limit") if name in how}
    while page.next_cursor is not None:
        page = await read(cursor=page.next_cursor, format=form, **small)
        yield page


async def everything(memory: Memory, first: ChatPage, form: Any, max_tokens: int) -> list[ChatPage]:
    """A page and all pages that the cursors in its cuts and at its ends lead to."""
    found, seen = [first], set()
    for page in found:
        cuts = [
            words for line in page.messages for words in (line.cut, *(made.cut for made in line.tool_calls)) if words
        ]
        for cursor in (
            page.previous_cursor,
            page.next_cursor,
            *(name for words in cuts for name in CUT.findall(words)),
        ):
            if cursor is not None and cursor not in seen:
                seen.add(cursor)
                found.append(await memory.get_chat_history(cursor=cursor, format=form, max_tokens=max_tokens))
    return found


def unread(whole: list[Message], pages: list[ChatPage]) -> list[str]:
    """What of the messages none of the pages shows. Fails where a piece is not what stands at its place."""
    texts = {(m.seq, "text"): m.text for m in whole}
    texts |= {(m.seq, f"call {n}"): c.arguments_text for m in whole for n, c in enumerate(m.tool_calls)}
    read: dict[tuple[int, str], set[int]] = {place: set() for place in texts}
    for page in pages:
        for line in page.messages:
            pieces: list[tuple[str, int, int | None]] = [(line.text, line.offset, None)] if line.text else []
            # A page that reads on inside a call's arguments shows that call alone.
            inside = line.offset if not line.text else 0
            made = [call.tool_call_id for m in whole if m.seq == line.seq for call in m.tool_calls]
            pieces += [
                (str(c.arguments or ""), inside, made.index(c.tool_call_id) if inside else n)
                for n, c in enumerate(line.tool_calls)
            ]
            for piece, offset, n in pieces:
                names = ["text" if n is None else f"call {n}"]
                places = [
                    (line.seq, name) for name in names if texts.get((line.seq, name), "")[offset:].startswith(piece)
                ]
                assert places, (line.ref, offset, piece[:80])
                for place in places:
                    read[place].update(range(offset, offset + len(piece)))
    return [f"#{seq} {name}: {len(texts[seq, name]) - len(got)} of {len(texts[seq, name])}"
            for (seq, name), got in read.items() if len(got) < len(texts[seq, name])]  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("max_tokens", [300, 1_000])
async def test_a_chat_is_read_back_to_its_first_message(memory: Memory, form: Any, max_tokens: int) -> None:
    for n in range(15):
        await memory.record_run(a_tool_turn(n), session_id="s")
    page = await memory.get_chat_history("s", format=form, max_tokens=max_tokens)
    seqs = [line.seq for line in page.messages]
    while page.previous_cursor is not None:
        await memory.record_run(a_turn(), session_id="s")
        page = await memory.get_chat_history(cursor=page.previous_cursor, format=form, max_tokens=max_tokens)
        seqs = [line.seq for line in page.messages] + seqs
    assert seqs == list(range(1, 61))
    forward = [line.seq for line in page.messages]
    while page.next_cursor is not None:
        page = await memory.get_chat_history(cursor=page.next_cursor, format=form, max_tokens=max_tokens)
        forward += [line.seq for line in page.messages]
    assert forward == list(range(1, 61))


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("seq", [1, 2, 3, 30, 59, 60])
async def test_around_a_message_both_ways_lead_to_all(memory: Memory, form: Any, seq: int) -> None:
    for n in range(15):
        await memory.record_run(a_tool_turn(n), session_id="s")
    first = await memory.get_chat_history(f"#1.{seq}", format=form, max_tokens=400)
    seqs = [line.seq for line in first.messages]
    assert seq in seqs
    page = first
    while page.previous_cursor is not None:
        page = await memory.get_chat_history(cursor=page.previous_cursor, format=form, max_tokens=400)
        seqs = [line.seq for line in page.messages] + seqs
    page = first
    while page.next_cursor is not None:
        page = await memory.get_chat_history(cursor=page.next_cursor, format=form, max_tokens=400)
        seqs += [line.seq for line in page.messages]
    assert seqs == list(range(1, 61))


@pytest.mark.parametrize(
    "filters", [{"agent": "left"}, {"include_tool_messages": False}, {"num_history_runs": 4}, {"unique": False}]
)
async def test_cursors_keep_to_the_filters(memory: Memory, filters: dict[str, Any]) -> None:
    for n in range(12):
        await memory.record_run(
            a_tool_turn(n),
            session_id="s",
            agent="left" if n % 2 else "right",
            status="error" if n == 10 else "completed",
        )
    whole = await memory.get_chat_history("s", max_tokens=20_000, **filters)
    page = await memory.get_chat_history("s", max_tokens=300, **filters)
    seqs = [line.seq for line in page.messages]
    while page.previous_cursor is not None:
        page = await memory.get_chat_history(cursor=page.previous_cursor, max_tokens=300)
        seqs = [line.seq for line in page.messages] + seqs
    assert seqs == [line.seq for line in whole.messages]
    assert len(seqs) == whole.total


@pytest.mark.parametrize(
    ("form", "size"),
    [("text", 2 << 20), ("json", 1 << 20), pytest.param("text", 10 << 20, marks=pytest.mark.slow)],
)
async def test_a_message_of_megabytes_is_read_to_its_end(memory: Memory, form: Any, size: int) -> None:
    """In the larger pages that a text of this size is for; the smallest are tried on shorter ones below."""
    text = "".join(f"{n}: the quick brown fox\n" for n in range(400_000))[:size]
    await memory.record_run([user("hi"), assistant(text), user("bye")], session_id="s")
    page = await memory.get_chat_history("#1.2", max_tokens=20_000, format=form)
    got, seqs = "", []
    while True:
        for line in page.messages:
            if line.seq == 2:
                assert line.offset == len(got)
                got += line.text
            seqs.append(line.seq)
        if page.next_cursor is None:
            break
        page = await memory.get_chat_history(cursor=page.next_cursor, max_tokens=20_000, format=form)
    assert got == text
    assert seqs[-1] == 3


SCRAPS = st.sampled_from(["word ", "日本", '"\\', "\n", "é", "x" * 50, " " * 20])
LONG = st.builds(
    lambda scraps, n: "".join(scraps) * n, st.lists(SCRAPS, min_size=1, max_size=4), st.sampled_from([1, 2, 60, 150])
)


@given(
    said=st.lists(st.tuples(LONG, st.lists(st.tuples(LONG, LONG), max_size=3), LONG), min_size=1, max_size=3),
    form=st.sampled_from(["text", "json"]),
    max_tokens=st.integers(400, 1_200),
)
@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
def test_cursors_lead_to_every_text_and_its_pieces_join(
    kept_memory: Memory, loop: asyncio.Runner, said: list[Any], form: Any, max_tokens: int
) -> None:
    session_id = f"s{next(_ids)}"
    sent: list[dict[str, Any]] = []
    for asked, calls, answer in said:
        ids = [str(next(_ids)) for _ in calls]
        sent += [
            user(asked),
            assistant(answer, *(call(i, "f", given) for i, (given, _) in zip(ids, calls, strict=True))),
        ]
        sent += [result(i, told) for i, (_, told) in zip(ids, calls, strict=True)]

    async def read() -> None:
        await kept_memory.record_run(sent, session_id=session_id)
        whole: list[Message] = await kept_memory.get_messages_for_session(session_id)
        first = await kept_memory.get_chat_history(session_id, format=form, max_tokens=max_tokens)
        assert unread(whole, await everything(kept_memory, first, form, max_tokens)) == []

    loop.run(read())


@pytest.mark.parametrize("form", ["text", "json"])
async def test_calls_are_told_newest_first_each_once(memory: Memory, form: str) -> None:
    for n in range(10):
        made = [call(f"{n}.{i}", "bash", f"arguments {n}.{i}") for i in range(3)]
        await memory.record_run(
            [user("go"), assistant("", *made), *(result(f"{n}.{i}", f"result {n}.{i}") for i in range(3))],
            session_id=f"s{n % 2}",
        )
    told = []
    async for page in pages(memory.get_tool_call_history, form, max_tokens=300):
        told += [(c.tool_call_id, c.arguments, c.result) for c in page.tool_calls]
        await memory.record_run([assistant("", call("late"))], session_id="late")
    expected = [f"{n}.{i}" for n in reversed(range(10)) for i in reversed(range(3))]
    assert told == [(c, f"arguments {c}", f"result {c}") for c in expected]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("max_tokens", [200, 700])
async def test_long_calls_are_read_to_their_end(memory: Memory, form: str, max_tokens: int) -> None:
    given, told = "".join(f"given {n} " for n in range(900)), "".join(f"told {n} " for n in range(1100))
    await memory.record_run([assistant("", call("a", "f", given)), result("a", told)], session_id="s")
    await memory.record_run([assistant("", call("b", "g", "short")), result("b", "short")], session_id="s")
    found = {"f": ["", ""], "g": ["", ""]}
    async for page in pages(memory.get_tool_call_history, form, max_tokens=max_tokens, limit=1):
        for c in page.tool_calls:
            found[c.tool_name][0] += c.arguments or ""
            found[c.tool_name][1] += c.result or ""
    assert found == {"f": [given, told], "g": ["short", "short"]}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("how", [{"max_tokens": 200}, {"max_tokens": 400}, {"limit": 3}, {"limit": 1}])
async def test_hits_are_told_each_once_whatever_is_added(memory: Memory, form: str, how: dict[str, Any]) -> None:
    for n in range(25):
        await memory.record_run([user(f"the fox number {n}" + " jumps" * (n % 5))], session_id=f"s{n % 4}")
    refs = []

    async def read(**more: Any) -> Any:
        return await memory.search_session_history("" if "cursor" in more else "fox", **more)

    async for page in pages(read, form, **how):
        refs += [hit.ref for hit in page.hits]
        assert page.total == 25
        await memory.record_run([user("fox fox fox")], session_id="late")
    assert len(refs) == len(set(refs)) == 25
    assert not any(ref.startswith("#5.") for ref in refs)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("kind", ["sessions", "previews"])
async def test_sessions_are_told_each_once_whatever_is_added(memory: Memory, form: str, kind: str) -> None:
    for n in range(23):
        await memory.record_run(a_turn(), session_id=f"s{n}")
    read = memory.list_sessions if kind == "sessions" else memory.search_session_history
    first = {"num_history_sessions": 40} if kind == "previews" else {}
    told = []
    grown = iter(range(23))
    page = await read(format=form, max_tokens=300, **first)  # type: ignore[arg-type]
    while True:
        told += [line.session_id for line in page.sessions or ()]
        if page.next_cursor is None:
            break
        # What grows now would be first; what is new would be before it.
        await memory.record_run(a_turn(), session_id=f"s{next(grown)}")
        await memory.record_run(a_turn())
        page = await read(cursor=page.next_cursor, format=form, max_tokens=300)  # type: ignore[arg-type]
    assert told == [f"s{n}" for n in reversed(range(23))]


async def one_of_each(memory: Memory) -> dict[str, tuple[Any, str, dict[str, Any]]]:
    """A cursor of every reading tool, and the arguments it holds."""
    for n in range(12):
        await memory.record_run(a_tool_turn(n), session_id=f"s{n % 3}")
    reads: dict[str, tuple[Any, dict[str, Any]]] = {
        "search": (memory.search_session_history, {"query": "matter", "role": "user"}),
        "previews": (memory.search_session_history, {"num_history_sessions": 3}),
        "sessions": (memory.list_sessions, {"query": "s"}),
        "chat": (memory.get_chat_history, {"session_id": "s0", "include_tool_messages": False}),
        "calls": (memory.get_tool_call_history, {"session_id": "s1", "tool_name": "bash"}),
    }
    found = {}
    for name, (read, held) in reads.items():
        page = await read(**held, max_tokens=200, **({} if name == "chat" else {"limit": 1}))
        cursor = page.next_cursor or page.previous_cursor
        assert cursor is not None, name
        found[name] = (read, cursor, held)
    return found


async def test_a_cursor_may_be_passed_with_what_it_holds_but_not_with_what_contradicts(memory: Memory) -> None:
    other = {"query": "other", "role": "tool", "num_history_sessions": 2, "session_id": "s2", "tool_name": "grep",
             "include_tool_messages": True}  # fmt: skip
    for name, (read, cursor, held) in (await one_of_each(memory)).items():
        alone: Page = await read(cursor=cursor)
        again: Page = await read(cursor=cursor, **held)
        assert again.model_copy(update={"nonce": ""}) == alone.model_copy(update={"nonce": ""}), name
        await read(cursor=cursor, max_tokens=4_000, format="json")
        for argument in held:
            if other[argument] is True:
                continue
            with pytest.raises(InvalidArgument, match=f"{argument} contradicts"):
                await read(cursor=cursor, **{argument: other[argument]})


async def test_a_cursor_of_another_tool_user_or_making_is_refused(memory: Memory, app: Any) -> None:
    theirs = app.memory("bob")
    await one_of_each(theirs)
    told = await one_of_each(memory)
    for name, (read, cursor, _) in told.items():
        for other_read, _, _ in told.values():
            if other_read.__name__ != read.__name__:
                with pytest.raises(InvalidArgument, match="cursor"):
                    await other_read(cursor=cursor)
        with pytest.raises(InvalidArgument, match="cursor"):
            await getattr(theirs, read.__name__)(cursor=cursor)
        made_up = [
            "",
            "x",
            "=" * 8,
            "é",
            "a" * 9_000,
            cursor[:-1],
            cursor + "A",
            cursor[::-1],
            cursor.swapcase(),
            f" {cursor}",
        ]
        for n in range(len(cursor)):
            made_up.append(cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :])
        for bad in made_up:
            with pytest.raises(InvalidArgument, match="cursor"):
                await read(cursor=bad)
        assert await read(cursor=cursor) is not None, name
