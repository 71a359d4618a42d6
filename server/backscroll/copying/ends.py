"""The two databases of a copy: which pairs can be, and how they are opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..addresses import is_server
from ..errors import InvalidArgument, StoreUnusable
from ..store.opening import open_store, sqlite_path
from ..store.sqlite import SqliteStore

if TYPE_CHECKING:
    from ..store.postgres import PostgresStore


@dataclass(frozen=True, slots=True)
class Ends:
    source: SqliteStore
    target: "PostgresStore"


@asynccontextmanager
async def opened(source: str, target: str) -> AsyncIterator[Ends]:
    """Open both. Raises InvalidArgument where one cannot be copied into the other, StoreUnusable, StoreBusy."""
    _refuse(source, target)
    path = sqlite_path(source)
    if not path.is_file():
        raise StoreUnusable(f"There is no database at {path}, so there is nothing to copy.")
    taken = await open_store(target)
    try:
        given = await open_store(source)
        try:
            assert isinstance(given, SqliteStore)
            yield Ends(given, taken)  # type: ignore[arg-type]
        finally:
            await given.close()
    finally:
        await taken.close()


def _refuse(source: str, target: str) -> None:
    if is_server(source) and is_server(target):
        raise InvalidArgument("Both are Postgres databases. pg_dump and pg_restore copy one into another.")
    if is_server(source):
        raise InvalidArgument(
            "Backscroll does not copy from Postgres to SQLite, not now. To take sessions along: backscroll export "
            "--db postgresql://... -o FILE, then backscroll import FILE."
        )
    if not is_server(target):
        if sqlite_path(source).absolute() == sqlite_path(target).absolute():
            raise InvalidArgument("Both are the same database. Name another one to copy into.")
        raise InvalidArgument(
            "Backscroll copies from SQLite to Postgres: the second address must be postgresql://... For another file: "
            "backscroll backup FILE."
        )
