"""Tool calls with their results, newest first."""

import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ...errors import MessageNotFound
from ...models import ToolCall
from .. import (
    CallsFound,
    CallWindow,
)
from ..message_rows import call_columns, call_of
from ..rows import NEWEST, SessionRow
from .rows import find_session, find_user, lineage

_columns = partial(call_columns, chars=":chars")
_TABLES = (
    "tool_calls AS c JOIN sessions AS s ON s.session_key = c.session_key JOIN runs AS r ON r.run_key = c.run_key "
    "LEFT JOIN messages AS m ON m.message_key = c.message_key "
    "LEFT JOIN messages AS f ON f.message_key = c.result_key{visible}"
).format


class Filters(NamedTuple):
    """Which calls, in SQL: of calls `c`, their runs `r`, messages `m` and results `f`.

    `visible` hides results that came after the cut of a fork, where `status` then is pending.
    """

    where: tuple[str, ...]
    values: dict[str, Any]
    visible: str = ""
    status: str = "c.status"


def filters(
    db: sqlite3.Connection, user_key: int | None, session: SessionRow | None, tool_name: str | None, status: str | None
) -> Filters:
    """A user's own calls, copies in history aside, as a fork sees them where the session is one."""
    values: dict[str, Any] = {"user": user_key}
    where = ["c.user_key = :user", "c.from_history = 0"]
    visible, shown_status = "", "c.status"
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
            shown_status = "iif(c.result_key IS NOT NULL AND f.message_key IS NULL, 'pending', c.status)"
    if tool_name is not None:
        where.append("c.tool_name = :tool COLLATE NOCASE")
        values["tool"] = tool_name
    if status is not None:
        where.append(f"{shown_status} = :status")
        values["status"] = status
    return Filters(tuple(where), values, visible, shown_status)


def tool_calls(db: sqlite3.Connection, user_id: str, window: CallWindow) -> CallsFound:
    session = None if window.session is None else find_session(db, user_id, window.session)
    told = filters(db, find_user(db, user_id), session, window.tool_name, window.status)
    tables = _TABLES(visible=told.visible)
    as_of = window.as_of
    if as_of is None:
        (as_of,) = db.execute("SELECT coalesce(max(call_key), 0) FROM tool_calls").fetchone()
    values = {**told.values, "as_of": as_of, "chars": window.max_chars, "limit": window.limit, "recent": window.recent}
    where = [*told.where, "c.call_key <= :as_of"]
    if window.signs:
        recent = f"SELECT c.call_key FROM {tables} WHERE {' AND '.join(where)} {_NEWEST_FIRST} LIMIT :recent"
        where = [f"c.call_key IN ({recent})"]
    for i, signs in enumerate(window.signs):
        where.append(f"(instr(c.arguments, :s{i}) OR instr(f.text, :s{i}) OR instr(c.tool_name, :s{i}))")
        values[f"s{i}"] = signs
    # Joins would make counting four times as long; only some filters ask for them.
    counted = tables if told.visible or window.signs else "tool_calls AS c"
    (total,) = db.execute(f"SELECT count(*) FROM {counted} WHERE {' AND '.join(where)}", values).fetchone()
    if window.after is not None:
        where.append("(c.called_at, c.call_key) < (:after_at, :after_key)")
        values["after_at"], values["after_key"] = window.after
    rows = db.execute(
        f"SELECT {_columns(status=told.status)} FROM {tables} WHERE {' AND '.join(where)} {_NEWEST_FIRST} LIMIT :limit",
        values,
    ).fetchall()
    return CallsFound(
        None if session is None else session.value(),
        tuple(map(call_of, rows)),
        tuple((row[1], row[0]) for row in rows),
        total,
        as_of,
    )


_NEWEST_FIRST = "ORDER BY c.called_at DESC, c.call_key DESC"


def calls_by_key(
    db: sqlite3.Connection, call_keys: Sequence[int], told: Filters, max_chars: int
) -> dict[int, ToolCall]:
    """Calls of the user as a fork may see them, by their keys; texts are cut to `max_chars`."""
    rows = db.execute(
        f"SELECT {_columns(status=told.status)} FROM json_each(:keys) AS k "
        f"CROSS JOIN {_TABLES(visible=told.visible)} WHERE c.call_key = k.value AND c.user_key = :user",
        {"keys": json.dumps(call_keys), "user": told.values["user"], "chars": max_chars},
    )
    return {row[0]: call_of(row) for row in rows}


def call_text(
    db: sqlite3.Connection, user_id: str, call_key: int, field: str, offset: int, max_chars: int
) -> tuple[ToolCall, str, int]:
    column = {"arguments": "c.arguments", "result": "f.text"}[field]
    row = db.execute(
        f"SELECT {_columns(status='c.status')}, substr({column}, :offset + 1, :max), length({column}) "
        f"FROM {_TABLES(visible='')} "
        "WHERE c.user_key = :user AND c.call_key = :call",
        {"user": find_user(db, user_id), "call": call_key, "offset": offset, "max": max_chars, "chars": 0},
    ).fetchone()
    if row is None:
        raise MessageNotFound("of this cursor")
    return call_of(row[:-2]), row[-2] or "", row[-1] or 0
