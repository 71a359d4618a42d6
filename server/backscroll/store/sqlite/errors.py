"""SQLite's errors become ours here, by code and not by wording."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import IndexDamaged, StoreBusy, StoreError, StoreUnusable

_WORDS = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database. Name another file with BACKSCROLL_DB, or move this one away.",
    sqlite3.SQLITE_CORRUPT: "is damaged. Restore a backup; `sqlite3 FILE .recover` may save what is left.",
    sqlite3.SQLITE_READONLY: "is read-only. Make the file and its folder writable, or set BACKSCROLL_DB.",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened. Check that the folder exists and is writable, or set BACKSCROLL_DB.",
    sqlite3.SQLITE_FULL: "has no room to grow: the disk is full. Nothing was written. Make room and try again.",
    sqlite3.SQLITE_IOERR: "could not be read or written: the disk failed or is full. Nothing was written.",
    sqlite3.SQLITE_PERM: "may not be opened by this user. Check its owner and mode.",
    sqlite3.SQLITE_TOOBIG: "cannot hold a value of this size. Send less in one message.",
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class _IndexErrors:
    """Raises IndexDamaged for these codes. Not a generator: that would take as long as the statement within."""

    def __init__(self, *codes: int) -> None:
        self._codes = codes

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) in self._codes:
            raise IndexDamaged from error


# What FTS5 answers where its own tables are missing or contradict each other.
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT_VTAB, sqlite3.SQLITE_CONSTRAINT)

index_errors = _IndexErrors(*_DAMAGE, sqlite3.SQLITE_CORRUPT)
"""Around statements on the index and its vocabulary alone."""

# FTS5 also writes what it holds amid statements on other tables. The constraints of those have finer codes.
_OF_INDEX = (sqlite3.SQLITE_CORRUPT_VTAB, sqlite3.SQLITE_CONSTRAINT)

commit_errors = _IndexErrors(*_DAMAGE)
"""Around COMMIT, where FTS5 writes; none of our constraints is deferred to it."""


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Raise StoreBusy, StoreUnusable or StoreError for whatever SQLite or the file system refuses."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in _BUSY:
            raise StoreBusy("Another process holds the database. Nothing was changed; try again.") from error
        if code in _OF_INDEX:
            raise IndexDamaged from error
        if primary in _WORDS:
            raise StoreUnusable(f"{path} {_WORDS[primary]}") from error
        raise StoreError(
            f"The database refused ({type(error).__name__}). Run `backscroll stats` to check it."
        ) from error
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be used: {error.strerror or error}. Check the folder, or set BACKSCROLL_DB."
        ) from error
