"""Deleting all that match: shown first, whole sessions only, in short transactions; by age and by size too."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import backscroll
from backscroll import Backscroll, Memory
from backscroll.config import Settings
from backscroll.errors import Conflict, InvalidArgument, SessionNotFound
from backscroll.models import NewMessage, NewRun
from backscroll.retaining import retaining
from builders import a_tool_turn, a_turn, assistant, bytes_of, picture, user
from choices_doors import append, asks, imported, said, turn, write
from cli_doors import at_prompt, environment, ok, ok_json, program, recorded


async def a_session(
    memory: Memory, name: str, *, project: str | None = None, age_days: float = 0, messages: Any = None, **more: Any
) -> None:
    """One whose last message is so old."""
    told = datetime.now(UTC) - timedelta(days=age_days)
    spoken = messages or a_tool_turn()
    await memory.record_run(
        [{**message, "created_at": told.isoformat()} for message in spoken],
        session_id=name,
        project=project,
        **more,
    )


async def names(memory: Memory) -> set[str]:
    numbers = await memory.store.session_numbers(memory.user_id)
    return {(await memory.get_session(f"#{number}")).session_id for number in numbers}


@pytest.fixture
async def furnished(app: Backscroll) -> Memory:
    memory, codex = app.memory("ada"), app.memory("ada", source="codex")
    await a_session(memory, "old-widget", project="/srv/widget", age_days=100)
    await a_session(memory, "new-widget", project="/srv/widget/below", age_days=1)
    await a_session(codex, "old-codex", project="/srv/other", age_days=90)
    await a_session(codex, "codex-widget", project="/srv/widget", age_days=95)
    await a_session(memory, "nowhere", age_days=200)
    return memory


@pytest.mark.parametrize(
    ("conditions", "gone"),
    [
        ({"project": "/srv/widget"}, {"old-widget", "new-widget", "codex-widget"}),
        ({"project": "widget"}, {"old-widget", "new-widget", "codex-widget"}),
        ({"project": "/srv/*, x"}, {"old-widget", "new-widget", "codex-widget", "old-codex"}),
        ({"source": "codex"}, {"old-codex", "codex-widget"}),
        ({"before": "30d"}, {"old-widget", "old-codex", "codex-widget", "nowhere"}),
        ({"project": "/srv/widget", "before": "30d"}, {"old-widget", "codex-widget"}),
        ({"project": "/srv/widget", "before": "30d", "source": "api"}, {"old-widget"}),
        ({"project": "/srv/nothing"}, set()),
        ({"source": "code"}, set()),
    ],
)
async def test_all_conditions_that_are_given_must_hold(
    furnished: Memory, conditions: dict[str, str], gone: set[str]
) -> None:
    before = await names(furnished)
    preview = await furnished.preview_deletion(**conditions)  # type: ignore[arg-type]
    assert (preview.sessions, preview.messages) == (len(gone), 4 * len(gone))
    assert await names(furnished) == before
    receipt = await furnished.delete_sessions(preview)
    assert (receipt.sessions, receipt.left) == (len(gone), 0)
    assert await names(furnished) == before - gone
    assert await furnished.store.check() == []


async def test_a_preview_tells_how_much_how_old_and_which_first(furnished: Memory) -> None:
    preview = await furnished.preview_deletion(before="30d")
    assert [one.session for one in preview.first] == ["#5", "#1", "#4", "#3"]
    assert preview.oldest == preview.first[0].last_activity_at
    assert preview.newest == preview.first[-1].last_activity_at
    assert preview.size_bytes == sum(one.size_bytes for one in preview.first) > 1000
    assert (preview.runs, preview.forks) == (4, ())
    told = preview.model_dump(mode="json")
    assert "chosen" not in told
    assert json.dumps(told)


async def test_the_receipt_counts_rows_by_table(app: Backscroll) -> None:
    memory = app.memory("ada")
    for n in range(3):
        content = [{"role": "user", "content": [picture(b"picture %d" % n)]}, *a_tool_turn(), assistant("bye")]
        await memory.record_run(content, session_id=f"s{n}", project="/srv/x")
        await memory.summarize_session(f"s{n}", summary="all about it")
    receipt = await memory.delete_sessions(await memory.preview_deletion(project="/srv/x"))
    assert receipt.deleted == {
        "sessions": 3, "runs": 3, "messages": 18, "tool_calls": 3, "media": 3, "summaries": 3, "search_index": 18,
    }  # fmt: skip
    assert "pending" in receipt.purge
    assert (await memory.store.counts("ada"))["media"] == 0


@pytest.mark.parametrize("conditions", [{}, {"project": " , "}, {"project": "../x"}, {"before": "soon"}])
async def test_what_names_no_sessions_is_refused(memory: Memory, conditions: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        await memory.preview_deletion(**conditions)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="retention_days is not set"):
        await memory.preview_deletion(expired=True)
    with pytest.raises(InvalidArgument, match="max_db_bytes is not set"):
        await memory.preview_deletion(over_quota=True)


async def test_a_session_that_went_on_since_it_was_shown_is_left_alone(furnished: Memory) -> None:
    preview = await furnished.preview_deletion(before="30d")
    await furnished.record_run(a_turn(), session_id="old-widget")
    receipt = await furnished.delete_sessions(preview)
    assert (receipt.sessions, receipt.left) == (3, 1)
    assert len(await furnished.get_messages_for_session("old-widget")) == 6


async def test_forks_are_in_the_way_unless_they_go_too(furnished: Memory) -> None:
    await furnished.fork_session("old-widget", new_session_id="fork")
    await furnished.record_run(a_turn(), session_id="fork")
    preview = await furnished.preview_deletion(before="30d", source="api")
    assert preview.forks == ("#6",)
    with pytest.raises(Conflict, match='forks="keep"'):
        await furnished.delete_sessions(preview)
    assert "old-widget" in await names(furnished)
    whole = [message.text for message in await furnished.get_messages_for_session("fork")]
    await furnished.delete_sessions(preview, forks="keep")
    assert await names(furnished) == {"new-widget", "old-codex", "codex-widget", "fork"}
    assert [message.text for message in await furnished.get_messages_for_session("fork")] == whole
    preview = await furnished.preview_deletion(project="*")
    assert preview.forks == ()
    assert (await furnished.delete_sessions(preview)).sessions == 4
    assert await furnished.store.check() == []


async def test_forks_that_match_too_go_in_any_depth(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s0", project="/srv/x")
    for n in range(1, 6):
        await memory.fork_session(f"s{n - 1}", new_session_id=f"s{n}")
        await memory.record_run(a_turn(), session_id=f"s{n}")
    preview = await memory.preview_deletion(project="/srv/x")
    assert (preview.sessions, preview.forks) == (6, ())
    assert (await memory.delete_sessions(preview)).deleted["sessions"] == 6
    assert await memory.store.check() == []


async def test_sub_agents_of_what_matches_go_along(url: str, tmp_path: Path) -> None:
    write(tmp_path / "s-1.jsonl", turn(1, 0, cwd="/srv/x"))
    agent = [asks("g1", 1, "Look", isSidechain=True, agentId="x", cwd="/srv/elsewhere")]
    write(tmp_path / "s-1" / "subagents" / "agent-x.jsonl", agent)
    write(tmp_path / "s-2.jsonl", turn(2, 0, session="s-2", cwd="/srv/elsewhere"))
    await imported(url, tmp_path)
    async with backscroll.open(url, user_id="ada") as memory:
        preview = await memory.preview_deletion(project="/srv/x")
        assert preview.sessions == 2
        await memory.delete_sessions(preview)
        assert await names(memory) == {"s-2"}
    assert (await imported(url, tmp_path)).unchanged == 3
    append(tmp_path / "s-1" / "subagents" / "agent-x.jsonl", [asks("g2", 9, "More", isSidechain=True, agentId="x")])
    await imported(url, tmp_path)
    assert set(await said(url)) == {"s-2"}


async def test_one_users_deletion_touches_nobody_elses(app: Backscroll) -> None:
    ada, bob = app.memory("ada"), app.memory("bob")
    for memory in (ada, bob):
        await a_session(memory, "s", project="/srv/x", age_days=100, messages=[user(f"said by {memory.user_id}")])
    preview = await ada.preview_deletion(project="/srv/x")
    stolen = await bob.preview_deletion(project="/srv/x")
    # Keys of another's sessions are nothing to a user, however they came by them.
    assert (await bob.delete_sessions(preview)).sessions == 0
    assert (await ada.delete_sessions(preview)).sessions == 1
    assert await names(bob) == {"s"}
    assert (await bob.search_session_history("said")).total == 1
    assert (await bob.delete_sessions(stolen)).sessions == 1


async def test_a_purge_leaves_nothing_of_any_of_them(memory: Memory, database: Path) -> None:
    for n in range(20):
        await memory.record_run([user(f"xqzunheard{n}word")], session_id=f"s{n}", project="/srv/x")
    await memory.record_run([user("bystander")], session_id="o")
    receipt = await memory.delete_sessions(await memory.preview_deletion(project="/srv/x"), purge=True)
    assert receipt.purge.startswith("purged: none of ")
    assert b"xqzunheard" not in bytes_of(database)
    assert (await memory.search_session_history("bystander")).total == 1


# Whole or not at all, and nobody waits


async def many(memory: Memory, sessions: int, runs: int, project: str = "/srv/x") -> None:
    for s in range(sessions):
        await memory.record(
            [
                NewRun(
                    messages=(NewMessage(role="user", text=f"q {s} {r}"), NewMessage(role="assistant", text="a" * 200)),
                    session_id=f"s{s}",
                    run_id=f"s{s}r{r}",
                    project=project,
                )
                for r in range(runs)
            ],
            imported=True,
        )


async def test_those_who_write_meanwhile_do_not_wait(app: Backscroll) -> None:
    memory = app.memory("ada")
    await many(memory, 1, 3000)
    async with Backscroll(app.url) as other:
        writer = other.memory("bob")
        await writer.record_run(a_turn(), session_id="warm")
        deleting = asyncio.ensure_future(memory.delete_session("s0"))
        longest = 0.0
        count = 0
        while not deleting.done():
            began = time.perf_counter()
            await writer.record_run(a_turn(), session_id="w")
            longest, count = max(longest, time.perf_counter() - began), count + 1
        receipt = await deleting
    assert receipt.deleted["messages"] == 6000
    assert count >= 5
    # Deleting it whole takes a second or more on any machine that runs this.
    assert longest < 0.5


async def test_a_session_is_gone_at_once_while_its_rows_still_go(memory: Memory, database: Path) -> None:
    await memory.record_run(
        [{"role": "user", "content": [picture()]}, *a_tool_turn()], session_id="s0", run_id="known", project="/srv/x"
    )
    (shown,) = (await memory.get_messages_for_session("s0"))[0].media
    await many(memory, 1, 1500)
    deleting = asyncio.ensure_future(memory.delete_session("s0"))
    with closing(sqlite3.connect(database)) as db:
        while not db.execute("SELECT 1 FROM graves").fetchone():
            await asyncio.sleep(0)
        assert not deleting.done()
        assert db.execute("SELECT count(*) FROM messages").fetchone()[0] > 0
    with pytest.raises(SessionNotFound):
        await memory.get_session("s0")
    with pytest.raises(SessionNotFound):
        await memory.get_session("#1")
    with pytest.raises(backscroll.errors.MediaNotFound):
        await memory.get_media(shown.media_id)
    assert (await memory.search_session_history("q")).total == 0
    assert (await memory.get_tool_call_history()).total == 0
    assert (await memory.list_sessions()).total == 0
    assert (await memory.record_run(a_turn(), session_id="s0", run_id="known")).session == "#2"
    await deleting
    assert await memory.store.check() == []
    assert (await memory.store.counts("ada"))["messages"] == 2


@pytest.mark.parametrize("when", ["buried", "emptying"])
def test_killed_amid_a_deletion_what_is_gone_is_gone_whole(database: Path, when: str) -> None:
    recorded(database, lambda memory: many(memory, 60, 40))
    command = [sys.executable, "-m", "backscroll", "delete", "--project", "/srv/x", "--yes", "--db", str(database)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with closing(sqlite3.connect(database)) as db:
        deadline = time.monotonic() + 60
        left = "SELECT count(*) FROM graves" if when == "buried" else "SELECT 4800 - count(*) FROM messages"
        while time.monotonic() < deadline and process.poll() is None and db.execute(left).fetchone()[0] < 1:
            pass
        process.kill()
        process.communicate()
        assert process.returncode == -9, "it was through before it could be killed"

    async def look(memory: Memory) -> int:
        kept = await names(memory)
        for name in kept:
            assert len(await memory.get_messages_for_session(name)) == 80
            assert (await memory.get_session(name)).runs == 40
        page = await memory.search_session_history("q")
        assert bool(page.total or page.total_at_least) == bool(kept)
        assert await memory.store.check() == []
        return len(kept)

    kept = recorded(database, look)
    assert kept < 60

    async def rest(memory: Memory) -> None:
        # Opening goes on with what was left; deleting the rest waits for all of it.
        await memory.delete_sessions(await memory.preview_deletion(project="/srv/x"))
        assert await memory.store.check() == []

    recorded(database, rest)
    with closing(sqlite3.connect(database)) as db:
        for table in ("sessions", "runs", "messages", "digests", "graves"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_what_was_left_behind_goes_when_the_file_is_opened(url: str, database: Path) -> None:
    async with backscroll.open(url) as memory:
        await many(memory, 2, 30)
    # As a process leaves it that is killed right after it has deleted.
    program_text = (
        "import asyncio, os, backscroll\n"
        "async def main():\n"
        "    async with backscroll.open(os.environ['DB']) as memory:\n"
        "        preview = await memory.preview_deletion(project='/srv/x')\n"
        "        await memory.store.choices.bury('local', preview.chosen, forks='refuse', now=1)\n"
        "        os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program_text], env=environment(DB=str(database)), check=False)
    assert done.returncode == 9
    async with backscroll.open(url) as memory:
        assert await names(memory) == set()
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT count(*) FROM graves").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (0,)
        assert db.execute("SELECT user_id FROM users").fetchall() == [("local",)]


# By age


@pytest.fixture
async def keeping_30_days(url: str) -> AsyncIterator[Backscroll]:
    async with Backscroll(url, Settings(retention_days=30, semantic="off")) as app:
        yield app


async def test_retention_takes_sessions_by_their_last_activity(keeping_30_days: Backscroll) -> None:
    memory = keeping_30_days.memory("ada")
    await a_session(memory, "old", age_days=31)
    await a_session(memory, "named", age_days=31, title="Keep me?")
    await a_session(memory, "archived", age_days=31)
    await memory.update_session("archived", archived=True)
    await a_session(memory, "begun long ago", age_days=90)
    await a_session(memory, "begun long ago", age_days=2)
    await a_session(memory, "young", age_days=29)
    assert (await memory.choices()).expired == 3
    receipt = await memory.apply_retention()
    assert receipt is not None
    assert receipt.sessions == 3
    assert await names(memory) == {"begun long ago", "young"}


async def test_retention_is_applied_once_a_day_and_for_each_user_by_himself(keeping_30_days: Backscroll) -> None:
    ada, bob = keeping_30_days.memory("ada"), keeping_30_days.memory("bob")
    for memory in (ada, bob):
        await a_session(memory, "old", age_days=31)
    assert await ada.apply_retention() is not None
    assert await names(bob) == {"old"}
    await a_session(ada, "older", age_days=40)
    assert await ada.apply_retention() is None
    assert await names(ada) == {"older"}
    assert await ada.apply_retention(every_ms=0) is not None
    assert await bob.apply_retention() is not None


async def test_retention_keeps_forks_whole(keeping_30_days: Backscroll) -> None:
    memory = keeping_30_days.memory("ada")
    await a_session(memory, "old", age_days=31)
    await memory.fork_session("old", new_session_id="fork")
    await memory.record_run(a_turn(), session_id="fork")
    whole = len(await memory.get_messages_for_session("fork"))
    await memory.apply_retention()
    assert await names(memory) == {"fork"}
    assert len(await memory.get_messages_for_session("fork")) == whole


async def test_without_a_setting_nothing_expires(memory: Memory) -> None:
    await a_session(memory, "old", age_days=3000)
    assert await memory.apply_retention() is None
    assert await names(memory) == {"old"}


async def test_what_expired_is_not_brought_back_but_may_be_gone_on_with(url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "s-1.jsonl", turn(1, 0))
    await imported(url, path)
    async with Backscroll(url, Settings(retention_days=30, semantic="off")) as app:
        # The tests' own day is long past by the real clock, or far ahead of it.
        now = (await app.memory("ada").get_session("s-1")).last_activity_at + timedelta(days=31)
        preview = await app.memory("ada").preview_deletion(before=now.isoformat())
        expired = preview.model_copy(update={"said_before": int(now.timestamp() * 1000)})
        await app.memory("ada").delete_sessions(expired)
    await imported(url, path)
    # The file was moved, so nothing but the tombstone knows it.
    await imported(url, write(tmp_path / "moved" / "s-1.jsonl", turn(1, 0)))
    assert await said(url) == {}
    days_32 = 32 * 86_400
    report = await imported(url, append(path, turn(2, days_32)))
    assert report.failed == ()
    assert await said(url) == {"s-1": ["Question 2", "Answer 2"]}
    await imported(url, path, restore=True)
    assert set((await said(url))["s-1"]) == {"Question 1", "Answer 1", "Question 2", "Answer 2"}


async def test_a_running_server_applies_it_when_nobody_writes(keeping_30_days: Backscroll) -> None:
    memory = keeping_30_days.memory("ada")
    await a_session(memory, "old", age_days=31)
    async with asyncio.timeout(20), retaining(keeping_30_days, "ada", quiet_seconds=0.01, look_seconds=0.01):
        while await names(memory):
            await asyncio.sleep(0.01)


async def test_the_server_of_many_users_applies_it_to_each(keeping_30_days: Backscroll) -> None:
    memories = [keeping_30_days.memory(user) for user in ("ada", "bob", "cleo")]
    for memory in memories:
        await a_session(memory, "old", age_days=31)
        await a_session(memory, "new", age_days=1)
    async with asyncio.timeout(20), retaining(keeping_30_days, None, quiet_seconds=0.01, look_seconds=0.01):
        while [(await memory.list_sessions()).total for memory in memories] != [1] * 3:
            await asyncio.sleep(0.01)
    assert [await names(memory) for memory in memories] == [{"new"}] * 3


def test_the_server_of_a_host_applies_it(database: Path) -> None:
    recorded(database, lambda memory: a_session(memory, "old", age_days=31))
    env = environment(BACKSCROLL_RETENTION_DAYS="30", BACKSCROLL_DB=str(database))
    command = [sys.executable, "-m", "backscroll", "serve"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            with closing(sqlite3.connect(database)) as db:
                while db.execute("SELECT count(*) FROM sessions").fetchone()[0] and time.monotonic() < deadline:
                    time.sleep(0.1)
                assert db.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
        finally:
            assert server.stdin is not None
            server.stdin.close()


# By size


async def test_a_quota_takes_the_oldest_until_it_fits_and_only_when_told(url: str) -> None:
    async with Backscroll(url, Settings(semantic="off")) as app:
        memory = app.memory("ada")
        for n in range(30):
            text = " ".join(f"word{(n * k * 7919) % 3001}" for k in range(4000))
            await a_session(memory, f"s{n:02}", age_days=40 - n, messages=[user(text)])
        used = (await memory.choices()).used_bytes
        assert (await memory.choices()).over_quota_by == 0
    limit = used - used // 3
    async with Backscroll(url, Settings(semantic="off", max_db_bytes=limit)) as app:
        memory = app.memory("ada")
        state = await memory.choices()
        assert state.over_quota_by == state.used_bytes - limit > 0
        preview = await memory.preview_deletion(over_quota=True)
        assert preview.over_quota_by is not None
        assert preview.size_bytes >= preview.over_quota_by > 0
        assert len(await names(memory)) == 30
        gone = sorted(f"s{n:02}" for n in range(preview.sessions))
        assert 5 <= preview.sessions <= 15
        await memory.delete_sessions(preview, purge=True)
        assert sorted({f"s{n:02}" for n in range(30)} - await names(memory)) == gone
        assert (await memory.choices()).over_quota_by == 0
        assert (await memory.preview_deletion(over_quota=True)).sessions == 0


# At the prompt


@pytest.fixture
def stored(database: Path) -> Path:
    async def record(memory: Memory) -> None:
        await a_session(memory, "old", project="/srv/widget", age_days=100, title="An old matter")
        await a_session(memory, "new", project="/srv/widget", age_days=1)
        await a_session(memory, "other", project="/srv/other", age_days=100)

    recorded(database, record)
    return database


def left(database: Path) -> int:
    return int(ok_json(database, "list")["total"])


@pytest.mark.parametrize(("answer", "code", "count"), [("y\n", 0, 1), ("n\n", 1, 3), ("\n", 1, 3), ("", 1, 3)])
def test_delete_shows_what_it_would_take_and_asks(stored: Path, answer: str, code: int, count: int) -> None:
    done = at_prompt(stored, "delete", "--project", "/srv/widget", typed=answer)
    assert done.exit_code == code
    assert "2 sessions, 2 runs, 8 messages, about " in done.stderr
    assert "An old matter" in done.stderr
    assert "Delete these 2 sessions? [y/N]" in done.stderr
    assert left(stored) == count
    assert ("Deleted 2 sessions: " in done.stdout) == (code == 0)


def test_a_dry_run_deletes_nothing_and_asks_nothing(stored: Path) -> None:
    done = at_prompt(stored, "delete", "--before", "30d", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 sessions" in done.stderr
    told = ok_json(stored, "delete", "--before", "30d", "--dry-run")["would_delete"]
    assert (told["sessions"], len(told["first"]), told["forks"]) == (2, 2, [])
    assert ok_json(stored, "delete", "old", "--dry-run")["would_delete"]["session_id"] == "old"
    assert "Would delete session" in ok(stored, "delete", "old", "--dry-run")
    assert left(stored) == 3


def test_the_receipt_as_json(stored: Path) -> None:
    receipt = ok_json(stored, "delete", "--before", "30d", "--project", "widget", "--yes")
    assert (receipt["sessions"], receipt["left"], receipt["deleted"]["messages"]) == (1, 0, 4)
    assert left(stored) == 2
    assert ok_json(stored, "delete", "--source", "nobody", "--yes")["sessions"] == 0


@pytest.mark.parametrize(
    "arguments", [(), ("#1", "--project", "x"), ("#1", "--expired"), ("--forks", "keep"), ("--yes",)]
)
def test_a_session_or_conditions_but_not_both_nor_neither(stored: Path, arguments: tuple[str, ...]) -> None:
    assert at_prompt(stored, "delete", *arguments).exit_code == 2
    assert left(stored) == 3


def test_expired_and_over_quota_go_by_the_settings(stored: Path) -> None:
    env = environment(BACKSCROLL_DB=str(stored), BACKSCROLL_RETENTION_DAYS="30", BACKSCROLL_MAX_DB_BYTES="100KB")
    stats = program("stats", env=env).stdout
    assert "30 days after the last message, 2 expired: backscroll delete --expired" in stats
    assert "too much: backscroll delete --over-quota" in stats
    choices = json.loads(program("stats", "--json", env=env).stdout)["choices"]
    assert (choices["expired"], choices["max_db_bytes"], choices["over_quota_by"] > 0) == (2, 100_000, True)
    assert "Deleted 2 sessions" in program("delete", "--expired", "--yes", env=env).stdout
    shown = program("delete", "--over-quota", "--dry-run", env=env)
    assert "The database is " in shown.stderr
    assert left(stored) == 1
    assert program("delete", "--over-quota", env=environment(BACKSCROLL_DB=str(stored))).returncode == 1


def test_titles_cannot_reach_the_terminal(database: Path) -> None:
    recorded(database, lambda memory: a_session(memory, "s", project="/srv/x", title="\x1b]0;owned\x07 [red]x"))
    done = at_prompt(database, "delete", "--project", "/srv/x", "--dry-run")
    assert "\x1b" not in done.output
    assert "[red]x" in done.stderr
