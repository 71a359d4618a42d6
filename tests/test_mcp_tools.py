"""The tools as MCP shows them: what they weigh, what they say of themselves, what they take and refuse."""

import inspect
import json
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import mcp_types as mcp
import pytest
from jsonschema import Draft202012Validator
from mcp.shared.exceptions import MCPError

import backscroll
from backscroll import Memory
from backscroll.config import Settings
from backscroll.tools import definition, tools_of
from builders import a_tool_turn, a_turn
from mcp_doors import ERAS, READING, WRITING, answer_of, attached, complaint, over_stdio, said, tokens_in

pytestmark = pytest.mark.parametrize("era", ERAS)


async def definitions(app: backscroll.Backscroll, era: str, **options: Any) -> dict[str, mcp.Tool]:
    async with attached(app, era, **options) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


# What a host lists


@pytest.mark.parametrize(("profile", "names", "most"), [("recall", READING, 1_200), ("full", READING + WRITING, 3_000)])
async def test_a_profile_lists_its_tools_within_their_weight(
    app: backscroll.Backscroll, era: str, profile: str, names: tuple[str, ...], most: int
) -> None:
    tools = await definitions(app, era, profile=profile)
    assert tuple(tools) == names
    weighed = [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
        for tool in tools.values()
    ]
    assert tokens_in(json.dumps(weighed)) <= most


@pytest.mark.parametrize(("profile", "names", "most"), [("recall", READING, 1_200), ("full", READING + WRITING, 3_000)])
async def test_tools_that_name_the_user_keep_their_weight_too(
    url: str, era: str, profile: str, names: tuple[str, ...], most: int
) -> None:
    async with backscroll.Backscroll(url, Settings(multi_user=True)) as app:
        tools = await definitions(app, era, profile=profile)
        plain = {tool.name: tool for tool in map(definition, tools_of(profile))}
    assert tuple(tools) == names
    for tool in tools.values():
        shown = tool.input_schema
        assert next(iter(shown["properties"])) == shown["required"][0] == "user_id"
        assert list(shown["properties"])[1:] == list(plain[tool.name].input_schema["properties"])
        assert tool.description == plain[tool.name].description
    weighed = [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
        for tool in tools.values()
    ]
    assert tokens_in(json.dumps(weighed)) <= most


async def test_the_instructions_are_short_and_name_tools_that_are_there(app: backscroll.Backscroll, era: str) -> None:
    async with attached(app, era, profile="recall") as client:
        instructions = client.instructions or ""
    assert 0 < tokens_in(instructions) <= 150
    named = [name for name in READING + WRITING if name in instructions]
    assert named
    # The same words stand over both profiles.
    assert set(named) <= set(READING)


async def test_annotations_are_truthful(app: backscroll.Backscroll, era: str) -> None:
    tools = await definitions(app, era)
    hints = {name: tool.annotations for name, tool in tools.items()}
    assert all(hint is not None for hint in hints.values())
    assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == set(READING)
    assert {name for name, hint in hints.items() if hint and hint.destructive_hint} == {
        "update_session",
        "delete_session",
    }
    idempotent = {name for name, hint in hints.items() if hint and hint.idempotent_hint}
    assert idempotent == {*READING, "update_session", "delete_session"}
    assert not any(hint.open_world_hint for hint in hints.values() if hint)


async def test_the_tools_that_send_text_away_say_so(era: str, tmp_path: Path) -> None:
    env = {
        "BACKSCROLL_SUMMARY_BASE_URL": "http://127.0.0.1:9/v1",
        "BACKSCROLL_SUMMARY_MODEL": "small",
        "BACKSCROLL_SEMANTIC": "auto",
        "BACKSCROLL_SEMANTIC_BASE_URL": "http://127.0.0.1:9/v1",
        "BACKSCROLL_SEMANTIC_MODEL": "small",
    }
    async with over_stdio(tmp_path / "away.db", era, env=env) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    reaching = {name for name, tool in tools.items() if tool.annotations and tool.annotations.open_world_hint}
    assert reaching == {"summarize_session", "search_session_history", "record_run"}


