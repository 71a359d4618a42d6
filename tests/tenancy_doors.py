"""The doors by which many users come to one server: in this process and over real HTTP with tokens, in both eras.

    async with the_door("http auto", app) as door, door.client("bob", "read") as client: ...

What a user may not see is Ada's: each word that she recorded holds WORD.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import mcp_types as mcp
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

import backscroll
from backscroll.access import SCOPES, Access, Scope
from backscroll.auth import keeping
from builders import assistant, call, picture, result, user
from http_doors import the_http_server
from mcp_doors import a_server

DOORS = ("here legacy", "here auto", "http legacy", "http auto")
WORD = "ADAONLY"
ADAS_PICTURE = b"\x89PNG\r\n\x1a\n" + WORD.encode()

Enter = Callable[..., AbstractAsyncContextManager[Client]]


@dataclass(frozen=True)
class Door:
    kind: str
    enter: Enter

    @property
    def era(self) -> str:
        return self.kind.split()[1]

    @property
    def over_http(self) -> bool:
        return self.kind.startswith("http")

    def client(self, user_id: str, *scopes: Scope, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A client of this user's; without `scopes` one that may read, write and delete."""
        return self.enter(user_id, frozenset(scopes or SCOPES[:3]), **options)


@asynccontextmanager
async def the_door(kind: str, app: backscroll.Backscroll, *flags: str) -> AsyncIterator[Door]:
    """One server for everybody: `here` as HTTP opens it, with an access that the test gives. `flags` go to `serve`."""
    where, era = kind.split()
    if where == "here":
        granted: dict[str, Access] = {}

        def access_of(ctx: Any) -> Access:
            return granted[ctx.session.client_params.client_info.name]

        async with a_server(app, access_of=access_of, remote=True, machine=False) as server:

            def enter(user_id: str, scopes: frozenset[Scope], **options: Any) -> AbstractAsyncContextManager[Client]:
                name = f"{user_id} {'+'.join(sorted(scopes))}"
                granted[name] = Access(user_id, scopes, name)
                info = mcp.Implementation(name=name, version="0")
                return Client(server, mode=era, cache=None, client_info=info, **options)

            yield Door(kind, enter)
        return
    async with the_http_server(app.url, *flags) as http:

        @asynccontextmanager
        async def come_in(user_id: str, scopes: frozenset[Scope], **options: Any) -> AsyncIterator[Client]:
            now = datetime.now(UTC)
            token, _ = await keeping.create(app.store.tokens, user_id, scopes, None, now=now)
            async with http.client(era, token=token, **options) as client:
                yield client

        yield Door(kind, come_in)


# What Ada has, and what it is called


async def record_adas(memory: backscroll.Memory, session_id: str, run_id: str) -> None:
    await memory.record_run(
        [
            user("", content=[{"type": "text", "text": f"{WORD} kettle"}, picture(ADAS_PICTURE)]),
            assistant(f"{WORD} looking", call("c1", f"tool_{WORD}", f'{{"path":"{WORD}"}}')),
            result("c1", f"{WORD} kettle result"),
            assistant(f"{WORD} answer"),
        ],
        session_id=session_id,
        run_id=run_id,
        title=f"{WORD} title",
        project=f"/home/{WORD}",
        agent=f"{WORD} agent",
        model=f"{WORD}-model",
        metrics={"input_tokens": 7_654_321},
        metadata={"of": WORD},
        state={"state": WORD},
    )
    await memory.summarize_session(session_id, summary=f"{WORD} summary", topics=[WORD])


@dataclass(frozen=True)
class Names:
    """What one may be called by: all of Ada's, or of the same form and nobody's."""

    session_id: str
    number: str
    own_handle: str
    """Into a session whose number the other has too."""
    handle: str
    run_id: str
    media_id: str
    agent: str
    tool: str
    project: str
    title: str
    word: str
    cursors: Mapping[str, str] = field(hash=False)


