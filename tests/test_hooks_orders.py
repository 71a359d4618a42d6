"""Hooks and transcripts come in any order, in any pieces: what is stored in the end is the same."""

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backscroll import Memory
from backscroll.hooks.telling import settle
from backscroll.importing import import_paths
from builders import faults_of_sequence
from hook_doors import claude, claude_line, cursor_lines, cursor_turn, heard, written
from hunting import examples

_fresh = itertools.count(1)
NOW = datetime.now(UTC)

STEPS = st.lists(st.sampled_from(["line", "line", "hook", "hook", "import", "settle"]), max_size=24)
"""What happens until all is written and told: a line more, a payload more, what was written read, what waits told."""

usual = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(20))


async def happened(
    memory: Memory, path: Path, steps: list[str], lines: list[dict[str, Any]], payloads: list[dict[str, Any]]
) -> None:
    """Go through the steps, and then to the end, twice. No import fails on the way."""
    there = 0
    waiting = list(payloads)

    async def read() -> None:
        report = await import_paths(memory, [path])
        assert report.failed == ()

    for step in steps:
        if step == "line" and there < len(lines):
            there += 1
            written(path, lines[:there])
        elif step == "hook" and waiting:
            await heard(memory, waiting.pop(0))
        elif step == "import" and there:
            await read()
        elif step == "settle":
            await settle(memory)
    for _ in range(2):
        await heard(memory, *waiting)
        written(path, lines)
        await read()
        await settle(memory)


async def stored(memory: Memory, session: str) -> tuple[list[tuple[Any, str]], Counter[tuple[str, int | None]]]:
    """What was said, in order; and the calls that were made, with how they ended and how long they took."""
    messages = await memory.get_messages_for_session(session)
    assert faults_of_sequence(messages) == []
    calls = (await memory.get_tool_call_history(session, format="json", limit=50)).tool_calls
    said = [(message.role, message.text) for message in messages]
    return said, Counter((call.status, call.duration_ms) for call in calls)


def claude_talk(session: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two turns with a call each: the lines of the transcript, and what hooks tell."""
    lines: list[dict[str, Any]] = []
    payloads: list[dict[str, Any]] = []

    def line(n: int, kind: str, content: Any, **more: Any) -> None:
        message = {"role": kind, "content": content, "model": "m", **more}
        at = NOW - timedelta(seconds=100 - len(lines))
        lines.append({**claude_line(n, kind, message, at=at, session=session), "promptId": f"p-{n // 10}"})

    for turn in (1, 2):
        n, call = turn * 10, f"call-{turn}"
        line(n, "user", f"Question {turn}?")
        use = {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": f"look {turn}"}}
        line(n + 1, "assistant", [{"type": "text", "text": "On it."}, use], id=f"m-{n}", stop_reason="tool_use")
        line(n + 2, "user", [{"type": "tool_result", "tool_use_id": call, "content": f"seen {turn}"}])
        answer = [{"type": "text", "text": f"Answer {turn}."}]
        line(n + 3, "assistant", answer, id=f"m-{n + 3}", stop_reason="end_turn")
        common = {"session": session, "prompt_id": f"p-{turn}"}
        payloads.append(claude("PostToolUse", tool_use_id=call, tool_name="Bash", duration_ms=turn, **common))
        payloads.append(claude("Stop", last_assistant_message=f"Answer {turn}.", **common))
    return lines, payloads


@usual
@given(STEPS)
def test_claude_codes_hooks_and_transcript_tell_the_same_in_any_order(
    kept_memory: Memory, loop: asyncio.Runner, tmp_path: Path, steps: list[str]
) -> None:
    session = f"s-{next(_fresh)}"
    lines, payloads = claude_talk(session)

    async def run() -> None:
        await happened(kept_memory, tmp_path / f"{session}.jsonl", steps, lines, payloads)
        said, calls = await stored(kept_memory, session)
        turns = [
            [("user", f"Question {n}?"), ("assistant", "On it."), ("tool", f"seen {n}"), ("assistant", f"Answer {n}.")]
            for n in (1, 2)
        ]
        assert said == [*turns[0], *turns[1]]
        assert calls == {("ok", 1): 1, ("ok", 2): 1}

    loop.run(run())


@usual
@given(STEPS)
def test_cursors_hooks_and_transcript_tell_the_same_in_any_order(
    kept_memory: Memory, loop: asyncio.Runner, tmp_path: Path, steps: list[str]
) -> None:
    name = f"c-{next(_fresh)}"
    told = [(f"What of {turn}?", f"That of {turn}.", turn) for turn in ("gen-1", "gen-2")]
    lines = [line for asked, answered, turn in told for line in cursor_lines(asked, answered, turn)]
    payloads = [one for asked, answered, turn in told for one in cursor_turn(asked, answered, turn, conversation=name)]

    async def run() -> None:
        path = tmp_path / "agent-transcripts" / f"{name}.jsonl"
        await happened(kept_memory, path, steps, lines, payloads)
        said, calls = await stored(kept_memory, name)
        expected = [
            one
            for asked, answered, turn in told
            for one in (
                ("user", asked),
                ("assistant", "Let me look."),
                ("tool", f'{{"exitCode": 0, "stdout": "seen {turn}"}}'),
                ("assistant", answered),
            )
        ]
        assert Counter(said) == Counter(expected)
        assert [one for one in said if one[0] != "tool"] == [one for one in expected if one[0] != "tool"]
        assert calls == {("ok", 120): 2}
        assert [run.status for run in await kept_memory.get_runs(name)] == ["completed", "completed"]

    loop.run(run())


def test_counters_and_index_agree_with_the_rows_after_all_that(
    kept_memory: Memory, loop: asyncio.Runner, tmp_path: Path
) -> None:
    async def run() -> None:
        for n, steps in enumerate(itertools.product(["line", "hook", "import", "settle"], repeat=3)):
            name = f"d-{n}"
            lines, payloads = (
                cursor_lines("Which port?", "8080."),
                cursor_turn("Which port?", "8080.", conversation=name),
            )
            path = tmp_path / "agent-transcripts" / f"{name}.jsonl"
            await happened(kept_memory, path, ["hook", *steps, "hook", *steps], lines, payloads)
        assert await kept_memory.store.check() == []

    loop.run(run())
