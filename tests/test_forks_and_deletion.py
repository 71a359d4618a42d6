"""Forks share what was said before them; deletion takes all that hangs on a session, and no more."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

import backscroll
from backscroll import Memory
from backscroll.errors import Conflict, InvalidArgument, MediaNotFound, MessageNotFound, SessionNotFound
from backscroll.models import NewMessage, NewRun
from builders import a_tool_turn, a_turn, assistant, bytes_of, call, faults_of_sequence, picture, result, user
from postgres_server import PostgresServer


async def seqs(memory: Memory, session_id: str) -> list[str]:
    return [m.ref for m in await memory.get_messages_for_session(session_id)]


async def test_a_fork_shares_its_past_and_goes_on_alone(memory: Memory) -> None:
    for _ in range(3):
        await memory.record_run(a_turn(), session_id="s")
    fork = await memory.fork_session("#1.4", new_session_id="f")
    assert (fork.session, fork.forked_from, fork.fork_seq) == ("#2", "#1", 4)
    await memory.record_run(a_turn(), session_id="f")
    await memory.record_run(a_turn(), session_id="s")
    assert await seqs(memory, "f") == ["#1.1", "#1.2", "#1.3", "#1.4", "#2.5", "#2.6"]
    assert await seqs(memory, "s") == [f"#1.{n}" for n in range(1, 9)]
    own = await memory.get_session("f")
    assert (own.messages, own.runs, own.last_seq, own.forked_from, own.fork_seq) == (2, 1, 6, "#1", 4)
    assert [r.run_index for r in await memory.get_runs("f")] == [1, 2, 3]
    assert (await memory.store.counts("ada"))["messages"] == 10
    page = await memory.get_chat_history("f")
    assert ([line.ref for line in page.messages], page.total) == (await seqs(memory, "f"), 6)
    assert [run.run_index for run in (await memory.get_session_context("f")).runs] == [1, 2, 3]
    assert await memory.store.check() == []


async def test_a_handle_into_the_shared_part_opens_the_parents_message(memory: Memory) -> None:
    await memory.record_run([user("shared question"), assistant("shared answer")], session_id="s")
    await memory.fork_session("s", new_session_id="f")
    await memory.record_run(a_turn(), session_id="f")
    opened = await memory.get_chat_history("#2.1")
    assert (opened.messages[0].ref, opened.messages[0].text) == ("#1.1", "shared question")
    with pytest.raises(MessageNotFound):
        await memory.get_chat_history("#2.5")


async def test_the_shared_part_is_searched_once_and_under_the_fork_when_it_is_named(memory: Memory) -> None:
    await memory.record_run([user("an aardvark"), assistant("indeed")], session_id="s")
    await memory.fork_session("s", new_session_id="f")
    await memory.record_run([user("aardvark again")], session_id="f")
    await memory.record_run([user("aardvark later")], session_id="s")

    async def found(**where: Any) -> set[str]:
        return {hit.ref for hit in (await memory.search_session_history("aardvark", **where)).hits or ()}

    assert await found() == {"#1.1", "#2.3", "#1.3"}
    assert await found(session_id="f") == {"#1.1", "#2.3"}
    assert await found(session_id="s") == {"#1.1", "#1.3"}


@pytest.mark.parametrize(("cut", "end"), [(1, 1), (2, 4), (3, 4), (4, 4), (5, 5)])
async def test_a_cut_moves_to_the_end_of_a_tool_pair(memory: Memory, cut: int, end: int) -> None:
    await memory.record_run(
        [user("do both"), assistant("so", call("a"), call("b")), result("a"), result("b"), assistant("done")],
        session_id="s",
    )
    fork = await memory.fork_session(f"#1.{cut}", new_session_id="f")
    assert fork.fork_seq == end
    assert faults_of_sequence(await memory.get_messages_for_session("f")) == []
    assert (await memory.get_tool_call_history("f")).total == (2 if end > 1 else 0)


async def test_a_result_that_came_after_the_cut_is_not_the_forks(memory: Memory) -> None:
    begun = [user("go"), assistant("calling", call("a"))]
    await memory.record_run(begun, session_id="s", run_id="r", status="running")
    await memory.fork_session("s", new_session_id="f")
    await memory.record_run([*begun, result("a", "late word")], session_id="s", run_id="r")
    (here,) = (await memory.get_tool_call_history("s")).tool_calls
    (there,) = (await memory.get_tool_call_history("f")).tool_calls
    assert (here.status, here.result, there.status, there.result) == ("ok", "late word", "pending", None)
    assert (await memory.get_tool_call_history("f", status="pending")).total == 1
    assert (await memory.get_tool_call_history("f", query="late")).total == 0
    assert [c.status for m in await memory.get_messages_for_session("f") for c in m.tool_calls] == ["pending"]
    await memory.delete_session("s", forks="keep")
    assert [c.status for m in await memory.get_messages_for_session("f") for c in m.tool_calls] == ["pending"]
    assert await memory.store.check() == []


async def test_forks_of_forks_share_through_all_depths(memory: Memory) -> None:
    await memory.record_run(a_tool_turn(1), session_id="s0")
    for depth in range(1, 6):
        await memory.fork_session(f"s{depth - 1}", new_session_id=f"s{depth}")
        await memory.record_run(a_tool_turn(depth + 1), session_id=f"s{depth}")
    told = await memory.get_messages_for_session("s5")
    assert [m.seq for m in told] == list(range(1, 25))
    assert [m.session for m in told] == [f"#{n}" for n in range(1, 7) for _ in range(4)]
    shallow = await memory.fork_session("#6.6", new_session_id="x")
    assert (shallow.forked_from, shallow.fork_seq) == ("#6", 7)
    assert (await memory.get_session("x")).forked_from == "#2"
    assert await seqs(memory, "x") == [m.ref for m in told][:7]
    assert (await memory.get_tool_call_history("s5", limit=100)).total == 6


async def test_what_cannot_be_forked_is_refused(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s")
    for bad in ("#1.0", "#1.3", "#1.999999999999999"):
        with pytest.raises(MessageNotFound):
            await memory.fork_session(bad)
    with pytest.raises(Conflict, match="exists already"):
        await memory.fork_session("s", new_session_id="s")
    with pytest.raises(InvalidArgument, match="#"):
        await memory.fork_session("s", new_session_id="#7")
    with pytest.raises(SessionNotFound):
        await memory.fork_session("t")
    assert (await memory.fork_session("s")).session == "#2"


async def test_deleting_tells_what_is_gone(memory: Memory) -> None:
    await memory.record_run(
        [{"role": "user", "content": [picture()]}, *a_tool_turn(), assistant("bye")], session_id="s", agent="coder"
    )
    await memory.summarize_session("s", summary="all about it")
    await memory.record_run(a_turn(), session_id="other")
    receipt = await memory.delete_session("s")
    assert receipt.deleted == {
        "sessions": 1, "runs": 1, "messages": 6, "tool_calls": 1, "media": 1, "summaries": 1, "search_index": 6,
    }  # fmt: skip
    assert "pending" in receipt.purge
    assert receipt.not_reached
    with pytest.raises(SessionNotFound):
        await memory.get_session("s")
    assert (await memory.store.counts("ada")) == {
        "sessions": 1, "runs": 1, "messages": 2, "tool_calls": 0, "summary_errors": 0, "media": 0, "media_bytes": 0,
    }  # fmt: skip
    assert await memory.store.check() == []


async def test_a_number_is_never_given_twice(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="a")
    await memory.record_run(a_turn(), session_id="b")
    await memory.delete_session("b")
    await memory.delete_session("a")
    assert (await memory.record_run(a_turn(), session_id="b")).session == "#3"
    with pytest.raises(SessionNotFound):
        await memory.get_session("#2")


async def test_media_that_something_else_shows_stay(memory: Memory) -> None:
    shared, own = picture(b"shared"), picture(b"own")
    await memory.record_run([{"role": "user", "content": [shared, own]}], session_id="s")
    (told,) = await memory.get_messages_for_session("s")
    await memory.record_run([{"role": "user", "content": [shared]}], session_id="t")
    receipt = await memory.delete_session("s")
    assert receipt.deleted["media"] == 1
    assert (await memory.get_media(told.media[0].media_id)).data == b"shared"
    with pytest.raises(MediaNotFound):
        await memory.get_media(told.media[1].media_id)


async def family(memory: Memory) -> None:
    """#1 with a fork at 4 (#2), one at 2 (#3), one at its end (#4); #5 a fork of #2; each goes on by itself."""
    for n in range(3):
        await memory.record_run(
            [user(f"root {n}"), assistant(f"reply {n}", call(f"c{n}")), result(f"c{n}")], session_id="root",
            metrics={"total_tokens": 10},
        )  # fmt: skip
    for parent, cut, name in (("root", 6, "mid"), ("root", 1, "low"), ("root", 9, "high"), ("mid", 7, "deep")):
        number = (await memory.get_session(parent)).session
        await memory.fork_session(f"{number}.{cut}", new_session_id=name)
        await memory.record_run(
            [user(f"{name} asks"), assistant(f"{name} answers"), user(f"{name} ends")], session_id=name,
            metrics={"total_tokens": 1},
        )  # fmt: skip