async def two_users(app: backscroll.Backscroll) -> tuple[Names, Names]:
    """Ada has s, adas-own, third and t, and a fork; Bob has s alone. Hers, and names that are nobody's."""
    ada, bob = app.memory("ada"), app.memory("bob")
    for n, session_id in enumerate(("s", "adas-own", "third", "t")):
        await record_adas(ada, session_id, f"run-{n}")
    await ada.fork_session("adas-own", new_session_id="adas-fork")
    await bob.record_run([user("Bob's kettle"), assistant("Bob's answer")], session_id="s", run_id="run-0")
    (media,) = (await ada.get_message("s", 1)).media
    pages = {
        "search_session_history": await ada.search_session_history("kettle", limit=1),
        "list_sessions": await ada.list_sessions(limit=1),
        "get_tool_call_history": await ada.get_tool_call_history(limit=1),
    }
    cursors = {name: page.next_cursor or "" for name, page in pages.items()}
    cursors["get_chat_history"] = await _a_cursor_into_a_session(ada)
    assert all(cursors.values())
    hers = Names(
        "adas-own", "#2", "#1.3", "#2.1", "run-1", media.media_id,
        f"{WORD} agent", f"tool_{WORD}", f"/home/{WORD}", f"{WORD} title", WORD, cursors,
    )  # fmt: skip
    nobodys = Names(
        "never-was", "#77", "#1.77", "#77.1", "run-77", "0" * 64,
        "NOBODY agent", "tool_NOBODY", "/home/NOBODY", "NOBODY title", "NOBODYSAID",
        dict.fromkeys(cursors, "eyJub2JvZHkiOjF9"),
    )  # fmt: skip
    return hers, nobodys


async def _a_cursor_into_a_session(ada: backscroll.Memory) -> str:
    for n in range(6):
        await ada.record_run([user(f"{WORD} and {n}" * 20), assistant("yes")], session_id="third")
    return (await ada.get_chat_history("third", max_tokens=200)).previous_cursor or ""


async def everything_of(app: backscroll.Backscroll, user_id: str) -> Any:
    """All that a user has, for comparing before and after."""
    memory = app.memory(user_id)
    listed = await memory.list_sessions(max_tokens=20_000, limit=100)
    sessions = [await memory.get_session(one.session) for one in listed.sessions]
    told = [await memory.get_messages_for_session(one.session_id) for one in sessions]
    summaries = [await memory.get_summary(one.session_id) for one in sessions]
    return sessions, told, summaries, await app.store.counts(user_id)


# What is asked


Attempt = tuple[str, dict[str, Any]]


def attempts(of: Names) -> list[Attempt]:
    """Every method, tool, template, prompt and completion that takes a name, with these; and with none."""

    def tool(name: str, **arguments: Any) -> Attempt:
        return "tools/call", {"name": name, "arguments": arguments}

    found: list[Attempt] = [("resources/list", {}), ("prompts/list", {}), ("resources/templates/list", {})]
    for form in ("text", "json"):
        found += [tool(name, format=form) for name in READING]
        found += [
            tool("search_session_history", query=f"kettle {of.word}", format=form),
            # Of words that are nearly right the right one is searched for: not where another said it.
            tool("search_session_history", query=misspelt(of.word), format=form),
            tool("get_tool_call_history", query=misspelt(of.word), format=form),
            tool("search_session_history", num_history_sessions=10, format=form),
            tool("search_session_history", query="kettle", agent=of.agent, format=form),
            tool("search_session_history", query="kettle", tool_name=of.tool, format=form),
            tool("search_session_history", query="kettle", project=of.project, format=form),
            tool("list_sessions", query=of.title, format=form),
            tool("list_sessions", query=of.session_id, format=form),
            tool("list_sessions", project=of.project, format=form),
            tool("get_tool_call_history", tool_name=of.tool, format=form),
            tool("get_tool_call_history", query=of.word, format=form),
            tool("get_chat_history", agent=of.agent, format=form),
            tool("get_session_context", agent=of.agent, format=form),
        ]
    for session in (of.session_id, of.number):
        found += [
            tool("search_session_history", query="kettle", session_id=session),
            tool("search_session_history", session_id=session, num_history_sessions=3),
            tool("get_chat_history", session_id=session),
            tool("get_tool_call_history", session_id=session),
            tool("get_session_context", session_id=session),
            tool("summarize_session", session_id=session),
            tool("summarize_session", session_id=session, summary="Mine."),
            tool("update_session", session_id=session, title="Mine", archived=True),
            tool("fork_session", session_id=session, new_session_id="stolen"),
            tool("delete_session", session_id=session),
            tool("delete_session", session_id=session, forks="delete", purge=True),
        ]
        uri = f"session://{session.replace('#', '%23')}"
        found += [("resources/read", {"uri": uri + part}) for part in ("", "/summary", "/transcript", "/messages/1")]
        found += [("prompts/get", {"name": name, "arguments": {"session": session}}) for name in PROMPTS]
    for handle in (of.own_handle, of.handle):
        found += [tool("get_chat_history", session_id=handle), tool("fork_session", session_id=handle)]
    found += [
        tool("record_run", messages=[user("Mine")], session_id=of.number),
        *(tool(name, cursor=cursor) for name, cursor in of.cursors.items()),
        tool("get_session_context", cursor=of.cursors["get_chat_history"]),
        tool("search_session_history", cursor=of.cursors["list_sessions"]),
        ("resources/read", {"uri": f"session://s/messages/{of.own_handle.partition('.')[2]}"}),
        ("resources/read", {"uri": f"media://{of.media_id}"}),
        ("resources/read", {"uri": "sessions://recent"}),
        ("resources/read", {"uri": "sessions://coverage"}),
        *(("prompts/get", {"name": name, "arguments": {"session": of.title}}) for name in PROMPTS),
        *(("prompts/get", {"name": name, "arguments": {}}) for name in PROMPTS),
    ]
    for typed in ("", "s", of.session_id, of.number, of.title, of.word, "#"):
        found += [("completion/complete", {"ref": ref, "value": typed}) for ref in ("prompt", "uri")]
    # Last, since what it records shows in the answers to all else.
    found.append(
        tool(
            "record_run",
            messages=[user("Mine")],
            session_id=f"of {of.session_id}",
            parent_run_id=of.run_id,
            run_id=f"in {of.run_id}",
        )
    )
    return found


