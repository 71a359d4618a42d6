"""What hooks told, beside the sessions it is of. How it becomes messages is in hooked.py."""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ...models import NewMessage, NewRun, NewToolCall
from ..facts import (
    MAX_CALLS,
    MAX_TOLD,
    MAX_TRIES,
    PROVISIONAL_MS,
    TOLD_COLUMNS,
    WAITING_COLUMNS,
    Capture,
    Fact,
    Heard,
    StoredRun,
    fact_of,
)
from ..meeting import graves_of_told
from ..rows import SessionRow, dump, from_ms, load, maybe_from_ms, pack_id, to_ms, unpack_id
from .database import Database
from .hooked import take_back
from .keeping import IndexKeeper
from .recording import ensure_user
from .rows import find_user, look_up_session


class SqliteFacts:
    """A FactStore in the file of a SqliteStore."""

    def __init__(self, database: Database, index: IndexKeeper, tombstone: Callable[[str, str], bytes]) -> None:
        self._database = database
        self._index = index
        self._tombstone = tombstone

    async def save(self, user_id: str, heard: Sequence[Heard]) -> int:
        return await self._database.write(lambda db: _save(db, user_id, heard, self._tombstone))

    async def of_sessions(self, user_id: str, sessions: Collection[tuple[str, str]]) -> list[Fact]:
        since = _now() - PROVISIONAL_MS
        return await self._database.read(lambda db: _of_sessions(db, find_user(db, user_id), sessions, since))

    async def waiting_sessions(self, user_id: str) -> list[tuple[str, str]]:
        return await self._database.read(lambda db: _waiting_sessions(db, find_user(db, user_id)))

    async def tried(self, user_id: str, fact_ids: Collection[str]) -> None:
        await self._change(user_id, "UPDATE facts SET tried = tried + 1 WHERE", fact_ids)

    async def bind(self, user_id: str, runs: Mapping[str, str]) -> None:
        def bind(db: sqlite3.Connection) -> None:
            user_key = find_user(db, user_id)
            db.executemany(
                "UPDATE facts SET run_id = ? WHERE user_key = ? AND fact_id = ?",
                [(run_id, user_key, fact_id) for fact_id, run_id in runs.items()],
            )

        await self._database.write(bind)

    async def spend(self, user_id: str, fact_ids: Collection[str]) -> None:
        await self._change(
            user_id, "UPDATE facts SET told = 1, text = NULL, arguments = NULL, message_key = NULL WHERE", fact_ids
        )

    async def _change(self, user_id: str, statement: str, fact_ids: Collection[str]) -> None:
        await self._database.write(
            lambda db: db.execute(
                f"{statement} user_key = ? AND fact_id IN (SELECT value FROM json_each(?))",
                (find_user(db, user_id), dump(list(fact_ids))),
            )
        )

    async def tell_durations(self, user_id: str, sessions: Collection[tuple[str, str]]) -> int:
        return await self._database.write(lambda db: _tell_durations(db, find_user(db, user_id), sessions))

    async def tell_times(self, user_id: str, run_id: str, times: Mapping[int, datetime]) -> None:
        await self._database.write(lambda db: _tell_times(db, find_user(db, user_id), run_id, times))

    async def withdraw(self, user_id: str, run_ids: Collection[str]) -> None:
        def withdraw(db: sqlite3.Connection) -> None:
            if (user_key := find_user(db, user_id)) is not None:
                for run_id in run_ids:
                    take_back(db, user_key, pack_id(run_id))

        await self._index.write(withdraw)

    async def newest_runs(self, user_id: str, source: str, session_id: str, limit: int) -> list[StoredRun]:
        return await self._database.read(lambda db: _newest_runs(db, find_user(db, user_id), source, session_id, limit))

    async def captures(self, user_id: str) -> list[Capture]:
        rows = await self._database.read(
            lambda db: db.execute(
                "SELECT host, payloads, event, captured_at FROM captures WHERE user_key = ? ORDER BY host",
                (find_user(db, user_id),),
            ).fetchall()
        )
        return [Capture(host, payloads, event, from_ms(at)) for host, payloads, event, at in rows]

    async def unread_transcripts(self, user_id: str) -> list[str]:
        rows = await self._database.read(
            lambda db: db.execute(
                "SELECT t.path FROM named_transcripts AS t LEFT JOIN imports AS i "
                "ON i.user_key = t.user_key AND i.path = t.path WHERE t.user_key = ? "
                "AND (i.imported_at IS NULL OR i.imported_at <= t.named_at) ORDER BY t.named_at DESC, t.path",
                (find_user(db, user_id),),
            ).fetchall()
        )
        return [path for (path,) in rows]

    async def expire(self, user_id: str, before: datetime) -> int:
        return await self._database.write(lambda db: _expire(db, find_user(db, user_id), to_ms(before)))


