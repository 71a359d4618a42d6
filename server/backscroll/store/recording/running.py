"""A run's own row: made, and brought up to date by later sendings."""

from typing import Any, NamedTuple

from .. import PreparedRun
from ..arrival import Plan, history_digest
from ..meeting import opening_of
from ..rows import dump, maybe_dump, maybe_ms, to_ms
from . import meetings
from .ground import Ground, RunRow
from .sessions import OpenSession, stored_source
from .taking import Tally


def add_run(ground: Ground, session: OpenSession, row: RunRow, run: PreparedRun, decided: Plan, tally: Tally) -> None:
    row.metrics = run.metrics
    history_count, history = _history(run, decided)
    first_seq, last_seq = _stretch(session, row, tally)
    ground.add_run(
        row,
        {
            "parent_run_id": run.parent_run_id,
            "status": run.status,
            "agent": run.agent,
            "model": run.model,
            "metrics": dump(run.metrics),
            "metadata": maybe_dump(run.metadata),
            "history_count": history_count,
            "history_digest": history,
            "first_seq": first_seq,
            "last_seq": last_seq,
            "started_at": maybe_ms(run.started_at),
            "ended_at": maybe_ms(run.ended_at),
            "created_at": to_ms(run.recorded_at),
            "source": stored_source(session.source, run.source),
            "imported": int(run.imported),
            "opening": opening_of(run, decided.new),
        },
    )


def _history(run: PreparedRun, decided: Plan) -> tuple[int, bytes | None]:
    if not decided.history:
        return 0, None
    arrived = [message.arrived for message in run.messages]
    return len(decided.history), history_digest(arrived, decided.history)


def _stretch(session: OpenSession, row: RunRow, tally: Tally) -> tuple[int, int | None]:
    """The first and the last seq. Where a run stands is told even if policy drops all that it said: forks cut there."""
    return row.first_seq or session.last_seq + 1, tally.seq if tally.seq > session.last_seq else row.last_seq


class Told(NamedTuple):
    """What a run's row says of it, its messages aside."""

    status: str
    metrics: dict[str, Any]
    model: str | None
    metadata: dict[str, Any] | None
    ended_at: int | None


async def update_run(
    ground: Ground,
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
    before = Told(row.status, row.metrics, row.model, row.metadata, row.ended_at)
    now = await _told_twice(ground, row, run, before) if is_met else _told_once(run, before, nothing_new=nothing_new)
    row.metrics, row.status = now.metrics, now.status
    # Who ran it may send it again with other times; a transcript, further read, tells more.
    changed = now != before if run.imported else now[:2] != before[:2]
    if nothing_new and not changed:
        return False
    history_count, history = (
        (row.history_count, row.history_digest) if is_met and run.imported else _history(run, decided)
    )
    first_seq, last_seq = _stretch(session, row, tally)
    ground.update_run(
        row.run_key,
        {
            "status": now.status,
            "metrics": dump(now.metrics),
            "model": now.model,
            "metadata": maybe_dump(now.metadata),
            "ended_at": now.ended_at,
            "history_count": history_count,
            "history_digest": history,
            "first_seq": first_seq,
            "last_seq": last_seq,
        },
        opening_of(run, decided.new),
    )
    return changed


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


async def _told_twice(ground: Ground, row: RunRow, run: PreparedRun, before: Told) -> Told:
    """Of two who tell of one run, the transcript's word stands; the other's where it has none."""
    metrics = await meetings.metrics_with(ground, row, run)
    ended_at, metadata = maybe_ms(run.ended_at), run.metadata or {}
    is_over = before.status == "running" or (run.imported and run.status != "running")
    status = run.status if is_over else before.status
    if run.imported:
        merged = {**(before.metadata or {}), **metadata}
        return Told(status, metrics, run.model or before.model, merged or None, ended_at or before.ended_at)
    merged = {**metadata, **(before.metadata or {})}
    return Told(status, metrics, before.model or run.model, merged or None, before.ended_at or ended_at)
