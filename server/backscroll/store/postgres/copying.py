"""What a copy from another database writes into a Postgres database, and reads of it to compare the two."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from ...errors import StoreBusy
from ..archive import ArchivedRow, ArchivedSession
from ..copying import KEPT, CopiedRow, KeptRows, Summing, Traits
from ..rows import to_ms
from . import archiving
from .database import Transaction, Writing, user_key
from .deleting import Deleting, delete_one
from .part import Part
from .restoring import Restoring, restore
from .rows import look_up_session


class PostgresArriving(Part):
    """The `Arriving` of a PostgresStore; `part` is the store, whose key for digests may be changed."""

    def __init__(self, part: Part, machine: Callable[[], str]) -> None:
        super().__init__(part._database, part._digest_key)
        self._part = part
        self._machine = machine

    async def adopt_key(self, key: bytes) -> bool:
        async def adopt(connection: Transaction) -> bytes:
            await connection.run("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            if not await connection.all("SELECT 1 FROM users LIMIT 1"):
                # Whoever is about to be the first user is waited for, and finds the new key if we were before.
                await connection.run("LOCK TABLE users IN SHARE MODE")
                await connection.run(
                    "UPDATE meta SET value = %s WHERE name = 'digest_key' AND NOT EXISTS (SELECT 1 FROM users)", (key,)
                )
            row: Any = await connection.one("SELECT value FROM meta WHERE name = 'digest_key'")
            return bytes(row[0])

        self._part._digest_key = self._digest_key = self._database.digest_key = await self._database.change(adopt)
        return self._digest_key == key

    async def heads(self, user_id: str) -> list[ArchivedSession]:
        return await self._database.read(lambda db: archiving.heads(db, user_key(user_id)))

    async def copied(self, user_id: str) -> dict[str, bytes]:
        async def look(db: Transaction) -> dict[str, bytes]:
            rows = await db.all("SELECT session_id, digest FROM copied WHERE user_key = %s", (user_key(user_id),))
            return {session_id: bytes(digest) for session_id, digest in rows}

        return await self._database.read(look)

    async def rows(self, user_id: str, session_id: str) -> AsyncGenerator[list[CopiedRow], None]:
        owner = user_key(user_id)
        async with self._database.snapshot() as db:
            session = await look_up_session(db, owner, session_id)
            if session is None:
                return
            async with aclosing(archiving.session_rows(db, owner, session, set())) as pages:
                async for page in pages:
                    yield list(page)
            yield [Traits(bool(session.renamed), session.summary_error)]

    async def take(
        self, user_id: str, head: ArchivedSession, pages: AsyncIterator[Sequence[CopiedRow]], digest: Summing
    ) -> None:
        begun: list[bool] = []

        async def taken(writing: Writing) -> None:
            if begun:
                # The pages come once.
                raise StoreBusy("The connection to the database broke. Nothing of this session was copied; try again.")
            begun.append(True)
            traits: list[Traits] = []
            await restore(writing, Restoring(head, keep_number=True, replacing=True), _without(pages, traits))
            await _take_traits(writing, head.session_id, traits)
            await _note(writing, head.session_id, digest.digest())

        await self._database.write(user_id, taken)

    async def note(self, user_id: str, session_id: str, digest: bytes) -> None:
        await self._database.write(user_id, lambda writing: _note(writing, session_id, digest))

    async def remove(self, user_id: str, session_id: str, *, gone: Collection[str]) -> None:
        async def removed(writing: Writing) -> None:
            session = await look_up_session(writing, writing.user_key, session_id)
            if session is None:
                return
            mine = "SELECT session_id FROM sessions WHERE user_key = %s"
            before = {name for (name,) in await writing.all(mine, (writing.user_key,))}
            await delete_one(writing, session, Deleting("delete", self._part.tombstone_digest, _now(), leaving=gone))
            after = {name for (name,) in await writing.all(mine, (writing.user_key,))}
            await writing.run(
                "DELETE FROM copied WHERE user_key = %s AND session_id = ANY(%s::text[])",
                (writing.user_key, list(before - after)),
            )

        await self._database.write(user_id, removed)

    async def keep(self, user_id: str, rows: KeptRows) -> None:
        async def kept(writing: Writing) -> None:
            if rows.table == "facts":
                await _keep_facts(writing, rows)
            else:
                # What is known of files is known of those of this machine, where the source lies.
                await _keep(writing, rows, {"machine": self._machine()} if rows.table in _BY_MACHINE else {})

        await self._database.write(user_id, kept)

    async def take_number(self, user_id: str, upto: int) -> None:
        async def take(writing: Writing) -> None:
            writing.move("number", upto)

        await self._database.write(user_id, take)


_LOCK = 0x42534352
_BY_MACHINE = ("imports", "syncs")


async def _without(pages: AsyncIterator[Sequence[CopiedRow]], traits: list[Traits]) -> AsyncIterator[list[ArchivedRow]]:
    """The rows of an archive; traits are put aside. The head is known already."""
    async for page in pages:
        traits += [row for row in page if isinstance(row, Traits)]
        rows: list[ArchivedRow] = [row for row in page if not isinstance(row, Traits | ArchivedSession)]
        if rows:
            yield rows


async def _take_traits(writing: Writing, session_id: str, portions: Sequence[Traits]) -> None:
    session = await look_up_session(writing, writing.user_key, session_id)
    if session is None or not portions:
        return
    mine = (writing.user_key, session.session_key)
    await writing.run(
        "UPDATE sessions SET renamed = %s, summary_error = %s WHERE user_key = %s AND session_key = %s",
        (int(portions[0].renamed), portions[0].summary_error, *mine),
    )
    for portion in portions:
        if portion.runs:
            indexes, counts, digests = zip(*portion.runs, strict=True)
            await writing.run(
                "UPDATE runs AS r SET history_count = told.count, history_digest = told.digest "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS told (run_index, count, digest) "
                "WHERE r.user_key = %s AND r.session_key = %s AND r.run_index = told.run_index",
                (list(indexes), list(counts), list(digests), *mine),
            )
        if portion.dropped:
            indexes, positions, digests, systems = zip(*portion.dropped, strict=True)
            await writing.run(
                "UPDATE digests AS d SET digest = told.digest, is_system = told.is_system "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::int[]) "
                "AS told (run_index, position, digest, is_system) "
                "JOIN runs AS r ON r.user_key = %s AND r.session_key = %s AND r.run_index = told.run_index "
                "WHERE d.user_key = r.user_key AND d.run_key = r.run_key AND d.position = told.position",
                (list(indexes), list(positions), list(digests), [int(one) for one in systems], *mine),
            )


async def _note(writing: Writing, session_id: str, digest: bytes) -> None:
    await writing.run(
        "INSERT INTO copied (user_key, session_id, digest, copied_at) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (user_key, session_id) DO UPDATE SET digest = excluded.digest, copied_at = excluded.copied_at",
        (writing.user_key, session_id, digest, _now()),
    )


async def _keep(writing: Writing, rows: KeptRows, more: Mapping[str, str]) -> None:
    """`more` columns, by name, belong to each row's key here."""
    kept = KEPT[rows.table]
    columns = ", ".join(map(_quoted, ("user_key", *more, *kept.columns)))
    places = ", ".join(["%s"] * (1 + len(more) + len(kept.columns)))
    await writing.many(
        f"INSERT INTO {rows.table} AS here ({columns}) VALUES ({places}) {_standing(rows.table, more)}",
        [(writing.user_key, *more.values(), *row[: len(kept.columns)]) for row in rows.rows],
    )


