"""`backscroll copy`: a SQLite database goes into Postgres whole, can be broken off, and proves what it says."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backscroll import Backscroll, Memory
from backscroll.copying import CopyReport, copy, opened
from backscroll.errors import InvalidArgument, StoreUnusable
from backscroll.exporting import export_jsonl
from backscroll.ids import user_tag
from backscroll.store.postgres import PostgresStore
from backscroll.store.postgres.database import Writing
from backscroll.store.tokens import StoredToken
from builders import picture
from cli_doors import environment
from postgres_server import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/source.db"


@pytest.fixture
def target(postgres: PostgresServer) -> Iterator[str]:
    """A database of its own: what it is keyed with hangs on what was in it before."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)


async def furnished(memory: Memory) -> None:
    """Sessions of all kinds: media, calls, what policies dropped, history, NUL, forks, summaries, a deleted one."""
    for name in ("plain", "scrubbed", "with-history"):
        for turn in range(3):
            await memory.record_run(
                messages=[
                    {"role": "user", "content": f"Question {turn} of {name}, a NUL \x00 in it"},
                    {"role": "assistant", "content": "I look.", "tool_calls": [a_call(f"c{turn}")]},
                    {"role": "tool", "tool_call_id": f"c{turn}", "content": f"result {turn}"},
                    {"role": "assistant", "content": [{"type": "text", "text": "Done."}, picture()]},
                ],
                session_id=name,
                run_id=f"{memory.user_id}-{name}-{turn}",
                store_tool_messages=name != "scrubbed",
                state={"turn": turn, "odd": [1, 2.5, None, "\x00", "ü"]},
            )
    await memory.fork_session("#1.6", new_session_id="fork")
    await memory.record_run(messages=talk("only in the fork"), session_id="fork")
    await memory.fork_session("fork", new_session_id="fork-of-fork")
    await memory.record_run(messages=talk("to be forgotten"), session_id="gone")
    await memory.delete_session("gone")
    await memory.update_session("plain", title="Named by hand")
    await memory.summarize_session("plain", summary="What it was about.", topics=["testing"])


def talk(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": f"So: {text}."}]


def a_call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}


async def filled(source: str, *users: str) -> None:
    async with Backscroll(source) as app:
        for user in users or ("ada",):
            await furnished(app.memory(user))


async def copied(source: str, target: str, **how: Any) -> CopyReport:
    async with opened(source, target) as ends:
        return await copy(ends, **how)


async def exported(url: str, user: str = "ada") -> list[dict[str, Any]]:
    lines: list[str] = []
    async with Backscroll(url) as app:
        await export_jsonl(app.memory(user), None, lines.append)
    return [json.loads(line) for line in lines]


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def everything(url: str) -> dict[str, list[str]]:
    """What is in each table, times of copying aside."""
    tables = rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return {
        table: sorted(map(repr, rows(url, f'SELECT * FROM "{table}"')))
        for (table,) in tables
        if table not in ("users", "copied")
    }


# What comes along


async def test_a_copy_gives_back_what_the_source_does(source: str, target: str) -> None:
    await filled(source)
    report = await copied(source, target)
    assert (report.copied, report.compared, report.trouble) == (5, 5, [])
    assert await exported(target) == await exported(source)


async def test_numbers_go_on_where_they_were_and_what_was_deleted_stays_out(source: str, target: str) -> None:
    await filled(source)
    before = await exported(source)
    await copied(source, target)
    async with Backscroll(target) as app:
        memory = app.memory("ada")
        assert (await memory.get_session("#4")).session_id == "fork"
        digest = app.store.tombstone_digest("api", "gone")
        assert await app.store.choices.tombstones("ada", [("api", digest)]) == {("api", digest): None}
        new = await memory.record_run(messages=talk("the first one here"), session_id="new")
        assert new.session == "#7"
    assert before[1]["session_id"] == "plain"


