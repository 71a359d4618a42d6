"""How users, sessions and their parts are looked up."""

import sqlite3

from ...errors import SessionNotFound
from ..rows import NEWEST, SessionRow, Stretch, pack_id

SESSION_COLUMNS = ", ".join(
    "(SELECT p.number FROM sessions AS p WHERE p.session_key = s.parent_key)"
    if name == "parent_number"
    else f"s.{name}"
    for name in SessionRow._fields
)


def find_user(db: sqlite3.Connection, user_id: str) -> int | None:
    row = db.execute("SELECT user_key FROM users WHERE user_id = ?", (user_id,)).fetchone()
    return None if row is None else int(row[0])


def find_session(db: sqlite3.Connection, user_id: str, ref: str) -> SessionRow:
    """The session that a caller names by id or number. Raises SessionNotFound."""
    user_key = find_user(db, user_id)
    row = None if user_key is None else look_up_session(db, user_key, ref)
    if row is None:
        raise SessionNotFound(ref)
    return row


def look_up_session(db: sqlite3.Connection, user_key: int, ref: str) -> SessionRow | None:
    if ref.startswith("#"):
        digits = ref[1:]
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
            return None
        where, value = "s.number = ?", int(digits)
        row = db.execute(
            f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = ? AND {where}", (user_key, value)
        ).fetchone()
    else:
        row = db.execute(
            f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = ? AND s.session_id = ?",
            (user_key, pack_id(ref)),
        ).fetchone()
    return None if row is None else SessionRow._make(row)


def session_by_key(db: sqlite3.Connection, session_key: int) -> SessionRow:
    row = db.execute(f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.session_key = ?", (session_key,)).fetchone()
    return SessionRow._make(row)


def lineage(db: sqlite3.Connection, session: SessionRow) -> list[Stretch]:
    """Where a session's messages lie, newest stretch first: its own, then what it shares with its parents."""
    stretches = []
    row, high = session, NEWEST
    while True:
        low = row.fork_seq if row.parent_key is not None and row.fork_seq is not None else 0
        stretches.append(Stretch(row.session_key, row.number, min(low, high), high))
        if row.parent_key is None:
            return stretches
        high = min(high, low)
        row = session_by_key(db, row.parent_key)
