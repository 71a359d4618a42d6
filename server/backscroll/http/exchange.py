"""One request while it is served: what is told of it when it is done."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..access import Access

KEY = "backscroll.exchange"
"""Where it lies on the ASGI scope."""


class Exchange:
    """Filled in as it becomes known; nothing here is what the client said."""

    __slots__ = (
        "access",
        "deadline",
        "inside",
        "method",
        "outcome",
        "reason",
        "request_id",
        "route",
        "started",
        "status",
        "still",
        "tool",
        "why",
    )

    def __init__(self, request_id: str, route: str) -> None:
        self.request_id = request_id
        self.route = route
        """Which of our doors: `mcp`, `healthz`, `readyz`, `metadata`, `other`. Not the path, which is the client's."""
        self.started = time.perf_counter()
        self.status = 0
        """0 until the answer has begun."""
        self.access: Access | None = None
        self.still: Callable[[], Awaitable[bool]] | None = None
        """Whether the credential gives the same access now, once it gave one."""
        self.method: str | None = None
        """Of MCP, once it is dispatched."""
        self.tool: str | None = None
        self.outcome: str | None = None
        self.reason: str | None = None
        """Why it was refused, if it was."""
        self.why: str | None = None
        """More of that, for the operator and not for the client."""
        self.inside = False
        """Whether it counts among those under way."""
        self.deadline: asyncio.Timeout | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started
