"""Texts of rows read to be redacted, and replaced: index, vectors, openings and counts in the same transaction."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ..recording.taking import opening_of
from ..redacting import COLUMNS, Change, Piece, Place, Table, piece_of, says
from ..rows import to_ms
from . import index
from .database import Database
from .keeping import IndexKeeper
from .rows import find_user


class _Source(NamedTuple):
    """Where a table's texts are: `rows` joins it to its session, `user` binds it to its owner."""

    rows: str
    user: str = "t.user_key"
    session: str = "(SELECT s.number FROM sessions AS s WHERE s.session_key = t.session_key)"


_OF_SESSION = "CROSS JOIN sessions AS o ON o.session_key = t.session_key"
_SOURCES: Mapping[Table, _Source] = {
    "messages": _Source(f"messages AS t {_OF_SESSION}", "o.user_key"),
    "tool_calls": _Source("tool_calls AS t"),
    "summaries": _Source(f"summaries AS t {_OF_SESSION}", "o.user_key"),
    "runs": _Source("runs AS t"),
    "sessions": _Source("sessions AS t", session="t.number"),
    "media": _Source("media AS t", session="NULL"),
    "facts": _Source("facts AS t", session="NULL"),
}


class SqliteSecrets:
    """A SecretStore in the file of a SqliteStore."""

    def __init__(self, database: Database, keeper: IndexKeeper) -> None:
        self._database = database
        self._keeper = keeper

    async def counts(self, user_id: str) -> dict[str, int]:
        return await self._database.read(
            lambda db: dict(
                db.execute(
                    "SELECT kind, count FROM redactions WHERE user_key = ? ORDER BY count DESC, kind",
                    (find_user(db, user_id),),
                ).fetchall()
            )
        )

    async def note(self, user_id: str, kinds: Mapping[str, int]) -> None:
        def noted(db: sqlite3.Connection) -> None:
            user_key = find_user(db, user_id)
            if user_key is not None:
                note(db, user_key, kinds, _now())

        if kinds:
            await self._database.write(noted)

    async def pieces(self, user_id: str, table: Table, *, after: Place, limit: int, max_chars: int) -> list[Piece]:
        return await self._database.read(lambda db: _pieces(db, user_id, table, after, limit, max_chars))

    async def replace(self, user_id: str, changes: Sequence[Change]) -> list[Change]:
        return await self._keeper.write(lambda db: _replace(db, user_id, changes))


def note(db: sqlite3.Connection, user_key: int, kinds: Mapping[str, int], now: int) -> None:
    """Count what was redacted, in the transaction that stores what is left."""
    db.executemany(
        "INSERT INTO redactions (user_key, kind, count, redacted_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "count = count + excluded.count, redacted_at = max(redacted_at, excluded.redacted_at)",
        [(user_key, kind, count, now) for kind, count in kinds.items()],
    )


def _pieces(
    db: sqlite3.Connection, user_id: str, table: Table, after: Place, limit: int, max_chars: int
) -> list[Piece]:
    source, named = _SOURCES[table], COLUMNS[table]
    place = ", ".join(f"t.{column}" for column in named.place)
    values = ", ".join("?" * len(named.place))
    columns = ", ".join(f"t.{column}" for column in named.texts)
    cursor = db.execute(
        f"SELECT {place}, {source.session}, {columns} FROM {source.rows} "
        f"WHERE {source.user} = ? AND ({place}) > ({values}) ORDER BY {place} LIMIT ?",
        (find_user(db, user_id), *(after or (0,) * len(named.place)), limit),
    )
    found: list[Piece] = []
    chars = 0
    for row in cursor:
        piece = piece_of(table, row)
        found.append(piece)
        chars += sum(map(len, piece.texts.values()))
        if chars >= max_chars:
            break
    cursor.close()
    return found


def _replace(db: sqlite3.Connection, user_id: str, changes: Sequence[Change]) -> list[Change]:
    user_key = find_user(db, user_id)
    if user_key is None:
        return list(changes)
    due: list[Change] = []
    left: list[Change] = []
    for change in changes:
        (due if _stands(db, user_key, change.piece) else left).append(change)
    messages = _indexed(db, due)
    index.remove(db, [index.entry_of_message(db, key) for key in messages])
    now = _now()
    kinds: Counter[str] = Counter()
    for change in due:
        _write(db, change)
        _follow(db, user_key, change, now)
        kinds.update(change.kinds)
    index.add_again(db, [index.entry_of_message(db, key) for key in messages])
    note(db, user_key, kinds, now)
    return left


def _stands(db: sqlite3.Connection, user_key: int, piece: Piece) -> bool:
    """Whether the row is the user's and says what was read of it."""
    source = _SOURCES[piece.table]
    columns = ", ".join(f"t.{column}" for column in COLUMNS[piece.table].texts)
    row = db.execute(
        f"SELECT {columns} FROM {source.rows} WHERE {source.user} = ? AND {_at(piece.table, 't.')}",
        (user_key, *piece.place),
    ).fetchone()
    return says(piece, row)


def _at(table: Table, prefix: str = "") -> str:
    return " AND ".join(f"{prefix}{column} = ?" for column in COLUMNS[table].place)


def _indexed(db: sqlite3.Connection, due: Iterable[Change]) -> list[int]:
    """The messages whose index entries change: their own texts, their calls, their session's project."""
    keys: set[int] = set()
    for change in due:
        (key, *_) = change.piece.place
        if change.piece.table == "messages":
            keys.add(key)
        elif change.piece.table == "tool_calls":
            keys.update(
                made_by
                for (made_by,) in db.execute("SELECT message_key FROM tool_calls WHERE call_key = ?", (key,))
                if made_by is not None
            )
        elif change.piece.table == "sessions" and "project" in change.texts:
            keys.update(
                found for (found,) in db.execute("SELECT message_key FROM messages WHERE session_key = ?", (key,))
            )
    return [
        key
        for key in sorted(keys)
        # Copies that came as history are not in the index.
        if db.execute("SELECT from_history FROM messages WHERE message_key = ?", (key,)).fetchone() == (0,)
    ]


def _write(db: sqlite3.Connection, change: Change) -> None:
    piece = change.piece
    texts = {**piece.texts, **change.texts}
    # Each column, changed or not: a vector is made from several, and goes with the one that its trigger names.
    columns = ", ".join(f"{column} = ?" for column in texts)
    db.execute(f"UPDATE {piece.table} SET {columns} WHERE {_at(piece.table)}", (*texts.values(), *piece.place))


def _follow(db: sqlite3.Connection, user_key: int, change: Change, now: int) -> None:
    """What else says a message's words, or when its session was changed."""
    piece = change.piece
    if piece.table == "messages" and "text" in change.texts:
        # Forks have the opening of their parent.
        old, new = opening_of(piece.texts["text"]), opening_of(change.texts["text"])
        if old != new:
            db.execute("UPDATE sessions SET opening = ? WHERE user_key = ? AND opening = ?", (new, user_key, old))
    if piece.session is not None:
        # So that no older archive takes its title and state back.
        db.execute(
            "UPDATE sessions SET updated_at = max(updated_at, ?) WHERE user_key = ? AND number = ?",
            (now, user_key, piece.session),
        )


def _now() -> int:
    return to_ms(datetime.now(UTC))
