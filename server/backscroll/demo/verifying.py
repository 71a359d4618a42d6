"""Reading a session to its end through the tools, as only a check does."""

from typing import Any

from .server import Agent
from .telling import DemoError

_MAX_TOKENS = 20_000


async def all_messages(agent: Agent, session_id: str, *, max_pages: int = 50) -> list[dict[str, Any]]:
    """The messages of a session in order; of one with more pages, the newest. A long text may be cut."""
    page = await agent.json("get_chat_history", session_id=session_id, max_tokens=_MAX_TOKENS)
    found: list[dict[str, Any]] = page["messages"]
    pages = 1
    while (older := page.get("previous_cursor")) and pages < max_pages:
        page = await agent.json("get_chat_history", cursor=older, max_tokens=_MAX_TOKENS)
        if not page["messages"]:
            raise DemoError(f"The cursor to older messages of {session_id} led nowhere.")
        found = [*page["messages"], *found]
        pages += 1
    return found
