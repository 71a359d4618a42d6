"""Runs as they stand, to be compared with what hooks told; times and durations that hooks know better."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ...models import NewMessage, NewRun, NewToolCall
from ..facts import MAX_CALLS, StoredRun
from ..recording.placing import aside
from ..rows import SessionRow, from_ms, load, maybe_from_ms, to_ms
from .database import Ask, Each, Row, Transaction, Writing
from .rows import SESSION_COLUMNS

# How long tools took


def timed(user_key: UUID, sessions: Collection[tuple[str, str]]) -> Ask:
    """What waits to be told by `durations`."""
    named = list(sessions)
    return Ask(
        "SELECT f.source, f.session_id, f.fact_key, f.tool_call_id, f.duration_ms "
        "FROM unnest(%s::text[], %s::text[]) AS n (source, session_id) JOIN facts AS f "
        "ON f.user_key = %s AND f.source = n.source AND f.session_id = n.session_id "
        "WHERE f.told = 0 AND f.kind = 'tool' AND f.duration_ms IS NOT NULL AND f.tool_call_id IS NOT NULL "
        "ORDER BY f.fact_key",
        ([source for source, _ in named], [session_id for _, session_id in named], user_key),
    )


async def durations(writing: Writing, sessions: Collection[tuple[str, str]]) -> int:
    """A call is found by its id among the session's newest; ended, else its end would wipe it out."""
    waiting: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    for source, session_id, fact_key, call_id, duration_ms in writing.ahead[0]:
        waiting.setdefault((source, session_id), {})[call_id] = (fact_key, duration_ms)
    user = writing.user_key
    keys = await _session_keys(writing, user, waiting) if waiting else {}
    asked = [one for one in waiting if one in keys]
    told = await writing.together(
        *(
            Ask(
                "SELECT call_key, tool_call_id, duration_ms FROM (SELECT call_key, tool_call_id, duration_ms "
                "FROM tool_calls WHERE user_key = %s AND session_key = %s AND status <> 'pending' "
                f"AND from_history = 0 ORDER BY called_at DESC LIMIT {MAX_CALLS}) AS c "
                "WHERE tool_call_id = ANY(%s::text[])",
                (user, keys[one], list(waiting[one])),
            )
            for one in asked
        )
    )
    calls: list[Row] = []
    facts: list[Row] = []
    for one, found in zip(asked, told, strict=True):
        for call_key, call_id, known in found:
            fact_key, duration_ms = waiting[one][call_id]
            facts.append((user, fact_key))
            if known is None:
                calls.append((duration_ms, user, call_key))
    writing.later(
        Each("UPDATE tool_calls SET duration_ms = %s WHERE user_key = %s AND call_key = %s", calls),
        Each("UPDATE facts SET told = 1, text = NULL, arguments = NULL WHERE user_key = %s AND fact_key = %s", facts),
    )
    return len(calls)


