"""Full-text search: the index narrows by scope and ranks by BM25; rows confirm whose they are."""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from ...models import Message
from .. import FoundMessage, Search, SearchResult, Term
from ..indexing import (
    agent_token,
    bigrams,
    project_token,
    role_token,
    session_token,
    source_token,
    tool_token,
    unspaced_runs,
    user_token,
    without_unspaced,
)
from .messages import MESSAGE_COLUMNS, message_of
from .rows import WHOLE, SessionRow, find_session, find_user, lineage, look_up_session, to_ms, unpack_id

COUNT_CAP = 1_000
"""Matches are counted up to here; the answer then says `at least`."""

WEIGHTS = "1.0, 0.5, 0.0"
"""Of text, extra forms and scope: a scope token says nothing about relevance."""

_WORD = re.compile(r"\w+")


def search(db: sqlite3.Connection, user_id: str, wanted: Search) -> SearchResult:
    session = None if wanted.session is None else find_session(db, user_id, wanted.session)
    user_key = find_user(db, user_id)
    as_of = wanted.as_of
    if as_of is None:
        (as_of,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    match = match_expression(wanted.terms)
    if user_key is None or match is None:
        return SearchResult(None if session is None else session.value(), (), 0, False, as_of)
    scopes = [user_token(user_key)]
    clauses = ["search_index MATCH :match", "search_index.rowid <= :as_of", "s.user_key = :user"]
    values: dict[str, Any] = {"user": user_key, "as_of": as_of, "chars": WHOLE}
    sessions: list[str] = []
    if session is not None:
        sessions, clause = _within(db, session)
        clauses.append(clause)
    elif wanted.num_history_sessions is not None:
        keys = _newest_sessions(db, user_key, wanted.num_history_sessions, wanted.current_session)
        sessions = [session_token(key) for key in keys]
        if not sessions:
            return SearchResult(None, (), 0, False, as_of)
    if sessions:
        scopes.append(f"({' OR '.join(sessions)})")
    scopes.extend(_filters(wanted))
    for name, moment, operator in (("since", wanted.since, ">="), ("until", wanted.until, "<")):
        if moment is not None:
            clauses.append(f"m.created_at {operator} :{name}")
            values[name] = to_ms(moment)
    values["match"] = f"scope : ({' AND '.join(scopes)}) AND {{text forms}} : ({match})"
    tables = (
        "search_index JOIN messages AS m ON m.message_key = search_index.rowid "
        "JOIN sessions AS s ON s.session_key = m.session_key JOIN runs AS r ON r.run_key = m.run_key"
    )
    where = " AND ".join(clauses)
    (total,) = db.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {tables} WHERE {where} LIMIT {COUNT_CAP + 1})", values
    ).fetchone()
    shown = set(wanted.shown)
    ranked = db.execute(
        f"SELECT search_index.rowid FROM {tables} WHERE {where} "
        f"ORDER BY bm25(search_index, {WEIGHTS}), search_index.rowid DESC LIMIT :limit",
        {**values, "limit": wanted.limit + len(shown)},
    )
    keys = [key for (key,) in ranked if key not in shown][: wanted.limit]
    found = [_found(db, key) for key in keys]
    return SearchResult(
        None if session is None else session.value(),
        tuple(found),
        min(total, COUNT_CAP),
        total > COUNT_CAP,
        as_of,
    )


def match_expression(terms: Sequence[Term]) -> str | None:
    """Any of the terms, each quoted, so that nothing in them is an operator; None if none has a word."""
    parts = [part for term in terms if (part := _quoted(term.text)) is not None]
    return " OR ".join(dict.fromkeys(parts)) or None


def _quoted(text: str) -> str | None:
    spaced = [f'"{" ".join(words)}"' for words in [_WORD.findall(without_unspaced(text))] if words]
    unspaced = [f'"{bigrams(run)}"' + (" *" if len(run) == 1 else "") for run in unspaced_runs(text)]
    parts = spaced + unspaced
    return None if not parts else parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"


def _filters(wanted: Search) -> Iterable[str]:
    if wanted.role is not None:
        yield role_token(wanted.role)
    if wanted.tool_name is not None:
        yield tool_token(wanted.tool_name)
    if wanted.agent is not None:
        yield agent_token(wanted.agent)
    if wanted.project is not None:
        yield project_token(wanted.project)
    if wanted.source is not None:
        yield source_token(wanted.source)


def _within(db: sqlite3.Connection, session: SessionRow) -> tuple[list[str], str]:
    """Scope tokens and a clause for a session and what it shares with its parents."""
    stretches = lineage(db, session)
    inside = " OR ".join(
        f"(m.session_key = {s.session_key} AND m.seq > {s.low} AND m.seq <= {s.high})" for s in stretches
    )
    return [session_token(s.session_key) for s in stretches], f"({inside})"


def _newest_sessions(db: sqlite3.Connection, user_key: int, count: int, current: str | None) -> list[int]:
    excluded = None if current is None else look_up_session(db, user_key, current)
    rows = db.execute(
        "SELECT session_key FROM sessions WHERE user_key = ? AND session_key <> ? AND archived = 0 "
        "ORDER BY last_activity_at DESC, session_key DESC LIMIT ?",
        (user_key, -1 if excluded is None else excluded.session_key, count),
    )
    return [key for (key,) in rows]


def _found(db: sqlite3.Connection, message_key: int) -> FoundMessage:
    row = db.execute(
        f"SELECT {MESSAGE_COLUMNS}, s.number, s.session_id FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
        "JOIN sessions AS s ON s.session_key = m.session_key WHERE m.message_key = :key",
        {"key": message_key, "chars": WHOLE},
    ).fetchone()
    message: Message = message_of(db, row[:-2], row[-2], WHOLE)
    return FoundMessage(message_key, unpack_id(row[-1]), message)
