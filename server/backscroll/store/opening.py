"""From a URL or a path to an open store."""

from pathlib import Path
from urllib.parse import unquote

from ..errors import InvalidArgument
from . import Store
from .sqlite import SqliteStore

_SQLITE = "sqlite:///"


async def open_store(url: str, *, synchronous: str = "FULL", busy_timeout_s: float = 10.0) -> Store:
    """Open `sqlite:///relative.db`, `sqlite:////absolute.db` or a plain path.

    Raises InvalidArgument for another kind of URL, StoreUnusable and StoreBusy.
    """
    return await SqliteStore.opened(sqlite_path(url), synchronous=synchronous, busy_timeout_s=busy_timeout_s)


def sqlite_path(url: str) -> Path:
    if url.startswith(_SQLITE):
        path = unquote(url.removeprefix(_SQLITE))
    elif "://" in url:
        scheme = url.split("://", 1)[0]
        raise InvalidArgument(f"Backscroll cannot open {scheme}:// databases. Give sqlite:///FILE or a path.")
    else:
        path = url
    if not path or path == ":memory:":
        raise InvalidArgument("Backscroll keeps its database in a file. Give sqlite:///FILE or a path.")
    return Path(path).expanduser()
