"""The ASGI application: which door a request goes to, and what it must pass on the way. Pure ASGI, no framework."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ..access import Access
from ..errors import StoreError
from . import logs, meter
from .address import PATH
from .asking import Anybody, Asking
from .bodies import Bodies, again
from .counts import TOOL_NAMES
from .exchange import KEY, Exchange
from .names import Names
from .rates import Rates
from .refusals import ClientLeft, Refused, later, refuse
from .room import Room
from .typing import App, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_ROUTES = {PATH.encode(): "mcp", b"/healthz": "healthz", b"/readyz": "readyz"}
_READ = ("GET", "HEAD")
_QUIET = ("healthz", "readyz")
_ONCE = frozenset({b"authorization", b"origin"})
_JSON = (b"content-type", b"application/json")


class Endpoint(Protocol):
    """The MCP endpoint, which takes what was let in."""

    def app_for(self, accept: bytes) -> App: ...


class HttpApp:
    """Built once a worker."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        names: Names,
        asking: Asking | Anybody,
        rates: Rates | None,
        bodies: Bodies,
        room: Room,
        meter: meter.Meter,
        ready: Callable[[], Awaitable[object]],
        metadata: tuple[bytes, bytes] | None,
        request_timeout_s: float,
    ) -> None:
        """`ready` raises StoreError where the store does not answer. `metadata`: its path, and the JSON document."""
        self._endpoint = endpoint
        self._names = names
        self._asking = asking
        self._rates = rates
        self._bodies = bodies
        self._room = room
        self._meter = meter
        self._ready = ready
        self._metadata = metadata
        self._request_timeout_s = request_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, twice = _headers(scope)
        exchange = Exchange(logs.id_of(headers.get(b"x-request-id")), self._route(scope["raw_path"]))
        logs.request_id.set(exchange.request_id)
        scope[KEY] = exchange
        own_header = (b"x-request-id", exchange.request_id.encode())

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), own_header]
            await send(message)

        try:
            await self._serve(exchange, scope, headers, twice, receive, told)
        except Refused as refused:
            exchange.reason, exchange.why = refused.reason, refused.why
            self._meter.refused(refused.reason)
            rpc = exchange.route == "mcp" and scope["method"] == "POST"
            await refuse(refused, scope, receive, told, rpc=rpc)
        except ClientLeft:
            exchange.reason = "client_left"
        except Exception:
            # The edge of the server: what goes wrong inside is told here, by kind and place, and nowhere else.
            logger.exception("a request failed")
            if exchange.status:
                raise  # The answer has begun: closing the connection is all that can be told.
            inside = Refused(500, "inside", "Backscroll failed inside. Try again; its log says where.", close=True)
            await refuse(inside, scope, receive, told, rpc=exchange.route == "mcp")
        finally:
            self._done(exchange)

    def left(self, exchange: Exchange) -> None:
        """It does not count among those under way any more."""
        if exchange.inside:
            exchange.inside = False
            self._room.leave()

    def stop(self) -> None:
        """Serve nothing new from now on; what is under way goes on."""
        self._room.stopping = True

    def _route(self, path: bytes) -> str:
        # As it was sent, not decoded: what only becomes a path of ours by decoding is not one.
        if self._metadata is not None and path == self._metadata[0]:
            return "metadata"
        return _ROUTES.get(path, "other")

    async def _serve(
        self,
        exchange: Exchange,
        scope: Scope,
        headers: dict[bytes, bytes],
        twice: set[bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        if exchange.route == "mcp":
            await self._mcp(exchange, scope, headers, twice, receive, send)
            return
        if exchange.route == "other":
            raise Refused(404, "path", f"There is nothing here. The MCP endpoint is {PATH}.")
        if scope["method"] not in _READ:
            raise Refused(405, "method", "Only GET is served here.", [(b"allow", b"GET, HEAD")])
        if exchange.route == "readyz":
            await self._check_ready()
        body = self._metadata[1] if exchange.route == "metadata" and self._metadata is not None else b""
        await send({"type": "http.response.start", "status": 200, "headers": _described(body)})
        await send({"type": "http.response.body", "body": body})

    async def _mcp(
        self,
        exchange: Exchange,
        scope: Scope,
        headers: dict[bytes, bytes],
        twice: set[bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        if b"origin" in twice:
            raise Refused(403, "origin", "Send one Origin header.")
        self._names.check(headers.get(b"host"), headers.get(b"origin"))
        if scope["method"] != "POST":
            raise Refused(
                405,
                "method",
                "The MCP endpoint takes POST. It keeps no sessions, so there is nothing to GET or DELETE.",
                [(b"allow", b"POST")],
            )
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "media", "Send the body without Content-Encoding.")
        self._room.enter()
        exchange.inside = True
        try:
            access = await self._who(scope, headers, twice)
            exchange.access = access
            self._not_too_often(access, scope)
            scope["backscroll.access"] = access
            exchange.still = lambda: self._asking.still(access, headers.get(b"authorization"))
            with self._bodies.held() as held:
                body = await held.read(headers.get(b"content-length"), receive)
                app = self._endpoint.app_for(headers.get(b"accept", b""))
                async with asyncio.timeout(self._request_timeout_s) as exchange.deadline:
                    await app(scope, again(body, receive), send)
        except TimeoutError:
            if exchange.deadline is None or not exchange.deadline.expired():
                raise
            # Its call had its time and ended: it is the client that does not read the answer.
            exchange.outcome = "timeout"
            if not exchange.status:
                raise later(504, "busy", "This took too long and was given up. Try again.", 1.0) from None
        finally:
            self.left(exchange)

    async def _who(self, scope: Scope, headers: dict[bytes, bytes], twice: set[bytes]) -> Access:
        try:
            return await self._asking.access(headers, b"authorization" in twice, scope["query_string"])
        except StoreError:
            raise later(503, "busy", "Tokens cannot be checked at the moment. Try again.", 1.0) from None

    def _not_too_often(self, access: Access, scope: Scope) -> None:
        if self._rates is None:
            return
        client = scope.get("client")
        wait = self._rates.wait(access.token_id or f"address:{client[0] if client else ''}")
        if wait > 0:
            raise later(429, "rate", "This token asks more often than it may. Wait as long as Retry-After says.", wait)

    async def _check_ready(self) -> None:
        if self._room.stopping:
            raise later(503, "stopping", "This server is stopping.", 1.0)
        try:
            await self._ready()
        except (StoreError, TimeoutError):
            raise later(503, "busy", "The store does not answer. `backscroll doctor` may say why.", 1.0) from None

    def _done(self, exchange: Exchange) -> None:
        seconds = exchange.seconds
        self._meter.answered(exchange.status)
        if exchange.method is not None:
            self._meter.done(exchange.method, exchange.tool, exchange.outcome or "cancelled", seconds)
        if exchange.route in _QUIET and exchange.status == 200:
            return  # A balancer asks every second.
        # Clients of the old era try GET before all else.
        level = (
            "info"
            if exchange.status < 400 or exchange.reason == "method"
            else "warning"
            if exchange.status < 500
            else "error"
        )
        logs.put(
            level,
            "request",
            request_id=exchange.request_id,
            route=exchange.route,
            method=None if exchange.method is None else meter.work_of(exchange.method, exchange.tool)[0],
            tool=None if exchange.tool is None else exchange.tool if exchange.tool in TOOL_NAMES else "other",
            outcome=exchange.outcome,
            reason=exchange.reason,
            why=exchange.why,
            status=exchange.status or None,
            duration_ms=round(seconds * 1000, 2),
            token_id=None if exchange.access is None else exchange.access.token_id,
        )


def document(value: Any) -> bytes:
    return json.dumps(value).encode()


def _headers(scope: Scope) -> tuple[dict[bytes, bytes], set[bytes]]:
    """The headers by name, and which of those that must be alone are not."""
    found: dict[bytes, bytes] = {}
    twice: set[bytes] = set()
    for name, value in scope["headers"]:
        if name in found and name in _ONCE:
            twice.add(name)
        found[name] = value
    return found, twice


def _described(body: bytes) -> list[tuple[bytes, bytes]]:
    length = (b"content-length", str(len(body)).encode())
    return [_JSON, length, (b"cache-control", b"max-age=3600")] if body else [length, (b"cache-control", b"no-store")]
