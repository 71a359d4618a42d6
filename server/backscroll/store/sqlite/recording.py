"""The write path: whole runs in one transaction, at a cost that does not depend on the past."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...errors import Conflict
from ...ids import uuid7
from ...marks import agrees
from ...merge import merge_patch, sum_metrics
from .. import PreparedRun, Recorded
from ..arrival import Plan, history_digest
from ..meeting import opening_of
from ..rows import dump, load, maybe_dump, maybe_ms, pack_id, to_ms
from . import meetings
from .deciding import decide
from .growing import extend, retell_last_answer
from .hooked import Hooked, adopted, decide_hooked, told_apart
from .inserting import Intake, RunRow, Tally
from .placing import place
from .redacting import note
from .writing import OpenSession, Writing, stored_source


def record(db: sqlite3.Connection, user_id: str, runs: Sequence[PreparedRun]) -> list[Recorded]:
    writing = Writing(db, ensure_user(db, user_id))
    recorded = [_record_run(writing, run) for run in runs]
    writing.finish()
    return recorded


def ensure_user(db: sqlite3.Connection, user_id: str) -> int:
    row = db.execute("SELECT user_key FROM users WHERE user_id = ?", (user_id,)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO users (user_id) VALUES (?) RETURNING user_key", (user_id,)).fetchone()
    return int(row[0])


def _record_run(writing: Writing, run: PreparedRun) -> Recorded:
    run, beside = told_apart(run)
    placed = place(writing, run)
    if placed is None:
        return Recorded(run.session_id or "", "", run.run_id or "", 0, skipped_deleted=True)
    run, session, created, _ = placed
    decided, known, is_met = (decide if run.messages or not beside else decide_hooked)(writing, placed)
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
    row = known or _new_row(writing, session, run)
    tally = Tally(seq=session.last_seq)
    intake = Intake(writing, session, row, run, tally)
    if extends:
        extend(intake, run.messages[sent], position)
    if known is not None and run.imported and not decided.history and not is_met:
        retell_last_answer(intake, known.received)
    if known is None and run.store_history:
        intake.take_history(decided.history)
    elif known is None:
        tally.scrubbed_history = len(decided.history)
    there = adopted(intake, decided.new) if known is not None and (decided.new or extends) else {}
    hooked = Hooked(intake, beside, is_hooked=not (row.received or run.messages)) if beside else None
    intake.take_new(decided.new, there, hooked)
    old_metrics = row.metrics
    if known is None:
        _insert_run(writing, session, row, run, decided, tally)
        changed = True
    else:
        changed = _update_run(writing.db, session, row, run, decided, tally, is_met=is_met)
    intake.store()
    if hooked is not None:
        hooked.finish()
    if changed or tally.recorded or tally.messages or tally.tool_calls or _retells(session, run):
        _count(session, row, run, tally, old_metrics, created=created, new_run=known is None)
    if known is None:
        tally.secrets.update(run.secrets)
    if tally.secrets:
        note(writing.db, session.user_key, tally.secrets, to_ms(run.recorded_at))
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


def _new_row(writing: Writing, session: OpenSession, run: PreparedRun) -> RunRow:
    return RunRow(
        writing.next_run_key(),
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


def _insert_run(
    writing: Writing, session: OpenSession, row: RunRow, run: PreparedRun, decided: Plan, tally: Tally
) -> None:
    row.metrics = run.metrics
    writing.db.execute(
        "INSERT INTO runs (run_key, user_key, session_key, run_id, run_index, parent_run_id, status, agent, model, "
        "metrics, metadata, history_count, history_digest, first_seq, last_seq, started_at, ended_at, created_at, "
        "source, imported, opening) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.run_key, session.user_key, session.session_key, pack_id(row.run_id), row.run_index,
            None if run.parent_run_id is None else pack_id(run.parent_run_id), run.status, run.agent, run.model,
            dump(run.metrics), maybe_dump(run.metadata), *_history(run, decided), *_stretch(session, row, tally),
            maybe_ms(run.started_at), maybe_ms(run.ended_at), to_ms(run.recorded_at),
            stored_source(session.source, run.source), int(run.imported), opening_of(run, decided.new),
        ),
    )  # fmt: skip


def _history(run: PreparedRun, decided: Plan) -> tuple[int, bytes | None]:
    if not decided.history:
        return 0, None
    arrived = [message.arrived for message in run.messages]
    return len(decided.history), history_digest(arrived, decided.history)


def _stretch(session: OpenSession, row: RunRow, tally: Tally) -> tuple[int, int | None]:
    """The first and the last seq. Where a run stands is told even if policy drops all that it said: forks cut there."""
    return row.first_seq or session.last_seq + 1, tally.seq if tally.seq > session.last_seq else row.last_seq


def _may_extend(known: RunRow | None, run: PreparedRun, sent: int) -> bool:
    """Whether this is the last assistant message of a run that still grows; results may follow it."""
    later = (message.role for message in run.messages[sent + 1 :])
    if known is None or (not run.imported and (known.status != "running" or "assistant" in later)):
        return False
    return run.messages[sent].role == "assistant"


class Told(NamedTuple):
    """What a run's row says of it, its messages aside."""

    status: str
    metrics: dict[str, Any]
    model: str | None
    metadata: dict[str, Any] | None
    ended_at: int | None


