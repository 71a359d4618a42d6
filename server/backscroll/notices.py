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
from .resources import LISTED_SUMMARIES, RECENT

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
PAUSE_SECONDS = 0.1
"""Between two looks: changes that come faster are told together."""
LIST = "resources/list"
"""Not a URI: the key of the list itself among what is watched."""
_UNKNOWN = object()


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

    async def meet(self, session: ServerSession, *, legacy: bool) -> None:
        """Remember a connection of the old era: there, list changes go to whoever is connected."""
        if legacy and self._legacy is None:
            self._legacy = session
            await self._watch(LIST)

    async def subscribe(self, ctx: ServerRequestContext[Any], params: mcp.SubscribeRequestParams) -> mcp.EmptyResult:
        uri = str(params.uri)
        known = uri in self._subscribed
        self._subscribed[uri] = ctx.session
        if not known:
            await self._watch(uri)
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
        counted = []
        try:
            for uri in uris:
                counted.append(uri)  # before it waits, where it may be cancelled
                await self._watch(uri)
            return await self._listen(ctx, params)
        finally:
            for uri in counted:
                self._unwatch(uri)

    async def _watch(self, uri: str) -> None:
        self._watched[uri] += 1
        if uri not in self._prints:
            self._prints[uri] = await self._fingerprint(uri)
        self._moved.set()  # polling may have to begin

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
                    await asyncio.sleep(PAUSE_SECONDS)
            except BackscrollError as error:
                logger.debug("change notices: %s", error)
            except Exception:
                # The edge of a task of its own: a client that is gone must not end the others' notices.
                logger.warning("a change notice was not delivered", exc_info=True)

    async def _announce(self) -> None:
        for uri in list(self._watched):
            before = self._prints.get(uri, _UNKNOWN)
            found = await self._fingerprint(uri)
            if uri not in self._watched:
                continue
            self._prints[uri] = found
            if before is not _UNKNOWN and before != found:
                await self._tell(uri)

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
                return [(s.session, s.shown_title) for s in await self._memory.summarized_sessions(LISTED_SUMMARIES)]
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
        except Exception:
            # Whatever is wrong with it, the call that reads it will say; a notice is no reason to fail.
            logger.debug("no fingerprint", exc_info=True)
            return None
