"""The write path: whole runs in one transaction, at a cost that does not depend on the past."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import Conflict, SessionNotFound
from ...ids import uuid7
from ...merge import merge_patch, sum_metrics
from .. import PreparedMedia, PreparedMessage, PreparedRun, Recorded
from ..arrival import KnownRun, Plan, history_digest, plan
from ..indexing import Scope, entry
from . import index
from .rows import (
    SessionRow,
    dump,
    lineage,
    load,
    look_up_session,
    maybe_dump,
    maybe_ms,
    pack_id,
    session_by_key,
    to_ms,
    unpack_id,
)

OPENING_CHARS = 120


def record(db: sqlite3.Connection, user_id: str, runs: Sequence[PreparedRun]) -> list[Recorded]:
    user_key = ensure_user(db, user_id)
    return [_record_run(db, user_key, run) for run in runs]


def ensure_user(db: sqlite3.Connection, user_id: str) -> int:
    row = db.execute("SELECT user_key FROM users WHERE user_id = ?", (user_id,)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO users (user_id) VALUES (?) RETURNING user_key", (user_id,)).fetchone()
    return int(row[0])


@dataclass(slots=True)
class _RunRow:
    """The run as the store has it, or as it was just made."""

    run_key: int
    session_key: int
    run_id: str
    run_index: int
    status: str
    agent: str | None
    metrics: dict[str, Any]
    received: int
    history_count: int
    history_digest: bytes | None
    first_seq: int | None
    last_seq: int | None


@dataclass(slots=True)
class _Tally:
    """What this sending adds to the session's counters."""

    seq: int
    messages: int = 0
    history: int = 0
    tool_calls: int = 0
    last_message_key: int = 0
    newest_at: int = 0
    system_digest: bytes | None = None
    opening: str | None = None
    recorded: int = 0
    scrubbed_media: int = 0
    scrubbed_tool_messages: int = 0
    scrubbed_history: int = 0
    digests: list[tuple[int, int, bytes, int, int, int]] = field(default_factory=list)


def _record_run(db: sqlite3.Connection, user_key: int, run: PreparedRun) -> Recorded:
    known = _known_run(db, user_key, run.run_id)
    session, created = _session_for(db, user_key, run, known)
    if session is None:
        return Recorded(run.session_id or "", "", run.run_id or "", 0, skipped_deleted=True)
    arrived = [message.arrived for message in run.messages]
    wanted = sum(not message.is_system for message in arrived)
    tail = [] if created else _tail(db, session, wanted, before=known.run_index if known else None)
    decided = plan(arrived, tail, session.system_digest, _known_digests(db, known))
    if decided.verdict == "different":
        raise Conflict(
            f"Run {run.run_id!r} is stored with other messages. Send the messages it began with and more, "
            "or leave run_id out to record another run."
        )
    extends = decided.verdict == "last_differs"
    if extends and not _may_extend(known, run, decided):
        raise Conflict(
            f"Run {run.run_id!r} is stored with another message in this place. "
            "Only the last assistant text of a running run may grow."
        )
    row = known or _insert_run(db, user_key, session, run)
    tally = _Tally(seq=session.last_seq)
    if extends:
        _extend_last(db, session, row, run.messages[decided.new[0]], tally)
        decided = decided._replace(new=decided.new[1:])
    if run.store_history and known is None:
        for i in decided.history:
            _insert_message(db, user_key, session, row, run, run.messages[i], tally, from_history=True)
    elif known is None:
        tally.scrubbed_history = len(decided.history)
    _insert_new(db, user_key, session, row, run, decided.new, tally)
    db.executemany(
        "INSERT INTO digests (run_key, position, digest, seq, stored, is_system) VALUES (?, ?, ?, ?, ?, ?)",
        tally.digests,
    )
    old_metrics = row.metrics
    changed = _update_run(db, row, run, decided, tally, fresh=known is None)
    if changed or tally.recorded or tally.tool_calls or run.title or run.state or run.session_metadata:
        _update_session(db, session, row, run, tally, old_metrics, created=created, new_run=known is None)
    nothing_new = known is not None and decided.verdict == "same"
    return Recorded(
        session_id=unpack_id(session.session_id),
        session=session.handle,
        run_id=row.run_id,
        run_index=row.run_index,
        created=created,
        duplicate=nothing_new and not changed,
        recorded=tally.recorded,
        history=len(decided.history),
        scrubbed_media=tally.scrubbed_media,
        scrubbed_tool_messages=tally.scrubbed_tool_messages,
        scrubbed_history=tally.scrubbed_history,
        metrics=row.metrics,
        suspected_repeat=decided.suspected_repeat,
        uncovered=tally.seq - _covered(db, session.session_key),
    )


