"""Where the other telling of a run is found, and how the two are kept as one. What they share, tells meeting.py."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ...ids import uuid7
from .. import PreparedMessage, PreparedRun
from ..meeting import Meeting, Said, Way, combined, meet, opening_of, section_start
from .ground import Ground, RunRow
from .sessions import OpenSession


class Met(NamedTuple):
    """A run that is here already, and what of it has come again."""

    run_key: int
    meeting: Meeting
    is_whole: bool
    """Whether it is all of it, and no more."""


def way_of(run: PreparedRun) -> Way:
    return Way(run.source, run.imported)


# Finding


async def find(
    ground: Ground, session: OpenSession, way: Way, run: PreparedRun, said: Sequence[Said], part: Sequence[int]
) -> Met | None:
    """The run of this session that came another way and is what is sent, or begins it, or goes on beyond it.

    `part` are the indexes of what is sent. Turns come in the same order both ways, so the first one after those
    that this way has told goes before.
    """
    opening = opening_of(run, part)
    others = [other for other in session.ways if other.may_meet(way)]
    if opening is None or not others:
        return None
    newest = await ground.newest_told(session.session_key, way)
    best: Met | None = None
    for later in (True, False):
        for run_key in await ground.candidates(session.row, way, others, opening, newest, later=later):
            met = await meeting_with(ground, run_key, run, said, part)
            if met is not None and (best is None or met.meeting.shared > best.meeting.shared):
                best = met
                if met.is_whole:
                    return met
        if best is not None:
            return best
    return await _section(ground, way, run, said, part, newest)


async def meeting_with(
    ground: Ground, run_key: int, run: PreparedRun, said: Sequence[Said], part: Sequence[int], start: int = 0
) -> Met | None:
    """Whether what is sent and a known run are one, from its spoken message `start` on."""
    known, status = await ground.said(run_key), await ground.status(run_key)
    sent = [said[i] for i in part]
    found = meet(sent, known, start=start, sent_grows=run.status == "running", known_grows=status == "running")
    if found is None:
        return None
    if found.doubtful is not None:
        which = await longer_of(ground, run_key, run.messages[part[found.doubtful[0]]], found.doubtful[1])
        if which is None:
            return None
        found = found if which == "sent" else found._replace(doubtful=None)
    whole = not found.new and found.doubtful is None and found.upto == sum(one.kind == "spoken" for one in known)
    return Met(run_key, found, whole)


async def _section(
    ground: Ground, way: Way, run: PreparedRun, said: Sequence[Said], part: Sequence[int], newest: int
) -> Met | None:
    """The newest run that this way has told a part of, if what is sent is its next part."""
    if not newest:
        return None
    told = await ground.told_upto(newest, way)
    start = section_start([said[i] for i in part], await ground.said(newest), told)
    return None if start is None else await meeting_with(ground, newest, run, said, part, start)


async def longer_of(
    ground: Ground, run_key: int, sent: PreparedMessage, position: int
) -> Literal["sent", "known"] | None:
    """Which of two tellings of an assistant's text holds the other's; None where they are two."""
    known = await ground.answer_text(run_key, position)
    if known is None or sent.role != "assistant":
        return None
    if sent.text.startswith(known):
        return "sent"
    return "known" if known.startswith(sent.text) and not sent.tool_calls else None


# Tellings


def note_telling(ground: Ground, session: OpenSession, row: RunRow, run: PreparedRun, upto: int) -> None:
    """From now on the run's own id and that of the sending both lead to it."""
    ground.add_telling(session.row, row, run, run.run_id or uuid7(), upto)


async def metrics_with(ground: Ground, row: RunRow, run: PreparedRun) -> dict[str, Any]:
    """The metrics of a run that came more than one way, with what this sending tells of them."""
    if run.run_id is not None:
        ground.retell_metrics(run.run_id, run.metrics)
    return combined(await ground.metrics_told(row.run_key))
