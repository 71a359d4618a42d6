"""What hooks told, beside the sessions it is of. How it becomes messages is in hooked.py."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime

from ..facts import (
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
from ..rows import from_ms, to_ms
from . import telling
from .database import Ask, Database, Each, Row, Writing, user_key
from .foreseeing import tombstones_among
from .hooked import take_back

Sessions = Collection[tuple[str, str]]
"""Source and the host's own id of each."""


class PostgresFacts:
    """A FactStore."""

    def __init__(self, database: Database, tombstone: Callable[[str, str], bytes], machine: Callable[[], str]) -> None:
        self._database = database
        self._tombstone = tombstone
        self._machine = machine

    async def save(self, user_id: str, heard: Sequence[Heard]) -> int:
        facts: dict[str, Fact] = {}
        for one in heard:
            for fact in one.facts:
                facts.setdefault(fact.fact_id, fact)
        graves = {fact_id: self._graves(fact) for fact_id, fact in facts.items()}
        now = _now()

        async def save(writing: Writing) -> int:
            here, buried = writing.ahead
            known = {fact_id for (fact_id,) in here}
            before = {(source, digest): said_before for source, digest, said_before in buried}
            new = [
                fact
                for fact in facts.values()
                if fact.fact_id not in known and not _is_deleted(fact, graves[fact.fact_id], before)
            ]
            first = writing.next_key("fact", len(new))
            writing.later(
                Each(_CAPTURE, [(writing.user_key, one.host, one.event, to_ms(one.at)) for one in heard]),
                Each(_NAMED, [(writing.user_key, path, to_ms(one.at)) for one in heard for path in one.transcripts]),
                Each(_FACT, [(writing.user_key, key, *_row(fact), now) for key, fact in enumerate(new, start=first)]),
            )
            return len(new)

        key = user_key(user_id)
        return await self._database.write(
            user_id,
            save,
            Ask("SELECT fact_id FROM facts WHERE user_key = %s AND fact_id = ANY(%s::text[])", (key, list(facts))),
            tombstones_among(key, sorted({grave for those in graves.values() for grave in those})),
        )

    def _graves(self, fact: Fact) -> list[tuple[str, bytes]]:
        told = graves_of_told(fact.source, fact.session_id)
        return [(source, self._tombstone(source, session_id)) for source, session_id in told]

    async def of_sessions(self, user_id: str, sessions: Sessions) -> list[Fact]:
        wanted = sorted(sessions)
        values = {
            "user": user_key(user_id),
            "sources": [source for source, _ in wanted],
            "ids": [session_id for _, session_id in wanted],
            "since": _now() - PROVISIONAL_MS,
            "most": MAX_TOLD,
        }
        told = await self._database.fetch(Ask(_OF_SESSIONS_WAITING, values), Ask(_OF_SESSIONS_TOLD, values))
        # By session what waits goes first, as long as times are equal.
        rows = sorted((row for part in told for row in part), key=lambda row: int(row[0]))
        return sorted((fact_of(row[2:]) for row in rows), key=lambda fact: fact.at)

    async def waiting_sessions(self, user_id: str) -> list[tuple[str, str]]:
        rows = await self._rows(
            "SELECT DISTINCT f.source, f.session_id FROM facts AS f "
            "WHERE f.user_key = %s AND f.told = 0 AND f.tried < %s "
            # Of a host whose transcripts tell everything else, only of sessions that are here.
            "AND (f.source = 'cursor' OR EXISTS (SELECT 1 FROM sessions AS s WHERE s.user_key = f.user_key "
            "AND s.session_id IN (f.session_id, f.source || ':' || f.session_id)))",
            user_id,
            MAX_TRIES,
        )
        return sorted((source, session_id) for source, session_id in rows)

    async def tried(self, user_id: str, fact_ids: Collection[str]) -> None:
        await self._change(user_id, "UPDATE facts SET tried = tried + 1 WHERE", fact_ids)

    async def bind(self, user_id: str, runs: Mapping[str, str]) -> None:
        async def bind(writing: Writing) -> None:
            writing.later(
                Ask(
                    "UPDATE facts AS f SET run_id = n.run_id "
                    "FROM unnest(%s::text[], %s::text[]) AS n (fact_id, run_id) "
                    "WHERE f.user_key = %s AND f.fact_id = n.fact_id",
                    (list(runs), list(runs.values()), writing.user_key),
                )
            )

        await self._database.write(user_id, bind)

    async def spend(self, user_id: str, fact_ids: Collection[str]) -> None:
        await self._change(
            user_id, "UPDATE facts SET told = 1, text = NULL, arguments = NULL, message_key = NULL WHERE", fact_ids
        )

    async def _change(self, user_id: str, statement: str, fact_ids: Collection[str]) -> None:
        async def change(writing: Writing) -> None:
            told = f"{statement} user_key = %s AND fact_id = ANY(%s::text[])"
            writing.later(Ask(told, (writing.user_key, list(fact_ids))))

        await self._database.write(user_id, change)

    async def tell_durations(self, user_id: str, sessions: Sessions) -> int:
        return await self._database.write(
            user_id, lambda writing: telling.durations(writing, sessions), telling.timed(user_key(user_id), sessions)
        )

    async def tell_times(self, user_id: str, run_id: str, times: Mapping[int, datetime]) -> None:
        if times:
            await self._database.write(user_id, lambda writing: telling.times(writing, run_id, times))

    async def withdraw(self, user_id: str, run_ids: Collection[str]) -> None:
        await self._database.write(user_id, lambda writing: take_back(writing, list(run_ids)))

    async def newest_runs(self, user_id: str, source: str, session_id: str, limit: int) -> list[StoredRun]:
        key = user_key(user_id)
        return await self._database.read(
            lambda transaction: telling.newest_runs(transaction, key, source, session_id, limit)
        )

    async def captures(self, user_id: str) -> list[Capture]:
        rows = await self._rows("SELECT host, payloads, event, captured_at FROM captures WHERE user_key = %s", user_id)
        return sorted(Capture(host, payloads, event, from_ms(at)) for host, payloads, event, at in rows)

    async def unread_transcripts(self, user_id: str) -> list[str]:
        (rows,) = await self._database.fetch(
            Ask(
                "SELECT t.path FROM named_transcripts AS t LEFT JOIN imports AS i "
                "ON i.user_key = t.user_key AND i.machine = %s AND i.path = t.path WHERE t.user_key = %s "
                "AND (i.imported_at IS NULL OR i.imported_at <= t.named_at) "
                'ORDER BY t.named_at DESC, t.path COLLATE "C"',
                (self._machine(), user_key(user_id)),
            )
        )
        return [path for (path,) in rows]

    async def expire(self, user_id: str, before: datetime) -> int:
        async def expire(writing: Writing) -> int:
            values = (writing.user_key, to_ms(before))
            writing.later(Ask("DELETE FROM named_transcripts WHERE user_key = %s AND named_at < %s", values))
            # What hooks alone told keeps its facts, without words: by them a transcript that turns up is known.
            return await writing.run(
                "DELETE FROM facts WHERE user_key = %s AND heard_at < %s AND message_key IS NULL", values
            )

        return await self._database.write(user_id, expire)

    async def _rows(self, statement: str, user_id: str, *values: object) -> list[Row]:
        (rows,) = await self._database.fetch(Ask(statement, (user_key(user_id), *values)))
        return rows