NAMES = ("root", "mid", "low", "high", "deep")


async def test_a_session_with_forks_is_not_deleted_by_accident(memory: Memory) -> None:
    await family(memory)
    for name in ("root", "mid"):
        with pytest.raises(Conflict, match="has forks"):
            await memory.delete_session(name)
    assert (await memory.list_sessions()).total == 5


@pytest.mark.parametrize("gone", NAMES)
async def test_forks_that_are_kept_keep_all_they_shared(memory: Memory, gone: str) -> None:
    await family(memory)
    left = [name for name in NAMES if name != gone]
    before = {name: await memory.get_messages_for_session(name) for name in left}
    calls = {name: (await memory.get_tool_call_history(name)).total for name in left}
    await memory.delete_session(gone, forks="keep")
    assert await memory.store.check() == []
    for name in left:
        told = await memory.get_messages_for_session(name)
        assert [(m.seq, m.text) for m in told] == [(m.seq, m.text) for m in before[name]]
        assert faults_of_sequence(told) == []
        assert (await memory.get_tool_call_history(name)).total == calls[name]
        session = await memory.get_session(name)
        own = [m for m in told if m.session == session.session]
        assert session.messages == len(own)
        assert session.metrics["total_tokens"] == sum(
            (run.metrics or {})["total_tokens"]
            for run in await memory.get_runs(name)
            if run.run_id in {m.run_id for m in own}
        )
        await memory.record_run([user(f"{name} goes on")], session_id=name)
    for n in range(3):
        hits = (await memory.search_session_history(f'"root {n}"')).total
        assert hits == (1 if gone != "root" or n < 3 else 0)
    assert await memory.store.check() == []


