"""What writes leave behind is worked off: segments of the index merged, the log checkpointed, free pages given back.

In small steps that each hold the lock by themselves, on the writer's own thread: a writer waits for one of
them at most. A little after every few writes, and all the rest once nobody has written for a moment.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from ...errors import StoreError
from ..lock import TURN_S, FileLock
from . import index

T = TypeVar("T")

CHECKPOINT_WHEN_IDLE_BYTES = 1 << 20
CHECKPOINT_AT_ONCE_BYTES = 4 << 20
"""So long a log takes some 10 ms; one of 32 MB took up to a second."""
IDLE_SECONDS = 0.3
MERGE_AFTER_WRITES = 4
PATIENCE_S = 0.05
MANY_SEGMENTS = 64
"""Merging in the background keeps the index below some forty. Above this, whoever writes helps before it goes on:
a bulk load makes segments faster than the background merges them, and at a thousand FTS5 merges all at once."""
FREE_SHARE = 100
"""One page in so many may lie free. Merging the index leaves more; they go back to the disk."""
FREED_PAGES = 256
INCREMENTAL = 2

# Upkeep is never urgent: whoever writes next starts it again. StoreError: the lock is held, the database closed;
# OSError: the lock's file cannot be opened.
_NOT_NOW = (sqlite3.Error, StoreError, OSError, ValueError)


class OnWriter(Protocol):
    """Runs a unit of work on the writer's thread, without a transaction and without the lock."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class Upkeep:
    def __init__(self, path: Path, lock: FileLock, run: OnWriter) -> None:
        self._log = path.with_name(f"{path.name}-wal")
        self._lock = lock
        self._run = run
        self._task: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self._last_write = 0.0
        self._unmerged_writes = 0
        self._looked_at = 0

    async def after_write(self, seconds: float, segments: int) -> None:
        """Note that somebody wrote, for so long, and how many segments the index has now."""
        self._last_write = time.monotonic()
        self._unmerged_writes += 1
        if self._is_due():
            self._due.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep_up())
        if segments > MANY_SEGMENTS:
            await self._help(seconds)

    async def settled(self) -> None:
        """Wait until there is nothing left to do."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _help(self, seconds: float) -> None:
        """Work for as long as the write took, the pauses not counted, or until nothing is left."""
        spent = 0.0
        with suppress(*_NOT_NOW):
            while spent < seconds:
                began = time.monotonic()
                if not await self._run(self._work_off):
                    return
                spent += time.monotonic() - began
                await asyncio.sleep(TURN_S)

    async def _keep_up(self) -> None:
        while True:
            idle = time.monotonic() - self._last_write
            is_idle = idle >= IDLE_SECONDS
            if not is_idle and not self._is_due():
                self._due.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._due.wait(), IDLE_SECONDS - idle)
                continue
            try:
                more = await self._run(self._tidy if is_idle else self._work_off)
            except _NOT_NOW:
                return
            if is_idle and not more:
                return
            await asyncio.sleep(TURN_S)

    def _is_due(self) -> bool:
        return self._unmerged_writes >= MERGE_AFTER_WRITES or self._log_is_long()

    def _log_is_long(self) -> bool:
        """Whether enough has come to the log since it was last looked at for a checkpoint.

        A reader can keep a checkpoint from its end, and the log's file shrinks only with the write after it.
        """
        size = self._log_bytes()
        if size < self._looked_at:
            self._looked_at = 0
        return size - self._looked_at > CHECKPOINT_AT_ONCE_BYTES

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _work_off(self, db: sqlite3.Connection) -> bool:
        """One bounded step while others write; True while there is more to do."""
        with self._lock.held(PATIENCE_S):
            if self._log_is_long():
                self._looked_at = self._log_bytes()
                _checkpoint(db)
                return True
            more = index.merge(db)
            if not more:
                self._unmerged_writes = 0
            return more

    def _tidy(self, db: sqlite3.Connection) -> bool:
        """One bounded step while nobody writes; True while there is more to do."""
        with self._lock.held(0.0):
            if index.merge(db) or _give_back(db):
                return True
            if self._log_bytes() > CHECKPOINT_WHEN_IDLE_BYTES:
                _checkpoint(db)
            return False


def _give_back(db: sqlite3.Connection) -> bool:
    """Give some free pages back to the disk, if they are many; True if any went."""
    (mode,), (free,), (pages,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("auto_vacuum", "freelist_count", "page_count")
    )
    if mode != INCREMENTAL or free <= pages // FREE_SHARE:
        return False
    db.execute(f"PRAGMA incremental_vacuum({FREED_PAGES})").fetchall()
    return bool(db.execute("PRAGMA freelist_count").fetchone()[0] < free)


def _checkpoint(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
