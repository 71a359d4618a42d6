"""A back end that is trusted with all users names one in each call: over stdio, and over HTTP with the scope act-as."""

from pathlib import Path
from typing import Any

import anyio
import mcp_types as mcp
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

import backscroll
from backscroll.config import Settings
from builders import a_turn, assistant, user
from http_doors import the_http_server
from mcp_doors import ERAS, READING, WRITING, a_server, answer_of, complaint, over_stdio, said, text_of
from tenancy_doors import DOORS, the_door

eras = pytest.mark.parametrize("era", ERAS)

USERS = ("ada", "bob", "Zoë O'Neil", "a/b?c#1", "x" * 256)
NO_USERS: tuple[Any, ...] = (
    "", "  ", None, 7, True, ["ada"], {"user": "ada"}, "x" * 257, "a\nb", "a\x00b", "a\x1b[31m", "\ud800",
)  # fmt: skip


async def serve_many(client: Client) -> None:
    """What a back end does: it records for many users at once, and reads each one's again."""

    async def record(name: str) -> None:
        for n in range(3):
            arguments = {"messages": [user(f"Tea {n} of {name}"), assistant("Noted.")], "session_id": "chat"}
            assert answer_of(await client.call_tool("record_run", {"user_id": name, **arguments}))["run_index"] == n + 1

    async with anyio.create_task_group() as tasks:
        for name in USERS:
            tasks.start_soon(record, name)
    for name in USERS:
        own = {"user_id": name}
        text = said(await client.call_tool("get_chat_history", {**own, "session_id": "#1"}))
        assert f"Tea 2 of {name}" in text
        assert not any(f"of {other}" in text for other in USERS if other not in name)
        found = answer_of(await client.call_tool("search_session_history", {**own, "query": "tea", "format": "json"}))
        assert found["total"] == 3
        assert answer_of(await client.call_tool("list_sessions", {**own, "format": "json"}))["total"] == 1
    # A cursor is of the user for whom it was made.
    page = {"query": "tea", "limit": 1, "format": "json"}
    first = answer_of(await client.call_tool("search_session_history", {"user_id": "ada", **page}))
    cursor = {"cursor": first["next_cursor"]}
    said(await client.call_tool("search_session_history", {"user_id": "ada", **cursor}))
    assert "cursor" in complaint(await client.call_tool("search_session_history", {"user_id": "bob", **cursor}))
    said(await client.call_tool("delete_session", {"user_id": "ada", "session_id": "chat"}))
    assert "No session" in complaint(await client.call_tool("get_chat_history", {"user_id": "ada", "session_id": "#1"}))
    said(await client.call_tool("get_chat_history", {"user_id": "bob", "session_id": "#1"}))


async def refuse_bad_names(client: Client) -> None:
    for name in (*READING, *WRITING):
        assert "user_id is required" in complaint(await client.call_tool(name, {"session_id": "s"}))
    for bad in NO_USERS:
        if bad == "\ud800":
            continue  # no JSON of the SDK's client carries it
        text = complaint(await client.call_tool("list_sessions", {"user_id": bad}))
        assert "user_id" in text and "\x1b" not in text


@eras
async def test_over_stdio_whoever_starts_it_names_the_users(app: backscroll.Backscroll, era: str) -> None:
    await app.memory("cleo").record_run([user("Of Cleo"), assistant("yes")], session_id="own")
    async with over_stdio(app.url, era, "--multi-user", "--user", "cleo") as client:
        for tool in (await client.list_tools()).tools:
            assert "user_id" in tool.input_schema["required"]
        await serve_many(client)
        await refuse_bad_names(client)
        # Resources and prompts have no place for a user: they are of the server's own.
        assert "Of Cleo" in text_of(await client.read_resource("session://own/transcript"))
        assert "Of Cleo" in text_of(await client.get_prompt("resume", {"session": "own"}))
        with pytest.raises(MCPError, match="No session"):
            await client.read_resource("session://chat")


@eras
async def test_the_flag_the_variable_and_their_absence(era: str, url: str) -> None:
    async def names_users(*flags: str, **env: str) -> bool:
        async with over_stdio(url, era, *flags, env=env) as client:
            tools = (await client.list_tools()).tools
            text = text_of(await client.call_tool("list_sessions", {"user_id": "ada"}))
        (named,) = {"user_id" in tool.input_schema["properties"] for tool in tools}
        assert ("no argument 'user_id'" in text) is not named
        return named

    assert await names_users("--multi-user")
    # Each has a snapshot of its own, from which the next start of its kind answers.
    assert not await names_users()
    assert await names_users("--multi-user")
    assert await names_users(BACKSCROLL_MULTI_USER="1")