PROMPTS = ("resume", "summarize")
READING = (
    "search_session_history", "list_sessions", "get_chat_history", "get_tool_call_history", "get_session_context",
)  # fmt: skip


def misspelt(word: str) -> str:
    return f"{word[:-2]}Q{word[-1]}"


async def ask(client: Client, method: str, params: Mapping[str, Any]) -> Any:
    """A request by its method, over the SDK's client. Raises MCPError."""
    if method == "tools/list":
        return await client.list_tools()
    if method == "tools/call":
        return await client.call_tool(params["name"], params.get("arguments", {}))
    if method == "resources/list":
        return await client.list_resources()
    if method == "resources/templates/list":
        return await client.list_resource_templates()
    if method == "resources/read":
        return await client.read_resource(params["uri"])
    if method == "prompts/list":
        return await client.list_prompts()
    if method == "prompts/get":
        return await client.get_prompt(params["name"], dict(params["arguments"]))
    assert method == "completion/complete"
    if params["ref"] == "prompt":
        return await client.complete(mcp.PromptReference(name="resume"), {"name": "session", "value": params["value"]})
    template = mcp.ResourceTemplateReference(uri="session://{session_id}")
    return await client.complete(template, {"name": "session_id", "value": params["value"]})


async def told(client: Client, method: str, params: Mapping[str, Any]) -> str:
    """All that comes back, as one text: of a refusal its code, words and data."""
    try:
        answer = await ask(client, method, params)
    except MCPError as error:
        return f"refused {error.error.model_dump_json()}"
    return str(answer.model_dump_json(exclude={"meta"}))


_VARIES = re.compile(r"#\d+(\.\d+)?|%23\d+|/messages/\d+|\brun \d+|\"run_index\":\d+|\b[0-9a-f]{8}\b")


def without_names(text: str, names: Names) -> str:
    """A text without what it was asked by, without numbers and nonces: the same for what is another's and nobody's."""
    for name in (names.session_id, names.run_id, names.media_id, names.agent, names.tool, names.project, names.title):
        text = text.replace(name, "NAME")
    # Answers repeat a word of a query where no message has it.
    for word in (names.word, misspelt(names.word)):
        text = text.replace(f"'{word}'", "NAME")
    return _VARIES.sub("NAME", text)


def foreign(text: str) -> bool:
    """Whether something of Ada's is in it."""
    return WORD.casefold() in text.casefold() or "7654321" in text or "7,654,321" in text
