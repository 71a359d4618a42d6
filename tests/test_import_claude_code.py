"""Claude Code's transcripts through the importers' public door.

The real program's own files are read a second time here by a plain reading of our own, and both
must agree. Those files lie beside the repository and not in it; without them these tests skip.
"""

import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backscroll.errors import TranscriptError
from backscroll.importers import IMPORTERS, Batch, Tally, importer_for, transcripts
from backscroll.models import NewMessage, NewRun
from hunting import examples

FIXTURES = Path(__file__).parent / "fixtures" / "claude_code"
EVERY_TURN = FIXTURES / "every_turn.jsonl"
INLINE_AGENTS = FIXTURES / "inline_agents.jsonl"
SAMPLES = Path(__file__).parents[2] / "shared" / "samples" / "claude_code"

CLAUDE = IMPORTERS["claude-code"]


@pytest.fixture
def samples() -> list[Path]:
    found = sorted(SAMPLES.rglob("*.jsonl"))
    if not found:
        pytest.skip("no sample transcripts of the real program beside the repository")
    return found


def runs_of(path: Path, offset: int = 0) -> list[NewRun]:
    return [run for batch in CLAUDE.read(path, offset) for run in batch.runs]


def last_of(batches: Iterable[Batch]) -> Batch:
    *_, last = batches
    return last


def whole_tally(batches: list[Batch]) -> Tally:
    return sum((batch.settled for batch in batches), Tally()) + batches[-1].ahead


def a_line(kind: str = "user", **fields: Any) -> dict[str, Any]:
    number = fields.pop("at", 0)
    return {
        "type": kind,
        "uuid": f"id-{number}",
        "parentUuid": None,
        "isSidechain": False,
        "sessionId": "s-1",
        "cwd": "/srv/shed",
        "timestamp": f"2026-05-01T10:00:{number:02d}.500Z",
        **fields,
    }


def a_prompt(text: Any, at: int = 0, **fields: Any) -> dict[str, Any]:
    return a_line(at=at, message={"role": "user", "content": text}, **fields)


