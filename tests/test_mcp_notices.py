"""Change notices, in each era by its own means: of this process's changes, and of other processes'."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as mcp
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.client.client import Client
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated

import backscroll
from builders import a_turn
from mcp_doors import ERAS, a_server, answer_of, attached, environment, over_stdio, said

pytestmark = pytest.mark.filterwarnings("ignore:resources/.*subscribe is removed")
eras = pytest.mark.parametrize("era", ERAS)

LIST = "resources/list"
RECENT = "sessions://recent"
Attach = Callable[..., AbstractAsyncContextManager[Client]]


class Watch:
    """What a client was told of, in order."""

    def __init__(self, client: Client, told: MemoryObjectReceiveStream[str]) -> None:
        self.client = client
        self._told = told

    async def next(self) -> str:
        with anyio.fail_after(5):
            return await self._told.receive()

    async def until(self, *uris: str) -> None:
        """Wait for each of these; others between do no harm."""
        waiting = set(uris)
        with anyio.fail_after(5):
            while waiting:
                waiting.discard(await self._told.receive())

    def heard(self) -> set[str]:
        """What has arrived so far."""
        found = set()
        while True:
            try:
                found.add(self._told.receive_nowait())
            except anyio.WouldBlock:
                return found


@asynccontextmanager
async def watching(attach: Attach, era: str, *uris: str) -> AsyncIterator[Watch]:
    """A client that asked for changes of `uris` and of the list, as its era asks."""
    tell, told = anyio.create_memory_object_stream[str](1_000)

    async def on_message(message: Any) -> None:
        if isinstance(message, mcp.ResourceUpdatedNotification):
            tell.send_nowait(str(message.params.uri))
        elif isinstance(message, mcp.ResourceListChangedNotification):
            tell.send_nowait(LIST)

    with tell, told:
        if era == "legacy":
            async with attach(era=era, message_handler=on_message) as client:
                await client.list_resources()
                for uri in uris:
                    await client.subscribe_resource(uri)
                yield Watch(client, told)
            return
        async with (
            attach(era=era) as client,
            client.listen(resources_list_changed=True, resource_subscriptions=uris) as events,
            anyio.create_task_group() as tasks,
        ):

            async def listen() -> None:
                async for event in events:
                    if isinstance(event, ResourceUpdated):
                        tell.send_nowait(event.uri)
                    elif isinstance(event, ResourcesListChanged):
                        tell.send_nowait(LIST)

            tasks.start_soon(listen)
            yield Watch(client, told)
            tasks.cancel_scope.cancel()


def inside(app: backscroll.Backscroll) -> Attach:
    """As `attached`, for `watching`."""

    def attach(**options: Any) -> AbstractAsyncContextManager[Client]:
        return attached(app, options.pop("era"), **options)

    return attach


def beside(database: Path) -> Attach:
    """The same, over stdio."""

    def attach(**options: Any) -> AbstractAsyncContextManager[Client]:
        return over_stdio(database, options.pop("era"), "--user", "ada", **options)

    return attach


ELSEWHERE = """
import asyncio, json, sys
import backscroll

async def main(url, user, calls):
    async with backscroll.open(url, user_id=user) as memory:
        for name, arguments in calls:
            await getattr(memory, name)(**arguments)

asyncio.run(main(*map(json.loads, sys.argv[1:])))
"""


async def by_another_process(url: str, user: str, *calls: tuple[str, dict[str, Any]]) -> None:
    arguments = [json.dumps(one) for one in (url, user, calls)]
    await anyio.run_process([sys.executable, "-c", ELSEWHERE, *arguments], env=environment(), stderr=subprocess.PIPE)


@eras
async def test_this_processs_changes_are_told(app: backscroll.Backscroll, era: str) -> None:
    memory = app.memory("ada")
    await memory.record_run(a_turn(), session_id="s")
    await memory.record_run(a_turn(), session_id="other")
    async with watching(inside(app), era, "session://s", "session://%231/summary", RECENT) as watch:
        await watch.client.call_tool("record_run", {"messages": a_turn(), "session_id": "s"})
        await watch.until("session://s", "session://%231/summary", RECENT)
        # By the Python API just as by a tool.
        await memory.update_session("s", title="New")
        await watch.until("session://s", RECENT)
        await memory.summarize_session("s", summary="Summed up.")
        await watch.until(LIST, "session://%231/summary")
        # A change elsewhere is told where it shows: of the sessions watched, it is none.
        await memory.record_run(a_turn(), session_id="other")
        await watch.until(RECENT)
        assert not watch.heard() & {"session://s", "session://%231/summary"}
        await memory.update_session("s", title="Newer")
        await watch.until(LIST)
        await memory.delete_session("s")
        await watch.until(LIST, "session://s", RECENT)


@eras
async def test_what_does_not_exist_yet_is_told_when_it_does(app: backscroll.Backscroll, era: str) -> None:
    async with watching(inside(app), era, "session://later") as watch:
        await app.memory("ada").record_run(a_turn(), session_id="later")
        assert await watch.next() == "session://later"


@eras
async def test_another_processs_changes_are_told(app: backscroll.Backscroll, era: str, url: str) -> None:
    await app.memory("ada").record_run(a_turn(), session_id="s")
    async with watching(inside(app), era, "session://s") as watch:
        await by_another_process(
            url,
            "ada",
            ("record_run", {"messages": a_turn(), "session_id": "s"}),
            ("summarize_session", {"session_id": "s", "summary": "Summed up."}),
        )
        await watch.until("session://s", LIST)


@eras
async def test_another_users_changes_are_not_told(app: backscroll.Backscroll, era: str, url: str) -> None:
    """Nor those of a session with the same id, whoever makes them, here or elsewhere."""
    ada, bob = app.memory("ada"), app.memory("bob")
    for memory in (ada, bob):
        await memory.record_run(a_turn(), session_id="s")
    uris = ("session://s", "session://%231", "session://bobs", RECENT)
    async with watching(inside(app), era, *uris) as watch:
        await bob.record_run(a_turn(), session_id="s")
        await bob.record_run(a_turn(), session_id="bobs")
        await bob.summarize_session("s", summary="Bob's.")
        await by_another_process(
            url,
            "bob",
            ("update_session", {"session_id": "s", "title": "Bob's"}),
            ("delete_session", {"session_id": "bobs"}),
        )
        # Ada's own change comes behind all of Bob's; nothing came before it.
        await ada.update_session("s", title="Ada's")
        heard = {await watch.next()}
        await watch.until(*({"session://s", "session://%231", RECENT} - heard))
        assert not watch.heard() & {"session://bobs", LIST}


@eras
async def test_what_is_no_longer_asked_for_is_not_told(app: backscroll.Backscroll, era: str) -> None:
    memory = app.memory("ada")
    for name in ("s", "t"):
        await memory.record_run(a_turn(), session_id=name)
    if era == "legacy":
        async with watching(inside(app), era, "session://s", "session://t") as watch:
            await watch.client.unsubscribe_resource("session://s")
            await watch.client.unsubscribe_resource("session://s")
            await watch.client.unsubscribe_resource("session://never")
            await memory.update_session("s", title="New")
            await memory.update_session("t", title="New")
            assert await watch.next() == "session://t"
            assert watch.heard() == set()
        return
    async with attached(app, era) as client:
        async with client.listen(resource_subscriptions=["session://s"]):
            pass
        async with client.listen(resource_subscriptions=["session://t"]) as events:
            await memory.update_session("s", title="New")
            await memory.update_session("t", title="New")
            with anyio.fail_after(5):
                assert await anext(events) == ResourceUpdated("session://t")


@eras
async def test_subscribing_twice_tells_once_and_ends_at_once(app: backscroll.Backscroll, era: str) -> None:
    memory = app.memory("ada")
    await memory.record_run(a_turn(), session_id="s")
    async with watching(inside(app), era, "session://s", "session://s") as watch:
        await memory.update_session("s", title="New")
        assert await watch.next() == "session://s"
        assert said(await watch.client.call_tool("list_sessions"))
        assert watch.heard() == set()


@eras
async def test_a_client_that_leaves_ends_nothing_for_the_server(app: backscroll.Backscroll, era: str) -> None:
    memory = app.memory("ada")
    await memory.record_run(a_turn(), session_id="s")
    async with a_server(app) as server:

        def attach(**options: Any) -> AbstractAsyncContextManager[Client]:
            return Client(server, mode=options.pop("era"), cache=None, raise_exceptions=True, **options)

        async with watching(attach, era, "session://s"):
            pass
        await memory.update_session("s", title="While nobody listens")
        async with watching(attach, era, "session://s") as watch:
            await memory.update_session("s", title="New")
            assert await watch.next() == "session://s"


@eras
async def test_over_stdio_changes_are_told_whoever_makes_them(
    app: backscroll.Backscroll, era: str, url: str, database: Path
) -> None:
    memory = app.memory("ada")
    await memory.record_run(a_turn(), session_id="s")
    async with watching(beside(database), era, "session://s") as watch:
        # This test is another process than the server.
        await memory.record_run(a_turn(), session_id="s")
        await watch.until("session://s")
        answer_of(await watch.client.call_tool("update_session", {"session_id": "s", "title": "New"}))
        await watch.until("session://s")
        await app.memory("bob").record_run(a_turn(), session_id="s")
        await memory.summarize_session("s", summary="Summed up.")
        await watch.until(LIST)
