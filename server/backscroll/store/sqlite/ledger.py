"""The ledger of imports in the file of a SqliteStore, and the lease as a lock on a file beside it."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..leasing import FileLease, lease_name
from ..ledger import ImportMark, LastSync
from ..rows import dump, from_ms, load, to_ms
from ..values import ImportState
from .database import Database
from .recording import ensure_user
from .rows import find_user

_AT_ONCE = 500
"""Paths of one statement: SQLite bounds the values that it binds."""

_STATE = "path, host, file_id, size_bytes, modified_ns, offset, kept, skipped, failed, settled"
_MARK = "path, host, file_id, size_bytes, modified_ns, offset"


class SqliteLedger:
    """An ImportLedger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self, user_id: str, path: str) -> ImportState | None:
        return await self._database.read(lambda db: _state(db, user_id, "path = ?", path))

    async def states(self, user_id: str) -> list[ImportState]:
        return await self._database.read(
            lambda db: [
                _state_of(row)
                for row in db.execute(
                    f"SELECT {_STATE} FROM imports WHERE user_key = ? ORDER BY path", (find_user(db, user_id),)
                )
            ]
        )

    async def marks(self, user_id: str, paths: Sequence[str] | None = None) -> list[ImportMark]:
        return await self._database.read(lambda db: _marks(db, user_id, paths))

    async def save(self, user_id: str, states: Sequence[ImportState]) -> None:
        now = _now()
        await self._database.write(lambda db: _save(db, user_id, states, now))

    async def twin(self, user_id: str, file_id: str) -> ImportState | None:
        return await self._database.read(lambda db: _state(db, user_id, "file_id = ?", file_id))

    async def move(self, user_id: str, path: str, to: str, *, keep: bool) -> None:
        await self._database.write(lambda db: _move(db, user_id, path, to, keep=keep))

    async def forget(self, user_id: str, paths: Sequence[str]) -> None:
        def forget(db: sqlite3.Connection) -> None:
            user_key = find_user(db, user_id)
            statement = "DELETE FROM imports WHERE user_key = ? AND path = ?"
            db.executemany(statement, [(user_key, path) for path in paths])

        if paths:
            await self._database.write(forget)

    async def note_sync(self, user_id: str, error: str | None) -> None:
        now = _now()

        def note(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO syncs (user_key, ended_at, error) VALUES (?, ?, ?) "
                "ON CONFLICT (user_key) DO UPDATE SET ended_at = excluded.ended_at, error = excluded.error",
                (ensure_user(db, user_id), now, error),
            )

        await self._database.write(note)

    async def last_sync(self, user_id: str) -> LastSync | None:
        row = await self._database.read(
            lambda db: db.execute(
                "SELECT ended_at, error FROM syncs WHERE user_key = ?", (find_user(db, user_id),)
            ).fetchone()
        )
        return None if row is None else LastSync(from_ms(row[0]), row[1])

    def lease(self, user_id: str, purpose: str) -> FileLease:
        path = self._database.path
        return FileLease(path.with_name(f"{path.name}.{lease_name(user_id, purpose)}"))


def _state(db: sqlite3.Connection, user_id: str, where: str, value: str) -> ImportState | None:
    """`where` is a condition of ours on one value."""
    row = db.execute(
        f"SELECT {_STATE} FROM imports WHERE user_key = ? AND {where} LIMIT 1", (find_user(db, user_id), value)
    ).fetchone()
    return None if row is None else _state_of(row)


def _state_of(row: tuple[Any, ...]) -> ImportState:
    path, host, file_id, size_bytes, modified_ns, offset, kept, skipped, failed, settled = row
    failures = tuple((line, error) for line, error in load(failed))
    return ImportState(
        path, host, file_id, size_bytes, modified_ns, offset, kept, load(skipped), failures, load(settled)
    )


def _marks(db: sqlite3.Connection, user_id: str, paths: Sequence[str] | None) -> list[ImportMark]:
    user_key = find_user(db, user_id)
    if paths is None:
        rows = db.execute(f"SELECT {_MARK} FROM imports WHERE user_key = ?", (user_key,)).fetchall()
        return [ImportMark(*row) for row in rows]
    found: list[ImportMark] = []
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        places = ", ".join("?" * len(some))
        rows = db.execute(
            f"SELECT {_MARK} FROM imports WHERE user_key = ? AND path IN ({places})", (user_key, *some)
        ).fetchall()
        found += [ImportMark(*row) for row in rows]
    return found


def _save(db: sqlite3.Connection, user_id: str, states: Sequence[ImportState], now: int) -> None:
    user_key = ensure_user(db, user_id)
    db.executemany(
        f"INSERT OR REPLACE INTO imports (user_key, {_STATE}, imported_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                user_key, state.path, state.host, state.file_id, state.size_bytes, state.modified_ns,
                state.offset, state.kept, dump(state.skipped), dump(state.failed), dump(state.settled), now,
            )
            for state in states
        ],
    )  # fmt: skip


def _move(db: sqlite3.Connection, user_id: str, path: str, to: str, *, keep: bool) -> None:
    user_key = find_user(db, user_id)
    rest = _STATE.removeprefix("path, ")
    db.execute(
        f"INSERT OR REPLACE INTO imports (user_key, path, {rest}, imported_at) "
        f"SELECT user_key, ?, {rest}, imported_at FROM imports WHERE user_key = ? AND path = ?",
        (to, user_key, path),
    )
    if not keep:
        db.execute("DELETE FROM imports WHERE user_key = ? AND path = ?", (user_key, path))


def _now() -> int:
    return to_ms(datetime.now(UTC))