def _covered(db: sqlite3.Connection, session_key: int) -> int:
    """The last message that a summary covers."""
    (last_seq,) = db.execute("SELECT max(last_seq) FROM summaries WHERE session_key = ?", (session_key,)).fetchone()
    return last_seq or 0


# Finding what is there


def _known_run(db: sqlite3.Connection, user_key: int, run_id: str | None) -> _RunRow | None:
    if run_id is None:
        return None
    row = db.execute(
        "SELECT run_key, session_key, run_index, status, agent, metrics, history_count, history_digest, first_seq, "
        "last_seq, (SELECT count(*) FROM digests AS d WHERE d.run_key = r.run_key) "
        "FROM runs AS r WHERE user_key = ? AND run_id = ?",
        (user_key, pack_id(run_id)),
    ).fetchone()
    if row is None:
        return None
    key, session_key, run_index, status, agent, metrics, count, digest, first_seq, last_seq, received = row
    return _RunRow(
        key, session_key, run_id, run_index, status, agent, load(metrics) or {}, received, count, digest,
        first_seq, last_seq,
    )  # fmt: skip


def _known_digests(db: sqlite3.Connection, known: _RunRow | None) -> KnownRun | None:
    if known is None:
        return None
    rows = db.execute("SELECT digest FROM digests WHERE run_key = ? ORDER BY position", (known.run_key,))
    return KnownRun([digest for (digest,) in rows], known.history_count, known.history_digest)


def _session_for(
    db: sqlite3.Connection, user_key: int, run: PreparedRun, known: _RunRow | None
) -> tuple[SessionRow | None, bool]:
    """The session of a run and whether it was made just now; None where a tombstone stands."""
    if run.imported and run.tombstone is not None:
        deleted = db.execute(
            "SELECT 1 FROM tombstones WHERE user_key = ? AND source = ? AND digest = ?",
            (user_key, run.source, run.tombstone),
        ).fetchone()
        if deleted:
            return None, False
    named = None if run.session_id is None else look_up_session(db, user_key, run.session_id)
    if known is not None:
        if run.session_id is not None and (named is None or named.session_key != known.session_key):
            raise Conflict(
                f"Run {run.run_id!r} belongs to another session. Leave session_id out, or use another run_id."
            )
        return session_by_key(db, known.session_key), False
    if named is not None:
        return named, False
    if run.session_id is not None and run.session_id.startswith("#"):
        raise SessionNotFound(run.session_id)
    return _insert_session(db, user_key, run), True


def _insert_session(db: sqlite3.Connection, user_key: int, run: PreparedRun) -> SessionRow:
    number = next_number(db, user_key)
    now = to_ms(run.recorded_at)
    started = maybe_ms(run.started_at) or next((to_ms(m.created_at) for m in run.messages if m.created_at), now)
    row = db.execute(
        "INSERT INTO sessions (user_key, session_id, number, title, project, source, agent, created_at, updated_at, "
        "last_activity_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING session_key",
        (
            user_key, pack_id(run.session_id or uuid7()), number, run.title, run.project, run.source, run.agent,
            min(started, now), now, started,
        ),
    ).fetchall()  # fmt: skip
    return session_by_key(db, row[0][0])


def next_number(db: sqlite3.Connection, user_key: int) -> int:
    row = db.execute(
        "UPDATE users SET last_number = last_number + 1 WHERE user_key = ? RETURNING last_number", (user_key,)
    ).fetchall()
    return int(row[0][0])


