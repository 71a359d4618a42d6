"""A pooler in transaction mode, meaner than most: each transaction goes to another server connection, in turn.

It speaks as much of Postgres' protocol (version 3) as that takes: it lets everybody in, and passes on what is said
until the server is ready and in no transaction (ReadyForQuery with status I), be it one query or many messages that
one Sync ends. What a session leaves behind on a connection (prepared statements, settings, locks, temporary tables)
is somebody else's from then on, or nobody's.
"""

import asyncio
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from postgres_server import PostgresServer, free_port

_PROTOCOL = 196_608
_ENCRYPTED = frozenset({80_877_103, 80_877_104})


@dataclass
class Pooler:
    """`url` leads through it. `served` counts transactions by server connection."""

    url: str
    served: Counter[int] = field(default_factory=Counter)


@dataclass
class _Backend:
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    greeting: bytes
    """What it said when it was ready first: its parameters, its key, ReadyForQuery."""


@asynccontextmanager
async def pooler(url: str, *, servers: int = 3) -> AsyncIterator[Pooler]:
    """A pooler in front of the server of `url`."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port and parts.username
    free: asyncio.Queue[_Backend] = asyncio.Queue()
    startup = _startup(parts.username, parts.path.lstrip("/"))
    for number in range(servers):
        free.put_nowait(await _connected(number, parts.hostname, parts.port, startup))
    pooled = Pooler("")
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        held: list[_Backend] = []
        try:
            await _talk(reader, writer, free, held, pooled)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # Cancelled at the end of the test: what called us would take that for an error.
            pass
        finally:
            talks.discard(task)
            writer.close()
            for backend in held:
                # In the middle of a transaction: to be rolled back, as by a pooler that closes it.
                backend.writer.close()
                free.put_nowait(await _connected(backend.number, str(parts.hostname), int(parts.port or 0), startup))

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    pooled.url = f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
    try:
        yield pooled
    finally:
        listening.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        while not free.empty():
            free.get_nowait().writer.close()


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    free: "asyncio.Queue[_Backend]",
    held: list[_Backend],
    pooled: Pooler,
) -> None:
    if not await _welcomed(reader, writer):
        return
    backend = await free.get()
    free.put_nowait(backend)
    writer.write(_message(b"R", struct.pack("!i", 0)) + backend.greeting)
    asked: asyncio.Task[tuple[bytes, bytes]] = asyncio.create_task(_next(reader))
    try:
        while True:
            await asyncio.wait([asked])
            kind, _ = asked.result()
            if kind == b"X":
                return
            if kind == b"H":
                # A wish to be answered now, after all was: it begins nothing.
                asked = asyncio.create_task(_next(reader))
                continue
            backend = await free.get()
            held.append(backend)
            pooled.served[backend.number] += 1
            asked = await _transaction(asked, reader, writer, backend)
            held.remove(backend)
            free.put_nowait(backend)
    finally:
        asked.cancel()
        # Looked at, or a client that went away would be reported as an error that nobody saw.
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            await asked


async def _transaction(
    asked: "asyncio.Task[tuple[bytes, bytes]]",
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    backend: _Backend,
) -> "asyncio.Task[tuple[bytes, bytes]]":
    """Pass on what both sides say until the transaction is over; return what will be asked next."""
    told = asyncio.create_task(_next(backend.reader))
    unanswered, open_messages = 0, False
    try:
        while True:
            await asyncio.wait([asked, told], return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                kind, message = asked.result()
                if kind == b"X":
                    raise ConnectionResetError
                backend.writer.write(message)
                # One ReadyForQuery answers each of these; all else is answered before the next of them is.
                ends = kind in (b"S", b"Q", b"F")
                unanswered += ends
                if kind != b"H":
                    open_messages = not ends
                asked = asyncio.create_task(_next(reader))
            if told.done():
                kind, message = told.result()
                writer.write(message)
                if kind == b"Z":
                    unanswered -= 1
                    if not unanswered and not open_messages and message[-1:] == b"I":
                        return asked
                told = asyncio.create_task(_next(backend.reader))
    finally:
        told.cancel()
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            await told


async def _welcomed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether a client wants to talk. A wish for encryption is declined, one to cancel is not heard."""
    while True:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        (code,) = struct.unpack("!i", (await reader.readexactly(length - 4))[:4])
        if code in _ENCRYPTED:
            writer.write(b"N")
        else:
            return bool(code == _PROTOCOL)


async def _connected(number: int, host: str, port: int, startup: bytes) -> _Backend:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(startup)
    greeting = b""
    while True:
        kind, message = await _next(reader)
        if kind in (b"S", b"K", b"Z"):
            greeting += message
        if kind == b"E":
            raise ConnectionRefusedError(message[5:].decode(errors="replace"))
        if kind == b"Z":
            return _Backend(number, reader, writer, greeting)


async def _next(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The kind of a message, and the whole of it."""
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


def _startup(user: str, database: str) -> bytes:
    told = {"user": user, "database": database, "client_encoding": "UTF8", "application_name": "pooler"}
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in told.items()) + b"\0"
    return struct.pack("!ii", len(body) + 8, _PROTOCOL) + body


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[int]:
    """PgBouncer in transaction mode with three connections; the port that it listens on."""
    folder = Path(tempfile.mkdtemp(prefix="backscroll-bouncer-"))
    port = free_port()
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
"""
    )
    (folder / "users").write_text('"backscroll" ""\n')
    folder.chmod(0o755)
    process = subprocess.Popen(
        ["pgbouncer", str(folder / "pgbouncer.ini")],
        user=server.account,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _listened_to(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _listened_to(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
