"""Ten minutes of writing and reading through faults: workers killed, the database restarted, the disk full for a while.

    uv run --group bench python -m benchmarks.soak               # ten minutes, half on SQLite, half on Postgres
    uv run --group bench python -m benchmarks.soak --minutes 1   # a taste

Every run that was acknowledged is looked for at the end, word for word; exits 1 where one is missing, doubled or
changed, or where the store's own thorough check finds anything. A run that was refused, or not answered, may be
there as a whole or not at all. Needs Linux.
"""

import argparse
import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from backscroll import Backscroll, Settings

from .http_load import Refused, Wire
from .http_servers import Service, postgres_server, service

if TYPE_CHECKING:
    from postgres_server import PostgresServer

CLIENTS, WORKERS = 12, 2
EVERY_SECONDS = 10.0
"""Between two faults; less in a short run, so that each kind comes."""
FULL_SECONDS = 4.0
RUNS_A_SESSION = 50
SEGMENT_BYTES = 1 << 20
"""Of Postgres's log: a file may grow that far, so that the log goes on and tables do not."""
_BROKEN = (OSError, asyncio.IncompleteReadError, Refused, TimeoutError)


class Sent(NamedTuple):
    """A run as a client sends it, for the first time and again."""

    run_id: str
    session_id: str
    texts: tuple[str, str]

    @property
    def arguments(self) -> dict[str, Any]:
        said, answered = self.texts
        messages = [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]
        return {"messages": messages, "run_id": self.run_id, "session_id": self.session_id}


@dataclass
class Told:
    """What became of what was sent."""

    sent: dict[tuple[str, str], Sent] = field(default_factory=dict)
    """By user and run_id."""
    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


async def write_and_read(served: Service, user: str, token: str, told: Told, until: float) -> None:
    """One client: records, sends every other run again that was not answered, and reads now and then."""
    wire = Wire(served.port, token)
    again: Sent | None = None
    for number in itertools.count():
        if time.monotonic() >= until:
            break
        run = again or _made(user, number)
        again = None
        told.sent[(user, run.run_id)] = run
        try:
            async with asyncio.timeout(30):
                if number % 5 == 4:
                    await wire.call("search_session_history", {"query": run.texts[0][:60], "limit": 3})
                    told.counts["searches"] += 1
                await wire.call("record_run", run.arguments)
        except _BROKEN as error:
            told.counts[_kind(error)] += 1
            wire.close()
            await asyncio.sleep(0.05)
            again = run if number % 2 else None
            continue
        told.acknowledged.add((user, run.run_id))
    wire.close()


def _made(user: str, number: int) -> Sent:
    words = f"What {user} said as number {number}."
    return Sent(f"{user}-{number}", f"{user}-{number // RUNS_A_SESSION}", (words, f"Heard: {words} " * 20))


def _kind(error: BaseException) -> str:
    """What kept a run from being acknowledged: for an answer of the server, how that begins."""
    if not isinstance(error, Refused):
        return f"not answered: {type(error).__name__}"
    return f"refused: {error.told[:90]}"


def wrong(found: Mapping[tuple[str, str], Sequence[str]], told: Told) -> list[str]:
    """What was acknowledged and is not there as it was sent, and what is there in part, twice or from nowhere."""
    lost = [f"{run_id}: missing" for user, run_id in sorted(told.acknowledged - found.keys())]
    changed = [
        f"{run_id}: not as it was sent"
        for (user, run_id), texts in found.items()
        if (user, run_id) not in told.sent or tuple(texts) != told.sent[(user, run_id)].texts
    ]
    return lost + changed


async def stored(url: str, users: Sequence[str]) -> tuple[dict[tuple[str, str], list[str]], list[str]]:
    """The texts of every run of these users, read past the server; and what a thorough check of the store finds."""
    found: dict[tuple[str, str], list[str]] = {}
    async with Backscroll(url, Settings(semantic="off")) as app:
        for user in users:
            for number in await app.store.session_numbers(user):
                for run in await app.store.runs(user, f"#{number}"):
                    found.setdefault((user, run.run_id), [])
                for message in await app.store.messages(user, f"#{number}"):
                    found.setdefault((user, message.run_id or ""), []).append(message.text)
        return found, await app.store.check()