async def test_all_can_go_one_by_one_in_any_order(memory: Memory) -> None:
    for order in (NAMES, NAMES[::-1], ("mid", "root", "deep", "low", "high")):
        await family(memory)
        for name in order:
            await memory.delete_session(name, forks="keep")
            assert await memory.store.check() == []
        counts = await memory.store.counts("ada")
        assert (counts["sessions"], counts["messages"], counts["tool_calls"]) == (0, 0, 0)


async def test_forks_can_go_with_their_parent(memory: Memory) -> None:
    await family(memory)
    receipt = await memory.delete_session("mid", forks="delete")
    assert receipt.deleted["sessions"] == 2
    left = {line.session_id for line in (await memory.list_sessions()).sessions}
    assert left == {"root", "low", "high"}
    receipt = await memory.delete_session("root", forks="delete")
    assert receipt.deleted["messages"] == 9 + 3 + 3
    assert (await memory.list_sessions()).total == 0
    assert await memory.store.check() == []


async def test_a_long_chain_of_forks_goes_at_once(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s0")
    for n in range(1, 300):
        await memory.store.fork_session("ada", f"s{n - 1}", None, new_session_id=f"s{n}", title=None)
    assert (await memory.delete_session("s0", forks="delete")).deleted["sessions"] == 300


def imported(session_id: str, run_id: str = "r", said: str = "hello from disk") -> NewRun:
    return NewRun(
        messages=(NewMessage(role="user", text=said),), session_id=session_id, run_id=run_id, source="claude-code"
    )


async def test_what_was_deleted_stays_out_of_imports_until_it_is_restored(memory: Memory) -> None:
    await memory.record([imported("s")], imported=True)
    await memory.fork_session("s", new_session_id="f")
    await memory.delete_session("s", forks="delete")
    for session_id in ("s", "f"):
        (skipped,) = await memory.record([imported(session_id)], imported=True)
        assert skipped.skipped_deleted
    assert (await memory.list_sessions()).total == 0
    (elsewhere,) = await memory.record([imported("t", "r2")], imported=True)
    assert not elsewhere.skipped_deleted
    (restored,) = await memory.record([imported("s")], imported=True, restore=True)
    assert (restored.skipped_deleted, restored.recorded) == (False, 1)
    (again,) = await memory.record([imported("s", "r3", "more")], imported=True)
    assert again.recorded == 1


async def test_a_tombstone_does_not_show_the_id(memory: Memory, database: Path) -> None:
    await memory.record([imported("telltale-session-id")], imported=True)
    await memory.delete_session("telltale-session-id", purge=True)
    assert b"telltale" not in bytes_of(database)


async def test_a_deleted_session_may_be_recorded_anew(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s", run_id="r")
    await memory.delete_session("s")
    receipt = await memory.record_run(a_turn(), session_id="s", run_id="r")
    assert (receipt.created, receipt.session, receipt.run_index) == (True, "#2", 1)


HIDDEN = [f"xqz{part}word" for part in ("text", "title", "state", "meta", "run", "summary", "topic", "args", "result",
          "payload", "thought", "project", "agent", "media", "fork", "opening")]  # fmt: skip


async def record_hidden(memory: Memory) -> None:
    (
        text,
        title,
        state,
        meta,
        run,
        summary,
        topic,
        args,
        answer,
        payload,
        thought,
        project,
        agent,
        media,
        fork,
        opening,
    ) = HIDDEN
    await memory.record_run(
        [
            user(f"{opening} please"),
            {"role": "user", "content": [picture(media.encode() * 20), {"type": "text", "text": text}], "x": payload},
            assistant("calling", call("c", "grep", f'{{"q":"{args}"}}'), reasoning_content=thought),
            result("c", answer),
        ],
        session_id="s", title=title, state={"k": state}, metadata={"k": run}, project=project, agent=agent,
    )  # fmt: skip
    await memory.update_session("s", metadata={"k": meta})
    await memory.summarize_session("s", summary=summary, topics=[topic])
    await memory.fork_session("s", new_session_id="f", title=fork)
    await memory.record_run([user(f"{fork} goes on with {text}")], session_id="f")


async def test_after_a_purge_no_word_of_it_is_in_the_file(memory: Memory, database: Path) -> None:
    for n in range(30):
        await memory.record_run([user(f"bystander {n}"), assistant("common words stay here")], session_id=f"o{n}")
    await record_hidden(memory)
    assert all(word.encode() in bytes_of(database) for word in HIDDEN)
    receipt = await memory.delete_session("s", forks="delete", purge=True)
    left = bytes_of(database).lower()
    assert [word for word in HIDDEN if word.encode() in left] == []
    assert "purged: none of" in receipt.purge
    assert (await memory.search_session_history("bystander", limit=100)).total == 30
    assert await memory.store.check() == []


async def test_a_later_purge_takes_what_was_deleted_before(memory: Memory, database: Path) -> None:
    await record_hidden(memory)
    await memory.delete_session("s", forks="delete")
    await memory.record_run(a_turn(), session_id="o")
    await memory.delete_session("o", purge=True)
    left = bytes_of(database).lower()
    assert [word for word in HIDDEN if word.encode() in left] == []


async def test_a_purge_does_not_take_parts_of_other_words_for_its_own(memory: Memory) -> None:
    await memory.record_run([user("the quartermaster came")], session_id="o")
    await memory.record_run([user("quarter")], session_id="s")
    receipt = await memory.delete_session("s", purge=True)
    assert "still hold" not in receipt.purge


async def test_a_purge_tells_what_a_copy_elsewhere_still_says(memory: Memory, database: Path) -> None:
    await memory.record_run([user("the aardvarkian plan")], session_id="s")
    await memory.record_run([user("the aardvarkian plan again")], session_id="t")
    receipt = await memory.delete_session("s", purge=True)
    assert (await memory.search_session_history("aardvarkian")).total == 1
    assert "purged" in receipt.purge
    with pytest.raises(InvalidArgument):
        await memory.delete_session("#2.1")
    with pytest.raises(InvalidArgument):
        await memory.delete_session("t", forks="perhaps")  # type: ignore[arg-type]


# A server's database


def times_vacuumed(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'messages'").fetchone()
    assert row is not None
    return int(row[0])


async def test_on_a_server_a_purge_says_that_nobody_can_look_through_its_bytes(
    postgres_url: str, tokens: object
) -> None:
    async with backscroll.Backscroll(postgres_url) as app:
        memory = app.memory("ada")
        await memory.record_run([user("the aardvarkian plan")], session_id="s")
        await memory.record_run([user("another plan")], session_id="t")
        before = times_vacuumed(postgres_url)
        pending = await memory.delete_session("t")
        assert pending.purge.startswith("purge pending") and "file" not in pending.purge
        receipt = await memory.delete_session("s", purge=True)
    assert receipt.purge.startswith("vacuumed") and "cannot be looked through" in receipt.purge
    assert any("write-ahead log" in copy for copy in receipt.not_reached)
    assert times_vacuumed(postgres_url) == before + 1


async def test_on_a_server_a_role_without_the_tables_is_told_that_nothing_was_purged(
    postgres: PostgresServer, postgres_url: str, tokens: object
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO guest")
    try:
        async with backscroll.Backscroll(postgres_url.replace("//backscroll@", "//guest@")) as app:
            await app.memory("ada").record_run([user("words")], session_id="s")
            receipt = await app.memory("ada").delete_session("s", purge=True)
        assert receipt.purge.startswith("not purged: this role does not own the tables")
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY guest; DROP ROLE guest")


async def test_on_a_server_a_backup_is_the_servers_own_business(postgres_url: str, tokens: object) -> None:
    async with backscroll.Backscroll(postgres_url) as app:
        with pytest.raises(InvalidArgument, match="pg_dump"):
            await app.store.backup("copy.db")
