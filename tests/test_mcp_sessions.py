"""Which session is meant where none is named: what hosts really send, the project, the newest."""

import json
from pathlib import Path
from typing import Any

import pytest

import backscroll
from builders import a_turn, assistant, user
from mcp_doors import ERAS, SHARED, answer_of, attached, complaint, over_stdio, said, the_server

PAYLOADS = SHARED / "samples" / "payloads"
eras = pytest.mark.parametrize("era", ERAS)

CODEX = "01a2031e-6fd6-7962-9ecc-3a545a10bcb0"
CLAUDE = "b9dfd089-6f4d-4ca2-8030-35698c2b3361"
VSCODE = "vs-conversation"
RECORDED = {"codex": CODEX, "claude": CLAUDE, "vscode": VSCODE}


@pytest.fixture(autouse=True)
def widget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the host starts the server in."""
    folder = tmp_path / "widget"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def payload(host: str) -> list[dict[str, Any]]:
    """What `host` handed to a server that wrote it down: environment and working folder, then its messages."""
    path = PAYLOADS / f"mcp-{host}.jsonl"
    if not path.exists():
        pytest.skip("the hosts' payloads are not here: they lie in shared/, beside the repository")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def meta_with(keys: dict[str, Any]) -> Any:
    """Request metadata as the client takes it, which knows only the protocol's own keys."""
    return keys


def meta_of(lines: list[dict[str, Any]]) -> Any:
    (params,) = [line["recv"]["params"] for line in lines if line.get("recv", {}).get("method") == "tools/call"]
    return {name: value for name, value in params["_meta"].items() if name != "progressToken"}


async def a_past(memory: backscroll.Memory) -> None:
    """A session of each host, and newer ones that are none of theirs."""
    for number, session_id in enumerate(RECORDED.values(), 1):
        await memory.record_run(a_turn(f"kettle {session_id}"), session_id=session_id, started_at=f"2026-01-0{number}")
    await memory.record_run(a_turn("kettle"), session_id="widget", project="/home/dev/widget", started_at="2026-02-01")
    await memory.record_run(a_turn("kettle"), session_id="newest", project="/elsewhere", started_at="2026-03-01")


LEFT_OUT = ("get_session_context", "get_chat_history", "summarize_session")
BY_HOST = "this is the session that your host is in"
BY_PROJECT = "this is the newest session of this project"
BY_TIME = "this is the newest session."


@pytest.mark.parametrize(
    ("host", "expected", "words"),
    [("claude", CLAUDE, BY_HOST), ("codex", CODEX, BY_HOST), ("gemini", "newest", BY_TIME)],
)
@eras
async def test_what_hosts_send_names_the_session(
    app: backscroll.Backscroll, era: str, monkeypatch: pytest.MonkeyPatch, host: str, expected: str, words: str
) -> None:
    lines = payload(host)
    for name, value in lines[0]["env"].items():
        monkeypatch.setenv(name, value)
    meta = meta_of(lines)
    await a_past(app.memory("ada"))
    async with attached(app, era) as client:
        for name in LEFT_OUT:
            writes = name == "summarize_session"
            result = await client.call_tool(name, {} if writes else {"format": "json"}, meta=meta)
            assert answer_of(result)["session_id"] == expected
            text = said(result if writes else await client.call_tool(name, {}, meta=meta))
            assert text.startswith("No session_id given: ")
            assert words in text
        # A named one is always the one that is meant, and then nothing is said about it.
        text = said(await client.call_tool("get_chat_history", {"session_id": VSCODE}, meta=meta))
        assert "No session_id given" not in text


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"x-codex-turn-metadata": {"session_id": CODEX, "thread_id": CODEX}}, CODEX),
        ({"x-codex-turn-metadata": {"session_id": CODEX}}, CODEX),
        ({"x-codex-turn-metadata": {"thread_id": CODEX, "session_id": "the parent's"}}, CODEX),
        ({"threadId": CODEX, "sessionId": "the parent's"}, CODEX),
        ({"sessionId": CODEX}, CODEX),
        ({"vscode.conversationId": VSCODE, "vscode.requestId": "r"}, VSCODE),
        # What says nothing of use is passed over.
        ({"threadId": None, "sessionId": 7, "vscode.conversationId": "", "x-codex-turn-metadata": "?"}, "newest"),
        ({"x-codex-turn-metadata": {"session_id": ["a"], "workspaces": 3}}, "newest"),
        ({"threadId": "#1"}, "newest"),
        # A session that is not recorded (yet).
        ({"threadId": "unknown"}, "newest"),
        # The project that Codex names.
        ({"x-codex-turn-metadata": {"workspaces": {"/home/dev/widget": {"has_changes": False}}}}, "widget"),
        ({"x-codex-turn-metadata": {"workspaces": {"/home/dev/widget": {}, "/elsewhere": {}}}}, "newest"),
    ],
)
@eras
async def test_metadata_alone_is_enough(app: backscroll.Backscroll, era: str, meta: Any, expected: str) -> None:
    await a_past(app.memory("ada"))
    async with attached(app, era) as client:
        result = await client.call_tool("get_session_context", {"format": "json"}, meta=meta)
        assert answer_of(result)["session_id"] == expected


