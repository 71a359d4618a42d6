"""Which sessions are to be deleted, in which order, and about how much each of them takes."""

import json
import sqlite3

from ..choices import Chosen, Wanted
from ..choosing import Named, Started, children_of, forks_first, taken_from
from ..rows import unpack_id
from .rows import find_user

BYTES_PER_TEXT = 1.45
BYTES_PER_MESSAGE = 400
BYTES_PER_CALL = 100
"""What a session takes for each byte it says, each message and each call, the index and its run included: measured
on the talk of the benchmarks, where it is right within a tenth."""


def choose(db: sqlite3.Connection, user_id: str, wanted: Wanted, *, with_sizes: bool) -> list[Chosen]:
    """Oldest activity first, but forks before what they are forks of, so that each can go by itself."""
    user_key = find_user(db, user_id)
    if user_key is None:
        return []
    forks = _forks(db, user_key)
    measured = with_sizes or wanted.over_bytes is not None
    taken = taken_from(
        _matching(db, user_key, wanted),
        _sub_agents(db, user_key),
        wanted.over_bytes,
        (lambda key: size_of(db, key)) if measured else None,
    )
    return [
        _chosen(db, key, taken[key], [fork for fork in forks.get(key, ()) if fork not in taken])
        for key in forks_first(taken, forks)
    ]


def _matching(db: sqlite3.Connection, user_key: int, wanted: Wanted) -> list[int]:
    clauses, values = ["user_key = :user"], {"user": user_key, "source": wanted.source, "before": wanted.before}
    if wanted.projects is not None:
        clauses.append("project IN (SELECT value FROM json_each(:projects))")
        values["projects"] = json.dumps(wanted.projects)
    if wanted.source is not None:
        clauses.append("source = :source")
    if wanted.before is not None:
        clauses.append("last_activity_at < :before")
    found = db.execute(
        f"SELECT session_key FROM sessions WHERE {' AND '.join(clauses)} ORDER BY last_activity_at, session_key", values
    )
    return [key for (key,) in found]


def _sub_agents(db: sqlite3.Connection, user_key: int) -> dict[int, list[int]]:
    """The sessions of agents by the session that started them."""
    started = db.execute(
        "SELECT session_key, source, json_extract(metadata, '$.parent_session_id') FROM sessions "
        "WHERE user_key = ? AND parent_key IS NULL AND instr(metadata, 'parent_session_id')",
        (user_key,),
    ).fetchall()
    if not started:
        return {}
    mine = db.execute("SELECT session_key, session_id, source FROM sessions WHERE user_key = ?", (user_key,))
    return children_of(
        [Started(*row) for row in started], (Named(key, unpack_id(name), source) for key, name, source in mine)
    )


def _forks(db: sqlite3.Connection, user_key: int) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for key, parent in db.execute(
        "SELECT session_key, parent_key FROM sessions WHERE user_key = ? AND parent_key IS NOT NULL", (user_key,)
    ):
        found.setdefault(parent, []).append(key)
    return found


def _chosen(db: sqlite3.Connection, key: int, size_bytes: int, forks: list[int]) -> Chosen:
    number, title, project, source, runs, messages, last_activity_at = db.execute(
        "SELECT number, coalesce(title, opening, '(untitled)'), project, source, runs, messages - history_messages, "
        "last_activity_at FROM sessions WHERE session_key = ?",
        (key,),
    ).fetchone()
    numbers = db.execute(
        "SELECT number FROM sessions WHERE session_key IN (SELECT value FROM json_each(?)) ORDER BY number",
        (json.dumps(forks),),
    )
    return Chosen(
        key, number, title, project, source, runs, messages, last_activity_at, size_bytes, tuple(n for (n,) in numbers)
    )


def size_of(db: sqlite3.Connection, key: int) -> int:
    """About what a session takes in the file, with its part of the search index and its media."""
    messages, said = db.execute(
        "SELECT count(*), total(length(CAST(text AS BLOB)) + coalesce(length(CAST(reasoning AS BLOB)), 0) "
        "+ coalesce(length(CAST(payload AS BLOB)), 0)) FROM messages WHERE session_key = ?",
        (key,),
    ).fetchone()
    calls, asked = db.execute(
        "SELECT count(*), total(length(CAST(arguments AS BLOB))) FROM tool_calls WHERE session_key = ?", (key,)
    ).fetchone()
    (shown,) = db.execute(
        "SELECT total(size_bytes) FROM media WHERE media_key IN (SELECT mm.media_key FROM messages AS m "
        "JOIN message_media AS mm ON mm.message_key = m.message_key WHERE m.session_key = ?)",
        (key,),
    ).fetchone()
    return int(BYTES_PER_TEXT * (said + asked) + BYTES_PER_MESSAGE * messages + BYTES_PER_CALL * calls + shown)
