"""Load over HTTP in plain requests: no client of an SDK is on the clock, and little else of this machine.

Every client has a connection of its own, kept alive, and sends its next call when the last was answered.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from .pipes import Era

_HEADERS: dict[Era, str] = {
    "2025": "mcp-protocol-version: 2025-11-25\r\n",
    "2026": "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: {tool}\r\n",
}
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "benchmarks", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Refused(Exception):
    """The server answered, and not with a result: its status, and the beginning of what it said."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(f"HTTP {status}: {told[:300]}")
        self.status = status
        self.told = told


class Wire:
    """One connection to a server's `/mcp`, kept alive."""

    def __init__(self, port: int, token: str | None = None, *, era: Era = "2026", host: str = "127.0.0.1") -> None:
        self._host, self._port, self._token, self._era = host, port, token, era
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._number = 0

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The result of a tool. Raises Refused, and what a broken connection raises; the next call connects anew."""
        self._number += 1
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if self._era == "2026":
            params["_meta"] = _META
        body = json.dumps({"jsonrpc": "2.0", "id": self._number, "method": "tools/call", "params": params}).encode()
        allowed = f"authorization: Bearer {self._token}\r\n" if self._token else ""
        head = (
            f"POST /mcp HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n{allowed}content-type: application/json\r\n"
            f"accept: application/json, text/event-stream\r\n{_HEADERS[self._era].format(tool=tool)}"
            f"content-length: {len(body)}\r\n\r\n"
        )
        try:
            status, answer = await self._exchange(head.encode() + body)
        except BaseException:
            self.close()
            raise
        if status != 200:
            raise Refused(status, answer.decode(errors="replace"))
        message = json.loads(answer)
        result = message.get("result")
        if result is None or result.get("isError"):
            raise Refused(status, json.dumps(message.get("error") or result))
        return dict(result)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1 << 24)
        assert self._reader is not None
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if "content-length" in headers:
            answer = await self._reader.readexactly(int(headers["content-length"]))
        else:
            answer = await self._chunks()
        if headers.get("content-type", "").startswith("text/event-stream"):
            answer = _last_event(answer)
        if headers.get("connection") == "close":
            self.close()
        return status, answer

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        whole = bytearray()
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            whole += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readuntil(b"\r\n")
        return bytes(whole)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _last_event(stream: bytes) -> bytes:
    return next(line[5:].strip() for line in reversed(stream.splitlines()) if line.startswith(b"data:"))


class Load(NamedTuple):
    """What a number of clients got done."""

    seconds: float
    latencies: tuple[float, ...]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def loaded(
    clients: Sequence[Wire], call: Callable[[Wire, int], Awaitable[Any]], *, seconds: float, calls: int
) -> Load:
    """All clients at once, until so much time has passed or so many calls were made."""
    latencies: list[float] = []
    made = 0
    started = time.perf_counter()

    async def run(wire: Wire) -> None:
        nonlocal made
        while made < calls and time.perf_counter() - started < seconds:
            number, made = made, made + 1
            began = time.perf_counter()
            await call(wire, number)
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*map(run, clients))
    return Load(time.perf_counter() - started, tuple(latencies))
