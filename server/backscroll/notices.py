"""Change notices: tells clients which resources changed, whoever changed them.

Nothing is watched until a client asks. Then what is watched has a fingerprint, looked at again after
every change made by this process, and, for those of other processes, whenever `data_version` has moved.
Each user's are apart: what one watches, and what is told on whose connection, knows of no other's.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import mcp_types as mcp
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError

from .errors import BackscrollError
from .memory import Backscroll, Memory
from .resources import LISTED_SUMMARIES, RECENT

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LOOKS_A_SECOND = 200
"""At most, for all users together: with more who watch, each is looked at less often."""
PAUSE_SECONDS = 0.1
"""Between two looks: changes that come faster are told together."""
MAX_USERS = 2_000
"""Who may watch at a time."""
MAX_STREAMS, MAX_WATCHED = 100, 1_000
"""Of one user: open streams, and resources that are watched."""
LIST = "resources/list"
"""Not a URI: the key of the list itself among what is watched."""
_UNKNOWN = object()


class Notices:
    """What the clients of one server watch: a `Watch` for each user of whom anything is watched."""

    def __init__(self, app: Backscroll) -> None:
        self._app = app
        self._watches: dict[str, Watch] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = self._app.on_change(self._changed)
        try:
            yield
        finally:
            stop()
            for user_id in list(self._watches):
                self._drop(user_id)
            await asyncio.gather(*self._ending, return_exceptions=True)

    def end_streams(self) -> None:
        """Let every stream that is open come to its regular end, as before the server stops."""
        for watch in self._watches.values():
            watch.end_streams()

    async def meet(self, memory: Memory, session: ServerSession) -> None:
        """Remember a connection of the old era: there, list changes go to whoever is connected."""
        async with self._watching(memory) as watch:
            await watch.meet(session)

    async def subscribe(self, memory: Memory, session: ServerSession, uri: str) -> mcp.EmptyResult:
        async with self._watching(memory) as watch:
            await watch.subscribe(session, uri)
        return mcp.EmptyResult()

    async def unsubscribe(self, memory: Memory, uri: str) -> mcp.EmptyResult:
        async with self._watching(memory) as watch:
            watch.unsubscribe(uri)
        return mcp.EmptyResult()

    async def listen(
        self, memory: Memory, ctx: ServerRequestContext[Any], params: mcp.SubscriptionsListenRequestParams
    ) -> mcp.SubscriptionsListenResult:
        async with self._watching(memory) as watch:
            return await watch.listen(ctx, params)

    @asynccontextmanager
    async def _watching(self, memory: Memory) -> "AsyncIterator[Watch]":
        """The watch of this memory's user, made where there is none, gone again where nothing is watched then."""
        watch = self._watches.get(memory.user_id)
        if watch is None:
            if len(self._watches) >= MAX_USERS:
                raise MCPError(mcp.INTERNAL_ERROR, "Too many users watch for changes just now. Try again later.")
            watch = self._watches[memory.user_id] = Watch(memory, self._poll_seconds)
        watch.users += 1
        try:
            yield watch
        finally:
            watch.users -= 1
            if not watch.is_needed:
                self._drop(memory.user_id)

    def _drop(self, user_id: str) -> None:
        task = self._watches.pop(user_id).task
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _changed(self, user_id: str, _: str) -> None:
        if (watch := self._watches.get(user_id)) is not None:
            watch.moved.set()

    def _poll_seconds(self) -> float:
        return max(POLL_SECONDS, len(self._watches) / LOOKS_A_SECOND)


class Watch:
    """What is watched of one user, and who is told."""

    def __init__(self, memory: Memory, poll_seconds: Callable[[], float]) -> None:
        self._memory = memory
        self._poll_seconds = poll_seconds
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus, max_subscriptions=MAX_STREAMS)
        self._watched: Counter[str] = Counter()
        self._prints: dict[str, Any] = {}
        self._subscribed: dict[str, ServerSession] = {}
        self._legacy: ServerSession | None = None
        self.moved = asyncio.Event()
        self.users = 0
        """Requests that hold it."""
        self.task = asyncio.get_running_loop().create_task(self._run())

    @property
    def is_needed(self) -> bool:
        return bool(self.users or self._watched)

    def end_streams(self) -> None:
        self._listen.close()

    async def meet(self, session: ServerSession) -> None:
        if self._legacy is None:
            self._legacy = session
            await self._watch(LIST)

    async def subscribe(self, session: ServerSession, uri: str) -> None:
        self._check_room([uri])
        known = uri in self._subscribed
        self._subscribed[uri] = session
        if not known:
            await self._watch(uri)

    def unsubscribe(self, uri: str) -> None:
        if self._subscribed.pop(uri, None) is not None:
            self._unwatch(uri)

    async def listen(
        self, ctx: ServerRequestContext[Any], params: mcp.SubscriptionsListenRequestParams
    ) -> mcp.SubscriptionsListenResult:
        wanted = params.notifications
        uris = [str(uri) for uri in wanted.resource_subscriptions or ()]
        self._check_room(uris)
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

    def _check_room(self, uris: list[str]) -> None:
        if len(uris) > MAX_WATCHED or len({*self._watched, *uris}) > MAX_WATCHED:
            raise MCPError(mcp.INVALID_PARAMS, f"At most {MAX_WATCHED:,} resources are watched at a time. Name fewer.")

    async def _watch(self, uri: str) -> None:
        self._watched[uri] += 1
        if uri not in self._prints:
            self._prints[uri] = await self._fingerprint(uri)
        self.moved.set()  # polling may have to begin

    def _unwatch(self, uri: str) -> None:
        self._watched[uri] -= 1
        if self._watched[uri] <= 0:
            del self._watched[uri]
            self._prints.pop(uri, None)

    async def _run(self) -> None:
        version = -1
        while True:
            with contextlib.suppress(TimeoutError):
                # With nothing watched there is nothing to poll for. Not wait_for: before Python 3.12 it may lose
                # a cancellation that comes together with the event.
                async with asyncio.timeout(self._poll_seconds() if self._watched else None):
                    await self.moved.wait()
            ours = self.moved.is_set()
            self.moved.clear()
            try:
                now = await self._memory.store.data_version(self._memory.user_id)
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
