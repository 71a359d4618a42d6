"""The user's choices in the file of a SqliteStore. That a pause is also told by a file beside it: see pausing.py."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from ...errors import RecordingPaused
from ...pausing import Pause, is_paused, write_marker
from ..choices import Buried, Chosen, Hidden, LeftOut, Length, Wanted
from ..lock import TURN_S
from ..rows import SessionRow, maybe_from_ms
from . import choosing
from .database import Database
from .deleting import Burial, bury_key
from .emptying import Emptier
from .keeping import HOLD_SECONDS, IndexKeeper
from .purging import rare_words
from .recording import ensure_user
from .rows import find_user

WORDS_AT_MOST = 64
WORDS_OF_SESSIONS = 16


class SqliteChoices:
    """A ChoiceStore in the file of a SqliteStore."""

    def __init__(
        self, database: Database, keeper: IndexKeeper, emptier: Emptier, tombstone: Callable[[SessionRow], bytes]
    ) -> None:
        self._database = database
        self._keeper = keeper
        self._emptier = emptier
        self._tombstone = tombstone

    # Pauses

    async def pause(self, user_id: str, now: int, until: int | None, files: Mapping[str, Length]) -> Pause:
        def begin(db: sqlite3.Connection) -> Pause:
            user_key = ensure_user(db, user_id)
            on = _current(db, user_key, now)
            since = now if on is None else on.since
            db.execute(
                "INSERT INTO pauses (user_key, since, until) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET until = excluded.until, measured = 0",
                (user_key, since, until),
            )
            if on is None:
                db.executemany(
                    "INSERT INTO paused_files (user_key, path, since, beginning, began_bytes) VALUES (?, ?, ?, ?, ?)",
                    [(user_key, path, since, length.beginning, length.size_bytes) for path, length in files.items()],
                )
            self._mark(db, now)
            return Pause(since, until)

        return await self._database.write(begin)

    async def resume(self, user_id: str, now: int) -> Pause | None:
        def end(db: sqlite3.Connection) -> Pause | None:
            user_key = find_user(db, user_id)
            on = None if user_key is None else _current(db, user_key, now)
            if on is not None:
                db.execute("UPDATE pauses SET until = ? WHERE user_key = ? AND since = ?", (now, user_key, on.since))
            self._mark(db, now)
            return None if on is None else Pause(on.since, now)

        return await self._database.write(end)

    def _mark(self, db: sqlite3.Connection, now: int) -> None:
        """Write the marker anew, in the transaction: where one of the two fails, recording stays paused."""
        found = db.execute(
            "SELECT u.user_id, p.since, p.until FROM pauses AS p JOIN users AS u ON u.user_key = p.user_key "
            "WHERE p.until IS NULL OR p.until > ?",
            (now,),
        ).fetchall()
        pauses = [(user_id, Pause(since, until)) for user_id, since, until in found]
        write_marker(self._database.path.parent, self._database.path.name, pauses, now)

    async def pauses(self, user_id: str) -> list[Pause]:
        return await self._database.read(
            lambda db: [
                Pause(since, until)
                for since, until in db.execute(
                    "SELECT since, until FROM pauses WHERE user_key = ? ORDER BY since", (find_user(db, user_id),)
                )
            ]
        )

    async def refresh_marker(self, user_id: str, now: int) -> None:
        path = self._database.path
        pauses = await self.pauses(user_id)
        on = bool(pauses) and pauses[-1].lasts(now)
        if on != is_paused(path.parent, now, user=user_id, database=path.name):
            await self._database.write(lambda db: self._mark(db, now))

    async def unmeasured(self, user_id: str, now: int) -> list[int]:
        return await self._database.read(
            lambda db: [
                since
                for (since,) in db.execute(
                    "SELECT since FROM pauses WHERE user_key = ? AND measured = 0 AND until <= ? ORDER BY since",
                    (find_user(db, user_id), now),
                )
            ]
        )

    async def measure_ended(self, user_id: str, since: int, files: Mapping[str, Length]) -> None:
        def note(db: sqlite3.Connection) -> None:
            user_key = ensure_user(db, user_id)
            db.executemany(
                "INSERT INTO paused_files (user_key, path, since, beginning, began_bytes, ended_bytes) "
                "VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE SET ended_bytes = excluded.ended_bytes",
                [(user_key, path, since, length.beginning, length.size_bytes) for path, length in files.items()],
            )
            # What did not grow hides nothing; what is gone cannot be read.
            db.execute(
                "DELETE FROM paused_files WHERE user_key = ? AND since = ? AND coalesce(ended_bytes, 0) = began_bytes",
                (user_key, since),
            )
            db.execute("UPDATE pauses SET measured = 1 WHERE user_key = ? AND since = ?", (user_key, since))

        await self._database.write(note)

    async def hidden_parts(self, user_id: str, path: str) -> list[Hidden]:
        return await self._database.read(
            lambda db: [
                Hidden(*row)
                for row in db.execute(
                    "SELECT beginning, began_bytes, ended_bytes FROM paused_files WHERE user_key = ? AND path = ? "
                    "ORDER BY since",
                    (find_user(db, user_id), path),
                )
            ]
        )

    async def paths_of(self, user_id: str, host: str) -> list[str]:
        return await self._database.read(
            lambda db: [
                path
                for (path,) in db.execute(
                    "SELECT path FROM imports WHERE user_key = ? AND host = ?", (find_user(db, user_id), host)
                )
            ]
        )

    # What was left out

    async def note_left_out(
        self, user_id: str, rows: Sequence[LeftOut], let_in: Collection[tuple[bytes, bytes]]
    ) -> None:
        def note(db: sqlite3.Connection) -> None:
            user_key = ensure_user(db, user_id)
            db.executemany(
                "INSERT OR REPLACE INTO left_out (user_key, session, run, source, reason, rules, messages) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(user_key, *row) for row in rows],
            )
            db.executemany(
                "DELETE FROM left_out WHERE user_key = ? AND session = ? AND run = ?",
                [(user_key, *one) for one in let_in],
            )

        await self._database.write(note)

    async def left_out_of(self, user_id: str, sessions: Collection[bytes]) -> dict[bytes, set[tuple[str, str]]]:
        def look(db: sqlite3.Connection) -> dict[bytes, set[tuple[str, str]]]:
            user_key = find_user(db, user_id)
            found: dict[bytes, set[tuple[str, str]]] = {}
            for session in sessions:
                told = db.execute(
                    "SELECT DISTINCT reason, rules FROM left_out WHERE user_key = ? AND session = ?",
                    (user_key, session),
                ).fetchall()
                if told:
                    found[session] = {(reason, rules) for reason, rules in told}
            return found

        return await self._database.read(look)

    async def left_out(self, user_id: str) -> dict[str, dict[str, int]]:
        def count(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
            found: dict[str, dict[str, int]] = {}
            for source, reason, messages in db.execute(
                "SELECT source, reason, sum(messages) FROM left_out WHERE user_key = ? GROUP BY source, reason "
                "ORDER BY source, reason",
                (find_user(db, user_id),),
            ):
                found.setdefault(source, {})[reason] = messages
            return found

        return await self._database.read(count)

    async def reopen_files(self, user_id: str, rules: str) -> None:
        def known(db: sqlite3.Connection) -> str | None:
            row = db.execute("SELECT value FROM meta WHERE name = ?", (f"rules:{find_user(db, user_id)}",)).fetchone()
            return None if row is None else str(row[0])

        def reopen(db: sqlite3.Connection) -> None:
            user_key = ensure_user(db, user_id)
            db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (f"rules:{user_key}", rules))
            # No file has this time of change.
            db.execute(
                "UPDATE imports SET modified_ns = -1 WHERE user_key = ? AND json_extract(settled, '$.rules') <> ?",
                (user_key, rules),
            )

        # Looked up with every sync, written when the settings have changed.
        if await self._database.read(known) not in (rules, rules or None):
            await self._database.write(reopen)

    async def has_left_out(self, user_id: str) -> bool:
        def look(db: sqlite3.Connection) -> bool:
            mine = "SELECT 1 FROM left_out WHERE user_key = ? LIMIT 1"
            return db.execute(mine, (find_user(db, user_id),)).fetchone() is not None

        return await self._database.read(look)

    async def tombstones(
        self, user_id: str, sessions: Collection[tuple[str, bytes]]
    ) -> dict[tuple[str, bytes], int | None]:
        def look(db: sqlite3.Connection) -> dict[tuple[str, bytes], int | None]:
            user_key = find_user(db, user_id)
            found: dict[tuple[str, bytes], int | None] = {}
            for source, digest in sessions:
                row = db.execute(
                    "SELECT said_before FROM tombstones WHERE user_key = ? AND source = ? AND digest = ?",
                    (user_key, source, digest),
                ).fetchone()
                if row is not None:
                    found[source, digest] = row[0]
            return found

        return await self._database.read(look)

    # Deleting

    async def choose(self, user_id: str, wanted: Wanted, *, with_sizes: bool) -> list[Chosen]:
        return await self._database.read(lambda db: choosing.choose(db, user_id, wanted, with_sizes=with_sizes))

    async def projects(self, user_id: str) -> list[str]:
        return await self._database.read(
            lambda db: [
                project
                for (project,) in db.execute(
                    "SELECT DISTINCT project FROM sessions WHERE user_key = ? AND project IS NOT NULL",
                    (find_user(db, user_id),),
                )
            ]
        )

    async def rare_words(self, user_id: str, keys: Sequence[int]) -> list[str]:
        def look(db: sqlite3.Connection) -> list[str]:
            user_key, words = find_user(db, user_id), dict[str, None]()
            for key in keys[:WORDS_OF_SESSIONS]:
                mine = "SELECT 1 FROM sessions WHERE session_key = ? AND user_key = ?"
                if db.execute(mine, (key, user_key)).fetchone():
                    words.update(dict.fromkeys(rare_words(db, key)))
            return list(words)[:WORDS_AT_MOST]

        return await self._database.read(look)

    async def bury(
        self, user_id: str, chosen: Sequence[Chosen], *, forks: str, now: int, said_before: int | None = None
    ) -> Buried:
        def some(db: sqlite3.Connection) -> Buried:
            user_key = find_user(db, user_id)
            burial = Burial(forks, self._tombstone, now, said_before)
            began = time.monotonic()
            for through, one in enumerate(chosen, start=1):
                if user_key is not None:
                    bury_key(db, user_key, one.key, burial, not_after=one.last_activity_at)
                if time.monotonic() - began > HOLD_SECONDS:
                    return Buried(tuple(burial.keys), through, burial.rows)
            return Buried(tuple(burial.keys), len(chosen), burial.rows)

        buried = await self._keeper.write(some)
        if buried.through < len(chosen):
            # Others who wait to write have their turn.
            await asyncio.sleep(TURN_S)
        return buried

    async def empty(self, keys: Collection[int]) -> dict[str, int]:
        return dict(await self._emptier.empty(keys))

    async def claim_retention(self, user_id: str, now: int, every: int) -> bool:
        def claim(db: sqlite3.Connection) -> bool:
            name = f"retention:{ensure_user(db, user_id)}"
            row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            if row is not None and row[0] <= now < row[0] + every:
                return False
            db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, now))
            return True

        return await self._database.write(claim)

    async def users_due(self, now: int, every: int) -> list[str]:
        def look(db: sqlite3.Connection) -> list[str]:
            rows = db.execute(
                "SELECT u.user_id FROM users AS u LEFT JOIN meta AS m ON m.name = 'retention:' || u.user_key "
                "WHERE m.value IS NULL OR m.value > ? OR m.value + ? <= ? ORDER BY u.user_id",
                (now, every, now),
            )
            return [user_id for (user_id,) in rows]

        return await self._database.read(look)

    async def used_bytes(self) -> int:
        def measured(db: sqlite3.Connection) -> int:
            pages, free, size = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
            )
            return int((pages - free) * size)

        return await self._database.read(measured)


def _current(db: sqlite3.Connection, user_key: int, now: int) -> Pause | None:
    """The pause that is on. They do not overlap, so it is the last one or none."""
    row = db.execute(
        "SELECT since, until FROM pauses WHERE user_key = ? ORDER BY since DESC LIMIT 1", (user_key,)
    ).fetchone()
    return Pause(*row) if row is not None and Pause(*row).lasts(now) else None


def refuse_while_paused(db: sqlite3.Connection, user_id: str, now: int) -> None:
    """In the transaction that would record: what is acknowledged as paused stays so. Raises RecordingPaused."""
    user_key = find_user(db, user_id)
    on = None if user_key is None else _current(db, user_key, now)
    if on is not None:
        raise RecordingPaused(maybe_from_ms(on.until))
