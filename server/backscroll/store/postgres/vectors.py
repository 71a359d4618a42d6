"""Vectors beside the messages, made user by user. That they go with them is in the schema: see migration 0003."""

from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

from ..vector_texts import SPAN, text_of
from ..vectors import Counts, Progress, Signs, StoredVector, Unembedded
from .database import Ask, Database, Row, Transaction, Writing, user_key

_MODEL = Ask("SELECT model, generation FROM vector_model")

# Of another generation nothing is done yet.
_UPTO = "CASE WHEN p.generation = v.generation THEN p.upto ELSE 0 END"


class PostgresVectors:
    """A VectorStore in the database of a PostgresStore. `upto` and `changes` of a Progress are one user's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, model: str) -> Progress:
        known = await self.progress()
        if known is not None and known.model == model:
            return known
        await self._database.upkeep(
            "INSERT INTO vector_model (only_one, model, generation) VALUES (1, %(model)s, 1) "
            "ON CONFLICT (only_one) DO UPDATE SET model = excluded.model, generation = vector_model.generation + 1 "
            "WHERE vector_model.model <> excluded.model",
            {"model": model},
        )
        claimed = await self.progress()
        assert claimed is not None
        return claimed

    async def progress(self) -> Progress | None:
        (rows,) = await self._database.fetch(_MODEL)
        return Progress(rows[0][0], rows[0][1], 0, 0) if rows else None

    async def unembedded(self, *, limit: int, max_chars: int, of: Collection[str] | None = None) -> Unembedded | None:
        users = None if of is None else [user_key(user_id) for user_id in of]

        async def read(transaction: Transaction) -> Unembedded | None:
            return await _unembedded(transaction, limit, max_chars, users)

        return await self._database.read(read)

    async def save(self, read: Unembedded, vectors: Sequence[tuple[int, bytes]]) -> bool:
        assert read.user_id is not None

        async def saved(writing: Writing) -> bool:
            return await _save(writing, read, vectors)

        return await self._database.write(read.user_id, saved)

    async def signs(self, user_id: str, generation: int, *, after: int, limit: int) -> Signs:
        (rows,) = await self._database.fetch(
            Ask(
                "SELECT vector_key, session_key, substr(vector, 1, length(vector) / 4) FROM vectors "
                "WHERE user_key = %s AND vector_key > %s AND generation = %s ORDER BY vector_key LIMIT %s",
                (user_key(user_id), after, generation, limit),
            )
        )
        keys, sessions, parts = zip(*rows, strict=True) if rows else ((), (), ())
        return Signs(keys, sessions, b"".join(parts), keys[-1] if keys else after)

    async def by_key(self, user_id: str, generation: int, keys: Sequence[int]) -> list[StoredVector]:
        return await self._among("vector_key", user_id, generation, keys)

    async def by_message(self, user_id: str, generation: int, message_keys: Sequence[int]) -> list[StoredVector]:
        return await self._among("message_key", user_id, generation, message_keys)

    async def _among(self, column: str, user_id: str, generation: int, keys: Sequence[int]) -> list[StoredVector]:
        (rows,) = await self._database.fetch(
            Ask(
                f"SELECT vector_key, message_key, vector FROM vectors WHERE user_key = %s "
                f"AND {column} = ANY(%s::bigint[]) AND generation = %s",
                (user_key(user_id), list(keys), generation),
            )
        )
        return [(vector, message, data) for vector, message, data in rows]

    async def counts(self, user_id: str) -> Counts:
        key = user_key(user_id)
        made, waiting = await self._database.fetch(
            Ask(
                "SELECT count(*) FROM vectors AS o WHERE o.user_key = %s "
                "AND o.generation = (SELECT generation FROM vector_model)",
                (key,),
            ),
            Ask(
                "SELECT count(*) FROM messages AS m WHERE m.user_key = %(user)s AND m.message_key > coalesce("
                f"(SELECT {_UPTO} FROM vector_model AS v JOIN vector_progress AS p ON p.user_key = %(user)s), 0)",
                {"user": key},
            ),
        )
        return Counts(made[0][0], waiting[0][0])


async def _next_user(read: Transaction, users: Sequence[UUID] | None) -> Row | None:
    """One that has messages to be looked at: of these, or of all from anywhere on, so that servers part them."""
    asked = (
        f"SELECT v.model, v.generation, coalesce({_UPTO}, 0), coalesce(p.changes, 0), "
        "u.user_key, u.user_id, u.last_message_key "
        "FROM vector_model AS v CROSS JOIN users AS u LEFT JOIN vector_progress AS p ON p.user_key = u.user_key "
        f"WHERE u.last_message_key > coalesce({_UPTO}, 0) AND "
    )
    if users is not None:
        return await read.one(f"{asked} u.user_key = ANY(%s::uuid[]) LIMIT 1", (list(users),))
    start = uuid4()
    from_there = await read.one(f"{asked} u.user_key >= %s ORDER BY u.user_key LIMIT 1", (start,))
    return from_there or await read.one(f"{asked} u.user_key < %s ORDER BY u.user_key LIMIT 1", (start,))


async def _unembedded(read: Transaction, limit: int, max_chars: int, users: Sequence[UUID] | None) -> Unembedded | None:
    found = await _next_user(read, users)
    if found is None:
        return None
    progress = Progress(*found[:4])
    user, user_id, newest = found[4:]
    row = await read.one(
        "SELECT min(message_key) FROM messages WHERE user_key = %s AND message_key > %s", (user, progress.upto)
    )
    first = None if row is None else row[0]
    if first is None:
        return Unembedded(progress, newest, (), user_id)
    upto = min(newest, first + SPAN)
    keys = await read.all(
        "SELECT message_key FROM messages AS m WHERE m.user_key = %s AND message_key BETWEEN %s AND %s "
        "AND role <> 'tool' AND from_history = 0 AND NOT EXISTS (SELECT 1 FROM vectors AS v "
        "WHERE v.user_key = m.user_key AND v.message_key = m.message_key AND v.generation = %s) "
        "ORDER BY message_key LIMIT %s",
        (user, first, upto, progress.generation, limit),
    )
    if len(keys) == limit:
        (upto,) = keys[-1]
    texts = await _texts(read, user, [key for (key,) in keys], max_chars)
    return Unembedded(progress, upto, tuple((key, text) for key, text in texts if text), user_id)


async def _texts(read: Transaction, user: object, keys: list[int], max_chars: int) -> list[tuple[int, str]]:
    messages, calls = await read.together(
        Ask(
            "SELECT message_key, CASE WHEN strpos(payload, '\"name\"') > 0 THEN payload END, substr(text, 1, %s) "
            "FROM messages WHERE user_key = %s AND message_key = ANY(%s::bigint[]) ORDER BY message_key",
            (max_chars, user, keys),
        ),
        Ask(
            "SELECT message_key, tool_name, substr(arguments, 1, %s) FROM tool_calls "
            "WHERE user_key = %s AND message_key = ANY(%s::bigint[]) ORDER BY message_key, ordinal",
            (max_chars, user, keys),
        ),
    )
    of: dict[int, list[Row]] = {}
    for key, *call in calls:
        of.setdefault(key, []).append(tuple(call))
    return [(key, text_of(payload, text, of.get(key, ()), max_chars)) for key, payload, text in messages]


async def _save(writing: Writing, read: Unembedded, vectors: Sequence[tuple[int, bytes]]) -> bool:
    user = writing.user_key
    now = await writing.one(
        f"SELECT v.model, v.generation, coalesce({_UPTO}, 0), coalesce(p.changes, 0) FROM vector_model AS v "
        "LEFT JOIN vector_progress AS p ON p.user_key = %s",
        (user,),
    )
    if now is None or Progress(*now) != read.progress:
        return False
    first = writing.next_key("vector", len(vectors)) if vectors else 0
    keys = [key for key, _ in vectors]
    # A stale vector's successor has a key of its own, by which readers learn of it.
    await writing.together(
        Ask("DELETE FROM vectors WHERE user_key = %s AND message_key = ANY(%s::bigint[])", (user, keys)),
        Ask(
            "INSERT INTO vectors (user_key, vector_key, message_key, session_key, generation, vector) "
            "SELECT %s, n.vector_key, m.message_key, m.session_key, %s, n.vector "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS n (vector_key, message_key, vector) "
            "JOIN messages AS m ON m.user_key = %s AND m.message_key = n.message_key",
            (
                user, read.progress.generation, list(range(first, first + len(keys))), keys,
                [data for _, data in vectors], user,
            ),
        ),
        Ask(
            "INSERT INTO vector_progress (user_key, generation, upto) VALUES (%s, %s, %s) ON CONFLICT (user_key) "
            "DO UPDATE SET generation = excluded.generation, upto = excluded.upto",
            (user, read.progress.generation, read.upto),
        ),
    )  # fmt: skip
    return True
