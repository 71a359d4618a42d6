"""Recording where much is recorded already: beside a small file, and commit after commit while the index is merged."""

import asyncio
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from backscroll import Memory

from .contenders import backscroll_at, fill, record
from .measure import Contender, Times, in_turns
from .talk import Chat, Talk

SMALL_CHARS = 150
SESSIONS = 50
BURST = 100
PAUSE_SECONDS = 0.31
"""A moment longer than the store waits before it merges, so that the next burst meets a merge under way."""
STALL_SECONDS = 0.05
WARM_UP = 20
RUNS = 25


class Spread(NamedTuple):
    """How long each of many small things took, in seconds."""

    seconds: Sequence[float]

    @property
    def stalls(self) -> int:
        return sum(each > STALL_SECONDS for each in self.seconds)

    def shown(self) -> str:
        p99 = statistics.quantiles(self.seconds, n=100, method="inclusive")[98]
        p50, p99, most = (1000 * each for each in (statistics.median(self.seconds), p99, max(self.seconds)))
        limit = f"{1000 * STALL_SECONDS:.0f} ms"
        return f"{p50:.2f}, {p99:.2f}, {most:.1f} ms; {self.stalls} of {len(self.seconds):,} over {limit}"


async def small_file(path: Path, messages: int) -> None:
    """A database of so many messages, in sessions of a hundred."""
    talk = Talk(9)
    runs = [talk.run() for _ in range(messages // 4)]
    async with backscroll_at(path) as memory:
        for number in range(0, len(runs), RUNS):
            await fill(memory, f"session-{number}", runs[number : number + RUNS])


async def side_by_side(files: dict[str, Path], rounds: int) -> dict[str, Times]:
    """A run of four messages into each file in turn, all open at once, always into the same session."""
    talk = Talk(7)
    chats = [talk.run() for _ in range(rounds + WARM_UP)]
    async with AsyncExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for name, path in files.items():
            memory = await stack.enter_async_context(backscroll_at(path))
            contenders[name] = Contender(chats.__getitem__, _recording(memory))
        return await in_turns(contenders, rounds=rounds, warm_up=WARM_UP)


def _recording(memory: Memory) -> Callable[[Chat], Awaitable[None]]:
    async def turn(chat: Chat) -> None:
        await record(memory, "side-by-side", chat)

    return turn


async def without_a_pause(path: Path, disk: Path, commits: int) -> tuple[Spread, Spread]:
    """Small runs one after another, so that merging never finds a moment in which nobody writes."""
    return await _commits(path, disk, commits, pause=False)


async def in_bursts(path: Path, disk: Path, commits: int) -> tuple[Spread, Spread]:
    """Small runs in bursts, with pauses in which the store begins to merge; each burst comes upon that."""
    return await _commits(path, disk, commits, pause=True)


async def _commits(path: Path, disk: Path, commits: int, *, pause: bool) -> tuple[Spread, Spread]:
    """The times of the commits, and of a page written to another file and synced after each: the machine's moods."""
    talk, rng = Talk(8), random.Random(11)
    chats = [talk.chat(SMALL_CHARS) for _ in range(commits)]
    taken: list[float] = []
    synced: list[float] = []
    descriptor = os.open(disk, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        async with backscroll_at(path) as memory:
            for number, chat in enumerate(chats):
                if pause and number and number % BURST == 0:
                    await asyncio.sleep(PAUSE_SECONDS + rng.random() * 0.05)
                started = time.perf_counter()
                await record(memory, f"small-{number % SESSIONS}", chat)
                ended = time.perf_counter()
                os.pwrite(descriptor, bytes(4096), 0)
                os.fsync(descriptor)
                taken.append(ended - started)
                synced.append(time.perf_counter() - ended)
    finally:
        os.close(descriptor)
    return Spread(taken), Spread(synced)
