"""The read path: sessions, chats, tool calls and contexts, each in one snapshot."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...errors import MediaNotFound, MessageNotFound
from ...models import COUNTED_STATUSES, Media, Message, Run, Session, StoredMedia, Summary, ToolCall
from ...text import clean_json
from .. import (
    CallsFound,
    CallWindow,
    ChatSlice,
    ChatWindow,
    ContextSlice,
    SessionFilter,
    SessionsFound,
)
from .rows import (
    NEWEST,
    RUN_COLUMNS,
    SESSION_COLUMNS,
    SUMMARY_COLUMNS,
    WHOLE,
    SessionRow,
    Stretch,
    ascii_lower,
    find_session,
    find_user,
    from_ms,
    lineage,
    load,
    look_up_session,
    maybe_ms,
    media_of_row,
    pack_id,
    run_of,
    summary_of,
    unpack_id,
)

# Messages

_MESSAGE_COLUMNS = (
    "m.message_key, m.seq, r.run_id, m.role, substr(m.text, 1, :chars), m.reasoning, m.tool_call_id, m.tool_name, "
    "m.is_error, r.agent, m.created_at, m.from_history, m.payload, length(m.text)"
)
_COUNTED = ", ".join(f"'{status}'" for status in COUNTED_STATUSES)


def _message(db: sqlite3.Connection, row: Sequence[Any], number: int, max_chars: int, high: int = NEWEST) -> Message:
    (
        key, seq, run_id, role, text, reasoning, tool_call_id, tool_name, is_error, agent, created_at, from_history,
        payload, text_chars,
    ) = row  # fmt: skip
    calls: tuple[ToolCall, ...] = ()
    if role == "assistant":
        calls = tuple(_calls_of_message(db, key, max_chars, high))
    return Message(
        ref=f"#{number}.{seq}",
        session=f"#{number}",
        seq=seq,
        run_id=unpack_id(run_id),
        role=role,
        text=text,
        reasoning=reasoning,
        media=_media_of(db, key),
        tool_calls=calls,
        tool_call_id=tool_call_id,
        tool_name=tool_name,
        is_error=bool(is_error),
        agent=agent,
        created_at=from_ms(created_at),
        from_history=bool(from_history),
        payload=load(payload),
        text_chars=text_chars,
    )


def _media_of(db: sqlite3.Connection, message_key: int) -> tuple[Media, ...]:
    rows = db.execute(
        "SELECT f.sha256, f.mime_type, f.size_bytes, f.url FROM message_media AS mm "
        "JOIN media AS f ON f.media_key = mm.media_key WHERE mm.message_key = ? ORDER BY mm.ordinal",
        (message_key,),
    )
    return tuple(media_of_row(*row) for row in rows)


def arguments_of(text: str | None) -> dict[str, Any] | str | None:
    """An object where the text is a JSON object, else the text itself."""
    if text is not None and text.lstrip().startswith("{"):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return text
        # Escapes may spell what no wire can carry, and parsers along the way give up on deep nesting.
        if isinstance(parsed, dict) and clean_json(parsed) == parsed:
            return parsed
    return text


def _calls_of_message(db: sqlite3.Connection, message_key: int, max_chars: int, high: int) -> Iterator[ToolCall]:
    """A message's calls. One whose result came after the cut of a fork is pending there."""
    for call_id, name, arguments, chars, status, duration_ms in db.execute(
        "SELECT c.tool_call_id, c.tool_name, substr(c.arguments, 1, ?), length(c.arguments), "
        "CASE WHEN f.seq > ? THEN 'pending' ELSE c.status END, c.duration_ms FROM tool_calls AS c "
        "LEFT JOIN messages AS f ON f.message_key = c.result_key WHERE c.message_key = ? ORDER BY c.ordinal",
        (max_chars, high, message_key),
    ):
        yield ToolCall(
            tool_call_id=call_id,
            tool_name=name,
            arguments=arguments_of(arguments),
            status=status,
            duration_ms=duration_ms,
            arguments_text=arguments or "",
            arguments_chars=chars or 0,
        )


def messages(db: sqlite3.Connection, user_id: str, ref: str, agent: str | None, after: int) -> list[Message]:
    session = find_session(db, user_id, ref)
    found: list[Message] = []
    for stretch in reversed(lineage(db, session)):
        rows = db.execute(
            f"SELECT {_MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
            "WHERE m.session_key = :session AND m.seq > :low AND m.seq <= :high "
            "AND (:agent IS NULL OR r.agent = :agent) ORDER BY m.seq",
            {
                "session": stretch.session_key,
                "low": max(stretch.low, after),
                "high": stretch.high,
                "agent": agent,
                "chars": WHOLE,
            },
        ).fetchall()
        found.extend(_message(db, row, stretch.number, WHOLE, stretch.high) for row in rows)
    return found


