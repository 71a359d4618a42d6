"""The stage: a folder of its own, and the real server in it as a process, spoken to by the real client."""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import mcp_types as mcp
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from ..errors import BackscrollError
from .telling import DemoError, Teller

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
_ANSWER_SECONDS = 60.0

# What a program needs of its surroundings to run, and to show times as its user reads them.
_KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


class Agent:
    """What an agent can do: call a tool, read a resource. Raises DemoError where the server refuses."""

    def __init__(self, client: Client, teller: Teller) -> None:
        self._client = client
        self._teller = teller

    @property
    def server(self) -> str:
        info = self._client.server_info
        named = f"{info.name} {info.version}" if info else "the server"
        return f"{named}, MCP {self._client.protocol_version}"

    async def tools(self) -> list[mcp.Tool]:
        return (await self._client.list_tools()).tools

    async def call(self, tool: str, **arguments: Any) -> mcp.CallToolResult:
        """Call a tool, quietly."""
        try:
            result = await self._client.call_tool(tool, arguments)
        except MCPError as error:
            raise DemoError(f"{tool} was refused: {error}") from error
        if result.is_error:
            raise DemoError(f"{tool} failed: {text_of(result)}")
        return result

    async def show(self, tool: str, **arguments: Any) -> str:
        """Call a tool and tell of it; return what the agent reads."""
        text = text_of(await self.call(tool, **arguments))
        self._teller.called(tool, arguments, text)
        return text

    async def json(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool for the program's form of its answer, quietly."""
        result = await self.call(tool, **arguments, format="json")
        return dict(result.structured_content or {})

    async def read(self, uri: str) -> str:
        """Read a resource and tell of it."""
        try:
            result = await self._client.read_resource(uri)
        except MCPError as error:
            raise DemoError(f"{uri} was refused: {error}") from error
        text = "".join(part.text for part in result.contents if isinstance(part, mcp.TextResourceContents))
        self._teller.opened(uri, text)
        return text


def text_of(result: mcp.CallToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, mcp.TextContent))


class Stage:
    """The throw-away folder, its database, and servers on it."""

    def __init__(self, folder: Path, teller: Teller) -> None:
        self.folder = folder
        self.teller = teller
        self.database = folder / "demo.db"

    def environment(self) -> dict[str, str]:
        """None of the user's settings: home and every platform folder lie in ours."""
        home = str(self.folder)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        homes = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")
        folders = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
        python = [str(_PACKAGE_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**kept, **dict.fromkeys((*homes, *folders), home), "PYTHONPATH": os.pathsep.join(python)}

    async def with_server(self, work: Callable[[Agent], Awaitable[None]]) -> None:
        """Start a server, let an agent work with it, stop it. Raises DemoError."""
        log = self.folder / "server.log"
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "backscroll", "serve", "--db", str(self.database)],
            env=self.environment(),
            cwd=self.folder,
        )
        failure: BackscrollError | None = None
        try:
            with log.open("w", encoding="utf-8") as errors:
                transport = stdio_client(parameters, errlog=errors)
                async with Client(transport, read_timeout_seconds=_ANSWER_SECONDS) as client:
                    try:
                        await work(Agent(client, self.teller))
                    except BackscrollError as error:
                        # Raised inside, it would come out as a group of errors.
                        failure = error
        except (MCPError, OSError, ExceptionGroup) as error:
            kind = type(error).__name__
            raise DemoError(f"The server did not answer ({kind}). {_last_line(log)}") from error
        if failure is not None:
            raise failure


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"It said last: {lines[-1]}" if lines else "It said nothing."