async def test_reading_changes_nothing(app: backscroll.Backscroll, era: str) -> None:
    """What `readOnlyHint` promises."""
    memory = app.memory("ada")
    await memory.record_run(a_tool_turn(), session_id="s", title="Rome")
    before = await app.store.data_version("ada"), await app.store.counts("ada"), await memory.get_session("s")
    async with attached(app, era) as client:
        for name in READING:
            said(await client.call_tool(name, {}))
    assert (await app.store.data_version("ada"), await app.store.counts("ada"), await memory.get_session("s")) == before


# Schemas


def kinds(annotation: Any) -> set[Any]:
    """The JSON types, or the values, that a Python annotation takes."""
    members = get_args(annotation) if get_origin(annotation) in (Union, type(int | str)) else (annotation,)
    found: set[Any] = set()
    for member in members:
        origin = get_origin(member) or member
        if origin is Literal:
            found |= set(get_args(member))
        elif origin in (str, int, bool, dict):
            found.add({str: "string", int: "integer", bool: "boolean", dict: "object"}[origin])
        elif getattr(origin, "__name__", "") == "Sequence":
            found.add("array")
    return found


@pytest.mark.parametrize("name", READING + WRITING)
async def test_a_schema_is_the_signature_of_the_method(app: backscroll.Backscroll, era: str, name: str) -> None:
    schema = (await definitions(app, era))[name].input_schema
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    signature = inspect.signature(getattr(Memory, name), eval_str=True)
    parameters = {name: one for name, one in signature.parameters.items() if name != "self"}
    assert list(schema["properties"]) == list(parameters)
    assert schema.get("required", []) == [n for n, one in parameters.items() if one.default is inspect.Parameter.empty]
    for argument, parameter in parameters.items():
        told = schema["properties"][argument]
        assert set(told.get("enum", [told["type"]])) == kinds(parameter.annotation)
        if parameter.default not in (inspect.Parameter.empty, None, ""):
            assert told["default"] == parameter.default


async def test_what_writes_publishes_its_answer(app: backscroll.Backscroll, era: str) -> None:
    tools = await definitions(app, era)
    assert {name for name, tool in tools.items() if tool.output_schema is not None} == set(WRITING)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("record_run", {"messages": a_tool_turn(), "session_id": "s", "metrics": {"cost": 0.25}}),
        ("record_run", {"messages": [*a_turn("one", "two"), *a_turn("three", "four")], "session_id": "s"}),
        ("record_run", {"messages": [*a_turn("one", "two"), *a_turn("three", "four")], "session_id": "s"}),
        ("summarize_session", {"session_id": "s", "summary": "Went to Rome.", "topics": ["rome"]}),
        ("summarize_session", {}),
        ("update_session", {"session_id": "s", "title": "Rome", "state": {"a": {"b": [1, None]}}, "archived": True}),
        ("fork_session", {"session_id": "#1.2", "new_session_id": "t"}),
        ("delete_session", {"session_id": "s", "forks": "delete", "purge": True}),
    ]
    async with attached(app, era) as client:
        for name, arguments in calls:
            result = await client.call_tool(name, arguments)
            schema = tools[name].output_schema
            assert schema is not None
            Draft202012Validator.check_schema(schema)
            Draft202012Validator(schema).validate(answer_of(result))
            assert len(said(result)) < 600
    assert {name for name, _ in calls} == set(WRITING)


# What is refused


async def test_an_unknown_argument_is_refused_by_name(app: backscroll.Backscroll, era: str) -> None:
    async with attached(app, era) as client:
        for name in READING + WRITING:
            text = complaint(await client.call_tool(name, {"user_id": "bob"}))
            assert "'user_id'" in text
            assert "session_id" in text or name == "list_sessions"  # what it does take


