"""Change notices: tells clients which resources changed, whoever changed them.

Nothing is watched until a client asks. Then what is watched has a fingerprint, looked at again after
every change made by this process, and, for those of other processes, whenever `data_version` has moved.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import mcp_types as mcp
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ResourceUpdated

from .errors import BackscrollError
from .memory import Backscroll, Memory
from .resources import RECENT

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LIST = "resources/list"
"""Not a URI: the key of the list itself among what is watched."""


class Notices:
    """What the clients of one server watch, and how each is told."""

    def __init__(self, app: Backscroll, memory: Memory) -> None:
        self._app = app
        self._memory = memory
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._watched: Counter[str] = Counter()
        self._prints: dict[str, Any] = {}
        self._subscribed: dict[str, ServerSession] = {}
        self._legacy: ServerSession | None = None
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = self._app.on_change(lambda user_id, _: self._moved.set() if user_id == self._memory.user_id else None)
        task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            stop()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def meet(self, session: ServerSession, *, legacy: bool) -> None:
        """Remember a connection of the old era: there, list changes go to whoever is connected."""
        if legacy and self._legacy is None:
            self._legacy = session
            self._watched[LIST] += 1
            self._moved.set()

    async def subscribe(self, ctx: ServerRequestContext[Any], params: mcp.SubscribeRequestParams) -> mcp.EmptyResult:
        uri = str(params.uri)
        if uri not in self._subscribed:
            await self._watch(uri)
        self._subscribed[uri] = ctx.session
        return mcp.EmptyResult()

    async def unsubscribe(
        self, ctx: ServerRequestContext[Any], params: mcp.UnsubscribeRequestParams
    ) -> mcp.EmptyResult:
        if self._subscribed.pop(str(params.uri), None) is not None:
            self._unwatch(str(params.uri))
        return mcp.EmptyResult()

    async def listen(
        self, ctx: ServerRequestContext[Any], params: mcp.SubscriptionsListenRequestParams
    ) -> mcp.SubscriptionsListenResult:
        wanted = params.notifications
        uris = [str(uri) for uri in wanted.resource_subscriptions or ()]
        if wanted.resources_list_changed:
            uris.append(LIST)
        for uri in uris:
            await self._watch(uri)
        try:
            return await self._listen(ctx, params)
        finally:
            for uri in uris:
                self._unwatch(uri)

    async def _watch(self, uri: str) -> None:
        self._watched[uri] += 1
        if uri not in self._prints:
            self._prints[uri] = await self._fingerprint(uri)

    def _unwatch(self, uri: str) -> None:
        self._watched[uri] -= 1
        if self._watched[uri] <= 0:
            del self._watched[uri]
            self._prints.pop(uri, None)

    async def _run(self) -> None:
        version = -1
        while True:
            with contextlib.suppress(TimeoutError):
                # With nothing watched there is nothing to poll for.
                await asyncio.wait_for(self._moved.wait(), POLL_SECONDS if self._watched else None)
            ours = self._moved.is_set()
            self._moved.clear()
            try:
                now = await self._app.store.data_version()
                if ours or now != version:
                    version = now
                    await self._announce()
            except BackscrollError as error:
                logger.debug("change notices: %s", error)

    async def _announce(self) -> None:
        for uri in list(self._watched):
            known = uri in self._prints
            found = await self._fingerprint(uri)
            if known and self._prints[uri] != found:
                await self._tell(uri)
            if uri in self._watched:
                self._prints[uri] = found

    async def _tell(self, uri: str) -> None:
        if uri == LIST:
            await self._bus.publish(ResourcesListChanged())
            if self._legacy is not None:
                await self._legacy.send_resource_list_changed()
            return
        await self._bus.publish(ResourceUpdated(uri=uri))
        if (session := self._subscribed.get(uri)) is not None:
            await session.send_resource_updated(uri)

    async def _fingerprint(self, uri: str) -> Any:
        """What changes when the resource does; None where there is no such resource for this user."""
        try:
            if uri == LIST:
                return [s.session for s in await self._memory.summarized_sessions(20)]
            if uri == RECENT:
                page = await self._memory.list_sessions(limit=20, max_tokens=20_000)
                return [(line.session, line.title, line.messages, line.last_activity_at) for line in page.sessions]
            name = unquote(uri.removeprefix("session://").split("/", 1)[0])
            if not uri.startswith("session://") or not name:
                return None
            session = await self._memory.get_session(name)
            summary = await self._memory.get_summary(name)
            return session, None if summary is None else summary.version
        except BackscrollError:
            return None
