"""An archive becomes a session again, with its rows as they were: one transaction a session."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain

from ..archive import (
    ArchivedRow,
    ArchivedRun,
    ArchivedSession,
    Restored,
)
from ..restoring import Told, diverged, holds_all, no_parent, told_of
from ..rows import SessionRow, dump, load, pack_id, to_ms, unpack_id
from . import index, meetings
from .deleting import empty_session
from .recording import ensure_user
from .rows import lineage, look_up_session, session_by_key
from .unpacking import Unpacking
from .writing import next_number


def restore(
    db: sqlite3.Connection,
    user_id: str,
    head: ArchivedSession,
    rows: Iterable[ArchivedRow],
    *,
    keep_number: bool,
    tombstone: bytes,
    lift_tombstone: bool,
) -> Restored:
    """Raises Conflict where what is here is no earlier state of what the archive holds, or no parent is here."""
    user_key = ensure_user(db, user_id)
    buried = (user_key, head.source, tombstone)
    if lift_tombstone:
        db.execute("DELETE FROM tombstones WHERE user_key = ? AND source = ? AND digest = ?", buried)
    elif db.execute(
        "SELECT 1 FROM tombstones WHERE user_key = ? AND source = ? AND digest = ? "
        "AND (said_before IS NULL OR ? < said_before)",
        (*buried, to_ms(head.last_activity_at)),
    ).fetchone():
        return Restored("deleted")
    runs, rest = _leading_runs(iter(rows))
    here = look_up_session(db, user_key, head.session_id)
    if here is not None and _holds_all(db, here, head, runs):
        return Restored("known", here.handle)
    parent = _parent(db, user_key, head)
    if here is None:
        key = _insert(db, user_key, head, keep_number=keep_number)
        intake = Unpacking(db, user_key, key)
    else:
        parent_key = None if parent is None else parent.session_key
        if (here.parent_key, here.fork_seq) != (parent_key, head.fork_seq):
            raise diverged(head.session_id)
        key = here.session_key
        intake = Unpacking(db, user_key, key, said=_said(db, here))
        empty_session(db, here)
    for run in runs:
        intake.take_run(run)
    for row in rest:
        intake.take(row)
    if intake.said:
        raise diverged(head.session_id)
    _finish(db, key, head, here, parent)
    meetings.note_restored(db, key)
    for indexed in index.entries_of_session(db, key):
        index.add(db, indexed.message_key, indexed.entry)
    now = session_by_key(db, key)
    before = (0, 0, 0) if here is None else (here.runs, here.messages, here.tool_calls)
    added = [new - old for new, old in zip((now.runs, now.messages, now.tool_calls), before, strict=True)]
    return Restored("restored" if here is None else "extended", now.handle, *added)


def take_numbers(db: sqlite3.Connection, user_id: str, upto: int) -> int:
    """Where the counter of session numbers stood, before it moved to `upto` at least."""
    user_key = ensure_user(db, user_id)
    (stood,) = db.execute("SELECT last_number FROM users WHERE user_key = ?", (user_key,)).fetchone()
    db.execute("UPDATE users SET last_number = max(last_number, ?) WHERE user_key = ?", (upto, user_key))
    return int(stood)


def _leading_runs(rows: Iterator[ArchivedRow]) -> tuple[list[ArchivedRun], Iterator[ArchivedRow]]:
    runs: list[ArchivedRun] = []
    for row in rows:
        if not isinstance(row, ArchivedRun):
            return runs, chain([row], rows)
        runs.append(row)
    return runs, rows


def _parent(db: sqlite3.Connection, user_key: int, head: ArchivedSession) -> SessionRow | None:
    if head.forked_from is None:
        return None
    parent = look_up_session(db, user_key, head.forked_from)
    if parent is None or parent.last_seq < (head.fork_seq or 0):
        raise no_parent(head)
    return parent


# A session that is here already


def _said(db: sqlite3.Connection, here: SessionRow) -> dict[int, Told]:
    return {
        seq: told_of(role, text)
        for seq, role, text in db.execute(
            "SELECT seq, role, text FROM messages WHERE session_key = ?", (here.session_key,)
        )
    }


def _holds_all(
    db: sqlite3.Connection,
    here: SessionRow,
    head: ArchivedSession,
    runs: list[ArchivedRun],
) -> bool:
    """Whether nothing in the archive is new here. Raises Conflict where each has what the other lacks."""
    known = {
        unpack_id(run_id)
        for (run_id,) in db.execute("SELECT run_id FROM runs WHERE session_key = ?", (here.session_key,))
    }
    (summaries,) = db.execute("SELECT count(*) FROM summaries WHERE session_key = ?", (here.session_key,)).fetchone()
    return holds_all(here, known, summaries, head, runs)


# Writing


def _insert(db: sqlite3.Connection, user_key: int, head: ArchivedSession, *, keep_number: bool) -> int:
    taken = db.execute("SELECT 1 FROM sessions WHERE user_key = ? AND number = ?", (user_key, head.number)).fetchone()
    number = head.number if keep_number and not taken else next_number(db, user_key)
    moment = to_ms(head.created_at)
    row = db.execute(
        "INSERT INTO sessions (user_key, session_id, number, source, created_at, updated_at, last_activity_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING session_key",
        (user_key, pack_id(head.session_id), number, head.source, moment, moment, moment),
    ).fetchall()
    return int(row[0][0])


def _finish(
    db: sqlite3.Connection,
    key: int,
    head: ArchivedSession,
    here: SessionRow | None,
    parent: SessionRow | None,
) -> None:
    """The session's own row, its counters counted from what came in."""
    renamed_here = here is not None and here.updated_at > to_ms(head.updated_at)
    title, archived = head.title, int(head.archived)
    state, metadata = head.state or {}, head.metadata or {}
    if here is not None and renamed_here:
        title, archived, state, metadata = here.title, here.archived, load(here.state), load(here.metadata)
    updated_at = to_ms(head.updated_at) if here is None else max(to_ms(head.updated_at), here.updated_at)
    db.execute(
        "UPDATE sessions SET title = ?, opening = ?, project = ?, source = ?, agent = ?, state = ?, metadata = ?, "
        "metrics = ?, archived = ?, parent_key = ?, fork_seq = ?, last_seq = ?, last_run_index = ?, created_at = ?, "
        "updated_at = ?, last_activity_at = ? WHERE session_key = ?",
        (
            title, head.opening, head.project, head.source, head.agent, dump(state), dump(metadata),
            dump(head.metrics or {}), archived, None if parent is None else parent.session_key, head.fork_seq,
            head.last_seq, head.last_run_index, to_ms(head.created_at), updated_at, to_ms(head.last_activity_at), key,
        ),
    )  # fmt: skip
    db.execute(
        "UPDATE sessions AS s SET "
        "messages = (SELECT count(*) FROM messages AS m WHERE m.session_key = s.session_key), history_messages = "
        "(SELECT count(*) FROM messages AS m WHERE m.session_key = s.session_key AND m.from_history), "
        "runs = (SELECT count(*) FROM runs AS r WHERE r.session_key = s.session_key), tool_calls = "
        "(SELECT count(*) FROM tool_calls AS c WHERE c.session_key = s.session_key AND NOT c.from_history), "
        "last_message_key = "
        "(SELECT coalesce(max(message_key), 0) FROM messages AS m WHERE m.session_key = s.session_key), "
        "last_seq = max(last_seq, "
        "(SELECT coalesce(max(seq), 0) FROM messages AS m WHERE m.session_key = s.session_key)), "
        "last_run_index = max(last_run_index, "
        "(SELECT coalesce(max(run_index), 0) FROM runs AS r WHERE r.session_key = s.session_key)), "
        "system_digest = ? WHERE session_key = ?",
        (_system_digest(db, session_by_key(db, key)), key),
    )


def _system_digest(db: sqlite3.Connection, session: SessionRow) -> bytes | None:
    """Of the newest system message, a fork's being its parent's until it has one of its own."""
    for stretch in lineage(db, session):
        row = db.execute(
            "SELECT d.digest FROM runs AS r JOIN digests AS d ON d.run_key = r.run_key "
            "WHERE r.session_key = ? AND d.is_system = 1 AND d.seq <= ? ORDER BY d.seq DESC LIMIT 1",
            (stretch.session_key, stretch.high),
        ).fetchone()
        if row is not None:
            return bytes(row[0])
    return None
