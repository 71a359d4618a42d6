"""An archive becomes a session again, with its rows as they were: one transaction a session."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

from ...errors import Conflict, InvalidArgument
from ..archive import (
    ArchivedCall,
    ArchivedMedia,
    ArchivedMessage,
    ArchivedRow,
    ArchivedRun,
    ArchivedSession,
    ArchivedSummary,
    Restored,
)
from . import index
from .changing import empty_session
from .recording import ensure_user, next_number
from .rows import (
    SessionRow,
    dump,
    lineage,
    load,
    look_up_session,
    maybe_dump,
    maybe_ms,
    pack_id,
    session_by_key,
    to_ms,
    unpack_id,
)


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
    elif db.execute("SELECT 1 FROM tombstones WHERE user_key = ? AND source = ? AND digest = ?", buried).fetchone():
        return Restored("deleted")
    runs, rest = _leading_runs(iter(rows))
    here = look_up_session(db, user_key, head.session_id)
    if here is not None and _holds_all(db, here, head, runs):
        return Restored("known", here.handle)
    parent = _parent(db, user_key, head)
    if here is None:
        key = _insert(db, user_key, head, keep_number=keep_number)
        intake = _Intake(db, user_key, key)
    else:
        parent_key = None if parent is None else parent.session_key
        if (here.parent_key, here.fork_seq) != (parent_key, head.fork_seq):
            raise _diverged(head.session_id)
        key = here.session_key
        intake = _Intake(db, user_key, key, said=_said(db, here))
        empty_session(db, here)
    for run in runs:
        intake.take_run(run)
    for row in rest:
        intake.take(row)
    if intake.said:
        raise _diverged(head.session_id)
    _finish(db, key, head, here, parent)
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
        raise Conflict(
            f"Session {head.session_id!r} is a fork of {head.forked_from!r}, which is not here with the messages that "
            "both share. Export the two together and import that."
        )
    return parent


# A session that is here already


class _Told(NamedTuple):
    role: str
    chars: int
    digest: bytes


def _told(role: str, text: str) -> _Told:
    return _Told(role, len(text), blake2b(text.encode(), digest_size=16).digest())


def _said(db: sqlite3.Connection, here: SessionRow) -> dict[int, _Told]:
    return {
        seq: _told(role, text)
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
    told = {run.run_id for run in runs}
    (summaries,) = db.execute("SELECT count(*) FROM summaries WHERE session_key = ?", (here.session_key,)).fetchone()
    newer = to_ms(head.updated_at) > here.updated_at or head.summaries > summaries
    if told <= known and head.last_seq <= here.last_seq:
        if told < known or head.last_seq < here.last_seq or not newer:
            return True
    elif not (known <= told and head.last_seq >= here.last_seq):
        raise _diverged(head.session_id)
    return False


def _diverged(session_id: str) -> Conflict:
    return Conflict(
        f"Session {session_id!r} is here and went on differently. It was left as it is here; to have the file's, "
        "import into another database, or delete this one and import with --restore."
    )


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


@dataclass(slots=True)
class _Intake:
    """The rows of one archive on their way in. `said` is what stood here before and has not come yet."""

    db: sqlite3.Connection
    user_key: int
    session_key: int
    said: dict[int, _Told] = field(default_factory=dict)
    _runs: dict[int, int] = field(default_factory=dict)
    _awaited: dict[int, list[int]] = field(default_factory=dict)

    def take_run(self, run: ArchivedRun) -> None:
        if self.db.execute(
            "SELECT 1 FROM runs WHERE user_key = ? AND run_id = ?", (self.user_key, pack_id(run.run_id))
        ).fetchone():
            raise Conflict(
                f"Run {run.run_id!r} is here in another session, so this one was left out. "
                "Delete that session first, or import into another database."
            )
        key = _new_key(
            self.db.execute(
                "INSERT INTO runs (user_key, session_key, run_id, run_index, parent_run_id, status, agent, model, "
                "metrics, metadata, first_seq, last_seq, started_at, ended_at, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.user_key, self.session_key, pack_id(run.run_id), run.run_index,
                    None if run.parent_run_id is None else pack_id(run.parent_run_id), run.status, run.agent,
                    run.model, maybe_dump(run.metrics), maybe_dump(run.metadata), run.first_seq, run.last_seq,
                    maybe_ms(run.started_at), maybe_ms(run.ended_at), to_ms(run.created_at),
                ),
            )
        )  # fmt: skip
        self._runs[run.run_index] = key
        for position, seq in run.dropped:
            self._note_digest(key, position, b"", seq, stored=False, is_system=False)

    def take(self, row: ArchivedRow) -> None:
        match row:
            case ArchivedMessage():
                self._take_message(row)
            case ArchivedCall():
                self._take_call(row, None, row.ordinal or 0, row.called_at, from_history=False)
            case ArchivedMedia():
                self._take_media(row)
            case ArchivedSummary():
                self._take_summary(row)
            case ArchivedRun() | ArchivedSession():
                raise InvalidArgument("An archive has one head, then its runs, then all else. Export it anew.")

    def _take_message(self, message: ArchivedMessage) -> None:
        self._compare(message)
        run_key = self._run_key(message.run_index)
        key = _new_key(
            self.db.execute(
                "INSERT INTO messages (session_key, run_key, seq, role, from_history, text, reasoning, tool_call_id, "
                "tool_name, is_error, payload, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.session_key, run_key, message.seq, message.role, int(message.from_history), message.text,
                    message.reasoning, message.tool_call_id, message.tool_name, int(message.is_error),
                    maybe_dump(message.payload), to_ms(message.created_at),
                ),
            )
        )  # fmt: skip
        if message.position is not None:
            is_system = message.role == "system"
            self._note_digest(run_key, message.position, message.digest, message.seq, stored=True, is_system=is_system)
        for ordinal, media_id in enumerate(message.media):
            if not self.db.execute(
                "INSERT INTO message_media (message_key, ordinal, media_key) "
                "SELECT ?, ?, media_key FROM media WHERE user_key = ? AND sha256 = ?",
                (key, ordinal, self.user_key, bytes.fromhex(media_id)),
            ).rowcount:
                raise InvalidArgument("An archive must hold the media of its messages before them. Export it anew.")
        for ordinal, call in enumerate(message.tool_calls):
            called_at = call.called_at or message.created_at
            self._take_call(call, key, ordinal, called_at, run_key=run_key, from_history=message.from_history)
        for call_key in self._awaited.pop(message.seq, ()):
            self.db.execute("UPDATE tool_calls SET result_key = ? WHERE call_key = ?", (key, call_key))

    def _compare(self, message: ArchivedMessage) -> None:
        """What stood here must come again; what an assistant said may have grown."""
        if (old := self.said.pop(message.seq, None)) is None:
            return
        may_grow = message.role == "assistant"
        told = _told(message.role, message.text[: old.chars] if may_grow else message.text)
        if told != old:
            raise Conflict(
                f"Message {message.seq} of the file's session is not what is here under the same ids. Nothing was "
                "changed; import into another database, or delete the one here and import with --restore."
            )

    def _take_call(
        self,
        call: ArchivedCall,
        message_key: int | None,
        ordinal: int,
        called_at: datetime | None,
        *,
        run_key: int | None = None,
        from_history: bool,
    ) -> None:
        if run_key is None:
            run_key = self._run_key(call.run_index)
        if called_at is None:
            raise InvalidArgument("A call without its message must tell when it was made. Export it anew.")
        result = None
        if call.result_seq is not None:
            result = self.db.execute(
                "SELECT message_key FROM messages WHERE session_key = ? AND seq = ?",
                (self.session_key, call.result_seq),
            ).fetchone()
        key = _new_key(
            self.db.execute(
                "INSERT INTO tool_calls (user_key, session_key, run_key, message_key, result_key, ordinal, "
                "tool_call_id, tool_name, arguments, status, duration_ms, called_at, from_history) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.user_key, self.session_key, run_key, message_key, None if result is None else result[0],
                    ordinal, call.tool_call_id, call.tool_name, call.arguments, call.status, call.duration_ms,
                    to_ms(called_at), int(from_history),
                ),
            )
        )  # fmt: skip
        if call.result_seq is not None and result is None:
            self._awaited.setdefault(call.result_seq, []).append(key)

    def _take_media(self, media: ArchivedMedia) -> None:
        self.db.execute(
            "INSERT INTO media (user_key, sha256, mime_type, size_bytes, data, url) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (user_key, sha256) DO NOTHING",
            (
                self.user_key, bytes.fromhex(media.media_id), media.mime_type, len(media.data or b""), media.data,
                media.url,
            ),
        )  # fmt: skip

    def _take_summary(self, summary: ArchivedSummary) -> None:
        # A version that was made here stays: it may be the agent's own words.
        self.db.execute(
            "INSERT INTO summaries (session_key, version, summary, topics, made_by, first_seq, last_seq, digest, "
            "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                self.session_key, summary.version, summary.summary, dump(list(summary.topics)), summary.made_by,
                summary.first_seq, summary.last_seq, bytes.fromhex(summary.digest), to_ms(summary.created_at),
            ),
        )  # fmt: skip

    def _note_digest(
        self, run_key: int, position: int, digest: bytes, seq: int, *, stored: bool, is_system: bool
    ) -> None:
        self.db.execute(
            "INSERT INTO digests (run_key, position, digest, seq, stored, is_system) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (run_key, position, digest, seq, int(stored), int(is_system)),
        )

    def _run_key(self, run_index: int | None) -> int:
        if run_index not in self._runs:
            raise InvalidArgument(f"An archive must hold run {run_index} before what it said. Export it anew.")
        return self._runs[run_index]


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


def _new_key(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid
