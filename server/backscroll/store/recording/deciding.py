"""What of a sending is new, told from what the database knows of the past."""

from collections.abc import Sequence
from typing import NamedTuple

from .. import PreparedRun
from ..arrival import KnownRun, Plan, others, plan, skipping_history
from ..meeting import Said, Way, grown, lacking, said_in
from . import meetings
from .ground import Ground, RunRow
from .placing import Place
from .sessions import OpenSession, note_way


class Decision(NamedTuple):
    """`known` is the run that is sent, where it is here. `is_met`: it came another way too."""

    plan: Plan
    known: RunRow | None = None
    is_met: bool = False


async def decide(ground: Ground, placed: Place) -> Decision:
    """Where a run is found that came another way, its id and that of the sending lead to the same from now on."""
    run, session, _, known = placed
    way = meetings.way_of(run)
    note_way(ground, session, way)
    if known is not None and not known.met:
        return Decision(await _plan(ground, placed, await _known_digests(ground, known)), known)
    decided = await _recognised(ground, placed)
    if known is not None:
        return Decision(await _told_again(ground, session, known, run, decided), known, True)
    if any(other.may_meet(way) for other in session.ways):
        return await _met(ground, placed, way, decided)
    return Decision(decided)


# What is known of the past


async def _plan(ground: Ground, placed: Place, known: KnownRun | None = None) -> Plan:
    run, session, created, row = placed
    arrived = [message.arrived for message in run.messages]
    # A transcript tells each turn once: what it repeats was said again.
    tail = [] if created or run.imported else await _tail(ground, session, run, None if row is None else row.run_index)
    return plan(arrived, tail, session.system_digest, known)


async def _recognised(ground: Ground, placed: Place) -> Plan:
    """New messages and history. Where runs came in several ways, tools may stand where who sends has none, or
    elsewhere: then history is known by the words of user and assistant alone."""
    run, session, _, row = placed
    decided = await _plan(ground, placed)
    if run.imported or len(session.ways) < 2 or decided.history or decided.suspected_repeat:
        return decided
    talk = [i for i, one in enumerate(said_in(run)) if one.kind != "tool"]
    tail = await _tail(ground, session, run, None if row is None else row.run_index, only_words=True)
    by_words = plan([run.messages[i].arrived for i in talk], tail, session.system_digest)
    if by_words.suspected_repeat:
        return decided._replace(suspected_repeat=True)
    if not by_words.history:
        return decided
    end = talk[max(by_words.history)]
    heard = {talk[n] for n in by_words.new}
    new = tuple(i for i in range(len(run.messages)) if i > end or i in heard)
    return Plan(new, others(len(run.messages), new), "fresh")


async def _known_digests(ground: Ground, known: RunRow) -> KnownRun:
    return KnownRun(await ground.digests(known.run_key), known.history_count, known.history_digest)


async def _tail(
    ground: Ground, session: OpenSession, run: PreparedRun, before: int | None, *, only_words: bool = False
) -> list[bytes]:
    """The session's newest digests, as many as the run has messages, of the runs before the one of index `before`.

    What runs inside other runs said was never in the context of a top-level run.
    """
    return await ground.tail(
        session.row, before, tail_length(run), nested=run.parent_run_id is not None, only_words=only_words
    )


def tail_length(run: PreparedRun) -> int:
    return sum(not message.arrived.is_system for message in run.messages)


# A run that came another way


