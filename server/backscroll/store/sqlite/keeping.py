"""Who looks after the index of an open store: makes it anew where that is due, beside all other work.

A step holds the lock for about HOLD_SECONDS and then leaves it to others. Of several processes one does the
work, the others wait for it and take over if it dies.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from ...errors import IndexDamaged, StoreBusy, StoreError
from ..lock import TURN_S, FileLock
from . import index, rebuilding
from .database import Database
from .errors import sqlite_errors

T = TypeVar("T")
Told = Callable[[int, int], None]
"""Told how far the work has come: what is done, and what that will be at the end."""

logger = logging.getLogger(__name__)

HOLD_SECONDS = 0.012
"""Of one transaction. Whoever waits for it also waits for what stands before it, hence well under 50 ms."""
PAUSE_SECONDS = 2 * TURN_S
"""Between two: a rebuild is never urgent."""
LOOK_SECONDS = 0.2
"""How often a process that waits for another's rebuild looks how far that is."""
GRACE_SECONDS = 1.0
"""How long closing waits for a rebuild: a small one comes to its end, a long one goes on at the next opening."""
MERGES_AT_MOST = 4
"""After one filling; on average one or two are needed."""


class Pace:
    """How much fits into one transaction, learned from how long the last ones took."""

    def __init__(self, amount: int, least: int, most: int) -> None:
        self.amount = amount
        self._least, self._most = least, most

    def took(self, seconds: float) -> None:
        fits = int(self.amount * min(HOLD_SECONDS / max(seconds, 1e-6), 2.0))
        self.amount = min(max(fits, self._least), self._most)


class IndexKeeper:
    """Keeps the index of one store whole."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock_path = database.path.with_name(f"{database.path.name}.rebuild.lock")
        self._lock = FileLock(self._lock_path)
        self._background: asyncio.Task[None] | None = None
        self._at_work = False

    async def open(self) -> None:
        """Begin, or go on with, what is to be done to the index. Nobody waits for it."""
        if await self._database.read(rebuilding.is_pending):
            self._start()

    async def close(self) -> None:
        if self._background is not None:
            try:
                if self._at_work:
                    await asyncio.wait([self._background], timeout=GRACE_SECONDS)
            finally:
                self._background.cancel()
                await asyncio.gather(self._background, return_exceptions=True)

    async def write(
        self, work: Callable[[sqlite3.Connection], T], *, repeatable: bool = True, checked: bool = True
    ) -> T:
        """A write transaction that changes the index too. Where that is damaged, it is done again without it.

        Nothing then fails but a search, until the index is made anew in the background. What is not
        `repeatable` raises IndexDamaged once. `checked` as in Database.write.
        """
        try:
            return await self._database.write(work, checked=checked)
        except IndexDamaged:
            await self._database.write(rebuilding.lose)
            self._start()
            if not repeatable:
                raise
            return await self._database.write(work, checked=checked)

    async def rebuild(self, told: Told | None = None, *, always: bool = True) -> int:
        """Make the index anew, or go on with what was begun; return how many messages it holds.

        Unless `always`, only where something is to be done. Raises StoreBusy, StoreUnusable; what was done until
        then stays.
        """
        with ExitStack() as held:
            while not self._took_lock(held):
                # When the other process is through, it is done for us too.
                always = False
                await self._tell(told)
                await asyncio.sleep(LOOK_SECONDS)
            held.callback(self._rest)
            self._at_work = True
            if always or not (await self._database.read(index.state)).is_current:
                await self._database.write(rebuilding.begin)
            try:
                await self._fill(told)
            except IndexDamaged:
                await self._database.write(rebuilding.begin_again)
                await self._fill(told)
            await self._empty()
        return await self._database.read(index.count)

    async def merge_all(self) -> None:
        """Merge all into one, so that nothing of what was deleted is in the index; made anew first if due."""
        while True:
            await self.rebuild(always=False)
            pages = -index.MERGE_PAGES
            while await self.write(partial(index.merge, pages=pages)):
                pages = index.MERGE_PAGES
            if not await self._database.read(rebuilding.is_pending):
                return

    def _start(self) -> None:
        if self._background is None or self._background.done():
            self._background = asyncio.get_running_loop().create_task(self._rebuild_quietly())

    async def _rebuild_quietly(self) -> None:
        while True:
            try:
                await self.rebuild(always=False)
                return
            except StoreBusy:
                await asyncio.sleep(LOOK_SECONDS)
            except StoreError as error:
                logger.warning("the search index could not be made anew: %s", error)
                return

    def _rest(self) -> None:
        self._at_work = False

    def _took_lock(self, held: ExitStack) -> bool:
        try:
            with sqlite_errors(self._lock_path):
                held.enter_context(self._lock.held(0.0))
        except StoreBusy:
            return False
        return True

    async def _fill(self, told: Told | None) -> None:
        pace = Pace(30_000, 2_000, 2_000_000)
        while not await self._step(lambda db: rebuilding.fill(db, pace.amount), pace):
            await self._tell(told)
            for _ in range(MERGES_AT_MOST):
                if not await self._step(partial(rebuilding.merge_next, seconds=HOLD_SECONDS / 2)):
                    break
        await self._tell(told)

    async def _empty(self) -> None:
        pace = Pace(50, 10, 5_000)
        while not await self._step(lambda db: rebuilding.empty_old(db, pace.amount), pace):
            pass

    async def _step(self, work: Callable[[sqlite3.Connection], T], pace: Pace | None = None) -> T:
        """One transaction, after which others have their turn."""
        began = 0.0

        def timed(db: sqlite3.Connection) -> T:
            nonlocal began
            began = time.perf_counter()
            return work(db)

        result = await self._database.write(timed)
        if pace is not None:
            pace.took(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)
        return result

    async def _tell(self, told: Told | None) -> None:
        if told is not None:
            told(*await self._database.read(rebuilding.progress))
