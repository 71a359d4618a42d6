"""The rows of an archive go into their tables, each as it is, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..archive import (
    ArchivedCall,
    ArchivedMedia,
    ArchivedMessage,
    ArchivedRow,
    ArchivedRun,
    ArchivedSession,
    ArchivedSummary,
)
from ..meeting import RECORDERS
from ..restoring import Told, compare, no_media, no_run, no_time, out_of_order, run_elsewhere
from ..rows import dump, maybe_dump, maybe_ms, to_ms
from .database import Row, Writing

_RUNS = (
    "INSERT INTO runs (user_key, run_key, session_key, run_id, run_index, parent_run_id, status, agent, model, "
    "metrics, metadata, first_seq, last_seq, started_at, ended_at, created_at, source, imported) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_TELLINGS = (
    "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_DIGESTS = (
    "INSERT INTO digests (user_key, run_key, position, digest, seq, stored, is_system) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_MEDIA = (
    "INSERT INTO media (user_key, media_key, sha256, mime_type, size_bytes, data, url) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (user_key, sha256) DO NOTHING"
)
_MESSAGES = (
    "INSERT INTO messages (user_key, message_key, session_key, run_key, seq, role, from_history, text, reasoning, "
    "tool_call_id, tool_name, is_error, payload, created_at) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_CALLS = (
    "INSERT INTO tool_calls (user_key, call_key, session_key, run_key, message_key, ordinal, tool_call_id, tool_name, "
    "arguments, status, duration_ms, called_at, from_history) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_SHOWN = "INSERT INTO message_media (user_key, message_key, ordinal, media_key) VALUES (%s, %s, %s, %s)"
# A version that was made here stays: it may be the agent's own words.
_SUMMARIES = (
    "INSERT INTO summaries (user_key, session_key, version, summary, topics, made_by, first_seq, last_seq, digest, "
    "created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_RESULTS = (
    "UPDATE tool_calls AS c SET result_key = m.message_key "
    "FROM unnest(%s::bigint[], %s::bigint[]) AS told (call_key, seq), messages AS m "
    "WHERE c.user_key = %s AND c.call_key = told.call_key "
    "AND m.user_key = %s AND m.session_key = %s AND m.seq = told.seq"
)


@dataclass(slots=True)
class Unpacking:
    """The rows of one archive on their way in. `said` is what stood here before and has not come yet."""

    db: Writing
    session_key: int
    source: str
    said: dict[int, Told] = field(default_factory=dict)
    _runs: dict[int, int] = field(default_factory=dict)
    _media: dict[str, int] = field(default_factory=dict)
    _messages: list[Row] = field(default_factory=list)
    _calls: list[Row] = field(default_factory=list)
    _shown: list[tuple[int, int, str]] = field(default_factory=list)
    _digests: list[Row] = field(default_factory=list)
    _answered: list[tuple[int, int]] = field(default_factory=list)
    """Calls by key, and the seq of the result of each."""

    async def take_runs(self, runs: Sequence[ArchivedRun]) -> None:
        """Raises Conflict where one of them is here in another session."""
        known = await self.db.all(
            "SELECT run_id FROM runs WHERE user_key = %s AND run_id = ANY(%s::text[]) ORDER BY run_index LIMIT 1",
            (self.db.user_key, [run.run_id for run in runs]),
        )
        if known:
            raise run_elsewhere(known[0][0])
        first = self.db.next_key("run", len(runs))
        keys = range(first, first + len(runs))
        self._runs.update((run.run_index, key) for run, key in zip(runs, keys, strict=True))
        await self.db.many(_RUNS, [self._run(run, key) for run, key in zip(runs, keys, strict=True)])
        for run, key in zip(runs, keys, strict=True):
            self._digests += [self._digest(key, position, b"", seq) for position, seq in run.dropped]
        tellings = [
            (
                self.db.user_key, one.run_id, key, self.session_key, one.source, int(one.imported),
                dump(one.metrics or {}), one.upto,
            )
            for run, key in zip(runs, keys, strict=True)
            for one in run.tellings
        ]  # fmt: skip
        if tellings:
            await self.db.many(_TELLINGS, tellings)

    async def take(self, rows: Sequence[ArchivedRow]) -> None:
        for row in rows:
            match row:
                case ArchivedMessage():
                    self._take_message(row)
                case ArchivedCall():
                    self._take_call(row, None, row.ordinal or 0, row.called_at, from_history=False)
                case ArchivedMedia():
                    # Not kept until the page is full: each may be as large as a page.
                    await self._take_media(row)
                case ArchivedSummary():
                    await self._take_summary(row)
                case ArchivedRun() | ArchivedSession():
                    raise out_of_order()
        await self._insert()

    async def finish(self) -> None:
        """Results that stand before their calls, or in another page."""
        while self._answered:
            some, self._answered = self._answered[:10_000], self._answered[10_000:]
            keys, seqs = [key for key, _ in some], [seq for _, seq in some]
            await self.db.run(_RESULTS, (keys, seqs, self.db.user_key, self.db.user_key, self.session_key))

    def _run(self, run: ArchivedRun, key: int) -> Row:
        imported = self.source not in RECORDERS if run.imported is None else run.imported
        return (
            self.db.user_key, key, self.session_key, run.run_id, run.run_index, run.parent_run_id, run.status,
            run.agent, run.model, maybe_dump(run.metrics), maybe_dump(run.metadata), run.first_seq, run.last_seq,
            maybe_ms(run.started_at), maybe_ms(run.ended_at), to_ms(run.created_at), run.source or "", int(imported),
        )  # fmt: skip

    def _digest(self, run_key: int, position: int, digest: bytes, seq: int, *, is_system: bool | None = None) -> Row:
        """`is_system` is None for a message that was not stored."""
        return (self.db.user_key, run_key, position, digest, seq, int(is_system is not None), int(bool(is_system)))

    def _take_message(self, message: ArchivedMessage) -> None:
        compare(self.said, message)
        run_key, key = self._run_key(message.run_index), self.db.next_key("message")
        self._messages.append(
            (
                self.db.user_key, key, self.session_key, run_key, message.seq, message.role,
                int(message.from_history), message.text, message.reasoning, message.tool_call_id, message.tool_name,
                int(message.is_error), maybe_dump(message.payload), to_ms(message.created_at),
            )
        )  # fmt: skip
        if message.position is not None:
            is_system = message.role == "system"
            self._digests.append(
                self._digest(run_key, message.position, message.digest, message.seq, is_system=is_system)
            )
        self._shown += [(key, ordinal, media_id) for ordinal, media_id in enumerate(message.media)]
        for ordinal, call in enumerate(message.tool_calls):
            called_at = call.called_at or message.created_at
            self._take_call(call, key, ordinal, called_at, run_key=run_key, from_history=message.from_history)

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
        key = self.db.next_key("call")
        self._calls.append(
            (
                self.db.user_key, key, self.session_key, run_key, message_key, ordinal, call.tool_call_id,
                call.tool_name, call.arguments, call.status, call.duration_ms, to_ms(called_at), int(from_history),
            )
        )  # fmt: skip
        if call.result_seq is not None:
            self._answered.append((key, call.result_seq))

    async def _take_media(self, media: ArchivedMedia) -> None:
        digest = bytes.fromhex(media.media_id)
        key = self.db.next_key("media")
        await self.db.run(
            _MEDIA,
            (self.db.user_key, key, digest, media.mime_type, len(media.data or b""), media.data, media.url),
        )

    async def _take_summary(self, summary: ArchivedSummary) -> None:
        await self.db.run(
            _SUMMARIES,
            (
                self.db.user_key, self.session_key, summary.version, summary.summary, dump(list(summary.topics)),
                summary.made_by, summary.first_seq, summary.last_seq, bytes.fromhex(summary.digest),
                to_ms(summary.created_at),
            ),
        )  # fmt: skip

    async def _insert(self) -> None:
        """Insert what waits and forget it."""
        shown = await self._media_shown()
        waiting: list[tuple[str, list[Any]]] = [
            (_MESSAGES, self._messages),
            (_CALLS, self._calls),
            (_SHOWN, shown),
            (_DIGESTS, self._digests),
        ]
        for statement, rows in waiting:
            if rows:
                await self.db.many(statement, rows)
                rows.clear()

    async def _media_shown(self) -> list[Row]:
        """What shows which medium, by its key. Raises InvalidArgument where one is not here."""
        shown, self._shown = self._shown, []
        wanted = list({media_id for _, _, media_id in shown if media_id not in self._media})
        if wanted:
            found = await self.db.all(
                "SELECT sha256, media_key FROM media WHERE user_key = %s AND sha256 = ANY(%s::bytea[])",
                (self.db.user_key, [bytes.fromhex(media_id) for media_id in wanted]),
            )
            self._media.update((digest.hex(), key) for digest, key in found)
            if any(media_id not in self._media for media_id in wanted):
                raise no_media()
        return [(self.db.user_key, key, ordinal, self._media[media_id]) for key, ordinal, media_id in shown]

    def _run_key(self, run_index: int | None) -> int:
        if run_index not in self._runs:
            raise no_run(run_index)
        return self._runs[run_index]
