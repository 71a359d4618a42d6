"""Where a search looks: filters that are lexemes, and what only columns tell."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from ...errors import SessionNotFound
from .. import Search
from ..indexing import session_token
from ..rows import SessionRow, Stretch, to_ms
from ..scoping import any_of, filter_tokens
from .database import Ask, Database, Row
from .rows import lineage_of, named, session_asked, session_told


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: tokens that narrow in the index, and conditions on `m`, an entry or a message."""

    user_key: UUID
    tokens: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)


class Told(NamedTuple):
    """What was looked up first: the session that is named, the scope (None: filters leave no session)."""

    session: SessionRow | None
    scope: Scope | None


async def scope_of(database: Database, user_key: UUID, wanted: Search) -> Told:
    """One round trip where sessions are to be looked up, else none. Raises SessionNotFound."""
    tokens: list[str] = []
    clauses: list[str] = []
    session: SessionRow | None = None
    if wanted.session is not None:
        one = named(user_key, wanted.session)
        lines = Ask(
            f"WITH RECURSIVE {lineage_of(one.where)} SELECT session_key, number, low, high FROM line ORDER BY depth",
            one.values,
        )
        found, stretches = await database.fetch(session_asked(one), lines)
        session = session_told(found, wanted.session)
        tokens.append(any_of(session_token(row[0]) for row in stretches))
        clauses += _shared(stretches)
    elif wanted.num_history_sessions is not None:
        (rows,) = await database.fetch(_newest_sessions(user_key, wanted))
        if not rows:
            return Told(None, None)
        tokens.append(any_of(session_token(key) for (key,) in rows))
    tokens.extend(filter_tokens(wanted))
    values: dict[str, Any] = {}
    for name, moment, operator in (("since", wanted.since, ">="), ("until", wanted.until, "<")):
        if moment is not None:
            clauses.append(f"m.created_at {operator} %({name})s")
            values[name] = to_ms(moment)
    return Told(session, Scope(user_key, tuple(tokens), tuple(clauses), values))


def _shared(rows: list[Row]) -> list[str]:
    """Of a fork's parents only a part is meant; a session of its own is all in its token."""
    stretches = [Stretch(*row) for row in rows]
    if len(stretches) < 2:
        return []
    inside = " OR ".join(
        f"(m.session_key = {one.session_key} AND m.seq > {one.low} AND m.seq <= {one.high})" for one in stretches
    )
    return [f"({inside})"]


def _newest_sessions(user_key: UUID, wanted: Search) -> Ask:
    values: dict[str, Any] = {"user": user_key, "count": wanted.num_history_sessions}
    others = ""
    if wanted.current_session is not None:
        try:
            current = named(user_key, wanted.current_session)
        except SessionNotFound:
            pass
        else:
            others = f" AND NOT ({current.where})"
            values |= current.values
    return Ask(
        f"SELECT s.session_key FROM sessions AS s WHERE s.user_key = %(user)s AND s.archived = 0{others} "
        "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT %(count)s",
        values,
    )
