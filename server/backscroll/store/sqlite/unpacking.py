"""The rows of an archive go into their tables, each as it is."""

import sqlite3
from dataclasses import dataclass, field
from datetime import datetime

from ..archive import (
    ArchivedCall,
    ArchivedMedia,
    ArchivedMessage,
    ArchivedRow,
    ArchivedRun,
    ArchivedSession,
    ArchivedSummary,
)
from ..restoring import Told, compare, no_media, no_run, no_time, out_of_order, run_elsewhere
from ..rows import dump, maybe_dump, maybe_ms, pack_id, to_ms
from .writing import new_key


@dataclass(slots=True)
class Unpacking:
    """The rows of one archive on their way in. `said` is what stood here before and has not come yet."""

    db: sqlite3.Connection
    user_key: int
    session_key: int
    said: dict[int, Told] = field(default_factory=dict)
    _runs: dict[int, int] = field(default_factory=dict)
    _awaited: dict[int, list[int]] = field(default_factory=dict)

    def take_run(self, run: ArchivedRun) -> None:
        if self.db.execute(
            "SELECT 1 FROM runs WHERE user_key = ? AND run_id = ?", (self.user_key, pack_id(run.run_id))
        ).fetchone():
            raise run_elsewhere(run.run_id)
        key = new_key(
            self.db.execute(
                "INSERT INTO runs (user_key, session_key, run_id, run_index, parent_run_id, status, agent, model, "
                "metrics, metadata, first_seq, last_seq, started_at, ended_at, created_at, source, imported) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                "iif(?, (SELECT source NOT IN ('api', 'mcp') FROM sessions WHERE session_key = ?), ?))",
                (
                    self.user_key, self.session_key, pack_id(run.run_id), run.run_index,
                    None if run.parent_run_id is None else pack_id(run.parent_run_id), run.status, run.agent,
                    run.model, maybe_dump(run.metrics), maybe_dump(run.metadata), run.first_seq, run.last_seq,
                    maybe_ms(run.started_at), maybe_ms(run.ended_at), to_ms(run.created_at), run.source or "",
                    run.imported is None, self.session_key, run.imported,
                ),
            )
        )  # fmt: skip
        self._runs[run.run_index] = key
        self.db.executemany(
            "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (
                    self.user_key, pack_id(one.run_id), key, self.session_key, one.source, int(one.imported),
                    dump(one.metrics or {}), one.upto,
                )
                for one in run.tellings
            ],
        )  # fmt: skip
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
                raise out_of_order()

    def _take_message(self, message: ArchivedMessage) -> None:
        compare(self.said, message)
        run_key = self._run_key(message.run_index)
        key = new_key(
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
                raise no_media()
        for ordinal, call in enumerate(message.tool_calls):
            called_at = call.called_at or message.created_at
            self._take_call(call, key, ordinal, called_at, run_key=run_key, from_history=message.from_history)
        for call_key in self._awaited.pop(message.seq, ()):
            self.db.execute("UPDATE tool_calls SET result_key = ? WHERE call_key = ?", (key, call_key))

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
            raise no_time()
        result = None
        if call.result_seq is not None:
            result = self.db.execute(
                "SELECT message_key FROM messages WHERE session_key = ? AND seq = ?",
                (self.session_key, call.result_seq),
            ).fetchone()
        key = new_key(
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
            raise no_run(run_index)
        return self._runs[run_index]
