"""The store on Postgres: many users, many servers, one database that somebody operates already."""

from hashlib import blake2b
from typing import Any, Self

from .attempts import Attempting
from .calls import Calls
from .changing import Changing
from .chats import Chats
from .counting import Counting
from .database import Ask, Connection, Database
from .messages import Messages
from .migrating import migrated
from .recording import Recording
from .sessions import Sessions


class PostgresStore(Recording, Sessions, Chats, Messages, Calls, Changing, Counting, Attempting):
    """A Store on one Postgres database. `opened` makes one; methods are those of the protocol, in the parts."""

    @classmethod
    async def opened(
        cls, url: str, *, pool_size: int = 10, statement_timeout_s: float = 30.0, busy_timeout_s: float = 10.0
    ) -> Self:
        """Connect and bring the database to the newest version. Raises StoreUnusable, StoreBusy."""
        database = Database(
            url, pool_size=pool_size, statement_timeout_s=statement_timeout_s, lock_timeout_s=busy_timeout_s
        )
        found: list[bytes] = []

        async def prepare(connection: Connection) -> None:
            await migrated(connection)
            cursor = await connection.execute("SELECT value FROM meta WHERE name = 'digest_key'")
            row: Any = await cursor.fetchone()
            found.append(row[0])

        await database.open(prepare)
        return cls(database, found[0])

    async def close(self) -> None:
        await self._database.close()

    async def digest_key(self) -> bytes:
        return self._digest_key

    def tombstone_digest(self, source: str, session_id: str) -> bytes:
        return blake2b(f"{source}\0{session_id}".encode(), key=self._digest_key, digest_size=16).digest()

    async def ready(self) -> None:
        """Ask the server for anything. Raises StoreBusy, StoreUnusable."""
        await self._database.fetch(Ask("SELECT 1"))
