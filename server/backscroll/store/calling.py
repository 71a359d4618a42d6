"""What the store takes and gives where tool calls are looked for: lists, and searches with what they found."""

from dataclasses import dataclass

from ..models import CallStatus, Session, ToolCall
from .values import SessionRef, Term


@dataclass(frozen=True, slots=True)
class CallWindow:
    """Which calls to list, newest first. `signs`: of the `recent` newest those that hold each to the letter."""

    session: SessionRef | None = None
    tool_name: str | None = None
    status: str | None = None
    signs: tuple[str, ...] = ()
    recent: int = 2_000
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
class Clue:
    """A term that a call may be known by. `worth`: what it counts beside others that are as rare, 0 to 1.

    One that `widens` is a part of the one before it, and is left out where that one is frequent. One that
    `varies` differs from one time to the next: flags, paths, figures.
    """

    term: Term
    worth: float = 1.0
    widens: bool = False
    varies: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How a clue was looked for: `magnitude` is the bit length of the number of messages that hold it.

    `near` is what nearly finds it, in the engine's words; `spelled` tells how, where nothing holds the clue itself.
    """

    magnitude: int
    near: str | None = None
    spelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallSearch:
    """Calls that hold some of the clues, and all that are required. Filters narrow first.

    `readings` and `as_of` of the first page make later pages rank as it did. Of each line's outcomes the
    newest `outcomes` are told. `every`: all calls are ranked and counted, however long that takes.
    """

    clues: tuple[Clue, ...]
    session: SessionRef | None = None
    tool_name: str | None = None
    status: str | None = None
    readings: tuple[Reading, ...] | None = None
    after: tuple[int, int, int] | None = None
    """Continue below this (tier, time, key) of a line."""
    as_of: int | None = None
    limit: int = 10
    outcomes: int = 5
    max_chars: int = 20_000
    every: bool = False


@dataclass(frozen=True, slots=True)
class Attempts:
    """Matching calls of one tool with the same arguments; `call` is the newest of those that match best.

    `outcomes`: where and how they ended, newest first, of the first of all `times`.
    """

    call: ToolCall
    position: tuple[int, ...]
    """For a cursor."""
    times: int
    outcomes: tuple[tuple[str | None, CallStatus], ...]


@dataclass(frozen=True, slots=True)
class CallMatches:
    """Best match first, in coarse tiers, newest first within each. `total` counts calls, not lines.

    `capped`: there are more. `weights` are those of the clues; `missing`: places of the clues that no call holds.
    """

    session: Session | None
    attempts: tuple[Attempts, ...]
    total: int
    capped: bool
    as_of: int
    readings: tuple[Reading, ...]
    weights: tuple[float, ...] = ()
    missing: tuple[int, ...] = ()