async def test_a_run_that_is_sent_again_is_known_in_the_target(source: str, target: str) -> None:
    await filled(source)
    again: dict[str, Any] = {
        "messages": [
            {"role": "user", "content": "Question 2 of scrubbed, a NUL \x00 in it"},
            {"role": "assistant", "content": "I look.", "tool_calls": [a_call("c2")]},
            {"role": "tool", "tool_call_id": "c2", "content": "result 2"},
            {"role": "assistant", "content": [{"type": "text", "text": "Done."}, picture()]},
        ],
        "session_id": "scrubbed",
        "run_id": "ada-scrubbed-2",
        "store_tool_messages": False,
    }
    await copied(source, target)
    async with Backscroll(target) as app:
        assert (await app.memory("ada").record_run(**again)).duplicate
        # What a policy dropped is known by its digest: other words in its place are another run.
        other = [*again["messages"]]
        other[2] = {**other[2], "content": "another result"}
        other[0] = {**other[0], "content": "another question"}
        with pytest.raises(Exception, match="ada-scrubbed-2"):
            await app.memory("ada").record_run(**{**again, "messages": other})


async def test_pauses_redactions_the_ledger_and_choices_come_along(source: str, target: str, tmp_path: Path) -> None:
    async with Backscroll(source) as app:
        memory = app.memory("ada")
        await memory.record_run(messages=talk("key AKIAIOSFODNN7EXAMPLQ and more"), session_id="s")
        pause = await memory.pause()
        secrets = await app.store.secrets.counts("ada")
    await copied(source, target)
    async with Backscroll(target) as app:
        paused = await app.memory("ada").paused()
        assert paused is not None and paused.since == pause.since
    assert rows(target, "SELECT kind, count FROM redactions ORDER BY kind") == sorted(
        (kind, count) for kind, count in dict(secrets).items()
    )


async def test_every_table_beside_the_sessions_comes_along_and_what_is_newer_stands(source: str, target: str) -> None:
    await filled(source)
    file = source.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as db, db:
        for statement in (
            "INSERT INTO imports VALUES (1, '/t/a.jsonl', 'codex', '1:2', 10, 20, 5, 3, '{}', '[]', '{}', 100)",
            "INSERT INTO syncs VALUES (1, 100, 'no disk')",
            "INSERT INTO captures VALUES (1, 'codex', 7, 'stop', 100)",
            "INSERT INTO named_transcripts VALUES (1, '/t/a.jsonl', 100)",
            "INSERT INTO pauses VALUES (1, 10, 20, 1)",
            "INSERT INTO paused_files VALUES (1, '/t/b.jsonl', 10, 'ab', 1, 2)",
            "INSERT INTO left_out VALUES (1, x'01', x'02', 'codex', 'paused', '', 4)",
            "INSERT INTO redactions VALUES (1, 'github-token', 3, 100)",
            "INSERT INTO facts (user_key, fact_id, source, session_id, kind, text, at, heard_at, told, message_key) "
            "SELECT 1, 'f-1', 'codex', 'plain', 'said', NULL, 5, 6, 1, message_key FROM messages "
            "WHERE session_key = 1 AND seq = 2",
        ):
            db.execute(statement)
    await copied(source, target)
    beside = {
        "imports": ("/t/a.jsonl", "codex", "1:2", 10, 20, 5, 3, "{}", "[]", "{}", 100),
        "syncs": (100, "no disk"),
        "captures": ("codex", 7, "stop", 100),
        "named_transcripts": ("/t/a.jsonl", 100),
        "pauses": (10, 20, 1),
        "paused_files": ("/t/b.jsonl", 10, "ab", 1, 2),
        "redactions": ("github-token", 3, 100),
    }
    # Behind these columns Postgres keeps of which machine a file is.
    assert {
        table: rows(target, f"SELECT * FROM {table}")[0][1 : len(row) + 1] for table, row in beside.items()
    } == beside
    assert rows(target, "SELECT session, run, messages FROM left_out") == [(b"\1", b"\2", 4)]
    fact = "SELECT m.seq, f.fact_id FROM facts AS f JOIN messages AS m USING (user_key, message_key)"
    assert rows(target, fact) == [(2, "f-1")]
    rows(target, 'UPDATE imports SET "offset" = 9, imported_at = 200; UPDATE captures SET captured_at = 50')
    await copied(source, target)
    assert rows(target, 'SELECT "offset" FROM imports') == [(9,)]
    assert rows(target, "SELECT captured_at FROM captures") == [(100,)]


