"""One transaction that records runs: each session it touches is read once and written once, however many runs come.

What a run adds waits as rows and goes in together, since a statement costs more than the row it inserts.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from ...ids import uuid7
from .. import PreparedRun
from ..indexing import Entry
from ..meeting import Way
from ..rows import SessionRow, dump, load, maybe_ms, pack_id, to_ms, unpack_id
from . import index
from .rows import look_up_session, session_by_key

Row = tuple[Any, ...]


@dataclass(slots=True)
class Rows:
    """What a run adds. Calls are lists: a result that comes along may still answer one."""

    messages: list[Row] = field(default_factory=list)
    calls: list[list[Any]] = field(default_factory=list)
    media: list[Row] = field(default_factory=list)
    shown: list[Row] = field(default_factory=list)
    entries: list[tuple[int, Entry]] = field(default_factory=list)
    digests: list[Row] = field(default_factory=list)

    def insert(self, db: sqlite3.Connection) -> None:
        """Insert and forget them."""
        for statement, rows in (
            (_MESSAGES, self.messages), (_CALLS, self.calls), (_MEDIA, self.media), (_SHOWN, self.shown),
            (_DIGESTS, self.digests),
        ):  # fmt: skip
            if rows:
                db.executemany(statement, rows)
                rows.clear()
        if self.entries:
            index.add_all(db, self.entries)
            self.entries.clear()


_MESSAGES = (
    "INSERT INTO messages (message_key, session_key, run_key, seq, role, from_history, text, reasoning, tool_call_id, "
    "tool_name, is_error, payload, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CALLS = (
    "INSERT INTO tool_calls (user_key, session_key, run_key, message_key, ordinal, tool_call_id, tool_name, arguments, "
    "called_at, from_history, status, result_key, duration_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MEDIA = (
    "INSERT INTO media (user_key, sha256, mime_type, size_bytes, data, url) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (user_key, sha256) DO NOTHING"
)
_SHOWN = (
    "INSERT INTO message_media (message_key, ordinal, media_key) "
    "SELECT ?, ?, media_key FROM media WHERE user_key = ? AND sha256 = ?"
)
_DIGESTS = "INSERT INTO digests (run_key, position, digest, seq, stored, is_system) VALUES (?, ?, ?, ?, ?, ?)"


class OpenSession:
    """A session's own row while runs are added to it: `row` is how it was, the rest how it is by now."""

    __slots__ = (
        "agent", "covered", "has_changed", "history_messages", "is_new", "last_activity_at", "last_message_key",
        "last_run_index", "last_seq", "messages", "metadata", "metrics", "opening", "row", "runs", "session_id",
        "session_key", "source", "state", "system_digest", "title", "tool_calls", "updated_at", "user_key", "ways",
    )  # fmt: skip

    def __init__(self, db: sqlite3.Connection, row: SessionRow, session_id: str, *, is_new: bool) -> None:
        self.row = row
        self.session_id = session_id
        self.is_new = is_new
        self.has_changed = False
        self.session_key, self.user_key, self.source = row.session_key, row.user_key, row.source
        self.title, self.opening, self.agent = row.title, row.opening, row.agent
        self.state: dict[str, Any] = load(row.state)
        self.metadata: dict[str, Any] = load(row.metadata)
        self.metrics: dict[str, Any] = load(row.metrics)
        self.messages, self.history_messages = row.messages, row.history_messages
        self.runs, self.tool_calls = row.runs, row.tool_calls
        self.last_seq, self.last_run_index, self.last_message_key = (
            row.last_seq,
            row.last_run_index,
            row.last_message_key,
        )
        self.system_digest = row.system_digest
        self.updated_at, self.last_activity_at = row.updated_at, row.last_activity_at
        self.covered = 0 if is_new else _covered(db, row.session_key)
        self.ways = [] if is_new else ways_of(db, row)

    @property
    def handle(self) -> str:
        return self.row.handle

    def write(self, db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE sessions SET title = ?, opening = ?, agent = ?, state = ?, metadata = ?, metrics = ?, "
            "messages = ?, history_messages = ?, runs = ?, tool_calls = ?, last_seq = ?, last_run_index = ?, "
            "last_message_key = ?, system_digest = ?, updated_at = ?, last_activity_at = ? WHERE session_key = ?",
            (
                self.title, self.opening, self.agent, dump(self.state), dump(self.metadata), dump(self.metrics),
                self.messages, self.history_messages, self.runs, self.tool_calls, self.last_seq, self.last_run_index,
                self.last_message_key, self.system_digest, self.updated_at, self.last_activity_at, self.session_key,
            ),
        )  # fmt: skip