async def _session_keys(
    transaction: Transaction, user_key: UUID, sessions: Collection[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """Of those that are here: kept as `source:id` where another source has the id."""
    ids = {one: (aside(*one), one[1]) for one in sessions}
    rows: list[Any] = await transaction.all(
        "SELECT session_id, session_key FROM sessions WHERE user_key = %s AND session_id = ANY(%s::text[])",
        (user_key, [session_id for those in ids.values() for session_id in those]),
    )
    keys: dict[str, int] = dict(rows)
    found = {one: next((keys[named] for named in those if named in keys), None) for one, those in ids.items()}
    return {one: key for one, key in found.items() if key is not None}


# When things were said


async def times(writing: Writing, run_id: str, at: Mapping[int, datetime]) -> None:
    user = writing.user_key
    row = await writing.one("SELECT run_key, session_key FROM runs WHERE user_key = %s AND run_id = %s", (user, run_id))
    if row is None:
        return
    values: dict[str, Any] = {
        "user": user,
        "run": row[0],
        "session": row[1],
        "seqs": list(at),
        "times": [to_ms(moment) for moment in at.values()],
        "first": to_ms(min(at.values())),
    }
    told = (
        "unnest(%(seqs)s::bigint[], %(times)s::bigint[]) AS n (seq, at)",
        "m.user_key = %(user)s AND m.session_key = %(session)s AND m.run_key = %(run)s AND m.seq = n.seq",
    )
    writing.later(
        Ask(f"UPDATE messages AS m SET created_at = n.at FROM {told[0]} WHERE {told[1]}", values),
        *(
            Ask(
                f"UPDATE {table} AS t SET {column} = n.at FROM {told[0]}, messages AS m "
                f"WHERE {told[1]} AND t.user_key = m.user_key AND t.message_key = m.message_key",
                values,
            )
            for table, column in (("tool_calls", "called_at"), ("search_entries", "created_at"))
        ),
        Ask("UPDATE runs SET started_at = %(first)s WHERE user_key = %(user)s AND run_key = %(run)s", values),
        Ask(
            "UPDATE sessions AS s SET last_activity_at = (SELECT max(m.created_at) FROM messages AS m "
            "WHERE m.user_key = s.user_key AND m.session_key = s.session_key AND m.from_history = 0), "
            "created_at = least(s.created_at, %(first)s) WHERE s.user_key = %(user)s AND s.session_key = %(session)s",
            values,
        ),
    )


# Runs as they stand


async def newest_runs(
    transaction: Transaction, user_key: UUID, source: str, session_id: str, limit: int
) -> list[StoredRun]:
    keys = await _session_keys(transaction, user_key, [(source, session_id)])
    if not keys:
        return []
    values: dict[str, Any] = {"user": user_key, "session": keys[source, session_id], "limit": limit}
    sessions, runs, messages, calls = await transaction.together(
        Ask(
            f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = %(user)s AND s.session_key = %(session)s",
            values,
        ),
        Ask(
            "SELECT r.run_key, r.run_id, r.status, r.model, r.metadata, r.started_at, r.ended_at, EXISTS (SELECT 1 "
            f"FROM digests AS d WHERE d.user_key = r.user_key AND d.run_key = r.run_key) {_NEWEST}",
            values,
        ),
        Ask(
            "SELECT m.run_key, m.message_key, m.seq, m.role, CASE WHEN m.role = 'tool' THEN '' ELSE m.text END, "
            "m.tool_call_id, m.created_at FROM messages AS m WHERE m.user_key = %(user)s "
            f"AND m.session_key = %(session)s AND m.from_history = 0 AND m.run_key IN (SELECT r.run_key {_NEWEST}) "
            "ORDER BY m.seq",
            values,
        ),
        Ask(
            "SELECT c.message_key, c.tool_call_id, c.tool_name, coalesce(c.arguments, '') FROM tool_calls AS c "
            "WHERE c.user_key = %(user)s AND c.session_key = %(session)s AND c.message_key IS NOT NULL "
            f"AND c.run_key IN (SELECT r.run_key {_NEWEST}) ORDER BY c.ordinal",
            values,
        ),
    )
    made: dict[int, list[NewToolCall]] = {}
    for message_key, call_id, name, arguments in calls:
        made.setdefault(message_key, []).append(
            NewToolCall(tool_call_id=call_id or None, tool_name=name, arguments=arguments)
        )
    session = SessionRow._make(sessions[0])
    return [_run(session, source, run, messages, made) for run in reversed(runs)]


_NEWEST = (
    "FROM runs AS r WHERE r.user_key = %(user)s AND r.session_key = %(session)s ORDER BY r.run_index DESC "
    "LIMIT %(limit)s"
)


def _run(
    session: SessionRow, source: str, row: Row, messages: Sequence[Row], calls: Mapping[int, Sequence[NewToolCall]]
) -> StoredRun:
    run_key, run_id, status, model, metadata, started_at, ended_at, has_transcript = row
    own = [message for message in messages if message[0] == run_key]
    run = NewRun(
        messages=tuple(
            NewMessage(
                role=role,
                text=text,
                tool_call_id=tool_call_id,
                tool_calls=tuple(calls.get(key, ())),
                created_at=from_ms(created_at),
            )
            for _, key, _, role, text, tool_call_id, created_at in own
        ),
        session_id=str(session.session_id),
        run_id=run_id,
        status=status,
        agent=session.agent,
        model=model,
        source=source,
        metadata=load(metadata),
        started_at=maybe_from_ms(started_at),
        ended_at=maybe_from_ms(ended_at),
    )
    return StoredRun(run, tuple(message[2] for message in own), not has_transcript)