async def test_access_tokens_come_along_and_stay_revoked(source: str, target: str) -> None:
    kept = StoredToken("ada", "t-1", b"\1" * 32, "read write", 1_000)
    async with Backscroll(source) as app:
        await app.store.tokens.add(kept)
        await app.store.tokens.add(StoredToken("bob", "t-2", b"\2" * 32, "read", 2_000, expires_at=9_000))
    assert (await copied(source, target)).tokens == 2
    async with Backscroll(source) as app:
        await app.store.tokens.revoke(user_tag("ada"), "t-1", 3_000)
    assert (await copied(source, target)).tokens == 0
    async with Backscroll(target) as app:
        assert await app.store.tokens.find(user_tag("ada"), "t-1") == kept._replace(revoked_at=3_000)
        assert len(await app.store.tokens.listed()) == 2


async def test_one_users_copy_brings_nobody_elses(source: str, target: str) -> None:
    await filled(source, "ada", "bob")
    report = await copied(source, target, user_id="bob")
    assert (report.users, report.copied) == (1, 5)
    assert rows(target, "SELECT user_id FROM users") == [("bob",)]
    assert (await copied(source, target)).copied == 5
    assert await exported(target, "ada") == await exported(source, "ada")


async def test_a_user_who_is_not_there_is_told(source: str, target: str) -> None:
    await filled(source)
    with pytest.raises(InvalidArgument, match="nobody"):
        await copied(source, target, user_id="nobody")


# Twice, later, broken off


async def test_a_second_copy_adds_nothing(source: str, target: str) -> None:
    await filled(source)
    await copied(source, target)
    before = everything(target)
    report = await copied(source, target)
    assert (report.copied, report.unchanged, report.compared, report.trouble) == (0, 5, 5, [])
    assert everything(target) == before


async def test_a_later_copy_brings_what_is_newer_and_takes_away_what_was_deleted(source: str, target: str) -> None:
    await filled(source)
    await copied(source, target)
    async with Backscroll(source) as app:
        memory = app.memory("ada")
        await memory.record_run(messages=talk("said later"), session_id="plain")
        await memory.record_run(messages=talk("a new one"), session_id="new")
        await memory.update_session("scrubbed", title="Another title")
        await memory.delete_session("with-history")
    report = await copied(source, target)
    assert (report.copied, report.removed, report.trouble) == (3, 1, [])
    assert await exported(target) == await exported(source)


async def test_forks_come_again_when_their_parent_was_deleted_and_they_were_kept(source: str, target: str) -> None:
    await filled(source)
    await copied(source, target)
    async with Backscroll(source) as app:
        await app.memory("ada").delete_session("plain", forks="keep")
    report = await copied(source, target)
    assert (report.removed, report.trouble) == (1, [])
    assert await exported(target) == await exported(source)


async def test_killed_in_the_middle_it_goes_on_when_it_is_run_again(source: str, target: str) -> None:
    async with Backscroll(source) as app:
        memory = app.memory("ada")
        for n in range(60):
            for turn in range(3):
                await memory.record_run(messages=talk(f"{n} {turn} " * 200), session_id=f"s{n}")
        await memory.fork_session("s59", new_session_id="fork")
    arguments = [sys.executable, "-m", "backscroll", "copy", source, target]
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (there := rows(target, "SELECT count(*) FROM copied")[0][0]) and process.poll() is None:
            pass
        os.kill(process.pid, signal.SIGKILL)
    assert there
    half = rows(target, "SELECT count(*) FROM sessions")[0][0]
    assert 0 < half < 61
    report = await copied(source, target)
    assert report.trouble == []
    assert (report.copied + report.unchanged, report.compared) == (61, 61)
    assert report.unchanged >= half - 1
    assert await exported(target) == await exported(source)


