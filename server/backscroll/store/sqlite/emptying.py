"""The rows of deleted sessions go, step by step, beside all other work. See deleting.py for how they came here.

A step holds the lock for about HOLD_SECONDS; what the search index holds of its messages is worked out before
it, which takes most of the time. Of several processes one does the work. Who opens a file in which somebody left
rows behind goes on with them.
"""

import asyncio
import json
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from ...errors import StoreBusy, StoreError
from ..lock import TURN_S, FileLock
from . import index
from .database import Database
from .deleting import NOBODY
from .errors import sqlite_errors
from .index import Indexed
from .keeping import GRACE_SECONDS, LOOK_SECONDS, IndexKeeper, Pace

logger = logging.getLogger(__name__)


MESSAGES_AT_MOST = 150
"""In one step: their entries are worked out on the connection on which this process reads."""


class _Part(NamedTuple):
    """Some messages of a session that is on its way out, and their entries in the index."""

    session_key: int
    message_keys: Sequence[int]
    indexed: Sequence[Indexed]
    is_last: bool


class Emptier:
    """Empties the graves of one store."""

    def __init__(self, database: Database, keeper: IndexKeeper) -> None:
        self._database = database
        self._keeper = keeper
        self._lock_path = database.path.with_name(f"{database.path.name}.deleting.lock")
        self._lock = FileLock(self._lock_path)
        self._task: asyncio.Task[None] | None = None
        self._rows: Counter[tuple[int, str]] = Counter()

    async def open(self) -> None:
        """Go on with what another process left. Nobody waits for it."""
        if await self._database.read(_graves):
            self._task = asyncio.get_running_loop().create_task(self._empty_quietly())

    async def close(self) -> None:
        if self._task is not None:
            try:
                await asyncio.wait([self._task], timeout=GRACE_SECONDS)
            finally:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def empty(self, keys: Collection[int]) -> Counter[str]:
        """Wait until these sessions are emptied; return the rows that this process deleted for that, by table.

        A caller that is cancelled leaves the work to go on. Where others keep the lock beyond the time-out, the rows
        go when the file is opened again: the sessions are gone all the same. Raises StoreUnusable.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._empty())
        try:
            await asyncio.shield(self._task)
        except StoreBusy as error:
            logger.warning("rows of deleted sessions are left for later: %s", error)
            return self._counted(keys)
        if await self._database.read(lambda db: set(_graves(db)).intersection(keys)):
            # Buried after the last look of a task that was at its end.
            return await self.empty(keys)
        return self._counted(keys)

    def _counted(self, keys: Collection[int]) -> Counter[str]:
        gone: Counter[str] = Counter()
        for key, table in list(self._rows):
            if key in keys:
                gone[table] += self._rows.pop((key, table))
        return gone

    async def _empty_quietly(self) -> None:
        try:
            await self._empty()
        except StoreError as error:
            logger.warning("rows of deleted sessions could not be taken out: %s", error)

    async def _empty(self) -> None:
        with ExitStack() as held:
            while not self._took_lock(held):
                if not await self._database.read(_graves):
                    return
                await asyncio.sleep(LOOK_SECONDS)
            pace = Pace(100, 20, MESSAGES_AT_MOST)
            while parts := await self._database.read(lambda db: _next_parts(db, pace.amount)):
                await self._step(parts, pace)

    async def _step(self, parts: Sequence[_Part], pace: Pace) -> None:
        began = 0.0

        def timed(db: sqlite3.Connection) -> Counter[tuple[int, str]]:
            nonlocal began
            began = time.perf_counter()
            return _take_out(db, parts, pace.amount)

        self._rows.update(await self._keeper.write(timed, checked=False))
        pace.took(time.perf_counter() - began)
        await asyncio.sleep(TURN_S)

    def _took_lock(self, held: ExitStack) -> bool:
        try:
            with sqlite_errors(self._lock_path):
                held.enter_context(self._lock.held(0.0))
        except StoreBusy:
            return False
        return True


def _graves(db: sqlite3.Connection) -> list[int]:
    return [key for (key,) in db.execute("SELECT session_key FROM graves ORDER BY session_key")]


def _next_parts(db: sqlite3.Connection, messages: int) -> list[_Part]:
    """What the next transaction takes: some sessions, or some of one. Nobody else finds these rows, so they are
    still the same in the transaction to come."""
    parts: list[_Part] = []
    left = messages
    for key in _graves(db):
        found = db.execute(
            "SELECT message_key, seq FROM messages WHERE session_key = ? ORDER BY seq LIMIT ?", (key, left + 1)
        ).fetchall()
        is_last, found = len(found) <= left, found[:left]
        indexed = index.entries_of_session(db, key, low=found[0][1] - 1, high=found[-1][1]) if found else ()
        parts.append(_Part(key, [message_key for message_key, _ in found], list(indexed), is_last))
        # A session without messages takes a moment, too.
        left -= len(found) + 1
        if left <= 0:
            break
    return parts


def _take_out(db: sqlite3.Connection, parts: Sequence[_Part], some: int) -> Counter[tuple[int, str]]:
    """Delete the rows of these parts; return how many, by session and table."""
    gone: Counter[tuple[int, str]] = Counter()
    for part in parts:
        rows = _messages(db, part)
        if part.is_last:
            rows.update(_rest(db, part.session_key, some))
        gone.update({(part.session_key, table): count for table, count in rows.items()})
    if not _graves(db):
        db.execute("DELETE FROM users WHERE user_id = ?", (NOBODY,))
    return gone


def _messages(db: sqlite3.Connection, part: _Part) -> Counter[str]:
    those = "IN (SELECT value FROM json_each(:keys))"
    values = {"keys": json.dumps(part.message_keys)}
    rows = Counter({"search_index": index.remove(db, part.indexed)})
    for table in ("vectors", "tool_calls"):
        rows[table] = db.execute(f"DELETE FROM {table} WHERE message_key {those}", values).rowcount
    # What foreign keys would do, were they looked at.
    db.execute(f"UPDATE facts SET message_key = NULL WHERE message_key {those}", values)
    media = db.execute(f"SELECT DISTINCT media_key FROM message_media WHERE message_key {those}", values).fetchall()
    db.execute(f"DELETE FROM message_media WHERE message_key {those}", values)
    rows["media"] = sum(
        db.execute(
            "DELETE FROM media WHERE media_key = ? AND NOT EXISTS "
            "(SELECT 1 FROM message_media AS mm WHERE mm.media_key = media.media_key)",
            row,
        ).rowcount
        for row in media
    )
    rows["messages"] = db.execute(f"DELETE FROM messages WHERE message_key {those}", values).rowcount
    return rows


def _rest(db: sqlite3.Connection, key: int, some: int) -> Counter[str]:
    """What hangs on no message: calls that left none, runs with their digests; and the session, once all is gone."""
    calls = db.execute(
        "DELETE FROM tool_calls WHERE call_key IN (SELECT call_key FROM tool_calls WHERE session_key = ? LIMIT ?)",
        (key, some),
    ).rowcount
    runs = db.execute("SELECT run_key FROM runs WHERE session_key = ? LIMIT ?", (key, some)).fetchall()
    db.executemany("DELETE FROM digests WHERE run_key = ?", runs)
    db.executemany("DELETE FROM runs WHERE run_key = ?", runs)
    if calls < some and len(runs) < some:
        db.execute("DELETE FROM session_ways WHERE session_key = ?", (key,))
        db.execute("DELETE FROM graves WHERE session_key = ?", (key,))
        db.execute("DELETE FROM sessions WHERE session_key = ?", (key,))
    return Counter({"tool_calls": calls, "runs": len(runs)})