def an_answer(*blocks: dict[str, Any], at: int = 1, **fields: Any) -> dict[str, Any]:
    message = {"id": fields.pop("message_id", f"msg-{at}"), "model": "claude-shed-1", "content": list(blocks)}
    for name in ("stop_reason", "usage"):
        if name in fields:
            message[name] = fields.pop(name)
    return a_line("assistant", at=at, message=message, **fields)


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def a_call(tool_call_id: str, name: str = "Bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_call_id, "name": name, "input": arguments}


def a_result(tool_call_id: str, content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": tool_call_id, "content": content}


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "s-1.jsonl"


# A store's rules, in short: what is stored again must be the same and more.


def store(into: dict[str, NewRun], runs: Iterable[NewRun]) -> None:
    for run in runs:
        assert run.run_id
        known = into.get(run.run_id)
        if known:
            assert run.session_id == known.session_id
            growing = last_answer(known) if known.status == "running" else None
            assert len(run.messages) >= len(known.messages)
            for place, (old, new) in enumerate(zip(known.messages, run.messages, strict=False)):
                assert grew(old, new) if place == growing else old == new
        into[run.run_id] = run


def last_answer(run: NewRun) -> int | None:
    places = [place for place, message in enumerate(run.messages) if message.role == "assistant"]
    return places[-1] if places else None


def grew(old: NewMessage, new: NewMessage) -> bool:
    return (
        new.text.startswith(old.text)
        and new.reasoning.startswith(old.reasoning)
        and new.tool_calls[: len(old.tool_calls)] == old.tool_calls
    )


# Against a plain reading of the same file.


def plain_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def plain_blocks(lines: list[dict[str, Any]], role: str, kind: str) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line["type"] == role and not line.get("isMeta") and not line.get("isCompactSummary"):
            content = line["message"]["content"]
            for block in [words(content)] if isinstance(content, str) else content:
                if block["type"] == kind:
                    yield block


def test_answers_agree_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        lines = plain_lines(path)
        texts: dict[str, list[str]] = {}
        for line in lines:
            if line["type"] == "assistant":
                message = line["message"]
                said = texts.setdefault(message["id"], [])
                said += [block["text"] for block in message["content"] if block["type"] == "text"]
        answers = [m for run in runs_of(path) for m in run.messages if m.role == "assistant"]
        assert [m.text for m in answers] == ["\n\n".join(said) for said in texts.values()]


def test_tool_calls_and_results_agree_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        lines = plain_lines(path)
        uses = list(plain_blocks(lines, "assistant", "tool_use"))
        names = {use["id"]: use["name"] for use in uses}
        messages = [m for run in runs_of(path) for m in run.messages]
        calls = [call for m in messages for call in m.tool_calls]
        assert [(c.tool_call_id, c.tool_name, json.loads(c.arguments)) for c in calls] == [
            (use["id"], use["name"], use["input"]) for use in uses
        ]
        expected = []
        for block in plain_blocks(lines, "user", "tool_result"):
            content = block["content"]
            text = content if isinstance(content, str) else "\n\n".join(part["text"] for part in content)
            call_id = block["tool_use_id"]
            expected.append((call_id, names[call_id], text, block.get("is_error", False)))
        results = [m for m in messages if m.role == "tool"]
        assert [(m.tool_call_id, m.tool_name, m.text, m.is_error) for m in results] == expected


def test_prompts_agree_with_a_plain_reading(samples: list[Path]) -> None:
    for path in samples:
        texts = [block["text"] for block in plain_blocks(plain_lines(path), "user", "text")]
        typed = [text for text in texts if not text.startswith("<")]
        heard = [m.text for run in runs_of(path) for m in run.messages if m.role == "user"]
        assert [text for text in heard if not text.startswith("/")] == typed


def test_usage_counts_once_for_each_answer(samples: list[Path]) -> None:
    for path in samples:
        usage = {
            line["message"]["id"]: line["message"]["usage"] for line in plain_lines(path) if line["type"] == "assistant"
        }
        runs = runs_of(path)
        for ours, theirs in (
            ("input_tokens", "input_tokens"),
            ("output_tokens", "output_tokens"),
            ("cache_read_tokens", "cache_read_input_tokens"),
            ("cache_write_tokens", "cache_creation_input_tokens"),
        ):
            assert sum((run.metrics or {}).get(ours, 0) for run in runs) == sum(u[theirs] for u in usage.values())


def test_nothing_injected_is_taken_for_talk(samples: list[Path]) -> None:
    for path in samples:
        for run in runs_of(path):
            for message in run.messages:
                assert "MEMORY-CONTEXT" not in message.text
                assert not (message.role == "user" and "<system-reminder>" in message.text)


def test_every_line_is_accounted_for(samples: list[Path]) -> None:
    for path in [*samples, EVERY_TURN, INLINE_AGENTS]:
        batches = list(CLAUDE.read(path, 0))
        tally = whole_tally(batches)
        assert tally.lines == len(path.read_bytes().splitlines())
        assert not tally.failed


def test_a_fork_has_its_own_session_and_runs(samples: list[Path]) -> None:
    by_session: dict[str | None, list[NewRun]] = {}
    for path in samples:
        for run in runs_of(path):
            by_session.setdefault(run.session_id, []).append(run)
    fork, parent = "00d05c74-2f29-429c-bef6-fd9fffa38425", "5f4bf140-9dee-48f5-b8fa-aad2e91372f0"
    assert [run.messages for run in by_session[fork][:2]] == [run.messages for run in by_session[parent][:2]]
    assert not {run.run_id for run in by_session[fork]} & {run.run_id for run in by_session[parent]}
    assert (by_session[fork][0].session_metadata or {})["forked_from"] == parent
    assert "forked_from" not in (by_session[parent][0].session_metadata or {})


def test_a_sub_agent_is_a_child_session(samples: list[Path]) -> None:
    children = [run for path in samples if path.stem.startswith("agent-") for run in runs_of(path)]
    [child] = children
    parent = "3f380049-899d-463d-b834-9545098a1a3a"
    metadata = child.session_metadata or {}
    assert child.session_id == f"{parent}/agent-ae66aede432905ffe"
    assert (child.agent, child.title) == ("general-purpose", "sub job")
    assert metadata["parent_session_id"] == parent
    [parent_run] = runs_of(SAMPLES / "-home-dev-widget" / f"{parent}.jsonl")
    call = parent_run.messages[1].tool_calls[0]
    result = parent_run.messages[2]
    assert metadata["tool_use_id"] == call.tool_call_id == result.tool_call_id
    assert (result.payload or {})["agent_session_id"] == child.session_id
    assert result.duration_ms == 3112


# What the lines mean, on files of our own.


def test_a_session_tells_where_and_with_what_it_was_held() -> None:
    first, *_, last = runs_of(EVERY_TURN)
    assert (first.source, first.agent, first.project) == ("claude-code", "claude-code", "/srv/orchard")
    assert first.session_metadata == {"host_version": "2.1.40", "git_branch": "pears"}
    assert last.model == "claude-pear-1"
    assert last.started_at == datetime(2026, 3, 1, 9, 0, 24, tzinfo=UTC)
    assert last.ended_at == datetime(2026, 3, 1, 9, 0, 25, tzinfo=UTC)
    assert [m.created_at for m in last.messages] == [last.started_at, last.ended_at]


def test_each_prompt_begins_a_run_with_the_status_its_lines_tell() -> None:
    told = [(run.run_id or "").rpartition(":")[2] + " " + run.status for run in runs_of(EVERY_TURN)]
    assert told == [
        "u02 completed",
        "u04 completed",
        "u08 completed",
        "u10 cancelled",
        "u12 error",
        "u13 completed",
    ]


def test_commands_come_back_as_they_were_typed() -> None:
    heard = [m.text for run in runs_of(EVERY_TURN) for m in run.messages if m.role == "user"]
    assert heard == [
        "/model pear",
        "Bake the pie",
        "and use less sugar",
        "!ls oven",
        "pie",
        "Slice it",
        "Go on",
        "Try once more",
    ]


def test_blocks_of_one_answer_are_one_message_though_results_come_between() -> None:
    run = runs_of(EVERY_TURN)[1]
    assert [m.role for m in run.messages] == ["user", "assistant", "tool", "user", "tool", "assistant"]
    answer = run.messages[1]
    assert (answer.reasoning, answer.text) == ("Ovens first.", "I heat the oven.")
    assert [call.tool_name for call in answer.tool_calls] == ["Bash", "Read"]
    assert run.metrics == {
        "input_tokens": 20,
        "output_tokens": 13,
        "cache_read_tokens": 6,
        "total_tokens": 39,
    }
    assert run.metadata == {"prompt_id": "p-1"}


def test_results_bring_their_images_errors_and_durations() -> None:
    prompt, _, first, _, second, _ = runs_of(EVERY_TURN)[1].messages
    assert (first.text, first.duration_ms, first.is_error) == ("hot", 41, False)
    assert (second.text, second.duration_ms, second.is_error) == ("line 1\n\nline 2", None, True)
    for message in (prompt, second):
        [image] = message.media
        assert image.mime_type == "image/png"
        assert (image.data or b"").startswith(b"\x89PNG")


def test_skipped_lines_are_counted_by_reason() -> None:
    assert whole_tally(list(CLAUDE.read(EVERY_TURN, 0))).skipped == {
        "file-history-snapshot": 1,
        "meta": 1,
        "local_command_output": 1,
        "attachment:queued_command": 1,
        "system:compact_boundary": 1,
        "system:turn_duration": 1,
        "compact_summary": 1,
        "interrupted": 1,
        "progress": 1,
        "pr-link": 1,
        "duplicate": 1,
    }


def test_the_users_title_goes_before_a_generated_one() -> None:
    assert runs_of(EVERY_TURN)[-1].title == "Pear pie"


def test_a_generated_title_does_not_replace_one_given_before_the_offset(file: Path) -> None:
    given = {"type": "custom-title", "customTitle": "Mine", "sessionId": "s-1"}
    generated = {"type": "ai-title", "aiTitle": "Theirs", "sessionId": "s-1"}
    written(file, a_prompt("one"), given, a_prompt("two", at=2), generated)
    offset = last_of(CLAUDE.read(file, 0)).offset
    assert offset > 0
    assert [run.title for run in runs_of(file, offset)] == ["Mine"]


def test_a_summary_names_the_session_of_its_last_line_only() -> None:
    assert {run.title for run in runs_of(INLINE_AGENTS) if "/" not in (run.session_id or "")} == {"Two scouts"}
    assert whole_tally(list(CLAUDE.read(INLINE_AGENTS, 0))).skipped == {"summary": 2}


def test_inline_sub_agents_are_told_apart_and_linked_to_their_calls() -> None:
    runs = {run.agent: run for run in runs_of(INLINE_AGENTS)}
    north, south = runs["Explore"], runs["Plan"]
    assert [m.text for m in north.messages] == ["Go north", "", "trees", "Trees."]
    assert [m.text for m in south.messages] == ["Go south", "Sea."]
    assert [(run.session_metadata or {})["tool_use_id"] for run in (north, south)] == ["tu_a", "tu_b"]
    assert north.title == "north scout"
    main = [run for run in runs_of(INLINE_AGENTS) if run.agent == "claude-code"]
    assert [m.text for m in main[0].messages] == ["Send two scouts", "", "Trees.", "Sea.", "Trees and sea."]
    assert (main[0].metrics or {})["output_tokens"] == 14


def test_the_project_stays_where_the_session_began() -> None:
    offset = last_of(CLAUDE.read(INLINE_AGENTS, 0)).offset
    assert [run.project for run in runs_of(INLINE_AGENTS, offset)] == ["/srv/orchard"]


def test_thinking_that_bears_the_final_stop_reason_is_not_yet_an_answer(file: Path) -> None:
    thought = {"type": "thinking", "thinking": "Hm."}
    lines = [
        a_prompt("why?"),
        an_answer(thought, stop_reason="end_turn"),
        an_answer(words("So."), message_id="msg-1", at=2, stop_reason="end_turn"),
    ]
    assert [run.status for run in runs_of(written(file, *lines[:1]))] == ["running"]
    assert [run.status for run in runs_of(written(file, *lines[:2]))] == ["running"]
    assert [run.status for run in runs_of(written(file, *lines))] == ["completed"]


def test_usage_that_the_file_does_not_tell_stays_missing(file: Path) -> None:
    [run] = runs_of(written(file, a_prompt("hi"), an_answer(words("ho"))))
    assert run.metrics is None
    [run] = runs_of(written(file, a_prompt("hi"), an_answer(words("ho"), usage={"output_tokens": 3})))
    assert run.metrics == {"output_tokens": 3}


def test_the_last_count_of_a_growing_usage_stands(file: Path) -> None:
    lines = [
        an_answer(words("a"), message_id="m", usage={"input_tokens": 5, "output_tokens": 1}),
        an_answer(words("b"), message_id="m", at=2, usage={"input_tokens": 5, "output_tokens": 80}),
    ]
    [run] = runs_of(written(file, a_prompt("hi"), *lines))
    assert run.metrics == {"input_tokens": 5, "output_tokens": 80, "total_tokens": 85}


def test_an_answer_that_a_prompt_cuts_in_two_is_counted_once(file: Path) -> None:
    usage = {"input_tokens": 5, "output_tokens": 8}
    written(
        file,
        a_prompt("one"),
        an_answer(words("a"), message_id="m", usage=usage),
        a_prompt("two", at=2),
        an_answer(words("b"), message_id="m", at=3, usage=usage),
    )
    batch = last_of(CLAUDE.read(file, 0))
    assert [run.metrics for run in batch.runs] == [{**usage, "total_tokens": 13}, None]
    assert runs_of(file, batch.offset) == [batch.runs[1]]


def test_a_result_finds_the_name_of_its_call_before_the_offset(file: Path) -> None:
    written(
        file,
        a_prompt("one"),
        an_answer(a_call("tu-9", "Monitor")),
        a_prompt("two", at=2),
        a_prompt([a_result("tu-9", "late")], at=3),
    )
    batch = last_of(CLAUDE.read(file, 0))
    assert batch.runs[1].messages[1].tool_name == "Monitor"
    assert runs_of(file, batch.offset) == [batch.runs[1]]


def test_a_line_copied_from_an_earlier_run_is_taken_once(file: Path) -> None:
    first = [a_prompt("one"), an_answer(words("a"))]
    written(file, *first, a_prompt("two", at=5), *first, an_answer(words("b"), at=6))
    batch = last_of(CLAUDE.read(file, 0))
    assert [[m.text for m in run.messages] for run in batch.runs] == [["one", "a"], ["two", "b"]]
    assert runs_of(file, batch.offset) == [batch.runs[1]]


def test_what_only_the_host_says_is_not_talk(file: Path) -> None:
    gap = an_answer(words("No response requested."), at=3)
    gap["message"]["model"] = "<synthetic>"
    written(
        file,
        a_prompt("<system-reminder>be brief</system-reminder>"),
        a_prompt("real <system-reminder>not closed", at=1),
        a_prompt("<local-command-stderr>oops</local-command-stderr>", at=2),
        gap,
    )
    [run] = runs_of(file)
    assert [m.text for m in run.messages] == ["real <system-reminder>not closed"]


def test_a_command_in_a_system_line_is_what_the_user_typed(file: Path) -> None:
    typed = "<command-name>/cost</command-name>\n<command-message>cost</command-message>"
    printed = "<local-command-stdout>$1</local-command-stdout>"
    written(
        file,
        a_line("system", subtype="local_command", content=typed),
        a_line("system", at=1, subtype="local_command", content=printed),
    )
    [run] = runs_of(file)
    assert (run.status, [m.text for m in run.messages]) == ("completed", ["/cost"])


def test_tools_that_the_api_runs_are_calls_with_results(file: Path) -> None:
    search = {"type": "server_tool_use", "id": "st-1", "name": "web_search", "input": {"query": "pears"}}
    found = {
        "type": "web_search_tool_result",
        "tool_use_id": "st-1",
        "content": [{"type": "web_search_result"}],
    }
    odd = {"type": "hologram", "of": "a pear"}
    [run] = runs_of(written(file, a_prompt("hi"), an_answer(search, found, words("Pears."), odd)))
    _, answer, result = run.messages
    assert [call.tool_name for call in answer.tool_calls] == ["web_search"]
    assert (result.role, result.tool_call_id, result.tool_name) == ("tool", "st-1", "web_search")
    assert result.payload == {"blocks": [{"type": "web_search_result"}]}
    assert answer.payload == {"blocks": [odd]}


def test_prompts_of_other_origin_say_so(file: Path) -> None:
    [run] = runs_of(written(file, a_prompt("ping", origin={"kind": "peer"})))
    assert run.messages[0].payload == {"origin": "peer"}


def test_text_that_no_utf8_can_hold_is_visibly_replaced(file: Path) -> None:
    file.write_bytes(
        json.dumps(a_prompt("half \ud800 pair")).encode() + b"\n" + b"\xff" + json.dumps(a_prompt("x")).encode() + b"\n"
    )
    batch = last_of(CLAUDE.read(file, 0))
    assert [m.text for run in batch.runs for m in run.messages] == ["half \ufffd pair"]
    assert [line.line for line in batch.ahead.failed] == [2]


# Reading on.


def test_reading_twice_gives_the_same(samples: list[Path]) -> None:
    for path in [*samples, EVERY_TURN, INLINE_AGENTS]:
        assert list(CLAUDE.read(path, 0)) == list(CLAUDE.read(path, 0))


def test_the_offset_gives_the_last_run_again(samples: list[Path]) -> None:
    for path in [*samples, EVERY_TURN, INLINE_AGENTS]:
        last = last_of(CLAUDE.read(path, 0))
        again = last_of(CLAUDE.read(path, last.offset))
        assert (again.offset, again.start, again.ahead) == (last.offset, last.offset, last.ahead)
        [run] = again.runs
        of_session = [known for known in last.runs if known.session_id == run.session_id]
        assert run.run_id == of_session[-1].run_id
        assert run.messages == of_session[-1].messages
        assert (run.status, run.metrics, run.project) == (
            of_session[-1].status,
            of_session[-1].metrics,
            of_session[-1].project,
        )


@pytest.mark.parametrize("path", [EVERY_TURN, INLINE_AGENTS], ids=lambda path: path.stem)
def test_a_file_met_at_any_byte_comes_out_the_same(path: Path, file: Path) -> None:
    whole = path.read_bytes()
    expected: dict[str, NewRun] = {}
    store(expected, runs_of(path))
    # Every byte is a reading of its own, and each goes on from where the one before stopped.
    stored: dict[str, NewRun] = {}
    offset = 0
    lines = kept = 0
    with file.open("ab", buffering=0) as growing:
        for place in range(len(whole)):
            growing.write(whole[place : place + 1])
            for batch in CLAUDE.read(file, offset):
                assert batch.start == offset
                store(stored, batch.runs)
                offset = batch.offset
                lines += batch.settled.lines
                kept += batch.settled.kept
    assert {name: run.messages for name, run in stored.items()} == {
        name: run.messages for name, run in expected.items()
    }
    assert {name: (run.status, run.metrics) for name, run in stored.items()} == {
        name: (run.status, run.metrics) for name, run in expected.items()
    }
    tally = whole_tally(list(CLAUDE.read(path, 0)))
    ahead = last_of(CLAUDE.read(file, offset)).ahead
    assert (lines + ahead.lines, kept + ahead.kept) == (tally.lines, tally.kept)


def by_agent(agent: str, *lines: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**line, "isSidechain": True, "agentId": agent} for line in lines]


def by_parents(agent: str, *lines: dict[str, Any]) -> list[dict[str, Any]]:
    """As the oldest hosts told sub-agents apart: each line names the one before it, the first names none."""
    ids = [line["uuid"] for line in lines]
    return [
        {**line, "isSidechain": True, "parentUuid": parent}
        for line, parent in zip(lines, [None, *ids[:-1]], strict=True)
    ]


@pytest.mark.parametrize("told", [by_agent, by_parents])
def test_sub_agents_that_a_file_begins_with_come_out_the_same_wherever_it_was_met(told: Any, file: Path) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    north = told(
        "n",
        a_prompt("go north", at=0),
        an_answer(words("Trees."), at=3, message_id="msg-n", usage=usage),
        a_prompt("further", at=4),
        an_answer(a_call("tu-5"), at=5, message_id="msg-n", usage=usage),
    )
    south = told(
        "s",
        a_prompt("go south", at=1),
        a_prompt("further", at=2),
        a_prompt([a_result("tu-5", "done")], at=6),
    )
    main = [a_prompt("and now?", at=7), an_answer(words("Home."), at=8)]
    # Their runs overlap: one of the north ends while the second of the south, begun within it, goes on.
    lines = [*north[:1], *south[:2], *north[1:], *south[2:], *main]
    expected = runs_of(written(file, *lines))
    assert len(expected) == 5
    for seen in range(len(lines)):
        batch = last_of(CLAUDE.read(written(file, *lines[:seen]), 0))
        stored: dict[str, NewRun] = {}
        store(stored, batch.runs)
        store(stored, runs_of(written(file, *lines), batch.offset))
        assert {name: (run.messages, run.metrics) for name, run in stored.items()} == {
            run.run_id: (run.messages, run.metrics) for run in expected
        }


def test_a_file_that_only_one_sub_agent_writes_is_read_on_from_its_last_prompt(tmp_path: Path) -> None:
    lines = by_agent("7", a_prompt("go"), an_answer(words("a")), a_prompt("further", at=2), an_answer(words("b"), at=3))
    file = written(tmp_path / "agent-7.jsonl", *lines)
    batch = last_of(CLAUDE.read(file, 0))
    assert len(batch.runs) == 2
    assert runs_of(file, batch.offset) == [batch.runs[1]]


def test_a_real_file_met_anywhere_comes_out_the_same(samples: list[Path], file: Path) -> None:
    for path in samples:
        whole = path.read_bytes()
        expected: dict[str, NewRun] = {}
        store(expected, runs_of(path))
        ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
        # Just before, at and just after each end of line, and in the middle of the next one.
        cuts = sorted({min(end + shift, len(whole)) for end in ends for shift in (-1, 0, 1, 200)})
        agent = file.with_name(path.name)
        if (about := path.with_suffix(".meta.json")).exists():
            agent.with_suffix(".meta.json").write_bytes(about.read_bytes())
        stored: dict[str, NewRun] = {}
        offset = 0
        for cut in cuts:
            agent.write_bytes(whole[:cut])
            for batch in CLAUDE.read(agent, offset):
                store(stored, batch.runs)
                offset = batch.offset
        assert list(stored) == list(expected)
        for name, run in expected.items():
            assert stored[name].messages == run.messages
            assert (stored[name].status, stored[name].metrics) == (run.status, run.metrics)


def test_a_half_written_line_is_left_for_later(file: Path) -> None:
    written(file, a_prompt("one"), an_answer(words("a")))
    whole = file.stat().st_size
    with file.open("ab") as growing:
        growing.write(b'{"type":"user","uuid":"id-2"')
    batch = last_of(CLAUDE.read(file, 0))
    assert batch.offset < whole
    assert (batch.ahead.lines, batch.ahead.failed) == (2, ())


def test_a_broken_line_is_told_by_its_number_and_the_rest_is_read(file: Path) -> None:
    written(file, a_prompt("one"), a_prompt("two", at=2))
    with file.open("ab") as growing:
        growing.write(b'{"secret words"\n[1]\n\n' + json.dumps(an_answer(words("b"), at=3)).encode() + b"\n")
    first = last_of(CLAUDE.read(file, 0))
    again = last_of(CLAUDE.read(file, first.offset))
    for batch in (first, again):
        assert [line.line for line in batch.ahead.failed] == [3, 4]
        assert "secret" not in repr(batch.ahead.failed)
        assert [m.text for m in batch.runs[-1].messages] == ["two", "b"]


def test_a_file_that_was_rewritten_is_read_anew(file: Path) -> None:
    written(file, a_prompt("one"), a_prompt("two", at=2))
    batch = last_of(CLAUDE.read(file, 10**9))
    assert batch.start == 0
    assert len(batch.runs) == 2
    assert last_of(CLAUDE.read(file, batch.offset + 3)).start == 0


def test_a_large_file_comes_in_many_batches(file: Path) -> None:
    with file.open("wb") as out:
        for number in range(400):
            for line in (
                a_prompt("why? " * 2_000),
                an_answer(words("so. " * 8_000), message_id=f"m{number}"),
            ):
                out.write(json.dumps({**line, "uuid": f"{line['type']}-{number}"}).encode() + b"\n")
    batches = list(CLAUDE.read(file, 0))
    assert len(batches) > 3
    for batch in batches:
        assert sum(len(m.text) for run in batch.runs for m in run.messages) < 6 * 1024 * 1024
    assert sum(len(batch.runs) for batch in batches) == 400
    assert whole_tally(batches).kept == 800
    middle = batches[1]
    assert runs_of(file, middle.offset) == [run for batch in batches[2:] for run in batch.runs]


def test_a_run_too_large_to_hold_is_cut_between_tool_pairs(file: Path) -> None:
    with file.open("wb") as out:
        out.write(json.dumps(a_prompt("read it all")).encode() + b"\n")
        for number in range(1, 45):
            result = a_prompt([a_result(f"tu-{number}", "x" * 1_000_000)], uuid=f"r-{number}")
            answer = an_answer(a_call(f"tu-{number}"), message_id=f"m-{number}", uuid=f"a-{number}")
            out.writelines(json.dumps(line).encode() + b"\n" for line in (answer, result))
    batches = list(CLAUDE.read(file, 0))
    runs = [run for batch in batches for run in batch.runs]
    assert [len(run.messages) for run in runs] == [35, 34, 20]
    assert len({run.run_id for run in runs}) == 3
    for run in runs:
        called = {call.tool_call_id for m in run.messages for call in m.tool_calls}
        assert called == {m.tool_call_id for m in run.messages if m.role == "tool"}
    assert runs_of(file, batches[-1].offset) == [runs[-1]]


# Whatever the bytes.


def test_a_missing_file_a_folder_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(TranscriptError, match="Cannot read"):
            list(CLAUDE.read(path, 0))
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text('{"id": 1}\n')
    with pytest.raises(TranscriptError, match="no transcript of a known host"):
        importer_for(foreign)
    with pytest.raises(TranscriptError, match="does not exist"):
        importer_for(tmp_path / "none.jsonl")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may read every file")
def test_a_file_that_may_not_be_read_is_refused(file: Path) -> None:
    written(file, a_prompt("one")).chmod(0)
    with pytest.raises(TranscriptError, match="Cannot read"):
        list(CLAUDE.read(file, 0))
    assert not CLAUDE.recognises(file)


def test_a_deeply_nested_line_harms_no_other(file: Path) -> None:
    deep = b"[" * 90_000 + b"]" * 90_000
    call = b'{"type":"tool_use","id":"t","name":"Task","input":{"prompt":' + deep + b"}}"
    line = json.dumps(an_answer(words("x"), at=2)).encode().replace(b'{"type": "text", "text": "x"}', call)
    for depth in [*range(0, 850, 50), *range(850, 1000)]:
        heart = b'"\\ud800"' if depth % 2 else b""
        modest = line.replace(deep, b"[" * depth + heart + b"]" * depth)
        file.write_bytes(json.dumps(a_prompt("one")).encode() + b"\n" + modest + b"\n" + line + b"\n")
        batch = last_of(CLAUDE.read(file, 0))
        assert batch.runs[0].messages[0].text == "one"
        assert [failed.line for failed in batch.ahead.failed][-1] == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ID = st.sampled_from(["a", "b", "c", "#1", "", "\ud800"])
TEXT = st.sampled_from(
    [
        "hi",
        "<command-name>/x</command-name>",
        "<bash-input>",
        "<bash-stdout>",
        "<system-reminder>",
        "[Request int",
        "[Request interrupted by user]",
        "<system-reminder></system-reminder>",
        "<local-command-stdout>",
        "\ud800\x00",
    ]
)


def either(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return usual | JSON


BLOCK = st.fixed_dictionaries(
    {
        "type": either(
            st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image", "x_tool_result", "document"])
        )
    },
    optional={
        "text": either(TEXT),
        "thinking": either(TEXT),
        "id": either(ID),
        "tool_use_id": either(ID),
        "name": either(st.sampled_from(["Task", "Bash"])),
        "input": either(st.fixed_dictionaries({"prompt": TEXT})),
        "content": either(TEXT | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}))),
        "source": either(
            st.fixed_dictionaries({"type": st.sampled_from(["base64", "url"]), "data": TEXT, "url": TEXT})
        ),
    },
)
LINE = st.fixed_dictionaries(
    {
        "type": either(
            st.sampled_from(["user", "assistant", "system", "attachment", "summary", "ai-title", "custom-title"])
        )
    },
    optional={
        "uuid": either(ID),
        "parentUuid": either(ID),
        "sessionId": either(ID),
        "agentId": either(ID),
        "leafUuid": either(ID),
        "isSidechain": either(st.booleans()),
        "isMeta": either(st.booleans()),
        "isApiErrorMessage": either(st.booleans()),
        "timestamp": either(st.sampled_from(["2026-01-01T00:00:00Z", "2025-01-01", "0001-01-01T00:00:00+23:00"])),
        "message": either(
            st.fixed_dictionaries(
                {"content": either(TEXT | st.lists(either(BLOCK), max_size=3))},
                optional={"id": either(ID), "usage": JSON, "stop_reason": JSON, "model": either(ID)},
            )
        ),
        "attachment": either(
            st.fixed_dictionaries(
                {"type": st.just("queued_command"), "prompt": either(TEXT)}, optional={"origin": JSON}
            )
        ),
        "subtype": either(st.sampled_from(["local_command", "turn_duration"])),
        "content": either(TEXT),
        "summary": either(TEXT),
        "aiTitle": either(TEXT),
        "customTitle": either(TEXT),
        "toolUseResult": either(st.fixed_dictionaries({"durationMs": JSON, "agentId": JSON})),
        "cwd": either(ID),
        "forkedFrom": JSON,
        "attributionAgent": either(ID),
    },
)


