"""What the tools answer: pages of items that already fit their token budget, and receipts.

A page's field names are those of its JSON form. `nonce` marks the fence of its text form and
`coverage` is a line for the reader; neither is in the JSON.
"""

from typing import Any, Literal

from pydantic import Field

from .models import CallStatus, Media, Moment, Role, RunStatus, Session, Summary, Value
from .store.choices import Chosen

Format = Literal["text", "json"]


class Hit(Value):
    """One match. `session_id` stands here only where a page spans sessions.

    `before` is of the message before it, where the match alone makes little sense. `alike` other matches say
    the same; `also` names the first of them.
    """

    ref: str
    seq: int
    session_id: str | None = None
    run_id: str | None
    role: Role
    name: str | None = None
    snippet: str
    before: str | None = None
    also: tuple[str, ...] = ()
    alike: int = 0
    tool_name: str | None = None
    agent: str | None = None
    created_at: Moment
    tokens: int = 0


class SessionLine(Value):
    """A session in a list; `opening` and `last_answer` where previews were asked for."""

    session_id: str
    session: str
    title: str
    project: str | None = None
    source: str
    agent: str | None = None
    runs: int
    messages: int
    created_at: Moment
    last_activity_at: Moment
    archived: bool = False
    forked_from: str | None = None
    opening: str | None = None
    last_answer: str | None = None


class CallLine(Value):
    """A tool call as an assistant message lists it."""

    tool_call_id: str
    tool_name: str
    arguments: dict[str, Any] | str | None = None
    cut: str | None = None


class MessageLine(Value):
    """A message of a chat. `text` may be a part, from `offset` on; then `cut` says how to read on."""

    ref: str
    seq: int
    run_id: str | None
    role: Role
    text: str
    offset: int = 0
    tool_name: str | None = None
    tool_call_id: str | None = None
    status: CallStatus | None = None
    tool_calls: tuple[CallLine, ...] = ()
    media: tuple[Media, ...] = ()
    agent: str | None = None
    from_history: bool = False
    created_at: Moment | None
    cut: str | None = None


class Outcome(Value):
    """Where a call stands, and how it ended."""

    ref: str | None
    status: CallStatus


class ToolCallLine(Value):
    """A call with its result. `times` identical ones were found, if more than one: `outcomes` are the newest ones'."""

    ref: str | None = None
    seq: int | None = None
    session_id: str | None = None
    run_id: str | None = None
    tool_call_id: str
    tool_name: str
    arguments: dict[str, Any] | str | None = None
    result: str | None = None
    status: CallStatus
    error: str | None = None
    agent: str | None = None
    created_at: Moment | None = None
    duration_ms: int | None = None
    times: int | None = None
    outcomes: tuple[Outcome, ...] = ()
    cut: str | None = None
    result_cut: str | None = None


class RunLine(Value):
    run_id: str
    run_index: int
    status: RunStatus
    agent: str | None = None
    model: str | None = None
    started_at: Moment | None = None
    messages: tuple[MessageLine, ...] = ()


class Behind(Value):
    """What hosts have written and is not read yet: so many transcripts, so many bytes of them.

    `looking`: it is not known yet, since the transcripts are still being looked through.
    """

    transcripts: int = 0
    bytes: int = 0
    looking: bool = False


class Page(Value):
    """`behind` is told where an answer may lack what was said a moment ago."""

    notice: str = ""
    behind: Behind | None = None
    next_cursor: str | None = None
    nonce: str = Field(default="", exclude=True)
    coverage: str | None = Field(default=None, exclude=True)


class SearchPage(Page):
    """Hits, best first; or, without a query, `sessions` with previews, newest activity first.

    `note` tells what was searched for instead of words that nothing has.
    """

    session_id: str | None = None
    session: str | None = None
    hits: tuple[Hit, ...] | None = None
    sessions: tuple[SessionLine, ...] | None = None
    note: str | None = None
    total: int | None = None
    total_at_least: int | None = None
    remaining: int = Field(default=0, exclude=True)


class SessionPage(Page):
    sessions: tuple[SessionLine, ...]
    total: int


class ChatPage(Page):
    """Messages in reading order. `previous_cursor` leads to older ones, `next_cursor` to newer."""

    session_id: str | None
    session: str
    messages: tuple[MessageLine, ...]
    previous_cursor: str | None = None
    total: int | None = None
    """Of all messages asked for; not on a page that reads on inside one of them."""
    resolved: str | None = None


