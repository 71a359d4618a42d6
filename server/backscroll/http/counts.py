"""What is counted, and where each count lies in a worker's part of the shared memory. No label ever names a user."""

from typing import NamedTuple

OTHER = "other"

OUTCOMES = ("ok", "failed", "error", "timeout", "cancelled")
"""`failed`: the tool said so in its answer. `error`: a JSON-RPC error. `cancelled`: the client left, or we stopped."""

METHODS = (
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "subscriptions/listen",
    "notifications/initialized",
    "notifications/cancelled",
    OTHER,
)
CALL = "tools/call"
# Written down: the supervisor of workers, which lays out the memory, would import the whole SDK with the tools.
TOOL_NAMES = frozenset(
    {
        "delete_session",
        "fork_session",
        "get_chat_history",
        "get_session_context",
        "get_tool_call_history",
        "list_sessions",
        "record_run",
        "search_session_history",
        "summarize_session",
        "update_session",
    }
)

WORK: tuple[tuple[str, str], ...] = (
    *((CALL, name) for name in (*sorted(TOOL_NAMES), OTHER)),
    *((method, "") for method in METHODS),
)
"""Method and tool of what a request asks for."""

STATUSES = (200, 202, 400, 401, 403, 404, 405, 406, 408, 413, 415, 421, 429, 431, 500, 503, 504)
REASONS = (
    "authentication",
    "rate",
    "busy",
    "stopping",
    "body_size",
    "body_time",
    "host",
    "origin",
    "head",
    "path",
    "method",
    "media",
)
STORE_ERRORS = ("busy", "unusable", OTHER)
GAUGES = ("in_flight", "listening")

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds, in seconds."""


class Place(NamedTuple):
    start: int
    size: int


def _laid_out() -> tuple[dict[str, Place], int]:
    sizes = {
        "requests": len(WORK) * len(OUTCOMES),
        # Each has its buckets, one without bound, and the sum.
        "seconds": len(WORK) * (len(BUCKETS) + 2),
        "responses": len(STATUSES) + 1,
        "refusals": len(REASONS) + 1,
        "store_errors": len(STORE_ERRORS),
        "gauges": len(GAUGES),
        "starts": 1,
    }
    places, start = {}, 0
    for name, size in sizes.items():
        places[name] = Place(start, size)
        start += size
    return places, start


PLACES, LENGTH = _laid_out()
"""In doubles."""
SIZE = LENGTH * 8
"""Bytes a worker."""
