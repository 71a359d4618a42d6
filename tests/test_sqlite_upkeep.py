"""What the SQLite store does when nobody writes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio

import backscroll
from backscroll.store.indexing import Entry
from backscroll.store.sqlite import SqliteStore, index
from backscroll.store.sqlite.upkeep import MANY_SEGMENTS
from builders import a_turn


def pages(path: Path) -> tuple[int, int]:
    """All pages of the file, and those that lie free."""
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA page_count").fetchone()[0], db.execute("PRAGMA freelist_count").fetchone()[0]
    finally:
        db.close()


async def test_pages_that_became_free_go_back_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    async with backscroll.open(str(path)) as memory:
        for _ in range(20):
            await memory.record_run(a_turn(answer="word " * 10_000), session_id="long")
        before, _ = pages(path)
        await memory.delete_session("long")
        assert isinstance(memory.store, SqliteStore)
        with anyio.fail_after(20):
            await memory.store._database.upkeep.settled()
        after, free = pages(path)
    assert after < before / 2
    assert free <= max(after // 100, 1)


async def test_the_index_is_merged_while_there_is_no_pause_between_writes(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    most = 0
    async with backscroll.open(str(path)) as memory:
        with closing(sqlite3.connect(path)) as db:
            for n in range(3 * MANY_SEGMENTS):
                await memory.record_run(a_turn(), session_id=f"s{n}")
                most = max(most, index.segments(db))
    # Each run made one.
    assert most <= MANY_SEGMENTS


async def test_whoever_writes_much_at_once_merges_it_too(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    async with backscroll.open(str(path)) as memory:
        assert isinstance(memory.store, SqliteStore)

        def load(db: sqlite3.Connection) -> None:
            # As a bulk load does: each full buffer of the index becomes a segment.
            (newest,) = db.execute("SELECT coalesce(max(id), 0) FROM search_index_docsize").fetchone()
            for n in range(newest + 1, newest + 1 + MANY_SEGMENTS // 2):
                index.add(db, n, Entry(" ".join(f"word{n}of{i}" for i in range(500)), "", "xu1"))
                db.execute("SAVEPOINT full")
                db.execute("RELEASE full")

        with closing(sqlite3.connect(path)) as db:
            for _ in range(12):
                await memory.store._database.write(load)
                assert 0 < index.segments(db) <= 2 * MANY_SEGMENTS


async def test_the_log_does_not_stay_long(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    log = path.with_name("history.db-wal")
    async with backscroll.open(str(path)) as memory:
        for n in range(12):
            await memory.record_run(a_turn(answer=f"{n} words " * 100_000), session_id="s")
        await memory.record_run(a_turn(), session_id="s")
        assert log.stat().st_size < path.stat().st_size / 2
