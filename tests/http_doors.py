"""The door that remote hosts come in by: the real server over HTTP, a process of its own, and clients of both eras.

async with the_http_server(database, "--no-auth") as server:
    async with server.client("legacy") as client: ...
    answer = await server.post(call_of("list_sessions"))        # one raw request
    server.process.send_signal(signal.SIGTERM)
    assert await server.exit_code() == 0
    lines = server.lines()                                      # its log so far, as dictionaries
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_doors import command, environment

PATIENCE_SECONDS = 30
MODERN = "2026-07-28"
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def call_of(tool: str, number: int = 1, **arguments: Any) -> dict[str, Any]:
    """A call as the old era sends it, where a request needs no handshake over HTTP."""
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def modern(message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The same request as the new era sends it, and the headers that go with it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {**message.get("params", {}), "_meta": meta}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": message["method"]}
    if "name" in params:
        headers["mcp-name"] = str(params["name"])
    return {**message, "params": params}, headers


class HttpServer:
    """A running `backscroll serve --http`."""

    def __init__(self, process: asyncio.subprocess.Process, said: dict[str, Any]) -> None:
        self.process = process
        self.said = said
        """What it told when it was ready."""
        self.url: str = said["url"]
        self.host: str = urlsplit(self.url).hostname or ""
        self.port: int = urlsplit(self.url).port or 0
        self.base = self.url.removesuffix("/mcp")
        self._log: list[bytes] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.ensure_future(self._read())
        self.http = httpx2.AsyncClient(timeout=PATIENCE_SECONDS)

    @asynccontextmanager
    async def client(self, era: str, *, token: str | None = None, **options: Any) -> AsyncIterator[Client]:
        """The SDK's own client; `era` is one of mcp_doors.ERAS."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=era, cache=None, **options) as client,
        ):
            yield client

    async def post(
        self, message: Any, headers: Mapping[str, str] | None = None, *, token: str | None = None
    ) -> httpx2.Response:
        """One request as it is given; a `str` or `bytes` body goes as it is."""
        content = message if isinstance(message, str | bytes) else json.dumps(message)
        sent = {**JSON, **({} if token is None else {"authorization": f"Bearer {token}"}), **(headers or {})}
        return await self.http.post(self.url, content=content, headers=sent)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        return await self.http.get(self.base + path, headers=headers)

    async def metrics(self) -> str:
        return (await self.http.get(self.said["metrics"])).text

    async def bytes_back(self, *sent: bytes) -> bytes:
        """All that comes back on a connection of its own until the server closes it."""
        with anyio.fail_after(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                for piece in sent:
                    writer.write(piece)
                    await writer.drain()
                return await reader.read()
            finally:
                writer.close()

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far. Fails where a line is not JSON."""
        return [json.loads(line) for line in self._log]

    def log(self) -> str:
        return b"".join(self._log).decode()

    async def line(self, **wanted: Any) -> dict[str, Any]:
        """The first line of its log that has all of these, now or soon."""
        with anyio.fail_after(PATIENCE_SECONDS):
            async with self._more:
                while True:
                    for line in self.lines():
                        if wanted.items() <= line.items():
                            return line
                    await self._more.wait()

    async def exit_code(self) -> int:
        with anyio.fail_after(PATIENCE_SECONDS):
            code = await self.process.wait()
            await self._reading
        return code

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._more:
                self._log.append(line)
                self._more.notify_all()


@asynccontextmanager
async def the_http_server(
    database: Path | str, *flags: str, env: Mapping[str, str] | None = None, http: str = "127.0.0.1:0"
) -> AsyncIterator[HttpServer]:
    """The real server, ready. `flags` as on the command line; without `--no-auth` it asks for tokens."""
    process = await start(database, "--http", http, *flags, env=env)
    assert process.stderr is not None
    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            first = await process.stderr.readline()
        server = HttpServer(process, json.loads(first))
        try:
            yield server
        finally:
            await server.http.aclose()
            server._reading.cancel()
    finally:
        if process.returncode is None:
            # Its workers see that it is gone, and stop.
            process.kill()
        with contextlib.suppress(asyncio.CancelledError):
            await process.wait()


async def start(database: Path | str, *flags: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command(database, *flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=2**22,
        env={"PATH": os.environ["PATH"], **environment(**env or {})},
    )


def folders(home: Path) -> dict[str, str]:
    """A home of its own, for a server that outlives one test."""
    names = {"CONFIG": ".config", "DATA": ".local/share", "CACHE": ".cache", "STATE": ".local/state"}
    return {"HOME": str(home), **{f"XDG_{name}_HOME": str(home / folder) for name, folder in names.items()}}


async def token_for(database: Path, user: str, scope: str = "read,write,delete", **env: str) -> tuple[str, str]:
    """A new token, as `backscroll token create` makes it, and its id."""
    told = await run("token", "create", "--db", str(database), "--user", user, "--scope", scope, "--json", env=env)
    made = json.loads(told)
    return made["token"], made["token_id"]


async def run(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What a command prints. Fails where it does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "backscroll",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **environment(**env or {})},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