async def test_what_is_missing_is_named(app: backscroll.Backscroll, era: str) -> None:
    async with attached(app, era) as client:
        assert "messages is required" in complaint(await client.call_tool("record_run", {}))
        for name in ("update_session", "fork_session", "delete_session"):
            assert "session_id is required" in complaint(await client.call_tool(name))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("search_session_history", {"query": ["a"]}, "query must be"),
        ("search_session_history", {"role": "robot"}, "role must be one of system, user, assistant, tool"),
        ("search_session_history", {"num_history_sessions": 0}, "num_history_sessions must be"),
        ("search_session_history", {"limit": 0}, "limit must be"),
        ("search_session_history", {"limit": 101}, "limit must be"),
        ("search_session_history", {"limit": 2**70}, "limit must be"),
        ("search_session_history", {"since": "soon"}, "since must be"),
        ("search_session_history", {"until": "99999999d"}, "until must be"),
        ("search_session_history", {"query": "x" * 100_001}, "query has 100,001 characters"),
        ("list_sessions", {"limit": "many"}, "limit must be"),
        ("list_sessions", {"max_tokens": 199}, "max_tokens must be 200 to 20,000"),
        ("list_sessions", {"max_tokens": 20_001}, "max_tokens must be 200 to 20,000"),
        ("list_sessions", {"format": "xml"}, "format must be one of text, json"),
        ("list_sessions", {"cursor": "made up"}, "cursor"),
        ("get_chat_history", {"session_id": ["s"]}, "session_id must be"),
        ("get_chat_history", {"unique": "perhaps"}, "unique must be"),
        ("get_chat_history", {"num_history_runs": -1}, "num_history_runs must be"),
        ("get_tool_call_history", {"status": "fine"}, "status must be one of ok, error, pending"),
        ("get_session_context", {"num_history_runs": 2.5}, "num_history_runs must be"),
        ("get_session_context", {"session_id": "#0"}, "No session '#0'"),
        ("get_session_context", {"session_id": "#99999999999999999999"}, "No session"),
        ("get_chat_history", {"session_id": "#1.999"}, "#1.999"),
        ("record_run", {"messages": "hello"}, "messages must be"),
        ("record_run", {"messages": ["hello"]}, "messages"),
        ("record_run", {"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ("record_run", {"messages": [{"content": "x"}]}, "role"),
        ("record_run", {"messages": a_turn(), "status": "done"}, "status must be one of running"),
        ("record_run", {"messages": a_turn(), "session_id": "#4"}, "No session '#4'"),
        ("record_run", {"messages": a_turn(), "metrics": [1]}, "metrics must be"),
        ("record_run", {"messages": a_turn(), "started_at": "noon"}, "started_at"),
        ("summarize_session", {"session_id": "s", "summary": "  "}, "summary is empty"),
        ("summarize_session", {"session_id": "s", "summary": "x", "topics": "rome"}, "topics must be"),
        ("update_session", {"session_id": "s"}, "Nothing to change"),
        ("update_session", {"session_id": "s", "state": "x"}, "state must be"),
        ("fork_session", {"session_id": "s", "new_session_id": "#5"}, "new_session_id must not begin with #"),
        ("fork_session", {"session_id": "s", "new_session_id": "s"}, "new_session_id"),
        ("delete_session", {"session_id": "s", "forks": "burn"}, "forks must be one of refuse, keep, delete"),
        ("delete_session", {"session_id": "#1.1"}, "names a message"),
    ],
)
async def test_a_wrong_value_is_refused_in_words_that_name_it(
    app: backscroll.Backscroll, era: str, name: str, arguments: dict[str, Any], words: str
) -> None:
    await app.memory("ada").record_run(a_turn("SECRETWORD", "SECRETWORD"), session_id="s")
    before = await app.store.counts("ada")
    async with attached(app, era) as client:
        text = complaint(await client.call_tool(name, arguments))
    assert words in text
    # A sentence or a few, for a reader who sees nothing else.
    assert len(text) < 500
    assert text[0] in "#" or text[0].isalpha()
    assert text[-1] == "."
    assert "SECRETWORD" not in text
    assert "Traceback" not in text
    assert "pydantic" not in text
    assert await app.store.counts("ada") == before