def _tail(db: sqlite3.Connection, session: SessionRow, wanted: int, before: int | None) -> list[bytes]:
    """The session's newest `wanted` digests, system messages aside, oldest first, of the runs before `before`."""
    newest: list[bytes] = []
    for depth, stretch in enumerate(lineage(db, session)):
        if len(newest) >= wanted:
            break
        limit = before if depth == 0 and before is not None else 1 << 62
        rows = db.execute(
            "SELECT d.digest FROM runs AS r JOIN digests AS d ON d.run_key = r.run_key "
            "WHERE r.session_key = ? AND r.run_index < ? AND d.seq <= ? AND d.is_system = 0 "
            "ORDER BY r.run_index DESC, d.position DESC LIMIT ?",
            (stretch.session_key, limit, stretch.high, wanted - len(newest)),
        )
        newest.extend(digest for (digest,) in rows)
    return newest[::-1]


# Writing


def _insert_run(db: sqlite3.Connection, user_key: int, session: SessionRow, run: PreparedRun) -> _RunRow:
    run_id, run_index = run.run_id or uuid7(), session.last_run_index + 1
    cursor = db.execute(
        "INSERT INTO runs (user_key, session_key, run_id, run_index, parent_run_id, status, agent, model, metadata, "
        "started_at, ended_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            user_key, session.session_key, pack_id(run_id), run_index,
            None if run.parent_run_id is None else pack_id(run.parent_run_id), run.status, run.agent, run.model,
            maybe_dump(run.metadata), maybe_ms(run.started_at), maybe_ms(run.ended_at), to_ms(run.recorded_at),
        ),
    )  # fmt: skip
    key = _new_key(cursor)
    return _RunRow(key, session.session_key, run_id, run_index, run.status, run.agent, {}, 0, 0, None, None, None)


def _insert_new(
    db: sqlite3.Connection,
    user_key: int,
    session: SessionRow,
    row: _RunRow,
    run: PreparedRun,
    new: Sequence[int],
    tally: _Tally,
) -> None:
    stored_seq: dict[int, tuple[int, int]] = {}
    for i, orphan in _arranged(run.messages, new, _open_calls(db, session, run.messages, new)):
        message = run.messages[i]
        tally.scrubbed_media += message.media_scrubbed
        if orphan:
            _insert_missing_call(db, user_key, session, row, run, message, tally)
        if message.kept:
            _insert_message(db, user_key, session, row, run, message, tally)
        else:
            _note_dropped(db, user_key, session, row, run, message, tally)
        stored_seq[i] = (tally.seq, int(message.kept))
    for position, i in enumerate(new, start=row.received):
        arrived = run.messages[i].arrived
        seq, stored = stored_seq[i]
        tally.digests.append((row.run_key, position, arrived.digest, seq, stored, int(arrived.is_system)))
        if arrived.is_system:
            tally.system_digest = arrived.digest


def _arranged(
    messages: Sequence[PreparedMessage], new: Sequence[int], open_before: Counter[str]
) -> Iterator[tuple[int, bool]]:
    """The order in which messages are stored: no result stands before its call.

    A result that came too early waits for its call. One whose call never comes is an orphan (True): it gets
    a call of its own, so that what is stored stays a valid sequence and nothing is lost.
    """
    to_come: Counter[str] = Counter(
        call.tool_call_id or "" for i in new if messages[i].role == "assistant" for call in messages[i].tool_calls
    )
    opened = Counter(open_before)
    waiting: dict[str, list[int]] = defaultdict(list)
    for i in new:
        message = messages[i]
        if message.role == "assistant":
            yield i, False
            for call in message.tool_calls:
                call_id = call.tool_call_id or ""
                to_come[call_id] -= 1
                if waiting[call_id]:
                    yield waiting[call_id].pop(0), False
                else:
                    opened[call_id] += 1
        elif message.role == "tool":
            call_id = message.tool_call_id or ""
            if opened[call_id]:
                opened[call_id] -= 1
                yield i, False
            elif to_come[call_id] > len(waiting[call_id]):
                waiting[call_id].append(i)
            else:
                yield i, True
        else:
            yield i, False


