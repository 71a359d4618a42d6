"""Windows of a session: a chat page by page, and the last runs of a context."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import MessageNotFound
from ...models import COUNTED_STATUSES, Message, Run
from .. import (
    ChatSlice,
    ChatWindow,
    ContextSlice,
)
from ..rows import NEWEST, RUN_COLUMNS, SessionRow, Stretch, run_of
from .messages import MESSAGE_COLUMNS, message_of
from .rows import find_session, lineage
from .sessions import latest_summary

_COUNTED = ", ".join(f"'{status}'" for status in COUNTED_STATUSES)


def counted_runs(db: sqlite3.Connection, session: SessionRow, last: int, agent: str | None) -> list[tuple[int, int]]:
    """(run_key, first_seq) of the last top-level runs that completed or are running, newest first."""
    found: list[tuple[int, int]] = []
    for stretch in lineage(db, session):
        if len(found) >= last:
            break
        found.extend(
            db.execute(
                "SELECT run_key, coalesce(first_seq, 0) FROM runs WHERE session_key = ? AND parent_run_id IS NULL "
                f"AND status IN ({_COUNTED}) AND (? IS NULL OR agent = ?) AND coalesce(first_seq, 0) <= ? "
                "ORDER BY run_index DESC LIMIT ?",
                (stretch.session_key, agent, agent, stretch.high, last - len(found)),
            )
        )
    return found


def chat(db: sqlite3.Connection, user_id: str, ref: str, window: ChatWindow) -> ChatSlice:
    session = find_session(db, user_id, ref)
    as_of = session.last_seq if window.as_of is None else window.as_of
    runs = None
    lowest = 0
    if window.num_history_runs is not None:
        counted = counted_runs(db, session, window.num_history_runs, window.agent)
        runs = [key for key, _ in counted]
        lowest = min((first_seq for _, first_seq in counted), default=1) - 1
    where, values = _chat_filter(window, runs)
    stretches = [
        Stretch(s.session_key, s.number, max(s.low, lowest), min(s.high, as_of))
        for s in lineage(db, session)
        if s.low < as_of and s.high > lowest
    ]
    older, newer = False, False
    if window.start is not None:
        found, newer = _walk(db, stretches[::-1], where, values, window.start - 1, NEWEST, "ASC", window)
        older = _any(db, stretches, where, values, 0, window.start - 1)
    elif window.around is not None:
        if not _any(db, stretches, "TRUE", {}, window.around - 1, window.around):
            raise MessageNotFound(f"{session.handle}.{window.around}")
        after, newer = _walk(db, stretches[::-1], where, values, window.around - 1, NEWEST, "ASC", window)
        before, older = _walk(db, stretches, where, values, 0, window.around - 1, "DESC", window)
        found = before[::-1] + after
    else:
        high = NEWEST if window.before is None else window.before - 1
        found, older = _walk(db, stretches, where, values, 0, high, "DESC", window)
        found.reverse()
        newer = window.before is not None and _any(db, stretches, where, values, window.before - 1, NEWEST)
    # The row counts the session's own messages, not those that a fork shares.
    whole = session.parent_key is None and as_of == session.last_seq and where in ("TRUE", "m.from_history = 0")
    total = (
        session.messages - (session.history_messages if window.unique else 0)
        if whole and not lowest
        else _count(db, stretches, where, values)
    )
    return ChatSlice(session.value(), tuple(found), older, newer, total, as_of)


def _chat_filter(window: ChatWindow, runs: Sequence[int] | None) -> tuple[str, dict[str, Any]]:
    where = []
    values: dict[str, Any] = {}
    if window.unique:
        where.append("m.from_history = 0")
    if not window.include_tool_messages:
        # What an assistant said beside a call stays; a message that only called goes.
        where.append("m.role <> 'tool' AND (m.role <> 'assistant' OR m.text <> '')")
    if runs is not None:
        where.append(f"m.run_key IN ({', '.join(map(str, runs))})")
    if window.agent is not None:
        where.append("r.agent = :agent")
        values["agent"] = window.agent
    return " AND ".join(where) or "TRUE", values


def _walk(
    db: sqlite3.Connection,
    stretches: Iterable[Stretch],
    where: str,
    values: dict[str, Any],
    low: int,
    high: int,
    direction: str,
    window: ChatWindow,
) -> tuple[list[Message], bool]:
    """Messages with low < seq <= high in one direction until the window is full, and whether more follow."""
    found: list[Message] = []
    chars = 0
    for stretch in stretches:
        rows = db.execute(
            f"SELECT {MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
            f"WHERE m.session_key = :session AND m.seq > :low AND m.seq <= :high AND {where} "
            f"ORDER BY m.seq {direction}",
            {
                **values,
                "session": stretch.session_key,
                "low": max(low, stretch.low),
                "high": min(high, stretch.high),
                "chars": window.max_chars,
            },
        )
        for row in rows:
            if found and (chars >= window.max_chars or len(found) >= window.max_messages):
                rows.close()
                return found, True
            message = message_of(db, row, stretch.number, window.max_chars, stretch.high)
            found.append(message)
            chars += len(message.text)
    return found, False


def _any(
    db: sqlite3.Connection,
    stretches: Iterable[Stretch],
    where: str,
    values: dict[str, Any],
    low: int,
    high: int,
) -> bool:
    return any(
        db.execute(
            "SELECT 1 FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
            f"WHERE m.session_key = :session AND m.seq > :low AND m.seq <= :high AND {where} LIMIT 1",
            {**values, "session": s.session_key, "low": max(low, s.low), "high": min(high, s.high)},
        ).fetchone()
        for s in stretches
    )


def _count(db: sqlite3.Connection, stretches: Iterable[Stretch], where: str, values: dict[str, Any]) -> int:
    total = 0
    for s in stretches:
        (count,) = db.execute(
            "SELECT count(*) FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
            f"WHERE m.session_key = :session AND m.seq > :low AND m.seq <= :high AND {where}",
            {**values, "session": s.session_key, "low": s.low, "high": s.high},
        ).fetchone()
        total += count
    return total


def runs(db: sqlite3.Connection, user_id: str, ref: str) -> list[Run]:
    session = find_session(db, user_id, ref)
    found: list[Run] = []
    for stretch in reversed(lineage(db, session)):
        rows = db.execute(
            f"SELECT {RUN_COLUMNS} FROM runs WHERE session_key = ? AND coalesce(first_seq, 0) <= ? ORDER BY run_index",
            (stretch.session_key, stretch.high),
        )
        found.extend(map(run_of, rows))
    return found


def context(
    db: sqlite3.Connection, user_id: str, ref: str, num_history_runs: int, agent: str | None, max_chars: int
) -> ContextSlice:
    session = find_session(db, user_id, ref)
    found: list[tuple[Run, tuple[Message, ...]]] = []
    chars = 0
    keys = counted_runs(db, session, num_history_runs, agent)
    for run_key, _ in keys:
        if found and chars >= max_chars:
            break
        row = db.execute(f"SELECT {RUN_COLUMNS}, session_key FROM runs WHERE run_key = ?", (run_key,)).fetchone()
        told = _messages_of_run(db, session, run_key, row[-1], max_chars)
        chars += sum(len(message.text) for message in told)
        found.append((run_of(row[:-1]), told))
    found.reverse()
    return ContextSlice(session.value(), latest_summary(db, session), tuple(found), len(keys) - len(found))


def _messages_of_run(
    db: sqlite3.Connection, session: SessionRow, run_key: int, session_key: int, max_chars: int
) -> tuple[Message, ...]:
    """A run's messages, history aside, the first and last of them where they are too many to show."""
    stretch = next(s for s in lineage(db, session) if s.session_key == session_key)
    rows = db.execute(
        f"SELECT {MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
        "WHERE m.session_key = :session AND m.seq BETWEEN r.first_seq AND r.last_seq AND m.seq <= :high "
        "AND m.run_key = :run AND r.run_key = :run AND m.from_history = 0 ORDER BY m.seq",
        {"session": session_key, "run": run_key, "high": stretch.high, "chars": max_chars},
    ).fetchall()
    return tuple(message_of(db, row, stretch.number, max_chars, stretch.high) for row in rows)
