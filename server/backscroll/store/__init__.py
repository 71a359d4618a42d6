"""What Backscroll asks of a database. SqliteStore answers it.

Each method is one transaction and names the user first: another user's rows are not found. Text
comes back as it was handed in: a store never scrubs. Where a method takes `max_chars`, text longer
than that comes back as its first part, and `text_chars` tells the whole length.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ..models import (
    Media,
    Message,
    NewToolCall,
    Role,
    Run,
    RunStatus,
    Session,
    StoredMedia,
    Summary,
    ToolCall,
)
from .archive import ArchivedRow, ArchivedSession, Restored
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


class Store(Protocol):
    async def close(self) -> None: ...

    # Writing

    async def record(self, user_id: str, runs: Sequence[PreparedRun]) -> list[Recorded]:
        """Store whole runs, all of them or none, and tell what was new in each.

        Raises Conflict (a known run with other messages or another session), SessionNotFound (`#12`).
        """
        ...

    async def update_session(
        self,
        user_id: str,
        session: SessionRef,
        *,
        title: str | None,
        state: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        archived: bool | None,
    ) -> Session:
        """Merge `state` and `metadata` (RFC 7396), set what is not None."""
        ...

    async def fork_session(
        self,
        user_id: str,
        session: SessionRef,
        seq: int | None,
        *,
        new_session_id: str | None,
        title: str | None,
    ) -> Forked:
        """Continue a session from `seq` (its end by default) under another id; nothing is copied."""
        ...

    async def delete_session(self, user_id: str, session: SessionRef, *, forks: str) -> Deleted:
        """Delete with all that hangs on it and leave a tombstone. Raises Conflict if forks are in the way."""
        ...

    async def purge(self, words: Sequence[str]) -> dict[str, int]:
        """Rewrite index and file so that deleted text is in no page; return which `words` its bytes still hold."""
        ...

    async def lift_tombstone(self, user_id: str, source: str, digest: bytes) -> bool: ...

    async def save_summary(
        self,
        user_id: str,
        session: SessionRef,
        *,
        summary: str,
        topics: Sequence[str],
        made_by: str,
        last_seq: int | None,
    ) -> tuple[Session, Summary]:
        """Add a version that covers messages 1 to `last_seq` (the newest by default)."""
        ...

    async def save_summary_error(self, user_id: str, session: SessionRef, error: str | None) -> None: ...

    async def save_imports(self, user_id: str, states: Sequence[ImportState]) -> None:
        """Note how far files were read, replacing what was noted of them before."""
        ...

    async def restore_session(
        self,
        user_id: str,
        session: ArchivedSession,
        rows: Iterable[ArchivedRow],
        *,
        keep_number: bool,
        lift_tombstone: bool,
    ) -> Restored:
        """Take in an archived session with its rows as they are: its runs, then all else; all of it or nothing.

        Where the session is here already as an earlier state of the archive, what is new is added, and the
        title, state and metadata that were changed last stand. `keep_number`: under its own number if none
        here has it. A deleted one stays deleted unless `lift_tombstone`. `rows` are taken from the
        database's thread. Raises Conflict (it went on differently here, or its parent is not here), and
        whatever `rows` raise; nothing is changed then.
        """
        ...

    async def take_numbers(self, user_id: str, upto: int) -> int:
        """Move the counter of session numbers to `upto` at least; return where it stood: above that, all are free."""
        ...

    # Reading

    async def session(self, user_id: str, session: SessionRef) -> Session:
        """Raises SessionNotFound."""
        ...

    async def newest_session(self, user_id: str, project: str | None) -> Session | None: ...

    async def sessions(
        self,
        user_id: str,
        where: SessionFilter,
        *,
        limit: int,
        after: tuple[int, int] | None = None,
        as_of: int | None = None,
        exclude: str | None = None,
    ) -> SessionsFound:
        """Newest activity first. `after` is the (activity, number) of the last one shown."""
        ...

    async def previews(self, user_id: str, of: Sequence[Session]) -> list[tuple[str | None, str | None]]:
        """The opening and the last answer of each session."""
        ...

    async def chat(self, user_id: str, session: SessionRef, window: ChatWindow) -> ChatSlice: ...

    async def messages(
        self, user_id: str, session: SessionRef, *, agent: str | None = None, after: int = 0
    ) -> list[Message]:
        """All messages beyond seq `after` that were stored, history included, in order, whole."""
        ...

    async def text_of(
        self, user_id: str, session: SessionRef, seq: int, *, call: int | None, offset: int, max_chars: int
    ) -> tuple[Message, str, int, int]:
        """A message (its own text left out); `max_chars` from `offset` on of its text, or of a call's arguments;
        the whole length of that; and how many messages its session has. Raises MessageNotFound."""
        ...

    async def call_text(
        self, user_id: str, call_key: int, *, field: str, offset: int, max_chars: int
    ) -> tuple[ToolCall, str, int]:
        """A call, and a part of its `arguments` or `result`, and the length of the whole."""
        ...

    async def tool_calls(self, user_id: str, window: CallWindow) -> CallsFound: ...

    async def context(
        self, user_id: str, session: SessionRef, *, num_history_runs: int, agent: str | None, max_chars: int
    ) -> ContextSlice: ...

    async def runs(self, user_id: str, session: SessionRef) -> list[Run]: ...

    async def search(self, user_id: str, search: Search) -> SearchResult: ...

    async def summary(self, user_id: str, session: SessionRef) -> Summary | None: ...

    async def session_numbers(self, user_id: str) -> list[int]:
        """Of all the user's sessions, archived ones too, in order."""
        ...

    def archive(self, user_id: str, sessions: Sequence[SessionRef] | None) -> AsyncGenerator[list[ArchivedRow], None]:
        """Pages of rows of these sessions and of those they are forks of, or of all; as of one point in time.

        Each session is its head, its runs, its messages with media before them, its summaries; parents
        come before forks. Close the generator when you leave it early. Raises SessionNotFound.
        """
        ...

    async def media(self, user_id: str, media_id: str) -> StoredMedia:
        """Raises MediaNotFound."""
        ...

    async def summarized_sessions(self, user_id: str, limit: int) -> list[Session]:
        """Sessions that have a summary, newest activity first."""
        ...

    async def message(self, user_id: str, session: SessionRef, seq: int) -> Message:
        """One message, whole. Raises MessageNotFound."""
        ...

    async def titles(self, user_id: str, prefix: str, limit: int) -> list[Session]:
        """Sessions whose id, number or title matches what somebody began to type."""
        ...

    async def import_state(self, user_id: str, path: str) -> ImportState | None: ...

    async def tombstoned(self, user_id: str, source: str, digest: bytes) -> bool: ...

    # The store itself

    def tombstone_digest(self, source: str, session_id: str) -> bytes:
        """The keyed digest under which a deleted session is remembered."""
        ...

    async def digest_key(self) -> bytes:
        """The database's own key for digests and cursors."""
        ...

    async def data_version(self) -> int:
        """Changes whenever anything was committed, by any process."""
        ...

    async def counts(self, user_id: str) -> dict[str, int]: ...

    async def check(self) -> list[str]:
        """What is wrong with the file, its tables or its index, a line each; nothing when all is well."""
        ...

    async def rebuild_index(self) -> int: ...

    async def backup(self, target: str) -> None: ...


def media_of(prepared: PreparedMedia) -> Media:
    media_id = prepared.sha256.hex()
    return Media(
        media_id=media_id,
        mime_type=prepared.mime_type,
        size_bytes=prepared.size_bytes,
        uri=prepared.url or f"media://{media_id}",
    )
