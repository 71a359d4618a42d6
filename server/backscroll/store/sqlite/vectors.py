"""Vectors beside the messages. That they go with them is in the schema: see migration 0002."""

import sqlite3
from collections.abc import Collection, Sequence

from ..rows import dump
from ..vector_texts import SPAN, text_of
from ..vectors import Counts, Progress, Signs, StoredVector, Unembedded
from .database import Database
from .rows import find_user


class SqliteVectors:
    """A VectorStore in the file of a SqliteStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, model: str) -> Progress:
        known = await self.progress()
        if known is not None and known.model == model:
            return known
        return await self._database.write(lambda db: _claim(db, model))

    async def progress(self) -> Progress | None:
        return await self._database.read(_progress)

    async def unembedded(self, *, limit: int, max_chars: int, of: Collection[str] | None = None) -> Unembedded | None:
        return await self._database.read(lambda db: _unembedded(db, limit, max_chars))

    async def save(self, read: Unembedded, vectors: Sequence[tuple[int, bytes]]) -> bool:
        return await self._database.write(lambda db: _save(db, read, vectors))

    async def signs(self, user_id: str, generation: int, *, after: int, limit: int) -> Signs:
        return await self._database.read(lambda db: _signs(db, user_id, generation, after, limit))

    async def by_key(self, user_id: str, generation: int, keys: Sequence[int]) -> list[StoredVector]:
        return await self._database.read(lambda db: _among(db, "vector_key", user_id, generation, keys))

    async def by_message(self, user_id: str, generation: int, message_keys: Sequence[int]) -> list[StoredVector]:
        return await self._database.read(lambda db: _among(db, "message_key", user_id, generation, message_keys))

    async def counts(self, user_id: str) -> Counts:
        return await self._database.read(lambda db: _counts(db, user_id))


def _claim(db: sqlite3.Connection, model: str) -> Progress:
    db.execute(
        "INSERT INTO vector_progress (only, model, generation, upto) VALUES (1, ?, 1, 0) "
        "ON CONFLICT DO UPDATE SET model = excluded.model, generation = generation + 1, upto = 0 "
        "WHERE model <> excluded.model",
        (model,),
    )
    claimed = _progress(db)
    assert claimed is not None
    return claimed


def _progress(db: sqlite3.Connection) -> Progress | None:
    row = db.execute("SELECT model, generation, upto, changes FROM vector_progress").fetchone()
    return None if row is None else Progress(*row)


def _unembedded(db: sqlite3.Connection, limit: int, max_chars: int) -> Unembedded | None:
    found = _progress(db)
    if found is None:
        return None
    first, newest = db.execute(
        "SELECT (SELECT min(message_key) FROM messages WHERE message_key > ?), (SELECT max(message_key) FROM messages)",
        (found.upto,),
    ).fetchone()
    if first is None:
        return None
    upto = min(newest, first + SPAN)
    keys = db.execute(
        "SELECT message_key FROM messages AS m WHERE message_key BETWEEN ? AND ? AND role <> 'tool' AND "
        "from_history = 0 AND NOT EXISTS (SELECT 1 FROM vectors AS v WHERE v.message_key = m.message_key AND "
        "v.generation = ?) ORDER BY message_key LIMIT ?",
        (first, upto, found.generation, limit),
    ).fetchall()
    if len(keys) == limit:
        (upto,) = keys[-1]
    texts = [(key, _text(db, key, max_chars)) for (key,) in keys]
    return Unembedded(found, upto, tuple((key, text) for key, text in texts if text))


def _text(db: sqlite3.Connection, message_key: int, max_chars: int) -> str:
    (payload, text) = db.execute(
        "SELECT CASE WHEN instr(payload, '\"name\"') THEN payload END, substr(text, 1, ?) "
        "FROM messages WHERE message_key = ?",
        (max_chars, message_key),
    ).fetchone()
    calls = db.execute(
        "SELECT tool_name, substr(arguments, 1, ?) FROM tool_calls WHERE message_key = ? ORDER BY ordinal",
        (max_chars, message_key),
    )
    return text_of(payload, text, calls, max_chars)


def _save(db: sqlite3.Connection, read: Unembedded, vectors: Sequence[tuple[int, bytes]]) -> bool:
    if _progress(db) != read.progress:
        return False
    db.executemany(
        # REPLACE gives a stale vector's successor a key of its own, by which readers learn of it.
        "INSERT OR REPLACE INTO vectors (message_key, user_key, session_key, generation, vector) "
        "SELECT m.message_key, s.user_key, m.session_key, ?, ? FROM messages AS m "
        "JOIN sessions AS s ON s.session_key = m.session_key WHERE m.message_key = ?",
        [(read.progress.generation, data, key) for key, data in vectors],
    )
    db.execute("UPDATE vector_progress SET upto = ?", (read.upto,))
    return True


def _signs(db: sqlite3.Connection, user_id: str, generation: int, after: int, limit: int) -> Signs:
    rows = db.execute(
        "SELECT vector_key, session_key, substr(vector, 1, length(vector) / 4) FROM vectors "
        "WHERE vector_key > ? AND user_key = ? AND generation = ? ORDER BY vector_key LIMIT ?",
        (after, find_user(db, user_id), generation, limit),
    ).fetchall()
    if len(rows) == limit:
        upto = rows[-1][0]
    else:
        # Other users' vectors need not be passed over again.
        (upto,) = db.execute("SELECT coalesce(max(vector_key), 0) FROM vectors").fetchone()
    keys, sessions, parts = zip(*rows, strict=True) if rows else ((), (), ())
    return Signs(keys, sessions, b"".join(parts), max(after, upto))


def _among(
    db: sqlite3.Connection, column: str, user_id: str, generation: int, keys: Sequence[int]
) -> list[StoredVector]:
    return db.execute(
        f"SELECT vector_key, message_key, vector FROM vectors WHERE {column} IN (SELECT value FROM json_each(?)) "
        "AND user_key = ? AND generation = ?",
        (dump(list(keys)), find_user(db, user_id), generation),
    ).fetchall()


def _counts(db: sqlite3.Connection, user_id: str) -> Counts:
    found = _progress(db) or Progress("", 0, 0, 0)
    (made,) = db.execute(
        "SELECT count(*) FROM vectors WHERE user_key = ? AND generation = ?", (find_user(db, user_id), found.generation)
    ).fetchone()
    (waiting,) = db.execute("SELECT count(*) FROM messages WHERE message_key > ?", (found.upto,)).fetchone()
    return Counts(made, waiting)