async def _met(ground: Ground, placed: Place, way: Way, decided: Plan) -> Decision:
    """The run that is sent, if it is here from elsewhere.

    Who sends his whole context sends turns that a transcript told: those that lead are history.
    """
    run, session = placed.run, placed.session
    said = said_in(run)
    new, history = list(decided.new), list(decided.history)
    found = None
    if not run.imported and (going_on := await _begun_elsewhere(ground, session, way, run, said, decided)) is not None:
        history, new = going_on[0], going_on[1]
        found = going_on[2]
    while found is None and (found := await meetings.find(ground, session, way, run, said, new)) is not None:
        turn = None if run.imported else _next_turn(run, said, new, found.meeting.shared)
        if turn is not None:
            history, new, found = history + new[:turn], new[turn:], None
    history.sort()
    if found is None:
        if history == list(decided.history):
            return Decision(decided)
        return Decision(Plan(tuple(new), tuple(history), "fresh"))
    row = await ground.run_by_key(found.run_key)
    meetings.note_telling(ground, session, row, run, found.meeting.upto)
    lacks = [new[i] for i in found.meeting.new]
    differs = found.meeting.doubtful
    return Decision(
        _as_plan(session, said, lacks, history, None if differs is None else (new[differs[0]], differs[1])), row, True
    )


async def _begun_elsewhere(
    ground: Ground,
    session: OpenSession,
    way: Way,
    run: PreparedRun,
    said: Sequence[Said],
    decided: Plan,
) -> tuple[list[int], list[int], meetings.Met] | None:
    """History and new messages, where what leads the sending ends with the session's newest run, which came another
    way, and no new turn begins there: then the sending tells that run, and may go on with it."""
    spoken = [i for i, one in enumerate(said) if one.kind == "spoken"]
    end = len(spoken) if decided.suspected_repeat else len(set(decided.history).intersection(spoken))
    newest = await ground.newest_untold(session.row, way)
    if newest is None or not end or (end < len(spoken) and run.messages[spoken[end]].role == "user"):
        return None
    length = sum(one.kind == "spoken" for one in await ground.said(newest))
    if not 0 < length <= end:
        return None
    first = spoken[end - length]
    part = [i for i in range(first, len(said)) if said[i].kind != "system" or i in decided.new]
    met = await meetings.meeting_with(ground, newest, run, said, part)
    return None if met is None else (list(others(len(said), part)), part, met)


def _next_turn(run: PreparedRun, said: Sequence[Said], new: Sequence[int], shared: int) -> int | None:
    """Where in `new` another turn begins, once so many spoken messages of it were found elsewhere."""
    beyond = [n for n, i in enumerate(new) if said[i].kind == "spoken"][shared:]
    return beyond[0] if beyond and run.messages[new[beyond[0]]].role == "user" else None


async def _told_again(ground: Ground, session: OpenSession, known: RunRow, run: PreparedRun, decided: Plan) -> Plan:
    """What a sending adds to a run that came more than one way, and holds its messages in whatever order."""
    said, here = said_in(run), await ground.said(known.run_key)
    arrived = [message.arrived for message in run.messages]
    unmarked = [i for i, one in enumerate(arrived) if not one.marked_history]
    digests = KnownRun([one.digest for one in here], known.history_count, known.history_digest)
    choices = [unmarked, list(decided.new), list(skipping_history(arrived, unmarked, digests) or unmarked)]
    new = min(choices, key=lambda chosen: len(lacking([said[i] for i in chosen], here)))
    first = next((said[i] for i in new if said[i].kind == "spoken"), None)
    if first is not None and first not in here:
        return Plan((), (), "different")
    history = others(len(said), new)
    chosen = [said[i] for i in new]
    piece = grown(chosen, here)
    which = None
    if piece is not None:
        which = await meetings.longer_of(ground, known.run_key, run.messages[new[piece[0]]], piece[1])
    lacks = [new[i] for i in lacking(chosen, here, but=None if which is None else piece)]
    return _as_plan(session, said, lacks, history, (new[piece[0]], piece[1]) if piece and which == "sent" else None)


def _as_plan(
    session: OpenSession,
    said: Sequence[Said],
    lacks: Sequence[int],
    history: Sequence[int],
    differs: tuple[int, int] | None,
) -> Plan:
    new = tuple(i for i in lacks if said[i].kind != "system" or said[i].digest != session.system_digest)
    if differs is not None:
        return Plan(new, tuple(history), "one_differs", differs=differs)
    return Plan(new, tuple(history), "grown" if new else "same")
