"""Servers to put load on: Backscroll over HTTP on either database, and a bare one of the same SDK."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from backscroll import Backscroll, Settings
from backscroll.auth import keeping

from .many_users import fill

if TYPE_CHECKING:
    from postgres_server import PostgresServer

_LISTENING = re.compile(r"http://127\.0\.0\.1:(\d+)")
_START_SECONDS = 30


class Service:
    """A running server. `database` is empty for one that has none."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, database: str = "") -> None:
        self.process = process
        self.port = port
        self.database = database
        self._tokens: list[str] = []
        self._filled = 0

    async def users(self, count: int) -> list[str]:
        """A token for each of so many users, `user-0` and on; those that were made before stay."""
        async with Backscroll(self.database, Settings(semantic="off")) as app:
            for number in range(len(self._tokens), count):
                token, _ = await keeping.create(
                    app.store.tokens,
                    f"user-{number}",
                    ("read", "write", "delete"),
                    timedelta(days=1),
                    now=datetime.now(UTC),
                )
                self._tokens.append(token)
        return self._tokens[:count]

    async def fill(self, users: int, sessions: int) -> None:
        """So many sessions for each of so many users; those that were filled before stay as they are."""
        await fill(self.database, range(self._filled, users), sessions)
        self._filled = max(self._filled, users)

    def workers(self) -> list[int]:
        """Process ids of the workers; of the server itself where it has none."""
        return children_of(self.process.pid) or [self.process.pid]

    def processes(self) -> list[int]:
        """All of them: what a new worker may, it has from the server."""
        return [self.process.pid, *children_of(self.process.pid)]

    def resident_bytes(self) -> int:
        """Of the worker that holds most."""
        return max(_resident(pid) for pid in self.workers())


def children_of(pid: int) -> list[int]:
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [child for child in map(int, told.split()) if b"resource_tracker" not in _command(child)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


@asynccontextmanager
async def service(
    url: str, *, workers: int = 1, port: int = 0, more: Sequence[str] = (), log: Path | None = None
) -> AsyncIterator[Service]:
    """Backscroll over HTTP on `url`, without limits of rate; stopped when this is left."""
    command = [sys.executable, "-m", "backscroll", "serve", "--http", f"127.0.0.1:{port}", "--workers", str(workers)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BACKSCROLL_")},
        "BACKSCROLL_DB": url,
        "BACKSCROLL_SEMANTIC": "off",
        "BACKSCROLL_HTTP_RATE_PER_MINUTE": "0",
    }
    process = await asyncio.create_subprocess_exec(
        *command, *more, env=environment, stderr=asyncio.subprocess.PIPE, limit=1 << 20
    )
    draining: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(_START_SECONDS):
            found = await _told_port(process)
        draining = asyncio.create_task(_drained(process, log))
        yield Service(process, found, url)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()
        if draining is not None:
            await draining


async def _told_port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    told = []
    async for line in process.stderr:
        told.append(line.decode(errors="replace"))
        if found := _LISTENING.search(told[-1]):
            return int(found[1])
    raise RuntimeError(f"The server ended before it listened: {''.join(told)[-2000:]}")


async def _drained(process: asyncio.subprocess.Process, log: Path | None) -> None:
    assert process.stderr is not None
    with (log or Path(os.devnull)).open("ab") as file:
        async for line in process.stderr:
            file.write(line)


@asynccontextmanager
async def bare_service() -> AsyncIterator[Service]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("bare_http_server.py")), str(port)
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            await until_it_listens(port)
        yield Service(process, port)
    finally:
        process.terminate()
        await process.wait()


async def until_it_listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def databases(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """SQLite, then Postgres as its packager has set it up, but for where it lies: (name, URL) of an empty database."""
    yield "SQLite", str(_fresh(folder, "service", ".db"))
    async with postgres_server() as server:
        yield "Postgres", server.new_database()


@asynccontextmanager
async def postgres_server(log_segment_mb: int = 16) -> "AsyncIterator[PostgresServer]":
    """A server of the tests' kind, but one that forgets nothing: durable as its packager has set it up."""
    tests = str(Path(__file__).parents[1] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    import postgres_server as of_tests

    # In a thread: it runs a loop of its own while it makes its template.
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, of_tests.postgres_server({}, log_segment_mb))


def _fresh(folder: Path, stem: str, suffix: str) -> Path:
    number = 1
    while (path := folder / f"{stem}-{number}{suffix}").exists():
        number += 1
    return path