async def test_while_others_write_the_source_what_was_there_comes_whole(source: str, target: str) -> None:
    await filled(source)
    async with Backscroll(source) as app, opened(source, target) as ends:
        wrote = []

        def told(what: str, done: int, total: int) -> None:
            wrote.append(what)

        memory = app.memory("ada")
        await memory.record_run(messages=talk("before"), session_id="busy")
        report = await copy(ends, told=told)
        await memory.record_run(messages=talk("after"), session_id="busy")
        assert report.trouble == []
        report = await copy(ends)
        assert (report.copied, report.trouble) == (1, [])
        assert {"Copying", "Comparing"} == set(wrote)
    assert await exported(target) == await exported(source)


# What is not the same


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE messages SET text = 'other words' WHERE seq = 2 AND session_key = 1",
        "DELETE FROM messages WHERE seq = 4 AND session_key = 1",
        "UPDATE media SET data = 'other bytes'",
        "UPDATE tool_calls SET arguments = '{}' WHERE session_key = 1",
        "UPDATE summaries SET summary = 'another'",
        "UPDATE sessions SET renamed = 1 - renamed WHERE session_key = 1",
        "UPDATE sessions SET number = 99 WHERE session_key = 1",
    ],
)
async def test_a_row_that_somebody_changed_is_seen_and_not_written_over(
    source: str, target: str, tampering: str
) -> None:
    await filled(source)
    await copied(source, target)
    rows(target, tampering)
    before = everything(target)
    report = await copied(source, target)
    assert "plain" in {trouble.session_id for trouble in report.trouble}
    assert everything(target) == before


async def test_replace_takes_the_sources(source: str, target: str) -> None:
    await filled(source)
    await copied(source, target)
    rows(target, "UPDATE messages SET text = 'other words' WHERE seq = 2 AND session_key = 1")
    report = await copied(source, target, replace=True)
    assert report.trouble == []
    assert await exported(target) == await exported(source)


async def test_a_session_that_went_on_in_the_target_is_left_alone(source: str, target: str) -> None:
    await filled(source)
    await copied(source, target)
    for url in (source, target):
        async with Backscroll(url) as app:
            await app.memory("ada").record_run(messages=talk(f"said in {url[:6]}"), session_id="scrubbed")
    report = await copied(source, target)
    assert [trouble.session_id for trouble in report.trouble] == ["scrubbed"]
    async with Backscroll(target) as app:
        found = await app.memory("ada").get_messages_for_session("scrubbed")
    assert found[-1].text.startswith("So: said in postgr")


async def test_what_was_deleted_in_the_target_does_not_come_back(source: str, target: str) -> None:
    await filled(source)
    await copied(source, target)
    async with Backscroll(target) as app:
        await app.memory("ada").delete_session("scrubbed")
    report = await copied(source, target)
    assert (report.deleted, report.copied, report.trouble) == (1, 0, [])


async def test_a_target_with_sessions_of_its_own_keeps_them_and_their_numbers(source: str, target: str) -> None:
    async with Backscroll(target) as app:
        await app.memory("ada").record_run(messages=talk("mine"), session_id="mine")
        await app.memory("bob").record_run(messages=talk("bobs"), session_id="bobs")
    await filled(source)
    report = await copied(source, target)
    # Its key for digests is another one: what only that could read stays behind, and is told.
    assert report.left_behind == {"tombstones": 1}
    assert [(one.session_id, "number" in one.why) for one in report.trouble if one.session_id == "plain"] == [
        ("plain", True)
    ]
    async with Backscroll(target) as app:
        assert (await app.memory("ada").get_session("#1")).session_id == "mine"
        assert (await app.memory("ada").get_session("#2")).session_id == "scrubbed"
        # Digests were made anew: a run that is sent again is known all the same.
        again = await app.memory("ada").record_run(
            messages=[
                {"role": "user", "content": "Question 0 of with-history, a NUL \x00 in it"},
                {"role": "assistant", "content": "I look.", "tool_calls": [a_call("c0")]},
                {"role": "tool", "tool_call_id": "c0", "content": "result 0"},
                {"role": "assistant", "content": [{"type": "text", "text": "Done."}, picture()]},
            ],
            session_id="with-history",
            run_id="ada-with-history-0",
        )
        assert again.duplicate


