"""The ledger of imports on Postgres, by machine; the lease as a lock on a file of this machine.

Files are a machine's own: of two that read into one database for one user, each has its rows here, or each would
forget the other's files as gone. The lease guards reading these files, so the kernel of this machine keeps it: two
machines need not wait for each other, a killed process frees it at once and not when its time is up, and no clock
and no connection has a part in it (a session's advisory lock would be lost behind a pooler).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from ...addresses import companions, platform_folder
from ...errors import StoreUnusable
from ..leasing import FileLease, lease_name
from ..ledger import ImportMark, LastSync
from ..rows import dump, from_ms, load, to_ms
from ..values import ImportState
from .database import Ask, Database, Writing, user_key
from .machine import machine

_STATE = 'path, host, file_id, size_bytes, modified_ns, "offset", kept, skipped, failed, settled'
_MARK = 'path, host, file_id, size_bytes, modified_ns, "offset"'
_FROM = "FROM imports WHERE user_key = %s AND machine = %s"
_REPLACING = (
    "ON CONFLICT (user_key, machine, path) DO UPDATE SET host = excluded.host, file_id = excluded.file_id, "
    'size_bytes = excluded.size_bytes, modified_ns = excluded.modified_ns, "offset" = excluded."offset", '
    "kept = excluded.kept, skipped = excluded.skipped, failed = excluded.failed, settled = excluded.settled, "
    "imported_at = excluded.imported_at"
)


class PostgresLedger:
    """An ImportLedger."""

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self._folder, self._name = companions(url, platform_folder("data"))
        self._machine: str | None = None

    @property
    def machine(self) -> str:
        """Asked for when files are: a server that reads none makes no file."""
        if self._machine is None:
            self._machine = machine(self._folder)
        return self._machine

    async def state(self, user_id: str, path: str) -> ImportState | None:
        return await self._state(user_id, "path", path)

    async def states(self, user_id: str) -> list[ImportState]:
        # By their bytes, as SQLite orders them, whatever the database's locale.
        (rows,) = await self._database.fetch(
            Ask(f'SELECT {_STATE} {_FROM} ORDER BY path COLLATE "C"', (user_key(user_id), self.machine))
        )
        return [_state_of(row) for row in rows]

    async def marks(self, user_id: str, paths: Sequence[str] | None = None) -> list[ImportMark]:
        asked = Ask(f"SELECT {_MARK} {_FROM}", (user_key(user_id), self.machine))
        if paths is not None:
            asked = Ask(f"{asked.statement} AND path = ANY(%s)", (*asked.values, list(paths)))
        (rows,) = await self._database.fetch(asked)
        return [ImportMark(*row) for row in rows]

    async def save(self, user_id: str, states: Sequence[ImportState]) -> None:
        now, here = _now(), self.machine

        async def save(writing: Writing) -> None:
            rows = [
                (
                    writing.user_key, here, state.path, state.host, state.file_id, state.size_bytes, state.modified_ns,
                    state.offset, state.kept, dump(state.skipped), dump(state.failed), dump(state.settled), now,
                )
                for state in states
            ]  # fmt: skip
            await writing.many(
                f"INSERT INTO imports (user_key, machine, {_STATE}, imported_at) "
                f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) {_REPLACING}",
                rows,
            )

        if states:
            await self._database.write(user_id, save)

    async def twin(self, user_id: str, file_id: str) -> ImportState | None:
        return await self._state(user_id, "file_id", file_id)

    async def move(self, user_id: str, path: str, to: str, *, keep: bool) -> None:
        here, rest = self.machine, _STATE.removeprefix("path, ")

        async def move(writing: Writing) -> None:
            await writing.run(
                f"INSERT INTO imports (user_key, machine, path, {rest}, imported_at) "
                f"SELECT user_key, machine, %s, {rest}, imported_at {_FROM} AND path = %s {_REPLACING}",
                (to, writing.user_key, here, path),
            )
            if not keep:
                await writing.run(f"DELETE {_FROM} AND path = %s", (writing.user_key, here, path))

        await self._database.write(user_id, move)

    async def forget(self, user_id: str, paths: Sequence[str]) -> None:
        here = self.machine

        async def forget(writing: Writing) -> None:
            await writing.run(f"DELETE {_FROM} AND path = ANY(%s)", (writing.user_key, here, list(paths)))

        if paths:
            await self._database.write(user_id, forget)

    async def note_sync(self, user_id: str, error: str | None) -> None:
        now, here = _now(), self.machine

        async def note(writing: Writing) -> None:
            await writing.run(
                "INSERT INTO syncs (user_key, machine, ended_at, error) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (user_key, machine) DO UPDATE SET ended_at = excluded.ended_at, error = excluded.error",
                (writing.user_key, here, now, error),
            )

        await self._database.write(user_id, note)

    async def last_sync(self, user_id: str) -> LastSync | None:
        (rows,) = await self._database.fetch(
            Ask(
                "SELECT ended_at, error FROM syncs WHERE user_key = %s AND machine = %s",
                (user_key(user_id), self.machine),
            )
        )
        return LastSync(from_ms(rows[0][0]), rows[0][1]) if rows else None

    def lease(self, user_id: str, purpose: str) -> FileLease:
        folder = Path(self._folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnusable(f"{folder} cannot be used: {error.strerror or error}. Check the folder.") from error
        return FileLease(folder / f"server-{crc32(self._name.encode()):08x}.{lease_name(user_id, purpose)}")

    async def _state(self, user_id: str, column: str, value: str) -> ImportState | None:
        """`column` is a name of ours."""
        (rows,) = await self._database.fetch(
            Ask(f"SELECT {_STATE} {_FROM} AND {column} = %s LIMIT 1", (user_key(user_id), self.machine, value))
        )
        return _state_of(rows[0]) if rows else None


def _state_of(row: tuple[Any, ...]) -> ImportState:
    path, host, file_id, size_bytes, modified_ns, offset, kept, skipped, failed, settled = row
    failures = tuple((line, error) for line, error in load(failed))
    return ImportState(
        path, host, file_id, size_bytes, modified_ns, offset, kept, load(skipped), failures, load(settled)
    )


def _now() -> int:
    return to_ms(datetime.now(UTC))