def as_bytes(line: Any) -> bytes:
    return json.dumps(line).encode() + b"\n"


@settings(deadline=None, max_examples=examples(100))
@given(
    data=st.lists(LINE.map(as_bytes) | st.binary(max_size=40), max_size=12).map(b"".join),
    name=st.sampled_from(["s.jsonl", "agent-7.jsonl", "#s.jsonl"]),
    offset=st.integers(-1, 900),
)
def test_any_bytes_give_batches_that_account_for_every_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str, offset: int
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    CLAUDE.recognises(path)
    batches = list(CLAUDE.read(path, 0))
    assert whole_tally(batches).lines == data.count(b"\n")
    assert 0 <= batches[-1].offset <= len(data)
    for run in (run for batch in batches for run in batch.runs):
        assert run.messages
        run.model_dump_json()
    for batch in CLAUDE.read(path, offset):
        assert batch.start in (0, offset)


@st.composite
def plausible(draw: st.DrawFn) -> list[bytes]:
    """Lines as the host could write them: times that grow, ids that name one thing."""
    lines: list[dict[str, Any]] = []
    newest: dict[str | None, str] = {}
    kinds = ["prompt", "answer", "answer", "trail", "result", "copy", "steer", "skip", "title", "end"]
    for at in range(draw(st.integers(1, 14))):
        agent = draw(st.sampled_from([None, None, "x", "y"]))
        whose = {"isSidechain": True, "agentId": agent} if agent else {}
        kind = draw(st.sampled_from(kinds))
        match kind:
            case "prompt":
                texts = ["hi", "<command-name>/x</command-name>", "[Request interrupted by user]"]
                lines.append(a_prompt(draw(st.sampled_from(texts)), at=at, **whose))
            case "answer" | "trail":
                blocks = [words("so"), a_call(f"tu-{at}"), {"type": "thinking", "thinking": "hm"}]
                if kind == "answer" or agent not in newest:
                    newest[agent] = f"{agent}-{at}"
                fields = {
                    "message_id": newest[agent],
                    "stop_reason": draw(st.sampled_from([None, "tool_use"])),
                    "usage": {"input_tokens": 1, "output_tokens": at},
                }
                lines.append(an_answer(draw(st.sampled_from(blocks)), at=at, **fields, **whose))
            case "result":
                called = draw(st.integers(max(0, at - 3), at))
                lines.append(a_prompt([a_result(f"tu-{called}", "done")], at=at, **whose))
            case "copy" if lines:
                lines.append(draw(st.sampled_from(lines)))
            case "steer":
                prompt = {"type": "queued_command", "prompt": "faster"}
                lines.append(a_line("attachment", at=at, attachment=prompt, **whose))
            case "end":
                lines.append(a_line("system", at=at, subtype="turn_duration", **whose))
            case "title":
                lines.append({"type": "custom-title", "customTitle": f"title {at}", "sessionId": "s-1"})
            case _:
                lines.append(a_line("progress", at=at))
    return [as_bytes(line) for line in lines]


