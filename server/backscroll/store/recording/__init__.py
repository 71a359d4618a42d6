"""The write path, whatever the database: whole runs in one transaction, at a cost that does not depend on the past.

`record` is a coroutine, since a database may be a round trip away. What it asks of one is a Ground.
"""

from collections.abc import Sequence
from typing import Any

from ...errors import Conflict
from ...ids import uuid7
from ...marks import agrees
from ...merge import merge_patch, sum_metrics
from .. import PreparedRun, Recorded
from ..rows import to_ms
from .deciding import decide
from .ground import Ground, RunRow, at_once
from .growing import extend, retell_last_answer
from .hooked import Hooked, adopted, decide_hooked, told_apart
from .placing import place
from .running import add_run, update_run
from .sessions import OpenSession, Sessions
from .taking import Intake, Tally

__all__ = ["Ground", "at_once", "record"]


async def record(ground: Ground, runs: Sequence[PreparedRun]) -> list[Recorded]:
    sessions = Sessions(ground)
    recorded = []
    for run in runs:
        await ground.foresee(run)
        recorded.append(await _record_run(ground, sessions, run))
    sessions.finish()
    return recorded


async def _record_run(ground: Ground, sessions: Sessions, run: PreparedRun) -> Recorded:
    run, beside = told_apart(run)
    placed = await place(ground, sessions, run)
    if placed is None:
        return Recorded(run.session_id or "", "", run.run_id or "", 0, skipped_deleted=True)
    run, session, created, _ = placed
    if run.messages or not beside:
        decided, known, is_met = await decide(ground, placed)
    else:
        decided, known, is_met = decide_hooked(ground, placed)
    if decided.verdict == "different":
        raise Conflict(
            f"Run {run.run_id!r} is stored with other messages. Send the messages it began with and more, "
            "or leave run_id out to record another run."
        )
    sent, position = decided.differs
    extends = decided.verdict == "one_differs"
    if extends and not is_met and not _may_extend(known, run, sent):
        raise Conflict(
            f"Run {run.run_id!r} is stored with another message in place {position + 1}. "
            "Only the last assistant text of a running run may grow."
        )
    row = known or _new_row(ground, session, run)
    tally = Tally(seq=session.last_seq)
    intake = Intake(ground, session, row, run, tally)
    if extends:
        await extend(intake, run.messages[sent], position)
    if known is not None and run.imported and not decided.history and not is_met:
        await retell_last_answer(intake, known.received)
    if known is None and run.store_history:
        intake.take_history(decided.history)
    elif known is None:
        tally.scrubbed_history = len(decided.history)
    there = await adopted(intake, decided.new) if known is not None and (decided.new or extends) else {}
    hooked = None
    if beside:
        hooked = await Hooked.claimed(intake, beside, is_hooked=not (row.received or run.messages))
    await intake.take_new(decided.new, there, hooked)
    old_metrics = row.metrics
    if known is None:
        add_run(ground, session, row, run, decided, tally)
        changed = True
    else:
        changed = await update_run(ground, session, row, run, decided, tally, is_met=is_met)
    intake.store()
    if hooked is not None:
        hooked.finish()
    if changed or tally.recorded or tally.messages or tally.tool_calls or _retells(session, run):
        _count(session, row, run, tally, old_metrics, created=created, new_run=known is None)
    if known is None:
        tally.secrets.update(run.secrets)
    if tally.secrets:
        ground.note_secrets(tally.secrets, to_ms(run.recorded_at))
    nothing_new = known is not None and decided.verdict == "same"
    return Recorded(
        session_id=session.session_id,
        session=session.handle,
        run_id=run.run_id or row.run_id,
        run_index=row.run_index,
        created=created,
        duplicate=nothing_new and not changed and not tally.recorded,
        recorded=tally.recorded,
        tool_calls=tally.tool_calls,
        history=len(decided.history),
        scrubbed_media=tally.scrubbed_media,
        scrubbed_tool_messages=tally.scrubbed_tool_messages,
        scrubbed_history=tally.scrubbed_history,
        metrics=row.metrics,
        suspected_repeat=decided.suspected_repeat,
        uncovered=tally.seq - session.covered,
        secrets=dict(tally.secrets),
    )


# The run's own row


def _new_row(ground: Ground, session: OpenSession, run: PreparedRun) -> RunRow:
    return RunRow(
        ground.next_run_key(),
        session.session_key,
        run.run_id or uuid7(),
        session.last_run_index + 1,
        run.status,
        run.agent,
        {},
        received=0,
        history_count=0,
        history_digest=None,
        first_seq=None,
        last_seq=None,
    )


def _may_extend(known: RunRow | None, run: PreparedRun, sent: int) -> bool:
    """Whether this is the last assistant message of a run that still grows; results may follow it."""
    later = (message.role for message in run.messages[sent + 1 :])
    if known is None or (not run.imported and (known.status != "running" or "assistant" in later)):
        return False
    return run.messages[sent].role == "assistant"


# The session's own row


def _retells(session: OpenSession, run: PreparedRun) -> bool:
    """Whether a run changes what is said of its session."""
    return _title_told(session, run) is not None or any(
        patch and merge_patch(stored, patch) != stored
        for stored, patch in ((session.state, run.state), (session.metadata, run.session_metadata))
    )


def _title_told(session: OpenSession, run: PreparedRun) -> str | None:
    """The title that a run brings, if it is another: not one that was redacted here since."""
    return None if agrees(session.title, run.title) else run.title


def _count(
    session: OpenSession,
    row: RunRow,
    run: PreparedRun,
    tally: Tally,
    old_metrics: dict[str, Any],
    *,
    created: bool,
    new_run: bool,
) -> None:
    """Bring the session's row up to date with what a run added."""
    if (title := _title_told(session, run)) is not None and not (run.imported and session.row.renamed):
        session.title = title
    if session.opening is None:
        session.opening = tally.opening
    session.agent = run.agent or session.agent
    if run.state:
        session.state = merge_patch(session.state, run.state)
    if run.session_metadata and not run.session_metadata.items() <= session.metadata.items():
        session.metadata = merge_patch(session.metadata, run.session_metadata)
    session.metrics = sum_metrics(session.metrics, old_metrics, row.metrics)
    session.messages += tally.messages
    session.history_messages += tally.history
    session.runs += new_run
    session.tool_calls += tally.tool_calls
    session.last_seq = tally.seq
    session.last_run_index = max(session.last_run_index, row.run_index)
    session.last_message_key = max(session.last_message_key, tally.last_message_key)
    session.system_digest = tally.system_digest or session.system_digest
    session.updated_at = to_ms(run.recorded_at)
    # A session made just now is as old as what it holds.
    activity = 0 if created and tally.newest_at else session.last_activity_at
    session.last_activity_at = max(activity, tally.newest_at)
    session.has_changed = True
