"""The store on Postgres: many users, many servers, one database that somebody operates already."""

from typing import Any, Self

from ...addresses import companions, platform_folder
from .about import Abouts
from .archiving import Archives
from .attempts import Attempting
from .calls import Calls
from .changing import Changing
from .chats import Chats
from .choices import Marker, PostgresChoices
from .copying import PostgresArriving
from .counting import Counting
from .database import Ask, Connection, Database
from .deleting import Deletions
from .facts import PostgresFacts
from .ledger import PostgresLedger
from .messages import Messages
from .migrating import migrated
from .recording import Recording
from .restoring import Restorations
from .sessions import Sessions
from .tokens import PostgresTokens
from .upkeep import Upkeep


class PostgresStore(
    Recording,
    Sessions,
    Chats,
    Messages,
    Calls,
    Changing,
    Counting,
    Attempting,
    Upkeep,
    Archives,
    Deletions,
    Restorations,
    Abouts,
):
    """A Store on one Postgres database. `opened` makes one; methods are those of the protocol, in the parts."""

    def __init__(self, database: Database, digest_key: bytes, url: str) -> None:
        super().__init__(database, digest_key)
        self.choices = PostgresChoices(
            database, self.tombstone_digest, Marker(*companions(url, platform_folder("data")))
        )
        self.ledger = PostgresLedger(database, url)
        self.facts = PostgresFacts(database, self.tombstone_digest, lambda: self.ledger.machine)
        self.arriving = PostgresArriving(self, lambda: self.ledger.machine)
        self.tokens = PostgresTokens(database)

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
            await migrated(connection, lock_timeout_s=busy_timeout_s)
            cursor = await connection.execute("SELECT value FROM meta WHERE name = 'digest_key'")
            row: Any = await cursor.fetchone()
            found.append(row[0])

        await database.open(prepare)
        database.digest_key = found[0]
        store = cls(database, found[0], url)
        try:
            await store._index.open()
        except BaseException:
            await database.close()
            raise
        return store

    async def close(self) -> None:
        try:
            await self._index.close()
            await self._vacuuming.close()
        finally:
            await self._database.close()

    async def digest_key(self) -> bytes:
        return self._digest_key

    async def ready(self) -> None:
        """Ask the server for anything. Raises StoreBusy, StoreUnusable."""
        await self._database.fetch(Ask("SELECT 1"))