def _standing(table: str, more: Iterable[str] = ()) -> str:
    """What happens where a row is here already."""
    kept = KEPT[table]
    key = ", ".join(map(_quoted, ("user_key", *more, *kept.key)))
    moved = [_quoted(name) for name in kept.columns if name not in kept.key]
    told = ", ".join(f"{name} = excluded.{name}" for name in moved)
    newer = "" if kept.newest is None else f" WHERE excluded.{_quoted(kept.newest)} > here.{_quoted(kept.newest)}"
    return f"ON CONFLICT ({key}) DO UPDATE SET {told}{newer}"


def _quoted(name: str) -> str:
    return f'"{name}"'


async def _keep_facts(writing: Writing, rows: KeptRows) -> None:
    columns = KEPT["facts"].columns
    names = ", ".join(_quoted(name) for name in columns)
    places = ", ".join(["%s"] * len(columns))
    first = writing.next_key("fact", len(rows.rows))
    await writing.many(
        f"INSERT INTO facts AS here (user_key, fact_key, message_key, {names}) VALUES (%s, %s, ("
        "SELECT m.message_key FROM sessions AS s JOIN messages AS m "
        "ON m.user_key = s.user_key AND m.session_key = s.session_key "
        f"WHERE s.user_key = %s AND s.session_id = %s::text AND m.seq = %s::bigint), {places}) "
        f"{_standing('facts').replace(' SET ', ' SET message_key = excluded.message_key, ', 1)}",
        [
            (writing.user_key, key, writing.user_key, row[-2], row[-1], *row[: len(columns)])
            for key, row in enumerate(rows.rows, start=first)
        ],
    )


def _now() -> int:
    return to_ms(datetime.now(UTC))