def _open_calls(
    db: sqlite3.Connection, session: SessionRow, messages: Sequence[PreparedMessage], new: Iterable[int]
) -> Counter[str]:
    """Pending calls of the session that a result in this sending may answer."""
    ids = {messages[i].tool_call_id for i in new if messages[i].role == "tool"}
    return Counter(
        {
            call_id: count
            for call_id in ids
            if call_id is not None
            for (count,) in db.execute(
                "SELECT count(*) FROM tool_calls WHERE session_key = ? AND tool_call_id = ? AND status = 'pending'",
                (session.session_key, call_id),
            )
        }
    )


def _insert_message(
    db: sqlite3.Connection,
    user_key: int,
    session: SessionRow,
    row: _RunRow,
    run: PreparedRun,
    message: PreparedMessage,
    tally: _Tally,
    *,
    from_history: bool = False,
) -> None:
    tally.seq += 1
    at = _time_of(message, run)
    answered = None
    tool_name = message.tool_name
    if message.role == "tool" and not from_history:
        answered = _open_call(db, session, message.tool_call_id)
        tool_name = tool_name or (answered[1] if answered else None)
    cursor = db.execute(
        "INSERT INTO messages (session_key, run_key, seq, role, from_history, text, reasoning, tool_call_id, "
        "tool_name, is_error, payload, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session.session_key, row.run_key, tally.seq, message.role, int(from_history), message.text,
            message.reasoning or None, message.tool_call_id, tool_name, int(message.is_error), message.payload, at,
        ),
    )  # fmt: skip
    key = _new_key(cursor)
    for ordinal, media in enumerate(message.media):
        _insert_media(db, user_key, key, ordinal, media)
    if answered is not None:
        _answer(db, answered[0], key, message)
    if from_history:
        tally.history += 1
        tally.last_message_key = key
        tally.messages += 1
        return
    for ordinal, call in enumerate(message.tool_calls):
        _insert_call(db, user_key, session, row, key, ordinal, call.tool_call_id, call.tool_name, call.arguments, at)
    calls = [(call.tool_name, call.arguments) for call in message.tool_calls]
    tools = tuple(name for name, _ in calls) if tool_name is None else (tool_name,)
    scope = Scope(user_key, session.session_key, session.source, message.role, session.project, row.agent, tools)
    index.add(db, key, entry(message.text, calls, scope))
    tally.recorded += 1
    tally.messages += 1
    tally.tool_calls += len(calls)
    tally.last_message_key = key
    tally.newest_at = max(tally.newest_at, at)
    if message.role == "user" and tally.opening is None and message.text.strip():
        tally.opening = opening_of(message.text)


def _time_of(message: PreparedMessage, run: PreparedRun) -> int:
    """The message's own time, else the run's: what was asked at its start, what was answered at its end."""
    asked = message.role in ("system", "user")
    run_time = run.started_at if asked else run.ended_at or run.started_at
    return to_ms(message.created_at or run_time or run.recorded_at)


def opening_of(text: str) -> str:
    """The first words of a text, on one line."""
    line = " ".join(text[: OPENING_CHARS * 4].split())
    return line if len(line) <= OPENING_CHARS else f"{line[: OPENING_CHARS - 1]}…"


def _note_dropped(
    db: sqlite3.Connection,
    user_key: int,
    session: SessionRow,
    row: _RunRow,
    run: PreparedRun,
    message: PreparedMessage,
    tally: _Tally,
) -> None:
    """A message that policy drops leaves its calls' names and outcomes, no arguments and no result."""
    tally.scrubbed_tool_messages += 1
    at = _time_of(message, run)
    tally.newest_at = max(tally.newest_at, at)
    if message.role == "tool":
        answered = _open_call(db, session, message.tool_call_id)
        if answered is not None:
            _answer(db, answered[0], None, message)
    for ordinal, call in enumerate(message.tool_calls):
        _insert_call(db, user_key, session, row, None, ordinal, call.tool_call_id, call.tool_name, None, at)
    tally.tool_calls += len(message.tool_calls)


