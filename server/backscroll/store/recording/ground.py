"""What recording asks of a database, and the values that go between them."""

from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from .. import PreparedRun
from ..indexing import Entry
from ..meeting import Said, Way
from ..rows import SessionRow

T = TypeVar("T")
Row = tuple[Any, ...]

CANDIDATES = 16
"""Runs of a session that begin alike and are looked at, on either side of the newest that this way has told."""

ALL = 1 << 40
"""More than any run says: who told a run first goes on with another."""


@dataclass(slots=True)
class RunRow:
    """The run as the store has it, or as it is about to be made."""

    run_key: int
    session_key: int
    run_id: str
    run_index: int
    status: str
    agent: str | None
    metrics: dict[str, Any]
    received: int
    history_count: int
    history_digest: bytes | None
    first_seq: int | None
    last_seq: int | None
    met: bool = False
    """Whether it came more than one way, so that its messages may be in another order than a sending's."""
    model: str | None = None
    metadata: dict[str, Any] | None = None
    ended_at: int | None = None


@dataclass(slots=True)
class Rows:
    """What a run adds, in the order of the columns that each list names.

    Calls are lists: a result that comes along may still answer one.
    """

    messages: list[Row] = field(default_factory=list)
    """message_key, session_key, run_key, seq, role, from_history, text, reasoning, tool_call_id, tool_name, is_error,
    payload, created_at."""
    calls: list[list[Any]] = field(default_factory=list)
    """user_key, session_key, run_key, message_key, ordinal, tool_call_id, tool_name, arguments, called_at,
    from_history, status, result_key, duration_ms."""
    media: list[Row] = field(default_factory=list)
    """user_key, sha256, mime_type, size_bytes, data, url; those that are here stay as they are."""
    shown: list[Row] = field(default_factory=list)
    """message_key, ordinal, user_key, sha256."""
    entries: list[tuple[int, int, int, int, Entry]] = field(default_factory=list)
    """message_key, session_key, seq, created_at, what the search index holds of it."""
    digests: list[Row] = field(default_factory=list)
    """run_key, position, digest, seq, stored, is_system."""


class Past(NamedTuple):
    """A session as it is found. `covered` is the last message that a summary covers, `ways` are those of its runs."""

    row: SessionRow
    covered: int
    ways: list[Way]


class PendingCall(NamedTuple):
    """`message_key` is None where policy dropped the message that made the call."""

    tool_name: str
    message_key: int | None
    call_key: int


class StoredMessage(NamedTuple):
    """`at` is its time, in UTC ms; `calls` are names and arguments; `media` counts pictures and the like."""

    message_key: int
    role: str
    text: str
    at: int
    calls: list[tuple[str, str | None]]
    media: int


class Untold(NamedTuple):
    """What no digest shows of a message; `media` counts pictures and the like."""

    message_key: int
    reasoning: str | None
    payload: str | None
    media: int


class Provisional(NamedTuple):
    """An answer that a hook told, and that may have to give way."""

    fact_key: int
    message_key: int
    seq: int
    text: str


