"""What the store takes and gives: prepared runs, filters and windows, and what was found."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..models import (
    Message,
    NewToolCall,
    Role,
    Run,
    RunStatus,
    Session,
    Summary,
    ToolCall,
)
from .arrival import Arrived

SessionRef = str
"""A session as callers name it: its id, or `#12`."""


@dataclass(frozen=True, slots=True)
class PreparedMedia:
    sha256: bytes
    mime_type: str
    size_bytes: int
    data: bytes | None
    url: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    """A message ready to be stored: scrubbed, its digest taken before. `kept` is False where policy drops it."""

    arrived: Arrived
    role: Role
    text: str
    reasoning: str
    media: tuple[PreparedMedia, ...]
    tool_calls: tuple[NewToolCall, ...]
    tool_call_id: str | None
    tool_name: str | None
    is_error: bool
    duration_ms: int | None
    payload: str | None
    created_at: datetime | None
    kept: bool = True
    media_scrubbed: int = 0


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run ready to be stored. `metrics` of an `estimated` run were counted, not told."""

    messages: tuple[PreparedMessage, ...]
    session_id: str | None
    run_id: str | None
    parent_run_id: str | None
    status: RunStatus
    agent: str | None
    model: str | None
    title: str | None
    project: str | None
    source: str
    metrics: dict[str, Any]
    metadata: dict[str, Any] | None
    session_metadata: dict[str, Any] | None
    state: dict[str, Any] | None
    started_at: datetime | None
    ended_at: datetime | None
    recorded_at: datetime
    store_history: bool = False
    imported: bool = False
    tombstone: bytes | None = None
    """For imports: the keyed digest of the session's id. A deleted session is left deleted."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a PreparedRun. `skipped_deleted` when a tombstone stood in its way."""

    session_id: str
    session: str
    run_id: str
    run_index: int
    created: bool = False
    duplicate: bool = False
    recorded: int = 0
    tool_calls: int = 0
    history: int = 0
    scrubbed_media: int = 0
    scrubbed_tool_messages: int = 0
    scrubbed_history: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    suspected_repeat: bool = False
    skipped_deleted: bool = False
    uncovered: int = 0
    """Messages that no summary covers yet."""


@dataclass(frozen=True, slots=True)
class SessionFilter:
    query: str | None = None
    project: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionsFound:
    """`as_of` is the point in time that later pages hand back; `total` counts all that match.

    `activity` are the times (UTC ms) by which the sessions are in order, as they were at `as_of`.
    """

    sessions: tuple[Session, ...]
    activity: tuple[int, ...]
    total: int
    as_of: int


@dataclass(frozen=True, slots=True)
class ChatWindow:
    """Which messages, and from where. Exactly one of `before`, `start` and `around` may be set.

    `before`: the newest below that seq. `start`: from that seq on. `around`: both sides of it.
    None of them: the newest. `as_of` hides what is newer than that seq.
    """

    num_history_runs: int | None = None
    agent: str | None = None
    include_tool_messages: bool = True
    unique: bool = True
    before: int | None = None
    start: int | None = None
    around: int | None = None
    as_of: int | None = None
    max_messages: int = 500
    max_chars: int = 100_000
    """Of all texts together; at least one message comes back, at most this long."""


@dataclass(frozen=True, slots=True)
class ChatSlice:
    """Messages in reading order. `older` and `newer` tell whether there are more on that side."""

    session: Session
    messages: tuple[Message, ...]
    older: bool
    newer: bool
    total: int
    as_of: int


@dataclass(frozen=True, slots=True)
class CallWindow:
    session: SessionRef | None = None
    tool_name: str | None = None
    query: str | None = None
    status: str | None = None
    after: tuple[int, int] | None = None
    """Continue below this (time, key) of a call."""
    as_of: int | None = None
    limit: int = 10
    max_chars: int = 20_000


@dataclass(frozen=True, slots=True)
class CallsFound:
    """Newest first. `keys` are the calls' positions for a cursor; `total` counts all that match."""

    session: Session | None
    calls: tuple[ToolCall, ...]
    keys: tuple[tuple[int, int], ...]
    total: int
    as_of: int


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase, as said. Nothing in it is an operator."""

    text: str


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for and where. Filters narrow before ranking; `num_history_sessions` before the rest."""

    terms: tuple[Term, ...]
    session: SessionRef | None = None
    num_history_sessions: int | None = None
    current_session: str | None = None
    role: str | None = None
    tool_name: str | None = None
    agent: str | None = None
    project: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 10
    shown: tuple[int, ...] = ()
    as_of: int | None = None


@dataclass(frozen=True, slots=True)
class FoundMessage:
    key: int
    session_id: str
    message: Message


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Best first. `total` is exact up to a cap; beyond it `capped` is set and `total` is the cap."""

    session: Session | None
    found: tuple[FoundMessage, ...]
    total: int
    capped: bool
    as_of: int


@dataclass(frozen=True, slots=True)
class ContextSlice:
    session: Session
    summary: Summary | None
    runs: tuple[tuple[Run, tuple[Message, ...]], ...]
    older_runs: int


@dataclass(frozen=True, slots=True)
class Forked:
    session: Session
    forked_from: Session
    fork_seq: int


@dataclass(frozen=True, slots=True)
class Deleted:
    session: Session
    rows: dict[str, int]
    rare_words: tuple[str, ...]
    """Words that only the deleted text held, for the search of the file's bytes after a purge."""


@dataclass(frozen=True, slots=True)
class ImportState:
    path: str
    host: str
    file_id: str
    size_bytes: int
    modified_ns: int
    offset: int
    kept: int
    skipped: dict[str, int]
    failed: tuple[tuple[int, str], ...]
    settled: dict[str, Any] = field(default_factory=dict)
    """Of the counts above, those of the lines before `offset`, which will not be read again."""