def message(db: sqlite3.Connection, user_id: str, ref: str, seq: int) -> Message:
    session = find_session(db, user_id, ref)
    for stretch in lineage(db, session):
        if stretch.low < seq <= stretch.high:
            row = db.execute(
                f"SELECT {_MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
                "WHERE m.session_key = :session AND m.seq = :seq",
                {"session": stretch.session_key, "seq": seq, "chars": WHOLE},
            ).fetchone()
            if row is not None:
                return _message(db, row, stretch.number, WHOLE, stretch.high)
    raise MessageNotFound(f"{session.handle}.{seq}")


def text_of(
    db: sqlite3.Connection, user_id: str, ref: str, seq: int, call: int | None, offset: int, max_chars: int
) -> tuple[Message, str, int, int]:
    session = find_session(db, user_id, ref)
    for stretch in lineage(db, session):
        if not stretch.low < seq <= stretch.high:
            continue
        row = db.execute(
            f"SELECT {_MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
            "WHERE m.session_key = :session AND m.seq = :seq",
            {"session": stretch.session_key, "seq": seq, "chars": 0},
        ).fetchone()
        if row is None:
            break
        column, table, key = "text", "messages", "message_key = :key"
        if call is not None:
            column, table, key = "arguments", "tool_calls", "message_key = :key AND ordinal = :call"
        part = db.execute(
            f"SELECT substr({column}, :offset + 1, :max), length({column}) FROM {table} WHERE {key}",
            {"key": row[0], "call": call, "offset": offset, "max": max_chars},
        ).fetchone()
        text, chars = (None, None) if part is None else part
        message = _message(db, row, stretch.number, 0, stretch.high)
        return message, text or "", chars or 0, session.messages - session.history_messages
    raise MessageNotFound(f"{session.handle}.{seq}")


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
    whole = len(stretches) == 1 and as_of == session.last_seq and where in ("TRUE", "m.from_history = 0")
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
            f"SELECT {_MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
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
            message = _message(db, row, stretch.number, window.max_chars, stretch.high)
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


# Tool calls

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


# Sessions


def session(db: sqlite3.Connection, user_id: str, ref: str) -> Session:
    return find_session(db, user_id, ref).value()


def newest_session(db: sqlite3.Connection, user_id: str, project: str | None) -> Session | None:
    user_key = find_user(db, user_id)
    narrowed = "AND s.project = :project" if project is not None else ""
    row = db.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = :user {narrowed} AND s.archived = 0 "
        "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT 1",
        {"user": user_key, "project": project},
    ).fetchone()
    return None if row is None else SessionRow._make(row).value()


