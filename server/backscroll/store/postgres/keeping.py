"""Who looks after the search index: makes its entries anew where another version made them, beside all other work.

Entries are written over in place, a user's messages in the order of their keys, some in a transaction: nobody
waits but that user's writers, for a moment. How far that has come is a row for each user whose entries are due;
of several servers each takes the next step, and what one leaves another goes on with.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ...errors import StoreBusy, StoreError
from ..indexing import INDEX_VERSION
from . import index
from .database import Ask, Database, Writing

Told = Callable[[int, int], None]

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01
"""Between two steps: a rebuild is never urgent."""
RETRY_SECONDS = 5.0

_PENDING = (
    "SELECT coalesce(sum(u.last_message_key - r.message_key), 0)::bigint, "
    "(SELECT coalesce(sum(last_message_key), 0)::bigint FROM users) "
    "FROM search_rebuilds AS r JOIN users AS u ON u.user_key = r.user_key"
)


class IndexKeeper:
    """Keeps the entries of one store whole."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._background: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin, or go on with, what is to be done. Nobody waits for it."""
        ((version,),), due = await self._database.fetch(_VERSION, Ask("SELECT 1 FROM search_rebuilds LIMIT 1"))
        # A newer program's entries are left to it: during a change of versions both are at work.
        if version < INDEX_VERSION or (due and version <= INDEX_VERSION):
            self._background = asyncio.get_running_loop().create_task(self._quietly())

    async def close(self) -> None:
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)

    async def is_current(self) -> bool:
        (((version,),),) = await self._database.fetch(_VERSION)
        return bool(version == INDEX_VERSION)

    async def rebuild(self, told: Told | None = None) -> int:
        """Make all entries anew, or go on with what was begun; return how many there are."""
        await self._database.upkeep(
            # Users whose entries this version is at already are not begun with again.
            "INSERT INTO search_rebuilds (user_key, version, message_key) "
            "SELECT user_key, %(version)s, 0 FROM users "
            "ON CONFLICT (user_key) DO UPDATE SET version = excluded.version, message_key = 0 "
            "WHERE search_rebuilds.version <> excluded.version",
            {"version": INDEX_VERSION},
        )
        await self._go_on(told)
        (((count,),),) = await self._database.fetch(Ask("SELECT count(*) FROM search_entries"))
        return int(count)

    async def _quietly(self) -> None:
        while True:
            try:
                if not await self.is_current():
                    await self.rebuild()
                await self._go_on(None)
                return
            except StoreBusy:
                await asyncio.sleep(RETRY_SECONDS)
            except StoreError as error:
                logger.warning("the search index could not be made anew: %s", error)
                return

    async def _go_on(self, told: Told | None) -> None:
        due = Ask(
            "SELECT u.user_id FROM search_rebuilds AS r JOIN users AS u ON u.user_key = r.user_key "
            "ORDER BY r.user_key LIMIT 1"
        )
        while True:
            # How far it has come is a sum over all users: asked only where somebody looks on.
            users, *pending = await self._database.fetch(due, *([Ask(_PENDING)] if told is not None else []))
            if told is not None:
                (((left, total),),) = pending
                told(max(total - left, 0), total)
            if not users:
                break
            await self._database.write(users[0][0], _step)
            await asyncio.sleep(PAUSE_SECONDS)
        await self._database.upkeep(
            "UPDATE meta SET value = %(version)s WHERE name = 'index_version' AND value <> %(version)s "
            "AND NOT EXISTS (SELECT 1 FROM search_rebuilds)",
            {"version": str(INDEX_VERSION).encode()},
        )


_VERSION = Ask("SELECT convert_from(value, 'UTF8')::integer FROM meta WHERE name = 'index_version'")


async def _step(writing: Writing) -> None:
    """The next messages of one user; with the last of them the user is done."""
    user = writing.user_key
    found = await writing.one("SELECT message_key FROM search_rebuilds WHERE user_key = %s", (user,))
    if found is None:
        return
    rows = await index.entered(writing, user, "m.message_key > %s", found)
    await index.add(writing, rows)
    last = rows[-1].message_key if rows else None
    values: dict[str, Any] = {"user": user, "low": found[0], "high": last}
    await writing.run(
        "DELETE FROM search_entries AS e USING messages AS m WHERE e.user_key = %(user)s AND m.user_key = e.user_key "
        "AND m.message_key = e.message_key AND m.from_history = 1 AND e.message_key > %(low)s "
        "AND (%(high)s::bigint IS NULL OR e.message_key <= %(high)s)",
        values,
    )
    if last is None:
        await writing.run("DELETE FROM search_rebuilds WHERE user_key = %(user)s", values)
    else:
        await writing.run("UPDATE search_rebuilds SET message_key = %(high)s WHERE user_key = %(user)s", values)
