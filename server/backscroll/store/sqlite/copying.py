"""What a copy into another database reads of the file of a SqliteStore."""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from itertools import islice
from typing import TypeVar

from ..archive import ArchivedSession
from ..copying import KEPT, CopiedRow, KeptRows, Traits
from ..rows import unpack_id
from . import archiving
from .database import Database
from .rows import find_user, look_up_session, session_by_key

T = TypeVar("T")
PAGE_ROWS = 1_000


class SqliteLeaving:
    """The `Leaving` of a file. A snapshot lasts for one session: whoever writes can shorten the log in between."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def users(self) -> list[str]:
        # Those who are buried belong to one whose id begins with NUL (deleting.py).
        return await self._database.read(
            lambda db: [
                user_id
                for (user_id,) in db.execute("SELECT user_id FROM users ORDER BY user_id")
                if not user_id.startswith("\0")
            ]
        )

    async def heads(self, user_id: str) -> list[ArchivedSession]:
        return await self._database.read(lambda db: archiving.heads(db, user_id))

    async def rows(self, user_id: str, session_id: str) -> AsyncGenerator[list[CopiedRow], None]:
        async for page in self._pages(lambda db: _session(db, user_id, session_id), archiving.page):
            yield page

    async def kept(self, user_id: str) -> AsyncGenerator[KeptRows, None]:
        async for page in self._pages(lambda db: _kept(db, user_id), lambda found: list(islice(found, 1))):
            for rows in page:
                yield rows

    async def last_number(self, user_id: str) -> int:
        def look(db: sqlite3.Connection) -> int:
            row = db.execute("SELECT last_number FROM users WHERE user_id = ?", (user_id,)).fetchone()
            return 0 if row is None else int(row[0])

        return await self._database.read(look)

    async def _pages(
        self,
        begin: Callable[[sqlite3.Connection], Generator[T, None, None]],
        page_of: Callable[[Iterator[T]], list[T]],
    ) -> AsyncGenerator[list[T], None]:
        async with self._database.snapshot() as read:
            found = await read(begin)
            try:
                while page := await read(lambda _: page_of(found)):
                    yield page
            finally:
                await read(lambda _: found.close())


def _session(db: sqlite3.Connection, user_id: str, session_id: str) -> Generator[CopiedRow, None, None]:
    user_key = find_user(db, user_id)
    row = None if user_key is None else look_up_session(db, user_key, session_id)
    if row is None:
        return
    yield from archiving.session_rows(db, row.session_key, set())
    key = row.session_key
    runs = db.execute(
        "SELECT run_index, history_count, history_digest FROM runs "
        "WHERE session_key = ? AND history_count > 0 ORDER BY run_index",
        (key,),
    ).fetchall()
    now = session_by_key(db, key)
    yield Traits(bool(now.renamed), now.summary_error, tuple(runs))
    dropped = db.execute(
        "SELECT r.run_index, d.position, d.digest, d.is_system FROM runs AS r JOIN digests AS d "
        "ON d.run_key = r.run_key WHERE r.session_key = ? AND d.stored = 0 ORDER BY r.run_index, d.position",
        (key,),
    )
    while some := dropped.fetchmany(PAGE_ROWS):
        portion = tuple((index, position, digest, bool(is_system)) for index, position, digest, is_system in some)
        yield Traits(bool(now.renamed), now.summary_error, dropped=portion)


def _kept(db: sqlite3.Connection, user_id: str) -> Generator[KeptRows, None, None]:
    user_key = find_user(db, user_id)
    for table, kept in KEPT.items():
        columns = ", ".join(f'"{name}"' for name in kept.columns)
        message = ", NULL, NULL"
        if table == "facts":
            message = (
                ", (SELECT s.session_id FROM messages AS m JOIN sessions AS s ON s.session_key = m.session_key "
                "WHERE m.message_key = facts.message_key), "
                "(SELECT m.seq FROM messages AS m WHERE m.message_key = facts.message_key)"
            )
        found = db.execute(f"SELECT {columns}{message} FROM {table} WHERE user_key = ?", (user_key,))
        while some := found.fetchmany(PAGE_ROWS):
            yield KeptRows(
                table, [(*row[:-2], None if row[-2] is None else unpack_id(row[-2]), row[-1]) for row in some]
            )
