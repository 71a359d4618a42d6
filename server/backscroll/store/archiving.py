"""Rows become the values of an archive: pure, shared by both stores."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .archive import ArchivedCall, ArchivedRun, ArchivedSession, ArchivedSummary, ArchivedTelling
from .meeting import RECORDERS
from .rows import SessionRow, from_ms, load, maybe_from_ms, unpack_id


def in_order(parents: Mapping[int, int | None], chosen: Collection[int]) -> list[int]:
    """Session keys in the order of `parents`, but each after its parent: a parent may be younger, where it took over.

    `parents` of all sessions; of these only the chosen ones, and what they are forks of.
    """
    ordered: dict[int, None] = {}
    for one in parents:
        line: list[int] = []
        key: int | None = one if one in chosen else None
        while key is not None and key not in ordered:
            line.append(key)
            key = parents[key]
        ordered.update(dict.fromkeys(reversed(line)))
    return list(ordered)


def head_of(row: SessionRow, *, forked_from: str | None, summaries: int) -> ArchivedSession:
    return ArchivedSession(
        session_id=unpack_id(row.session_id),
        number=row.number,
        title=row.title,
        opening=row.opening,
        project=row.project,
        source=row.source,
        agent=row.agent,
        state=load(row.state) or None,
        metadata=load(row.metadata) or None,
        metrics=load(row.metrics) or None,
        archived=bool(row.archived),
        forked_from=forked_from,
        fork_seq=row.fork_seq,
        runs=row.runs,
        messages=row.messages,
        tool_calls=row.tool_calls,
        summaries=summaries,
        last_seq=row.last_seq,
        last_run_index=row.last_run_index,
        created_at=from_ms(row.created_at),
        updated_at=from_ms(row.updated_at),
        last_activity_at=from_ms(row.last_activity_at),
    )


RUN_COLUMNS = (
    "run_key, run_id, run_index, parent_run_id, status, agent, model, metrics, metadata, first_seq, last_seq, "
    "started_at, ended_at, created_at, source, imported"
)


def run_of(
    row: Sequence[Any], own: str, dropped: Sequence[tuple[int, int]], tellings: Sequence[ArchivedTelling]
) -> ArchivedRun:
    """From a row of RUN_COLUMNS. `own` is the source of its session."""
    _, run_id, run_index, parent, status, agent, model, metrics, metadata, *rest = row
    first_seq, last_seq, started_at, ended_at, created_at, source, imported = rest
    return ArchivedRun(
        run_id=unpack_id(run_id),
        run_index=run_index,
        parent_run_id=None if parent is None else unpack_id(parent),
        status=status,
        agent=agent,
        model=model,
        metrics=load(metrics),
        metadata=load(metadata),
        first_seq=first_seq,
        last_seq=last_seq,
        dropped=tuple(dropped),
        source=source or None,
        imported=None if bool(imported) == (own not in RECORDERS) else bool(imported),
        tellings=tuple(tellings),
        started_at=maybe_from_ms(started_at),
        ended_at=maybe_from_ms(ended_at),
        created_at=from_ms(created_at),
    )


TELLING_COLUMNS = "run_id, source, imported, metrics, upto"


def tellings_of(rows: Sequence[Sequence[Any]]) -> tuple[ArchivedTelling, ...]:
    """From rows of TELLING_COLUMNS, in an order of their own: by text as it stands, whatever the database's locale."""
    found = [
        ArchivedTelling(
            run_id=unpack_id(run_id), source=source, imported=bool(imported), metrics=load(metrics), upto=upto
        )
        for run_id, source, imported, metrics, upto in rows
    ]
    return tuple(sorted(found, key=lambda one: (one.imported, one.source, one.run_id)))


def call_of(
    row: Sequence[Any], said_at: int | None = None, *, run_index: int | None = None, ordinal: int | None = None
) -> ArchivedCall:
    """From call id, tool, arguments, status, duration, time, seq of the result: of a message said at that time; or
    of none, with its run and its place there."""
    tool_call_id, tool_name, arguments, status, duration_ms, called_at, result_seq = row
    return ArchivedCall(
        run_index=run_index,
        ordinal=ordinal,
        tool_call_id=tool_call_id,
        tool_name=tool_name,
        arguments=arguments,
        status=status,
        duration_ms=duration_ms,
        result_seq=result_seq,
        called_at=None if called_at == said_at else from_ms(called_at),
    )


SUMMARY_COLUMNS = "version, summary, topics, made_by, first_seq, last_seq, digest, created_at"


def summary_of(row: Sequence[Any]) -> ArchivedSummary:
    version, summary, topics, made_by, first_seq, last_seq, digest, created_at = row
    return ArchivedSummary(
        version=version,
        summary=summary,
        topics=tuple(load(topics)),
        made_by=made_by,
        first_seq=first_seq,
        last_seq=last_seq,
        digest=digest.hex(),
        created_at=from_ms(created_at),
    )
