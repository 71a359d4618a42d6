"""pydantic-ai's messages through the importers' public door, as its releases have written them."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backscroll
from backscroll.errors import TranscriptError
from backscroll.importers import IMPORTERS, importer_for
from backscroll.importers.batches import Batch
from backscroll.importing import import_paths
from backscroll.memory import Memory
from builders import PNG
from hunting import examples
from importer_doors import (
    batches_of,
    last_bytes,
    messages_of,
    read_as_it_grows,
    runs_of,
    said,
    stored,
    tally_of,
    write_lines,
)

HOST = "pydantic-ai"


def at(second: int) -> str:
    return f"2026-11-23T02:{second // 60:02d}:{second % 60:02d}.500000Z"


def request(
    *parts: dict[str, Any], run: str | None = "r-1", talk: str | None = "c-1", second: int = 0
) -> dict[str, Any]:
    told = {"parts": list(parts), "timestamp": at(second), "instructions": "Be kind", "kind": "request"}
    return {**told, "run_id": run, "conversation_id": talk}


def response(
    *parts: dict[str, Any], run: str | None = "r-1", talk: str | None = "c-1", second: int = 1
) -> dict[str, Any]:
    usage = {"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 30, "details": {"reasoning_tokens": 7}}
    told = {"parts": list(parts), "usage": usage, "model_name": "shed-1", "timestamp": at(second), "kind": "response"}
    return {**told, "run_id": run, "conversation_id": talk}


def prompt(content: Any, second: int = 0) -> dict[str, Any]:
    return {"content": content, "timestamp": at(second), "part_kind": "user-prompt"}


def text(content: str) -> dict[str, Any]:
    return {"content": content, "part_kind": "text"}


def call(call_id: str, args: Any = None, kind: str = "tool-call") -> dict[str, Any]:
    return {"tool_name": "weather", "args": args or {"city": "Oslo"}, "tool_call_id": call_id, "part_kind": kind}


def result(call_id: str, content: Any, kind: str = "tool-return", **more: Any) -> dict[str, Any]:
    told = {"tool_name": "weather", "content": content, "tool_call_id": call_id, "timestamp": at(2), **more}
    return {**told, "part_kind": kind}


def a_talk(turns: int = 2) -> list[dict[str, Any]]:
    messages = []
    for n in range(turns):
        run = f"r-{n}"
        messages += [
            request(prompt(f"Question {n}", n * 9), run=run, second=n * 9),
            response(text("Looking."), call(f"c{n}"), run=run, second=n * 9 + 1),
            request(result(f"c{n}", {"sky": n}), run=run, second=n * 9 + 2),
            response(text(f"Answer {n}"), run=run, second=n * 9 + 3),
        ]
    return messages


def written(path: Path, messages: Iterable[Any]) -> Path:
    path.write_text(json.dumps(list(messages)), "utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.json"


# What messages become.


def test_a_run_holds_what_was_asked_called_found_and_answered(file: Path) -> None:
    thinking = {"content": "I should look", "signature": "x", "part_kind": "thinking"}
    system = {"content": "You are a shed.", "timestamp": at(0), "part_kind": "system-prompt"}
    written(
        file,
        [
            request(system, prompt("How is Oslo?")),
            response(thinking, text("Let me look."), call("c1"), call("c2", '{"city": "Bergen"}')),
            request(result("c1", {"sky": "blue"}, outcome="success"), result("c2", "no", outcome="failed")),
            response(text("Sunny."), second=3),
        ],
    )
    (run,) = runs_of(HOST, file)
    assert (run.session_id, run.run_id, run.status, run.model) == ("c-1", "c-1:r-1", "completed", "shed-1")
    assert run.metrics == {
        "input_tokens": 200, "output_tokens": 40, "total_tokens": 240, "cache_read_tokens": 60, "reasoning_tokens": 14,
    }  # fmt: skip
    assert said(run.messages) == [
        ("user", "How is Oslo?"),
        ("assistant", "Let me look."),
        ("tool", '{"sky":"blue"}'),
        ("tool", "no"),
        ("assistant", "Sunny."),
    ]
    _, calling, sunny, failed, _ = run.messages
    assert calling.reasoning == "I should look"
    assert [c.arguments for c in calling.tool_calls] == ['{"city":"Oslo"}', '{"city": "Bergen"}']
    assert (sunny.is_error, failed.is_error, failed.tool_name) == (False, True, "weather")


def test_what_is_sent_back_to_be_tried_again_is_a_result_or_a_word_of_the_programs(file: Path) -> None:
    retry = {"content": [{"type": "missing", "loc": ["city"]}], "tool_name": "weather", "tool_call_id": "c1"}
    plain = {"content": "Plain text is not permitted", "part_kind": "retry-prompt"}
    messages = [request(prompt("Go")), response(call("c1")), request({**retry, "part_kind": "retry-prompt"})]
    written(file, [*messages, response(text("Oslo")), request(plain), response(text("42"), second=9)])
    (run,) = runs_of(HOST, file)
    assert [(m.role, m.text, m.is_error) for m in run.messages][2:] == [
        ("tool", '[{"type":"missing","loc":["city"]}]', True),
        ("assistant", "Oslo", False),
        ("system", "Plain text is not permitted", False),
        ("assistant", "42", False),
    ]


def test_tools_of_the_provider_answer_in_the_same_message(file: Path) -> None:
    searching = call("b1", {"query": "sheds"}, kind="builtin-tool-call")
    told = result("b1", [{"title": "Sheds"}], kind="builtin-tool-return")
    written(file, [request(prompt("Go")), response(searching, told, text("Found."))])
    (run,) = runs_of(HOST, file)
    assert said(run.messages) == [("user", "Go"), ("assistant", "Found."), ("tool", '[{"title":"Sheds"}]')]
    assert (run.status, run.messages[1].tool_calls[0].tool_call_id) == ("completed", "b1")


def test_pictures_keep_their_bytes_or_their_place(file: Path) -> None:
    # pydantic writes bytes in the alphabet for URLs, and these have both letters in which the two differ.
    odd = b"\xfb\xff\xfe"
    binary = {"data": base64.urlsafe_b64encode(odd).decode().rstrip("="), "media_type": "image/png", "kind": "binary"}
    place = {"url": "https://shed.example/a.png", "media_type": "image/png", "kind": "image-url"}
    uploaded = {"file_id": "f-1", "provider_name": "openai", "kind": "uploaded-file"}
    drawn = {"content": {**binary, "data": base64.urlsafe_b64encode(PNG).decode()}, "part_kind": "file"}
    seen = ["See", binary, place, {"kind": "cache-point"}, uploaded]
    messages = [request(prompt(seen)), response(drawn, call("c1"), second=1), request(result("c1", [binary, "a shed"]))]
    (run,) = runs_of(HOST, written(file, messages))
    asked, drew, found = run.messages
    assert (asked.text, [(m.data, m.url) for m in asked.media]) == ("See", [(odd, None), (None, place["url"])])
    assert asked.payload == {"content": [uploaded]}
    assert [m.data for m in drew.media] == [PNG]
    assert (found.text, [m.data for m in found.media]) == ("a shed", [odd])


def test_older_releases_named_neither_runs_nor_talks_and_counted_by_other_names(file: Path) -> None:
    usage = {"requests": 1, "request_tokens": 50, "response_tokens": 5, "total_tokens": 55, "details": None}
    messages = [
        {"parts": [prompt("One", 0)], "kind": "request"},
        {**response(text("1"), run=None, talk=None), "usage": usage},
        {"parts": [prompt("Two", 5)], "kind": "request"},
        {**response(call("c1"), run=None, talk=None), "usage": usage},
        {"parts": [result("c1", "x"), prompt("and more", 7)], "kind": "request"},
        {**response(text("2"), run=None, talk=None), "usage": usage},
    ]
    runs = runs_of(HOST, written(file, messages))
    assert [(run.session_id, run.run_id) for run in runs] == [
        ("history", f"history:{at(0)}"),
        ("history", f"history:{at(5)}"),
    ]
    assert [(run.metrics or {})["total_tokens"] for run in runs] == [55, 110]
    assert said(runs[1].messages)[2:] == [("tool", "x"), ("user", "and more"), ("assistant", "2")]


def test_a_run_that_goes_on_without_a_prompt_is_the_same_turn(file: Path) -> None:
    messages = [request(prompt("Go")), response(call("c1")), request(result("c1", "late"), run="r-2")]
    (run,) = runs_of(HOST, written(file, [*messages, response(text("Done"), run="r-2", second=9)]))
    assert (run.run_id, run.status, len(run.messages)) == ("c-1:r-1", "completed", 4)


def test_several_talks_in_one_file_are_several_sessions(tmp_path: Path) -> None:
    talks = [
        [request(prompt(f"In {c}"), run=f"r-{c}", talk=c), response(text("Yes"), run=f"r-{c}", talk=c)] for c in "ab"
    ]
    path = write_lines(tmp_path / "talks.jsonl", [*talks, [request(prompt("Again"), run="r-c", talk="a")]])
    assert [(run.session_id, run.run_id, run.status) for run in runs_of(HOST, path)] == [
        ("a", "a:r-a", "completed"),
        ("b", "b:r-b", "completed"),
        ("a", "a:r-c", "running"),
    ]


def test_what_is_no_message_is_counted_and_stops_nothing(file: Path) -> None:
    instructions = {"content": "Be brief", "part_kind": "instruction"}
    written(
        file, [request(prompt("Go")), 7, {"kind": "response"}, request(instructions), response(text("Gone \ud83d"))]
    )
    told = tally_of(HOST, file)
    assert said(messages_of(HOST, file)) == [("user", "Go"), ("assistant", "Gone \ufffd")]
    assert ([failure.line for failure in told.failed], told.skipped, told.kept) == ([2, 3], {"instruction": 1}, 2)


# Files that grow.


@pytest.mark.parametrize("a_line_is", ["a message", "a run"])
async def test_lines_read_as_they_come_are_the_lines_read_once(
    app: backscroll.Backscroll, tmp_path: Path, a_line_is: str
) -> None:
    messages = a_talk(3)
    lines = messages if a_line_is == "a message" else [messages[n : n + 4] for n in (0, 4, 8)]
    path = write_lines(tmp_path / "talk.jsonl", lines)
    await read_as_it_grows(app, path, [*range(0, path.stat().st_size, 97), *last_bytes(path, 1)])
    assert await stored(app.memory("grown")) == await stored(app.memory("whole"))
    assert len((await stored(app.memory("whole")))[0]["messages"]) == 12


async def test_a_list_written_anew_after_each_message_adds_what_is_new(app: backscroll.Backscroll, file: Path) -> None:
    grown, whole = app.memory("grown"), app.memory("whole")
    messages = a_talk(3)
    for n in range(1, len(messages) + 1):
        report = await import_paths(grown, [written(file, messages[:n])])
        assert (report.failed, report.unchanged, report.messages) == ((), 0, 1)
    await import_paths(whole, [file])
    assert await stored(grown) == await stored(whole)


def test_a_reading_of_lines_goes_on_with_the_last_run(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "talk.jsonl", a_talk(3))
    first = batches_of(HOST, path)[-1]
    again: Batch = batches_of(HOST, path, first.offset)[-1]
    assert [run.run_id for run in again.runs] == ["c-1:r-2"]
    assert again.start == first.offset


async def test_a_list_half_written_is_read_when_it_is_whole(memory: Memory, file: Path) -> None:
    written(file, a_talk())
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    with pytest.raises(TranscriptError, match=r"not JSON.*whole\.$"):
        list(IMPORTERS[HOST].read(file, 0))
    first = await import_paths(memory, [file], format=HOST)
    file.write_bytes(whole)
    second = await import_paths(memory, [file], format=HOST)
    assert (len(first.failed), second.failed, second.runs) == (1, (), 2)


# Whose it is.


@pytest.mark.parametrize(
    ("name", "content", "is_ours"),
    [
        ("a.json", json.dumps(a_talk(1)), True),
        ("a.json", "\ufeff" + json.dumps(a_talk(1), indent=1, sort_keys=True), True),
        ("a.json", json.dumps([{"kind": "request", "parts": [prompt("Go")]}]), True),
        ("a.json", json.dumps([{"parts": ["wheel", "frame"], "kind": "bicycle"}]), False),
        ("a.json", json.dumps([{"kind": "response", "parts": []}, {"kind": "other"}]), False),
        ("a.json", "[]", False),
        ("a.json", json.dumps({"kind": "request", "parts": []}), False),
        ("a.json", '[{"parts": [', False),
        ("a.jsonl", json.dumps(a_talk(1)[0]) + "\n", True),
        ("a.jsonl", json.dumps(a_talk(1)) + "\n", True),
        ("a.jsonl", json.dumps(a_talk(1)), False),
        ("a.jsonl", '{"type":"user"}\n', False),
    ],
)
def test_a_file_is_recognised_by_its_messages(tmp_path: Path, name: str, content: str, is_ours: bool) -> None:
    path = tmp_path / name
    path.write_text(content, "utf-8")
    assert IMPORTERS[HOST].has(path) is is_ours
    if is_ours:
        assert importer_for(path).host == HOST


def test_there_is_no_usual_place_for_an_agents_messages(tmp_path: Path) -> None:
    assert list(IMPORTERS[HOST].folders({}, tmp_path)) == []


@given(content=st.binary(max_size=200), suffix=st.sampled_from([".json", ".jsonl"]))
@settings(max_examples=examples(60))
def test_whatever_the_bytes_a_reading_gives_runs_or_a_transcript_error(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"any{suffix}"
    path.write_bytes(content)
    try:
        assert batches_of(HOST, path)
    except TranscriptError as error:
        assert str(path) in str(error)


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("part_kind", "content", "args", "tool_name", "tool_call_id", "timestamp", "kind", "data", "url")
            ),
            inner
            | st.sampled_from(["user-prompt", "text", "tool-call", "tool-return", "retry-prompt", "file", "binary"]),
            max_size=6,
        )
    ),
    max_leaves=15,
)


@given(messages=st.lists(st.tuples(st.sampled_from(["request", "response"]), PARTS), min_size=1, max_size=5))
@settings(max_examples=examples(50))
def test_whatever_the_messages_hold_each_is_accounted_for(
    messages: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = [
        {"kind": kind, "parts": parts, **(parts if isinstance(parts, dict) else {})} | {"kind": kind}
        for kind, parts in messages
    ]
    path = written(tmp_path_factory.mktemp("parts") / "any.json", told)
    assert tally_of(HOST, path).lines == len(told)
    assert all(run.messages for run in runs_of(HOST, path))
