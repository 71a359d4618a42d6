"""What Backscroll asks of a database that keeps what hooks told, until transcripts tell the rest.

A fact is merged into a run by way of a message that names it (`NewMessage.fact`). Such a message is stored in
its place and at most once, and no digest is kept of it: a run is known again by what its transcript says of it,
read with the facts at hand or without.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from ..models import NewRun
from .rows import from_ms

FactKind = Literal["prompt", "answer", "tool", "end"]

MAX_TRIES = 10
"""In vain: after that a fact is looked at again only when its session is imported."""

PROVISIONAL_MS = 24 * 3_600_000
"""How long an answer that a hook told may have to give way to the transcript's own."""

MAX_TOLD = 2_000
"""Of what was told of a session, so many of the newest facts are brought along to know its turns by."""

MAX_CALLS = 5_000
"""Of a session, so many of the newest calls are looked through for one that a hook has timed."""

_COLUMNS = (
    "f.fact_id, f.source, f.session_id, f.kind, f.at, f.turn, f.tool_call_id, f.tool_name, f.arguments, {text}, "
    "f.digest, f.is_error, f.duration_ms, f.project, f.model, f.run_id, f.told"
)
WAITING_COLUMNS = _COLUMNS.format(text="f.text")
# Of what is told the words are the message's; only an answer that may give way is asked for them.
TOLD_COLUMNS = _COLUMNS.format(text="CASE WHEN f.kind = 'answer' THEN m.text END")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened in a session, as a hook told it, its words scrubbed.

    `turn` is the host's own name for the run. `text` is what was said, what the tool answered, or how the turn
    ended; None once a message tells it and nobody needs it any more. `digest` is of the words as they came.
    `run_id` is the run that its turn was found to be.
    """

    fact_id: str
    source: str
    session_id: str
    kind: FactKind
    at: datetime
    turn: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    arguments: str | None = None
    text: str | None = None
    digest: bytes | None = None
    is_error: bool = False
    duration_ms: int | None = None
    project: str | None = None
    model: str | None = None
    run_id: str | None = None
    told: bool = False


def fact_of(row: Sequence[Any]) -> Fact:
    """Of WAITING_COLUMNS or TOLD_COLUMNS."""
    fact_id, source, session_id, kind, at, *told, digest, is_error, duration_ms, project, model, run_id, is_told = row
    turn, tool_call_id, tool_name, arguments, text = told
    return Fact(
        fact_id, source, session_id, kind, from_ms(at), turn, tool_call_id, tool_name, arguments, text,
        digest, bool(is_error), duration_ms, project, model, run_id, bool(is_told),
    )  # fmt: skip


class Heard(NamedTuple):
    """What one payload told: from whom and of which folder, the facts in it, and which transcripts have news."""

    host: str
    event: str | None
    at: datetime
    facts: tuple[Fact, ...] = ()
    transcripts: tuple[str, ...] = ()
    project: str | None = None


class Capture(NamedTuple):
    """What was last heard of a host."""

    host: str
    payloads: int
    event: str | None
    captured_at: datetime


class StoredRun(NamedTuple):
    """A run as it stands, less what tools answered; the seq of each message, None for what no row holds.

    `is_hooked`: hooks told it all, no transcript has it.
    """

    run: NewRun
    seqs: tuple[int, ...]
    is_hooked: bool


class FactStore(Protocol):
    """Each method is one transaction, and one user's."""

    async def save(self, user_id: str, heard: Sequence[Heard]) -> int:
        """Keep facts that were not heard before, those of deleted sessions aside; return how many those are."""
        ...

    async def of_sessions(self, user_id: str, sessions: Collection[tuple[str, str]]) -> list[Fact]:
        """What waits of these (source, session id), in order of time, with all that is known of the same turns.

        What a message tells that may yet have to give way is there too, with that message's words.
        """
        ...

    async def waiting_sessions(self, user_id: str) -> list[tuple[str, str]]:
        """(source, session id) of what waits for a run and was not tried in vain too often."""
        ...

    async def tried(self, user_id: str, fact_ids: Collection[str]) -> None:
        """Nothing was found for these."""
        ...

    async def bind(self, user_id: str, runs: Mapping[str, str]) -> None:
        """Note the run (value) that a fact (key) was found to be of."""
        ...

    async def spend(self, user_id: str, fact_ids: Collection[str]) -> None:
        """A transcript tells these: forget their words."""
        ...

    async def tell_durations(self, user_id: str, sessions: Collection[tuple[str, str]]) -> int:
        """Set how long tools took on calls that have ended, where nothing says so yet; return how many."""
        ...

    async def tell_times(self, user_id: str, run_id: str, times: Mapping[int, datetime]) -> None:
        """Set the times of a run's messages by their seq, of their calls, and so of the session."""
        ...

    async def withdraw(self, user_id: str, run_ids: Collection[str]) -> None:
        """Take back runs that hooks alone told, since a transcript tells them now: their facts wait again."""
        ...

    async def newest_runs(self, user_id: str, source: str, session_id: str, limit: int) -> list[StoredRun]:
        """The newest runs of a session, oldest first; none where it is not stored."""
        ...

    async def captures(self, user_id: str) -> list[Capture]:
        """By host."""
        ...

    async def unread_transcripts(self, user_id: str) -> list[str]:
        """Paths that payloads named since those files were last read, the newest first."""
        ...

    async def expire(self, user_id: str, before: datetime) -> int:
        """Forget what waited in vain since, and what was told and cannot come again; return how many facts."""
        ...
