"""One SQLite file: its connections, its transactions, its lock.

A unit of work is one function run on a connection's own thread: a hop through aiosqlite costs
more than most statements. All writers, checkpoints and closings of every process take one lock
file in turn: SQLite before 3.51.3 can lose committed writes when a checkpoint and a writer of
another connection meet ("WAL-reset bug" on its WAL page), and closing the last connection
checkpoints too.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import aiosqlite

from ...errors import StoreBusy, StoreUnusable
from ..lock import FileLock
from . import index
from .at_once import AtOnce
from .enduring import to_its_end
from .errors import commit_errors, sqlite_errors
from .upkeep import CHECKPOINT_WHEN_IDLE_BYTES, Upkeep

T = TypeVar("T")

OLDEST_SQLITE = (3, 38, 0)
"""STRICT tables, RETURNING and `unixepoch` are there; older ones were not tried."""

MAGIC = b"SQLite format 3\0"
APPLICATION_ID = 0x42534352  # "BSCR"


class Reading(Protocol):
    """Runs a unit of work on the connection of a snapshot."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class Database:
    """The connections to one file: one writer, one reader, each on a thread of its own."""

    def __init__(self, path: Path, *, synchronous: str = "FULL", busy_timeout_s: float = 10.0) -> None:
        self.path = path
        self._synchronous = synchronous
        self._busy_timeout_s = busy_timeout_s
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._at_once = AtOnce(path)
        self.upkeep = Upkeep(path, self._lock, self._on_writer)

    async def open(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Open the file, creating it if need be, and run `prepare` (migrations) on the writer, under the lock.

        Raises StoreUnusable, StoreBusy.
        """
        with sqlite_errors(self.path):
            if sqlite3.sqlite_version_info < OLDEST_SQLITE:
                raise StoreUnusable(
                    f"SQLite {sqlite3.sqlite_version} is too old; "
                    f"Backscroll needs {'.'.join(map(str, OLDEST_SQLITE))} or newer. Use a newer Python."
                )
            self._create_file()
            try:
                await to_its_end(self._open(prepare))
            except BaseException:
                await self.close()
                raise

    async def _open(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._writer = await self._connect()
        await self._run(self._writer, lambda db: self._prepare(db, prepare))
        self._reader = await self._connect()
        self._at_once.allow()

    async def close(self) -> None:
        """Finish what is under way, then close. Closing the last connection checkpoints, hence the lock."""
        await to_its_end(self._close())

    async def _close(self) -> None:
        await self.upkeep.stop()
        self._at_once.close()
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        if reader is not None:
            await reader.close()
        if writer is not None:
            await self._run(writer, self._close_writer)
            await writer.close()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one read transaction: all its statements see one point in time."""
        with sqlite_errors(self.path):
            return await self._run(self._opened(self._reader), lambda db: _in_snapshot(db, work))

    async def look_up(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which finds a row by its key, without leaving this thread where that can be.

        It sees what any process has committed, as every read does; several statements need not see the same point
        in time. It may come to be run twice.
        """
        found = self._at_once.read(work)
        return await self.read(work) if found is None else found[0]

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reading]:
        """Several reads that all see one point in time, on a connection of their own: nobody waits for them.

        Until it is left, checkpoints cannot pass that point in time.
        """
        connections: list[aiosqlite.Connection] = []

        async def connect() -> None:
            connections.append(await self._connect())

        async def read(work: Callable[[sqlite3.Connection], T]) -> T:
            with sqlite_errors(self.path):
                return await self._run(connections[0], work)

        try:
            with sqlite_errors(self.path):
                await to_its_end(connect())
            await read(lambda db: db.execute("BEGIN"))
            yield read
        finally:
            # A connection left open would hold its point in time until the process ends.
            for connection in connections:
                await to_its_end(connection.close())

    async def write(self, work: Callable[[sqlite3.Connection], T], *, checked: bool = True) -> T:
        """Run `work` in one write transaction. All of it lands, or nothing.

        A cancelled caller leaves the transaction to its thread, where it ends by itself. Raises StoreBusy
        when other processes hold the lock beyond the time-out. Unless `checked`, foreign keys are not: deleting
        a run would look through all messages there are for one that refers to it.
        """
        with sqlite_errors(self.path):
            done = await self._run(self._opened(self._writer), lambda db: self._in_transaction(db, work, checked))
        await self.upkeep.after_write(done.seconds, done.segments)
        return done.result

    async def alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writer under the lock but outside a transaction: VACUUM, checkpoints, backup."""

        def locked(db: sqlite3.Connection) -> T:
            with self._lock.held(self._busy_timeout_s):
                return work(db)

        with sqlite_errors(self.path):
            return await self._run(self._opened(self._writer), locked)

    def _create_file(self) -> None:
        folder = self.path.parent
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
        if self.path.exists():
            with self.path.open("rb") as file:
                # SQLite takes a file of a few bytes for an empty one, and would write over it.
                if (head := file.read(len(MAGIC))) and head != MAGIC:
                    raise StoreUnusable(
                        f"{self.path} is not a SQLite database. "
                        "Name another file with BACKSCROLL_DB, or move this one away."
                    )
        else:
            # SQLite gives the WAL the mode of the file, so it must be right from the start.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    async def _connect(self) -> aiosqlite.Connection:
        connection = aiosqlite.connect(
            self.path, isolation_level=None, timeout=self._busy_timeout_s, cached_statements=256
        )
        # A daemon: a loop that dies without closing us must not keep its process alive.
        thread: threading.Thread = connection._thread
        thread.daemon = True
        try:
            opened = await connection
        except sqlite3.Error:
            # Its thread answers the loop once more as it stops, and a loop that was closed by then would
            # make that a traceback on stderr.
            await asyncio.to_thread(thread.join)
            raise
        try:
            await self._run(opened, self._configure)
        except BaseException:
            await opened.close()
            raise
        return opened

    def _configure(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        # The log shrinks when it begins anew after a checkpoint: its size tells how much waits for the next one.
        db.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_WHEN_IDLE_BYTES}")
        db.execute("PRAGMA cache_size = -16000")
        db.execute("PRAGMA temp_store = MEMORY")

    def _prepare(self, db: sqlite3.Connection, prepare: Callable[[sqlite3.Connection], None]) -> None:
        with self._lock.held(self._busy_timeout_s):
            # Look before anything is written: what is not ours stays as it is, to the byte.
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables and application != APPLICATION_ID:
                raise StoreUnusable(f"{self.path} is another program's database. Name another file with BACKSCROLL_DB.")
            if not tables:
                # Of effect in a new file only; elsewhere it would write, each time.
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreUnusable(
                    f"{self.path} cannot use write-ahead logging (journal mode {mode}). "
                    "Put the database on a local disk."
                )
            prepare(db)

    def _close_writer(self, db: sqlite3.Connection) -> None:
        try:
            with self._lock.held(self._busy_timeout_s):
                db.close()
        except StoreBusy:
            # Somebody writes, so ours is not the last connection and closing it checkpoints nothing.
            db.close()

    def _in_transaction(
        self, db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T], checked: bool
    ) -> "_Done[T]":
        with self._lock.held(self._busy_timeout_s), nullcontext() if checked else _unchecked(db):
            began = time.monotonic()
            # IMMEDIATE takes the write lock now; a plain BEGIN that reads first can fail at its first
            # write, at once, however long the time-out is.
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                with commit_errors:
                    db.execute("COMMIT")
            except BaseException:
                # The first error counts; SQLite may have rolled back by itself.
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
            return _Done(result, time.monotonic() - began, index.segments(db))

    async def _on_writer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(self._opened(self._writer), work)

    def _opened(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if connection is None:
            raise StoreUnusable("The database is not open. Open it with backscroll.open(...).")
        return connection

    @staticmethod
    async def _run(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        """The one place that hops: aiosqlite's own way onto its thread, with a whole unit of work."""
        execute: Callable[..., Awaitable[T]] = connection._execute
        return await execute(work, connection._conn)


class _Done(NamedTuple, Generic[T]):
    result: T
    seconds: float
    """From the beginning of the transaction to its end: without waiting for the lock."""
    segments: int


@contextmanager
def _unchecked(db: sqlite3.Connection) -> Iterator[None]:
    """Foreign keys are not looked at. Of effect only between transactions."""
    db.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        db.execute("PRAGMA foreign_keys = ON")


def _in_snapshot(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN")
    try:
        return work(db)
    finally:
        db.execute("COMMIT")
