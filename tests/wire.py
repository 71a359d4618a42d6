"""What goes over the wire to Postgres: a listener between a store and its server that counts round trips and bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_STARTUP = (3 << 16).to_bytes(4, "big")


@dataclass
class Wire:
    """`url` leads to the server through it. `trips`: how often the client waited for an answer; `received`: bytes."""

    url: str
    trips: int = 0
    received: int = 0

    def reset(self) -> None:
        self.trips = self.received = 0


@asynccontextmanager
async def wire_to(target: str) -> AsyncIterator[Wire]:
    parts = urlsplit(target)
    wire = Wire("")
    talks: set[asyncio.Task[None]] = set()

    async def talk(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        server, to_server = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await asyncio.gather(_asked(wire, client, to_server), _told(wire, server, to_client))
        finally:
            for writer in (to_server, to_client):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
            talks.discard(task)

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    wire.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{listener.sockets[0].getsockname()[1]}").geturl()
    try:
        yield wire
    finally:
        listener.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def _asked(wire: Wire, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
    started = False
    while True:
        kind = await client.readexactly(1) if started else b""
        size = await client.readexactly(4)
        body = await client.readexactly(int.from_bytes(size, "big") - 4)
        started = started or body.startswith(_STARTUP)
        # Sync, or a simple query: all is said, and the client waits.
        wire.trips += kind in (b"S", b"Q")
        server.write(kind + size + body)
        await server.drain()


async def _told(wire: Wire, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    while data := await server.read(1 << 16):
        wire.received += len(data)
        client.write(data)
        await client.drain()
