"""Sessions: one, the newest, lists of them, their summaries."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from ...models import Session, Summary
from .. import (
    Extent,
    SessionFilter,
    SessionsFound,
)
from ..rows import SUMMARY_COLUMNS, SessionRow, ascii_lower, maybe_from_ms, maybe_ms, pack_id, summary_of
from .rows import SESSION_COLUMNS, find_session, find_user, lineage, look_up_session


def session(db: sqlite3.Connection, user_id: str, ref: str) -> Session:
    return find_session(db, user_id, ref).value()


def extent(db: sqlite3.Connection, user_id: str) -> Extent:
    user_key = find_user(db, user_id)
    oldest, newest = db.execute(
        "SELECT min(created_at), max(last_activity_at) FROM sessions WHERE user_key = ?", (user_key,)
    ).fetchone()
    (stale,) = db.execute(
        "SELECT count(*) FROM sessions AS s WHERE s.user_key = ? AND s.last_seq > "
        "(SELECT max(u.last_seq) FROM summaries AS u WHERE u.session_key = s.session_key)",
        (user_key,),
    ).fetchone()
    return Extent(maybe_from_ms(oldest), maybe_from_ms(newest), stale)


def newest_session(db: sqlite3.Connection, user_id: str, project: str | None) -> Session | None:
    user_key = find_user(db, user_id)
    narrowed = "AND s.project = :project" if project is not None else ""
    row = db.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = :user {narrowed} AND s.archived = 0 "
        "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT 1",
        {"user": user_key, "project": project},
    ).fetchone()
    return None if row is None else SessionRow._make(row).value()


def sessions(
    db: sqlite3.Connection,
    user_id: str,
    where: SessionFilter,
    limit: int,
    after: tuple[int, int] | None,
    as_of: int | None,
    exclude: str | None,
) -> SessionsFound:
    """Newest activity first, as it was when the newest message of all was `as_of`.

    A session that has grown since is placed where it stood then; one that was made since is left out.
    """
    user_key = find_user(db, user_id)
    if as_of is None:
        (as_of,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    values: dict[str, Any] = {"user": user_key, "as_of": as_of, "limit": limit}
    clauses = ["s.user_key = :user"]
    if where.query is None or not where.query.strip():
        clauses.append("s.archived = 0")
    else:
        for i, word in enumerate(where.query.split()):
            clauses.append(
                f"instr(lower(coalesce(s.title, '') || ' ' || coalesce(s.opening, '') || ' ' || "
                f"coalesce(s.project, '') || ' #' || s.number || ' ' || CASE typeof(s.session_id) WHEN 'text' "
                f"THEN s.session_id ELSE lower(hex(s.session_id)) END), :q{i}) > 0"
            )
            values[f"q{i}"] = word.lower().replace("-", "") if _is_uuid(word) else ascii_lower(word)
    if where.project is not None:
        clauses.append("s.project = :project")
        values["project"] = where.project
    if where.source is not None:
        clauses.append("s.source = :source")
        values["source"] = where.source
    if exclude is not None and user_key is not None and (current := look_up_session(db, user_key, exclude)):
        clauses.append("s.session_key <> :exclude")
        values["exclude"] = current.session_key
    # The time of a session's newest message that existed then; its own column where nothing came since.
    activity = (
        "CASE WHEN s.last_message_key <= :as_of THEN s.last_activity_at ELSE "
        "(SELECT m.created_at FROM messages AS m WHERE m.session_key = s.session_key AND m.message_key <= :as_of "
        "ORDER BY m.seq DESC LIMIT 1) END"
    )
    for name, moment, operator in (("since", where.since, ">="), ("until", where.until, "<")):
        if moment is not None:
            time = "s.created_at" if where.overlapping and name == "until" else activity
            clauses.append(f"{time} {operator} :{name}")
            values[name] = maybe_ms(moment)
    clauses.append(f"{activity} IS NOT NULL")
    matching = " AND ".join(clauses)
    (total,) = db.execute(f"SELECT count(*) FROM sessions AS s WHERE {matching}", values).fetchone()
    if after is not None:
        matching += f" AND ({activity}, s.number) < (:after_at, :after_number)"
        values["after_at"], values["after_number"] = after
    # The index gives the order where nothing was added since.
    order = "s.last_activity_at" if _unchanged(db, user_key, as_of) else activity
    rows = db.execute(
        f"SELECT {activity}, {SESSION_COLUMNS} FROM sessions AS s WHERE {matching} "
        f"ORDER BY {order} DESC, s.number DESC LIMIT :limit",
        values,
    ).fetchall()
    found = tuple(SessionRow._make(row[1:]).value() for row in rows)
    return SessionsFound(found, tuple(row[0] for row in rows), total, as_of)


def _unchanged(db: sqlite3.Connection, user_key: int | None, as_of: int) -> bool:
    """Whether none of the user's sessions has grown since: then the index gives the order."""
    row = db.execute(
        "SELECT 1 FROM sessions WHERE user_key = ? AND last_message_key > ? LIMIT 1", (user_key, as_of)
    ).fetchone()
    return row is None