def _is_deleted(
    fact: Fact, graves: Sequence[tuple[str, bytes]], said_before: Mapping[tuple[str, bytes], int | None]
) -> bool:
    deletions = [said_before[grave] for grave in graves if grave in said_before]
    return any(before is None or to_ms(fact.at) < before for before in deletions)


def _row(fact: Fact) -> Row:
    return (
        fact.fact_id, fact.source, fact.session_id, fact.kind, fact.turn, fact.tool_call_id, fact.tool_name,
        fact.arguments, fact.text, fact.digest, int(fact.is_error), fact.duration_ms, to_ms(fact.at), fact.project,
        fact.model,
    )  # fmt: skip


def _now() -> int:
    return to_ms(datetime.now(UTC))


_CAPTURE = (
    "INSERT INTO captures AS c (user_key, host, payloads, event, captured_at) VALUES (%s, %s, 1, %s, %s) "
    "ON CONFLICT (user_key, host) DO UPDATE SET payloads = c.payloads + 1, "
    "event = CASE WHEN excluded.captured_at >= c.captured_at THEN excluded.event ELSE c.event END, "
    "captured_at = greatest(c.captured_at, excluded.captured_at)"
)
_NAMED = (
    "INSERT INTO named_transcripts AS t (user_key, path, named_at) VALUES (%s, %s, %s) "
    "ON CONFLICT (user_key, path) DO UPDATE SET named_at = greatest(t.named_at, excluded.named_at)"
)
_FACT = (
    "INSERT INTO facts (user_key, fact_key, fact_id, source, session_id, kind, turn, tool_call_id, tool_name, "
    "arguments, text, digest, is_error, duration_ms, at, project, model, heard_at) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_WANTED = "unnest(%(sources)s::text[], %(ids)s::text[]) WITH ORDINALITY AS n (source, session_id, place)"
_OF_WANTED = "f.user_key = %(user)s AND f.source = n.source AND f.session_id = n.session_id"
_OF_SESSIONS_WAITING = (
    f"SELECT n.place, f.fact_key, {WAITING_COLUMNS} FROM {_WANTED} JOIN facts AS f ON {_OF_WANTED} "
    "WHERE f.told = 0 ORDER BY n.place, f.at, f.fact_key"
)
_OF_SESSIONS_TOLD = (
    f"SELECT n.place, t.* FROM {_WANTED} CROSS JOIN LATERAL (SELECT f.fact_key, {TOLD_COLUMNS} FROM facts AS f "
    "LEFT JOIN messages AS m ON m.user_key = f.user_key AND m.message_key = f.message_key "
    f"WHERE {_OF_WANTED} AND f.told = 1 "
    "AND (f.turn IS NOT NULL AND f.run_id IS NOT NULL OR f.message_key IS NOT NULL) "
    "AND (f.kind <> 'answer' OR f.at >= %(since)s OR f.source = 'cursor') "
    "ORDER BY f.at DESC, f.fact_key DESC LIMIT %(most)s) AS t ORDER BY n.place, t.at DESC, t.fact_key DESC"
)
