"""How sessions and their parts are looked up: by the statement that wants them, or first by one of their own."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from ...errors import SessionNotFound
from ..rows import NEWEST, SessionRow, Stretch
from .database import Ask, Row, Transaction, user_key

SESSION_COLUMNS = ", ".join(
    "(SELECT p.number FROM sessions AS p WHERE p.user_key = s.user_key AND p.session_key = s.parent_key)"
    if name == "parent_number"
    else f"s.{name}"
    for name in SessionRow._fields
)

_MAX_DIGITS = 15


class Named(NamedTuple):
    """A session as a caller names it, in SQL: the condition on sessions `s`, and what it binds."""

    where: str
    values: dict[str, Any]


def named(user: str | UUID, ref: str) -> Named:
    """The session that a caller names by id or number. Raises SessionNotFound for what can name none."""
    key = user if isinstance(user, UUID) else user_key(user)
    value: str | int = ref
    column = "session_id"
    if ref.startswith("#"):
        digits = ref[1:]
        if not (digits.isascii() and digits.isdigit()) or len(digits) > _MAX_DIGITS:
            raise SessionNotFound(ref)
        column, value = "number", int(digits)
    return Named(f"s.user_key = %(user)s AND s.{column} = %(ref)s", {"user": key, "ref": value})


def session_asked(one: Named) -> Ask:
    return Ask(f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE {one.where}", one.values)


def session_told(rows: Sequence[Row], ref: str) -> SessionRow:
    """The answer to `session_asked`. Raises SessionNotFound."""
    if not rows:
        raise SessionNotFound(ref)
    return SessionRow._make(rows[0])


def lineage_of(where: str) -> str:
    """A recursive CTE: where the messages of the sessions `s` of a user lie, a row for each Stretch.

    `line (asked, newest, depth, session_key, number, parent_key, low, high)`: `asked` and `newest` are number and last
    seq of the session that was asked for; depth 0 is its own stretch, those that it shares with its parents follow.
    """
    low = "CASE WHEN {0}.parent_key IS NULL THEN 0 ELSE coalesce({0}.fork_seq, 0) END".format
    return (
        "line AS ("
        "SELECT s.number AS asked, s.last_seq AS newest, 0 AS depth, s.session_key, s.number, s.parent_key, "
        f"{low('s')} AS low, {NEWEST} AS high FROM sessions AS s WHERE {where} "
        "UNION ALL "
        "SELECT l.asked, l.newest, l.depth + 1, p.session_key, p.number, p.parent_key, "
        f"least({low('p')}, l.low), l.low "
        "FROM line AS l CROSS JOIN LATERAL (SELECT p.* FROM sessions AS p WHERE p.user_key = %(user)s "
        "AND p.session_key = l.parent_key LIMIT 1) AS p)"
    )


# For units of work, which look a session up before they go on


async def look_up_session(transaction: Transaction, key: UUID, ref: str) -> SessionRow | None:
    try:
        asked = session_asked(named(key, ref))
    except SessionNotFound:
        return None
    row = await transaction.one(*asked)
    return None if row is None else SessionRow._make(row)


async def find_session(transaction: Transaction, key: UUID, ref: str) -> SessionRow:
    """Raises SessionNotFound."""
    row = await look_up_session(transaction, key, ref)
    if row is None:
        raise SessionNotFound(ref)
    return row


async def sessions_by_key(transaction: Transaction, key: UUID, session_keys: Sequence[int]) -> list[SessionRow]:
    """In the order of the keys; those that are gone are left out."""
    rows = await transaction.all(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = %s AND s.session_key = ANY(%s::bigint[])",
        (key, list(session_keys)),
    )
    found = {row.session_key: row for row in map(SessionRow._make, rows)}
    return [found[one] for one in session_keys if one in found]


async def session_by_key(transaction: Transaction, key: UUID, session_key: int) -> SessionRow:
    rows = await transaction.all(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = %s AND s.session_key = %s", (key, session_key)
    )
    return SessionRow._make(rows[0])


async def lineage(transaction: Transaction, session: SessionRow) -> list[Stretch]:
    """Where a session's messages lie, newest stretch first: its own, then what it shares with its parents."""
    rows = await transaction.all(
        f"WITH RECURSIVE {lineage_of('s.user_key = %(user)s AND s.session_key = %(session)s')} "
        "SELECT session_key, number, low, high FROM line ORDER BY depth",
        {"user": session.user_key, "session": session.session_key},
    )
    return [Stretch(*row) for row in rows]