def _limit_files(pids: Sequence[int], most: int, account: str | None) -> None:
    """No file may grow beyond `most` bytes (-1: without end): to a database the same as a full disk."""
    for pid in pids:
        # As the account whose process it is: another one's may not be touched, not even by root in a container.
        limit = ["prlimit", "--pid", str(pid), f"--fsize={'unlimited' if most < 0 else most}:"]
        # One that has ended meanwhile has no need of it.
        subprocess.run(limit, user=account, stderr=subprocess.DEVNULL, check=False)


async def kill_a_worker(served: Service, random_: random.Random) -> str:
    pid = random_.choice(served.workers())
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return "a worker was killed"


async def fill_the_disk(
    pids: Callable[[], list[int]], seconds: float, most: int = 1, account: str | None = None
) -> str:
    """No file of these processes, nor of those they start meanwhile, grows beyond `most` bytes for a while."""
    _limit_files(pids(), most, account)
    await asyncio.sleep(seconds)
    _limit_files(pids(), -1, account)
    return f"no file could grow beyond {most:,} bytes for {seconds:g} s"


async def _faults(until: float, every: float, faults: Sequence[Callable[[], Awaitable[str]]], console: Console) -> None:
    for fault in itertools.cycle(faults):
        # The last ones are followed by time enough to come to oneself again.
        if time.monotonic() + 2 * every + FULL_SECONDS >= until:
            return
        await asyncio.sleep(every)
        console.print(f"  {await fault()}")


def _postgres_faults(server: "PostgresServer") -> list[Callable[[], Awaitable[str]]]:
    async def restart() -> str:
        await asyncio.to_thread(server.restart)
        return "Postgres was restarted, as after a crash"

    async def no_room_for_tables() -> str:
        return "Tables: " + await fill_the_disk(server.backends, FULL_SECONDS, SEGMENT_BYTES, server.account)

    async def no_room_for_the_log() -> str:
        told = await fill_the_disk(server.backends, FULL_SECONDS, 1, server.account)
        # It stops where it cannot write its log, and somebody has to start it when there is room again.
        if not server.backends():
            await asyncio.to_thread(server.start)
            told += ", Postgres stopped and was started again"
        return f"The log: {told}"

    return [restart, no_room_for_tables, no_room_for_the_log]


async def soaked(name: str, url: str, seconds: float, server: "PostgresServer | None", console: Console) -> list[str]:
    """What is wrong in the end; nothing where all that was acknowledged is there."""
    told = Told()
    chosen = random.Random(7)
    async with service(url, workers=WORKERS) as served:
        tokens = await served.users(CLIENTS)
        users = [f"user-{number}" for number in range(CLIENTS)]
        until = time.monotonic() + seconds
        faults: list[Callable[[], Awaitable[str]]] = [lambda: kill_a_worker(served, chosen)]
        faults += (
            [lambda: fill_the_disk(served.processes, FULL_SECONDS)] if server is None else _postgres_faults(server)
        )
        console.print(f"{name}: {CLIENTS} clients, {WORKERS} workers, {seconds:g} s")
        await asyncio.gather(
            _faults(until, min(EVERY_SECONDS, seconds / 8), faults, console),
            *(write_and_read(served, user, token, told, until) for user, token in zip(users, tokens, strict=True)),
        )
    found, problems = await stored(url, users)
    faulty = [*wrong(found, told), *(f"check: {problem}" for problem in problems)]
    for what, count in told.counts.most_common():
        console.print(f"  {count:,} {what}")
    console.print(f"  {len(told.acknowledged):,} runs were acknowledged, {len(found):,} are there")
    console.print(f"  {len(faulty):,} are missing, doubled or changed, or found wrong by the store's own check")
    return faulty


async def run(minutes: float, console: Console) -> int:
    seconds = minutes * 60 / 2
    faulty: list[str] = []
    with TemporaryDirectory(prefix="backscroll-soak-") as folder:
        faulty += await soaked("SQLite", str(Path(folder) / "soak.db"), seconds, None, console)
    async with postgres_server(log_segment_mb=SEGMENT_BYTES >> 20) as server:
        faulty += await soaked("Postgres", server.new_database(), seconds, server, console)
    for line in faulty[:20]:
        console.print(f"  {line}")
    return 1 if faulty else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    sys.exit(asyncio.run(run(parser.parse_args().minutes, Console())))


if __name__ == "__main__":
    main()
