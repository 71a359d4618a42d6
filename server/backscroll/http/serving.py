"""One worker: the store, the server and the application on a socket, until it is told to stop."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import uvicorn

from ..access import Access, local
from ..auth.metadata import metadata_path, metadata_url, protected_resource
from ..auth.verifying import Verifier
from ..config import Settings
from ..memory import Backscroll
from ..server import opened
from . import logs
from .address import BACKLOG, PATH, Address
from .app import HttpApp, document
from .asking import Anybody, Asking
from .bodies import Bodies
from .dispatching import Dispatching
from .endpoint import McpEndpoint
from .heads import protocol
from .layout import Layout
from .meter import Meter
from .names import names_of
from .rates import Rates
from .room import Room
from .shared import Shared

READY_SECONDS = 5.0
GRACE_SECONDS = 30.0
"""What a client has, beyond the time of its call, to read the answer."""


class Worker(uvicorn.Server):
    """uvicorn, which ends streams before it waits for them, and shares its socket fairly."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or ():
            # asyncio takes as many waiting connections at a time as `backlog` says, and would take those that other
            # workers could serve: so that is one, and here the kernel's queue gets its length again.
            one.listen(BACKLOG)
        self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


async def serve(
    settings: Settings,
    address: Address,
    bound: socket.socket,
    shared: Shared,
    slot: int,
    *,
    auth: bool,
    ready: Callable[[], None],
    stop: asyncio.Event | None = None,
) -> None:
    """Serve on `bound` until SIGTERM or SIGINT comes, or `stop` is set; then finish what is under way.

    `address` is what the server is bound to; `slot` the worker's number. `ready` is told once it answers.
    Raises what opening the database raises.
    """
    early = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        # While it opens; uvicorn has its own afterwards, gives these back at its end and raises the signal again.
        signal.signal(sign, lambda *_: loop.call_soon_threadsafe(early.set))
    layout = Layout(settings.http_workers)
    meter = Meter(shared, layout.counts, slot)
    async with AsyncExitStack() as stack:
        stack.callback(meter.close)
        server = await stack.enter_async_context(opened(settings, _access_of, machine=not auth))
        room = Room(settings.http_max_requests, meter.in_flight)
        endpoint = McpEndpoint(server, settings.http_max_body_bytes)
        resource = settings.http_url or f"http://{address.authority}{PATH}"
        verifier = Verifier(server.app.store.tokens, settings) if auth else None
        if verifier is not None:
            await verifier.check()
        app = HttpApp(
            endpoint=endpoint,
            names=names_of(settings, address),
            asking=Anybody(local(settings.user)) if verifier is None else Asking(verifier, metadata_url(resource)),
            rates=_rates(settings, shared),
            bodies=Bodies(max_bytes=settings.http_max_body_bytes, timeout_s=settings.http_body_timeout_s),
            room=room,
            meter=meter,
            ready=partial(_answers, server.app, settings.user),
            metadata=(metadata_path(resource).encode(), document(protected_resource(resource, settings)))
            if auth
            else None,
            request_timeout_s=settings.http_call_timeout_s + GRACE_SECONDS,
        )
        dispatching = Dispatching(meter, call_timeout_s=settings.http_call_timeout_s, left=app.left)
        server.middleware.append(dispatching)
        server.on_failure = dispatching.failed
        await stack.enter_async_context(endpoint.running())

        def stopping() -> None:
            app.stop()
            server.end_streams()

        worker = Worker(_config(settings, app), ready, stopping)
        stops = [loop.create_task(_stop(worker, event)) for event in (early, stop) if event is not None]
        stack.callback(lambda: [task.cancel() for task in stops])
        # What is loaded stays to the end: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        await worker.serve(sockets=[bound])


def _access_of(ctx: Any) -> Access:
    access: Access = ctx.request.scope["backscroll.access"]
    return access


async def _answers(app: Backscroll, user_id: str) -> None:
    async with asyncio.timeout(READY_SECONDS):
        await app.store.data_version(user_id)


async def _stop(worker: Worker, event: asyncio.Event) -> None:
    await event.wait()
    worker.should_exit = True


def _rates(settings: Settings, shared: Shared) -> Rates | None:
    if not settings.http_rate_per_minute:
        return None
    return Rates(shared, per_minute=settings.http_rate_per_minute, burst=settings.http_rate_burst)


def _config(settings: Settings, app: HttpApp) -> uvicorn.Config:
    """h11, not httptools: that one is faster, but native code, bounds no head, and takes one with two Hosts or none."""
    logs.configure()
    return uvicorn.Config(
        app,
        http=protocol(max_header_bytes=settings.http_max_header_bytes, header_timeout_s=settings.http_header_timeout_s),
        loop="asyncio",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        # Who asks is in the token; what a proxy says of addresses is taken from nobody.
        proxy_headers=False,
        server_header=False,
        backlog=1,
        timeout_keep_alive=settings.http_keep_alive_s,
        timeout_graceful_shutdown=settings.http_shutdown_s,
    )