async def test_several_faults_are_told_at_once(app: backscroll.Backscroll, era: str) -> None:
    async with attached(app, era) as client:
        text = complaint(await client.call_tool("list_sessions", {"sesion": "x", "limit": "many"}))
    assert "'sesion'" in text
    assert "limit must be" in text


async def test_null_is_an_argument_left_out(app: backscroll.Backscroll, era: str) -> None:
    """Some hosts send null for what the model did not give."""
    await app.memory("ada").record_run(a_tool_turn(), session_id="s")
    await app.memory("ada").record_run(a_tool_turn(), session_id="to delete")
    given: dict[str, dict[str, Any]] = {
        "record_run": {"messages": a_turn()},
        "update_session": {"session_id": "s", "title": "Rome"},
        "fork_session": {"session_id": "s"},
        "delete_session": {"session_id": "to delete"},
    }
    async with attached(app, era) as client:
        for tool in (await client.list_tools()).tools:
            asked = dict.fromkeys(tool.input_schema["properties"]) | given.get(tool.name, {})
            said(await client.call_tool(tool.name, asked))
        # What is required is not optional, null or not.
        assert "session_id" in complaint(await client.call_tool("delete_session", {"session_id": None}))


async def test_a_number_may_come_as_a_float_or_text(app: backscroll.Backscroll, era: str) -> None:
    """Models write 5.0 and "5"; what is meant is plain."""
    await app.memory("ada").record_run(a_turn(), session_id="s")
    async with attached(app, era) as client:
        for limit in (5, 5.0, "5"):
            said(await client.call_tool("list_sessions", {"limit": limit}))


@pytest.mark.parametrize("profile", ["full", "recall"])
async def test_an_unknown_tool_is_a_protocol_error(app: backscroll.Backscroll, era: str, profile: str) -> None:
    async with attached(app, era, profile=profile) as client:
        for name in ("search", "get_messages_for_session", "at", "__init__", *(WRITING if profile == "recall" else ())):
            with pytest.raises(MCPError) as refused:
                await client.call_tool(name, {})
            assert refused.value.code == mcp.INVALID_PARAMS
            assert "search_session_history" in refused.value.message


async def test_a_list_has_one_page(app: backscroll.Backscroll, era: str) -> None:
    async with attached(app, era) as client:
        for ask in (client.list_tools, client.list_prompts, client.list_resources, client.list_resource_templates):
            assert (await ask()).next_cursor is None
            with pytest.raises(MCPError) as refused:
                await ask(cursor="made up")
            assert refused.value.code == mcp.INVALID_PARAMS


async def test_over_stdio_the_tools_are_the_same(app: backscroll.Backscroll, era: str, database: Any) -> None:
    for profile in ("full", "recall"):
        here = await definitions(app, era, profile=profile)
        async with over_stdio(database, era, "--profile", profile) as client:
            there = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert there == here
            assert "no argument 'user_id'" in complaint(await client.call_tool("list_sessions", {"user_id": "bob"}))
            with pytest.raises(MCPError) as refused:
                await client.call_tool("search", {})
            assert refused.value.code == mcp.INVALID_PARAMS


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (
            "search_session_history",
            {"query": "hi", "session_id": "", "since": "", "cursor": "", "role": "", "format": ""},
        ),
        ("get_session_context", {"session_id": "", "agent": None}),
        ("get_tool_call_history", {"status": "", "query": ""}),
        ("record_run", {"messages": [], "session_id": "", "parent_run_id": "", "started_at": "", "status": ""}),
        ("search_session_history", {"query": 404}),
    ],
)
async def test_empty_texts_count_as_left_out_and_numbers_as_text(
    app: backscroll.Backscroll, era: str, name: str, arguments: dict[str, Any]
) -> None:
    await app.memory("ada").record_run(a_turn("hi", "404"), session_id="s")
    async with attached(app, era) as client:
        result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