async def test_a_server_that_was_open_during_the_copy_writes_nothing_with_the_key_that_was_replaced(
    source: str, target: str
) -> None:
    await filled(source)
    async with Backscroll(target) as server:
        report = await copied(source, target)
        assert report.left_behind == {}
        for user in ("ada", "somebody new"):
            with pytest.raises(StoreUnusable, match=r"key .* was replaced.*Nothing was written.*[Rr]estart"):
                await server.memory(user).record_run(messages=talk("hello"), session_id="late", run_id="late")
    async with Backscroll(target) as server:
        for duplicate in (False, True):
            told = await server.memory("ada").record_run(messages=talk("hello"), session_id="late", run_id="late")
            assert told.duplicate == duplicate


async def test_a_key_is_not_replaced_while_a_first_write_is_under_way(target: str) -> None:
    written, go = asyncio.Event(), asyncio.Event()
    server, other = await PostgresStore.opened(target), await PostgresStore.opened(target)

    async def first(writing: Writing) -> None:
        written.set()
        await go.wait()

    write = asyncio.create_task(server._database.write("ada", first))
    await asyncio.wait_for(written.wait(), 30)
    adopting = asyncio.create_task(other.arriving.adopt_key(b"k" * 32))
    await _waiting_for_a_lock(target)
    go.set()
    await write
    assert await adopting is False
    assert await other.digest_key() == await server.digest_key()
    await server.close()
    await other.close()


async def _waiting_for_a_lock(url: str) -> None:
    """Come back once somebody waits for one in this database."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(30), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while await (await connection.execute(statement)).fetchone() == (0,):
            pass


# Which way, and the command


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (("postgres", "sqlite"), "not now"),
        (("postgres", "postgres"), "pg_dump"),
        (("sqlite", "sqlite"), "same database"),
        (("sqlite", "other"), "must be postgresql"),
    ],
)
async def test_the_other_ways_are_refused(source: str, target: str, ends: tuple[str, str], told: str) -> None:
    urls = {"sqlite": source, "postgres": target, "other": f"{source}2"}
    with pytest.raises(InvalidArgument, match=told):
        await copied(urls[ends[0]], urls[ends[1]])


async def test_a_source_that_is_not_there_is_not_made(source: str, target: str) -> None:
    with pytest.raises(StoreUnusable, match="There is no database"):
        await copied(source, target)
    assert not Path(source.removeprefix("sqlite:///")).exists()


def at_prompt(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backscroll", "copy", *arguments],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


async def test_the_command_tells_what_it_did_and_fails_where_something_differs(source: str, target: str) -> None:
    await filled(source)
    done = at_prompt(source, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Copied 5 sessions" in done.stdout and "by digest: 5 sessions" in done.stdout
    rows(target, "UPDATE messages SET text = 'a secret word' WHERE seq = 1")
    done = at_prompt(source, target, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert {one["session_id"] for one in report["trouble"]} == {"plain", "scrubbed", "with-history"}
    assert "session plain of ada" in done.stderr
    assert "secret word" not in done.stdout + done.stderr


async def test_large_sessions_do_not_fill_memory(source: str, target: str) -> None:
    async with Backscroll(source) as app:
        memory = app.memory("ada")
        for turn in range(40):
            await memory.record_run(messages=talk(f"{turn}{'x' * 2_000} " * 300), session_id="large")
    peak = (
        # Not getrusage: that of a child begins with what its parent held.
        "import re, sys; from backscroll.cli import _exit_code; code = _exit_code(sys.argv[1:]); "
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", peak, "copy", source, target, "--json"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    # Some 48 MB of text; the program alone takes about a hundred, and a page of text several times its size.
    assert int(done.stdout.split()[-1]) < 300
