"""Round trips within one transaction, and what a user's writer keeps until it commits."""

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Row = tuple[Any, ...]
Values = Sequence[Any] | dict[str, Any]


class Ask(NamedTuple):
    """A statement and what it binds (`%s` or `%(name)s`)."""

    statement: str
    values: Values = ()


class Each(NamedTuple):
    """A statement for each of several rows."""

    statement: str
    rows: Sequence[Sequence[Any]]


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

    async def together(self, *asked: Ask | Each) -> list[list[Row]]:
        """The rows of several statements, none of which needs another's answer, in one round trip."""
        cursors = []
        async with self.connection.pipeline():
            for one in asked:
                if isinstance(one, Each):
                    cursor = self.connection.cursor()
                    await cursor.executemany(_sql(one.statement), one.rows)
                else:
                    cursor = await self.connection.execute(_sql(one.statement), one.values)
                cursors.append(cursor)
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


COUNTERS = (
    "last_number, last_session_key, last_run_key, last_message_key, last_call_key, last_media_key, last_fact_key, "
    "last_vector_key"
)


class Writing(Transaction):
    """A write transaction for one user, who is locked until it ends. Keys are given here.

    `ahead` are the answers to what was asked with its beginning. What is told with `later` goes along with the
    next round trip, before what that asks, or with COMMIT.
    """

    def __init__(
        self, connection: Connection, user_key: UUID, counters: Counters, ahead: list[list[Row]] | None = None
    ) -> None:
        super().__init__(connection)
        self.user_key = user_key
        self.ahead = ahead or []
        self._counters = list(counters)
        self._before = counters
        self._waiting: list[Ask | Each] = []

    def later(self, *told: Ask | Each) -> None:
        self._waiting.extend(one for one in told if isinstance(one, Ask) or one.rows)

    async def all(self, statement: str, values: Values = ()) -> list[Row]:
        (rows,) = await self.together(Ask(statement, values))
        return rows

    async def run(self, statement: str, values: Values = ()) -> int:
        await self._caught_up()
        return await super().run(statement, values)

    async def together(self, *asked: Ask | Each) -> list[list[Row]]:
        waiting, self._waiting = self._waiting, []
        return (await super().together(*waiting, *asked))[len(waiting) :]

    async def many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._caught_up()
        await super().many(statement, rows)

    async def _caught_up(self) -> None:
        if self._waiting:
            await self.together()

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
        names = COUNTERS.split(", ")
        moved = [
            (name, now) for name, now, before in zip(names, self._counters, self._before, strict=True) if now != before
        ]
        told = "".join(f", {name} = %s" for name, _ in moved)
        return Ask(
            f"UPDATE users SET changes = changes + 1{told} WHERE user_key = %s",
            (*(now for _, now in moved), self.user_key),
        )


def _sql(statement: str) -> LiteralString:
    # Statements are put together from constants of ours; values are bound.
    return statement
