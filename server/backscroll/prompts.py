"""Prompts and completion: what a person picks in a host's menu."""

import re

import mcp_types as mcp

from .errors import InvalidArgument
from .memory import Memory
from .render import page_text
from .text import one_line

_LABEL = re.compile(r"(#\d+)(?:\s.*)?", re.DOTALL)
MAX_COMPLETIONS = 20


def listed() -> list[mcp.Prompt]:
    session = mcp.PromptArgument(
        name="session", description="Title, id or #12; the newest session if left out", required=False
    )
    return [
        mcp.Prompt(
            name="resume", title="Resume a session", description="Go on where a session stopped", arguments=[session]
        ),
        mcp.Prompt(
            name="summarize",
            title="Summarize a session",
            description="Have the agent write the session's summary",
            arguments=[session],
        ),
    ]


async def rendered(memory: Memory, name: str, arguments: dict[str, str]) -> mcp.GetPromptResult:
    """Raises InvalidArgument for an unknown prompt or argument, NotFound for an unknown session."""
    if name not in ("resume", "summarize"):
        raise InvalidArgument(f"No prompt {name!r:.40}. There are resume and summarize.")
    if unknown := sorted(set(arguments) - {"session"}):
        raise InvalidArgument(f"{name} has no argument {unknown[0]!r:.40}; it takes session.")
    session_id = await _chosen(memory, arguments.get("session", "").strip())
    if name == "resume":
        context = page_text(await memory.get_session_context(session_id))
        return _said(
            "Let us go on with this session. Here is what was recorded of it; open more with get_chat_history "
            f"where you need it. Tell me in a line or two where we stand, then go on.\n\n{context}"
        )
    page = await memory.get_session_context(session_id, num_history_runs=20, max_tokens=8_000)
    return _said(
        "Write a summary of this session for an agent that will go on with it: what was wanted, decided, tried and "
        "done, what is open, with exact names and numbers, at most 250 words; and up to 8 topics. Read more of it "
        "with get_chat_history where the record below is cut. Then store it with "
        f'summarize_session(session_id="{page.session}", summary=..., topics=[...]).\n\n{page_text(page)}'
    )


async def _chosen(memory: Memory, typed: str) -> str | None:
    """A session as a person may have typed it: nothing, `#12 and its title`, an id, or words of a title."""
    if not typed:
        return None
    if label := _LABEL.fullmatch(typed):
        return label[1]
    matches = await memory.sessions_like(typed, 2)
    if len(matches) == 1 or any(match.session_id == typed for match in matches):
        return next((m.session for m in matches if m.session_id == typed), matches[0].session)
    return typed


def _said(text: str) -> mcp.GetPromptResult:
    return mcp.GetPromptResult(
        messages=[mcp.PromptMessage(role="user", content=mcp.TextContent(type="text", text=text))]
    )


async def completed(memory: Memory, argument: str, typed: str, *, in_uri: bool) -> mcp.Completion:
    """Sessions by title, id or number, newest first. In a URI a value is the bare number or id."""
    if argument not in ("session", "session_id"):
        return mcp.Completion(values=[], total=0, has_more=False)
    found = await memory.sessions_like(typed, MAX_COMPLETIONS + 1)
    values = []
    for session in found[:MAX_COMPLETIONS]:
        by_id = bool(typed) and session.session_id.startswith(typed)
        label = session.session if in_uri else f"{session.session} {one_line(session.shown_title)}"
        values.append(session.session_id if by_id else label)
    return mcp.Completion(values=values, has_more=len(found) > MAX_COMPLETIONS)