def _insert_missing_call(
    db: sqlite3.Connection,
    user_key: int,
    session: SessionRow,
    row: _RunRow,
    run: PreparedRun,
    result: PreparedMessage,
    tally: _Tally,
) -> None:
    """An assistant message for a result whose call was never sent; its payload says so."""
    at = _time_of(result, run)
    key = None
    name = result.tool_name or "unknown"
    if result.kept:
        tally.seq += 1
        cursor = db.execute(
            "INSERT INTO messages (session_key, run_key, seq, role, text, payload, created_at) "
            "VALUES (?, ?, ?, 'assistant', '', ?, ?)",
            (session.session_key, row.run_key, tally.seq, dump({"synthesized": "the call of this result was not sent"}), at),
        )
        key = _new_key(cursor)
        tally.messages += 1
        scope = Scope(user_key, session.session_key, session.source, "assistant", session.project, row.agent, (name,))
        index.add(db, key, entry("", [(name, None)], scope))
    _insert_call(db, user_key, session, row, key, 0, result.tool_call_id, name, None, at)
    tally.tool_calls += 1


def _insert_call(
    db: sqlite3.Connection,
    user_key: int,
    session: SessionRow,
    row: _RunRow,
    message_key: int | None,
    ordinal: int,
    tool_call_id: str | None,
    tool_name: str,
    arguments: str | None,
    at: int,
) -> None:
    db.execute(
        "INSERT INTO tool_calls (user_key, session_key, run_key, message_key, ordinal, tool_call_id, tool_name, "
        "arguments, status, called_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?)",
        (user_key, session.session_key, row.run_key, message_key, ordinal, tool_call_id or "", tool_name, arguments, at),
    )


def _open_call(db: sqlite3.Connection, session: SessionRow, tool_call_id: str | None) -> tuple[int, str] | None:
    """The oldest pending call with this id: where ids repeat, results come in the order of their calls."""
    found: tuple[int, str] | None = db.execute(
        "SELECT call_key, tool_name FROM tool_calls WHERE session_key = ? AND tool_call_id = ? AND status = 'pending' "
        "ORDER BY call_key LIMIT 1",
        (session.session_key, tool_call_id or ""),
    ).fetchone()
    return found


def _answer(db: sqlite3.Connection, call_key: int, result_key: int | None, result: PreparedMessage) -> None:
    db.execute(
        "UPDATE tool_calls SET status = ?, result_key = ?, duration_ms = ? WHERE call_key = ?",
        ("error" if result.is_error else "ok", result_key, result.duration_ms, call_key),
    )


def _insert_media(db: sqlite3.Connection, user_key: int, message_key: int, ordinal: int, media: PreparedMedia) -> None:
    db.execute(
        "INSERT INTO media (user_key, sha256, mime_type, size_bytes, data, url) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (user_key, sha256) DO NOTHING",
        (user_key, media.sha256, media.mime_type, media.size_bytes, media.data, media.url),
    )
    db.execute(
        "INSERT INTO message_media (message_key, ordinal, media_key) "
        "SELECT ?, ?, media_key FROM media WHERE user_key = ? AND sha256 = ?",
        (message_key, ordinal, user_key, media.sha256),
    )


def _may_extend(known: _RunRow | None, run: PreparedRun, decided: Plan) -> bool:
    return (
        known is not None
        and (known.status == "running" or run.imported)
        and run.messages[decided.new[0]].role == "assistant"
    )


