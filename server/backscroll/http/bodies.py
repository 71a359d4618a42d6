"""Receiving a request's body: bounded in size, in time, and in what all of them take together."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from .refusals import ClientLeft, Refused, later
from .typing import Message, Receive

TOGETHER = 4
"""As many bodies of the largest size may be held at once; one that would be more has to wait."""


class Bodies:
    def __init__(self, *, max_bytes: int, timeout_s: float) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._held = 0

    @contextmanager
    def held(self) -> Iterator["Body"]:
        """Room for a body, given back at the end."""
        body = Body(self)
        try:
            yield body
        finally:
            self._held -= body.size

    def _take(self, size: int) -> None:
        if self._held + size > TOGETHER * self._max_bytes:
            raise later(
                503, "busy", "Too many large requests are being received. Send this one again in a moment.", 2.0
            )
        self._held += size


class Body:
    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0

    async def read(self, declared: bytes | None, receive: Receive) -> bytes:
        """All of it. `declared` is Content-Length, where there is one.

        Raises Refused (413, 408, 503), ClientLeft.
        """
        limit = self._bodies._max_bytes
        if declared is not None and int(declared) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(self._bodies._timeout_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ClientLeft
                    piece: bytes = message.get("body", b"")
                    if self.size + len(piece) > limit:
                        raise _too_large(limit)
                    self._bodies._take(len(piece))
                    self.size += len(piece)
                    pieces.append(piece)
                    if not message.get("more_body", False):
                        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except TimeoutError:
            raise Refused(
                408,
                "body_time",
                f"The body did not come within {self._bodies._timeout_s:g} s (BACKSCROLL_HTTP_BODY_TIMEOUT_S). Send it "
                "faster, or in smaller runs.",
                close=True,
            ) from None


def again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that tells of `body` first."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large(limit: int) -> Refused:
    return Refused(
        413,
        "body_size",
        f"The body is larger than {limit:,} bytes (BACKSCROLL_HTTP_MAX_BODY_BYTES). Record it in smaller runs.",
        close=True,
    )
