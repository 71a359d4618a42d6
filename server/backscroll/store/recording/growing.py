"""Messages that are stored already grow: more text after the old one, more calls, a thought, a picture."""

from collections import Counter

from ...errors import Conflict
from ...marks import agrees, continues, kinds_in
from .. import PreparedMessage
from .taking import Intake


async def extend(intake: Intake, message: PreparedMessage, position: int) -> None:
    """An assistant message has grown: more text after the old one, more calls after the old ones.

    A transcript may show a message piece by piece, with results between the pieces. Raises Conflict
    where it is another message.
    """
    ground, run_key = intake.ground, intake.row.run_key
    seq, stored = await ground.digest_at(run_key, position)
    if stored:
        old_calls, stored = await _extend_stored(intake, message, seq)
        seq -= not stored
    else:
        old_calls = await _calls_of_dropped(intake, message)
        intake.tally.scrubbed_tool_messages += 1
    if not message.kept:
        intake.add_calls(message, None, old_calls, intake.time_of(message))
    ground.move_digest(run_key, position, message.arrived.digest, seq, int(stored))
    intake.store()


async def retell_last_answer(intake: Intake, received: int) -> None:
    """What no digest shows may have come to the last answer of a run that is read again: a thought, a picture.

    Only the last one can: importers let no other grow.
    """
    ground, messages = intake.ground, intake.run.messages
    answers = [n for n in range(min(received, len(messages))) if messages[n].role == "assistant"]
    if not answers or not (message := messages[answers[-1]]).kept:
        return
    known = await ground.retold(intake.session.session_key, intake.row.run_key, answers[-1])
    if known is None:
        return
    # What was redacted since then is not told anew.
    told = agrees(known.reasoning, message.reasoning or None) and agrees(known.payload, message.payload)
    if told and known.media == len(message.media):
        return
    # The payload may name who speaks, which the index holds.
    ground.unindex(known.message_key)
    ground.retell_message(known.message_key, message.reasoning or None, message.payload)
    await ground.reindex(known.message_key)
    _add_media(intake, known.message_key, known.media, message)
    intake.store()
    intake.tally.recorded += 1


async def _extend_stored(intake: Intake, message: PreparedMessage, seq: int) -> tuple[int, bool]:
    """How many calls the message had, and whether it stays: policy drops it once it calls a tool.

    What was stored with calls, under another policy, stays as it is: results may lean on it.
    """
    ground, tally = intake.ground, intake.tally
    known = await ground.message(intake.session.session_key, seq)
    calls = [(call.tool_name, call.arguments) for call in message.tool_calls]
    if (
        known is None
        or known.role != "assistant"
        or not continues(known.text, message.text)
        or not _begins_with(calls, known.calls)
    ):
        raise _another_message(intake)
    if not message.kept and known.calls:
        return len(known.calls), True
    ground.unindex(known.message_key)
    if not message.kept:
        ground.remove_message(known.message_key)
        tally.messages -= 1
        tally.scrubbed_tool_messages += 1
        return 0, False
    ground.change_message(known.message_key, message.text, message.reasoning or None, message.payload)
    tally.secrets += Counter(message.secrets) - Counter(kinds_in(known.text))
    intake.add_calls(message, known.message_key, len(known.calls), known.at)
    _add_media(intake, known.message_key, known.media, message)
    # The calls are of the entry.
    intake.store()
    await ground.reindex(known.message_key)
    tally.recorded += 1
    return len(message.tool_calls), True


def _add_media(intake: Intake, message_key: int, known: int, message: PreparedMessage) -> None:
    for ordinal, media in enumerate(message.media[known:], start=known):
        intake.add_media(message_key, ordinal, media)


def _begins_with(calls: list[tuple[str, str]], old: list[tuple[str, str | None]]) -> bool:
    """Whether the first calls are the old ones, but for what was redacted of those."""
    return len(calls) >= len(old) and all(
        agrees(old_name, name) and agrees(old_arguments, arguments)
        for (name, arguments), (old_name, old_arguments) in zip(calls, old, strict=False)
    )


async def _calls_of_dropped(intake: Intake, message: PreparedMessage) -> int:
    """How many of the message's calls are there already, though the message itself was dropped."""
    there = await intake.ground.dropped_calls(intake.row.run_key)
    known = 0
    for ordinal, call in enumerate(message.tool_calls):
        if (ordinal, call.tool_call_id or "", call.tool_name) not in there:
            break
        known += 1
    if not known:
        raise _another_message(intake)
    return known


def _another_message(intake: Intake) -> Conflict:
    return Conflict(
        f"Run {intake.row.run_id!r} is stored with another last message. "
        "Only more text after its last assistant text can be taken in while it is running."
    )
