"""The user's choices on Postgres. That a pause is told on this machine by a file too: see pausing.py."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ...pausing import Pause, is_paused, write_marker
from ..choices import Buried, Chosen, Hidden, LeftOut, Length, Wanted
from . import choosing
from .database import Ask, Database, Transaction, Writing, user_key
from .deleting import Deleting, delete_chosen

HOLD_SECONDS = 0.2
"""Of one transaction that deletes: so long the user's other writers wait for it, and nobody else."""


class Marker(NamedTuple):
    """Where on this machine the file lies that tells hooks of a pause, and what it calls the database."""

    folder: str
    database: str


class PostgresChoices:
    """A ChoiceStore. `marker` is None where no hook of this machine writes for the database."""

    def __init__(
        self, database: Database, tombstone: Callable[[str, str], bytes], marker: Marker | None = None
    ) -> None:
        self._database = database
        self._tombstone = tombstone
        self._marker = marker

    # Pauses

    async def pause(self, user_id: str, now: int, until: int | None, files: Mapping[str, Length]) -> Pause:
        async def begin(writing: Writing) -> Pause:
            on = await _current(writing, now)
            since = now if on is None else on.since
            await writing.run(
                "INSERT INTO pauses (user_key, since, until) VALUES (%s, %s, %s) "
                "ON CONFLICT (user_key, since) DO UPDATE SET until = excluded.until, measured = 0",
                (writing.user_key, since, until),
            )
            if on is None and files:
                await writing.many(
                    "INSERT INTO paused_files (user_key, path, since, beginning, began_bytes) "
                    "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    [
                        (writing.user_key, path, since, length.beginning, length.size_bytes)
                        for path, length in files.items()
                    ],
                )
            self._mark(user_id, Pause(since, until), now)
            return Pause(since, until)

        return await self._database.write(user_id, begin)

    async def resume(self, user_id: str, now: int) -> Pause | None:
        async def end(writing: Writing) -> Pause | None:
            on = await _current(writing, now)
            if on is None:
                return None
            await writing.run(
                "UPDATE pauses SET until = %s WHERE user_key = %s AND since = %s", (now, writing.user_key, on.since)
            )
            return Pause(on.since, now)

        ended = await self._database.write(user_id, end)
        # Once it has ended for sure: where this fails, hooks keep nothing, and the next sync puts it right.
        self._mark(user_id, None, now)
        return ended

    def _mark(self, user_id: str, pause: Pause | None, now: int) -> None:
        if self._marker is not None:
            pauses = [] if pause is None else [(user_id, pause)]
            write_marker(self._marker.folder, self._marker.database, pauses, now, of=user_id)

    async def pauses(self, user_id: str) -> list[Pause]:
        rows = await self._rows("SELECT since, until FROM pauses WHERE user_key = %s ORDER BY since", user_id)
        return [Pause(*row) for row in rows]

    async def refresh_marker(self, user_id: str, now: int) -> None:
        if self._marker is None:
            return
        pauses = await self.pauses(user_id)
        on = pauses[-1] if pauses and pauses[-1].lasts(now) else None
        if (on is not None) != is_paused(self._marker.folder, now, user=user_id, database=self._marker.database):
            self._mark(user_id, on, now)

    async def unmeasured(self, user_id: str, now: int) -> list[int]:
        rows = await self._rows(
            "SELECT since FROM pauses WHERE user_key = %s AND measured = 0 AND until <= %s ORDER BY since", user_id, now
        )
        return [since for (since,) in rows]

    async def measure_ended(self, user_id: str, since: int, files: Mapping[str, Length]) -> None:
        async def note(writing: Writing) -> None:
            if files:
                await writing.many(
                    "INSERT INTO paused_files (user_key, path, since, beginning, began_bytes, ended_bytes) "
                    "VALUES (%s, %s, %s, %s, 0, %s) "
                    "ON CONFLICT (user_key, path, since) DO UPDATE SET ended_bytes = excluded.ended_bytes",
                    [
                        (writing.user_key, path, since, length.beginning, length.size_bytes)
                        for path, length in files.items()
                    ],
                )
            # What did not grow hides nothing; what is gone cannot be read.
            await writing.run(
                "DELETE FROM paused_files "
                "WHERE user_key = %s AND since = %s AND coalesce(ended_bytes, 0) = began_bytes",
                (writing.user_key, since),
            )
            await writing.run(
                "UPDATE pauses SET measured = 1 WHERE user_key = %s AND since = %s", (writing.user_key, since)
            )

        await self._database.write(user_id, note)

    async def hidden_parts(self, user_id: str, path: str) -> list[Hidden]:
        rows = await self._rows(
            "SELECT beginning, began_bytes, ended_bytes FROM paused_files WHERE user_key = %s AND path = %s "
            "ORDER BY since",
            user_id,
            path,
        )
        return [Hidden(*row) for row in rows]

    async def paths_of(self, user_id: str, host: str) -> list[str]:
        rows = await self._rows("SELECT path FROM imports WHERE user_key = %s AND host = %s", user_id, host)
        return [path for (path,) in rows]

    # What was left out

    async def note_left_out(
        self, user_id: str, rows: Sequence[LeftOut], let_in: Collection[tuple[bytes, bytes]]
    ) -> None:
        async def note(writing: Writing) -> None:
            if rows:
                await writing.many(
                    "INSERT INTO left_out (user_key, session, run, source, reason, rules, messages) "
                    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (user_key, session, run) DO UPDATE SET "
                    "source = excluded.source, reason = excluded.reason, rules = excluded.rules, "
                    "messages = excluded.messages",
                    [(writing.user_key, *row) for row in rows],
                )
            if let_in:
                await writing.run(
                    "DELETE FROM left_out AS l USING unnest(%s::bytea[], %s::bytea[]) AS heard (session, run) "
                    "WHERE l.user_key = %s AND l.session = heard.session AND l.run = heard.run",
                    ([session for session, _ in let_in], [run for _, run in let_in], writing.user_key),
                )

        await self._database.write(user_id, note)

    async def left_out_of(self, user_id: str, sessions: Collection[bytes]) -> dict[bytes, set[tuple[str, str]]]:
        found: dict[bytes, set[tuple[str, str]]] = {}
        for session, reason, rules in await self._rows(
            "SELECT DISTINCT session, reason, rules FROM left_out WHERE user_key = %s AND session = ANY(%s::bytea[])",
            user_id,
            list(sessions),
        ):
            found.setdefault(bytes(session), set()).add((reason, rules))
        return found

    async def left_out(self, user_id: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for source, reason, messages in await self._rows(
            "SELECT source, reason, sum(messages)::bigint FROM left_out WHERE user_key = %s GROUP BY source, reason "
            'ORDER BY source COLLATE "C", reason COLLATE "C"',
            user_id,
        ):
            found.setdefault(source, {})[reason] = messages
        return found

    async def reopen_files(self, user_id: str, rules: str) -> None:
        async def reopen(writing: Writing) -> None:
            await writing.run("UPDATE users SET rules = %s WHERE user_key = %s", (rules, writing.user_key))
            # No file has this time of change.
            await writing.run(
                "UPDATE imports SET modified_ns = -1 WHERE user_key = %s AND settled::json ->> 'rules' <> %s",
                (writing.user_key, rules),
            )

        # Looked up with every sync, written when the settings have changed.
        rows = await self._rows("SELECT rules FROM users WHERE user_key = %s", user_id)
        known = rows[0][0] if rows else None
        if known not in (rules, rules or None):
            await self._database.write(user_id, reopen)

    async def has_left_out(self, user_id: str) -> bool:
        return bool(await self._rows("SELECT 1 FROM left_out WHERE user_key = %s LIMIT 1", user_id))

    async def tombstones(
        self, user_id: str, sessions: Collection[tuple[str, bytes]]
    ) -> dict[tuple[str, bytes], int | None]:
        rows = await self._rows(
            "WITH mine AS (SELECT source, digest, said_before FROM tombstones WHERE user_key = %s) "
            "SELECT mine.* FROM mine JOIN unnest(%s::text[], %s::bytea[]) AS asked (source, digest) "
            "ON mine.source = asked.source AND mine.digest = asked.digest",
            user_id,
            [source for source, _ in sessions],
            [digest for _, digest in sessions],
        )
        return {(source, bytes(digest)): said_before for source, digest, said_before in rows}

    # Deleting

    async def choose(self, user_id: str, wanted: Wanted, *, with_sizes: bool) -> list[Chosen]:
        async def chosen(db: Transaction) -> list[Chosen]:
            return await choosing.choose(db, user_key(user_id), wanted, with_sizes=with_sizes)

        return await self._database.read(chosen)

    async def projects(self, user_id: str) -> list[str]:
        rows = await self._rows(
            "SELECT DISTINCT project FROM sessions WHERE user_key = %s AND project IS NOT NULL", user_id
        )
        return [project for (project,) in rows]

    async def rare_words(self, user_id: str, keys: Sequence[int]) -> list[str]:
        """None: the bytes of a server's files cannot be looked through from here."""
        return []

    async def bury(
        self, user_id: str, chosen: Sequence[Chosen], *, forks: str, now: int, said_before: int | None = None
    ) -> Buried:
        async def some(writing: Writing) -> Buried:
            deleting = Deleting(forks, self._tombstone, now, said_before)
            began = time.monotonic()
            through = 0
            for one in chosen:
                through += 1
                await delete_chosen(writing, one.key, deleting, not_after=one.last_activity_at)
                if time.monotonic() - began > HOLD_SECONDS:
                    break
            return Buried(tuple(deleting.keys), through, dict(deleting.rows))

        return await self._database.write(user_id, some)

    async def empty(self, keys: Collection[int]) -> dict[str, int]:
        """Their rows went with them."""
        return {}

    async def claim_retention(self, user_id: str, now: int, every: int) -> bool:
        values = {"user": user_key(user_id), "now": now, "every": every}
        # Looked at first: a write that changes nothing would be told to all who watch the user.
        (due,) = await self._database.fetch(Ask(f"SELECT 1 FROM users WHERE user_key = %(user)s AND {_DUE}", values))
        if not due:
            return False

        async def claim(writing: Writing) -> bool:
            claimed = f"UPDATE users SET retained_at = %(now)s WHERE user_key = %(user)s AND {_DUE}"
            return await writing.run(claimed, values) > 0

        return await self._database.write(user_id, claim)

    async def users_due(self, now: int, every: int) -> list[str]:
        asked = Ask(
            f'SELECT user_id FROM users WHERE {_DUE} ORDER BY user_id COLLATE "C"', {"now": now, "every": every}
        )
        (rows,) = await self._database.fetch(asked)
        return [user_id for (user_id,) in rows]

    async def used_bytes(self) -> int:
        return await self._database.read(choosing.used_bytes)

    async def _rows(self, statement: str, user_id: str, *values: Any) -> list[tuple[Any, ...]]:
        """Of a statement that binds the user's key first."""
        (rows,) = await self._database.fetch(Ask(statement, (user_key(user_id), *values)))
        return rows


_DUE = "(retained_at IS NULL OR retained_at > %(now)s OR retained_at + %(every)s <= %(now)s)"


async def _current(db: Writing, now: int) -> Pause | None:
    """The pause that is on. They do not overlap, so it is the last one or none."""
    row = await db.one(
        "SELECT since, until FROM pauses WHERE user_key = %s ORDER BY since DESC LIMIT 1", (db.user_key,)
    )
    return Pause(*row) if row is not None and Pause(*row).lasts(now) else None
