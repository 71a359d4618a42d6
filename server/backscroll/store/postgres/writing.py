"""Rows as a recording adds them: they wait, and go in together."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from .. import PreparedRun
from ..recording.ground import Past, Rows, RunRow
from ..rows import SessionRow
from .database import Ask
from .foreseeing import past_of, session_named, session_of_key, tombstones_among
from .ground import OnServer
from .index import Entered


class Adding(OnServer):
    """Sessions and runs, and all that is added to them."""

    # Sessions

    async def session(self, ref: str) -> Past | None:
        if ref in self._known.sessions:
            return self._known.sessions[ref]
        (rows,) = await self._together(session_named(self.user_key, ref))
        return past_of(rows)

    async def session_by_key(self, session_key: int) -> Past:
        (rows,) = await self._together(session_of_key(self.user_key, session_key))
        past = past_of(rows)
        assert past is not None
        return past

    def add_session(
        self, session_id: str, run: PreparedRun, *, created_at: int, updated_at: int, last_activity_at: int
    ) -> SessionRow:
        row = SessionRow(
            session_key=self.writing.next_key("session"),
            user_key=self.user_key,
            session_id=session_id,
            number=self.writing.next_key("number"),
            title=run.title,
            renamed=0,
            opening=None,
            project=run.project,
            source=run.source,
            agent=run.agent,
            state="{}",
            metadata="{}",
            metrics="{}",
            archived=0,
            parent_key=None,
            parent_number=None,
            fork_seq=None,
            messages=0,
            history_messages=0,
            runs=0,
            tool_calls=0,
            last_seq=0,
            last_run_index=0,
            last_message_key=0,
            system_digest=None,
            summary_error=None,
            created_at=created_at,
            updated_at=updated_at,
            last_activity_at=last_activity_at,
        )
        self._tell(
            "INSERT INTO sessions (user_key, session_key, session_id, number, title, project, source, agent, "
            "created_at, updated_at, last_activity_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            self.user_key, row.session_key, session_id, row.number, row.title, row.project, row.source, row.agent,
            created_at, updated_at, last_activity_at,
        )  # fmt: skip
        return row

    def update_session(self, session_key: int, columns: Mapping[str, Any]) -> None:
        self._update("session", session_key, columns)

    def add_way(self, session_key: int, stored_source: str, imported: int) -> None:
        self._tell(
            "INSERT INTO session_ways (user_key, session_key, source, imported) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            self.user_key, session_key, stored_source, imported,
        )  # fmt: skip

    async def is_buried(self, tombstones: Iterable[tuple[str, bytes]], newest_at: int) -> bool:
        buried = self._known.buried
        if buried is None:
            (rows,) = await self._together(tombstones_among(self.user_key, list(tombstones)))
            buried = {(source, digest): said_before for source, digest, said_before in rows}
        return any(said_before is None or newest_at < said_before for said_before in buried.values())

    def note_secrets(self, kinds: Mapping[str, int], at: int) -> None:
        self._tell_each(
            "INSERT INTO redactions (user_key, kind, count, redacted_at) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (user_key, kind) DO UPDATE SET count = redactions.count + excluded.count, "
            "redacted_at = greatest(redactions.redacted_at, excluded.redacted_at)",
            [(self.user_key, kind, count, at) for kind, count in kinds.items()],
        )

    # Runs

    def add_run(self, row: RunRow, columns: Mapping[str, Any]) -> None:
        columns = {
            "user_key": self.user_key,
            "run_key": row.run_key,
            "session_key": row.session_key,
            "run_id": row.run_id,
            "run_index": row.run_index,
            **columns,
        }
        self._tell(
            f"INSERT INTO runs ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", *columns.values()
        )

    def update_run(self, run_key: int, columns: Mapping[str, Any], opening: bytes | None) -> None:
        self._update("run", run_key, columns, ", opening = coalesce(opening, %s)", opening)

    # What runs add

    def next_message_key(self) -> int:
        return self.writing.next_key("message")

    def next_run_key(self) -> int:
        return self.writing.next_key("run")

    def insert(self, rows: Rows) -> None:
        user = self.user_key
        if rows.messages:
            self._tell_each(_MESSAGES, [(user, *row) for row in rows.messages])
            rows.messages.clear()
        if rows.calls:
            first = self.writing.next_key("call", len(rows.calls))
            self._tell_each(_CALLS, [(key, *row) for key, row in enumerate(rows.calls, start=first)])
            self._known.pending.clear()
            rows.calls.clear()
        if rows.media:
            first = self.writing.next_key("media", len(rows.media))
            self._tell_each(_MEDIA, [(key, *row) for key, row in enumerate(rows.media, start=first)])
            rows.media.clear()
        if rows.shown:
            self._tell_each(_SHOWN, rows.shown[:])
            rows.shown.clear()
        if rows.digests:
            self._tell_each(_DIGESTS, [(user, *row) for row in rows.digests])
            rows.digests.clear()
        self._entries += (Entered(*one) for one in rows.entries)
        rows.entries.clear()

    def answer(self, call_key: int, status: str, result_key: int | None, duration_ms: int | None) -> None:
        self._known.pending.clear()
        self._tell(
            "UPDATE tool_calls SET status = %s, result_key = %s, duration_ms = %s "
            "WHERE user_key = %s AND call_key = %s",
            status, result_key, duration_ms, self.user_key, call_key,
        )  # fmt: skip

    def give_message(self, call_key: int, message_key: int) -> None:
        self._known.pending.clear()
        self._tell(
            "UPDATE tool_calls SET message_key = %s, ordinal = 0 WHERE user_key = %s AND call_key = %s",
            message_key, self.user_key, call_key,
        )  # fmt: skip


def newest_pause(user_key: UUID) -> Ask:
    """Pauses do not overlap, so the last one is on, or none."""
    return Ask("SELECT since, until FROM pauses WHERE user_key = %s ORDER BY since DESC LIMIT 1", (user_key,))


_MESSAGES = (
    "INSERT INTO messages (user_key, message_key, session_key, run_key, seq, role, from_history, text, reasoning, "
    "tool_call_id, tool_name, is_error, payload, created_at) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_CALLS = (
    "INSERT INTO tool_calls (call_key, user_key, session_key, run_key, message_key, ordinal, tool_call_id, tool_name, "
    "arguments, called_at, from_history, status, result_key, duration_ms) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_MEDIA = (
    "INSERT INTO media (media_key, user_key, sha256, mime_type, size_bytes, data, url) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (user_key, sha256) DO NOTHING"
)
_SHOWN = (
    "INSERT INTO message_media (user_key, message_key, ordinal, media_key) SELECT m.user_key, %s::bigint, %s::bigint, "
    "m.media_key FROM media AS m WHERE m.user_key = %s AND m.sha256 = %s"
)
_DIGESTS = (
    "INSERT INTO digests (user_key, run_key, position, digest, seq, stored, is_system) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
