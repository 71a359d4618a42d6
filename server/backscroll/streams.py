"""The SDK's two streams over the front: lines become messages, and messages lines.

`server.run` takes any pair of streams, so these are its streams, without a task or a buffer between. They
also do what the SDK's transport does not: a line that cannot be parsed is answered, EOF waits for requests in
flight, the number of those is bounded, and lone surrogates pass, replaced.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections import Counter, deque
from typing import Any, NamedTuple, Self

import anyio
import mcp_types as types
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from backscroll import wire
from backscroll.front import Front

MAX_IN_FLIGHT = 256
"""Requests that the server works on at once. Beyond it nothing is read, and the client's pipe fills."""
DRAIN_SECONDS = 5
"""How long requests in flight may go on after EOF; then they are cancelled."""
# Open for as long as the client listens (MCP 2026-07-28), so nobody waits for it to end.
ENDLESS = "subscriptions/listen"


class Requests:
    """Requests that the SDK has taken and not answered, and those whose answer the client has already."""

    def __init__(self) -> None:
        self._open: Counter[types.RequestId] = Counter()
        self._changed = anyio.Event()
        self._answered: set[types.RequestId] = set()

    def take(self, request: types.JSONRPCRequest, *, answered: bool) -> None:
        if answered:
            self._answered.add(request.id)
        if request.method != ENDLESS:
            self._open[coerce_request_id(request.id)] += 1

    def hold_back(self, request_id: types.RequestId | None) -> bool:
        """Whether this response is the second one to its request."""
        if request_id not in self._answered:
            return False
        self._answered.remove(request_id)
        return True

    def settle(self, request_id: types.RequestId | None) -> None:
        if request_id is not None and (key := coerce_request_id(request_id)) in self._open:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
            self._changed.set()

    def cancel(self, params: dict[str, Any] | None) -> None:
        """A cancelled request is never answered."""
        request_id = (params or {}).get("requestId")
        if isinstance(request_id, str | int):
            self.settle(request_id)

    async def fewer_than(self, count: int) -> None:
        while self._open.total() >= count:
            self._changed = anyio.Event()
            await self._changed.wait()


class LineError(Exception):
    """A line that is no message; `answer` is the JSON-RPC response to it."""

    def __init__(self, code: int, message: str, request_id: Any = None) -> None:
        super().__init__(message)
        self.answer = wire.response(request_id, wire.error_body(code, message))


class Incoming:
    """The read stream of `server.run`: the front's lines as messages, pulled, so as not to flood it."""

    def __init__(self, front: Front, requests: Requests, outgoing: Outgoing) -> None:
        self.ended = anyio.Event()
        self._front = front
        self._requests = requests
        self._outgoing = outgoing
        self._lines: deque[tuple[bytes, bool]] = deque()
        self._news = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._news.set)

        front.attach(wake)

    async def receive(self) -> SessionMessage | Exception:
        while True:
            while not self._lines:
                await self._more()
            line, answered = self._lines.popleft()
            try:
                message = parse(line)
            except LineError as refusal:
                await self._outgoing.write(refusal.answer)
                continue
            if isinstance(message, types.JSONRPCRequest):
                if message.method == wire.DISCOVER and self._front.snapshot is not None:
                    await self._outgoing.write(wire.response(message.id, self._front.snapshot.discover(message.params)))
                    continue
                await self._requests.fewer_than(MAX_IN_FLIGHT)
                self._requests.take(message, answered=answered)
            elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
                self._requests.cancel(message.params)
            return SessionMessage(message)

    async def _more(self) -> None:
        """Wait for lines; at EOF for requests in flight, which the SDK would cancel. Raises EndOfStream."""
        self._news.clear()
        lines, ended = self._front.take()
        if lines:
            self._lines.extend(lines)
        elif not ended:
            await self._news.wait()
        else:
            with anyio.move_on_after(DRAIN_SECONDS):
                await self._requests.fewer_than(1)
            self.ended.set()
            raise anyio.EndOfStream

    async def aclose(self) -> None:
        """Nothing to close: the front owns stdin to the end of the process."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class _Write(NamedTuple):
    line: bytes
    done: asyncio.Future[None]


class Outgoing:
    """The write stream of `server.run`. `send` returns when the client's pipe has taken the line.

    A short line goes at once where the pipe has room. Any other goes through a thread, since writing may wait
    for as long as the client likes: a daemon, so that the process can end meanwhile.
    """

    def __init__(self, front: Front, requests: Requests) -> None:
        self._front = front
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._write_all, name="backscroll-stdout", daemon=True).start()

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        if not isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            await self.write(encode(message))
            return
        try:
            if not self._requests.hold_back(message.id):
                await self.write(encode(message))
        finally:
            self._requests.settle(message.id)

    async def write(self, line: bytes) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        try:
            if self._front.write_at_once(line):
                return
        except OSError:
            raise anyio.BrokenResourceError from None
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Write(line, done))
        await done

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            error = None
            try:
                self._front.write(item.line)
            except OSError:
                error = anyio.BrokenResourceError()
            try:
                self._loop.call_soon_threadsafe(_finish, item.done, error)
            except RuntimeError:  # the loop has closed: the process is ending
                return

    async def aclose(self) -> None:
        self._closed = True
        self._queue.put(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _finish(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return  # who waited was cancelled
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def parse(line: bytes) -> types.JSONRPCMessage:
    """The message of a line. Raises LineError."""
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        pass
    # Broken UTF-8, a byte order mark and lone surrogates stop pydantic's parser; they need not stop us.
    try:
        value = json.loads(line.decode("utf-8-sig", errors="replace"))
        mended = _without_surrogates(value)
    except (ValueError, RecursionError):
        raise LineError(wire.PARSE_ERROR, "Parse error: this line is not JSON") from None
    if isinstance(value, list):
        raise LineError(wire.INVALID_REQUEST, "Batches are not served: send each message on a line of its own")
    try:
        return types.jsonrpc_message_adapter.validate_json(mended, by_name=False)
    except ValidationError:
        # The id of a response is our own request's: to echo it would answer a request of the client's.
        request_id = value.get("id") if isinstance(value, dict) and "method" in value else None
        if type(request_id) not in (str, int):
            request_id = None
        raise LineError(wire.INVALID_REQUEST, "Invalid request: not a JSON-RPC 2.0 message", request_id) from None


def encode(message: types.JSONRPCMessage) -> bytes:
    """The line of a message, dumped as the SDK's transport does."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except PydanticSerializationError:  # a lone surrogate
        return _without_surrogates(message.model_dump(mode="json", by_alias=True, exclude_unset=True)) + b"\n"


def _without_surrogates(value: Any) -> bytes:
    """`value` as JSON in UTF-8, with U+FFFD for each lone surrogate."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
