"""Postgres' errors become ours here, by SQLSTATE and not by wording."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout

from ...errors import StoreBusy, StoreError, StoreUnusable

_UNUSABLE: tuple[tuple[type[psycopg.Error], str], ...] = (
    (pg.DiskFull, "has no room to grow: its disk is full. Nothing was written. Make room and try again."),
    (pg.OutOfMemory, "is out of memory. Nothing was written. Try again, or send less at a time."),
    (pg.ReadOnlySqlTransaction, "takes no writes: it is a replica or set read-only. Name the primary."),
    (pg.InsufficientPrivilege, "refuses this role. Grant it the tables of Backscroll (docs/postgres.md)."),
    (pg.InvalidPassword, "refuses this password. Check BACKSCROLL_DB."),
    (pg.InvalidAuthorizationSpecification, "refuses this role. Check BACKSCROLL_DB."),
    (pg.InvalidCatalogName, "has no such database. Create it, or check BACKSCROLL_DB."),
    (pg.UndefinedTable, "lacks tables of Backscroll. Run `backscroll migrate`."),
    (pg.UndefinedColumn, "lacks columns of Backscroll. Run `backscroll migrate`."),
    (pg.ProgramLimitExceeded, "cannot hold a value of this size. Send less in one message."),
)
_BUSY: tuple[type[psycopg.Error], ...] = (
    pg.LockNotAvailable,
    pg.QueryCanceled,
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.TooManyConnections,
)


class ConnectionLost(Exception):
    """The connection broke before COMMIT was sent: nothing was written, and the work may be done again."""


class CommitUnknown(StoreBusy):
    """The connection broke while COMMIT was under way: whether it was written has to be looked up."""

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database broke during COMMIT, so what was sent may be stored or not. "
            "Look before you send it again; a run with the same run_id is safe to send."
        )


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, as after a restart of the server."""
    if isinstance(
        error, pg.AdminShutdown | pg.CrashShutdown | pg.CannotConnectNow | pg.IdleInTransactionSessionTimeout
    ):
        return True
    # Without a SQLSTATE the client itself noticed.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Raise StoreBusy, StoreUnusable or StoreError for whatever Postgres refuses."""
    try:
        yield
    # The pool's own come first: they are psycopg.OperationalErrors too.
    except PoolClosed as error:
        raise StoreUnusable("The database is not open. Open it with backscroll.open(...).") from error
    except PoolTimeout as error:
        raise StoreBusy(
            "The database server cannot be reached, or all connections to it are in use. "
            "Nothing was changed; try again."
        ) from error
    except psycopg.Error as error:
        raise translated(error) from error


def translated(error: psycopg.Error) -> StoreError:
    """Ours for theirs. Their words may quote values, so none of them is repeated."""
    if isinstance(error, _BUSY):
        return StoreBusy("The database is busy: another writer or its time limit. Nothing was changed; try again.")
    for kind, words in _UNUSABLE:
        if isinstance(error, kind):
            return StoreUnusable(f"The database server {words}")
    if is_lost(error):
        return StoreBusy("The connection to the database broke. Nothing was changed; try again.")
    return StoreError(
        f"The database refused ({type(error).__name__}, SQLSTATE {error.sqlstate}). "
        "Run `backscroll doctor` to check it."
    )
