"""Rows as a recording adds them. What a run adds goes in together: a statement costs more than the row it inserts."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from .. import PreparedRun
from ..meeting import Way
from ..recording.ground import Past, Rows, RunRow
from ..rows import SessionRow, pack_id
from . import index
from .ground import OnFile
from .redacting import note
from .rows import look_up_session, session_by_key


class Writing(OnFile):
    """Sessions and runs, and all that is added to them."""

    def __init__(self, db: sqlite3.Connection, user_key: int) -> None:
        super().__init__(db, user_key)
        self._message_key = 0
        self._run_key = 0
        self._has_graves: bool | None = None

    # Sessions

    async def session(self, ref: str) -> Past | None:
        row = look_up_session(self.db, self.user_key, ref)
        return None if row is None else self._past(row)

    async def session_by_key(self, session_key: int) -> Past:
        return self._past(session_by_key(self.db, session_key))

    def _past(self, row: SessionRow) -> Past:
        rows = self.db.execute(_PAST, (row.session_key, row.session_key)).fetchall()
        ways = [Way(source or row.source, bool(imported)) for _, source, imported in rows if imported is not None]
        return Past(row, rows[0][0] or 0, ways)

    def add_session(
        self, session_id: str, run: PreparedRun, *, created_at: int, updated_at: int, last_activity_at: int
    ) -> SessionRow:
        key = new_key(
            self.db.execute(
                "INSERT INTO sessions (user_key, session_id, number, title, project, source, agent, created_at, "
                "updated_at, last_activity_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.user_key, pack_id(session_id), next_number(self.db, self.user_key), run.title, run.project,
                    run.source, run.agent, created_at, updated_at, last_activity_at,
                ),
            )
        )  # fmt: skip
        return session_by_key(self.db, key)

    def update_session(self, session_key: int, columns: Mapping[str, Any]) -> None:
        self._update("session", session_key, columns)

    def add_way(self, session_key: int, stored_source: str, imported: int) -> None:
        self.db.execute(
            "INSERT OR IGNORE INTO session_ways (session_key, source, imported) VALUES (?, ?, ?)",
            (session_key, stored_source, imported),
        )

    async def is_buried(self, tombstones: Iterable[tuple[str, bytes]], newest_at: int) -> bool:
        if self._has_graves is None:
            found = self.db.execute("SELECT 1 FROM tombstones WHERE user_key = ? LIMIT 1", (self.user_key,)).fetchone()
            self._has_graves = found is not None
        return self._has_graves and any(
            self.db.execute(
                "SELECT 1 FROM tombstones WHERE user_key = ? AND source = ? AND digest = ? "
                "AND (said_before IS NULL OR ? < said_before)",
                (self.user_key, source, digest, newest_at),
            ).fetchone()
            for source, digest in tombstones
        )

    def note_secrets(self, kinds: Mapping[str, int], at: int) -> None:
        note(self.db, self.user_key, kinds, at)

    # Runs

    def add_run(self, row: RunRow, columns: Mapping[str, Any]) -> None:
        parent = columns["parent_run_id"]
        self._insert(
            "runs",
            {
                "run_key": row.run_key,
                "user_key": self.user_key,
                "session_key": row.session_key,
                "run_id": pack_id(row.run_id),
                "run_index": row.run_index,
                **columns,
                "parent_run_id": None if parent is None else pack_id(parent),
            },
        )

    def update_run(self, run_key: int, columns: Mapping[str, Any], opening: bytes | None) -> None:
        self._update("run", run_key, columns, ", opening = coalesce(opening, ?)", opening)

    # What runs add

    def insert(self, rows: Rows) -> None:
        for statement, waiting in (
            (_MESSAGES, rows.messages), (_CALLS, rows.calls), (_MEDIA, rows.media), (_SHOWN, rows.shown),
            (_DIGESTS, rows.digests),
        ):  # fmt: skip
            if waiting:
                self.db.executemany(statement, waiting)
                waiting.clear()
        if rows.entries:
            index.add_all(self.db, [(key, *content) for key, _, _, _, content in rows.entries])
            rows.entries.clear()

    def answer(self, call_key: int, status: str, result_key: int | None, duration_ms: int | None) -> None:
        self.db.execute(
            "UPDATE tool_calls SET status = ?, result_key = ?, duration_ms = ? WHERE call_key = ?",
            (status, result_key, duration_ms, call_key),
        )

    def give_message(self, call_key: int, message_key: int) -> None:
        self.db.execute(
            "UPDATE tool_calls SET message_key = ?, ordinal = 0 WHERE call_key = ?", (message_key, call_key)
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


_PAST = (
    "SELECT u.covered, w.source, w.imported "
    "FROM (SELECT max(last_seq) AS covered FROM summaries WHERE session_key = ?) AS u "
    "LEFT JOIN session_ways AS w ON w.session_key = ?"
)
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
