"""The smallest budgets still answer: what was asked for is there, and what is left out says how to read on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import backscroll
from backscroll import Memory
from backscroll.errors import InvalidArgument
from backscroll.render import compact, page_json, page_text
from backscroll.tokens import TokenCounter

LONG = "The kettle was left on the stove again, and nobody had noticed it until the alarm rang. "


def calling(*names: str) -> list[dict[str, Any]]:
    """One turn whose assistant makes parallel calls with long arguments, and gets long results."""
    calls = [
        {"id": f"c{n}", "function": {"name": name, "arguments": f'{{"text": "{LONG * 20}"}}'}}
        for n, name in enumerate(names)
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": LONG * 30} for call in calls]
    asked = {"role": "user", "content": LONG * 10}
    return [asked, {"role": "assistant", "content": LONG * 5, "tool_calls": calls}, *results]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("max_tokens", [200, 400, 1_000])
async def test_a_handle_is_always_on_the_page_that_it_opens(
    memory: Memory, tokens: TokenCounter, form: Any, max_tokens: int
) -> None:
    await memory.record_run(calling("read", "write", "run"), session_id="s")
    for seq in range(1, 6):
        page = await memory.get_chat_history(f"#1.{seq}", max_tokens=max_tokens, format=form)
        assert f"#1.{seq}" in [line.ref for line in page.messages]
        told = page_text(page) if form == "text" else compact(page_json(page))
        assert tokens.count(told) <= max_tokens


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_context_of_200_tokens_still_shows_what_was_said(memory: Memory, form: Any) -> None:
    await memory.record_run(calling("read"), session_id="s", project="a/very/long/path/" * 12, agent="name " * 30)
    context = await memory.get_session_context("s", max_tokens=200, format=form)
    assert [message.ref for run in context.runs for message in run.messages]


@pytest.mark.parametrize("call", ["get_chat_history", "get_session_context", "get_tool_call_history"])
def test_the_first_small_answer_of_a_process_can_be_read_on(tmp_path: Path, call: str) -> None:
    program = f"""
import asyncio, backscroll
from backscroll.render import page_text
async def main():
    async with backscroll.open("n.db") as memory:
        turn = [{{"role": "user", "content": "go"}},
                {{"role": "assistant", "content": "", "tool_calls": [
                    {{"id": "c", "function": {{"name": "run", "arguments": "x " * 9000}}}}]}},
                {{"role": "tool", "tool_call_id": "c", "content": "y " * 9000}}]
        await memory.record_run(turn, session_id="s", metrics={{"total_tokens": 1}})
    async with backscroll.open("n.db") as memory:
        print(page_text(await memory.{call}("s", max_tokens=200)))
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reads on]" in done.stdout
    assert "larger max_tokens" not in done.stdout


async def test_a_fork_without_words_of_its_own_counts_what_it_shows(memory: Memory) -> None:
    await memory.record_run(calling("read"), session_id="s")
    await memory.fork_session("s", new_session_id="f")
    page = await memory.get_chat_history("f")
    assert page.total == 3


@pytest.mark.parametrize("narrowing", [{"session_id": "s"}, {"role": "user"}, {"tool_name": "run"}, {"agent": "a"}])
async def test_what_narrows_a_search_is_not_ignored_without_a_query(memory: Memory, narrowing: dict[str, Any]) -> None:
    await memory.record_run(calling("run"), session_id="s")
    with pytest.raises(InvalidArgument, match="needs a query"):
        await memory.search_session_history(**narrowing)


async def test_a_hit_among_parallel_calls_names_the_tool_that_was_asked_for(app: backscroll.Backscroll) -> None:
    memory = app.memory("ada")
    turn = calling("bash", "read_file")
    turn[1]["content"] = ""
    await memory.record_run(turn, session_id="s")
    page = await memory.search_session_history("kettle", tool_name="read_file", role="assistant")
    assert [hit.tool_name for hit in page.hits or ()] == ["read_file"]
