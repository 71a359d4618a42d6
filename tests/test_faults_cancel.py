"""A task may be cancelled at any await: what it did is whole or not there, and the next call works."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import backscroll
from backscroll import Memory
from backscroll.errors import StoreUnusable
from backscroll.summaries import SessionSummaryManager
from builders import a_tool_turn, a_turn, faults_of_sequence

STEPS = 40
"""Turns of the loop after which the task is cancelled; every call ends well within them."""


async def cancelled_after(steps: int, work: Awaitable[Any]) -> bool:
    """Begin `work`, let the loop turn `steps` times, cancel it; whether it was still under way."""
    task = asyncio.ensure_future(work)
    for _ in range(steps):
        await asyncio.sleep(0)
    late = task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return late and task.cancelled()


async def test_a_cancelled_recording_is_whole_or_not_there(memory: Memory) -> None:
    cut_short = 0
    for steps in range(STEPS):
        sent = a_tool_turn(steps)
        cut_short += await cancelled_after(steps, memory.record_run(sent, session_id="s", run_id=f"r{steps}"))
        after = await memory.record_run(a_turn(), session_id="s", run_id=f"next{steps}")
        assert after.recorded == 2
        again = await memory.record_run(sent, session_id="s", run_id=f"r{steps}")
        assert again.recorded in (0, 4)
    assert cut_short > 0
    told = await memory.get_messages_for_session("s")
    assert len(told) == STEPS * 6
    assert [m.seq for m in told] == list(range(1, STEPS * 6 + 1))
    assert faults_of_sequence(told) == []
    assert await memory.store.check() == []


Work = Callable[[Memory, int], Awaitable[Any]]

WORKS: dict[str, Work] = {
    "update": lambda memory, n: memory.update_session("s", state={f"k{n}": n}, title=f"t{n}"),
    "fork": lambda memory, n: memory.fork_session("s"),
    "delete": lambda memory, n: memory.delete_session(f"gone{n}", forks="keep"),
    "purge": lambda memory, n: memory.delete_session(f"gone{n}", purge=True),
    "summarize": lambda memory, n: memory.summarize_session("s"),
    "search": lambda memory, n: memory.search_session_history("matter"),
    "chat": lambda memory, n: memory.get_chat_history("s"),
    "context": lambda memory, n: memory.get_session_context("s"),
    "check": lambda memory, n: memory.store.check(),
}


@pytest.mark.parametrize("name", WORKS)
async def test_any_other_call_may_be_cancelled_too(memory: Memory, name: str) -> None:
    await memory.record_run(a_tool_turn(), session_id="s")
    for steps in range(0, STEPS, 2):
        await memory.record_run(a_turn(), session_id=f"gone{steps}")
        await cancelled_after(steps, WORKS[name](memory, steps))
        assert (await memory.record_run(a_turn(), session_id="s")).recorded == 2
    assert faults_of_sequence(await memory.get_messages_for_session("s")) == []
    assert await memory.store.check() == []


async def test_opening_may_be_cancelled(url: str) -> None:
    async def open_and_close() -> None:
        async with backscroll.open(url, user_id="ada") as memory:
            await memory.record_run(a_turn(), session_id="s")

    for steps in range(0, 60, 3):
        await cancelled_after(steps, open_and_close())
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.record_run(a_turn(), session_id="s")
        assert len(await memory.get_messages_for_session("s")) % 2 == 0
        assert await memory.store.check() == []


async def test_many_calls_at_once_with_some_cancelled(memory: Memory) -> None:
    tasks = [
        asyncio.create_task(memory.record_run(a_turn(), session_id=f"s{n % 3}", run_id=f"r{n}")) for n in range(60)
    ]
    for n, task in enumerate(tasks):
        await asyncio.sleep(0)
        if n % 3 == 0:
            task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    done = [o for o in outcomes if not isinstance(o, BaseException)]
    assert len(done) >= 40
    assert all(isinstance(o, asyncio.CancelledError) for o in outcomes if isinstance(o, BaseException))
    counts = await memory.store.counts("ada")
    assert counts["messages"] == counts["runs"] * 2
    assert counts["runs"] >= len(done)
    assert await memory.store.check() == []


async def test_closing_in_the_middle_of_calls_leaves_a_sound_file(url: str) -> None:
    for steps in range(0, 12, 2):
        app = backscroll.Backscroll(url)
        await app.__aenter__()
        memory = app.memory("ada")
        tasks = [asyncio.create_task(memory.record_run(a_tool_turn(), session_id="s")) for _ in range(5)]
        for _ in range(steps):
            await asyncio.sleep(0)
        await app.__aexit__(None, None, None)
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert not isinstance(outcome, BaseException) or isinstance(outcome, backscroll.BackscrollError), outcome
    async with backscroll.open(url, user_id="ada") as memory:
        assert await memory.store.check() == []
        assert (await memory.store.counts("ada"))["messages"] % 4 == 0


class SlowModel:
    """A model that answers nobody; it says when it is asked, and when it is left."""

    name = "slow"

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def complete(self, prompt: str, conversation: str) -> str:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError


async def test_closing_that_is_cancelled_gives_up_summaries_and_closes_the_store(url: str) -> None:
    model = SlowModel()
    app = await backscroll.Backscroll(url, summary_manager=SessionSummaryManager(model=model)).__aenter__()
    store = app.store
    await app.memory("ada").record_run(a_turn(), session_id="s")
    app.summarize_later("ada", "s")
    with anyio.fail_after(20):
        await model.asked.wait()
        assert await cancelled_after(3, app.__aexit__(None, None, None))
    assert model.left.is_set()
    with pytest.raises(StoreUnusable, match="not open"):
        await store.data_version("ada")
