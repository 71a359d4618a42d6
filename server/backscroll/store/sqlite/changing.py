"""Sessions changed, forked and summed up, each in one transaction."""

import sqlite3
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from ...errors import Conflict, MessageNotFound
from ...ids import uuid7
from ...merge import merge_patch
from ...models import Session, Summary
from .. import Forked
from ..rows import SUMMARY_COLUMNS, SessionRow, dump, load, pack_id, summary_of
from .rows import find_session, lineage, look_up_session, session_by_key
from .writing import next_number


def update_session(
    db: sqlite3.Connection,
    user_id: str,
    ref: str,
    *,
    title: str | None,
    state: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
    archived: bool | None,
    now: int,
) -> Session:
    row = find_session(db, user_id, ref)
    db.execute(
        "UPDATE sessions SET title = coalesce(?, title), renamed = max(renamed, ?), state = coalesce(?, state), "
        "metadata = coalesce(?, metadata), archived = coalesce(?, archived), updated_at = ? WHERE session_key = ?",
        (
            title,
            int(title is not None),
            None if state is None else dump(merge_patch(load(row.state), state)),
            None if metadata is None else dump(merge_patch(load(row.metadata), metadata)),
            None if archived is None else int(archived),
            now,
            row.session_key,
        ),
    )
    return session_by_key(db, row.session_key).value()


def fork_session(
    db: sqlite3.Connection,
    user_id: str,
    ref: str,
    seq: int | None,
    *,
    new_session_id: str | None,
    title: str | None,
    now: int,
) -> Forked:
    parent = find_session(db, user_id, ref)
    if new_session_id is not None and look_up_session(db, parent.user_key, new_session_id):
        raise Conflict(f"A session {new_session_id!r} exists already. Choose another new_session_id, or leave it out.")
    if seq is not None and not 1 <= seq <= parent.last_seq:
        raise MessageNotFound(f"{parent.handle}.{seq}")
    cut = _end_of_tool_pair(db, parent, parent.last_seq if seq is None else seq)
    # A cut within the shared part hangs the fork on the row that holds the message.
    owner = next(s for s in lineage(db, parent) if s.low < cut or s.low == 0)
    held_by = session_by_key(db, owner.session_key)
    (last_index,) = db.execute(
        "SELECT coalesce(max(run_index), ?) FROM runs WHERE session_key = ? AND first_seq <= ?",
        (held_by.last_run_index if not held_by.runs else 0, held_by.session_key, cut),
    ).fetchone()
    (key,) = db.execute(
        "INSERT INTO sessions (user_key, session_id, number, title, opening, project, source, agent, state, metadata, "
        "parent_key, fork_seq, last_seq, last_run_index, system_digest, created_at, updated_at, last_activity_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING session_key",
        (
            parent.user_key, pack_id(new_session_id or uuid7()), next_number(db, parent.user_key), title,
            parent.opening, parent.project, parent.source, parent.agent, parent.state, parent.metadata,
            held_by.session_key, cut, cut, last_index, parent.system_digest, now, now, now,
        ),
    ).fetchall()[0]  # fmt: skip
    return Forked(session_by_key(db, key).value(), parent.value(), cut)


def _end_of_tool_pair(db: sqlite3.Connection, session: SessionRow, seq: int) -> int:
    """`seq`, or the last result of the calls made up to it: a cut never parts a call from its result."""
    cut = seq
    while True:
        ends = [
            db.execute(
                "SELECT max(f.seq) FROM messages AS m JOIN tool_calls AS c ON c.message_key = m.message_key "
                "JOIN messages AS f ON f.message_key = c.result_key AND f.session_key = m.session_key "
                "WHERE m.session_key = ? AND m.seq > ? AND m.seq <= ? AND m.role = 'assistant' AND f.seq > ?",
                (s.session_key, max(s.low, cut - 1_000), min(s.high, cut), cut),
            ).fetchone()[0]
            for s in lineage(db, session)
        ]
        end = max((end for end in ends if end is not None), default=cut)
        if end == cut:
            return cut
        cut = end


def save_summary(
    db: sqlite3.Connection,
    user_id: str,
    ref: str,
    *,
    summary: str,
    topics: Sequence[str],
    made_by: str,
    last_seq: int | None,
    now: int,
) -> tuple[Session, Summary]:
    session = find_session(db, user_id, ref)
    covered = session.last_seq if last_seq is None else min(last_seq, session.last_seq)
    row = db.execute(
        "INSERT INTO summaries (session_key, version, summary, topics, made_by, first_seq, last_seq, digest, "
        "created_at) "
        "VALUES (?, (SELECT coalesce(max(version), 0) + 1 FROM summaries WHERE session_key = ?), ?, ?, ?, ?, ?, ?, ?) "
        f"RETURNING {SUMMARY_COLUMNS}",
        (
            session.session_key, session.session_key, summary, dump(list(topics)), made_by, min(1, covered), covered,
            _digest_of_range(db, session, covered), now,
        ),
    ).fetchall()[0]  # fmt: skip
    db.execute("UPDATE sessions SET summary_error = NULL WHERE session_key = ?", (session.session_key,))
    return session.value(), summary_of(row, session.last_seq)


def _digest_of_range(db: sqlite3.Connection, session: SessionRow, last_seq: int) -> bytes:
    """One digest over the digests of messages 1 to `last_seq`: it tells what the summary was made from."""
    chained = blake2b(digest_size=16)
    for stretch in reversed(lineage(db, session)):
        for (digest,) in db.execute(
            "SELECT d.digest FROM runs AS r JOIN digests AS d ON d.run_key = r.run_key "
            "WHERE r.session_key = ? AND d.seq > ? AND d.seq <= ? AND d.stored ORDER BY d.seq",
            (stretch.session_key, stretch.low, min(stretch.high, last_seq)),
        ):
            chained.update(digest)
    return chained.digest()
