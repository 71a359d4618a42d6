"""Vectors go with what they were made from, whoever changes it, however many make them."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from backscroll import Backscroll, Memory
from backscroll.store.sqlite import SqliteStore
from backscroll.tokens import TokenCounter
from builders import assistant, bytes_of, call, user
from semantic_doors import ON, TALK, all_vectors, altered, app_with_vectors, nearest, semantic_of, session_keys, stored

app = app_with_vectors


# What changes or goes loses its vector


async def test_a_deleted_session_takes_its_vectors_along(app: Backscroll, memory: Memory, database: Path) -> None:
    await memory.record_run(TALK[:2], session_id="gone")
    await memory.record_run(TALK[2:], session_id="kept")
    await semantic_of(app).catch_up()
    assert len(await nearest(app, database, "car", limit=9)) == 4
    gone = stored(database)[TALK[0]["content"]]
    assert bytes_of(database).count(gone) > 0
    receipt = await memory.delete_session("gone", purge=True)
    assert receipt.deleted["vectors"] == 2
    assert set(stored(database)) == {one["content"] for one in TALK[2:]}
    assert bytes_of(database).count(gone) == 0
    # Their signs were in memory when they went.
    assert set(await nearest(app, database, "car", limit=9)) == {one["content"] for one in TALK[2:]}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE messages SET text = 'Somebody [redacted] something.' WHERE message_key = 1",
        "UPDATE tool_calls SET arguments = '[redacted]' WHERE message_key = 1",
        "DELETE FROM messages WHERE message_key = 1",
    ],
)
async def test_whatever_changes_a_message_takes_its_vector(
    app: Backscroll, memory: Memory, database: Path, statement: str
) -> None:
    await memory.record_run([assistant("I look it up.", call("c1", "find", '{"for":"hunter2"}')), assistant("Found.")])
    semantic = semantic_of(app)
    await semantic.catch_up()
    before = all_vectors(database)
    if statement.startswith("DELETE"):
        altered(database, "DELETE FROM tool_calls")
    altered(database, statement)
    assert all_vectors(database) == before[1:]
    assert await nearest(app, database, "look it up") == ["Found."]
    await semantic.catch_up()
    assert before[0] not in all_vectors(database)
    assert len(all_vectors(database)) == (1 if statement.startswith("DELETE") else 2)


async def test_an_answer_that_grows_gets_a_new_vector(app: Backscroll, memory: Memory, database: Path) -> None:
    await memory.record_run([user("Go on."), assistant("I begin.")], session_id="s", run_id="r", status="running")
    semantic = semantic_of(app)
    await semantic.catch_up()
    assert await nearest(app, database, "a violin lesson", limit=1) != []
    longer = "I begin. The violin lesson of your daughter is on Monday."
    await memory.record_run([user("Go on."), assistant(longer)], session_id="s", run_id="r")
    assert set(stored(database)) == {"Go on."}
    await semantic.catch_up()
    assert await nearest(app, database, "a violin lesson", limit=2) == [longer, "Go on."]


async def test_a_fork_that_inherits_messages_is_found_in_its_own_session(
    app: Backscroll, memory: Memory, database: Path
) -> None:
    await memory.record_run(TALK, session_id="parent")
    fork = await memory.fork_session("parent", new_session_id="fork")
    await semantic_of(app).catch_up()
    await memory.delete_session("parent", forks="keep")
    await semantic_of(app).catch_up()
    assert fork.session_id == "fork"
    within = [session_keys(database)["fork"]]
    assert (await nearest(app, database, "car repair", sessions=within))[0] == TALK[0]["content"]


async def test_what_moved_to_a_fork_is_no_longer_found_in_the_session_it_came_from(
    app: Backscroll, memory: Memory, database: Path
) -> None:
    await memory.record_run(TALK, session_id="parent")
    await memory.record_run([user("A bicycle was mended.")], session_id="other")
    await memory.fork_session("parent", new_session_id="fork")
    semantic = semantic_of(app)
    await semantic.catch_up()
    keys = session_keys(database)
    # Their signs are in memory from here on.
    assert len(await nearest(app, database, "car repair", limit=9, sessions=[keys["parent"]])) == 4
    await memory.delete_session("parent", forks="keep")
    await semantic.catch_up()
    assert await nearest(app, database, "car repair", limit=9, sessions=[keys["parent"]]) == []
    assert len(await nearest(app, database, "car repair", limit=9, sessions=[keys["fork"]])) == 4
    assert len(await nearest(app, database, "car repair", limit=9)) == 5


async def test_calls_are_embedded_as_they_were_meant(app: Backscroll, memory: Memory) -> None:
    arguments = '{"for":"caf\\u00e9","in":"first\\nsecond"}'
    await memory.record_run([assistant("I look it up.", call("c1", "find", arguments))])
    await app.store.vectors.claim("some model")
    read = await app.store.vectors.unembedded(limit=10, max_chars=100)
    assert read is not None
    assert [text for _, text in read.texts] == ['I look it up.\nfind {"for":"café","in":"first\nsecond"}']


# Several processes, several models


async def test_two_that_fill_at_once_make_each_vector_once(
    app: Backscroll, memory: Memory, url: str, database: Path
) -> None:
    await memory.record_run([user(f"Message {n}.") for n in range(1_000)])
    async with Backscroll(url, ON) as other:
        async with asyncio.TaskGroup() as group:
            group.create_task(semantic_of(app).catch_up())
            group.create_task(semantic_of(other).catch_up())
        assert len(stored(database)) == 1_000
        assert len(all_vectors(database)) == 1_000
        await other.memory("ada").record_run([user("Recorded elsewhere.")])
        await semantic_of(app).catch_up()
        assert await nearest(app, database, "recorded elsewhere", limit=1) == ["Recorded elsewhere."]
        assert await nearest(other, database, "recorded elsewhere", limit=1) == ["Recorded elsewhere."]


async def test_vectors_of_another_model_are_never_compared_and_are_made_anew(
    app: Backscroll, memory: Memory, url: str, database: Path
) -> None:
    await memory.record_run(TALK)
    semantic = semantic_of(app)
    await semantic.catch_up()
    vector = await semantic.question("car repair")
    assert vector is not None
    await app.store.vectors.claim("another model")
    assert await semantic.nearest("ada", vector, limit=3) == []
    assert await semantic.scores("ada", vector, [1, 2, 3, 4]) == {}
    # The one who came first leaves it to the other; who opens it next has the last word.
    await semantic.catch_up()
    assert await semantic.nearest("ada", vector, limit=3) == []
    async with Backscroll(url, ON) as later:
        await semantic_of(later).catch_up()
        assert (await nearest(later, database, "car repair"))[0] == TALK[0]["content"]
    assert len(all_vectors(database)) == 4


async def test_what_was_changed_while_its_vector_was_made_gets_none_from_the_old_text(
    app: Backscroll, memory: Memory, database: Path
) -> None:
    vectors = app.store.vectors
    await memory.record_run(TALK[:2])
    await vectors.claim("some model")
    read = await vectors.unembedded(limit=10, max_chars=100)
    assert read is not None
    assert [text for _, text in read.texts] == [one["content"] for one in TALK[:2]]
    altered(database, "UPDATE messages SET text = '[redacted]' WHERE message_key = 2")
    assert not await vectors.save(read, [(key, b"1234") for key, _ in read.texts])
    assert all_vectors(database) == []
    read = await vectors.unembedded(limit=10, max_chars=100)
    assert read is not None
    assert [text for _, text in read.texts] == [TALK[0]["content"], "[redacted]"]


async def test_what_was_deleted_while_its_vector_was_made_gets_none(
    app: Backscroll, memory: Memory, database: Path
) -> None:
    vectors = app.store.vectors
    await memory.record_run(TALK[:1], session_id="kept")
    await memory.record_run(TALK[1:2], session_id="gone")
    await vectors.claim("some model")
    read = await vectors.unembedded(limit=10, max_chars=100)
    assert read is not None
    await memory.delete_session("gone")
    assert await vectors.save(read, [(key, b"1234") for key, _ in read.texts])
    assert stored(database) == {TALK[0]["content"]: b"1234"}


async def test_no_statement_reads_more_than_it_must(app: Backscroll, memory: Memory, database: Path) -> None:
    """What runs for each question or each step: by key or index, save for the walk over what is new."""
    await memory.record_run(TALK)
    seen: list[str] = []

    def trace(db: sqlite3.Connection) -> None:
        db.set_trace_callback(seen.append)

    assert isinstance(app.store, SqliteStore)
    await app.store._database.read(trace)
    semantic = semantic_of(app)
    await semantic.catch_up()
    vector = await semantic.question("car")
    assert vector is not None
    near = await semantic.nearest("ada", vector, limit=2)
    await semantic.scores("ada", vector, [one.message_key for one in near])
    asked = [statement for statement in seen if "vectors" in statement or "messages" in statement]
    assert len(asked) >= 5
    with closing(sqlite3.connect(database)) as db:
        for statement in asked:
            for *_, step in db.execute(f"EXPLAIN QUERY PLAN {statement}"):
                assert not step.startswith(("SCAN messages", "SCAN m", "SCAN vectors", "SCAN v ", "USE TEMP")), step


async def test_closing_while_vectors_are_made_leaves_a_whole_state(
    url: str, database: Path, tokens: TokenCounter
) -> None:
    async with Backscroll(url, ON) as app:
        await app.memory("ada").record_run([user(f"Message {n}.") for n in range(2_000)])
        task = asyncio.create_task(semantic_of(app).catch_up())
        with anyio.fail_after(20):
            while not all_vectors(database):
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert 0 < len(all_vectors(database)) < 2_000
    async with Backscroll(url, ON) as app:
        await semantic_of(app).catch_up()
    assert len(stored(database)) == 2_000
