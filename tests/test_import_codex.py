"""Codex's rollouts through the importers' public door.

The real program's own files are read a second time here by a plain reading of our own, and both must agree. Those files
lie beside the repository and not in it; without them these tests skip. The traps are files of our own, shaped as the
real program (0.46 to 0.169) shaped them.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backscroll
from backscroll.errors import TranscriptError
from backscroll.importers import IMPORTERS, importer_for
from backscroll.importing import import_paths
from backscroll.models import NewMessage, NewRun
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

THREAD, PARENT = "01a20312-2471-7102-bda3-46d8d71c482c", "01a20312-0000-7000-8000-000000000000"
TURN_1, TURN_2 = "01a20312-24b3-74c0-8568-d187e1ab8214", "01a20312-2e63-7591-8cff-4c07acaf1543"
NAME = f"rollout-2026-11-22T11-44-10-{THREAD}.jsonl"

Line = dict[str, Any]


def line(kind: str, payload: dict[str, Any], at: float = 0, **more: Any) -> Line:
    return {"timestamp": f"2026-11-22T11:44:{at:06.3f}Z", "type": kind, "payload": payload, **more}


def head(at: float = 0, **fields: Any) -> Line:
    about = {"id": THREAD, "timestamp": f"2026-11-22T11:44:{at:06.3f}Z", "cwd": "/srv/shed", "cli_version": "0.169.0"}
    return line("session_meta", {**about, "source": "cli", "git": {"branch": "pears"}, **fields}, at)


def event(kind: str, at: float = 0, /, **fields: Any) -> Line:
    return line("event_msg", {"type": kind, **fields}, at)


def item(kind: str, at: float = 0, /, **fields: Any) -> Line:
    return line("response_item", {"type": kind, **fields}, at)


def message(role: str, *parts: Any, at: float = 0, kinds: list[str] | None = None, **fields: Any) -> Line:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": part} if isinstance(part, str) else part for part in parts]
    if kinds is not None:
        fields["internal_chat_message_metadata_passthrough"] = {"content_item_kinds": kinds}
    return item("message", at, role=role, content=content, **fields)


def prompt(text: str, at: float = 0) -> Line:
    return message("user", text, at=at, kinds=["user.text"])


def call(call_id: str, at: float = 0, name: str = "exec_command", **arguments: Any) -> Line:
    return item("function_call", at, call_id=call_id, name=name, arguments=json.dumps(arguments))


def output(call_id: str, text: Any, at: float = 0) -> Line:
    return item("function_call_output", at, call_id=call_id, output=text)


def usage(at: float = 0, tokens: int = 100) -> Line:
    return line(
        "token_usage_record", {"usage": {"input_tokens": tokens, "output_tokens": 5, "total_tokens": tokens + 5}}, at
    )


def counted(at: float, last: int, total: int) -> Line:
    spent = {"input_tokens": last, "output_tokens": 5, "total_tokens": last + 5}
    return event("token_count", at, info={"last_token_usage": spent, "total_token_usage": {"total_tokens": total}})


def turn(turn_id: str, *lines: Line, at: float = 0, **end: Any) -> list[Line]:
    began = event("task_started", at, turn_id=turn_id)
    return [began, *lines, event("task_complete", at + 1, turn_id=turn_id, **end)]


def at_once(lines: Iterable[Line], second: float) -> list[Line]:
    """Lines as a fork copies them: in one go, under the fork's own time."""
    return [{**one, "timestamp": f"2026-11-22T11:44:{second + n / 1000:06.3f}Z"} for n, one in enumerate(lines)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / NAME


def read(path: Path, *lines: Line) -> list[NewRun]:
    return runs_of("codex", write_lines(path, lines))


# The real program's files.


@pytest.fixture
def samples() -> list[Path]:
    found = sorted((SHARED / "codex").rglob("*.jsonl"))
    if not found:
        pytest.skip("no sample transcripts of the real program beside the repository")
    return found


def plain_items(path: Path, kind: str) -> list[Line]:
    lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    found = [one for one in lines if one["type"] == "response_item" and one["payload"]["type"] == kind]
    return [one["payload"] for one in found if not one.get("metadata", {}).get("compaction_output")]


def test_what_was_said_agrees_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        heard, answered = [], []
        for one in plain_items(path, "message"):
            kinds = one["internal_chat_message_metadata_passthrough"]["content_item_kinds"]
            texts = [part["text"] for part in one["content"]]
            if one["role"] == "user":
                heard += [text for text, kind in zip(texts, kinds, strict=True) if kind == "user.text"]
            elif one["role"] == "assistant":
                answered += texts
        told = messages_of("codex", path)
        assert heard and [m.text for m in told if m.role == "user"] == heard
        assert [m.text for m in told if m.role == "assistant" and m.text] == answered
        thoughts = [part["text"] for one in plain_items(path, "reasoning") for part in one["summary"]]
        assert [m.reasoning for m in told if m.reasoning] == thoughts


def test_calls_and_results_agree_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        told = messages_of("codex", path)
        calls = [one for m in told for one in m.tool_calls]
        assert [(c.tool_call_id, c.arguments) for c in calls] == [
            (one["call_id"], one["arguments"]) for one in plain_items(path, "function_call")
        ]
        results = [(m.tool_call_id, m.text) for m in told if m.role == "tool"]
        outputs = [(one["call_id"], one["output"]) for one in plain_items(path, "function_call_output")]
        assert results == [
            (name, text if isinstance(text, str) else "\n".join(part["text"] for part in text))
            for name, text in outputs
        ]


def test_usage_agrees_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
        spent = [one["payload"]["usage"] for one in lines if one["type"] == "token_usage_record"]
        runs = runs_of("codex", path)
        for ours, theirs in (
            ("input_tokens", "input_tokens"),
            ("output_tokens", "output_tokens"),
            ("cache_read_tokens", "cached_input_tokens"),
            ("reasoning_tokens", "reasoning_output_tokens"),
            ("total_tokens", "total_tokens"),
        ):
            assert sum((run.metrics or {})[ours] for run in runs) == sum(one[theirs] for one in spent)


def test_every_line_is_accounted_for_and_nothing_injected_is_talk(samples: list[Path]) -> None:
    for path in samples:
        assert importer_for(path).host == "codex"
        tally = tally_of("codex", path)
        assert tally.lines == len(path.read_bytes().splitlines())
        assert not tally.failed
        assert not [m for m in messages_of("codex", path) if "MEMORY-CONTEXT" in m.text or "<environment" in m.text]


def test_a_real_fork_tells_its_own_turns_and_what_it_goes_on_from(samples: list[Path]) -> None:
    by_session = {run.session_id: run for path in samples for run in runs_of("codex", path)}
    fork = by_session["01a20312-9818-7332-9006-7ddda4906400"]
    assert [m.text for m in fork.messages if m.role == "user"] == ["Forked question"]
    assert (fork.session_metadata or {})["forked_from"] == THREAD
    assert "forked_from" not in (by_session[THREAD].session_metadata or {})


async def test_a_real_file_read_as_it_grows_ends_as_one_read_whole(
    url: str, samples: list[Path], tmp_path: Path
) -> None:
    for n, path in enumerate(samples):
        content = path.read_bytes()
        ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
        copy = tmp_path / str(n) / path.name
        copy.parent.mkdir()
        copy.write_bytes(content)
        cuts = {min(end + shift, len(content)) for end in ends for shift in (-1, 0, 1, 300)}
        async with backscroll.Backscroll(f"sqlite:///{tmp_path}/{n}.db") as app:
            await read_as_it_grows(app, copy, cuts)
            assert await stored(app.memory("grown")) == await stored(app.memory("whole"))


# Turns.


def test_a_run_is_a_turn_under_its_own_id(file: Path) -> None:
    first, second = read(
        file,
        head(),
        *turn(
            TURN_1,
            line("turn_context", {"model": "gpt-pear", "turn_id": TURN_1}, 1),
            message("developer", "be brief", at=1, kinds=["permissions.instructions"]),
            prompt("Is it locked?", 1),
            item("reasoning", 2, summary=[{"type": "summary_text", "text": "Hm."}], encrypted_content="gAAA"),
            message("assistant", "I look.", at=2),
            call("c-1", 2, cmd="ls"),
            call("c-2", 2, cmd="ps"),
            usage(3),
            output("c-1", "no lock", 3),
            output("c-2", "nobody", 3),
            message("assistant", "It is open.", at=4),
            usage(4, 200),
            at=1,
        ),
        *turn(TURN_2, prompt("Lock it.", 6), message("assistant", "Done.", at=7), at=6),
    )
    assert (first.session_id, first.run_id, first.status) == (THREAD, f"{THREAD}:{TURN_1}", "completed")
    assert (first.source, first.agent, first.model, first.project) == ("codex", "codex", "gpt-pear", "/srv/shed")
    assert first.session_metadata == {"host_version": "0.169.0", "git_branch": "pears", "entrypoint": "cli"}
    assert first.metrics == {"input_tokens": 300, "output_tokens": 10, "total_tokens": 310}
    assert said(first.messages) == [
        ("user", "Is it locked?"),
        ("assistant", "I look."),
        ("tool", "no lock"),
        ("tool", "nobody"),
        ("assistant", "It is open."),
    ]
    asked = first.messages[1]
    assert (asked.reasoning, [one.tool_call_id for one in asked.tool_calls]) == ("Hm.", ["c-1", "c-2"])
    assert (second.run_id, second.model) == (f"{THREAD}:{TURN_2}", None)
    assert first.started_at and first.ended_at and (first.ended_at - first.started_at).total_seconds() == 1


def test_a_prompt_that_steers_a_turn_begins_none(file: Path) -> None:
    (run,) = read(file, head(), *turn(TURN_1, prompt("go"), message("assistant", "Going."), prompt("slower")))
    assert said(run.messages) == [("user", "go"), ("assistant", "Going."), ("user", "slower")]


def test_a_prompt_after_a_turns_end_begins_the_next_though_nothing_says_so(file: Path) -> None:
    runs = read(file, head(), *turn(TURN_1, prompt("one")), prompt("two", 9))
    assert [said(run.messages) for run in runs] == [[("user", "one")], [("user", "two")]]


def test_a_turn_ends_as_the_file_says(file: Path) -> None:
    aborted = [event("task_started", turn_id=TURN_1), prompt("one"), event("turn_aborted", turn_id=TURN_1)]
    failed = turn(TURN_2, prompt("two"), error={"message": "secret", "codex_error_info": "invalid_prompt"})
    third = "01a20312-3000-7000-8000-000000000000"
    going = [event("task_started", turn_id=third), prompt("three"), message("assistant", "Well")]
    runs = read(file, head(), *aborted, *failed, *going)
    assert [run.status for run in runs] == ["cancelled", "error", "running"]
    assert [run.metadata for run in runs] == [None, {"error": "invalid_prompt"}, None]


def test_turns_that_were_taken_back_stay_and_the_next_one_says_so(file: Path) -> None:
    taken_back = event("thread_rolled_back", num_turns=1)
    first, second = read(file, head(), *turn(TURN_1, prompt("one")), taken_back, *turn(TURN_2, prompt("one, again")))
    assert (first.metadata, second.metadata) == (None, {"rolled_back_turns": 1})


def test_a_turn_too_large_to_hold_is_cut_between_tool_pairs(file: Path) -> None:
    lines = [head(), event("task_started", turn_id=TURN_1), prompt("read it all")]
    for n in range(40):
        lines += [call(f"c-{n}", at=n), output(f"c-{n}", "x" * 1_000_000, n)]
    runs = read(file, *lines, event("task_complete", turn_id=TURN_1))
    assert len(runs) == len({run.run_id for run in runs}) == 3
    assert [run.status for run in runs] == ["completed"] * 3
    for run in runs:
        called = [one.tool_call_id for m in run.messages for one in m.tool_calls]
        assert called == [m.tool_call_id for m in run.messages if m.role == "tool"]
    last = batches_of("codex", file)[-1]
    assert runs_of("codex", file, last.offset) == [runs[-1]]


# Older rollouts.


OLD = [
    head(cli_version="0.46.0", git=None),
    message("user", "<user_instructions>\nBe kind.\n</user_instructions>", at=1),
    message("user", "# AGENTS.md instructions for /srv/shed\n\n<INSTRUCTIONS>\nx\n</INSTRUCTIONS>", at=1),
    message("user", "<environment_context>\n  <cwd>/srv/shed</cwd>\n</environment_context>", at=1),
    message("user", "first", at=2),
    event("user_message", 2.001, message="first", kind="plain"),
    line("turn_context", {"cwd": "/srv/shed", "model": "gpt-old"}, 2.01),
    counted(2.5, 7, 12),
    event("agent_reasoning", 3, text="hm"),
    item("reasoning", 3, summary=[{"type": "summary_text", "text": "hm"}]),
    call("c-1", 3.1, "shell", command=["ls"]),
    counted(3.2, 10, 27),
    output("c-1", '{"output":"a\\n","metadata":{"exit_code":2,"duration_seconds":0.1}}', 3.3),
    counted(3.4, 10, 27),
    message("assistant", "done", at=4),
    counted(4.1, 20, 52),
    message("user", "second", at=9),
    message("assistant", "again", at=10),
    counted(10.1, 30, 87),
]


def test_an_older_rollout_has_a_run_for_each_prompt_and_counts_each_response_once(file: Path) -> None:
    first, second = read(file, *OLD)
    assert said(first.messages)[0] == ("user", "first")
    assert (first.status, first.model, first.metrics) == (
        "completed",
        "gpt-old",
        {"input_tokens": 30, "output_tokens": 10, "total_tokens": 40},
    )
    result = first.messages[2]
    assert (result.tool_name, result.is_error, result.duration_ms) == ("shell", True, 100)
    assert (said(second.messages), (second.metrics or {})["total_tokens"]) == (
        [("user", "second"), ("assistant", "again")],
        35,
    )
    skipped = tally_of("codex", file).skipped
    assert skipped["context:user_instructions"] == skipped["context:AGENTS.md"] == 1
    assert skipped["context:environment_context"] == 1


def test_a_rollout_that_codex_migrated_keeps_its_runs(file: Path) -> None:
    before = read(file, *OLD)
    told_of = {"message": "UserMessage", "reasoning": "Reasoning"}
    migrated: list[Line] = []
    for n, one in enumerate(OLD):
        migrated.append(one)
        if one["payload"].get("role") == "user" and "<" not in one["payload"]["content"][0]["text"]:
            # Turns are named by their place, after the prompt; the one before ends there too.
            if n > 4:
                migrated.append(event("task_complete", 9, turn_id="rollout-5"))
            migrated.append(event("task_started", 9, turn_id=f"rollout-{n}" if n > 4 else "rollout-5"))
            migrated.append(event("item_completed", 9, item={"type": told_of["message"], "id": f"item-{n}"}))
    migrated.append(event("task_complete", 11, turn_id="rollout-16"))
    after = read(file, *({**one, "ordinal": n} for n, one in enumerate(migrated)))
    assert [(run.run_id, run.messages) for run in after] == [(run.run_id, run.messages) for run in before]
    assert [run.status for run in after] == ["completed", "completed"]


def test_the_oldest_rollouts_have_bare_items(file: Path) -> None:
    bare = [one["payload"] for one in (message("user", "hi"), message("assistant", "ho"))]
    about = {
        "id": "7f9f9a2e-1b3c-4c7a-9b0e-2f4f6a8b0c1d",
        "timestamp": "2025-05-07T17:24:21.597Z",
        "instructions": None,
    }
    (run,) = runs_of("codex", write_lines(file, [about, {"record_type": "state"}, *bare]))
    assert (run.session_id, said(run.messages)) == (about["id"], [("user", "hi"), ("assistant", "ho")])
    assert {m.created_at.year for m in run.messages if m.created_at} == {2025}
    assert importer_for(file).host == "codex"


# Forks and sub-agents.


FIRST = [prompt("one", 1), message("assistant", "first", at=2)]


def test_what_an_older_fork_copied_is_not_told_again(file: Path) -> None:
    copied = at_once([head(id=PARENT), *OLD[1:]], 20.02)
    lines = [head(20, forked_from_id=PARENT), *copied, message("user", "another way", at=31)]
    (run,) = read(file, *lines, message("assistant", "so", at=32))
    assert said(run.messages) == [("user", "another way"), ("assistant", "so")]
    assert (run.session_id, (run.session_metadata or {})["forked_from"]) == (THREAD, PARENT)
    assert tally_of("codex", file).skipped["inherited"] == len(copied)


def test_a_fork_that_is_asked_at_once_tells_its_turns_by_their_age(file: Path) -> None:
    older, newer = "01a20311-0000-7000-8000-000000000001", "01a20313-0000-7000-8000-000000000001"
    copied = at_once([head(id=PARENT), *turn(older, *FIRST)], 20.01)
    own = at_once(turn(newer, prompt("two"), message("assistant", "second")), 20.05)
    (run,) = read(file, head(20, forked_from_id=PARENT), *copied, *own)
    assert (run.run_id, said(run.messages)) == (f"{THREAD}:{newer}", [("user", "two"), ("assistant", "second")])


def test_a_fork_read_while_it_is_copied_tells_no_copy(file: Path) -> None:
    copied = at_once([head(id=PARENT), *OLD[1:]], 20.02)
    lines = [head(20, forked_from_id=PARENT), *copied, message("user", "own", at=31)]
    for seen in range(1, len(lines)):
        offset = batches_of("codex", write_lines(file, lines[:seen]))[-1].offset
        assert offset == 0
        assert [said(run.messages) for run in runs_of("codex", write_lines(file, lines), offset)] == [[("user", "own")]]


def test_a_newer_fork_holds_its_own_turns_only(file: Path) -> None:
    base = {"thread_id": PARENT, "end_ordinal_exclusive": 9}
    lines = [head(forked_from_id=PARENT, history_base=base), *at_once(turn(TURN_1, *FIRST), 0.01)]
    (run,) = read(file, *lines)
    assert [m.text for m in run.messages] == ["one", "first"]


def test_a_sub_agent_is_a_child_session_without_the_context_it_was_given(file: Path) -> None:
    spawn = {"parent_thread_id": PARENT, "depth": 1, "agent_path": "/root/kid", "agent_role": "scout"}
    about = head(
        source={"subagent": {"thread_spawn": spawn}},
        forked_from_id=PARENT,
        parent_thread_id=PARENT,
        subagent_history_start_ordinal=6,
    )
    asked = item(
        "agent_message",
        author="/root",
        recipient="/root/kid",
        content=[{"type": "input_text", "text": "Look north"}, {"type": "encrypted_content", "encrypted_content": "x"}],
    )
    lines = [about, head(id=PARENT), *turn(TURN_2, *FIRST), *turn(TURN_1, asked, message("assistant", "Trees."))]
    (run,) = read(file, *({**one, "ordinal": n} for n, one in enumerate(lines)))
    assert (run.session_id, run.agent, run.title) == (THREAD, "scout", "kid")
    assert said(run.messages) == [("user", "Look north"), ("assistant", "Trees.")]
    assert run.messages[0].payload == {"origin": "/root"}
    told = run.session_metadata or {}
    assert (told["parent_session_id"], told["agent_type"], told["spawn_depth"]) == (PARENT, "scout", 1)
    assert "forked_from" not in told


def test_an_agent_that_codex_runs_for_itself_goes_by_its_name(file: Path) -> None:
    (review,) = read(file, head(source={"subagent": "review"}, parent_thread_id=PARENT), prompt("look"))
    (guard,) = read(file, head(source={"internal": "guardian"}), prompt("may it?"))
    assert (review.agent, (review.session_metadata or {})["parent_session_id"]) == ("review", PARENT)
    assert (guard.agent, (guard.session_metadata or {})["agent_type"]) == ("guardian", "guardian")


def test_the_call_that_started_a_sub_agent_names_its_session(file: Path) -> None:
    started = {"type": "CollabAgentToolCall", "id": "c-1", "tool": "spawn_agent", "status": "completed"}
    (run,) = read(
        file,
        head(),
        prompt("send a scout"),
        call("c-1", name="spawn_agent", message="north"),
        event("item_completed", item={**started, "receiver_thread_ids": ["kid-1"]}),
        output("c-1", '{"agent_id":"kid-1"}'),
        call("c-2", name="spawn_agent", message="south"),
        event(
            "item_completed",
            item={"type": "SubAgentActivity", "id": "c-2", "kind": "started", "agent_thread_id": "kid-2"},
        ),
        output("c-2", '{"task_name":"/root/kid"}'),
    )
    assert [m.payload for m in run.messages if m.role == "tool"] == [
        {"agent_session_id": "kid-1"},
        {"agent_session_id": "kid-2"},
    ]


# What was said and done.


def told(path: Path, *lines: Line) -> list[NewMessage]:
    return [m for run in read(path, head(), prompt("go"), *lines) for m in run.messages][1:]


def test_calls_of_every_kind_are_told_with_their_results(file: Path) -> None:
    messages = told(
        file,
        item("custom_tool_call", call_id="c-1", name="apply_patch", input="*** Begin Patch"),
        item("custom_tool_call_output", call_id="c-1", output="Success"),
        item("local_shell_call", call_id="c-2", action={"type": "exec", "command": ["ls"]}),
        output("c-2", "a"),
        item("web_search_call", id="ws-1", status="completed", action={"type": "search", "query": "pears"}),
        {
            **call("c-3", name="ping", q="x"),
            "payload": {**call("c-3", name="ping")["payload"], "namespace": "mcp__memo"},
        },
        output(
            "c-3",
            [{"type": "input_text", "text": "Wall time: 0.5 seconds\nOutput:"}, {"type": "input_text", "text": "pong"}],
        ),
        item("tool_search_call", call_id="c-4", execution="client", arguments={"query": "files"}),
        item("tool_search_output", call_id="c-4", status="completed", tools=[{"name": "read"}]),
    )
    calls = [(one.tool_name, one.arguments) for m in messages for one in m.tool_calls]
    assert calls == [
        ("apply_patch", "*** Begin Patch"),
        ("local_shell", '{"type":"exec","command":["ls"]}'),
        ("web_search", '{"type":"search","query":"pears"}'),
        ("mcp__memo__ping", "{}"),
        ("tool_search", '{"query":"files"}'),
    ]
    results = [(m.tool_call_id, m.tool_name, m.text) for m in messages if m.role == "tool"]
    assert results == [
        ("c-1", "apply_patch", "Success"),
        ("c-2", "local_shell", "a"),
        ("ws-1", "web_search", ""),
        ("c-3", "mcp__memo__ping", "Wall time: 0.5 seconds\nOutput:\npong"),
        ("c-4", "tool_search", '[{"name":"read"}]'),
    ]


@pytest.mark.parametrize(
    ("text", "is_error", "duration_ms"),
    [
        ("Chunk ID: ff\nWall time: 1.2500 seconds\nProcess exited with code 0\nOutput:\nx", False, 1250),
        ("Chunk ID: ff\nWall time: 0.1000 seconds\nProcess exited with code 3\nOutput:\n", True, 100),
        ("Exit code: 1\nWall time: 2 seconds\nOutput:\nno", True, 2000),
        ("I said:\nExit code: 1\n", False, None),
        ("plain", False, None),
    ],
)
def test_a_results_own_words_tell_how_it_went(file: Path, text: str, is_error: bool, duration_ms: int | None) -> None:
    *_, result = told(file, call("c-1"), output("c-1", text))
    assert (result.text, result.is_error, result.duration_ms) == (text, is_error, duration_ms)


def test_events_tell_how_long_a_call_took_and_that_it_failed(file: Path) -> None:
    ran = {"type": "CommandExecution", "id": "c-1", "status": "failed", "duration": {"secs": 1, "nanos": 500_000_000}}
    ended = {"call_id": "c-2", "exit_code": 0, "duration": {"secs": 0, "nanos": 7_000_000}}
    messages = told(
        file,
        call("c-1"),
        call("c-2"),
        event("item_completed", item=ran),
        event("exec_command_end", **ended),
        output("c-1", "x"),
        output("c-2", "y"),
    )
    assert [(m.is_error, m.duration_ms) for m in messages if m.role == "tool"] == [(True, 1500), (False, 7)]


def test_what_a_script_called_is_told_between_the_script_and_its_output(file: Path) -> None:
    ran = {
        "type": "CommandExecution",
        "id": "exec-1",
        "command": ["/bin/bash", "-lc", "ls"],
        "aggregated_output": "a\n",
    }
    asked = {"type": "McpToolCall", "id": "exec-2", "server": "memo", "tool": "ping", "arguments": {"q": "x"}}
    broke = {"content": [{"type": "text", "text": "it broke"}], "isError": True}
    messages = told(
        file,
        item("custom_tool_call", call_id="c-1", name="exec", input="await tools.exec_command({cmd: 'ls'})"),
        usage(),
        event("item_completed", item={**ran, "status": "completed", "duration": {"secs": 0, "nanos": 9_000_000}}),
        event("item_completed", item={**asked, "status": "failed", "result": broke}),
        item("custom_tool_call_output", call_id="c-1", output=[{"type": "input_text", "text": "a"}]),
        message("assistant", "Done."),
    )
    assert [(one.tool_name, one.arguments) for m in messages for one in m.tool_calls][1:] == [
        ("exec_command", '{"cmd":"ls"}'),
        ("mcp__memo__ping", '{"q":"x"}'),
    ]
    assert [(m.tool_name, m.text, m.is_error, m.duration_ms) for m in messages if m.role == "tool"] == [
        ("exec_command", "a\n", False, 9),
        ("mcp__memo__ping", "it broke", True, None),
        ("exec", "a", False, None),
    ]
    assert messages[-1].text == "Done."


def test_words_of_the_user_are_freed_of_what_surrounds_them(file: Path) -> None:
    pixel = "data:image/png;base64,iVBORw0KGgo="
    image = {"type": "input_image", "image_url": pixel}
    ide = "# Context from my IDE setup:\n\n## Active file: a.py\n\n## My request for Codex:\nFix it\n"
    shell = (
        "<user_shell_command>\n<command>\nls\n</command>\n<result>\nExit code: 0\na\n</result>\n</user_shell_command>"
    )
    runs = read(
        file,
        head(),
        message("user", ide),
        message("user", "<image name=[Image #1]>", image, "</image>", "what is this?", at=1),
        message("user", shell, at=2, kinds=["shell.user_command"]),
        message("user", "<hooked>", "typed", at=3, kinds=["hooks.additional_context", "user.text"]),
        message("user", "<turn_aborted>\nstop\n</turn_aborted>", at=4, kinds=["generic.turn_aborted"]),
        message("user", "<b>bold</b> words", at=5),
        message("user", {"type": "input_file", "file_id": "file-7"}, at=6, kinds=["user.text"]),
    )
    assert [run.messages[0].text for run in runs] == [
        "Fix it",
        "what is this?",
        "!ls\nExit code: 0\na",
        "typed",
        "<b>bold</b> words",
        "",
    ]
    (picture,) = runs[1].messages[0].media
    assert (picture.mime_type, (picture.data or b"")[:4]) == ("image/png", b"\x89PNG")
    assert runs[-1].messages[0].payload == {"parts": [{"type": "input_file", "file_id": "file-7"}]}


def test_what_a_compaction_says_to_itself_is_no_talk_but_was_paid_for(file: Path) -> None:
    answer = {**message("assistant", "Summary: pears."), "metadata": {"compaction_output": True}}
    history = line("compacted", {"message": "Summary: pears.", "replacement_history": [prompt("go")["payload"]]})
    (run,) = read(file, head(), prompt("go"), answer, usage(tokens=50), history)
    assert said(run.messages) == [("user", "go")]
    assert (run.metrics or {})["input_tokens"] == 50


def test_a_thread_is_called_what_the_user_called_it_last(tmp_path: Path) -> None:
    path = tmp_path / "sessions" / "2026" / "11" / "22" / NAME
    names = [{"id": THREAD, "thread_name": name} for name in ("Shed", " The shed ")]
    write_lines(tmp_path / "session_index.jsonl", [*names, {"id": PARENT, "thread_name": "Other"}, ["odd"]])
    (run,) = read(path, head(), prompt("go"))
    assert run.title == "The shed"


def test_lines_in_another_spacing_tell_the_same(file: Path, samples: list[Path]) -> None:
    for path in samples:
        lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
        same = runs_of("codex", write_lines(file, lines))
        assert same == runs_of("codex", path)
        spaced = tally_of("codex", file)
        assert (spaced.kept, spaced.lines) == (tally_of("codex", path).kept, tally_of("codex", path).lines)


# Growing, packed and archived files.


def everything() -> list[Line]:
    """A file with all that a growing one may show."""
    ran = {
        "type": "CommandExecution",
        "id": "exec-1",
        "command": ["ls"],
        "aggregated_output": "a\n",
        "status": "completed",
    }
    return [
        *OLD,
        *turn(
            TURN_1,
            prompt("one", 20),
            item("reasoning", 21, summary=[{"type": "summary_text", "text": "Hm."}]),
            message("assistant", "I look.", at=21),
            call("c-2", 21),
            call("c-3", 21),
            usage(22),
            event("item_completed", 22, item=ran),
            output("c-2", "x", 22),
            prompt("faster", 22),
            output("c-3", "y", 22),
            at=20,
        ),
        event("thread_rolled_back", 24, num_turns=1),
        event("task_started", 25, turn_id=TURN_2),
        line("turn_context", {"model": "gpt-pear", "turn_id": TURN_2}, 25),
        prompt("two", 26),
        item("reasoning", 27, summary=[{"type": "summary_text", "text": "Well."}]),
        message("assistant", "First words.", at=27),
        call("c-4", 27),
        usage(28),
        output("c-4", "z", 28),
        message("assistant", "Last words.", at=29),
        event("task_complete", 30, turn_id=TURN_2),
    ]


async def test_a_file_read_as_it_grows_ends_as_one_read_whole(app: backscroll.Backscroll, file: Path) -> None:
    write_lines(file, everything())
    content = file.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    await read_as_it_grows(app, file, {*ends, *(end + 40 for end in ends[:-1]), *last_bytes(file, 3)})
    whole = await stored(app.memory("whole"))
    assert await stored(app.memory("grown")) == whole
    assert len(whole[0]["messages"]) == 17


@st.composite
def rollouts(draw: st.DrawFn) -> list[Line]:
    """Turns with ids and without, in any mixture of what may stand in them."""
    lines, clock = [head()], iter(range(1, 400))
    for n in range(draw(st.integers(1, 4))):
        named = f"01a20312-24b3-74c0-8568-{n:012x}" if draw(st.booleans()) else None
        at = next(clock) / 10
        lines += [event("task_started", at, turn_id=named)] if named else []
        lines.append(prompt(f"prompt {n}", at))
        for k in range(draw(st.integers(0, 6))):
            at, call_id = next(clock) / 10, f"c-{n}-{k}"
            thought = [{"type": "summary_text", "text": f"thought {k}"}]
            ran = {"type": "CommandExecution", "id": f"exec-{n}-{k}", "command": ["ls"], "aggregated_output": "a"}
            some = [
                [item("reasoning", at, summary=thought)],
                [message("assistant", f"words {k}", at=at)],
                [call(call_id, at), call(f"{call_id}-b", at)],
                [call(call_id, at), usage(at), output(call_id, "x", at), counted(at, 7, n)],
                [event("item_completed", at, item=ran)],
                [prompt(f"faster {k}", at), counted(at, 9, k)],
                [event("thread_rolled_back", at, num_turns=1)],
            ]
            lines += draw(st.sampled_from(some))
        ends = [event("turn_aborted", at, turn_id=named), event("task_complete", at, turn_id=named), event("error", at)]
        lines += draw(st.sampled_from([[], *([end] for end in ends)]))
    return lines


@settings(max_examples=examples(20))
@given(lines=rollouts(), step=st.integers(1, 4))
async def test_however_a_rollout_grows_nothing_that_was_told_changes(
    lines: list[Line], step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("codex")
    path = write_lines(folder / NAME, lines)
    ends = [place + 1 for place, byte in enumerate(path.read_bytes()) if byte == ord("\n")]
    async with backscroll.Backscroll(f"sqlite:///{folder}/x.db") as app:
        await read_as_it_grows(app, path, ends[::step])
        assert await stored(app.memory("grown")) == await stored(app.memory("whole"))


def packed(path: Path, content: bytes) -> Path:
    library = "compression.zstd" if sys.version_info >= (3, 14) else "zstandard"
    zstd = pytest.importorskip(library, reason="the package that unpacks .zst files is not installed")
    target = path.with_name(f"{path.name}.zst")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(zstd.compress(content))
    return target


async def test_a_rollout_that_was_packed_or_archived_is_known_again(app: backscroll.Backscroll, tmp_path: Path) -> None:
    plain = write_lines(tmp_path / "sessions" / "2026" / "11" / "22" / NAME, everything())
    content = plain.read_bytes()
    archived = tmp_path / "archived_sessions" / NAME
    memory = app.memory("ada")
    first = await import_paths(memory, [tmp_path])
    assert (first.files, first.messages) == (1, 17)
    archived.parent.mkdir()
    plain.rename(archived)
    again = await import_paths(memory, [tmp_path])
    assert (again.messages, again.unchanged, again.failed) == (0, 1, ()), "the same file, moved"
    target = packed(plain, content)
    archived.unlink()
    again = await import_paths(memory, [tmp_path])
    assert (again.files, again.messages, again.duplicates, again.failed) == (1, 0, 4, ())
    assert runs_of("codex", target) == runs_of("codex", write_lines(archived, everything()))


def test_a_packed_rollout_is_read_on_in_unpacked_bytes(file: Path) -> None:
    lines = write_lines(file, everything()).read_bytes()
    target = packed(file, lines)
    last = batches_of("codex", target)[-1]
    assert last.offset == batches_of("codex", file)[-1].offset > target.stat().st_size
    (again,) = runs_of("codex", target, last.offset)
    assert (again.run_id, again.messages, again.status) == (
        last.runs[-1].run_id,
        last.runs[-1].messages,
        last.runs[-1].status,
    )
    assert not importer_for(file).has(target), "it lies beside the plain one"
    file.unlink()
    assert importer_for(target).host == "codex"


def test_a_packed_rollout_that_breaks_off_is_read_as_far_as_it_goes(file: Path) -> None:
    # Each line a frame of its own, so that a cut file can be read up to its last whole one.
    frames = []
    for one in everything():
        whole = packed(file, json.dumps(one).encode() + b"\n")
        frames.append(whole.read_bytes())
    expected = runs_of("codex", write_lines(file, everything()))
    for kept, cut in ((3, 5), (20, 9), (len(frames) - 1, 12)):
        whole.write_bytes(b"".join(frames[:kept]) + frames[kept][:cut])
        (batch,) = batches_of("codex", whole)
        assert [run.messages for run in batch.runs[:-1]] == [
            run.messages for run in expected[: max(0, len(batch.runs) - 1)]
        ]
        (failed,) = batch.ahead.failed
        assert failed == (kept + 1, "its compressed data breaks off here")
        assert batch.settled.lines + batch.ahead.lines == kept + 1
    whole.write_bytes(b"".join(frames))
    assert runs_of("codex", whole) == expected


def test_a_packed_rollout_that_is_damaged_says_where(file: Path) -> None:
    whole = packed(file, write_lines(file, everything()[:8]).read_bytes())
    whole.write_bytes(whole.read_bytes() + b"no frame at all")
    (batch,) = batches_of("codex", whole)
    assert [tuple(failed) for failed in batch.ahead.failed] == [(9, "its compressed data is damaged from here on")]
    assert said(batch.runs[0].messages) == [("user", "first")]


def test_a_packed_file_of_something_else_is_not_taken_for_a_rollout(file: Path) -> None:
    other = packed(file, b'{"id": 1}\n')
    with pytest.raises(TranscriptError, match="no transcript of a known host"):
        importer_for(other)
    other.write_bytes(b"not packed at all")
    with pytest.raises(TranscriptError, match="no transcript of a known host"):
        importer_for(other)


async def test_a_second_import_adds_nothing(app: backscroll.Backscroll, file: Path) -> None:
    memory = app.memory("ada")
    write_lines(file, everything())
    assert (await import_paths(memory, [file])).messages == 17
    again = await import_paths(memory, [file])
    assert (again.unchanged, again.messages) == (1, 0)


def test_the_places_follow_the_environment(tmp_path: Path) -> None:
    codex = IMPORTERS["codex"]
    assert list(codex.folders({}, tmp_path)) == [
        tmp_path / ".codex" / "sessions",
        tmp_path / ".codex" / "archived_sessions",
    ]
    assert next(iter(codex.folders({"CODEX_HOME": "/srv/codex"}, tmp_path))) == Path("/srv/codex/sessions")


# Whatever the bytes.


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
some_lines = st.sampled_from(everything()).flatmap(
    lambda one: st.dictionaries(st.sampled_from(["type", *one["payload"]]), json_values, max_size=2).map(
        lambda changed: {**one, "payload": {**one["payload"], **changed}}
    )
)


@given(lines=st.lists(st.binary(max_size=80), max_size=5))
def test_whatever_the_lines_hold_they_are_counted(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("codex") / NAME
    whole = [one.replace(b"\n", b" ") + b"\n" for one in lines]
    path.write_bytes((json.dumps(head()) + "\n").encode() + b"".join(whole))
    assert tally_of("codex", path).lines == len(lines) + 1


@given(
    lines=st.lists(some_lines | json_values.map(lambda value: {"type": "response_item", "payload": value}), max_size=8)
)
def test_whatever_the_fields_hold_no_line_costs_another(
    lines: list[Line], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_lines(
        tmp_path_factory.mktemp("codex") / NAME, [head(), *lines, *turn(TURN_2, prompt("still here", 50))]
    )
    tally = tally_of("codex", path)
    assert (tally.lines, tally.failed) == (len(lines) + 4, ())
    assert "still here" in [m.text for m in messages_of("codex", path)]
