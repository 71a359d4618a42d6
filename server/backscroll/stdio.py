"""Serving over stdio: what the front queued goes through the SDK's own loop, and its answers go to the wire."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from backscroll import wire
from backscroll.front import Front, fail
from backscroll.snapshot import Snapshot, keep_snapshot
from backscroll.streams import Incoming, Outgoing, Requests, encode

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2
"""When a snapshot that was found is compared with the live server: late, to leave the first calls alone."""
CLIENT = {"name": "backscroll-snapshot", "version": "0"}


def run(
    front: Front,
    manager: AbstractAsyncContextManager[Server[Any]],
    *,
    snapshot: Path | None = None,
    key: str = "",
) -> int:
    """Serve what `manager` yields until the client leaves or a signal comes; return the exit code.

    The manager is always left, and in peace: what stops the server cancels the serving alone.
    """
    return asyncio.run(_run(front, manager, snapshot, key))


async def _run(front: Front, manager: AbstractAsyncContextManager[Server[Any]], snapshot: Path | None, key: str) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    stops = itertools.count()

    def stop() -> None:
        # Once: a second cancellation would cut short what the first made the manager close. It is the task
        # that is cancelled, and not a scope, since the manager is to be left outside what is cancelled.
        if next(stops) == 0 and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    front.on_stop = stop
    if front.broken:
        return 0
    with suppress(asyncio.CancelledError):
        async with AsyncExitStack() as stack:
            try:
                server = await stack.enter_async_context(manager)
            except Exception as error:
                return fail(front, error)
            # What is loaded stays to the end: keep it out of every later collection.
            gc.freeze()
            gc.enable()
            try:
                await serve(server, front, snapshot=snapshot, key=key)
            except Exception:
                logger.exception("serving failed")
                return 1
            finally:
                next(stops)
    return 0


async def serve(server: Server[Any], front: Front, *, snapshot: Path | None = None, key: str = "") -> None:
    """Serve one client with `server` over a started front, until stdin ends and what was asked is answered.

    Its options are ``server.create_initialization_options()``. `snapshot` and `key` say where the front's
    snapshot is kept, if it is.
    """
    known = front.snapshot is not None
    if not known:
        # Without it, `server/discover` would go to the SDK and lock the era.
        await _refresh(server, front, snapshot, key)
    requests = Requests()
    outgoing = Outgoing(front, requests)
    incoming = Incoming(front, requests, outgoing)

    async def refresh_later() -> None:
        with anyio.move_on_after(REFRESH_SECONDS):
            await incoming.ended.wait()
        await _refresh(server, front, snapshot, key)

    async with anyio.create_task_group() as tasks:
        if known:
            tasks.start_soon(refresh_later)
        await server.run(incoming, outgoing, server.create_initialization_options())


async def _refresh(server: Server[Any], front: Front, snapshot: Path | None, key: str) -> None:
    """Take the snapshot anew, answer `server/discover` from it, and keep it if it changed."""
    try:
        fresh = await take_snapshot(server)
    except Exception:
        logger.warning("no snapshot could be taken of this server", exc_info=True)
        return
    if fresh == front.snapshot:
        return
    front.snapshot = fresh
    if snapshot is not None:
        try:
            keep_snapshot(fresh, snapshot, key)
        except OSError as error:
            logger.debug("the snapshot could not be kept: %s", error)


async def take_snapshot(server: Server[Any]) -> Snapshot:
    """What `server` answers in both eras, asked in memory, through the same loop that serves the wire.

    Enters the server's lifespan once for each protocol version. A list that it refuses is left out.
    """
    handshake: dict[str, dict[str, Any]] = {}
    modern: dict[str, dict[str, Any]] = {}
    for version in HANDSHAKE_PROTOCOL_VERSIONS:
        hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
        requests: list[tuple[str, dict[str, Any]]] = [("initialize", hello), ("ping", {})]
        requests += [(method, {}) for method in wire.STATIC_LISTS]
        handshake[version] = await _ask(server, requests)
    for version in MODERN_PROTOCOL_VERSIONS:
        envelope = {"_meta": {wire.VERSION_KEY: version, wire.CAPABILITIES_KEY: {}}}
        modern[version] = await _ask(server, [(method, envelope) for method in (wire.DISCOVER, *wire.STATIC_LISTS)])
    return Snapshot(handshake, modern)


async def _ask(server: Server[Any], requests: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Results by method, of requests sent one after the other over a connection of their own."""
    to_server, server_reads = anyio.create_memory_object_stream[SessionMessage | Exception]()
    server_writes, from_server = anyio.create_memory_object_stream[SessionMessage]()
    results: dict[str, dict[str, Any]] = {}
    async with to_server, from_server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, server_reads, server_writes, server.create_initialization_options())
        for number, (method, params) in enumerate(requests):
            await to_server.send(
                SessionMessage(types.JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=params))
            )
            async for answer in from_server:
                # A notification may come first; only this request is open.
                if isinstance(answer.message, types.JSONRPCResponse):
                    # Through JSON, as on the wire: tuples and the like would differ from what is read back.
                    results[method] = json.loads(encode(answer.message))["result"]
                if not isinstance(answer.message, types.JSONRPCNotification):
                    break
        to_server.close()
    return results
