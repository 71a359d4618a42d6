"""A pool of connections to one Postgres database: its round trips, its transactions, one writer at a time for a user.

Nothing here outlives a transaction on the server (no session settings, no named statements, no temporary tables),
so that connections may come from a pooler in transaction mode. Whoever writes for a user locks the user's row
first: keys then grow in the order of commits, and one user's writes wait for nobody else's.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from psycopg.types.string import StrDumperUnknown
from psycopg_pool import AsyncConnectionPool

from ...errors import StoreUnusable
from ...ids import user_tag
from ...text import clean_text
from .errors import CommitUnknown, ConnectionLost, is_lost, postgres_errors

T = TypeVar("T")

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Row = tuple[Any, ...]
Values = Sequence[Any] | dict[str, Any]


class Ask(NamedTuple):
    """A statement and what it binds (`%s` or `%(name)s`)."""

    statement: str
    values: Values = ()


class CleanDumper(StrDumperUnknown):
    """Text as Postgres takes it: NUL and lone surrogates become signs that a reader can see, wherever text is bound."""

    def dump(self, obj: str) -> bytes:
        return clean_text(obj).encode()


def user_key(user_id: str) -> UUID:
    """The first column of every key: made from the id, so that no statement has to look it up."""
    return UUID(bytes=user_tag(user_id))


class Transaction:
    """Statements in one transaction. Each method is one round trip."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def all(self, statement: str, values: Values = ()) -> list[Row]:
        cursor = await self.connection.execute(_sql(statement), values)
        return await cursor.fetchall()

    async def one(self, statement: str, values: Values = ()) -> Row | None:
        rows = await self.all(statement, values)
        return rows[0] if rows else None

    async def run(self, statement: str, values: Values = ()) -> int:
        """How many rows it changed."""
        return (await self.connection.execute(_sql(statement), values)).rowcount

    async def together(self, *asked: Ask) -> list[list[Row]]:
        """The rows of several statements, none of which needs another's answer, in one round trip."""
        async with self.connection.pipeline():
            cursors = [await self.connection.execute(_sql(ask.statement), ask.values) for ask in asked]
        return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    async def many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """The statement for each row, in one round trip."""
        async with self.connection.cursor() as cursor:
            await cursor.executemany(_sql(statement), list(rows))


class Counters(NamedTuple):
    """How far the user's keys go."""

    number: int
    session: int
    run: int
    message: int
    call: int
    media: int
    fact: int
    vector: int


_COUNTERS = (
    "last_number, last_session_key, last_run_key, last_message_key, last_call_key, last_media_key, last_fact_key, "
    "last_vector_key"
)