class ToolCallPage(Page):
    """Calls, newest first; with a query the best match first (`ranked`), and identical ones as one line.

    `note` tells what was searched for instead of words that no call has. `next_cursor` leads to the calls after
    these; from a page of one call that is cut, on in its text first. `total` is not on a page that reads on.
    """

    session_id: str | None = None
    session: str | None = None
    tool_calls: tuple[ToolCallLine, ...]
    note: str | None = None
    total: int | None = None
    total_at_least: int | None = None
    ranked: bool = Field(default=False, exclude=True)


class SessionContext(Page):
    """What an agent needs to go on: head, summary, the last runs word for word."""

    session_id: str
    session: str
    title: str
    project: str | None = None
    source: str
    agent: str | None = None
    state: dict[str, Any] | str = {}
    metrics: dict[str, Any] = {}
    messages_total: int
    runs_total: int
    created_at: Moment
    last_activity_at: Moment
    summary: str | None = None
    topics: tuple[str, ...] = ()
    summary_stale: bool | None = None
    summary_covers: str | None = None
    runs: tuple[RunLine, ...] = ()
    omitted: str | None = None
    resolved: str | None = None


class Scrubbed(Value):
    media: int = 0
    tool_messages: int = 0
    history_messages: int = 0


class RecordReceipt(Value):
    """What `record_run` did. `recorded` and `history` count messages of those that were sent."""

    session_id: str
    session: str
    run_id: str
    run_index: int
    created: bool
    duplicate: bool
    recorded: int
    history: int
    scrubbed: Scrubbed
    metrics: dict[str, Any]
    warning: str | None = None


class SummaryReceipt(Value):
    """`notice` introduces a summary that the caller did not write, as a page's introduces what it recalls."""

    notice: str | None = None
    session_id: str
    session: str
    summary: Summary
    resolved: str | None = None


class SessionReceipt(Value):
    """The session as it now stands. `title` is the given one, not words of the talk; left out where none was given."""

    session_id: str
    session: str
    title: str | None = None
    state: dict[str, Any]
    metadata: dict[str, Any]
    archived: bool

    @classmethod
    def of(cls, session: Session) -> "SessionReceipt":
        return cls(
            session_id=session.session_id,
            session=session.session,
            title=session.title,
            state=session.state,
            metadata=session.metadata,
            archived=session.archived,
        )


class ForkReceipt(Value):
    session_id: str
    session: str
    forked_from: str
    fork_seq: int
    title: str


class DeleteReceipt(Value):
    """What is gone, by table; and the copies that Backscroll cannot reach."""

    session_id: str
    session: str
    deleted: dict[str, int]
    forks: str
    purge: str
    not_reached: tuple[str, ...]


class DoomedSession(Value):
    """A session that a deletion would take. `size_bytes` is about what it takes in the file."""

    session: str
    title: str
    project: str | None
    source: str
    runs: int
    messages: int
    size_bytes: int
    last_activity_at: Moment


class DeletionPreview(Value):
    """What a deletion would take, nothing of it done: `delete_sessions` takes this, and no more than this.

    `first` are the ones with the oldest activity. `forks` are sessions that share messages with these and are
    not among them. `over_quota_by` is by how much the database is larger than it may be, where that was asked.
    """

    sessions: int
    runs: int
    messages: int
    size_bytes: int
    oldest: Moment | None
    newest: Moment | None
    first: tuple[DoomedSession, ...]
    forks: tuple[str, ...]
    over_quota_by: int | None = None
    chosen: tuple[Chosen, ...] = Field(exclude=True, repr=False)
    said_before: int | None = Field(default=None, exclude=True, repr=False)


class DeletionReceipt(Value):
    """What is gone, by table; and the copies that Backscroll cannot reach. `left` went on since they were chosen."""

    sessions: int
    left: int
    deleted: dict[str, int]
    forks: str
    purge: str
    not_reached: tuple[str, ...]


class PauseState(Value):
    since: Moment
    until: Moment | None


class ChoicesState(Value):
    """What the user decided, and what waits to be done for it.

    `left_out` counts messages by source and reason. `expired` are the sessions whose time is up.
    `over_quota_by` is in bytes, 0 where all is well.
    """

    paused: PauseState | None
    excluded_projects: tuple[str, ...]
    excluded_sources: tuple[str, ...]
    left_out: dict[str, dict[str, int]]
    retention_days: int | None
    expired: int
    max_db_bytes: int | None
    used_bytes: int
    over_quota_by: int
