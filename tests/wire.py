"""What goes over the wire to Postgres: a listener between a store and its server that counts round trips."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

_STARTUP = (3 << 16).to_bytes(4, "big")


class Wire:
    """`trips`: how often the client waited for the server. `url` leads to the server through here."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.trips = 0
        self.received = 0
        """Bytes that the server sent."""
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, target: str) -> AsyncIterator[Self]:
        wire = cls(target)
        server = await asyncio.start_server(wire._connected, "127.0.0.1", 0)
        parts = wire._target
        wire.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{server.sockets[0].getsockname()[1]}").geturl()
        try:
            yield wire
        finally:
            server.close()
            for task in wire._tasks:
                task.cancel()

    url: str

    def reset(self) -> None:
        self.trips = self.received = 0

    async def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, server = await asyncio.open_connection(self._target.hostname, self._target.port)
        for pump in (self._asked(client, server), self._told(from_server, to_client)):
            task = asyncio.ensure_future(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _asked(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        try:
            started = False
            while True:
                kind = b"" if not started else await client.readexactly(1)
                size = await client.readexactly(4)
                body = await client.readexactly(int.from_bytes(size, "big") - 4)
                started = started or body.startswith(_STARTUP)
                # Sync or a simple query: the client has said all that it wants to say and waits.
                self.trips += kind in (b"S", b"Q")
                server.write(kind + size + body)
                await server.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            server.close()

    async def _told(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            while data := await server.read(1 << 16):
                self.received += len(data)
                client.write(data)
                await client.drain()
        except ConnectionError:
            pass
        client.close()