def _save(db: sqlite3.Connection, user_id: str, heard: Sequence[Heard], tombstone: Callable[[str, str], bytes]) -> int:
    user_key = ensure_user(db, user_id)
    now, new = _now(), 0
    for one in heard:
        db.execute(
            "INSERT INTO captures (user_key, host, payloads, event, captured_at) VALUES (?, ?, 1, ?, ?) "
            "ON CONFLICT DO UPDATE SET payloads = payloads + 1, "
            "event = CASE WHEN excluded.captured_at >= captured_at THEN excluded.event ELSE event END, "
            "captured_at = max(captured_at, excluded.captured_at)",
            (user_key, one.host, one.event, to_ms(one.at)),
        )
        db.executemany(
            "INSERT INTO named_transcripts (user_key, path, named_at) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET named_at = max(named_at, excluded.named_at)",
            [(user_key, path, to_ms(one.at)) for path in one.transcripts],
        )
        for fact in one.facts:
            if not _is_deleted(db, user_key, fact, tombstone):
                new += _insert(db, user_key, fact, now)
    return new


def _is_deleted(db: sqlite3.Connection, user_key: int, fact: Fact, tombstone: Callable[[str, str], bytes]) -> bool:
    """Whether it stays out with a session that was deleted."""
    return any(
        db.execute(
            "SELECT 1 FROM tombstones WHERE user_key = ? AND source = ? AND digest = ? "
            "AND (said_before IS NULL OR ? < said_before)",
            (user_key, source, tombstone(source, session_id), to_ms(fact.at)),
        ).fetchone()
        for source, session_id in graves_of_told(fact.source, fact.session_id)
    )


def _insert(db: sqlite3.Connection, user_key: int, fact: Fact, now: int) -> int:
    return db.execute(
        "INSERT INTO facts (user_key, fact_id, source, session_id, kind, turn, tool_call_id, tool_name, arguments, "
        "text, digest, is_error, duration_ms, at, project, model, heard_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            user_key, fact.fact_id, fact.source, fact.session_id, fact.kind, fact.turn, fact.tool_call_id,
            fact.tool_name, fact.arguments, fact.text, fact.digest, int(fact.is_error), fact.duration_ms,
            to_ms(fact.at), fact.project, fact.model, now,
        ),
    ).rowcount  # fmt: skip


def _of_sessions(
    db: sqlite3.Connection, user_key: int | None, sessions: Collection[tuple[str, str]], since: int
) -> list[Fact]:
    rows: list[Sequence[Any]] = []
    # Of most sessions that are imported nothing was told.
    heard_of = set(db.execute("SELECT DISTINCT source, session_id FROM facts WHERE user_key = ?", (user_key,)))
    for source, session_id in sorted(one for one in sessions if one in heard_of):
        named = (user_key, source, session_id)
        rows += db.execute(
            f"SELECT {WAITING_COLUMNS} FROM facts AS f WHERE f.user_key = ? AND f.source = ? AND f.session_id = ? "
            "AND f.told = 0 ORDER BY f.at, f.fact_key",
            named,
        ).fetchall()
        rows += db.execute(
            f"SELECT {TOLD_COLUMNS} FROM facts AS f LEFT JOIN messages AS m ON m.message_key = f.message_key "
            "WHERE f.user_key = ? AND f.source = ? AND f.session_id = ? AND f.told = 1 "
            "AND (f.turn IS NOT NULL AND f.run_id IS NOT NULL OR f.message_key IS NOT NULL) "
            "AND (f.kind <> 'answer' OR f.at >= ? OR f.source = 'cursor') "
            f"ORDER BY f.at DESC, f.fact_key DESC LIMIT {MAX_TOLD}",
            (*named, since),
        ).fetchall()
    return sorted(map(fact_of, rows), key=lambda fact: fact.at)


def _waiting_sessions(db: sqlite3.Connection, user_key: int | None) -> list[tuple[str, str]]:
    """Of a host whose transcripts tell everything else, only of sessions that are here."""
    rows: list[tuple[str, str]] = db.execute(
        "SELECT DISTINCT source, session_id FROM facts WHERE user_key = ? AND told = 0 AND tried < ? "
        "ORDER BY source, session_id",
        (user_key, MAX_TRIES),
    ).fetchall()
    return [one for one in rows if one[0] == "cursor" or _session(db, user_key, *one) is not None]


def _session(db: sqlite3.Connection, user_key: int | None, source: str, session_id: str) -> SessionRow | None:
    """The session that a host calls so: kept as `source:id` where another source has the id."""
    if user_key is None:
        return None
    beside = look_up_session(db, user_key, f"{source}:{session_id}")
    return beside or look_up_session(db, user_key, session_id)