def _update_run(
    db: sqlite3.Connection,
    session: OpenSession,
    row: RunRow,
    run: PreparedRun,
    decided: Plan,
    tally: Tally,
    *,
    is_met: bool,
) -> bool:
    """Bring the row of a known run up to date; True if that changed what it says."""
    nothing_new = decided.verdict == "same"
    if nothing_new and run.imported and len(run.messages) < row.received and not is_met:
        # An older state of the file, read by a slower process.
        return False
    before = _told(db, row)
    now = _told_twice(db, session, row, run, before) if is_met else _told_once(run, before, nothing_new=nothing_new)
    row.metrics, row.status = now.metrics, now.status
    # Who ran it may send it again with other times; a transcript, further read, tells more.
    changed = now != before if run.imported else now[:2] != before[:2]
    if nothing_new and not changed:
        return False
    history = (row.history_count, row.history_digest) if is_met and run.imported else _history(run, decided)
    db.execute(
        "UPDATE runs SET status = ?, metrics = ?, model = ?, metadata = ?, ended_at = ?, "
        "opening = coalesce(opening, ?), history_count = ?, history_digest = ?, first_seq = ?, last_seq = ? "
        "WHERE run_key = ?",
        (
            now.status, dump(now.metrics), now.model, maybe_dump(now.metadata), now.ended_at,
            opening_of(run, decided.new), *history, *_stretch(session, row, tally), row.run_key,
        ),
    )  # fmt: skip
    return changed


def _told(db: sqlite3.Connection, row: RunRow) -> Told:
    model, metadata, ended_at = db.execute(
        "SELECT model, metadata, ended_at FROM runs WHERE run_key = ?", (row.run_key,)
    ).fetchone()
    return Told(row.status, row.metrics, model, load(metadata), ended_at)


def _told_once(run: PreparedRun, before: Told, *, nothing_new: bool) -> Told:
    """What is told last stands, but for a sending that adds nothing and knows less."""
    status: str = run.status
    metrics = run.metrics
    if nothing_new and (run.status == "running" if run.imported else before.status not in ("running", "paused")):
        status = before.status
    if nothing_new and run.metrics.get("estimated"):
        metrics = before.metrics
    return Told(
        status,
        metrics,
        run.model or before.model,
        before.metadata if run.metadata is None else run.metadata,
        maybe_ms(run.ended_at) or before.ended_at,
    )


def _told_twice(db: sqlite3.Connection, session: OpenSession, row: RunRow, run: PreparedRun, before: Told) -> Told:
    """Of two who tell of one run, the transcript's word stands; the other's where it has none."""
    metrics = meetings.metrics_with(db, session, row, run)
    ended_at, metadata = maybe_ms(run.ended_at), run.metadata or {}
    is_over = before.status == "running" or (run.imported and run.status != "running")
    status = run.status if is_over else before.status
    if run.imported:
        merged = {**(before.metadata or {}), **metadata}
        return Told(status, metrics, run.model or before.model, merged or None, ended_at or before.ended_at)
    merged = {**metadata, **(before.metadata or {})}
    return Told(status, metrics, before.model or run.model, merged or None, before.ended_at or ended_at)


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
