"""From a URL or a path to an open store."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ..addresses import is_clear, is_server
from ..errors import InvalidArgument, StoreUnusable
from . import Store
from .sqlite import SqliteStore

_SQLITE = "sqlite:///"

_opened: set[Path] = set()


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How long a store waits, and what else is chosen of it. The first two are of both kinds."""

    busy_timeout_s: float = 10.0
    """For another writer; on Postgres for a free connection, and for a server that restarts, too."""
    statement_timeout_s: float = 30.0
    """Postgres alone: what a statement may take."""
    pool_size: int = 10
    """Postgres alone: connections of this process at most."""
    synchronous: str = "FULL"
    """SQLite alone."""


_USUAL = StoreOptions()


async def open_store(url: str, options: StoreOptions = _USUAL) -> Store:
    """Open `sqlite:///relative.db`, `sqlite:////absolute.db`, a plain path, or `postgresql://...`.

    Raises InvalidArgument for another kind of URL, StoreUnusable and StoreBusy.
    """
    if is_server(url):
        return await _open_postgres(url, options)
    path = sqlite_path(url)
    _opened.add(path.resolve())
    return await SqliteStore.opened(path, synchronous=options.synchronous, busy_timeout_s=options.busy_timeout_s)


async def _open_postgres(url: str, options: StoreOptions) -> Store:
    if not is_clear(url):
        # Not handed on: the driver would quote what it takes for a host.
        raise InvalidArgument(
            "The address of the database cannot be read: signs such as @ and / in a password are written as %40 and "
            "%2F. Better leave the password out of it: docs/postgres.md says how."
        )
    try:
        from .postgres import PostgresStore  # noqa: PLC0415 - psycopg is an extra
    except ImportError as error:
        raise StoreUnusable(
            "Postgres needs the extra `postgres`: pip install 'backscroll[postgres]', or uvx --from "
            "'backscroll[postgres]' backscroll."
        ) from error
    return await PostgresStore.opened(
        url,
        pool_size=options.pool_size,
        statement_timeout_s=options.statement_timeout_s,
        busy_timeout_s=options.busy_timeout_s,
    )


def is_open_here(path: Path) -> bool:
    """Whether this is a database that this process opened. Such a file must not be opened by other means, not even
    to be read: closing it would drop the locks that SQLite holds on it for the whole process
    (https://sqlite.org/howtocorrupt.html, 2.2)."""
    return path.resolve() in _opened


_OF_LIBPQ = re.compile(r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service|sslmode)\s*=")


def sqlite_path(url: str) -> Path:
    """Raises InvalidArgument for what is no file of ours."""
    if _OF_LIBPQ.search(url):
        # Not repeated: there may be a password in it.
        raise InvalidArgument(
            "The database's address looks like libpq's own form. Write it as postgresql://ROLE@HOST/DATABASE."
        )
    if url.startswith(_SQLITE):
        path = unquote(url.removeprefix(_SQLITE))
    elif "://" in url:
        scheme = url.split("://", 1)[0]
        raise InvalidArgument(
            f"Backscroll cannot open {scheme}:// databases. Give a path, sqlite:///FILE or postgresql://..."
        )
    else:
        path = url
    if not path or path == ":memory:":
        raise InvalidArgument("Backscroll keeps its database in a file. Give sqlite:///FILE or a path.")
    return Path(path).expanduser()
