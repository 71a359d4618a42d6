"""Processes that die in the middle, and processes that all write at once: real ones, on one real file."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import backscroll
from backscroll import Memory
from backscroll.models import Message
from builders import a_turn, faults_of_sequence, user
from fixtures.recorder import MESSAGES, a_run

RECORDER = Path(__file__).parent / "fixtures" / "recorder.py"


@contextmanager
def recording(url: str, session_id: str, runs: int = 0, name: str = "run") -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, RECORDER, url, session_id, str(runs), name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged_before_kill(url: str, session_id: str, name: str, after: int) -> list[str]:
    """Run ids that a recorder acknowledged before it was killed with SIGKILL, right after the given number."""
    with recording(url, session_id, name=name) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        # A recorder that failed by itself says why.
        assert all(told), process.stderr and process.stderr.read()
        # Not `communicate`: it would pass over what readline has read ahead.
        rest = process.stdout.read()
        assert process.wait(timeout=60) == -signal.SIGKILL
    # The last line may have been torn.
    return told + [line for line in rest.split("\n")[:-1] if line]


def by_run(messages: list[Message]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for message in messages:
        found.setdefault(message.run_id, []).append(message.text)
    return found


def said(run_id: str) -> list[str]:
    name, n = run_id.rsplit("-", 1)
    asked, *rest = a_run(name, int(n))
    return [asked["content"][0]["text"], *(message["content"] for message in rest)]


async def killed(url: str, database: Path, times: int, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    for n in range(times):
        acknowledged.update(await asyncio.to_thread(acknowledged_before_kill, url, "s", f"k{n}", chance.randint(1, 12)))
        async with backscroll.open(url, user_id="ada") as memory:
            told = await memory.get_messages_for_session("s")
            runs = await memory.get_runs("s")
            session = await memory.get_session("s")
            whole = by_run(told)
            assert acknowledged <= set(whole)
            assert {run.run_id for run in runs} == set(whole)
            for run_id, texts in whole.items():
                assert texts == said(run_id), run_id
            # At most one run each time was finished and not yet acknowledged.
            assert len(whole) <= len(acknowledged) + n + 1
            assert faults_of_sequence(told) == []
            assert (session.messages, session.runs) == (MESSAGES * len(whole), len(whole))
            assert session.metrics["runs"] == len(whole)
            assert [run.run_index for run in runs] == list(range(1, len(whole) + 1))
            assert await memory.store.check() == []
    with sqlite3.connect(database) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


async def test_a_killed_recorder_loses_nothing_that_it_acknowledged(url: str, database: Path) -> None:
    await killed(url, database, times=10, seed=1)


@pytest.mark.slow
async def test_a_recorder_killed_a_hundred_times_loses_nothing(url: str, database: Path) -> None:
    await killed(url, database, times=100, seed=2)


async def race(url: str, sessions: list[str], runs: int) -> None:
    """One recorder for each name, all at once, while this process reads, deletes, purges and checks."""
    reads = 0
    with ExitStack() as stack:
        processes = [stack.enter_context(recording(url, s, runs, f"w{n}")) for n, s in enumerate(sessions)]
        async with backscroll.open(url, user_id="ada") as memory:
            while any(process.poll() is None for process in processes):
                reads += 1
                await look(memory, sessions)
                await memory.record_run([user(f"mine {reads}")], session_id="mine")
                await memory.record_run(a_turn(), session_id=f"gone{reads}")
                # Purging checkpoints and rewrites the file under the writers.
                await memory.delete_session(f"gone{reads}", purge=reads % 5 == 0)
                await asyncio.sleep(0)
        for process in processes:
            out, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, "")
            assert len(out.split()) == runs
    async with backscroll.open(url, user_id="ada") as memory:
        for session_id in sorted(set(sessions)):
            told = await memory.get_messages_for_session(session_id)
            expected = {f"w{n}-{i}" for n, s in enumerate(sessions) if s == session_id for i in range(runs)}
            whole = by_run(told)
            assert set(whole) == expected
            for run_id, texts in whole.items():
                assert texts == said(run_id)
            assert [m.seq for m in told] == list(range(1, MESSAGES * len(expected) + 1))
            indexes = [run.run_index for run in await memory.get_runs(session_id)]
            assert indexes == list(range(1, len(expected) + 1))
            assert (await memory.get_session(session_id)).metrics["runs"] == len(expected)
        assert (await memory.get_session("mine")).messages == reads
        assert await memory.store.check() == []


async def look(memory: Memory, sessions: list[str]) -> None:
    """Whatever a reader sees is whole."""
    listed = {line.session_id for line in (await memory.list_sessions()).sessions}
    for session_id in set(sessions) & listed:
        told = await memory.get_messages_for_session(session_id)
        assert len(told) % MESSAGES == 0
        assert faults_of_sequence(told) == []
    await memory.search_session_history("number")


async def test_four_processes_write_to_one_session(url: str) -> None:
    await race(url, ["s"] * 4, runs=25)


async def test_four_processes_write_to_four_sessions_of_one_file(url: str) -> None:
    await race(url, ["a", "b", "c", "d"], runs=25)


async def test_the_same_run_from_two_processes_is_kept_once(url: str) -> None:
    with recording(url, "s", 30, "same") as left, recording(url, "s", 30, "same") as right:
        for process in (left, right):
            out, errors = await asyncio.to_thread(process.communicate)
            assert (process.returncode, errors, len(out.split())) == (0, "", 30)
    async with backscroll.open(url, user_id="ada") as memory:
        assert set(by_run(await memory.get_messages_for_session("s"))) == {f"same-{n}" for n in range(30)}
        session = await memory.get_session("s")
        assert (session.messages, session.runs, session.metrics["runs"]) == (30 * MESSAGES, 30, 30)
        assert await memory.store.check() == []


async def test_processes_that_open_a_new_file_at_once_make_one_database(url: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(recording(url, f"s{n}", 1, f"w{n}")) for n in range(4)]
        for process in processes:
            _, errors = await asyncio.to_thread(process.communicate)
            assert (process.returncode, errors) == (0, "")
    async with backscroll.open(url, user_id="ada") as memory:
        assert (await memory.list_sessions()).total == 4
        assert {line.session for line in (await memory.list_sessions()).sessions} == {"#1", "#2", "#3", "#4"}


async def test_state_merged_by_many_at_once_keeps_every_key(url: str, memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s")
    async with backscroll.Backscroll(url) as other:
        rival = other.memory("ada")
        await asyncio.gather(
            *((memory, rival)[n % 2].update_session("s", state={f"k{n}": n, "last": {f"n{n}": 1}}) for n in range(40)),
            *(memory.record_run([user(f"q{n}")], session_id="s", state={f"r{n}": n}) for n in range(10)),
        )
    state = (await memory.get_session("s")).state
    assert state.pop("last") == {f"n{n}": 1 for n in range(40)}
    assert state == {f"k{n}": n for n in range(40)} | {f"r{n}": n for n in range(10)}