class Ground(Protocol):
    """A database while one user's runs are recorded, in one transaction. Nobody else writes for the user meanwhile.

    What is asked for is awaited, and shows all that was told before. What is told may wait until something is
    asked, or until the end.
    """

    user_key: Any

    async def foresee(self, run: PreparedRun) -> None:
        """This run comes next: what is usually asked of one may be asked at once."""
        ...

    # Sessions

    async def session(self, ref: str) -> Past | None: ...

    async def session_by_key(self, session_key: int) -> Past: ...

    def add_session(
        self, session_id: str, run: PreparedRun, *, created_at: int, updated_at: int, last_activity_at: int
    ) -> SessionRow: ...

    def update_session(self, session_key: int, columns: Mapping[str, Any]) -> None: ...

    def add_way(self, session_key: int, stored_source: str, imported: int) -> None: ...

    async def is_buried(self, tombstones: Iterable[tuple[str, bytes]], newest_at: int) -> bool: ...

    def note_secrets(self, kinds: Mapping[str, int], at: int) -> None: ...

    # Runs

    async def run(self, run_id: str) -> RunRow | None:
        """The run that has this id, or was sent under it by another way than it came first."""
        ...

    async def run_by_key(self, run_key: int) -> RunRow: ...

    async def digests(self, run_key: int) -> list[bytes]:
        """Of all that a run received, in order."""
        ...

    async def tail(
        self, session: SessionRow, before: int | None, wanted: int, *, nested: bool, only_words: bool = False
    ) -> list[bytes]:
        """The session's newest digests, `wanted` of them, oldest first, system messages aside.

        Of the runs before the one of index `before`; of runs inside other runs only where `nested`; of the words of
        user and assistant where `only_words`.
        """
        ...

    def add_run(self, row: RunRow, columns: Mapping[str, Any]) -> None: ...

    def update_run(self, run_key: int, columns: Mapping[str, Any], opening: bytes | None) -> None:
        """`opening` is kept where there is none yet."""
        ...

    # What runs add

    def next_message_key(self) -> int: ...

    def next_run_key(self) -> int: ...

    def insert(self, rows: Rows) -> None:
        """Insert what waits; the lists are empty afterwards."""
        ...

    async def pending(self, session_key: int, wanted: Mapping[str, int]) -> dict[str, list[PendingCall]]:
        """Calls that wait for a result by their ids, the oldest first, as many of each as are wanted."""
        ...

    def answer(self, call_key: int, status: str, result_key: int | None, duration_ms: int | None) -> None: ...

    def give_message(self, call_key: int, message_key: int) -> None:
        """A message for a call whose own was dropped."""
        ...

    # Messages that grow

    async def digest_at(self, run_key: int, position: int) -> tuple[int, bool]:
        """seq, and whether it is stored."""
        ...

    def move_digest(self, run_key: int, position: int, digest: bytes, seq: int, stored: int) -> None: ...

    async def message(self, session_key: int, seq: int) -> StoredMessage | None: ...

    async def retold(self, session_key: int, run_key: int, position: int) -> Untold | None:
        """Of the message that a run received in that place, where it is stored."""
        ...

    async def dropped_calls(self, run_key: int) -> set[tuple[int, str, str]]:
        """(ordinal, id, tool) of the run's calls whose messages policy dropped."""
        ...

    def unindex(self, message_key: int) -> None:
        """Before a message changes or goes."""
        ...

    async def reindex(self, message_key: int) -> None:
        """After it changed."""
        ...

    def change_message(self, message_key: int, text: str, reasoning: str | None, payload: str | None) -> None: ...

    def retell_message(self, message_key: int, reasoning: str | None, payload: str | None) -> None: ...

    def remove_message(self, message_key: int) -> None: ...

    # Runs told twice

    async def said(self, run_key: int) -> list[Said]:
        """What a run received, in the order in which it came. What policy dropped was of the tools."""
        ...

    async def status(self, run_key: int) -> str: ...

    async def answer_text(self, run_key: int, position: int) -> str | None:
        """None where no assistant's message is stored there."""
        ...

    async def newest_told(self, session_key: int, way: Way) -> int:
        """Key of the newest run that this way has told; 0 where there is none."""
        ...

    async def candidates(
        self, session: SessionRow, way: Way, others: Sequence[Way], opening: bytes, newest: int, *, later: bool
    ) -> list[int]:
        """Runs that begin alike, came in one of the other ways and were not told by this one, at most CANDIDATES of
        each way: those after the run `newest`, or those before it, the nearest first."""
        ...

    async def told_upto(self, run_key: int, way: Way) -> int: ...

    async def newest_untold(self, session: SessionRow, way: Way) -> int | None:
        """The session's newest run, if it came another way and this way has not told it."""
        ...

    def add_telling(self, session: SessionRow, row: RunRow, run: PreparedRun, run_id: str, upto: int) -> None: ...

    def retell_metrics(self, run_id: str, metrics: Mapping[str, Any]) -> None: ...

    async def metrics_told(self, run_key: int) -> list[tuple[bool, dict[str, Any]]]:
        """(whether a transcript told them, metrics) by all who told the run."""
        ...

    # What hooks told

    async def provisional(self, source: str, session_ids: Collection[str], run_key: int) -> list[Provisional]:
        """In order of their messages."""
        ...

    def adopt(self, fact_key: int) -> None:
        """The transcript tells it too: no longer provisional."""
        ...

    def wait_again(self, fact_key: int, text: str) -> None: ...

    async def claim(self, fact_ids: Sequence[str], run_id: str) -> dict[str, tuple[int, str]]:
        """From here on these are told, and their words are the messages'. Key and kind of those that were not yet."""
        ...

    def tell_by(self, message_of: Sequence[tuple[int, int]]) -> None:
        """(message, fact) keys."""
        ...

    def reach(self, run_key: int, seq: int) -> None:
        """The run goes as far as there."""
        ...

    def end(self, run_key: int, status: str, ended_at: int | None) -> None: ...


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits: all that it asks is answered on the spot."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    finally:
        work.close()
    raise RuntimeError("It waited for something.")
