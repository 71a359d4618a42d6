"""JSON-RPC and MCP as far as the front speaks it itself: names, codes, and lines of the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Json = dict[str, Any]

DISCOVER = "server/discover"
STATIC_LISTS = ("tools/list", "prompts/list", "resources/templates/list")
"""Lists whose first page depends on settings alone; ``resources/list`` shows sessions and is always live."""

# Keys of the envelope that every request of the 2026-07-28 protocol carries in `params._meta`.
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"

# JSON-RPC 2.0 and MCP 2026-07-28.
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR, UNSUPPORTED_VERSION = (
    -32700, -32600, -32601, -32602, -32603, -32022,
)  # fmt: skip


def error_body(code: int, message: str, data: Any = None) -> Json:
    """The body of a JSON-RPC error response."""
    error = {"code": code, "message": message}
    return {"error": error if data is None else {**error, "data": data}}


def response(request_id: str | int | None, body: Json) -> bytes:
    """A JSON-RPC response as a line of the wire."""
    return json.dumps({"jsonrpc": "2.0", "id": request_id, **body}, separators=(",", ":")).encode() + b"\n"
