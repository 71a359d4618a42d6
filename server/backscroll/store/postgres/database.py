"""A pool of connections to one Postgres database: its round trips, its transactions, one writer at a time for a user.

Nothing here outlives a transaction on the server (no session settings, no named statements, no temporary tables),
so that connections may come from a pooler in transaction mode. Whoever writes for a user locks the user's row
first: keys then grow in the order of commits. One user's writes wait for each other, within a process before they
take a connection, and for another user's only where as many as `Turns` lets in are at it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.types.string import StrDumperUnknown
from psycopg_pool import AsyncConnectionPool

from ...errors import StoreError, StoreUnusable
from ...ids import user_tag
from ...text import clean_text
from .committing import BEFORE, Attempt, CommitBroken, outcome
from .errors import ConnectionLost, is_lost, postgres_errors
from .transactions import COUNTERS, Ask, Connection, Counters, Each, Row, Transaction, Values, Writing
from .turns import Turns

T = TypeVar("T")

__all__ = [
    "Ask",
    "CleanDumper",
    "Connection",
    "Counters",
    "Database",
    "Each",
    "Row",
    "Transaction",
    "Values",
    "Writing",
    "user_key",
]


class CleanDumper(StrDumperUnknown):
    """Text as Postgres takes it: NUL and lone surrogates become signs that a reader can see, wherever text is bound."""

    def dump(self, obj: str) -> bytes:
        return clean_text(obj).encode()


def user_key(user_id: str) -> UUID:
    """The first column of every key: made from the id, so that no statement has to look it up."""
    return UUID(bytes=user_tag(user_id))


class Database:
    """Opened once for a process; `url` may name several hosts and any option of libpq."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        statement_timeout_s: float = 30.0,
        lock_timeout_s: float = 10.0,
    ) -> None:
        self._url = url
        self.digest_key: bytes | None = None
        """What digests are made with here, once it is known: nothing is written where the database has another."""
        self._patience_s = lock_timeout_s
        self._limits = Ask(
            "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true), "
            "set_config('idle_in_transaction_session_timeout', %s, true)",
            tuple(f"{int(seconds * 1000)}ms" for seconds in (statement_timeout_s, lock_timeout_s, 60.0)),
        )
        self._pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=lock_timeout_s,
            name="backscroll",
            configure=_configured,
            kwargs=_CONNECTING,
        )
        # Readers always find a connection, save in a pool that has hardly any.
        self._turns = Turns(most=max(1, pool_size - 2), patience_s=lock_timeout_s)
        self._writes: set[asyncio.Task[Any]] = set()
        self._reads: set[asyncio.Task[Any]] = set()
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self, prepare: Callable[[Connection], Awaitable[None]]) -> None:
        """Connect, and run `prepare` (migrations) once. Raises StoreUnusable where the server refuses."""
        connection = await self.connected()
        try:
            with postgres_errors():
                await prepare(connection)
        finally:
            await connection.close()
        await self._pool.open()

    async def close(self) -> None:
        """Finish what is under way, then close."""
        await self._turns.over()
        while under_way := [*self._reads, *self._returning]:
            await asyncio.wait(under_way)
        await self._pool.close()

    async def connected(self) -> Connection:
        """A connection beside the pool, outside of any transaction; for the caller to close. Raises StoreUnusable."""
        try:
            connection = await psycopg.AsyncConnection.connect(self._url, **_CONNECTING)
        except psycopg.ProgrammingError as error:
            raise StoreUnusable("BACKSCROLL_DB is no address of a Postgres database. See docs/postgres.md.") from error
        except psycopg.OperationalError as error:
            raise StoreUnusable(_cannot_connect(error)) from error
        except psycopg.InterfaceError as error:
            # Before anything was sent: this is about the event loop.
            raise StoreUnusable(
                "Postgres cannot be used on this event loop. On Windows take SelectorEventLoop: docs/postgres.md."
            ) from error
        await _configured(connection)
        return connection

    # Reading

    async def fetch(self, *asked: Ask) -> list[list[Row]]:
        """The rows of each statement, all as of one point in time, in one round trip."""

        async def once(connection: Connection) -> list[list[Row]]:
            told = await Transaction(connection).together(_BEGIN_READING, self._limits, *asked, _COMMIT)
            return told[2:-1]

        return await self._to_its_end(self._patiently(once))

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work`, which needs several round trips, as of one point in time."""

        async def once(connection: Connection) -> T:
            transaction = Transaction(connection)
            await transaction.together(_BEGIN_READING, self._limits)
            done = await work(transaction)
            await transaction.run("COMMIT")
            return done

        return await self._to_its_end(self._patiently(once))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """A connection that sees one point in time for as long as it is held. Without a time limit of its own."""
        with postgres_errors():
            async with self._pool.connection() as connection:
                transaction = Transaction(connection)
                await transaction.run(_BEGIN_READING.statement)
                try:
                    yield transaction
                finally:
                    with suppress(psycopg.Error):
                        await transaction.run("ROLLBACK")

    # Writing

    async def write(self, user_id: str, work: Callable[[Writing], Awaitable[T]], *ahead: Ask) -> T:
        """Run `work` in one transaction of the user's. All of it lands, or nothing.

        `ahead` is asked with the beginning, once the user is locked: see `Writing.ahead`. Where the connection breaks
        it is run again, unless it was committed, so it must be able to. A caller who is cancelled takes it along while
        it waits for its turn, and leaves it to end by itself from then on. Raises StoreBusy where other writers hold
        the user beyond the time limit, CommitUnknown where the connection broke during COMMIT and no server comes
        back that knows.
        """
        key = user_key(user_id)
        await self._turns.take(key)
        task = asyncio.get_running_loop().create_task(self._surely(user_id, work, ahead))
        self._writes.add(task)
        task.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(task)

    def _ended(self, key: UUID, task: "asyncio.Task[Any]") -> None:
        self._writes.discard(task)
        self._turns.give_back(key)
        _looked_at(task)

    async def _surely(self, user_id: str, work: Callable[[Writing], Awaitable[T]], ahead: Sequence[Ask]) -> T:
        while True:
            try:
                return await self._patiently(lambda c: self._written(c, user_id, work, ahead))
            except CommitBroken as broken:
                if await self._is_committed(broken):
                    done: T = broken.done
                    return done

    async def _is_committed(self, broken: CommitBroken) -> bool:
        """Raises CommitUnknown where nobody can tell in time."""
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while True:
            try:
                told = await self._patiently(lambda c: outcome(c, broken.attempt))
            except StoreError as error:
                raise broken from error
            if told in ("committed", "aborted"):
                return told == "committed"
            # The server has not noticed yet that the connection broke.
            if told is None or asyncio.get_running_loop().time() > deadline:
                raise broken
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _written(
        self,
        connection: Connection,
        user_id: str,
        work: Callable[[Writing], Awaitable[T]],
        ahead: Sequence[Ask],
    ) -> T:
        key = user_key(user_id)
        _, _, _, begun, *answers = await Transaction(connection).together(
            _BEGIN_WRITING,
            self._limits,
            Ask("INSERT INTO users (user_key, user_id) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, user_id)),
            # Of this strength: what refers to the user may be stored meanwhile, by the search index's upkeep for one.
            Ask(
                f"SELECT {_KEY_REPLACED}, {BEFORE}, {COUNTERS} FROM users WHERE user_key = %s FOR NO KEY UPDATE",
                (self.digest_key, key),
            ),
            *ahead,
        )
        replaced, transaction_id, changes, *counters = begun[0]
        if replaced:
            raise StoreUnusable(
                "The key of this database was replaced while it was open, by `backscroll copy`. Nothing was written. "
                "Restart this server."
            )
        writing = Writing(connection, key, Counters(*counters), answers)
        done = await work(writing)
        try:
            await writing.together(writing.closing(), _COMMIT)
        except psycopg.Error as error:
            if is_lost(error):
                raise CommitBroken(Attempt(transaction_id, changes, key), done) from error
            raise
        return done

    async def _to_its_end(self, asked: Coroutine[Any, Any, T]) -> T:
        """Whoever is cancelled leaves at once; what was asked is cancelled once, and cleans up by itself.

        In a request it would be cancelled with every await: closed at once, its statement running on.
        """
        task = asyncio.get_running_loop().create_task(asked)
        self._reads.add(task)
        task.add_done_callback(self._read)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def _read(self, task: "asyncio.Task[Any]") -> None:
        self._reads.discard(task)
        _looked_at(task)

    async def _patiently(self, once: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `once` on a connection; on another one where it broke, until the server is back or patience ends."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._patience_s, 0.02
        with postgres_errors():
            while True:
                try:
                    return await self._on_connection(once)
                except ConnectionLost as error:
                    if loop.time() + pause > deadline:
                        raise error.__cause__ or error from None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)

    async def _on_connection(self, once: Callable[[Connection], Awaitable[T]]) -> T:
        connection = await self._pool.getconn()
        try:
            return await once(connection)
        except psycopg.Error as error:
            if is_lost(error):
                await connection.close()
                raise ConnectionLost from error
            raise
        finally:
            # Whole, even where we are cancelled on the way: the pool would be short of one for good.
            returning = asyncio.get_running_loop().create_task(self._give_back(connection))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
            await asyncio.shield(returning)

    async def _give_back(self, connection: Connection) -> None:
        with suppress(psycopg.Error):
            await connection.rollback()
        await self._pool.putconn(connection)

    async def change(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction that is of no user: what is true of the whole database."""

        async def once(connection: Connection) -> T:
            transaction = Transaction(connection)
            await transaction.together(_BEGIN_WRITING, self._limits)
            done = await work(transaction)
            await transaction.run("COMMIT")
            return done

        return await self._to_its_end(self._patiently(once))

    async def upkeep(self, statement: str, values: Values = ()) -> None:
        """A statement of no one user's, in a transaction of its own. It may come to be run twice."""

        async def once(connection: Connection) -> None:
            await Transaction(connection).together(_BEGIN_WRITING, self._limits, Ask(statement, values), _COMMIT)

        await self._to_its_end(self._patiently(once))


_LOOK_AGAIN_S = 0.1
_BEGIN_READING = Ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_BEGIN_WRITING = Ask("BEGIN ISOLATION LEVEL READ COMMITTED")
_COMMIT = Ask("COMMIT")

# Once there is a user it stays what it is: see `adopt_key`.
_KEY_REPLACED = "(SELECT value <> %s::bytea FROM meta WHERE name = 'digest_key')"

# No named statements: a pooler in transaction mode gives each transaction another server connection.
_CONNECTING: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "client_encoding": "utf8",
    "application_name": "backscroll",
    "connect_timeout": 10,
    "keepalives_idle": 30,
}


async def _configured(connection: Connection) -> None:
    connection.adapters.register_dumper(str, CleanDumper)


def _looked_at(task: "asyncio.Task[Any]") -> None:
    """Or a failure that nobody waits for any more would be reported as never retrieved."""
    if not task.cancelled():
        task.exception()


def _cannot_connect(error: psycopg.OperationalError) -> str:
    """Why, in libpq's own words: they name host, port, role and database, never a password."""
    told = " ".join(str(error).split())
    return f"The database server cannot be used: {told[:300]}. Check BACKSCROLL_DB."