class Writing(Transaction):
    """A write transaction for one user, who is locked until it ends. Keys are given here."""

    def __init__(self, connection: Connection, user_key: UUID, counters: Counters) -> None:
        super().__init__(connection)
        self.user_key = user_key
        self._counters = list(counters)
        self._before = counters

    def next_key(self, of: str, count: int = 1) -> int:
        """The next key of a kind (a name of Counters), never given before; the first of `count` in a row."""
        place = Counters._fields.index(of)
        first = self._counters[place] + 1
        self._counters[place] += count
        return first

    def last_key(self, of: str) -> int:
        return self._counters[Counters._fields.index(of)]

    def move(self, of: str, upto: int) -> None:
        """Give no key up to this one any more."""
        place = Counters._fields.index(of)
        self._counters[place] = max(self._counters[place], upto)

    def closing(self) -> Ask:
        """What is said of the user before COMMIT."""
        names = [name.strip() for name in _COUNTERS.split(",")]
        moved = [
            (name, now) for name, now, before in zip(names, self._counters, self._before, strict=True) if now != before
        ]
        told = "".join(f", {name} = %s" for name, _ in moved)
        return Ask(
            f"UPDATE users SET changes = changes + 1{told} WHERE user_key = %s",
            (*(now for _, now in moved), self.user_key),
        )


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
        self._writes: set[asyncio.Task[Any]] = set()

    async def open(self, prepare: Callable[[Connection], Awaitable[None]]) -> None:
        """Connect, and run `prepare` (migrations) once. Raises StoreUnusable where the server refuses."""
        try:
            connection = await psycopg.AsyncConnection.connect(self._url, **_CONNECTING)
        except psycopg.ProgrammingError as error:
            raise StoreUnusable("BACKSCROLL_DB is no address of a Postgres database. See docs/postgres.md.") from error
        except psycopg.OperationalError as error:
            raise StoreUnusable(_cannot_connect(error)) from error
        try:
            with postgres_errors():
                await _configured(connection)
                await prepare(connection)
        finally:
            await connection.close()
        await self._pool.open()

    async def close(self) -> None:
        """Finish what is under way, then close."""
        while self._writes:
            await asyncio.wait(list(self._writes))
        await self._pool.close()

    # Reading

    async def fetch(self, *asked: Ask) -> list[list[Row]]:
        """The rows of each statement, all as of one point in time, in one round trip."""

        async def once(connection: Connection) -> list[list[Row]]:
            told = await Transaction(connection).together(_BEGIN_READING, self._limits, *asked, _COMMIT)
            return told[2:-1]

        return await self._patiently(once)

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work`, which needs several round trips, as of one point in time."""

        async def once(connection: Connection) -> T:
            transaction = Transaction(connection)
            await transaction.together(_BEGIN_READING, self._limits)
            done = await work(transaction)
            await transaction.run("COMMIT")
            return done

        return await self._patiently(once)

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

    async def write(self, user_id: str, work: Callable[[Writing], Awaitable[T]]) -> T:
        """Run `work` in one transaction of the user's. All of it lands, or nothing.

        Where the connection breaks before COMMIT it is run again, so it must be able to. A cancelled caller
        leaves it to end by itself. Raises StoreBusy where another writer holds the user beyond the time limit,
        CommitUnknown where the connection broke during COMMIT.
        """
        task = asyncio.get_running_loop().create_task(self._patiently(lambda c: self._written(c, user_id, work)))
        self._writes.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._writes.discard(task)
        # Looked at, or a failure that nobody waits for any more would be reported as never retrieved.
        if not task.cancelled():
            task.exception()

    async def _written(self, connection: Connection, user_id: str, work: Callable[[Writing], Awaitable[T]]) -> T:
        key = user_key(user_id)
        begun = await Transaction(connection).together(
            _BEGIN_WRITING,
            self._limits,
            Ask("INSERT INTO users (user_key, user_id) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, user_id)),
            Ask(f"SELECT {_COUNTERS} FROM users WHERE user_key = %s FOR UPDATE", (key,)),
        )
        writing = Writing(connection, key, Counters(*begun[-1][0]))
        done = await work(writing)
        await writing.together(writing.closing())
        try:
            await writing.run("COMMIT")
        except psycopg.Error as error:
            raise (CommitUnknown() if is_lost(error) else error) from error
        return done

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
        async with self._pool.connection() as connection:
            try:
                return await once(connection)
            except psycopg.Error as error:
                if is_lost(error):
                    await connection.close()
                    raise ConnectionLost from error
                with suppress(psycopg.Error):
                    await connection.rollback()
                raise
            except BaseException:
                with suppress(psycopg.Error):
                    await connection.rollback()
                raise

    async def change(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction that is of no user: what is true of the whole database."""

        async def once(connection: Connection) -> T:
            transaction = Transaction(connection)
            await transaction.together(_BEGIN_WRITING, self._limits)
            done = await work(transaction)
            await transaction.run("COMMIT")
            return done

        return await self._patiently(once)

    async def alone(self, statement: str) -> None:
        """A statement outside of any transaction: VACUUM and its like."""
        with postgres_errors():
            async with self._pool.connection() as connection:
                await connection.execute(_sql(statement))


_BEGIN_READING = Ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_BEGIN_WRITING = Ask("BEGIN ISOLATION LEVEL READ COMMITTED")
_COMMIT = Ask("COMMIT")

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


def _cannot_connect(error: psycopg.OperationalError) -> str:
    """Why, in libpq's own words: they name host, port, role and database, never a password."""
    told = " ".join(str(error).split())
    return f"The database server cannot be used: {told[:300]}. Check BACKSCROLL_DB."


def _sql(statement: str) -> LiteralString:
    # Statements are put together from constants of ours; values are bound.
    return statement
