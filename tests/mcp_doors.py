"""The doors that MCP hosts come in by: the SDK's client in memory and over stdio, in both eras; and a bare pipe."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import mcp_types as mcp
import tiktoken
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from tiktoken.load import load_tiktoken_bpe

import backscroll
from backscroll.access import Access, local
from backscroll.host import working_folder
from backscroll.notices import Notices
from backscroll.server import BackscrollServer, build_server
from backscroll.tenancy import Tenancy
from backscroll.tokens import RANKS, SPLIT
from fixtures.front_client import Program

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

ERAS = ("legacy", "auto")
"""As Client's `mode` takes them: with `initialize` (2025), and what `server/discover` leads to (2026)."""

READING = (
    "search_session_history",
    "list_sessions",
    "get_chat_history",
    "get_tool_call_history",
    "get_session_context",
)
WRITING = ("record_run", "summarize_session", "update_session", "fork_session", "delete_session")


@cache
def _o200k() -> tiktoken.Encoding:
    ranks = load_tiktoken_bpe(str(RANKS))
    return tiktoken.Encoding("o200k_base", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})


def tokens_in(text: str) -> int:
    """Counted by tiktoken itself: a budget is not checked by the code that kept it."""
    return len(_o200k().encode_ordinary(text))


def text_of(result: mcp.CallToolResult | mcp.GetPromptResult | mcp.ReadResourceResult) -> str:
    """The one text of a result. Fails where there is more, or something else."""
    if isinstance(result, mcp.CallToolResult):
        (block,) = result.content
    elif isinstance(result, mcp.GetPromptResult):
        (message,) = result.messages
        block = message.content
    else:
        (content,) = result.contents
        assert isinstance(content, mcp.TextResourceContents)
        return content.text
    assert isinstance(block, mcp.TextContent)
    return block.text


def answer_of(result: mcp.CallToolResult) -> dict[str, Any]:
    """The structured content of a call that went well."""
    assert not result.is_error, text_of(result)
    found: dict[str, Any] | None = result.structured_content
    assert found is not None
    return found


def said(result: mcp.CallToolResult) -> str:
    """The text of a call that went well."""
    text = text_of(result)
    assert not result.is_error, text
    return text


def complaint(result: mcp.CallToolResult) -> str:
    """The text of a call that was refused."""
    text = text_of(result)
    assert result.is_error, text
    assert result.structured_content is None
    return text


@asynccontextmanager
async def attached(
    app: backscroll.Backscroll,
    era: str,
    *,
    user: str = "ada",
    profile: str = "full",
    **options: Any,
) -> AsyncIterator[Client]:
    """A client in this process, of a server for one user of `app`."""
    async with (
        a_server(app, user=user, profile=profile) as server,
        Client(server, mode=era, cache=None, raise_exceptions=True, **options) as client,
    ):
        yield client


@asynccontextmanager
async def a_server(
    app: backscroll.Backscroll,
    *,
    user: str = "ada",
    access_of: Callable[[Any], Access] | None = None,
    profile: str = "full",
    remote: bool = False,
    machine: bool = True,
) -> AsyncIterator[BackscrollServer]:
    """The server in this process: for one user as over stdio, or for whoever `access_of` tells."""
    whole = local(user, multi_user=app.settings.multi_user)
    hints: dict[str, Any] = {} if remote else {"environ": os.environ, "folder": working_folder()}
    tenancy = Tenancy(app, access_of or (lambda _: whole), remote=remote, machine=machine, **hints)
    notices = Notices(app)
    async with notices.running():
        yield build_server(tenancy, notices, profile=profile)


def command(database: Path | str, *flags: str) -> list[str]:
    return [sys.executable, "-m", "backscroll", "serve", "--db", str(database), *flags]


def environment(**more: str) -> dict[str, str]:
    """What the server's process gets: this test's own folders, and the package; no vectors, which take their time."""
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "TZ") or name.startswith("XDG_")}
    return {**kept, "PYTHONPATH": str(ROOT / "server"), "BACKSCROLL_SEMANTIC": "off", **more}


@asynccontextmanager
async def over_stdio(
    database: Path | str,
    era: str,
    *flags: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    errors: Path | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """The SDK's own client of the real server, a process of its own. `errors` takes its standard error."""
    program, *arguments = command(database, *flags)
    parameters = StdioServerParameters(
        command=program, args=arguments, env=environment(**env or {}), cwd=cwd or Path.cwd()
    )
    with (errors or Path(os.devnull)).open("a") as log:
        async with Client(stdio_client(parameters, errlog=log), mode=era, cache=None, **options) as client:
            yield client


@asynccontextmanager
async def the_server(
    database: Path | str, *flags: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[Program]:
    """The real server at the end of a bare pipe."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command(database, *flags),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        limit=2**26,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environment(**env or {})},
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