class Writing:
    """One user's recording in one transaction. `finish` writes what waits."""

    def __init__(self, db: sqlite3.Connection, user_key: int) -> None:
        self.db = db
        self.user_key = user_key
        self._sessions: dict[int, OpenSession] = {}
        self._keys: dict[str, int] = {}
        self._message_key = 0
        self._run_key = 0
        self._has_graves: bool | None = None

    def finish(self) -> None:
        for session in self._sessions.values():
            if session.has_changed:
                session.write(self.db)

    # Sessions

    def session(self, ref: str) -> OpenSession | None:
        """The session that an id or `#12` names."""
        if ref in self._keys:
            return self._sessions[self._keys[ref]]
        row = look_up_session(self.db, self.user_key, ref)
        return None if row is None else self._opened(row, ref)

    def session_by_key(self, key: int) -> OpenSession:
        return self._sessions.get(key) or self._opened(session_by_key(self.db, key), None)

    def new_session(self, run: PreparedRun) -> OpenSession:
        now = to_ms(run.recorded_at)
        started = maybe_ms(run.started_at) or next((to_ms(m.created_at) for m in run.messages if m.created_at), now)
        session_id = run.session_id or uuid7()
        key = new_key(
            self.db.execute(
                "INSERT INTO sessions (user_key, session_id, number, title, project, source, agent, created_at, "
                "updated_at, last_activity_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.user_key, pack_id(session_id), next_number(self.db, self.user_key), run.title, run.project,
                    run.source, run.agent, min(started, now), now, started,
                ),
            )
        )  # fmt: skip
        return self._opened(session_by_key(self.db, key), session_id, is_new=True)

    def _opened(self, row: SessionRow, ref: str | None, *, is_new: bool = False) -> OpenSession:
        session = self._sessions.get(row.session_key)
        if session is None:
            session = OpenSession(self.db, row, unpack_id(row.session_id), is_new=is_new)
            self._sessions[row.session_key] = session
            self._keys[session.session_id] = row.session_key
        if ref is not None:
            self._keys[ref] = row.session_key
        return session

    def note_way(self, session: OpenSession, way: Way) -> None:
        if way not in session.ways:
            session.ways.append(way)
            self.db.execute(
                "INSERT OR IGNORE INTO session_ways (session_key, source, imported) VALUES (?, ?, ?)",
                (session.session_key, stored_source(session.source, way.source), int(way.imported)),
            )

    def is_buried(self, run: PreparedRun) -> bool:
        """Whether a session that this run would bring back was deleted."""
        if self._has_graves is None:
            found = self.db.execute("SELECT 1 FROM tombstones WHERE user_key = ? LIMIT 1", (self.user_key,)).fetchone()
            self._has_graves = found is not None
        if not self._has_graves:
            return False
        newest_at = _newest_at(run)
        return any(
            self.db.execute(
                "SELECT 1 FROM tombstones WHERE user_key = ? AND source = ? AND digest = ? "
                "AND (said_before IS NULL OR ? < said_before)",
                (self.user_key, source, digest, newest_at),
            ).fetchone()
            for source, digest in run.tombstones
        )

    # Keys. Nobody else gives any while the transaction lasts.

    def next_message_key(self) -> int:
        if not self._message_key:
            # Of an AUTOINCREMENT table: a key is never given twice, be its message deleted.
            row = self.db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
            self._message_key = 0 if row is None else int(row[0])
        self._message_key += 1
        return self._message_key

    def next_run_key(self) -> int:
        if not self._run_key:
            (newest,) = self.db.execute("SELECT max(run_key) FROM runs").fetchone()
            self._run_key = newest or 0
        self._run_key += 1
        return self._run_key


def _newest_at(run: PreparedRun) -> int:
    """When the last of it was said; 0 where nothing tells."""
    said = [to_ms(message.created_at) for message in run.messages if message.created_at]
    return max([*said, maybe_ms(run.ended_at) or 0, maybe_ms(run.started_at) or 0])


def stored_source(own: str, source: str) -> str:
    """A source as the rows of a session have it: its own is empty there."""
    return "" if source == own else source


def ways_of(db: sqlite3.Connection, session: SessionRow) -> list[Way]:
    """In which ways the runs of a session came."""
    return [
        Way(source or session.source, bool(imported))
        for source, imported in db.execute(
            "SELECT source, imported FROM session_ways WHERE session_key = ?", (session.session_key,)
        )
    ]


def next_number(db: sqlite3.Connection, user_key: int) -> int:
    row = db.execute(
        "UPDATE users SET last_number = last_number + 1 WHERE user_key = ? RETURNING last_number", (user_key,)
    ).fetchall()
    return int(row[0][0])


def new_key(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _covered(db: sqlite3.Connection, session_key: int) -> int:
    """The last message that a summary covers."""
    (last_seq,) = db.execute("SELECT max(last_seq) FROM summaries WHERE session_key = ?", (session_key,)).fetchone()
    return last_seq or 0
