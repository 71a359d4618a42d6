"""Gemini CLI's chats through the importers' public door.

The real program's own files are read a second time here by a plain reading of our own, and both must agree. Those files
lie beside the repository and not in it; without them these tests skip.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backscroll
from backscroll.errors import TranscriptError
from backscroll.importers import IMPORTERS, Tally, importer_for
from backscroll.importing import import_paths
from backscroll.models import NewRun
from hunting import examples
from importer_doors import (
    SHARED,
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

HEADER = {
    "sessionId": "s-1",
    "projectHash": sha256(b"/srv/shed").hexdigest(),
    "startTime": "2026-05-01T10:00:00.000Z",
    "lastUpdated": "2026-05-01T10:00:00.000Z",
    "kind": "main",
}
NAME = "session-2026-05-01T10-00-s1.jsonl"
CONTEXT = "<session_context>\nThis is the Gemini CLI.\n- **Workspace Directories:**\n  - /srv/shed\n</session_context>"

Line = dict[str, Any]


def message(kind: str, n: int, content: Any, **more: Any) -> Line:
    return {"id": f"m-{n}", "timestamp": f"2026-05-01T10:00:{n:02d}.000Z", "type": kind, "content": content, **more}


def prompt(n: int, *texts: str) -> Line:
    return message("user", n, [{"text": text} for text in texts])


def answer(n: int, text: str = "", *calls: Line, **more: Any) -> Line:
    tokens = {"input": 100, "output": 20, "cached": 40, "thoughts": 5, "tool": 0, "total": 125}
    about = {"thoughts": [], "tokens": tokens, "model": "gemini-pear", **more}
    told = message("gemini", n, text, **about)
    return {**told, "toolCalls": list(calls)} if calls else told


def call(name: str, output: str | None = "done", status: str = "success", **more: Any) -> Line:
    response = {"error" if status == "error" else "output": output}
    result = [{"functionResponse": {"id": name, "name": "read_file", "response": response}}]
    at = "2026-05-01T10:00:30.000Z"
    told = {"id": name, "name": "read_file", "args": {"path": name}, "status": status, "timestamp": at, **more}
    return {**told, "result": result} if output is not None else told


def setting(**changes: Any) -> Line:
    return {"$set": changes}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tmp" / "shed" / "chats" / NAME


def read(path: Path, *lines: Line) -> list[NewRun]:
    return runs_of("gemini", write_lines(path, [HEADER, *lines]))


# The real program's files.


@pytest.fixture
def samples() -> list[Path]:
    found = sorted((SHARED / "gemini").rglob("*.jsonl"))
    if not found:
        pytest.skip("no sample transcripts of the real program beside the repository")
    return found


def plain_messages(path: Path) -> dict[str, Line]:
    """The messages that stand on lines of their own, each as it was last written."""
    lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    return {line["id"]: line for line in lines if "id" in line}


def test_answers_calls_and_results_agree_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        answers = [one for one in plain_messages(path).values() if one["type"] == "gemini"]
        told = messages_of("gemini", path)
        assert answers and [m.text for m in told if m.role == "assistant"] == [one["content"] for one in answers]
        records = [record for one in answers for record in one.get("toolCalls", [])]
        calls = [one for m in told for one in m.tool_calls]
        assert [(c.tool_call_id, c.tool_name, json.loads(c.arguments)) for c in calls] == [
            (record["id"], record["name"], record["args"]) for record in records
        ]
        assert [(m.tool_call_id, m.text) for m in told if m.role == "tool"] == [
            (record["id"], record["result"][0]["functionResponse"]["response"]["output"]) for record in records
        ]
        thoughts = [f"**{one['subject']}** {one['description']}" for each in answers for one in each["thoughts"]]
        assert [m.reasoning for m in told if m.reasoning] == thoughts


def test_prompts_agree_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        texts = [
            part["text"].rpartition("</hook_context>\n\n")[2]
            for one in plain_messages(path).values()
            if one["type"] == "user"
            for part in one["content"]
            if "text" in part
        ]
        typed = [text for text in texts if not text.startswith("<")]
        assert typed and [m.text for m in messages_of("gemini", path) if m.role == "user"] == typed


def test_usage_counts_once_for_each_answer(samples: list[Path]) -> None:
    for path in samples:
        spent = [one["tokens"] for one in plain_messages(path).values() if one["type"] == "gemini"]
        runs = runs_of("gemini", path)
        for ours, theirs in (
            ("input_tokens", "input"),
            ("output_tokens", "output"),
            ("cache_read_tokens", "cached"),
            ("reasoning_tokens", "thoughts"),
            ("total_tokens", "total"),
        ):
            assert sum((run.metrics or {})[ours] for run in runs) == sum(one[theirs] for one in spent)


def test_every_line_is_accounted_for(samples: list[Path]) -> None:
    for path in samples:
        assert importer_for(path).host == "gemini"
        tally = tally_of("gemini", path)
        assert tally.lines == len(path.read_bytes().splitlines())
        assert not tally.failed
        assert {run.project for run in runs_of("gemini", path)} == {"/home/dev/widget"}


async def test_a_real_file_read_as_it_grows_ends_as_one_read_whole(samples: list[Path], tmp_path: Path) -> None:
    for n, path in enumerate(samples):
        content = path.read_bytes()
        copy = tmp_path / str(n) / path.name
        copy.parent.mkdir()
        copy.write_bytes(content)
        ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
        cuts = {min(end + shift, len(content)) for end in ends for shift in (-1, 0, 1, 200)}
        async with backscroll.Backscroll(f"sqlite:///{tmp_path}/{n}.db") as app:
            await read_as_it_grows(app, copy, cuts)
            assert await stored(app.memory("grown")) == await stored(app.memory("whole"))


# Turns.


def test_a_run_begins_with_each_prompt(file: Path) -> None:
    (file.parents[1]).mkdir(parents=True)
    (file.parents[1] / ".project_root").write_text("/srv/shed\n")
    first, second = read(
        file,
        setting(messages=[message("user", 0, [{"text": CONTEXT}])]),
        prompt(1, "Is it locked?"),
        answer(2, "I look.", thoughts=[{"subject": "Plan", "description": "look"}]),
        answer(2, "I look.", call("c-1", "no lock"), call("c-2", "no key", "error")),
        message(
            "user", 3, [{"functionResponse": {"id": "c-1", "name": "read_file", "response": {"output": "no lock"}}}]
        ),
        answer(4, "It is open."),
        setting(summary="The shed"),
        message("info", 5, "Update available"),
        prompt(6, "Lock it."),
        answer(7, "", call("c-3", "[Operation Cancelled]", "cancelled")),
    )
    assert (first.session_id, first.run_id, first.status) == ("s-1", "s-1:m-1", "completed")
    assert (first.source, first.agent, first.model, first.project) == ("gemini", "gemini", "gemini-pear", "/srv/shed")
    assert said(first.messages) == [
        ("user", "Is it locked?"),
        ("assistant", "I look."),
        ("tool", "no lock"),
        ("tool", "no key"),
        ("assistant", "It is open."),
    ]
    assert [m.is_error for m in first.messages if m.role == "tool"] == [False, True]
    assert first.messages[1].reasoning == "**Plan** look"
    assert [c.arguments for c in first.messages[1].tool_calls] == ['{"path":"c-1"}', '{"path":"c-2"}']
    assert first.metrics == {
        "input_tokens": 200,
        "output_tokens": 40,
        "cache_read_tokens": 80,
        "reasoning_tokens": 10,
        "total_tokens": 250,
    }
    assert (second.run_id, second.status, second.title) == ("s-1:m-6", "cancelled", "The shed")
    tally = tally_of("gemini", file)
    assert (tally.kept, tally.skipped) == (
        6,
        {"header": 1, "$set:messages": 1, "functionResponse": 1, "$set:summary": 1, "info": 1},
    )


def test_what_hooks_and_the_host_write_into_a_prompt_is_not_talk(file: Path) -> None:
    runs = read(
        file,
        prompt(1, "<hook_context>MEMORY</hook_context>\n\nreal words", "<hook_context>more</hook_context>"),
        prompt(2, CONTEXT),
        prompt(3, "<hook_context>alone</hook_context>"),
        prompt(4, "<hook_context>not closed"),
        message("user", 5, "as plain text"),
        answer(6, "<hook_context>said by the model</hook_context>"),
    )
    assert [said(run.messages)[0][1] for run in runs] == ["real words", "<hook_context>not closed", "as plain text"]
    assert runs[-1].messages[1].text == "<hook_context>said by the model</hook_context>"
    skipped = tally_of("gemini", file).skipped
    assert (skipped["session_context"], skipped["hook_context"]) == (1, 1)


def test_pictures_and_files_come_with_the_prompt(file: Path) -> None:
    pixel = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    linked = {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/a.mp4"}}
    odd = {"hologram": 1}
    (run,) = read(file, message("user", 1, [{"text": "look"}, pixel, linked, odd]))
    asked = run.messages[0]
    assert [(one.mime_type, bool(one.data), one.url) for one in asked.media] == [
        ("image/png", True, None),
        ("video/mp4", False, "https://example.org/a.mp4"),
    ]
    assert asked.payload == {"parts": [odd]}


def test_a_turn_that_was_broken_off_is_cancelled(file: Path) -> None:
    gone = setting(messages=[message("user", 0, [{"text": CONTEXT}])])
    broken, failed, going = read(
        file, prompt(1, "one"), gone, prompt(2, "two"), message("error", 3, "quota"), prompt(4, "three")
    )
    assert [broken.status, failed.status, going.status] == ["cancelled", "error", "running"]


def test_what_was_rewound_stays_and_is_marked(file: Path) -> None:
    runs = read(
        file,
        prompt(1, "one"),
        answer(2, "first"),
        prompt(3, "two"),
        answer(4, "second"),
        {"$rewindTo": "m-1"},
        prompt(5, "one, better"),
        answer(6, "third"),
    )
    assert [said(run.messages)[0][1] for run in runs] == ["one", "two", "one, better"]
    assert [run.metadata for run in runs] == [None, {"rewound": True}, {"rewound_to": "s-1:m-1"}]


def test_resuming_repeats_nothing_and_loses_no_call(file: Path) -> None:
    called = [prompt(1, "one"), answer(2, "", call("c-1", "found")), answer(3, "So.")]
    # As the host sets its history anew: times and prompts differ, calls are parts, results stand alone.
    history = [
        message("user", 0, [{"text": CONTEXT}]),
        message("gemini", 2, [{"functionCall": {"id": "c-1", "name": "read_file", "args": {"path": "c-1"}}}]),
        {**message("user", 9, [{"functionResponse": {"id": "c-1", "response": {"output": "found"}}}]), "id": "m-2_r"},
        message("gemini", 3, [{"text": "**Plan** x", "thought": True}, {"text": "So."}]),
    ]
    once = read(file, *called, prompt(5, "two"))
    resumed = read(file, *called, HEADER, setting(sessionId="s-1"), setting(messages=history), prompt(5, "two"))
    assert resumed == once


def test_what_follows_the_run_in_progress_in_the_hosts_history_is_talk(file: Path) -> None:
    lines = [prompt(1, "one"), setting(messages=[prompt(1, "one"), answer(2, "told nowhere else")])]
    (run,) = read(file, *lines)
    assert said(run.messages) == [("user", "one"), ("assistant", "told nowhere else")]


# Answers that are written again.


def test_results_are_told_in_the_order_of_their_calls(file: Path) -> None:
    waits = call("c-1", None, "awaiting_approval")
    lines = [prompt(1, "go"), answer(2, "", waits, call("c-2", "second"))]
    (run,) = read(file, *lines)
    assert [m.text for m in run.messages if m.role == "tool"] == []
    assert run.status == "running"
    (run,) = read(file, *lines, answer(2, "", call("c-1", "first"), call("c-2", "second")))
    assert [m.text for m in run.messages if m.role == "tool"] == ["first", "second"]
    (run,) = read(file, *lines, answer(3, "Never mind."))
    assert said(run.messages)[1:] == [("assistant", ""), ("tool", "second"), ("assistant", "Never mind.")]


def test_an_answer_that_is_written_again_counts_its_tokens_once(file: Path) -> None:
    bare = {**answer(2, "Hm"), "tokens": None}
    (run,) = read(file, prompt(1, "go"), bare, answer(2, "Hm"), answer(2, "Hm, well"))
    assert said(run.messages) == [("user", "go"), ("assistant", "Hm, well")]
    assert (run.metrics or {})["total_tokens"] == 125


def test_words_that_were_replaced_are_kept_beside_the_new_ones(file: Path) -> None:
    (run,) = read(file, prompt(1, "go"), answer(2, "Yes."), answer(2, "No."), answer(2, "No."), answer(3, "Maybe."))
    assert [m.text for m in run.messages] == ["go", "Yes.", "No.", "Maybe."]


def test_a_gap_that_the_host_fills_is_no_thought(file: Path) -> None:
    filled = message("gemini", 2, [{"text": "Binary content received.", "thought": True}])
    (run,) = read(file, prompt(1, "go"), filled)
    assert said(run.messages) == [("user", "go")]


def test_a_prompt_that_stands_twice_is_told_once(file: Path) -> None:
    (run,) = read(file, prompt(1, "go"), answer(2, "a"), prompt(1, "go"), answer(3, "b"))
    assert [m.text for m in run.messages] == ["go", "a", "b"]


# What a store makes of a growing file.


def everything() -> list[Line]:
    waits = call("c-2", None, "executing")
    return [
        HEADER,
        setting(messages=[message("user", 0, [{"text": CONTEXT}])]),
        prompt(1, "<hook_context>x</hook_context>\n\none"),
        {**answer(2, "I look."), "tokens": None},
        answer(2, "I look."),
        answer(2, "I look.", call("c-1", "found"), waits),
        answer(2, "I look.", call("c-1", "found"), call("c-2", "lost", "error"), call("c-3")),
        answer(3, "So"),
        answer(3, "So it is."),
        {"$rewindTo": "m-1"},
        prompt(4, "two"),
        answer(5, "", call("c-4", "x", agentId="agent-1")),
        message("warning", 6, "slow"),
        answer(7, "Done."),
        HEADER,
        setting(messages=[message("user", 0, [{"text": CONTEXT}])]),
        prompt(8, "three"),
        answer(9, "", call("c-5", "y")),
        answer(10, "End."),
        setting(summary="The shed"),
    ]


async def test_a_file_read_as_it_grows_ends_as_one_read_whole(app: backscroll.Backscroll, file: Path) -> None:
    content = write_lines(file, everything()).read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    await read_as_it_grows(app, file, {*ends, *(end + 30 for end in ends[:-1]), *last_bytes(file, 4)})
    whole = await stored(app.memory("whole"))
    assert await stored(app.memory("grown")) == whole
    assert (len(whole[0]["messages"]), whole[0]["title"], whole[0]["project"]) == (14, "The shed", "/srv/shed")


def test_what_is_read_on_from_an_offset_is_the_last_run(file: Path) -> None:
    last = batches_of("gemini", write_lines(file, everything()))[-1]
    (again,) = runs_of("gemini", file, last.offset)
    assert (again.run_id, again.messages, again.status) == ("s-1:m-8", last.runs[-1].messages, "completed")


@st.composite
def chats(draw: st.DrawFn) -> list[Line]:
    """What the host may write: it writes its newest message again, and goes on."""
    lines, n = [HEADER], 0
    for _ in range(draw(st.integers(1, 4))):
        n += 1
        lines.append(prompt(n, f"prompt {n}"))
        for _ in range(draw(st.integers(0, 3))):
            n += 1
            lines += draw(written_again(n))
        if draw(st.booleans()):
            lines.append(draw(st.sampled_from([{"$rewindTo": "m-1"}, setting(messages=[]), message("error", n, "x")])))
    return lines


@st.composite
def written_again(draw: st.DrawFn, n: int) -> list[Line]:
    text, states = "", list[str]()
    lines = []
    for _ in range(draw(st.integers(1, 4))):
        text = draw(st.sampled_from([text, f"{text}more", "other"]))
        states = [state if state != "executing" else draw(st.sampled_from(STATES)) for state in states]
        states += draw(st.lists(st.sampled_from(STATES), max_size=2))
        calls = (
            call(f"c-{n}-{k}", None if state == "executing" else f"result {k}", state) for k, state in enumerate(states)
        )
        lines.append(answer(n, text, *calls))
    return lines


STATES = ["executing", "success", "error", "cancelled"]


@settings(max_examples=examples(20))
@given(lines=chats(), step=st.integers(1, 4))
async def test_however_a_chat_grows_nothing_that_was_told_changes(
    lines: list[Line], step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gemini")
    path = write_lines(folder / NAME, lines)
    ends = [place + 1 for place, byte in enumerate(path.read_bytes()) if byte == ord("\n")]
    async with backscroll.Backscroll(f"sqlite:///{folder}/x.db") as app:
        await read_as_it_grows(app, path, ends[::step])
        assert await stored(app.memory("grown")) == await stored(app.memory("whole"))


async def test_a_second_import_adds_nothing(app: backscroll.Backscroll, file: Path) -> None:
    memory = app.memory("ada")
    write_lines(file, everything())
    assert (await import_paths(memory, [file])).messages == 14
    again = await import_paths(memory, [file])
    assert (again.unchanged, again.messages) == (1, 0)


# Older files, sub-agents, places.


def whole_chat(path: Path, *messages: Line) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**HEADER, "summary": "The shed", "messages": messages}, indent=2), encoding="utf-8")
    return path


async def test_an_older_chat_is_one_object_that_is_written_anew(app: backscroll.Backscroll, file: Path) -> None:
    path, memory = file.with_suffix(".json"), app.memory("ada")
    lines = [
        prompt(1, "one"),
        answer(2, "", call("c-1", None, "executing"), call("c-2", "b")),
        answer(2, "", call("c-1", "a"), call("c-2", "b")),
        answer(3, "So."),
        prompt(4, "two"),
    ]
    for state in ([0], [0, 1], [0, 2], [0, 2, 3], [0, 2, 3, 4]):
        whole_chat(path, *(lines[n] for n in state))
        report = await import_paths(memory, [path])
        assert not report.failed
    (one,) = await stored(memory)
    assert [text for _, text, *_ in one["messages"]] == ["one", "", "a", "b", "So.", "two"]
    assert (one["title"], one["metrics"]["total_tokens"]) == ("The shed", 250)
    # When it is resumed the host goes on in a file of lines, which begins with what was.
    write_lines(path.with_suffix(".jsonl"), [HEADER, *(lines[n] for n in (0, 2, 3, 4)), answer(5, "More.")])
    report = await import_paths(memory, [path.parent])
    assert (report.files, report.messages, report.failed) == (1, 1, ())


def test_a_half_written_older_chat_is_refused_with_a_cure(file: Path) -> None:
    path = whole_chat(file.with_suffix(".json"), prompt(1, "one"))
    assert importer_for(path).host == "gemini"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TranscriptError, match="half written"):
        runs_of("gemini", path)


def test_a_sub_agents_chat_is_a_session_of_its_own(file: Path) -> None:
    parent = write_lines(file, [HEADER, prompt(1, "go"), answer(2, "", call("c-1", "Trees.", agentId="agent-1"))])
    (run,) = runs_of("gemini", parent)
    assert run.messages[2].payload == {"agent_session_id": "agent-1"}
    about = {**HEADER, "sessionId": "agent-1", "kind": "subagent", "directories": ["/srv/shed"]}
    child = write_lines(file.parent / "s-1" / "agent-1.jsonl", [about, prompt(1, "look north"), answer(2, "Trees.")])
    (run,) = runs_of("gemini", child)
    assert (run.session_id, run.agent, run.project) == ("agent-1", "subagent", "/srv/shed")
    assert run.session_metadata == {"parent_session_id": "s-1"}


def projects(path: Path) -> Iterator[str | None]:
    for run in runs_of("gemini", path):
        yield run.project


def test_the_project_is_found_by_note_registry_hash_or_context(tmp_path: Path) -> None:
    home = tmp_path / ".gemini"
    hashed = write_lines(home / "tmp" / HEADER["projectHash"] / "chats" / NAME, [HEADER, prompt(1, "go")])
    assert list(projects(hashed)) == [None]
    told = write_lines(
        hashed.with_name("session-b.jsonl"),
        [HEADER, setting(messages=[message("user", 0, [{"text": CONTEXT}])]), prompt(1, "go")],
    )
    assert list(projects(told)) == ["/srv/shed"]
    (home / "projects.json").write_text(json.dumps({"projects": {"/srv/barn": "barn", "/srv/shed": "shed"}}))
    assert list(projects(hashed)) == ["/srv/shed"]
    named = write_lines(home / "tmp" / "barn" / "chats" / NAME, [{**HEADER, "projectHash": "x"}, prompt(1, "go")])
    assert list(projects(named)) == ["/srv/barn"]
    (hashed.parents[1] / ".project_root").write_text("/srv/elsewhere")
    assert list(projects(hashed)) == ["/srv/elsewhere"]


def test_only_chats_are_taken_from_its_folder(tmp_path: Path) -> None:
    home = tmp_path / ".gemini" / "tmp" / "shed"
    chat = write_lines(home / "chats" / NAME, [HEADER, prompt(1, "go")])
    old = whole_chat(home / "chats" / "session-old.json", prompt(1, "go"))
    write_lines(home / "logs.json", [[{"sessionId": "s-1", "projectHash": "h", "message": "go"}]])
    write_lines(home / "checkpoint-a.json", [{"history": [], "sessionId": "s-1", "projectHash": "h"}])
    write_lines(home / "chats" / "session-x.json", [{"odd": 1}])
    gemini = IMPORTERS["gemini"]
    assert sorted(gemini.find(tmp_path)) == sorted([chat, old])
    assert list(gemini.folders({}, tmp_path)) == [tmp_path / ".gemini" / "tmp"]
    assert list(gemini.folders({"GEMINI_CLI_HOME": "/srv/h"}, tmp_path)) == [Path("/srv/h/.gemini/tmp")]


# Whatever the bytes.


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["id", "type", "content", "timestamp", "toolCalls", "tokens", "thoughts", "$set", "sessionId"])
some_lines = st.builds(
    lambda line, changed: {**line, **changed},
    st.sampled_from(everything()),
    st.dictionaries(fields, json_values, max_size=2),
)


@given(lines=st.lists(st.binary(max_size=80), max_size=5))
def test_whatever_the_lines_hold_they_are_counted(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("gemini") / NAME
    whole = [line.replace(b"\n", b" ") + b"\n" for line in lines]
    path.write_bytes((json.dumps(HEADER) + "\n").encode() + b"".join(whole))
    assert tally_of("gemini", path).lines == len(lines) + 1


@given(lines=st.lists(some_lines, max_size=8))
def test_whatever_the_fields_hold_no_line_costs_another(
    lines: list[Line], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gemini")
    path = write_lines(folder / NAME, [HEADER, *lines, {**prompt(50, "still here"), "id": "at the end"}])
    tally = tally_of("gemini", path)
    assert (tally.lines, tally.failed) == (len(lines) + 2, ())
    assert "still here" in [m.text for m in messages_of("gemini", path)]
    older = whole_chat(folder / "session-old.json", *lines)
    batch = batches_of("gemini", older)[-1]
    assert batch.settled + batch.ahead != Tally() or not lines
