"""What a copy from one database to another takes beside what an archive holds, and what it asks of either side.

An archive's rows tell all that was said and done. The rest that belongs to a user comes table by table: names of
tables and columns are the same in both stores.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from .archive import ArchivedRow, ArchivedSession


@dataclass(frozen=True, slots=True)
class Traits:
    """What an archive leaves out of a session. They come at its end, `dropped` in several portions if need be.

    `runs`: (run index, count, digest) of the messages that were history in its newest sending. `dropped`: (run index,
    position, digest, whether a system message) of what was received and not stored. Digests are keyed to the source.
    """

    renamed: bool
    summary_error: str | None
    runs: tuple[tuple[int, int, bytes | None], ...] = ()
    dropped: tuple[tuple[int, int, bytes, bool], ...] = ()


CopiedRow = ArchivedRow | Traits


class Kept(NamedTuple):
    """A table of what is kept of a user beside sessions. Where a row is there already: the one stands that has more
    in the column `newest`; without one, the one that comes."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    newest: str | None = None
    is_keyed: bool = False
    """Whether its rows are found by digests that only the source's key makes."""


KEPT: Mapping[str, Kept] = {
    "tombstones": Kept(
        ("source", "digest", "deleted_at", "said_before"), ("source", "digest"), "deleted_at", is_keyed=True
    ),
    "redactions": Kept(("kind", "count", "redacted_at"), ("kind",), "count"),
    "imports": Kept(
        (
            "path", "host", "file_id", "size_bytes", "modified_ns", "offset", "kept", "skipped", "failed", "settled",
            "imported_at",
        ),
        ("path",),
        "imported_at",
    ),
    "syncs": Kept(("ended_at", "error"), (), "ended_at"),
    "captures": Kept(("host", "payloads", "event", "captured_at"), ("host",), "captured_at"),
    "named_transcripts": Kept(("path", "named_at"), ("path",), "named_at"),
    "pauses": Kept(("since", "until", "measured"), ("since",)),
    "paused_files": Kept(("path", "since", "beginning", "began_bytes", "ended_bytes"), ("path", "since")),
    "left_out": Kept(
        ("session", "run", "source", "reason", "rules", "messages"), ("session", "run"), is_keyed=True
    ),
    "facts": Kept(
        (
            "fact_id", "source", "session_id", "kind", "turn", "tool_call_id", "tool_name", "arguments", "text",
            "digest", "is_error", "duration_ms", "at", "project", "model", "run_id", "told", "tried", "heard_at",
        ),
        ("fact_id",),
        "told",
    ),
}  # fmt: skip
"""A fact's message is told behind its columns: the id of its session, and its seq; null where it has none."""


class KeptRows(NamedTuple):
    table: str
    rows: Sequence[Sequence[Any]]


class Leaving(Protocol):
    """The side that is read. Each method sees one point in time."""

    async def users(self) -> list[str]:
        """All who have anything here, in order."""
        ...

    async def heads(self, user_id: str) -> list[ArchivedSession]:
        """Of all sessions; parents before forks."""
        ...

    def rows(self, user_id: str, session_id: str) -> AsyncGenerator[list[CopiedRow], None]:
        """Pages of one session: its archive, its head first, then its traits. Nothing where it is gone."""
        ...

    def kept(self, user_id: str) -> AsyncGenerator[KeptRows, None]:
        """Pages of KEPT."""
        ...

    async def last_number(self, user_id: str) -> int: ...


class Arriving(Protocol):
    """The side that is written. It can be read as well, to compare the two."""

    async def adopt_key(self, key: bytes) -> bool:
        """Make another database's key for digests this one's own, where nobody has anything here yet.

        Whether both now have the same.
        """
        ...

    async def heads(self, user_id: str) -> list[ArchivedSession]: ...

    async def copied(self, user_id: str) -> dict[str, bytes]:
        """By session id, the digest of what copies brought."""
        ...

    def rows(self, user_id: str, session_id: str) -> AsyncGenerator[list[CopiedRow], None]: ...

    async def take(
        self, user_id: str, head: ArchivedSession, pages: AsyncIterator[Sequence[CopiedRow]], digest: "Summing"
    ) -> None:
        """Make a session what the pages tell, whatever stood in its place; all of it or nothing.

        `digest` is asked for once the pages are through, and noted. Raises Conflict (its parent, or one of its runs, is
        in the way).
        """
        ...

    async def note(self, user_id: str, session_id: str, digest: bytes) -> None:
        """That a session is here as if a copy had brought it."""
        ...

    async def remove(self, user_id: str, session_id: str, *, gone: Collection[str]) -> None:
        """Delete a session that a copy brought, with its forks, as if none had come; with a tombstone for those of
        them that are `gone` for good."""
        ...

    async def keep(self, user_id: str, rows: KeptRows) -> None:
        """Add rows of KEPT."""
        ...

    async def take_number(self, user_id: str, upto: int) -> None:
        """Give no number of a session up to this one any more."""
        ...


class Summing(Protocol):
    """Something that sums up what has gone by."""

    def digest(self) -> bytes: ...
