"""Recall: what was recorded, as answers within a token budget."""

from .calls import tool_call_page
from .chat import chat_page
from .context import session_context
from .listing import session_page
from .reading import Reader
from .searching import search_page

__all__ = ["Reader", "chat_page", "search_page", "session_context", "session_page", "tool_call_page"]