def _tell_durations(db: sqlite3.Connection, user_key: int | None, sessions: Collection[tuple[str, str]]) -> int:
    """A call is found by its id among the session's newest; ended, else its end would wipe it out."""
    told = 0
    for source, session_id in sessions:
        named = (user_key, source, session_id)
        waiting = {
            call_id: (fact_key, duration_ms)
            for fact_key, call_id, duration_ms in db.execute(
                "SELECT fact_key, tool_call_id, duration_ms FROM facts WHERE user_key = ? AND source = ? "
                "AND session_id = ? AND told = 0 AND kind = 'tool' AND duration_ms IS NOT NULL "
                "AND tool_call_id IS NOT NULL",
                named,
            )
        }
        session = _session(db, user_key, source, session_id) if waiting else None
        if session is None:
            continue
        found = db.execute(
            "SELECT call_key, tool_call_id, duration_ms FROM (SELECT call_key, tool_call_id, duration_ms "
            "FROM tool_calls WHERE session_key = ? AND status <> 'pending' AND from_history = 0 "
            f"ORDER BY called_at DESC LIMIT {MAX_CALLS}) WHERE tool_call_id IN (SELECT value FROM json_each(?))",
            (session.session_key, dump(list(waiting))),
        ).fetchall()
        for call_key, call_id, known in found:
            fact_key, duration_ms = waiting[call_id]
            if known is None:
                db.execute("UPDATE tool_calls SET duration_ms = ? WHERE call_key = ?", (duration_ms, call_key))
                told += 1
            db.execute("UPDATE facts SET told = 1, text = NULL, arguments = NULL WHERE fact_key = ?", (fact_key,))
    return told


def _tell_times(db: sqlite3.Connection, user_key: int | None, run_id: str, times: Mapping[int, datetime]) -> None:
    found = db.execute(
        "SELECT run_key, session_key FROM runs WHERE user_key = ? AND run_id = ?", (user_key, pack_id(run_id))
    ).fetchone()
    if found is None or not times:
        return
    run_key, session_key = found
    for seq, at in times.items():
        row = db.execute(
            "UPDATE messages SET created_at = ? WHERE session_key = ? AND run_key = ? AND seq = ? "
            "RETURNING message_key",
            (to_ms(at), session_key, run_key, seq),
        ).fetchall()
        for (message_key,) in row:
            db.execute("UPDATE tool_calls SET called_at = ? WHERE message_key = ?", (to_ms(at), message_key))
    db.execute("UPDATE runs SET started_at = ? WHERE run_key = ?", (to_ms(min(times.values())), run_key))
    db.execute(
        "UPDATE sessions SET last_activity_at = (SELECT max(created_at) FROM messages WHERE session_key = ?1 "
        "AND from_history = 0), created_at = min(created_at, ?2) WHERE session_key = ?1",
        (session_key, to_ms(min(times.values()))),
    )


def _newest_runs(
    db: sqlite3.Connection, user_key: int | None, source: str, session_id: str, limit: int
) -> list[StoredRun]:
    session = _session(db, user_key, source, session_id)
    if session is None:
        return []
    rows = db.execute(
        "SELECT run_key, run_id, status, model, metadata, started_at, ended_at, "
        "EXISTS (SELECT 1 FROM digests AS d WHERE d.run_key = r.run_key) FROM runs AS r "
        "WHERE session_key = ? ORDER BY run_index DESC LIMIT ?",
        (session.session_key, limit),
    ).fetchall()
    found = []
    for run_key, run_id, status, model, metadata, started_at, ended_at, has_transcript in reversed(rows):
        messages, seqs = _messages_of(db, session.session_key, run_key)
        run = NewRun(
            messages=messages,
            session_id=unpack_id(session.session_id),
            run_id=unpack_id(run_id),
            status=status,
            agent=session.agent,
            model=model,
            source=source,
            metadata=load(metadata),
            started_at=maybe_from_ms(started_at),
            ended_at=maybe_from_ms(ended_at),
        )
        found.append(StoredRun(run, seqs, not has_transcript))
    return found


def _messages_of(
    db: sqlite3.Connection, session_key: int, run_key: int
) -> tuple[tuple[NewMessage, ...], tuple[int, ...]]:
    messages, seqs = [], []
    for key, seq, role, text, tool_call_id, created_at in db.execute(
        "SELECT message_key, seq, role, CASE WHEN role = 'tool' THEN '' ELSE text END, tool_call_id, created_at "
        "FROM messages WHERE session_key = ? AND run_key = ? AND from_history = 0 ORDER BY seq",
        (session_key, run_key),
    ).fetchall():
        calls = db.execute(
            "SELECT tool_call_id, tool_name, coalesce(arguments, '') FROM tool_calls WHERE message_key = ? "
            "ORDER BY ordinal",
            (key,),
        ).fetchall()
        messages.append(
            NewMessage(
                role=role,
                text=text,
                tool_call_id=tool_call_id,
                tool_calls=tuple(
                    NewToolCall(tool_call_id=call_id or None, tool_name=name, arguments=arguments)
                    for call_id, name, arguments in calls
                ),
                created_at=from_ms(created_at),
            )
        )
        seqs.append(seq)
    return tuple(messages), tuple(seqs)


def _expire(db: sqlite3.Connection, user_key: int | None, before: int) -> int:
    """What hooks alone told keeps its facts, without words: by them a transcript that turns up is known."""
    db.execute("DELETE FROM named_transcripts WHERE user_key = ? AND named_at < ?", (user_key, before))
    return db.execute(
        "DELETE FROM facts WHERE user_key = ? AND heard_at < ? AND message_key IS NULL", (user_key, before)
    ).rowcount


def _now() -> int:
    return to_ms(datetime.now(UTC))
