"""How sessions are looked up where a piece of work takes several round trips anyway."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ...errors import SessionNotFound
from ..rows import NEWEST, SessionRow, Stretch
from .database import Row, Transaction

SESSION_COLUMNS = ", ".join(
    "(SELECT p.number FROM sessions AS p WHERE p.user_key = s.user_key AND p.session_key = s.parent_key)"
    if name == "parent_number"
    else f"s.{name}"
    for name in SessionRow._fields
)
_SESSIONS = f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = %s AND"

_MOST_DIGITS = 15


def session_of(row: Row) -> SessionRow:
    return SessionRow._make(row)


async def find_session(db: Transaction, user_key: UUID, ref: str) -> SessionRow:
    """The session that a caller names by id or number. Raises SessionNotFound."""
    row = await look_up_session(db, user_key, ref)
    if row is None:
        raise SessionNotFound(ref)
    return row


async def look_up_session(db: Transaction, user_key: UUID, ref: str) -> SessionRow | None:
    if ref.startswith("#"):
        digits = ref[1:]
        if not (digits.isascii() and digits.isdigit()) or len(digits) > _MOST_DIGITS:
            return None
        row = await db.one(f"{_SESSIONS} s.number = %s", (user_key, int(digits)))
    else:
        row = await db.one(f"{_SESSIONS} s.session_id = %s", (user_key, ref))
    return None if row is None else session_of(row)


async def sessions_by_key(db: Transaction, user_key: UUID, keys: Sequence[int]) -> list[SessionRow]:
    """In the order of the keys; those that are gone are left out."""
    rows = await db.all(f"{_SESSIONS} s.session_key = ANY(%s::bigint[])", (user_key, list(keys)))
    found = {session.session_key: session for session in map(session_of, rows)}
    return [found[key] for key in keys if key in found]


async def session_by_key(db: Transaction, user_key: UUID, key: int) -> SessionRow:
    row: Any = await db.one(f"{_SESSIONS} s.session_key = %s", (user_key, key))
    return session_of(row)


async def lineage(db: Transaction, user_key: UUID, session: SessionRow) -> list[Stretch]:
    """Where a session's messages lie, newest stretch first: its own, then what it shares with its parents."""
    stretches = []
    row, high = session, NEWEST
    while True:
        low = row.fork_seq if row.parent_key is not None and row.fork_seq is not None else 0
        stretches.append(Stretch(row.session_key, row.number, min(low, high), high))
        if row.parent_key is None:
            return stretches
        high = min(high, low)
        row = await session_by_key(db, user_key, row.parent_key)
