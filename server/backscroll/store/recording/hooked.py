"""Messages that a hook told, on the write path: stored in their place, at most once, and without a digest.

So a run whose transcript is read again, with what hooks told or without, is the run it was. An answer that
a hook told before the transcript did is provisional: when the transcript goes on, it is either the very next
message, and then it is that one, or it gives way to what comes in between and is told again after it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Self

from .. import PreparedMessage, PreparedRun
from ..arrival import Plan
from ..rows import maybe_ms
from . import meetings
from .deciding import Decision
from .ground import Ground
from .placing import Place
from .sessions import note_way
from .taking import Intake

Beside = Mapping[int, tuple[PreparedMessage, ...]]
"""What hooks told, by the index of the message that it follows; -1 where none is before it."""


def told_apart(run: PreparedRun) -> tuple[PreparedRun, Beside]:
    """The run as its transcript tells it, and what hooks told besides."""
    if all(message.fact is None for message in run.messages):
        return run, {}
    told: list[PreparedMessage] = []
    beside: dict[int, tuple[PreparedMessage, ...]] = {}
    for message in run.messages:
        if message.fact is None:
            told.append(message)
        else:
            at = len(told) - 1
            beside[at] = (*beside.get(at, ()), message)
    return replace(run, messages=tuple(told)), beside


def decide_hooked(ground: Ground, placed: Place) -> Decision:
    """Of a sending that hooks alone tell: nothing of it is compared with what is known."""
    note_way(ground, placed.session, meetings.way_of(placed.run))
    return Decision(Plan((), (), "fresh" if placed.known is None else "same"), placed.known)


async def adopted(intake: Intake, new: Sequence[int]) -> dict[int, int]:
    """Which new messages of a known run are there already, as hooks told them: their seqs, by index.

    What else hooks told for the end of this run is taken back: it waits until the transcript is read so far.
    """
    ground, session, run = intake.ground, intake.session, intake.run
    session_ids = {session.session_id, session.session_id.removeprefix(f"{run.source}:")}
    found: dict[int, int] = {}
    provisional = await ground.provisional(run.source, session_ids, intake.row.run_key)
    for place, told in enumerate(provisional):
        if len(found) == place < len(new) and _is_said_by(run.messages[new[place]], told.text):
            found[new[place]] = told.seq
            ground.adopt(told.fact_key)
        else:
            ground.wait_again(told.fact_key, told.text)
            ground.unindex(told.message_key)
            ground.remove_message(told.message_key)
            intake.tally.messages -= 1
    return found


def _is_said_by(message: PreparedMessage, text: str) -> bool:
    """Whether it says just this. Both were scrubbed by the same rules; a host may join its parts otherwise."""
    return (
        message.kept and message.role == "assistant" and not message.tool_calls and _bare(message.text) == _bare(text)
    )


def _bare(text: str) -> str:
    return "".join(text.split())


class Hooked:
    """Takes what hooks told of one sending, as the messages that it follows are taken. `finish` when all is stored."""

    def __init__(
        self, intake: Intake, beside: Beside, claimed: Mapping[str, tuple[int, str]], *, is_hooked: bool
    ) -> None:
        self._intake = intake
        self._beside = dict(beside)
        self._claimed = claimed
        self._is_hooked = is_hooked
        self._told_by: list[tuple[int, int]] = []
        self._has_stored = False

    @classmethod
    async def claimed(cls, intake: Intake, beside: Beside, *, is_hooked: bool) -> Self:
        """From here on what hooks told is told, where it was not before. `is_hooked`: no transcript tells this run."""
        fact_ids = {message.fact: None for following in beside.values() for message in following if message.fact}
        claimed = await intake.ground.claim(list(fact_ids), intake.row.run_id)
        return cls(intake, beside, claimed, is_hooked=is_hooked)

    @property
    def messages(self) -> list[PreparedMessage]:
        """Those that are still to be taken."""
        return [message for following in self._beside.values() for message in following]

    def before(self, new: Iterable[int]) -> None:
        """Take what follows messages that were stored long ago."""
        for at in sorted(self._beside.keys() - set(new)):
            self.after(at)

    def after(self, at: int) -> None:
        """Take what follows the message that was taken just now."""
        for message in self._beside.pop(at, ()):
            self._take(message)

    def _take(self, message: PreparedMessage) -> None:
        assert message.fact is not None
        fact = self._claimed.get(message.fact)
        if fact is None or (message.role == "tool" and not self._intake.waits_for(message.tool_call_id)):
            # It was told before, or the transcript told the result after all.
            return
        fact_key, kind = fact
        key = self._intake.take_hooked(message)
        if key is not None:
            self._has_stored = True
            if kind == "answer" or self._is_hooked:
                self._told_by.append((key, fact_key))

    def finish(self) -> None:
        """The run reaches as far as what was told of it, and is over where hooks say so."""
        intake = self._intake
        ground, row, run = intake.ground, intake.row, intake.run
        if self._told_by:
            ground.tell_by(self._told_by)
        if not self._has_stored:
            return
        ground.reach(row.run_key, intake.tally.seq)
        if row.status == "running" and run.status != "running":
            ground.end(row.run_key, run.status, maybe_ms(run.ended_at))
            row.status = run.status
