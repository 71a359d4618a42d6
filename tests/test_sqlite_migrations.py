"""A database made by another version of the program."""

import sqlite3
from pathlib import Path

import pytest

import backscroll
from backscroll.store import migrate

MESSAGES = [{"role": "user", "content": "Where is the teapot?"}, {"role": "assistant", "content": "On the shelf."}]


async def recorded(path: Path) -> None:
    async with backscroll.open(str(path)) as memory:
        await memory.record_run(MESSAGES, session_id="s")


async def test_a_migration_that_rewrites_data_leaves_a_copy_of_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.db"
    await recorded(path)
    known = migrate.migrations("sqlite")
    next_number = known[-1][0] + 1
    script = "-- Rewrites data.\nUPDATE messages SET reasoning = 'rewritten';\n"
    monkeypatch.setattr(migrate, "migrations", lambda dialect: [*known, (next_number, "next.sql", script)])
    async with backscroll.open(str(path)) as memory:
        assert {m.reasoning for m in await memory.get_messages_for_session("s")} == {"rewritten"}
    copy = tmp_path / f"b.db.v{known[-1][0]}.backup"
    assert copy.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(copy) as db:
        assert db.execute("SELECT text, reasoning FROM messages ORDER BY seq").fetchall() == [
            ("Where is the teapot?", None),
            ("On the shelf.", None),
        ]
    db.close()


async def test_a_migration_that_only_adds_makes_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.db"
    await recorded(path)
    known = migrate.migrations("sqlite")
    added = (known[-1][0] + 1, "next.sql", "-- A note.\nCREATE TABLE notes (note TEXT) STRICT;\n")
    monkeypatch.setattr(migrate, "migrations", lambda dialect: [*known, added])
    async with backscroll.open(str(path)) as memory:
        assert len(await memory.get_messages_for_session("s")) == 2
    assert not list(tmp_path.glob("*.backup"))


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.db"
    await recorded(path)
    known = migrate.migrations("sqlite")
    broken = (known[-1][0] + 1, "next.sql", "CREATE TABLE notes (note TEXT) STRICT;\nDELETE FROM no_such_table;\n")
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "migrations", lambda dialect: [*known, broken])
        with pytest.raises(backscroll.BackscrollError):
            async with backscroll.open(str(path)):
                pass
    async with backscroll.open(str(path)) as memory:
        assert len(await memory.get_messages_for_session("s")) == 2
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'notes'").fetchone() == (0,)
    db.close()


async def test_an_index_of_an_older_version_is_made_anew_in_the_background(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    await recorded(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 0 WHERE name = 'index_version'")
        db.execute("INSERT INTO search_index (search_index) VALUES ('delete-all')")
    db.close()
    async with backscroll.open(str(path)) as memory:
        assert len(await memory.get_messages_for_session("s")) == 2
    # Closing waited for it.
    async with backscroll.open(str(path)) as memory:
        assert await memory.store.check() == []
        page = await memory.search_session_history("teapot")
        assert [hit.ref for hit in page.hits or ()] == ["#1.1"]
