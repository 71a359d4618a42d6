"""One run that came twice, once told by who ran it and once by the host's transcript: pure decisions.

The two tellings seldom have the same ids, and either may lack what the other has: the system prompt, what went on
between the model and its tools, the last words. What both have are the words of user and assistant, by which they
are known for one. All that is compared are digests.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from .arrival import UNKNOWN
from .values import PreparedRun

RECORDERS = frozenset({"api", "mcp"})
"""Sources of `record_run`: behind them may stand an agent of any host."""

OPENING_BYTES = 3
"""Of the digest of a run's first words. Within one session that is enough to look a run up by; then all is compared."""


class Way(NamedTuple):
    """How a run came: whose it is, and whether a transcript told it or who ran it."""

    source: str
    imported: bool

    def may_meet(self, other: "Way") -> bool:
        """Whether one run can have come both ways: told by who ran it, and by a transcript.

        What one recorder, or two, say twice was said twice; and two hosts' transcripts are two conversations,
        however alike their ids and their words.
        """
        return self.imported != other.imported


def graves_of(source: str, session_id: str) -> list[tuple[str, str]]:
    """Source and id of every session whose deletion keeps an import of this one out: its own, the one kept beside
    another source's, and what an agent of that host may have recorded."""
    beside = f"{source}:{session_id}"
    return [(source, session_id), (source, beside), *((recorder, session_id) for recorder in sorted(RECORDERS))]


def graves_of_told(source: str, session_id: str) -> list[tuple[str, str]]:
    """The same of what a hook tells of a session, of its own or of that of the agent that started it.

    So what keeps its transcript out keeps it out too. A session that expired may be gone on with.
    """
    parent, _, agent = session_id.partition("/agent-")
    return [*graves_of(source, session_id), *(graves_of(source, parent) if agent else ())]


class Said(NamedTuple):
    """A message as far as it can be compared."""

    digest: bytes
    kind: Literal["system", "spoken", "tool"]


class Meeting(NamedTuple):
    """How a sending and a known run are one.

    `new` are indexes into the sending of what the run lacks, `shared` counts the spoken messages that both tell,
    `upto` those of the run up to where the sending ends. `doubtful` (index in the sending, position in the run) are
    two last texts that differ: they are one if one begins with the other, and else the two runs are not.
    """

    new: tuple[int, ...]
    shared: int
    upto: int
    doubtful: tuple[int, int] | None = None


def said_in(run: PreparedRun) -> list[Said]:
    """The messages of a sending. What calls a tool is of the tools, whatever it says besides."""
    return [
        Said(
            message.arrived.digest,
            "system"
            if message.arrived.is_system
            else "tool"
            if message.role == "tool" or message.tool_calls
            else "spoken",
        )
        for message in run.messages
    ]


def opening_of(run: PreparedRun, part: Iterable[int]) -> bytes | None:
    """What the other telling of a part of a run is looked up by; None where it says nothing."""
    arrived = (run.messages[i].arrived for i in part)
    return next((one.digest[:OPENING_BYTES] for one in arrived if not one.is_system), None)


def meet(
    sent: Sequence[Said],
    known: Sequence[Said],
    *,
    start: int = 0,
    sent_grows: bool = False,
    known_grows: bool = False,
) -> Meeting | None:
    """How the two are one run, or None where they are not: their words differ, or each has tools that the other lacks.

    What is spoken in the one must begin the other, from the spoken message `start` of the known run on. The last
    text of a telling that still grows may be a piece of the other's.
    """
    ours = [i for i, one in enumerate(sent) if one.kind == "spoken"]
    theirs = [p for p, one in enumerate(known) if one.kind == "spoken"]
    shared, doubtful = 0, None
    for n, (i, p) in enumerate(zip(ours, theirs[start:], strict=False)):
        if sent[i].digest == known[p].digest:
            shared += 1
            continue
        last_of_one = (sent_grows and i == ours[-1]) or (known_grows and p == theirs[-1])
        if not n or not last_of_one:
            return None
        doubtful = (i, p)
        break
    if not shared:
        return None
    compared = shared + (doubtful is not None)
    our_tools = _tools(sent, ours, 0, compared)
    their_tools = _tools(known, theirs, start, compared)
    if our_tools - their_tools and their_tools - our_tools:
        return None
    return Meeting(lacking(sent, known, but=doubtful), shared, start + compared, doubtful)


def _tools(said: Sequence[Said], spoken: Sequence[int], start: int, count: int) -> Counter[bytes]:
    """The tools from the spoken message `start` on, up to the one after so many."""
    beyond = start + count
    low, high = spoken[start], spoken[beyond] if beyond < len(spoken) else len(said)
    return Counter(one.digest for one in said[low:high] if one.kind == "tool" and one.digest != UNKNOWN)


def lacking(sent: Sequence[Said], known: Sequence[Said], *, but: tuple[int, int] | None = None) -> tuple[int, ...]:
    """Indexes into the sending of what a known run does not hold, be it in another place. `but` leaves two out."""
    unmatched = Counter(one.digest for p, one in enumerate(known) if but is None or p != but[1])
    new: list[int] = []
    for i, one in enumerate(sent):
        if but is not None and i == but[0]:
            continue
        if unmatched[one.digest]:
            unmatched[one.digest] -= 1
        else:
            new.append(i)
    return tuple(new)


def grown(sent: Sequence[Said], known: Sequence[Said]) -> tuple[int, int] | None:
    """The last message of each (index, position) that the other does not hold: one may be a piece of the other."""
    lacks = [i for i in lacking(sent, known) if sent[i].kind != "system"]
    extra = [p for p in lacking(known, sent) if known[p].kind != "system"]
    return (lacks[-1], extra[-1]) if lacks and extra else None


def section_start(sent: Sequence[Said], known: Sequence[Said], told: int) -> int | None:
    """Where, after so many spoken messages, a known run goes on with what is sent: who recorded it may have put
    several turns into one run."""
    spoken = [one.digest for one in known if one.kind == "spoken"]
    first = next((one.digest for one in sent if one.kind == "spoken"), None)
    return next((n for n in range(told, len(spoken)) if spoken[n] == first), None)


def combined(tellings: Iterable[tuple[bool, Mapping[str, Any]]]) -> dict[str, Any]:
    """A run's metrics from all who told it (whether a transcript, what), each measure once.

    A transcript's stand above those of who ran it; tokens that were counted are used where nobody was told any.
    """
    told: dict[str, Any] = {}
    counted: dict[str, Any] = {}
    for _, metrics in sorted(tellings, key=lambda telling: telling[0]):
        is_counted = bool(metrics.get("estimated"))
        for name, value in metrics.items():
            (counted if is_counted and ("tokens" in name or name == "estimated") else told)[name] = value
    return told if any("tokens" in name for name in told) else {**counted, **told}
