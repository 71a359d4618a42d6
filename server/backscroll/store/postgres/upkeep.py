"""What is derived from the rows: checked, made anew; the sub-stores of vectors and of secrets."""

from collections.abc import Callable

from .checking import check
from .database import Database
from .keeping import IndexKeeper
from .part import Part
from .redacting import PostgresSecrets
from .vectors import PostgresVectors

Told = Callable[[int, int], None]


class Upkeep(Part):
    def __init__(self, database: Database, digest_key: bytes) -> None:
        super().__init__(database, digest_key)
        self._index = IndexKeeper(database)
        self.vectors = PostgresVectors(database)
        self.secrets = PostgresSecrets(database)

    async def check(self, told: Told | None = None) -> list[str]:
        return await check(self._database, told)

    async def index_is_current(self) -> bool:
        return await self._index.is_current()

    async def rebuild_index(self, told: Told | None = None) -> int:
        return await self._index.rebuild(told)
