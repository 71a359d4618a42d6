"""VACUUM for those who purge: one at a time, beside the pool, and never in the way of who works in the tables."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from psycopg import errors as pg
from psycopg.errors import Diagnostic

from .errors import postgres_errors
from .transactions import Connection


class Vacuuming:
    """`connect` makes a connection of its own: a VACUUM takes as long as its tables are large."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], tables: Sequence[str]) -> None:
        self._connect = connect
        self._tables = tables
        self._one = asyncio.Lock()
        self._next: asyncio.Task[bool] | None = None
        self._under_way: set[asyncio.Task[bool]] = set()

    async def vacuum(self) -> bool:
        """Vacuum all tables, from now on: one that is under way may be past what the caller deleted.

        All who wait for the next one share it. Whether no table was left out because somebody held it. Raises
        StoreBusy, StoreUnusable.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._vacuumed())
            self._under_way.add(self._next)
            self._next.add_done_callback(self._ended)
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """What is under way is broken off: nothing hangs on it."""
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[bool]") -> None:
        self._under_way.discard(task)
        if self._next is task:
            self._next = None
        # Looked at, or a failure that nobody waits for any more would be reported as never retrieved.
        if not task.cancelled():
            task.exception()

    async def _vacuumed(self) -> bool:
        async with self._one:
            self._next = None
            left_out: list[str | None] = []

            def noted(told: Diagnostic) -> None:
                if told.sqlstate == pg.LockNotAvailable.sqlstate:
                    left_out.append(told.message_primary)

            with postgres_errors():
                connection = await self._connect()
                try:
                    connection.add_notice_handler(noted)
                    # A table that somebody holds is left out, so that nothing queues up behind us.
                    options = "SKIP_LOCKED, INDEX_CLEANUP ON"
                    await connection.execute(f"VACUUM ({options}) {', '.join(self._tables)}".encode())
                finally:
                    with suppress(Exception):
                        await connection.close()
            return not left_out
