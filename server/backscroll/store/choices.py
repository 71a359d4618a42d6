"""What Backscroll asks of a database about the user's choices: pauses, what was left out, what is to be deleted.

Each method is one transaction, bound to one user. Times are UTC milliseconds.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..pausing import Pause


class LeftOut(NamedTuple):
    """A run that an import left out, whole or in part. `session` and `run` are keyed digests of their ids."""

    session: bytes
    run: bytes
    source: str
    reason: str
    rules: str
    messages: int


class Length(NamedTuple):
    """How long a file is, and a digest of its first line, which tells it from another of its name."""

    beginning: str
    size_bytes: int


class Hidden(NamedTuple):
    """What a file grew by in a pause: from byte `began` on, to `ended`, which is None while that is not known."""

    beginning: str
    began: int
    ended: int | None


class Chosen(NamedTuple):
    """A session that is to be deleted. `size_bytes` is about what its rows and their index take, 0 if not asked for.

    `forks` are the numbers of its forks that are not chosen themselves.
    """

    key: int
    number: int
    title: str
    project: str | None
    source: str
    runs: int
    messages: int
    last_activity_at: int
    size_bytes: int
    forks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions: all conditions that are set must hold. None of them set means all sessions.

    `projects` are exact names. `before`: no message is as new as that. `over_bytes`: of those that the rest
    leaves, the ones with the oldest activity, until they take so much together. The sessions of agents that a
    chosen one started are chosen with it.
    """

    projects: tuple[str, ...] | None = None
    source: str | None = None
    before: int | None = None
    over_bytes: int | None = None


class Buried(NamedTuple):
    """What one transaction deleted: keys of sessions, and how many of the given ones are through."""

    keys: tuple[int, ...]
    through: int
    rows: dict[str, int]


class ChoiceStore(Protocol):
    # Pauses

    async def pause(self, user_id: str, now: int, until: int | None, files: Mapping[str, Length]) -> Pause:
        """Begin a pause, and note how long files are as it begins; where one is on, change when it ends."""
        ...

    async def resume(self, user_id: str, now: int) -> Pause | None:
        """End the pause that is on; return it as it ended, or None."""
        ...

    async def pauses(self, user_id: str) -> list[Pause]:
        """Every pause there was, oldest first."""
        ...

    async def refresh_marker(self, user_id: str, now: int) -> None:
        """Let the marker beside the database say what the database says, where somebody moved one of the two."""
        ...

    async def unmeasured(self, user_id: str, now: int) -> list[int]:
        """When those pauses began that are over, and after which no file was measured."""
        ...

    async def measure_ended(self, user_id: str, since: int, files: Mapping[str, Length]) -> None:
        """Note how long files are after a pause ended. Others than those of its beginning were begun in it."""
        ...

    async def hidden_parts(self, user_id: str, path: str) -> list[Hidden]: ...

    async def paths_of(self, user_id: str, host: str) -> list[str]:
        """The files of a host that an import has read."""
        ...

    # What was left out

    async def note_left_out(
        self, user_id: str, rows: Sequence[LeftOut], let_in: Collection[tuple[bytes, bytes]]
    ) -> None:
        """Note runs that were left out, and forget those (session, run) that were not this time."""
        ...

    async def left_out_of(self, user_id: str, sessions: Collection[bytes]) -> dict[bytes, set[tuple[str, str]]]:
        """For those of these sessions of which something was left out: why, and under which rules."""
        ...

    async def left_out(self, user_id: str) -> dict[str, dict[str, int]]:
        """Messages that were left out, by source and reason."""
        ...

    async def reopen_files(self, user_id: str, rules: str) -> None:
        """Let the ledger count those files as behind of which something was left out under other exclusions."""
        ...

    async def has_left_out(self, user_id: str) -> bool: ...

    async def tombstones(
        self, user_id: str, sessions: Collection[tuple[str, bytes]]
    ) -> dict[tuple[str, bytes], int | None]:
        """Which of these sessions (source, digest) were deleted; where a time stands, only what was said before it."""
        ...

    # Deleting

    async def choose(self, user_id: str, wanted: Wanted, *, with_sizes: bool) -> list[Chosen]:
        """The sessions, oldest activity first, but forks before what they are forks of."""
        ...

    async def projects(self, user_id: str) -> list[str]:
        """Of all the user's sessions, each once."""
        ...

    async def rare_words(self, user_id: str, keys: Sequence[int]) -> list[str]:
        """Words that only these sessions hold, some of them, for the search of the file's bytes after a purge."""
        ...

    async def bury(
        self, user_id: str, chosen: Sequence[Chosen], *, forks: str, now: int, said_before: int | None = None
    ) -> Buried:
        """Delete the first of these sessions, as many as a short transaction holds, each whole or not at all.

        One that has gone on since it was chosen, or has forks that `forks` refuses to touch, is left alone.
        `said_before` limits their tombstones to what was said before. Their rows go with `empty`.
        """
        ...

    async def empty(self, keys: Collection[int]) -> dict[str, int]:
        """Wait until the rows of deleted sessions are gone; return how many, by table."""
        ...

    async def claim_retention(self, user_id: str, now: int, every: int) -> bool:
        """Whether to apply retention now: once in so long, whichever process asks first."""
        ...

    async def users_due(self, now: int, every: int) -> list[str]:
        """The ids of those whom `claim_retention` would let, in order. One read, however many they are not."""
        ...

    async def used_bytes(self) -> int:
        """What the whole database takes, free pages aside."""
        ...
