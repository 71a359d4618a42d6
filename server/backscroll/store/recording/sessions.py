"""The sessions of one recording: each that it touches is read once and written once, however many runs come."""

from typing import Any

from ...ids import uuid7
from .. import PreparedRun
from ..meeting import Way
from ..rows import dump, load, maybe_ms, to_ms, unpack_id
from .ground import Ground, Past


class OpenSession:
    """A session's own row while runs are added to it: `row` is how it was, the rest how it is by now."""

    __slots__ = (
        "agent", "covered", "has_changed", "history_messages", "is_new", "last_activity_at", "last_message_key",
        "last_run_index", "last_seq", "messages", "metadata", "metrics", "opening", "row", "runs", "session_id",
        "session_key", "source", "state", "system_digest", "title", "tool_calls", "updated_at", "user_key", "ways",
    )  # fmt: skip

    def __init__(self, past: Past, session_id: str, *, is_new: bool) -> None:
        row = past.row
        self.row = row
        self.session_id = session_id
        self.is_new = is_new
        self.has_changed = False
        self.session_key, self.source = row.session_key, row.source
        self.user_key: Any = row.user_key
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
        self.covered, self.ways = past.covered, past.ways

    @property
    def handle(self) -> str:
        return self.row.handle

    def columns(self) -> dict[str, Any]:
        """What a recording may change of it."""
        return {
            "title": self.title,
            "opening": self.opening,
            "agent": self.agent,
            "state": dump(self.state),
            "metadata": dump(self.metadata),
            "metrics": dump(self.metrics),
            "messages": self.messages,
            "history_messages": self.history_messages,
            "runs": self.runs,
            "tool_calls": self.tool_calls,
            "last_seq": self.last_seq,
            "last_run_index": self.last_run_index,
            "last_message_key": self.last_message_key,
            "system_digest": self.system_digest,
            "updated_at": self.updated_at,
            "last_activity_at": self.last_activity_at,
        }


class Sessions:
    """Those that one user's recording has open. `finish` writes what changed."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._open: dict[int, OpenSession] = {}
        self._keys: dict[str, int] = {}

    def finish(self) -> None:
        for session in self._open.values():
            if session.has_changed:
                self._ground.update_session(session.session_key, session.columns())

    async def named(self, ref: str) -> OpenSession | None:
        """The session that an id or `#12` names."""
        if ref in self._keys:
            return self._open[self._keys[ref]]
        past = await self._ground.session(ref)
        return None if past is None else self._opened(past, ref)

    async def by_key(self, key: int) -> OpenSession:
        return self._open.get(key) or self._opened(await self._ground.session_by_key(key), None)

    def new(self, run: PreparedRun) -> OpenSession:
        now = to_ms(run.recorded_at)
        started = maybe_ms(run.started_at) or next((to_ms(m.created_at) for m in run.messages if m.created_at), now)
        session_id = run.session_id or uuid7()
        row = self._ground.add_session(
            session_id, run, created_at=min(started, now), updated_at=now, last_activity_at=started
        )
        return self._opened(Past(row, 0, []), session_id, is_new=True)

    def _opened(self, past: Past, ref: str | None, *, is_new: bool = False) -> OpenSession:
        key = past.row.session_key
        session = self._open.get(key)
        if session is None:
            session = OpenSession(past, unpack_id(past.row.session_id), is_new=is_new)
            self._open[key] = session
            self._keys[session.session_id] = key
        if ref is not None:
            self._keys[ref] = key
        return session


def note_way(ground: Ground, session: OpenSession, way: Way) -> None:
    if way not in session.ways:
        session.ways.append(way)
        ground.add_way(session.session_key, stored_source(session.source, way.source), int(way.imported))


def stored_source(own: str, source: str) -> str:
    """A source as the rows of a session have it: its own is empty there."""
    return "" if source == own else source


def newest_at(run: PreparedRun) -> int:
    """When the last of it was said; 0 where nothing tells."""
    said = [to_ms(message.created_at) for message in run.messages if message.created_at]
    return max([*said, maybe_ms(run.ended_at) or 0, maybe_ms(run.started_at) or 0])