@settings(deadline=None, max_examples=examples(150))
@given(lines=plausible(), cuts=st.lists(st.floats(0, 1), max_size=4))
def test_a_growing_file_gives_what_a_whole_one_gives(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "s-1.jsonl"
    whole = b"".join(lines)
    path.write_bytes(whole)
    expected: dict[str, NewRun] = {}
    store(expected, runs_of(path))
    stored: dict[str, NewRun] = {}
    offset = 0
    for cut in [*sorted(cuts), 1]:
        path.write_bytes(whole[: int(cut * len(whole))])
        for batch in CLAUDE.read(path, offset):
            assert batch.start == offset
            store(stored, batch.runs)
            offset = batch.offset
    assert {name: run.messages for name, run in stored.items()} == {
        name: run.messages for name, run in expected.items()
    }
    assert {name: run.metrics for name, run in stored.items()} == {name: run.metrics for name, run in expected.items()}


# Finding files.


def test_transcripts_are_found_and_other_hosts_files_left(tmp_path: Path, samples: list[Path]) -> None:
    everything = SAMPLES.parent
    found = [path for importer, path in transcripts(everything) if importer is CLAUDE]
    assert sorted(found) == sorted([*samples, everything / "synthetic" / "claude_code.jsonl"])


def test_parents_are_found_before_their_sub_agents(tmp_path: Path) -> None:
    below = tmp_path / "s-1" / "subagents" / "deeper"
    below.mkdir(parents=True)
    parent = written(tmp_path / "s-1.jsonl", a_prompt("go"))
    child = written(below / "agent-7.jsonl", a_prompt("go", isSidechain=True, agentId="7"))
    (below / "agent-7.meta.json").write_text('{"agentType": "Plan"')
    (tmp_path / "notes.jsonl").write_text("{}\n")
    assert [path for _, path in transcripts(tmp_path)] == [parent, child]
    assert [(run.session_id, run.agent) for run in runs_of(child)] == [("s-1/agent-7", "subagent")]


def test_the_folders_follow_the_environment() -> None:
    home = Path("home")
    assert next(CLAUDE.folders({}, home)) == home / ".claude" / "projects"
    assert next(CLAUDE.folders({"CLAUDE_CONFIG_DIR": "elsewhere"}, home)) == Path("elsewhere", "projects")