def _extend_last(
    db: sqlite3.Connection, session: SessionRow, row: _RunRow, message: PreparedMessage, tally: _Tally
) -> None:
    """The run's last assistant message has grown: more text after the old one, more calls after the old ones.

    Raises Conflict where it is another message.
    """
    position = row.received - 1
    seq, stored = db.execute(
        "SELECT seq, stored FROM digests WHERE run_key = ? AND position = ?", (row.run_key, position)
    ).fetchone()
    db.execute(
        "UPDATE digests SET digest = ? WHERE run_key = ? AND position = ?", (message.arrived.digest, row.run_key, position)
    )
    if not (stored and message.kept):
        return
    key, role, old_text, at = db.execute(
        "SELECT message_key, role, text, created_at FROM messages WHERE session_key = ? AND seq = ?",
        (session.session_key, seq),
    ).fetchone()
    old_calls = db.execute(
        "SELECT tool_name, arguments FROM tool_calls WHERE message_key = ? ORDER BY ordinal", (key,)
    ).fetchall()
    calls = [(call.tool_name, call.arguments) for call in message.tool_calls]
    if role != "assistant" or not message.text.startswith(old_text) or calls[: len(old_calls)] != old_calls:
        raise Conflict(
            f"Run {row.run_id!r} is stored with another last message. "
            "Only more text after its last assistant text can be taken in while it is running."
        )
    index.remove(db, [index.entry_of_message(db, key)])
    db.execute(
        "UPDATE messages SET text = ?, reasoning = ? WHERE message_key = ?",
        (message.text, message.reasoning or None, key),
    )
    for ordinal, call in enumerate(message.tool_calls[len(old_calls) :], start=len(old_calls)):
        user_key = session.user_key
        _insert_call(db, user_key, session, row, key, ordinal, call.tool_call_id, call.tool_name, call.arguments, at)
        tally.tool_calls += 1
    index.add(db, key, index.entry_of_message(db, key).entry)
    tally.recorded += 1


def _update_run(
    db: sqlite3.Connection, row: _RunRow, run: PreparedRun, decided: Plan, tally: _Tally, *, fresh: bool
) -> bool:
    """Bring the run's row up to date; True if that changed what it says."""
    before = (row.status, row.metrics)
    nothing_new = not fresh and decided.verdict == "same"
    regress = nothing_new and row.status != "running"
    status = row.status if regress else run.status
    metrics = run.metrics if not (nothing_new and run.metrics.get("estimated")) else row.metrics
    row.metrics, row.status = metrics, status
    changed = fresh or before != (status, metrics)
    if nothing_new and not changed:
        return False
    sent_history = history_digest([m.arrived for m in run.messages], decided.history) if decided.history else None
    first_seq = row.first_seq if row.first_seq is not None else (tally.seq - tally.messages + 1 if tally.messages else None)
    last_seq = tally.seq if tally.messages else row.last_seq
    db.execute(
        "UPDATE runs SET status = ?, metrics = ?, model = coalesce(?, model), metadata = coalesce(?, metadata), "
        "ended_at = coalesce(?, ended_at), history_count = ?, history_digest = ?, first_seq = ?, last_seq = ? "
        "WHERE run_key = ?",
        (
            status, dump(metrics), run.model, maybe_dump(run.metadata), maybe_ms(run.ended_at), len(decided.history),
            sent_history, first_seq, last_seq, row.run_key,
        ),
    )  # fmt: skip
    return changed


def _update_session(
    db: sqlite3.Connection,
    session: SessionRow,
    row: _RunRow,
    run: PreparedRun,
    tally: _Tally,
    old_metrics: dict[str, Any],
    *,
    created: bool,
    new_run: bool,
) -> None:
    state = merge_patch(load(session.state), run.state) if run.state else None
    metadata = merge_patch(load(session.metadata), run.session_metadata) if run.session_metadata else None
    db.execute(
        "UPDATE sessions SET title = coalesce(?, title), opening = coalesce(opening, ?), agent = coalesce(?, agent), "
        "state = coalesce(?, state), metadata = coalesce(?, metadata), metrics = ?, "
        "messages = messages + ?, history_messages = history_messages + ?, runs = runs + ?, "
        "tool_calls = tool_calls + ?, last_seq = ?, last_run_index = max(last_run_index, ?), "
        "last_message_key = max(last_message_key, ?), system_digest = coalesce(?, system_digest), updated_at = ?, "
        "last_activity_at = max(CASE WHEN ? THEN 0 ELSE last_activity_at END, ?) WHERE session_key = ?",
        (
            run.title, tally.opening, run.agent, maybe_dump(state), maybe_dump(metadata),
            dump(sum_metrics(load(session.metrics), old_metrics, row.metrics)),
            tally.messages, tally.history, int(new_run), tally.tool_calls, tally.seq, row.run_index,
            tally.last_message_key, tally.system_digest, to_ms(run.recorded_at),
            created and bool(tally.newest_at), tally.newest_at, session.session_key,
        ),
    )  # fmt: skip



def _new_key(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid
