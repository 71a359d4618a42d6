"""Two users at one server, by every surface that it has: what is another's is as unknown as what never was."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import mcp_types as mcp
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

import backscroll
from backscroll import tenancy, tools
from backscroll.access import SCOPES, Scope
from builders import a_turn
from mcp_doors import a_server, complaint, said
from tenancy_doors import (
    DOORS,
    Door,
    attempts,
    everything_of,
    foreign,
    the_door,
    told,
    two_users,
    without_names,
)

TRIED_APART = {
    "ping",
    "server/discover",
    "tools/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "subscriptions/listen",
}
"""Methods that take no name, and those whose answers come later: each has a test of its own."""


@pytest.fixture(params=DOORS)
async def door(request: pytest.FixtureRequest, app: backscroll.Backscroll) -> AsyncIterator[Door]:
    async with the_door(request.param, app) as opened:
        yield opened


async def test_every_surface_is_tried(app: backscroll.Backscroll) -> None:
    """Taken from the server itself: what is added to it without a scope, or is not tried here, fails."""
    hers, _ = await two_users(app)
    tried = attempts(hers)
    async with a_server(app) as server, Client(server, mode="auto", cache=None) as client:
        served = set(server._request_handlers)
        assert served == set(tenancy.NEEDS)
        assert {method for method, _ in tried} | TRIED_APART == served
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == set(tools.NEEDS)
        assert {params["name"] for method, params in tried if method == "tools/call"} == set(listed)
        for name in ("session_id", "cursor", "agent", "project", "tool_name", "parent_run_id"):
            takes = {tool.name for tool in listed.values() if name in tool.input_schema["properties"]}
            tries = {p["name"] for m, p in tried if m == "tools/call" and name in p["arguments"]}
            assert tries, name
            if name in ("session_id", "cursor"):
                assert tries >= takes - {"list_sessions"}
        read = [params["uri"] for method, params in tried if method == "resources/read"]
        for template in (await client.list_resource_templates()).resource_templates:
            form = re.compile(re.sub(r"\{\w+\}", "[^/]+", template.uri_template))
            assert any(form.fullmatch(uri) for uri in read), template.uri_template
        prompted = {params["name"] for method, params in tried if method == "prompts/get"}
        assert {prompt.name for prompt in (await client.list_prompts()).prompts} == prompted


async def test_what_is_anothers_is_as_unknown_as_what_never_was(door: Door, app: backscroll.Backscroll) -> None:
    hers, nobodys = await two_users(app)
    before = await everything_of(app, "ada")
    async with door.client("bob") as client:
        for (method, theirs), (_, never) in zip(attempts(hers), attempts(nobodys), strict=True):
            one, other = await told(client, method, theirs), await told(client, method, never)
            assert without_names(one, hers) == without_names(other, nobodys), (method, theirs)
            assert not foreign(without_names(one, hers)), (method, theirs)
    assert await everything_of(app, "ada") == before
    assert await app.store.check() == []


async def test_at_the_same_time_each_sees_their_own(door: Door, app: backscroll.Backscroll) -> None:
    """Ada and Bob ask the same things at once, of one server, on several connections."""
    hers, _ = await two_users(app)
    reading = [
        (method, params)
        for method, params in attempts(hers)
        if method != "tools/call" or tools.NEEDS[params["name"]] == "read"
    ]
    async with door.client("ada") as ada:
        expected = {str(asked): steady(await told(ada, *asked)) for asked in reading}
    assert sum(foreign(text) for text in expected.values()) > len(reading) / 2

    async def be_ada() -> None:
        async with door.client("ada") as client:
            for asked in reading:
                assert steady(await told(client, *asked)) == expected[str(asked)], asked

    async def be_bob() -> None:
        async with door.client("bob") as client:
            for method, params in reversed(reading):
                assert not foreign(without_names(await told(client, method, params), hers)), (method, params)

    async with anyio.create_task_group() as tasks:
        for one in (be_ada, be_bob, be_ada, be_bob):
            tasks.start_soon(one)


def steady(text: str) -> str:
    """Without the nonce of a fence, and without cursors, which hold the time of their first page."""
    return re.sub(r"\b[0-9a-f]{8}\b|[\w-]{70,}", "VARIES", text)


# Notices


def watching(client: Client, *uris: str) -> AbstractAsyncContextManager[Any]:
    return client.listen(resources_list_changed=True, resource_subscriptions=uris)


@pytest.mark.parametrize("kind", ["here auto", "http auto"])
async def test_changes_are_told_to_their_user_alone(kind: str, app: backscroll.Backscroll) -> None:
    """Bob listens for what is Ada's, under her names and under his own: nothing of hers is ever told."""
    await two_users(app)
    uris = ("session://adas-own", "session://s", "session://%231/summary", "session://%232", "sessions://recent")
    async with (
        the_door(kind, app) as door,
        door.client("ada") as hers,
        door.client("bob") as his,
        watching(hers, *uris) as adas,
        watching(his, *uris) as bobs,
    ):
        said(await hers.call_tool("update_session", {"session_id": "adas-own", "title": "New"}))
        said(await hers.call_tool("record_run", {"messages": a_turn(), "session_id": "s"}))
        said(await hers.call_tool("summarize_session", {"session_id": "s", "summary": "New."}))
        with anyio.fail_after(10):
            told_ada = {await anext(adas) for _ in range(4)}
        assert len(told_ada) >= 3
        # Bob's own change comes behind all of Ada's, by the same means: nothing came before it.
        said(await his.call_tool("update_session", {"session_id": "s", "title": "Bob's"}))
        heard: set[str] = set()
        with anyio.fail_after(10):
            while len(heard) < 3:
                heard.add(str(getattr(await anext(bobs), "uri", "list")))
        assert heard == {"session://s", "session://%231/summary", "sessions://recent"}


@pytest.mark.parametrize("kind", ["here legacy", "http legacy"])
async def test_the_old_subscriptions_are_not_offered_where_no_connection_lasts(
    kind: str, app: backscroll.Backscroll
) -> None:
    async with the_door(kind, app) as door, door.client("bob") as client:
        capabilities = client.server_capabilities
        assert capabilities.resources is not None
        assert not capabilities.resources.subscribe and not capabilities.resources.list_changed
        for ask in (client.subscribe_resource, client.unsubscribe_resource):
            with pytest.warns(match="is removed"), pytest.raises(MCPError) as caught:
                await ask("session://s")
            assert caught.value.code == mcp.METHOD_NOT_FOUND
            assert "subscriptions/listen" in caught.value.message


async def test_a_watch_takes_no_more_than_its_room(app: backscroll.Backscroll) -> None:
    async with the_door("here auto", app) as door, door.client("bob") as client:
        with pytest.raises(MCPError, match="At most 1,000 resources"):
            async with watching(client, *(f"session://{n}" for n in range(1_001))):
                pass
        async with watching(client, *(f"session://{n}" for n in range(999))):
            pass


# Scopes


OF_TOOLS: dict[str, dict[str, Any]] = {
    **{name: {} for name, scope in tools.NEEDS.items() if scope == "read"},
    "record_run": {"messages": a_turn(), "session_id": "new"},
    "summarize_session": {"session_id": "s", "summary": "Mine."},
    "update_session": {"session_id": "s", "title": "Mine"},
    "fork_session": {"session_id": "s"},
    "delete_session": {"session_id": "s", "forks": "keep"},
}


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_token_lists_and_calls_what_its_scope_allows_alone(
    door: Door, app: backscroll.Backscroll, scope: Scope
) -> None:
    await two_users(app)
    async with door.client("bob", scope) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert listed == {name for name, needed in tools.NEEDS.items() if needed == scope}
        for name, arguments in OF_TOOLS.items():
            answer = await client.call_tool(name, arguments)
            if name in listed:
                said(answer)
                continue
            text = complaint(answer)
            assert f"{name} needs the scope {tools.NEEDS[name]}," in text
            # The answer hangs on the tool alone: not on what there is, nor on whether the question makes sense.
            for other in ({"session_id": "never-was"}, {"session_id": "#2"}, {"nonsense": 1}):
                assert complaint(await client.call_tool(name, other)) == text


@pytest.mark.parametrize("scope", ["write", "delete"])
async def test_without_read_no_method_shows_anything(door: Door, app: backscroll.Backscroll, scope: Scope) -> None:
    """Lists are empty, so that a host that asks for them when it starts starts well; all else is refused."""
    hers, _ = await two_users(app)
    async with door.client("bob", scope) as client:
        for method in (one for one, needed in tenancy.NEEDS.items() if needed == "read"):
            if method.endswith("/list"):
                answer = await told(client, method, {})
                assert "[]" in answer and "Bob" not in answer
            elif method == "subscriptions/listen":
                if door.era == "auto":
                    with pytest.raises(MCPError, match="needs the scope read"):
                        async with watching(client, "session://s"):
                            pass
            elif not method.startswith("resources/") or method == "resources/read":
                asked = [params for name, params in attempts(hers) if name == method]
                answers = {await told(client, method, params) for params in asked}
                assert len(answers) == 1
                assert "needs the scope read" in answers.pop()


async def test_who_may_only_write_learns_nothing_from_writing(door: Door, app: backscroll.Backscroll) -> None:
    ada = app.memory("ada")
    await two_users(app)
    async with door.client("ada", "write") as client:
        changed = await client.call_tool("update_session", {"session_id": "adas-own", "archived": False})
        forked = await client.call_tool("fork_session", {"session_id": "adas-own", "new_session_id": "f"})
        summed = await client.call_tool("summarize_session", {"session_id": "adas-own"})
        again = await client.call_tool("record_run", {"messages": a_turn(), "session_id": "adas-own"})
    for result in (changed, forked, again):
        assert not foreign(said(result)) and not foreign(str(result.structured_content))
    assert "lacks the scope read" in complaint(summed)
    assert foreign((await ada.get_session("f")).shown_title)


# What is the machine's


async def test_what_was_captured_on_the_machine_is_told_to_its_user_alone(
    door: Door, app: backscroll.Backscroll
) -> None:
    async with door.client("bob") as client:
        assert [one.uri for one in (await client.list_resources()).resources] == ["sessions://recent"]
        answers = [
            await told(client, "resources/read", {"uri": f"sessions://{name}"}) for name in ("coverage", "nothing")
        ]
        assert answers[0].replace("coverage", "nothing") == answers[1]
        assert "No resource" in answers[0]
