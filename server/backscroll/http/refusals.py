"""Requests that are refused before anything is done: why, in words that say what to do, and how that is sent.

On the MCP endpoint the answer is a JSON-RPC error, which clients show to people; elsewhere a problem (RFC 9457).
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from .typing import Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]

LINGER_SECONDS = 1.0
"""How long what a client still sends is read and dropped: closed over unread bytes, a socket takes the answer along."""

_INVALID_REQUEST, _INTERNAL_ERROR = -32600, -32603
_CLOSE = (b"connection", b"close")


class Refused(Exception):
    """A request that is not served. `reason` is its name in the counts; `detail` goes to the client.

    `close`: the connection ends with it, since what follows on it cannot be trusted, or is not to be waited for.
    `why` is a word for the log alone: more than the client is told.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        headers: Headers = (),
        *,
        close: bool = False,
        why: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers
        self.close = close
        self.why = why


class ClientLeft(Exception):
    """The client closed the connection before it had sent its request; there is nobody to answer."""


def later(status: int, reason: str, detail: str, seconds: float) -> Refused:
    """A refusal that time mends. `seconds` are rounded up."""
    return Refused(status, reason, detail, [(b"retry-after", str(max(1, -int(-seconds // 1))).encode())])


def document(refused: Refused, *, rpc: bool) -> tuple[bytes, bytes]:
    """Media type and body."""
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
    }
    if not rpc:
        return b"application/problem+json", json.dumps(problem).encode()
    code = _INVALID_REQUEST if refused.status < 500 else _INTERNAL_ERROR
    error = {"code": code, "message": refused.detail, "data": problem}
    return b"application/json", json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()


async def refuse(refused: Refused, scope: Scope, receive: Receive, send: Send, *, rpc: bool) -> None:
    kind, body = document(refused, rpc=rpc)
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *refused.headers]
    if refused.close:
        headers.append(_CLOSE)
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    if not refused.close:
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b""})