@eras
async def test_a_request_tells_more_than_the_environment(
    app: backscroll.Backscroll, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", CLAUDE)
    await a_past(app.memory("ada"))
    async with attached(app, era) as client:
        result = await client.call_tool("get_chat_history", {"format": "json"}, meta=meta_with({"threadId": CODEX}))
        assert answer_of(result)["session_id"] == CODEX


@eras
async def test_without_a_session_the_project_decides(
    app: backscroll.Backscroll, era: str, monkeypatch: pytest.MonkeyPatch, widget: Path
) -> None:
    await a_past(app.memory("ada"))
    async with attached(app, era) as client:
        # Nothing is known of this folder yet.
        assert BY_TIME in said(await client.call_tool("get_chat_history"))
        await client.call_tool("record_run", {"messages": a_turn(), "session_id": "here", "started_at": "2026-02-02"})
        result = await client.call_tool("get_chat_history", {"format": "json"})
        assert answer_of(result)["session_id"] == "here"
        assert BY_PROJECT in said(await client.call_tool("get_chat_history"))
        monkeypatch.setenv("CLAUDE_PROJECT_DIR", "/home/dev/widget")
        result = await client.call_tool("get_chat_history", {"format": "json"})
        assert answer_of(result)["session_id"] == "widget"


@eras
async def test_the_root_and_the_home_folder_are_no_project(
    app: backscroll.Backscroll, era: str, monkeypatch: pytest.MonkeyPatch, own_folders: Path
) -> None:
    for folder in ("/", own_folders):
        monkeypatch.chdir(folder)
        async with attached(app, era) as client:
            receipt = answer_of(await client.call_tool("record_run", {"messages": a_turn()}))
        assert (await app.memory("ada").get_session(receipt["session_id"])).project is None


@eras
async def test_with_nothing_recorded_it_says_what_to_do(app: backscroll.Backscroll, era: str) -> None:
    async with attached(app, era) as client:
        for name in LEFT_OUT:
            assert "Nothing is recorded yet" in complaint(await client.call_tool(name))
        for name in ("list_sessions", "search_session_history", "get_tool_call_history"):
            assert said(await client.call_tool(name))
        assert "Nothing matches" in said(await client.call_tool("search_session_history", {"query": "kettle"}))


@eras
async def test_record_run_goes_to_the_hosts_session(app: backscroll.Backscroll, era: str) -> None:
    async with attached(app, era) as client:
        meta = meta_with({"threadId": CODEX})
        first = answer_of(await client.call_tool("record_run", {"messages": a_turn()}, meta=meta))
        again = answer_of(await client.call_tool("record_run", {"messages": a_turn()}, meta=meta))
        named = answer_of(await client.call_tool("record_run", {"messages": a_turn(), "session_id": "n"}, meta=meta))
        without = [answer_of(await client.call_tool("record_run", {"messages": a_turn()})) for _ in range(2)]
    assert (first["session_id"], first["created"], first["run_index"]) == (CODEX, True, 1)
    assert (again["session_id"], again["created"], again["run_index"]) == (CODEX, False, 2)
    assert named["session_id"] == "n"
    # Where nothing is told, each is a session of its own.
    assert len({CODEX, "n", *(one["session_id"] for one in without)}) == 4


@eras
async def test_the_current_session_is_not_the_past(app: backscroll.Backscroll, era: str) -> None:
    await a_past(app.memory("ada"))
    async with attached(app, era) as client:

        async def found(meta: Any, **arguments: Any) -> list[str]:
            asked = {**arguments, "format": "json"}
            answer = answer_of(await client.call_tool("search_session_history", asked, meta=meta))
            return [one["session_id"] for one in answer.get("hits", answer.get("sessions", []))]

        here = meta_with({"threadId": "newest"})
        assert await found(None, num_history_sessions=2) == ["newest", "widget"]
        assert await found(here, num_history_sessions=2) == ["widget", VSCODE]
        assert set(await found(here, num_history_sessions=2, query="kettle")) == {"widget", VSCODE}
        assert set(await found(here, num_history_sessions=1, query="kettle")) == {"widget"}
        # A host's word for a session that is not recorded excludes none.
        assert await found({"threadId": "unknown"}, num_history_sessions=1) == ["newest"]
        # Asked for by name, or without N, it is found all the same.
        asked = {"query": "kettle", "session_id": "newest", "format": "json"}
        assert answer_of(await client.call_tool("search_session_history", asked, meta=here))["total"] == 1
        assert "newest" in await found(here, query="kettle", limit=50)


@eras
async def test_search_listing_and_calls_take_all_sessions(app: backscroll.Backscroll, era: str) -> None:
    await a_past(app.memory("ada"))
    meta = meta_with({"threadId": CODEX})
    async with attached(app, era) as client:
        listed = answer_of(await client.call_tool("list_sessions", {"format": "json"}, meta=meta))
        assert len(listed["sessions"]) == 5
        hits = answer_of(
            await client.call_tool("search_session_history", {"query": "kettle", "format": "json"}, meta=meta)
        )
        assert len({hit["session_id"] for hit in hits["hits"]}) == 5


# The same over stdio, as the hosts do it


@pytest.mark.parametrize(("host", "expected"), [("claude", CLAUDE), ("codex", CODEX), ("gemini", "newest")])
async def test_a_hosts_own_messages_over_stdio(
    app: backscroll.Backscroll, database: Path, host: str, expected: str
) -> None:
    """Line for line what the host sent, but for the tool that it calls."""
    lines = payload(host)
    await a_past(app.memory("ada"))
    async with the_server(database, "--user", "ada", env=lines[0]["env"]) as server:
        for line in lines[1:]:
            message = line["recv"]
            if message["method"] == "tools/call":
                params = {**message["params"], "name": "get_session_context", "arguments": {"format": "json"}}
                message = {**message, "params": params}
            if "id" not in message:
                await server.send(message)
                continue
            answer = await server.ask(message)
            assert "error" not in answer
        assert answer["result"]["structuredContent"]["session_id"] == expected
        assert await server.rest() == ([], 0)


@eras
async def test_over_stdio_environment_and_metadata_are_heard(
    app: backscroll.Backscroll, era: str, database: Path, widget: Path
) -> None:
    await a_past(app.memory("ada"))
    env = {"CLAUDE_CODE_SESSION_ID": CLAUDE, "CLAUDE_PROJECT_DIR": "/home/dev/widget"}
    async with over_stdio(database, era, "--user", "ada", env=env) as client:
        result = await client.call_tool("get_chat_history", {"format": "json"})
        assert answer_of(result)["session_id"] == CLAUDE
        result = await client.call_tool("get_chat_history", {"format": "json"}, meta=meta_with({"threadId": CODEX}))
        assert answer_of(result)["session_id"] == CODEX
        messages = [user("Hello"), assistant("Hi")]
        receipt = answer_of(await client.call_tool("record_run", {"messages": messages}))
        assert receipt["session_id"] == CLAUDE
    async with over_stdio(database, era, "--user", "ada", cwd=widget) as client:
        receipt = answer_of(await client.call_tool("record_run", {"messages": a_turn()}))
    session = await app.memory("ada").get_session(receipt["session_id"])
    assert session.project == str(widget)
    async with over_stdio(database, era, "--user", "ada", "--project", "/home/dev/widget", cwd=widget) as client:
        result = await client.call_tool("get_chat_history", {"format": "json"})
        assert answer_of(result)["session_id"] == "widget"


@eras
async def test_a_session_without_a_title_is_updated_as_any_other(app: backscroll.Backscroll, era: str) -> None:
    """What comes back keeps to the schema that the tool shows: the client checks."""
    await app.memory("ada").record_run([user("hello"), assistant("hi")], session_id="s")
    async with attached(app, era) as client:
        receipt = answer_of(await client.call_tool("update_session", {"session_id": "s", "archived": True}))
    assert (receipt["archived"], "title" in receipt) == (True, False)
