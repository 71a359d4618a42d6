"""How a request begins, read strictly: what two readers could understand in two ways is refused.

A proxy and we must agree on where each request ends, or one client can write the beginning of another's (request
smuggling). h11 reads by the rules, but for old senders' sake it also takes lines that end in LF alone, folded headers,
a length that is given twice, and a length beside Transfer-Encoding, which RFC 9112 lets a server refuse.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .refusals import Refused, document

_LENGTH = re.compile(rb"\r\ncontent-length:([^\r\n]*)")
_CODING = re.compile(rb"\r\ntransfer-encoding:([^\r\n]*)")
_VERSION = re.compile(rb"[^\r\n]+ http/1\.[01]\r\n")
_END = b"\r\n\r\n"


def complaint(received: bytes, limit: int) -> tuple[int, str] | None:
    """Status and reason, if what begins here cannot be the head of a request for us, complete or not yet.

    `limit` is in bytes.
    """
    end = received.find(_END)
    head = received[: end + 2] if end >= 0 else received.removesuffix(b"\r")
    if len(head) > limit:
        return 431, f"The headers are larger than {limit:,} bytes (BACKSCROLL_HTTP_MAX_HEADER_BYTES). Send fewer."
    lines = head.count(b"\r\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        return 400, "Each line of the headers must end in CRLF."
    if b"\r\n " in head or b"\r\n\t" in head:
        return 400, "A header must not be folded over several lines."
    if end < 0:
        return None
    head = head.lower()
    if not _VERSION.match(head):
        return 400, "Only HTTP/1.1 is spoken here, and HTTP/1.0."
    lengths, codings = _LENGTH.findall(head), _CODING.findall(head)
    if len(lengths) + len(codings) > 1:
        return 400, "Give the length of the body once: one Content-Length, or Transfer-Encoding: chunked."
    if lengths and not lengths[0].strip(b" \t").isdigit():
        return 400, "Content-Length must be one number."
    if codings and (codings[0].strip(b" \t") != b"chunked" or b" http/1.1\r\n" not in head):
        return 400, "The only Transfer-Encoding taken is chunked, with HTTP/1.1."
    return None


class StrictConnection(h11.Connection):
    """Looks at the head of each request before h11 does. `refused` is the answer to what it or h11 refused."""

    def __init__(self, limit: int) -> None:
        # h11's own limit counts whatever is not complete, so ours is told first.
        super().__init__(h11.SERVER, limit + 64)
        self._limit = limit
        self.refused = Refused(400, "head", "This is no HTTP request that can be read.", close=True)

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            received, _ = self.trailing_data
            if received and (found := complaint(received, self._limit)) is not None:
                status, why = found
                self.refused = Refused(status, "head", why, close=True)
                raise h11.RemoteProtocolError(why, error_status_hint=status)
        return super().next_event()


def protocol(*, max_header_bytes: int, header_timeout_s: float) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with strict heads, which must also be there in time."""

    class StrictProtocol(H11Protocol):
        conn: StrictConnection
        _waiting: asyncio.TimerHandle | None = None

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.conn = StrictConnection(max_header_bytes)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait_for_the_rest()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait_for_the_rest()

        def _wait_for_the_rest(self) -> None:
            """Of a head that has begun."""
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self._wait()
            else:
                self._stop_waiting()

        def _wait(self) -> None:
            if self._waiting is None:
                self._waiting = self.loop.call_later(header_timeout_s, self._too_late)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _too_late(self) -> None:
            if self.transport.is_closing():
                return
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self._answer(Refused(408, "head", "The headers took too long to come. Send them at once.", close=True))
            else:
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            self._answer(self.conn.refused)

        def _answer(self, refused: Refused) -> None:
            self._stop_waiting()
            kind, body = document(refused, rpc=False)
            headers = [
                (b"content-type", kind),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            try:
                for event in (
                    h11.Response(
                        status_code=refused.status, headers=headers, reason=HTTPStatus(refused.status).phrase.encode()
                    ),
                    h11.Data(data=body),
                    h11.EndOfMessage(),
                ):
                    self.transport.write(self.conn.send(event) or b"")
            except h11.LocalProtocolError:
                pass  # An answer is on its way already; what went wrong came behind it.
            self.transport.close()

    return StrictProtocol
