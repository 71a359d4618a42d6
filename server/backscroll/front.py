"""The front of the stdio server: it speaks from the first millisecond, while the SDK still loads.

Importing ``mcp`` takes 0.6 s, and some hosts do not wait. So a thread owns stdin from the start. While the
main thread imports, it answers what never changes from a `Snapshot` of the real server's answers, and queues
everything else in order for `backscroll.stdio`, which serves it, and all that follows, through the SDK.

``server/discover`` never reaches the SDK: there the first request locks a connection to one era of the
protocol, and a host that asks, gives up and sends ``initialize`` would be refused. ``initialize`` is answered
here and replayed there, and that second response is held back.

Nothing slow is imported at the top: no ``mcp``, ``pydantic``, ``asyncio``, ``logging``.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from backscroll.errors import BackscrollError
from backscroll.snapshot import Snapshot
from backscroll.wire import (
    CAPABILITIES_KEY,
    DISCOVER,
    INTERNAL_ERROR,
    STATIC_LISTS,
    VERSION_KEY,
    error_body,
    response,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import FrameType

    from mcp.server.lowlevel import Server

    Json = dict[str, Any]
    OpenServer = Callable[[], AbstractAsyncContextManager[Server[Any]]]

CHUNK_BYTES = 64 * 1024
QUEUE_BYTES = 8 * 1024 * 1024
"""The reader stops taking from the pipe while this much is queued. One longer line still passes."""
LINE_OVERHEAD_BYTES = 128
"""What a queued line costs besides its text, so that a flood of tiny lines is bounded too."""
REFUSAL_SECONDS = 2
# A write of this many bytes does not wait on a pipe that is reported writable (POSIX). On Windows, select
# takes sockets only, and every line goes the other way.
PIPE_BYTES = getattr(select, "PIPE_BUF", 0)


class Front:
    """Owner of the wire: reads stdin in a thread of its own, and writes whole lines to stdout for any thread.

    `start` it, then `attach` once there is something to serve what `take` gives. With no snapshot it answers
    nothing and queues every line.
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot
        self.broken = False
        """Nobody reads stdout any more."""
        self.on_stop: Callable[[], None] | None = None
        """Called from any thread, or a signal handler, when serving should end."""
        self._queue: list[tuple[bytes, bool]] = []
        self._queued_bytes = 0
        self._ended = False
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._wake: Callable[[], None] | None = None
        self._refusal: Json | None = None
        # What the reader knows of the conversation until something is attached. A snapshot that is made later
        # changes nothing: the reader has not followed what was said so far.
        self._answering = snapshot is not None
        self._version: str | None = None
        """Handshake version that `initialize` was answered with."""
        self._era: str | None = None
        """Era to which the queued requests will lock the SDK."""

    def start(self, stdin: int, stdout: int) -> None:
        """Read from now on. The descriptors are the front's to the end of the process."""
        self._stdin, self._stdout = stdin, stdout
        # A daemon: the process may end while this thread waits on a stdin that nobody closes.
        threading.Thread(target=self._read, name="backscroll-stdin", daemon=True).start()

    def attach(self, wake: Callable[[], None]) -> None:
        """Stop answering, and call `wake`, from the reader's thread, whenever `take` has something new."""
        with self._changed:
            self._answering = False
            self._wake = wake

    def take(self) -> tuple[list[tuple[bytes, bool]], bool]:
        """The lines queued since the last call, oldest first, and whether stdin has ended behind them.

        With each line stands whether its request is answered already, as an `initialize` may be.
        """
        with self._changed:
            lines, self._queue, self._queued_bytes = self._queue, [], 0
            self._changed.notify()
            return lines, self._ended

    def write(self, line: bytes) -> None:
        """Write a line whole, waiting for the client to take it. Raises OSError when it has gone."""
        with self._writing:
            self._write(line)

    def write_at_once(self, line: bytes) -> bool:
        """Write a line if the pipe takes it without waiting; say whether it did. Raises OSError."""
        if len(line) > PIPE_BYTES or not self._writing.acquire(blocking=False):
            return False
        try:
            writable = bool(select.select((), (self._stdout,), (), 0)[1])
            if writable:
                self._write(line)
            return writable
        finally:
            self._writing.release()

    def refuse(self, message: str) -> None:
        """Answer each queued request, and each that still comes, with an error that says `message`.

        Returns when stdin ends, or after `REFUSAL_SECONDS`: what the client sent last may be in the pipe yet.
        """
        with self._changed:
            self._refusal = error_body(INTERNAL_ERROR, message)
        for line, answered in self.take()[0]:
            if not answered:
                self._answer_refusal(line)
        with self._changed:
            self._changed.wait_for(lambda: self._ended, REFUSAL_SECONDS)

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._stdout, left) :]
            except BlockingIOError:  # a parent that shares the pipe may have made it non-blocking
                select.select((), (self._stdout,), ())
            except OSError:
                self._break()
                raise

    def _break(self) -> None:
        self.broken = True
        if self.on_stop is not None:
            self.on_stop()

    def _read(self) -> None:
        """Cut stdin into lines until it ends. Chunks of a long line are joined once, when it is whole."""
        parts: list[bytes] = []
        while chunk := self._read_chunk():
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                self._accept(b"".join((*parts, line)) if parts else line)
                parts.clear()
            if rest:
                parts.append(rest)
        self._accept(b"".join(parts))
        with self._changed:
            self._ended = True
            self._changed.notify()
            self._notify()

    def _read_chunk(self) -> bytes:
        while not self.broken:
            try:
                return os.read(self._stdin, CHUNK_BYTES)
            except BlockingIOError:
                select.select((self._stdin,), (), ())
            except OSError:  # a terminal that went away
                break
        return b""

    def _accept(self, line: bytes) -> None:
        if not line or line.isspace():
            return
        try:
            if self._answering and self._meet(line):
                return
        except OSError:  # nobody is there to be answered
            return
        self._put(line)

    def _put(self, line: bytes, *, answered: bool = False) -> None:
        with self._changed:
            while self._queued_bytes >= QUEUE_BYTES and self._refusal is None:
                self._changed.wait()
            if self._refusal is None:
                self._queue.append((line, answered))
                self._queued_bytes += len(line) + LINE_OVERHEAD_BYTES
                if len(self._queue) == 1:  # whoever was told takes all that has gathered
                    self._notify()
                return
        if not answered:
            self._answer_refusal(line)

    def _notify(self) -> None:
        if self._wake is not None:
            try:
                self._wake()
            except RuntimeError:  # the loop has closed: the process is ending
                self.broken = True

    def _meet(self, line: bytes) -> bool:
        """Answer a line whose answer is known; say whether it is done with. Raises OSError."""
        assert self.snapshot is not None
        request = _parse_request(line)
        if request is None:
            return False
        request_id, method, params = request
        if method == DISCOVER:
            self.write(response(request_id, self.snapshot.discover(params)))
            return True
        meta = params.get("_meta")
        modern = isinstance(meta, dict) and VERSION_KEY in meta and method != "initialize"
        if method == "initialize" and self._era is None and (agreed := self.snapshot.initialize(params)):
            self._era = "handshake"
            self._version, result = agreed
            self.write(response(request_id, {"result": result}))
            self._put(line, answered=True)
            return True
        known = self._known(method, params, modern=modern)
        if known is not None:
            self.write(response(request_id, {"result": known}))
            return True
        self._era = self._era or ("modern" if modern else "handshake")
        return False

    def _known(self, method: str, params: Json, *, modern: bool) -> Json | None:
        """The result that the SDK would give; None where more than the version counts, or it is an error."""
        assert self.snapshot is not None
        meta = params.get("_meta", {})
        if not isinstance(meta, dict) or not params.keys() <= {"_meta"}:  # a cursor, or a mistake
            return None
        if self._era == ("handshake" if modern else "modern"):
            return None
        if method not in ("ping", *STATIC_LISTS):
            return None
        if modern:
            version = meta[VERSION_KEY]
            if not isinstance(version, str) or not isinstance(meta.get(CAPABILITIES_KEY), dict):
                return None
            return self.snapshot.modern.get(version, {}).get(method)
        if method == "ping":  # allowed before `initialize`
            return list(self.snapshot.handshake.values())[-1].get(method)
        return self.snapshot.handshake[self._version].get(method) if self._version else None

    def _answer_refusal(self, line: bytes) -> None:
        assert self._refusal is not None
        request = _parse_request(line)
        if request is not None:
            try:
                self.write(response(request[0], self._refusal))
            except OSError:
                return