@pytest.mark.parametrize("kind", DOORS)
async def test_a_token_names_users_with_act_as_alone(kind: str, url: str) -> None:
    async with (
        backscroll.Backscroll(url, Settings(semantic="off", multi_user=True)) as app,
        the_door(kind, app, "--multi-user") as door,
    ):
        async with door.client("back-end", "read", "write", "delete", "act-as") as client:
            await serve_many(client)
            await refuse_bad_names(client)
            assert (await client.list_prompts()).prompts
        async with door.client("back-end", "read", "act-as") as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == set(READING)
            arguments = {"messages": a_turn(), "session_id": "chat"}
            refusals = {
                complaint(await client.call_tool("record_run", {"user_id": name, **arguments}))
                for name in ("bob", "nobody", "")
            }
            assert len(refusals) == 1 and "needs the scope write" in refusals.pop()
        async with door.client("bob", "read", "write") as client:
            listed = (await client.list_tools()).tools
            assert not any("user_id" in tool.input_schema["properties"] for tool in listed)
            for name in (tool.name for tool in listed):
                text = complaint(await client.call_tool(name, {"user_id": "ada", "messages": [], "session_id": "#1"}))
                assert f"{name} has no argument 'user_id'" in text
            assert "of bob" in said(await client.call_tool("get_chat_history", {"session_id": "chat"}))


@pytest.mark.parametrize("kind", DOORS)
async def test_act_as_names_nobody_where_the_server_does_not_let_it(kind: str, app: backscroll.Backscroll) -> None:
    async with the_door(kind, app) as door, door.client("bob", "read", "act-as") as client:
        assert not any("user_id" in tool.input_schema["properties"] for tool in (await client.list_tools()).tools)
        assert "no argument 'user_id'" in complaint(await client.call_tool("list_sessions", {"user_id": "ada"}))
    async with the_door(kind, app) as door, door.client("bob", "act-as") as client:
        assert (await client.list_tools()).tools == []


@eras
async def test_of_many_users_none_is_in_the_servers_folder_or_session(
    era: str, app: backscroll.Backscroll, tmp_path: Path
) -> None:
    """Its environment hints at what its own user does, on its own machine."""
    hints = {"CLAUDE_CODE_SESSION_ID": "of-the-machine", "CLAUDE_PROJECT_DIR": "/of/the/machine"}
    record = {"messages": a_turn()}
    async with over_stdio(app.url, era, "--user", "own", env=hints, cwd=tmp_path) as client:
        assert answer_of(await client.call_tool("record_run", record))["session_id"] == "of-the-machine"
    async with over_stdio(app.url, era, "--multi-user", env=hints, cwd=tmp_path) as client:
        one = answer_of(await client.call_tool("record_run", {"user_id": "one", **record}))
        meta: Any = {"threadId": "told"}
        two = answer_of(await client.call_tool("record_run", {"user_id": "two", **record}, meta=meta))
    async with the_http_server(app.url, "--no-auth", "--user", "three", env=hints) as http, http.client(era) as client:
        three = answer_of(await client.call_tool("record_run", record))
        four = answer_of(await client.call_tool("record_run", record, meta=meta))
    assert "of-the-machine" not in (one["session_id"], three["session_id"])
    assert (two["session_id"], four["session_id"]) == ("told", "told")
    for name, receipt in (("one", one), ("two", two), ("three", three)):
        assert (await app.memory(name).get_session(receipt["session_id"])).project is None


@eras
async def test_without_authentication_it_is_the_machines_user_who_asks(era: str, app: backscroll.Backscroll) -> None:
    await app.memory("own").record_run([user("Of the machine"), assistant("yes")], session_id="s")
    async with the_http_server(app.url, "--no-auth", "--user", "own") as http, http.client(era) as client:
        assert "Of the machine" in said(await client.call_tool("get_chat_history"))
        uris = [one.uri for one in (await client.list_resources()).resources]
        assert uris == ["sessions://recent", "sessions://coverage"]
        assert '"hosts"' in text_of(await client.read_resource("sessions://coverage"))
        assert "no argument 'user_id'" in complaint(await client.call_tool("list_sessions", {"user_id": "ada"}))


@eras
async def test_a_reader_elsewhere_is_not_told_of_the_servers_settings(era: str, url: str) -> None:
    """Nor of its files and commands; whoever runs it is, by its log."""
    settings = Settings(semantic="off", summary_base_url="http://127.0.0.1:9/v1", summary_model="m", summary_retries=0)
    async with backscroll.Backscroll(url, settings) as app:
        await app.memory("bob").record_run(a_turn(), session_id="s")
        async with the_door(f"here {era}", app) as door, door.client("bob") as client:
            elsewhere = complaint(await client.call_tool("summarize_session", {"session_id": "s"}))
        async with a_server(app, user="bob") as server, Client(server, mode=era, cache=None) as client:
            here = complaint(await client.call_tool("summarize_session", {"session_id": "s"}))
    assert "127.0.0.1:9" in here
    assert "127.0.0.1" not in elsewhere and "BACKSCROLL_" not in elsewhere
    assert "give summary yourself" in elsewhere


async def test_a_user_that_cannot_be_one_is_refused_whatever_is_asked(app: backscroll.Backscroll) -> None:
    """As a credential from elsewhere may name one."""
    async with the_door("here auto", app) as door, door.client("x" * 600) as client:
        for asking in (client.list_tools(), client.list_resources(), client.call_tool("list_sessions")):
            with pytest.raises(MCPError, match="user_id must have") as caught:
                await asking
            assert caught.value.code == mcp.INVALID_REQUEST