def _is_uuid(word: str) -> bool:
    return isinstance(pack_id(word.lower()), bytes)


def previews(db: sqlite3.Connection, user_id: str, found: Sequence[Session]) -> list[tuple[str | None, str | None]]:
    user_key = find_user(db, user_id)
    answers: list[tuple[str | None, str | None]] = []
    for one in found:
        row = None if user_key is None else look_up_session(db, user_key, one.session)
        if row is None:
            answers.append((one.opening, None))
            continue
        last = None
        for stretch in lineage(db, row):
            last = db.execute(
                "SELECT substr(text, 1, 1000) FROM messages WHERE session_key = ? AND seq > ? AND seq <= ? "
                "AND role = 'assistant' AND text <> '' ORDER BY seq DESC LIMIT 1",
                (stretch.session_key, stretch.low, stretch.high),
            ).fetchone()
            if last is not None:
                break
        answers.append((one.opening, None if last is None else last[0]))
    return answers


def titles(db: sqlite3.Connection, user_id: str, typed: str, limit: int) -> list[Session]:
    user_key = find_user(db, user_id)
    pattern = ascii_lower(typed.strip())
    rows = db.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = :user AND (:typed = '' "
        "OR instr('#' || s.number, :typed) = 1 OR CAST(s.number AS TEXT) = :typed "
        "OR instr(lower(coalesce(s.title, s.opening, '')), :typed) > 0 "
        "OR CASE typeof(s.session_id) WHEN 'text' THEN instr(lower(s.session_id), :typed) "
        "ELSE instr(lower(hex(s.session_id)), :uuid) END = 1) "
        "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT :limit",
        {"user": user_key, "typed": pattern, "uuid": pattern.replace("-", ""), "limit": limit},
    ).fetchall()
    return [SessionRow._make(row).value() for row in rows]


def summarized_sessions(db: sqlite3.Connection, user_id: str, limit: int) -> list[Session]:
    rows = db.execute(
        # Driven from the summaries, which are fewer than the sessions.
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE +s.user_key = ? AND s.archived = 0 "
        "AND s.session_key IN (SELECT session_key FROM summaries) "
        "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT ?",
        (find_user(db, user_id), limit),
    ).fetchall()
    return [SessionRow._make(row).value() for row in rows]


def latest_summary(db: sqlite3.Connection, session: SessionRow) -> Summary | None:
    row = db.execute(
        f"SELECT {SUMMARY_COLUMNS} FROM summaries WHERE session_key = ? ORDER BY version DESC LIMIT 1",
        (session.session_key,),
    ).fetchone()
    return None if row is None else summary_of(row, session.last_seq)


def summary(db: sqlite3.Connection, user_id: str, ref: str) -> Summary | None:
    return latest_summary(db, find_session(db, user_id, ref))
