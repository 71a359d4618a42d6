"""The MCP endpoint: the SDK's session managers over one server, without sessions, so that any worker answers.

Each takes both eras. One answers with JSON, and with a stream (SSE) only where the answer is one, as to
`subscriptions/listen`; the other streams each answer of the old era, and of the new one what takes long.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from .typing import App
from .unreadable import in_own_words

_JSON, _STREAM = b"application/json", b"text/event-stream"


class McpEndpoint:
    def __init__(self, server: Server[Any], max_body_bytes: int) -> None:
        # Host and Origin were checked before (names.py), and so was the size of the body.
        options: dict[str, Any] = {"stateless": True, "max_request_body_size": max_body_bytes}
        self._json = StreamableHTTPSessionManager(server, json_response=True, **options)
        self._streaming = StreamableHTTPSessionManager(server, json_response=False, **options)
        self._json_app, self._streaming_app = (in_own_words(each.asgi_app) for each in (self._json, self._streaming))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._json.run(), self._streaming.run():
            yield

    def app_for(self, accept: bytes) -> App:
        """Clients name both kinds. JSON is cheaper, so it is a stream only where that is liked better."""
        return self._streaming_app if b"q=" in accept and _prefers_stream(accept) else self._json_app


def _prefers_stream(accept: bytes) -> bool:
    weights = {_JSON: 0.0, _STREAM: 0.0}
    for part in accept.lower().split(b","):
        kind, *parameters = (piece.strip() for piece in part.split(b";"))
        if kind in weights:
            weights[kind] = _weight(parameters)
    return weights[_STREAM] > weights[_JSON]


def _weight(parameters: list[bytes]) -> float:
    """RFC 9110, 12.4.2: 1 where it is not given."""
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
