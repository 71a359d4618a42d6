"""Where a search looks: tokens of the index that narrow before ranking, and what only rows tell."""

import sqlite3
from dataclasses import dataclass
from typing import Any

from .. import Search
from ..indexing import session_token, user_token
from ..rows import SessionRow, to_ms
from ..scoping import any_of, filter_tokens
from .rows import lineage, look_up_session


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: tokens that narrow in the index, and what only rows tell."""

    user_key: int
    tokens: tuple[str, ...]
    clauses: tuple[str, ...]
    values: dict[str, Any]


def scope_of(db: sqlite3.Connection, user_key: int, wanted: Search, session: SessionRow | None) -> Scope | None:
    """None where the filters leave no session."""
    tokens = [] if _only_user(db) else [_own(db, user_key)]
    clauses: list[str] = []
    values: dict[str, Any] = {}
    if session is not None:
        stretches = lineage(db, session)
        tokens.append(any_of(session_token(stretch.session_key) for stretch in stretches))
        inside = " OR ".join(
            f"(m.session_key = {one.session_key} AND m.seq > {one.low} AND m.seq <= {one.high})" for one in stretches
        )
        # Of a fork's parents only a part is meant; a session of its own is all in its token.
        if len(stretches) > 1:
            clauses.append(f"({inside})")
    elif wanted.num_history_sessions is not None:
        keys = _newest_sessions(db, user_key, wanted.num_history_sessions, wanted.current_session)
        if not keys:
            return None
        tokens.append(any_of(map(session_token, keys)))
    tokens.extend(filter_tokens(wanted))
    for name, moment, operator in (("since", wanted.since, ">="), ("until", wanted.until, "<")):
        if moment is not None:
            clauses.append(f"m.created_at {operator} :{name}")
            values[name] = to_ms(moment)
    return Scope(user_key, tuple(tokens), tuple(clauses), values)


def _only_user(db: sqlite3.Connection) -> bool:
    """A file of one user needs no token of theirs: the longest list of all would be read along.

    Nobody counts as a user, for as long as somebody is buried.
    """
    return db.execute("SELECT 1 FROM users LIMIT 1 OFFSET 1").fetchone() is None


def _own(db: sqlite3.Connection, user_key: int) -> str:
    """All of the user's, but for what was deleted and is not out of the index yet (deleting.py)."""
    buried = [key for (key,) in db.execute("SELECT session_key FROM graves WHERE user_key = ?", (user_key,))]
    own = user_token(user_key)
    return f"({own} NOT {any_of(map(session_token, buried))})" if buried else own


def _newest_sessions(db: sqlite3.Connection, user_key: int, count: int, current: str | None) -> list[int]:
    excluded = None if current is None else look_up_session(db, user_key, current)
    rows = db.execute(
        "SELECT session_key FROM sessions WHERE user_key = ? AND session_key <> ? AND archived = 0 "
        "ORDER BY last_activity_at DESC, session_key DESC LIMIT ?",
        (user_key, -1 if excluded is None else excluded.session_key, count),
    )
    return [key for (key,) in rows]