def sessions(
    db: sqlite3.Connection,
    user_id: str,
    where: SessionFilter,
    limit: int,
    after: tuple[int, int] | None,
    as_of: int | None,
    exclude: str | None,
) -> SessionsFound:
    """Newest activity first, as it was when the newest message of all was `as_of`.

    A session that has grown since is placed where it stood then; one that was made since is left out.
    """
    user_key = find_user(db, user_id)
    if as_of is None:
        (as_of,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    values: dict[str, Any] = {"user": user_key, "as_of": as_of, "limit": limit}
    clauses = ["s.user_key = :user"]
    if where.query is None or not where.query.strip():
        clauses.append("s.archived = 0")
    else:
        for i, word in enumerate(where.query.split()):
            clauses.append(
                f"instr(lower(coalesce(s.title, '') || ' ' || coalesce(s.opening, '') || ' ' || "
                f"coalesce(s.project, '') || ' #' || s.number || ' ' || CASE typeof(s.session_id) WHEN 'text' "
                f"THEN s.session_id ELSE lower(hex(s.session_id)) END), :q{i}) > 0"
            )
            values[f"q{i}"] = word.lower().replace("-", "") if _is_uuid(word) else ascii_lower(word)
    if where.project is not None:
        clauses.append("s.project = :project")
        values["project"] = where.project
    if where.source is not None:
        clauses.append("s.source = :source")
        values["source"] = where.source
    if exclude is not None and user_key is not None and (current := look_up_session(db, user_key, exclude)):
        clauses.append("s.session_key <> :exclude")
        values["exclude"] = current.session_key
    # The time of a session's newest message that existed then; its own column where nothing came since.
    activity = (
        "CASE WHEN s.last_message_key <= :as_of THEN s.last_activity_at ELSE "
        "(SELECT m.created_at FROM messages AS m WHERE m.session_key = s.session_key AND m.message_key <= :as_of "
        "ORDER BY m.seq DESC LIMIT 1) END"
    )
    for name, moment, operator in (("since", where.since, ">="), ("until", where.until, "<")):
        if moment is not None:
            clauses.append(f"{activity} {operator} :{name}")
            values[name] = maybe_ms(moment)
    clauses.append(f"{activity} IS NOT NULL")
    matching = " AND ".join(clauses)
    (total,) = db.execute(f"SELECT count(*) FROM sessions AS s WHERE {matching}", values).fetchone()
    if after is not None:
        matching += f" AND ({activity}, s.number) < (:after_at, :after_number)"
        values["after_at"], values["after_number"] = after
    rows = db.execute(
        f"SELECT {activity}, {SESSION_COLUMNS} FROM sessions AS s WHERE {matching} "
        f"ORDER BY {'s.last_activity_at' if _unchanged(db, user_key, as_of) else activity} DESC, s.number DESC LIMIT :limit",
        values,
    ).fetchall()
    found = tuple(SessionRow._make(row[1:]).value() for row in rows)
    return SessionsFound(found, tuple(row[0] for row in rows), total, as_of)


def _unchanged(db: sqlite3.Connection, user_key: int | None, as_of: int) -> bool:
    """Whether none of the user's sessions has grown since: then the index gives the order."""
    row = db.execute(
        "SELECT 1 FROM sessions WHERE user_key = ? AND last_message_key > ? LIMIT 1", (user_key, as_of)
    ).fetchone()
    return row is None


def _is_uuid(word: str) -> bool:
    return isinstance(pack_id(word.lower()), bytes)


def previews(db: sqlite3.Connection, user_id: str, found: Sequence[Session]) -> list[tuple[str | None, str | None]]:
    user_key = find_user(db, user_id)
    answers: list[tuple[str | None, str | None]] = []
    for one in found:
        row = None if user_key is None else look_up_session(db, user_key, one.session)
        if row is None:
            answers.append((one.opening, None))
            continue
        last = None
        for stretch in lineage(db, row):
            last = db.execute(
                "SELECT substr(text, 1, 1000) FROM messages WHERE session_key = ? AND seq > ? AND seq <= ? "
                "AND role = 'assistant' AND text <> '' ORDER BY seq DESC LIMIT 1",
                (stretch.session_key, stretch.low, stretch.high),
            ).fetchone()
            if last is not None:
                break
        answers.append((one.opening, None if last is None else last[0]))
    return answers


def titles(db: sqlite3.Connection, user_id: str, typed: str, limit: int) -> list[Session]:
    user_key = find_user(db, user_id)
    pattern = ascii_lower(typed.strip())
    rows = db.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = :user AND (:typed = '' "
        "OR instr('#' || s.number, :typed) = 1 OR CAST(s.number AS TEXT) = :typed "
        "OR instr(lower(coalesce(s.title, s.opening, '')), :typed) > 0 "
        "OR CASE typeof(s.session_id) WHEN 'text' THEN instr(lower(s.session_id), :typed) "
        "ELSE instr(lower(hex(s.session_id)), :uuid) END = 1) "
        "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT :limit",
        {"user": user_key, "typed": pattern, "uuid": pattern.replace("-", ""), "limit": limit},
    ).fetchall()
    return [SessionRow._make(row).value() for row in rows]


def summarized_sessions(db: sqlite3.Connection, user_id: str, limit: int) -> list[Session]:
    rows = db.execute(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = ? AND s.archived = 0 AND EXISTS "
        "(SELECT 1 FROM summaries AS u WHERE u.session_key = s.session_key) "
        "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT ?",
        (find_user(db, user_id), limit),
    ).fetchall()
    return [SessionRow._make(row).value() for row in rows]


# Runs, context, summaries, media


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
    return ContextSlice(session.value(), _summary(db, session), tuple(found), len(keys) - len(found))


def _messages_of_run(
    db: sqlite3.Connection, session: SessionRow, run_key: int, session_key: int, max_chars: int
) -> tuple[Message, ...]:
    """A run's messages, history aside, the first and last of them where they are too many to show."""
    stretch = next(s for s in lineage(db, session) if s.session_key == session_key)
    rows = db.execute(
        f"SELECT {_MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
        "WHERE m.session_key = :session AND m.seq BETWEEN r.first_seq AND r.last_seq AND m.seq <= :high "
        "AND m.run_key = :run AND r.run_key = :run AND m.from_history = 0 ORDER BY m.seq",
        {"session": session_key, "run": run_key, "high": stretch.high, "chars": max_chars},
    ).fetchall()
    return tuple(_message(db, row, stretch.number, max_chars, stretch.high) for row in rows)


def _summary(db: sqlite3.Connection, session: SessionRow) -> Summary | None:
    row = db.execute(
        f"SELECT {SUMMARY_COLUMNS} FROM summaries WHERE session_key = ? ORDER BY version DESC LIMIT 1",
        (session.session_key,),
    ).fetchone()
    return None if row is None else summary_of(row, session.last_seq)


def summary(db: sqlite3.Connection, user_id: str, ref: str) -> Summary | None:
    return _summary(db, find_session(db, user_id, ref))


def media(db: sqlite3.Connection, user_id: str, media_id: str) -> StoredMedia:
    try:
        sha256 = bytes.fromhex(media_id)
    except ValueError:
        raise MediaNotFound(media_id) from None
    row = db.execute(
        "SELECT mime_type, data, url FROM media WHERE user_key = ? AND sha256 = ?",
        (find_user(db, user_id), sha256),
    ).fetchone()
    if row is None:
        raise MediaNotFound(media_id)
    return StoredMedia(media_id=media_id.lower(), mime_type=row[0], data=row[1], url=row[2])
