"""From a URL or a path to an open store."""

from pathlib import Path
from urllib.parse import unquote

from ..errors import InvalidArgument, StoreUnusable
from . import Store
from .sqlite import SqliteStore

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")

_opened: set[Path] = set()


async def open_store(url: str, *, synchronous: str = "FULL", busy_timeout_s: float = 10.0) -> Store:
    """Open `sqlite:///relative.db`, `sqlite:////absolute.db`, a plain path, or `postgresql://...`.

    Raises InvalidArgument for another kind of URL, StoreUnusable and StoreBusy.
    """
    if is_postgres(url):
        return await _open_postgres(url, busy_timeout_s)
    path = sqlite_path(url)
    _opened.add(path.resolve())
    return await SqliteStore.opened(path, synchronous=synchronous, busy_timeout_s=busy_timeout_s)


def is_postgres(url: str) -> bool:
    return url.startswith(_POSTGRES)


async def _open_postgres(url: str, busy_timeout_s: float) -> Store:
    try:
        from .postgres import PostgresStore  # noqa: PLC0415 - psycopg is an extra
    except ImportError as error:
        raise StoreUnusable(
            "Postgres needs the extra `postgres`: pip install 'backscroll[postgres]', or uvx --from "
            "'backscroll[postgres]' backscroll."
        ) from error
    return await PostgresStore.opened(url, busy_timeout_s=busy_timeout_s)  # type: ignore[return-value]


def is_open_here(path: Path) -> bool:
    """Whether this is a database that this process opened. Such a file must not be opened by other means, not even
    to be read: closing it would drop the locks that SQLite holds on it for the whole process
    (https://sqlite.org/howtocorrupt.html, 2.2)."""
    return path.resolve() in _opened


def sqlite_path(url: str) -> Path:
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