def run(open_server: OpenServer, *, snapshot: Path | None = None, key: str = "") -> int:
    """Serve MCP over this process's stdin and stdout until the client leaves; return the exit code.

    `open_server` is called in the main thread with the front already answering: it imports what is slow and
    returns a context manager, entered in the event loop, that yields the server. Its error, or the manager's,
    is the answer to every request that waits, and the exit code is then 1. SIGTERM and SIGINT end with 0.
    Stdin and stdout stay claimed: a print goes to stderr, and the process should end after this.

    `snapshot` is the file to answer from meanwhile, and `key` names all that its content depends on: a file
    kept under another key is not used. It is rewritten when it is missing or differs from the live server.
    """
    front = Front(Snapshot.read(snapshot, key) if snapshot else None)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if front.on_stop is None:
            raise SystemExit(0)
        front.on_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    front.start(*claim_standard_streams())
    # Imports make no garbage worth the search. Serving turns it on again.
    gc.disable()
    try:
        manager = open_server()
        from backscroll import stdio  # noqa: PLC0415  # all that is slow hangs on it
    except Exception as error:
        return fail(front, error)
    return stdio.run(front, manager, snapshot=snapshot, key=key)


def fail(front: Front, error: Exception) -> int:
    """Tell the client and stderr why there is no server; return the exit code."""
    expected = isinstance(error, BackscrollError)
    kind = type(error).__name__
    reason = str(error) if expected else f"Backscroll could not start: {kind}. Its standard error says more."
    front.refuse(reason)
    if not expected:
        sys.excepthook(type(error), error, error.__traceback__)
    print(f"backscroll: {reason}", file=sys.stderr)
    return 1


def claim_standard_streams() -> tuple[int, int]:
    """Private descriptors of stdin and stdout. Descriptor 0 is then empty, and 1 is stderr.

    A stray print, or a child process, reads and writes those two and so never touches the wire.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by the parent: a duplicate must not land here. The lowest free one is taken.
            os.open(os.devnull, os.O_RDWR)
    wire = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return wire


def _parse_request(line: bytes) -> tuple[str | int, str, Json] | None:
    """Id, method and params of a request; None for all else, for the SDK to judge."""
    try:
        message = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return None
    request_id, method, params = message.get("id"), message.get("method"), message.get("params")
    if not isinstance(request_id, str | int) or isinstance(request_id, bool) or not isinstance(method, str):
        return None
    if params is None:
        params = {}
    return (request_id, method, params) if isinstance(params, dict) else None
