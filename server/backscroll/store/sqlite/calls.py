"""Tool calls with their results, newest first."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from ...errors import MessageNotFound
from ...models import ToolCall
from .. import (
    CallsFound,
    CallWindow,
)
from .messages import arguments_of
from .rows import (
    NEWEST,
    ascii_lower,
    find_session,
    find_user,
    from_ms,
    lineage,
    unpack_id,
)

_CALL_COLUMNS = (
    "c.call_key, c.called_at, s.number, c.tool_call_id, c.tool_name, substr(c.arguments, 1, :chars), "
    "length(c.arguments), substr(f.text, 1, :chars), {status}, c.duration_ms, r.run_id, r.agent, coalesce(m.seq, f.seq)"
).format
_CALL_TABLES = (
    "tool_calls AS c JOIN sessions AS s ON s.session_key = c.session_key JOIN runs AS r ON r.run_key = c.run_key "
    "LEFT JOIN messages AS m ON m.message_key = c.message_key "
    "LEFT JOIN messages AS f ON f.message_key = c.result_key{visible}"
).format


def _call(row: Sequence[Any]) -> ToolCall:
    _, called_at, number, call_id, name, arguments, chars, result, status, duration_ms, run_id, agent, seq = row
    return ToolCall(
        tool_call_id=call_id,
        tool_name=name,
        arguments=arguments_of(arguments),
        result=result,
        status=status,
        session=f"#{number}",
        ref=None if seq is None else f"#{number}.{seq}",
        seq=seq,
        run_id=unpack_id(run_id),
        agent=agent,
        created_at=from_ms(called_at),
        duration_ms=duration_ms,
        arguments_text=arguments or "",
        arguments_chars=chars or 0,
    )


def tool_calls(db: sqlite3.Connection, user_id: str, window: CallWindow) -> CallsFound:
    session = None if window.session is None else find_session(db, user_id, window.session)
    user_key = find_user(db, user_id)
    values: dict[str, Any] = {"user": user_key, "chars": window.max_chars}
    where = ["c.user_key = :user", "c.from_history = 0"]
    visible, status = "", "c.status"
    if session is not None:
        shared: list[str] = []
        cut: list[str] = []
        for s in lineage(db, session):
            # A call that left no message behind stands where its run does.
            inside = f"c.session_key = {s.session_key}"
            if s.high < NEWEST:
                inside += f" AND coalesce(m.seq, f.seq, r.first_seq) <= {s.high}"
                cut.append(f"NOT (c.session_key = {s.session_key} AND f.seq > {s.high})")
            shared.append(f"({inside})")
        where.append(shared[0] if len(shared) == 1 else f"({' OR '.join(shared)})")
        if cut:
            # A result that came after the cut of a fork is not the fork's: there the call is pending.
            visible = f" AND {' AND '.join(cut)}"
            status = "iif(c.result_key IS NOT NULL AND f.message_key IS NULL, 'pending', c.status)"
    tables = _CALL_TABLES(visible=visible)
    if window.tool_name is not None:
        where.append("c.tool_name = :tool COLLATE NOCASE")
        values["tool"] = window.tool_name
    if window.status is not None:
        where.append(f"{status} = :status")
        values["status"] = window.status
    for i, word in enumerate(_words(window.query)):
        where.append(
            f"(instr(lower(c.arguments), :w{i}) OR instr(lower(f.text), :w{i}) OR instr(lower(c.tool_name), :w{i}))"
        )
        values[f"w{i}"] = word
    as_of = window.as_of
    if as_of is None:
        (as_of,) = db.execute("SELECT coalesce(max(call_key), 0) FROM tool_calls").fetchone()
    values["as_of"] = as_of
    where.append("c.call_key <= :as_of")
    (total,) = db.execute(f"SELECT count(*) FROM {tables} WHERE {' AND '.join(where)}", values).fetchone()
    if window.after is not None:
        where.append("(c.called_at, c.call_key) < (:after_at, :after_key)")
        values["after_at"], values["after_key"] = window.after
    rows = db.execute(
        f"SELECT {_CALL_COLUMNS(status=status)} FROM {tables} WHERE {' AND '.join(where)} "
        "ORDER BY c.called_at DESC, c.call_key DESC LIMIT :limit",
        {**values, "limit": window.limit},
    ).fetchall()
    return CallsFound(
        None if session is None else session.value(),
        tuple(map(_call, rows)),
        tuple((row[1], row[0]) for row in rows),
        total,
        as_of,
    )


def _words(query: str | None) -> list[str]:
    return [] if query is None else [ascii_lower(word) for word in query.split()]


def call_text(
    db: sqlite3.Connection, user_id: str, call_key: int, field: str, offset: int, max_chars: int
) -> tuple[ToolCall, str, int]:
    column = {"arguments": "c.arguments", "result": "f.text"}[field]
    row = db.execute(
        f"SELECT {_CALL_COLUMNS(status='c.status')}, substr({column}, :offset + 1, :max), length({column}) "
        f"FROM {_CALL_TABLES(visible='')} "
        "WHERE c.user_key = :user AND c.call_key = :call",
        {"user": find_user(db, user_id), "call": call_key, "offset": offset, "max": max_chars, "chars": 0},
    ).fetchone()
    if row is None:
        raise MessageNotFound("of this cursor")
    return _call(row[:-2]), row[-2] or "", row[-1] or 0
