"""Ten minutes of writing and reading through faults: workers killed, the database restarted, the disk full for a while.

    uv run --group bench python -m benchmarks.soak               # ten minutes, half on SQLite, half on Postgres
    uv run --group bench python -m benchmarks.soak --minutes 1   # a taste

Every run that was acknowledged is looked for at the end, word for word; exits 1 where one is missing, doubled or
changed. Runs that were refused, or not answered, may be there or not. Needs Linux.
"""

import argparse
import asyncio
import itertools
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console

from backscroll import Backscroll, Settings

from .http_load import Refused, Wire
from .http_servers import Service, postgres_server, service

if TYPE_CHECKING:
    from postgres_server import PostgresServer

CLIENTS, WORKERS = 12, 2
EVERY_SECONDS = 10.0
FULL_SECONDS = 4.0
_BROKEN = (OSError, asyncio.IncompleteReadError, Refused, TimeoutError)


@dataclass
class Told:
    """What became of what was sent."""

    acknowledged: dict[tuple[str, str], str] = field(default_factory=dict)
    """(user, run_id) to the words that it said."""
    counts: Counter[str] = field(default_factory=Counter)


async def write_and_read(served: Service, user: str, token: str, told: Told, until: float) -> None:
    """One client: records, sends again what was not answered, and reads now and then."""
    wire = Wire(served.port, token)
    pending: list[tuple[str, str]] = []
    for number in itertools.count():
        if time.monotonic() >= until:
            break
        run_id, words = pending.pop() if pending else (f"{user}-{number}", f"What {user} said as number {number}.")
        messages = [{"role": "user", "content": words}, {"role": "assistant", "content": f"Heard: {words}"}]
        arguments = {"messages": messages, "run_id": run_id, "session_id": f"{user}-{number // 50}"}
        try:
            async with asyncio.timeout(30):
                if number % 5 == 4:
                    await wire.call("search_session_history", {"query": words, "limit": 3})
                    told.counts["searches"] += 1
                await wire.call("record_run", arguments)
        except _BROKEN as error:
            told.counts[f"refused: {type(error).__name__} {getattr(error, 'status', '')}".strip()] += 1
            wire.close()
            await asyncio.sleep(0.05)
            if number % 2:
                pending.append((run_id, words))
            continue
        told.acknowledged[(user, run_id)] = words
        told.counts["acknowledged"] += 1
    wire.close()


def missing(found: dict[tuple[str, str], list[str]], told: Told) -> list[str]:
    wrong = []
    for (user, run_id), words in told.acknowledged.items():
        there = found.get((user, run_id))
        if there != [words, f"Heard: {words}"]:
            wrong.append(f"{run_id}: {'missing' if there is None else 'not as it was sent'}")
    return wrong


async def stored(url: str, users: list[str]) -> dict[tuple[str, str], list[str]]:
    """The texts of every run of these users, read past the server."""
    found: dict[tuple[str, str], list[str]] = {}
    async with Backscroll(url, Settings(semantic="off")) as app:
        for user in users:
            for number in await app.store.session_numbers(user):
                runs = {run.run_index: run.run_id for run in await app.store.runs(user, f"#{number}")}
                told = await app.store.messages(user, f"#{number}")
                for message in told:
                    found.setdefault((user, message.run_id or runs[1]), []).append(message.text)
    return found


def _limit_files(pids: list[int], most: int) -> None:
    """No file may grow beyond `most` bytes: to a database the same as a full disk."""
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


async def kill_a_worker(served: Service, random_: random.Random) -> str:
    pid = random_.choice(served.workers())
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return "a worker was killed"


async def fill_the_disk(pids: Callable[[], list[int]], seconds: float) -> str:
    _limit_files(pids(), 1)
    await asyncio.sleep(seconds)
    _limit_files(pids(), resource.RLIM_INFINITY)
    return f"the disk was full for {seconds:g} s"


async def _until(until: float, faults: list[Callable[[], Awaitable[str]]], console: Console) -> None:
    for fault in itertools.cycle(faults):
        if time.monotonic() + EVERY_SECONDS + FULL_SECONDS >= until:
            return
        await asyncio.sleep(EVERY_SECONDS)
        console.print(f"  {await fault()}")


async def soaked(name: str, url: str, seconds: float, server: "PostgresServer | None", console: Console) -> list[str]:
    """What is wrong in the end; nothing where all that was acknowledged is there."""
    told = Told()
    chosen = random.Random(7)
    async with service(url, workers=WORKERS) as served:
        tokens = await served.users(CLIENTS)
        users = [f"user-{number}" for number in range(CLIENTS)]
        until = time.monotonic() + seconds
        faults: list[Callable[[], Awaitable[str]]] = [lambda: kill_a_worker(served, chosen)]
        if server is None:
            faults.append(lambda: fill_the_disk(served.workers, FULL_SECONDS))
        else:
            running = server

            async def restart() -> str:
                await asyncio.to_thread(running.restart)
                return "Postgres was restarted, as after a crash"

            faults += [restart, lambda: fill_the_disk(running.backends, FULL_SECONDS)]
        console.print(f"{name}: {CLIENTS} clients, {WORKERS} workers, {seconds:g} s")
        await asyncio.gather(
            _until(until, faults, console),
            *(write_and_read(served, user, token, told, until) for user, token in zip(users, tokens, strict=True)),
        )
    wrong = missing(await stored(url, users), told)
    for what, count in told.counts.most_common():
        console.print(f"  {count:,} {what}")
    console.print(f"  {len(wrong):,} of {len(told.acknowledged):,} acknowledged runs are missing or changed")
    return wrong


async def run(minutes: float, console: Console) -> int:
    seconds = minutes * 60 / 2
    with TemporaryDirectory(prefix="backscroll-soak-") as folder:
        wrong = await soaked("SQLite", str(Path(folder) / "soak.db"), seconds, None, console)
    async with postgres_server() as server:
        wrong += await soaked("Postgres", server.new_database(), seconds, server, console)
    for line in wrong[:20]:
        console.print(f"  {line}")
    return 1 if wrong else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    sys.exit(asyncio.run(run(parser.parse_args().minutes, Console())))


if __name__ == "__main__":
    main()
