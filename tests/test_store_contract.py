"""What every Store owes its callers: written once, run against each of them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backscroll.errors import Conflict, MediaNotFound, MessageNotFound, SessionNotFound
from backscroll.models import NewMessage, NewRun, NewToolCall
from backscroll.recording import Recording, normalise, prepare
from backscroll.store import CallWindow, ChatWindow, PreparedRun, Search, SessionFilter, Store, Term
from backscroll.store.opening import open_store
from builders import a_tool_turn, a_turn, picture, user

NOW = datetime(2026, 11, 20, 14, 3, tzinfo=UTC)


async def prepared(store: Store, messages: list[dict[str, object]], **run: object) -> PreparedRun:
    how = Recording(digest_key=await store.digest_key())
    values = {"session_id": "s", "source": "test", "metrics": {"total_tokens": 1}, **run}
    return prepare(NewRun.model_validate({"messages": normalise(messages), **values}), how, now=NOW)


async def test_a_bulk_of_runs_lands_together_or_not_at_all(store: Store) -> None:
    good = [await prepared(store, a_turn(), run_id=f"r{n}", session_id=f"s{n % 3}") for n in range(30)]
    recorded = await store.record("ada", good)
    assert [one.run_index for one in recorded] == [n // 3 + 1 for n in range(30)]
    before = await store.counts("ada")
    more = [await prepared(store, a_turn(), run_id=f"x{n}", session_id="new") for n in range(5)]
    contradiction = await prepared(store, a_turn(), run_id="r0", session_id="s0")
    with pytest.raises(Conflict):
        await store.record("ada", [*more, contradiction])
    assert await store.counts("ada") == before
    with pytest.raises(SessionNotFound):
        await store.session("ada", "new")


async def test_the_same_run_twice_in_one_bulk_is_one_run(store: Store) -> None:
    run = await prepared(store, a_turn(), run_id="r")
    first, second = await store.record("ada", [run, run])
    assert (first.duplicate, second.duplicate) == (False, True)
    assert (await store.counts("ada"))["messages"] == 2


async def test_times_are_aware_and_in_utc(store: Store) -> None:
    await store.record(
        "ada", [await prepared(store, [user(created_at="2026-01-02T03:04:05.678+09:00")], started_at=NOW)]
    )
    (message,) = await store.messages("ada", "s")
    assert message.created_at == datetime(2026, 1, 1, 18, 4, 5, 678000, UTC)
    assert message.created_at.tzinfo is UTC
    assert (await store.session("ada", "s")).updated_at == NOW


async def test_a_window_takes_what_fits_and_tells_what_is_beyond(store: Store) -> None:
    await store.record("ada", [await prepared(store, [user(f"{n:>10}") for n in range(100)])])
    newest = await store.chat("ada", "s", ChatWindow(max_messages=10))
    assert ([m.seq for m in newest.messages], newest.older, newest.newer, newest.total) == (
        list(range(91, 101)),
        True,
        False,
        100,
    )
    by_chars = await store.chat("ada", "s", ChatWindow(max_chars=45))
    assert len(by_chars.messages) == 5
    before = await store.chat("ada", "s", ChatWindow(before=4, max_messages=10))
    assert ([m.seq for m in before.messages], before.older, before.newer) == ([1, 2, 3], False, True)
    start = await store.chat("ada", "s", ChatWindow(start=98))
    assert ([m.seq for m in start.messages], start.older, start.newer) == ([98, 99, 100], True, False)
    around = await store.chat("ada", "s", ChatWindow(around=50, max_messages=4))
    assert [m.seq for m in around.messages] == list(range(46, 54))
    then = await store.chat("ada", "s", ChatWindow(as_of=20))
    assert (then.messages[-1].seq, then.newer, then.total) == (20, False, 20)
    with pytest.raises(MessageNotFound):
        await store.chat("ada", "s", ChatWindow(around=101))


async def test_a_long_text_comes_in_parts(store: Store) -> None:
    text = "".join(chr(0x100 + n % 5_000) for n in range(20_000))
    message = NewMessage(
        role="assistant", text=text, tool_calls=(NewToolCall(tool_call_id="c", tool_name="f", arguments=text),)
    )
    run = NewRun(messages=(message,), session_id="s", run_id="r")
    await store.record("ada", [prepare(run, Recording(digest_key=await store.digest_key()), now=NOW)])
    (shown,) = (await store.chat("ada", "s", ChatWindow(max_chars=100))).messages
    assert (shown.text, shown.text_chars) == (text[:100], 20_000)
    for call in (None, 0):
        got = ""
        while len(got) < len(text):
            _, part, whole = await store.text_of("ada", "s", 1, call=call, offset=len(got), max_chars=7_000)
            assert whole == len(text)
            got += part
        assert got == text
    with pytest.raises(MessageNotFound):
        await store.text_of("ada", "s", 2, call=None, offset=0, max_chars=1)


async def test_what_does_not_exist_is_not_found(store: Store) -> None:
    for ref in ("s", "#1", "#", "#x", "#99999999999999999999"):
        with pytest.raises(SessionNotFound):
            await store.session("ada", ref)
        with pytest.raises(SessionNotFound):
            await store.chat("ada", ref, ChatWindow())
        with pytest.raises(SessionNotFound):
            await store.delete_session("ada", ref, forks="refuse")
    for media_id in ("", "zz", "00" * 32, "../x"):
        with pytest.raises(MediaNotFound):
            await store.media("ada", media_id)
    assert await store.newest_session("ada", None) is None
    assert (await store.sessions("ada", SessionFilter(), limit=5)).sessions == ()
    assert (await store.tool_calls("ada", CallWindow())).calls == ()
    assert (await store.search("ada", Search((Term("x"),)))).candidates == ()


async def test_a_file_that_is_opened_again_is_the_same(url: str, store: Store) -> None:
    await store.record("ada", [await prepared(store, [*a_tool_turn(), {"role": "user", "content": [picture()]}])])
    before = (await store.session("ada", "s"), await store.messages("ada", "s"), await store.digest_key())
    again = await open_store(url)
    assert (await again.session("ada", "s"), await again.messages("ada", "s"), await again.digest_key()) == before
    assert again.tombstone_digest("a", "b") == store.tombstone_digest("a", "b")
    assert again.tombstone_digest("a", "b") != store.tombstone_digest("ab", "")
    await again.close()


async def test_changes_of_others_are_seen_in_the_version_of_the_data(url: str, store: Store) -> None:
    other = await open_store(url)
    seen = await store.data_version("ada")
    assert await store.data_version("ada") == seen
    await other.record("ada", [await prepared(other, a_turn())])
    assert await store.data_version("ada") != seen
    await other.close()


async def test_all_users_are_known_in_order_and_nobody_else(store: Store) -> None:
    assert await store.users() == []
    names = ["ada", "Zoë", "a/b", "bob", "Bob"]
    for name in names:
        await store.record(name, [await prepared(store, a_turn())])
    # What is deleted is nobody's for a while.
    await store.delete_session("bob", "s", forks="delete")
    await store.session_numbers("never-was")
    assert await store.users() == sorted(names)


async def test_summaries_are_kept_in_versions_and_go_stale(store: Store) -> None:
    await store.record("ada", [await prepared(store, a_turn(), run_id="1")])
    assert await store.summary("ada", "s") is None
    _, first = await store.save_summary("ada", "s", summary="one", topics=["t"], made_by="agent", last_seq=None)
    assert (first.version, first.first_seq, first.last_seq, first.stale) == (1, 1, 2, False)
    await store.record("ada", [await prepared(store, a_turn(), run_id="2")])
    kept = await store.summary("ada", "s")
    assert kept is not None
    assert (kept.summary, kept.topics, kept.stale, kept.digest) == ("one", ("t",), True, first.digest)
    _, second = await store.save_summary("ada", "s", summary="two", topics=[], made_by="m", last_seq=99)
    assert (second.version, second.last_seq, second.stale) == (2, 4, False)
    assert second.digest != first.digest


async def test_readers_and_writers_at_once_see_whole_runs(url: str, store: Store) -> None:
    other = await open_store(url)
    runs = [await prepared(store, a_tool_turn(), run_id=f"r{n}") for n in range(40)]

    async def write(n: int) -> None:
        await (store, other)[n % 2].record("ada", [runs[n]])

    async def read() -> None:
        for _ in range(40):
            found = await store.sessions("ada", SessionFilter(), limit=1)
            for session in found.sessions:
                told = await other.messages("ada", session.session_id)
                assert len(told) % 4 == 0
                assert len(told) >= session.messages

    await asyncio.gather(*(write(n) for n in range(40)), read(), read())
    assert (await store.session("ada", "s")).messages == 160
    assert await store.check() == []
    await other.close()


async def test_a_new_index_says_what_the_old_one_said(store: Store, database: Path) -> None:
    await store.record("ada", [await prepared(store, a_tool_turn(n), run_id=str(n)) for n in range(10)])
    search = Search((Term("matter"),))
    before = await store.search("ada", search)
    assert await store.rebuild_index() == 40
    assert await store.search("ada", search) == before
    assert await store.check() == []


async def test_who_is_due_for_retention_is_one_question(store: Store) -> None:
    for name in ("cleo", "ada", "bob"):
        await store.record(name, [await prepared(store, a_turn())])
    assert await store.choices.users_due(1_000, 100) == ["ada", "bob", "cleo"]
    assert await store.choices.claim_retention("bob", 1_000, 100)
    assert await store.choices.users_due(1_099, 100) == ["ada", "cleo"]
    assert await store.choices.users_due(1_100, 100) == ["ada", "bob", "cleo"]
    # A clock that was set back is no reason to keep what expired.
    assert await store.choices.users_due(999, 100) == ["ada", "bob", "cleo"]
