"""What the SQLite store does when nobody writes."""

import sqlite3
from pathlib import Path

import anyio

import backscroll
from backscroll.store.sqlite import SqliteStore
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
        upkeep = memory.store._database._upkeep
        assert upkeep is not None
        with anyio.fail_after(20):
            await upkeep
        after, free = pages(path)
    assert after < before / 2
    assert free <= max(after // 100, 1)
