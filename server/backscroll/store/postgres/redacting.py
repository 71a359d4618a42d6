"""Texts of rows read to be redacted, and replaced: index, vectors, openings and counts in the same transaction."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from ..recording.taking import opening_of
from ..redacting import COLUMNS, Change, Piece, Place, Table, piece_of, says
from ..rows import to_ms
from . import index
from .database import Ask, Database, Each, Writing, user_key

_NUMBERS: Mapping[Table, str] = {"sessions": "t.number", "media": "NULL::bigint", "facts": "NULL::bigint"}
_OF_SESSION = "(SELECT s.number FROM sessions AS s WHERE s.user_key = t.user_key AND s.session_key = t.session_key)"


class PostgresSecrets:
    """A SecretStore in the database of a PostgresStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self, user_id: str) -> dict[str, int]:
        (rows,) = await self._database.fetch(
            Ask(
                'SELECT kind, count FROM redactions WHERE user_key = %s ORDER BY count DESC, kind COLLATE "C"',
                (user_key(user_id),),
            )
        )
        return dict(rows)

    async def note(self, user_id: str, kinds: Mapping[str, int]) -> None:
        if not kinds:
            return

        async def noted(writing: Writing) -> None:
            writing.later(noting(writing, kinds, _now()))

        await self._database.write(user_id, noted)

    async def pieces(self, user_id: str, table: Table, *, after: Place, limit: int, max_chars: int) -> list[Piece]:
        named = COLUMNS[table]
        place = ", ".join(f"t.{column}" for column in named.place)
        texts = ", ".join(f"t.{column}" for column in named.texts)
        beyond = ", ".join(["%s"] * len(named.place))
        # How long each is comes first: of long texts only so many are asked for.
        chars = " + ".join(f"coalesce(length(t.{column}), 0)" for column in named.texts)
        statement = (
            f"SELECT {place}, {_NUMBERS.get(table, _OF_SESSION)}, {texts} FROM ("
            f"SELECT t.*, sum({chars}) OVER (ORDER BY {place}) - ({chars}) AS ahead FROM ("
            f"SELECT * FROM {table} AS t WHERE t.user_key = %s AND ({place}) > ({beyond}) ORDER BY {place} LIMIT %s"
            f") AS t) AS t WHERE t.ahead < %s ORDER BY {place}"
        )
        start = after or (0,) * len(named.place)
        (rows,) = await self._database.fetch(Ask(statement, (user_key(user_id), *start, limit, max_chars)))
        return [piece_of(table, row) for row in rows]

    async def replace(self, user_id: str, changes: Sequence[Change]) -> list[Change]:
        return await self._database.write(user_id, partial(_replace, changes=changes))


def noting(writing: Writing, kinds: Mapping[str, int], now: int) -> Each:
    """Count what was redacted, in the transaction that stores what is left."""
    return Each(
        "INSERT INTO redactions (user_key, kind, count, redacted_at) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (user_key, kind) DO UPDATE SET count = redactions.count + excluded.count, "
        "redacted_at = greatest(redactions.redacted_at, excluded.redacted_at)",
        [(writing.user_key, kind, count, now) for kind, count in kinds.items()],
    )


async def _replace(writing: Writing, changes: Sequence[Change]) -> list[Change]:
    standing = await writing.together(*(_as_it_stands(writing, change.piece) for change in changes))
    due: list[Change] = []
    left: list[Change] = []
    for change, rows in zip(changes, standing, strict=True):
        (due if says(change.piece, rows[0] if rows else None) else left).append(change)
    now = _now()
    kinds: Counter[str] = Counter()
    for change in due:
        _write(writing, change)
        _follow(writing, change, now)
        kinds.update(change.kinds)
    if kinds:
        writing.later(noting(writing, kinds, now))
    await index.renew(writing, await _indexed(writing, due))
    return left


def _as_it_stands(writing: Writing, piece: Piece) -> Ask:
    texts = ", ".join(COLUMNS[piece.table].texts)
    return Ask(
        f"SELECT {texts} FROM {piece.table} WHERE user_key = %s AND {_at(piece.table)}",
        (writing.user_key, *piece.place),
    )


def _at(table: Table) -> str:
    return " AND ".join(f"{column} = %s" for column in COLUMNS[table].place)


async def _indexed(writing: Writing, due: Iterable[Change]) -> list[int]:
    """The messages whose index entries change: their own texts, their calls, their session's project."""
    of: dict[str, list[int]] = {"messages": [], "tool_calls": [], "sessions": []}
    for change in due:
        table = change.piece.table
        if table in of and (table != "sessions" or "project" in change.texts):
            of[table].append(change.piece.place[0])
    if not any(of.values()):
        return []
    rows = await writing.all(
        "SELECT message_key FROM messages WHERE user_key = %(user)s AND message_key = ANY(%(messages)s::bigint[]) "
        "UNION SELECT message_key FROM tool_calls WHERE user_key = %(user)s "
        "AND call_key = ANY(%(tool_calls)s::bigint[]) AND message_key IS NOT NULL "
        "UNION SELECT message_key FROM messages WHERE user_key = %(user)s "
        "AND session_key = ANY(%(sessions)s::bigint[]) ORDER BY message_key",
        {"user": writing.user_key, **of},
    )
    return [key for (key,) in rows]


def _write(writing: Writing, change: Change) -> None:
    piece = change.piece
    texts = {**piece.texts, **change.texts}
    # Each column, changed or not: a vector is made from several, and goes with the one that its trigger names.
    columns = ", ".join(f"{column} = %s" for column in texts)
    writing.later(
        Ask(
            f"UPDATE {piece.table} SET {columns} WHERE user_key = %s AND {_at(piece.table)}",
            (*texts.values(), writing.user_key, *piece.place),
        )
    )


def _follow(writing: Writing, change: Change, now: int) -> None:
    """What else says a message's words, or when its session was changed."""
    piece = change.piece
    if piece.table == "messages" and "text" in change.texts:
        # Forks have the opening of their parent.
        old, new = opening_of(piece.texts["text"]), opening_of(change.texts["text"])
        if old != new:
            writing.later(
                Ask(
                    "UPDATE sessions SET opening = %s WHERE user_key = %s AND opening = %s",
                    (new, writing.user_key, old),
                )
            )
    if piece.session is not None:
        # So that no older archive takes its title and state back.
        writing.later(
            Ask(
                "UPDATE sessions SET updated_at = greatest(updated_at, %s) WHERE user_key = %s AND number = %s",
                (now, writing.user_key, piece.session),
            )
        )


def _now() -> int:
    return to_ms(datetime.now(UTC))
