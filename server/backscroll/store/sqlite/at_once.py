"""Reads of one row by its key, done on the event loop's own thread: a hop to another one costs ten times the read.

In write-ahead mode a reader waits for no writer, so what is read at once holds the loop for microseconds. Whatever
stands in its way is no error here: the ordinary read does it then, and says what is wrong.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_CACHE_KIB = 256
"""Enough for the pages on the way to a row. Each commit of another connection empties it."""


class AtOnce:
    """A connection of its own, which can only read and never waits; made when it is first asked.

    It belongs to the thread that first asked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._thread: int | None = None

    def allow(self) -> None:
        """From now on, of the file that is there now: one put in its place later is not what others read."""
        self._file = _identity(self._path)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> tuple[T] | None:
        """What `work` returns; None where that has to be asked in the ordinary way. What else `work` raises is raised.

        `work` must find rows by their keys, or it holds up everybody, and fetch all of them.
        """
        try:
            connection = self._opened()
            return None if connection is None else (work(connection),)
        except (sqlite3.Error, OSError):
            return None

    def close(self) -> None:
        """Before the connections that write are closed: it must never be the last one."""
        self._file = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _opened(self) -> sqlite3.Connection | None:
        if self._file is None:
            return None
        if self._connection is None:
            self._connection = self._connect()
            self._thread = threading.get_ident()
        return self._connection if self._thread == threading.get_ident() else None

    def _connect(self) -> sqlite3.Connection | None:
        if _identity(self._path) != self._file:
            return None
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=0,
            isolation_level=None,
            # Whichever thread closes the database closes this too; `read` keeps the others out.
            check_same_thread=False,
        )
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        return connection


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
