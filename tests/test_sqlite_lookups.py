"""Rows that are found by their key, read on the event loop's own thread."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from backscroll.auth import keeping, opaque
from backscroll.errors import StoreUnusable
from backscroll.store.opening import open_store
from backscroll.store.sqlite import SqliteStore
from backscroll.store.tokens import StoredToken


async def opened(path: Path) -> SqliteStore:
    store = await open_store(str(path))
    assert isinstance(store, SqliteStore)
    return store


async def a_token(store: SqliteStore, user: str = "ada") -> opaque.Opaque:
    token, _ = await keeping.create(store.tokens, user, ("read",), timedelta(days=1), now=datetime.now(UTC))
    parts = opaque.parsed(token)
    assert parts is not None
    return parts


async def found(store: SqliteStore, token: opaque.Opaque) -> StoredToken | None:
    return await store.tokens.find(token.tag, token.token_id)


def thread_of(_: sqlite3.Connection) -> int:
    return threading.get_ident()


async def test_a_token_is_found_while_a_long_read_is_under_way(tmp_path: Path) -> None:
    store = await opened(tmp_path / "history.db")
    token = await a_token(store)
    begun, goes_on = threading.Event(), threading.Event()

    def long(_: sqlite3.Connection) -> None:
        begun.set()
        assert goes_on.wait(20)

    reading = asyncio.create_task(store._database.read(long))
    try:
        with anyio.fail_after(10):
            await asyncio.to_thread(begun.wait)
            assert await found(store, token) is not None
            assert not reading.done()
    finally:
        goes_on.set()
        await reading
        await store.close()


async def test_a_token_is_found_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    store = await opened(path)
    token = await a_token(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE access_tokens SET revoked_at = 1")
        with anyio.fail_after(5):
            before = await found(store, token)
        other.execute("COMMIT")
    after = await found(store, token)
    assert before is not None and before.revoked_at is None
    assert after is not None and after.revoked_at == 1
    await store.close()


async def test_what_another_store_revokes_or_adds_is_seen_by_the_next_lookup(tmp_path: Path) -> None:
    one, other = await opened(tmp_path / "history.db"), await opened(tmp_path / "history.db")
    token = await a_token(one)
    for store in (one, other):
        assert (await found(store, token)) is not None
    assert await other.tokens.revoke(token.tag, token.token_id, 5)
    told = await found(one, token)
    assert told is not None and told.revoked_at == 5
    assert await found(one, await a_token(other, "bob")) is not None
    await one.close()
    await other.close()


async def test_lookups_stay_on_the_thread_that_asks_and_other_reads_do_not(tmp_path: Path) -> None:
    store = await opened(tmp_path / "history.db")
    assert await store._database.look_up(thread_of) == threading.get_ident()
    assert await store._database.read(thread_of) != threading.get_ident()
    await store.close()


async def test_a_lookup_from_another_thread_is_an_ordinary_read(tmp_path: Path) -> None:
    store = await opened(tmp_path / "history.db")
    token = await a_token(store)
    assert await found(store, token) is not None

    def elsewhere() -> tuple[StoredToken | None, bool]:
        async def ask() -> tuple[StoredToken | None, bool]:
            own = await store._database.look_up(thread_of) == threading.get_ident()
            return await found(store, token), own

        return asyncio.run(ask())

    told, own = await asyncio.to_thread(elsewhere)
    assert told is not None
    assert not own
    await store.close()


async def test_what_cannot_be_read_at_once_is_read_in_the_ordinary_way(tmp_path: Path) -> None:
    store = await opened(tmp_path / "history.db")

    def busy_here(db: sqlite3.Connection) -> int:
        if threading.get_ident() == main:
            raise sqlite3.OperationalError("database is locked")
        return int(db.execute("SELECT 7").fetchone()[0])

    main = threading.get_ident()
    assert await store._database.look_up(busy_here) == 7
    await store.close()


async def test_a_lookup_cannot_write(tmp_path: Path) -> None:
    store = await opened(tmp_path / "history.db")

    def write(db: sqlite3.Connection) -> str:
        if threading.get_ident() != main:
            return "not here"
        db.execute("DELETE FROM access_tokens")
        return "written"

    main = threading.get_ident()
    token = await a_token(store)
    assert await store._database.look_up(write) == "not here"
    assert await found(store, token) is not None
    await store.close()


async def test_a_file_put_in_the_place_of_the_open_one_is_not_looked_into(tmp_path: Path) -> None:
    path, another = tmp_path / "history.db", tmp_path / "another.db"
    foreign = await opened(another)
    intruder = await a_token(foreign, "mallory")
    await foreign.close()
    store = await opened(path)
    token = await a_token(store)
    path.rename(tmp_path / "moved.db")
    another.rename(path)
    assert await found(store, token) is not None
    assert await found(store, intruder) is None
    await store.close()


async def test_a_closed_store_looks_nothing_up_and_leaves_no_log_behind(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    store = await opened(path)
    token = await a_token(store)
    assert await found(store, token) is not None
    await store.close()
    with pytest.raises(StoreUnusable):
        await found(store, token)
    assert {one.name for one in tmp_path.glob("history.db-*")} == set()
