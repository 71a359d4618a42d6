"""The service under load: record, context, history and search over HTTP, beside a tool that does nothing.

    uv run --group bench python -m benchmarks.service            # all of it, a quarter of an hour
    uv run --group bench python -m benchmarks.service matrix     # a part: noop, matrix, users, memory

Server, load and database share this machine, and each cell is bounded in calls and seconds. Writes SERVICE.md.
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console

from .http_load import Load, Wire, loaded
from .http_servers import Service, bare_service, databases, service
from .many_users import RECORDED_ON_POSTGRES
from .measure import Contender, in_turns
from .pipes import ERAS, Era
from .results import Row, Section, as_table, timed, versions, write
from .talk import Sizes, Talk

COMMAND = "uv run --group bench python -m benchmarks.service"
RESULTS = Path(__file__).with_name("SERVICE.md")

CLIENTS = (1, 16, 128)
LOADED = ("what", "calls a second", "median", "99 of 100 within")


class Bounds(NamedTuple):
    """How much is measured."""

    rounds: int = 300
    """Turns of each in `noop`."""
    seconds: float = 4.0
    calls: int = 3_000
    """The most that one cell of the matrix takes, and a client alone beside many users."""
    users: int = 1_000
    sessions: int = 100
    memory: Mapping[str, int] = {"SQLite": 100_000, "Postgres": 30_000}
    """Calls; a database over the network takes several times as long for each."""


FULL = Bounds()

SMALL = Sizes(80, 40, 120, 120)
CHAT = Sizes.even(200)


def _record(wire: Wire, number: int) -> Awaitable[Any]:
    return wire.call("record_run", {"messages": _TALK.chat(200), "session_id": f"load-{id(wire)}"})


def _context(wire: Wire, number: int) -> Awaitable[Any]:
    return wire.call("get_session_context", {"session_id": "small"})


def _history(wire: Wire, number: int) -> Awaitable[Any]:
    return wire.call("get_chat_history", {"session_id": "small"})


def _search(wire: Wire, number: int) -> Awaitable[Any]:
    return wire.call("search_session_history", {"query": "module sed", "limit": 5})


def _nothing(wire: Wire, number: int) -> Awaitable[Any]:
    return wire.call("nothing", {})


_TALK = Talk(11)
CALLED: dict[str, Callable[[Wire, int], Awaitable[Any]]] = {
    "context": _context,
    "history": _history,
    "search": _search,
    "record": _record,
}
"""Recording is last: what it adds makes no read larger."""


async def matrix(folder: Path, bounds: Bounds = FULL) -> list[Section]:
    """Throughput and latency of each call, by database, workers and clients."""
    async with bare_service() as bare:
        rows = [_row("no-op", count, await _cell(bare, [None] * count, _nothing, bounds)) for count in CLIENTS]
    sections = [Section("A tool that does nothing, one process of the same SDK", rows, (), LOADED)]
    for workers in (1, 2):
        async for name, url in databases(folder):
            async with service(url, workers=workers) as served:
                tokens = await served.users(max(CLIENTS))
                for wire in _wires(served, tokens):
                    await _small_store(wire)
                    wire.close()
                rows = [
                    _row(called, count, await _cell(served, tokens[:count], call, bounds))
                    for called, call in CALLED.items()
                    for count in CLIENTS
                ]
            sections.append(Section(f"{name}, {workers} worker{'s' * (workers > 1)}", rows, (), LOADED))
    return sections


async def noop(folder: Path, bounds: Bounds = FULL) -> list[Section]:
    """A small read beside the no-op, call by call in turns, in both eras: the target is 1.6 times."""
    rows: list[Row] = []
    async for name, url in databases(folder):
        async with bare_service() as bare, service(url) as served:
            (token,) = await served.users(1)
            for era in ERAS:
                rows += await _beside_nothing(name, era, bare, served, token, bounds.rounds)
    notes = [
        "One client with a connection kept alive; calls take turns. The no-op has no token to check.",
        "In the new era the SDK itself takes half of what it takes in the old one, so that what a read costs counts "
        "for more: the token (0.07 ms), the store on its own thread (0.25 ms), the page and its text (0.2 ms), limits, "
        "counts and the line in the log (0.1 ms).",
    ]
    return [Section("A small read over HTTP", rows, notes)]


async def _beside_nothing(name: str, era: Era, bare: Service, served: Service, token: str, rounds: int) -> list[Row]:
    ours, theirs = Wire(served.port, token, era=era), Wire(bare.port, era=era)
    try:
        await _small_store(ours)
        contenders = {"nothing": Contender(int, lambda _: _nothing(theirs, 0))}
        for called in ("context", "history", "search"):
            contenders[called] = Contender(int, lambda _, call=CALLED[called]: call(ours, 0))  # type: ignore[misc]
        taken = await in_turns(contenders, rounds=rounds, warm_up=30)
    finally:
        ours.close()
        theirs.close()
    most = 1.6 if name == "SQLite" else None
    return [
        timed(f"{called}, {name}, {era} era", taken[called], "no-op", taken["nothing"], at_most=most)
        for called in ("context", "history", "search")
    ]


async def users(folder: Path, bounds: Bounds = FULL) -> list[Section]:
    """A user among a thousand beside one among ten: each has a hundred sessions."""
    rows: list[Row] = []
    many = bounds.users
    async for name, url in databases(folder):
        async with service(url) as served:
            # Two users of whom neither has called before: the same is asked for each.
            first, second, *_ = await served.users(10)
            await served.fill(10, bounds.sessions)
            few = await _one_by_one(served, first, bounds.calls // 10)
            await served.users(many)
            await served.fill(many, bounds.sessions)
            all_of_them = await _one_by_one(served, second, bounds.calls // 10)
        rows += [
            Row(
                f"{called}, {name}",
                f"{all_of_them[called] * 1000:.2f} ms",
                f"{few[called] * 1000:.2f} ms",
                f"{all_of_them[called] / few[called]:.2f}",
            )
            for called in CALLED
        ]
    notes = [
        f"Each user has {bounds.sessions} sessions and a token. Medians, one client.",
        f"On Postgres {RECORDED_ON_POSTGRES} users are recorded, and all others get the rows of one of them.",
    ]
    return [
        Section(f"A user among {many:,}, beside one among 10", rows, notes, ("what", f"{many:,} users", "10", "ratio"))
    ]


async def memory(folder: Path, bounds: Bounds = FULL) -> list[Section]:
    """What the server holds after many calls, beside what it held after a tenth of them."""
    rows = []
    async for name, url in databases(folder):
        calls = bounds.memory[name]
        async with service(url) as served:
            wires = _wires(served, await served.users(16))
            for wire in wires:
                await _small_store(wire)
            held = []
            for part in (calls // 10, calls - calls // 10):
                await loaded(wires, _mixed, seconds=1_800, calls=part)
                held.append(served.resident_bytes())
            for wire in wires:
                wire.close()
        rows.append(
            Row(
                f"{name}, {calls:,} calls",
                f"{held[1] / 1e6:.0f} MB",
                f"{held[0] / 1e6:.0f} MB",
                f"{held[1] / held[0]:.2f}",
            )
        )
    notes = ["Resident, of the one worker; 16 clients, one call in twenty records."]
    return [Section("Memory of the server", rows, notes, ("what", "after all", "after a tenth", "ratio"))]


def _mixed(wire: Wire, number: int) -> Awaitable[Any]:
    reads = (_context, _history, _search)
    return (_record if number % 20 == 0 else reads[number % 3])(wire, number)


async def _small_store(wire: Wire) -> None:
    for session in ("small", "another"):
        await wire.call("record_run", {"messages": _TALK.run(SMALL), "session_id": session})


async def _cell(
    served: Service,
    tokens: Sequence[str | None],
    call: Callable[[Wire, int], Awaitable[Any]],
    bounds: Bounds,
) -> Load:
    wires = _wires(served, tokens)
    try:
        await loaded(wires, call, seconds=bounds.seconds / 4, calls=2 * len(wires))
        return await loaded(wires, call, seconds=bounds.seconds, calls=bounds.calls)
    finally:
        for wire in wires:
            wire.close()


async def _one_by_one(served: Service, token: str, calls: int) -> dict[str, float]:
    """The median of each call, in seconds, one client alone."""
    wire = Wire(served.port, token)
    medians = {}
    try:
        await _small_store(wire)
        for called, call in CALLED.items():
            await loaded([wire], call, seconds=2, calls=calls // 8)
            medians[called] = statistics.median((await loaded([wire], call, seconds=20, calls=calls)).latencies)
    finally:
        wire.close()
    return medians


def _wires(served: Service, tokens: Sequence[str | None]) -> list[Wire]:
    return [Wire(served.port, token) for token in tokens]


def _row(called: str, clients: int, load: Load) -> Row:
    return Row(
        f"{called}, {clients} client{'s' * (clients > 1)}",
        f"{load.per_second:,.0f}",
        f"{load.quantile(0.5) * 1000:.1f} ms",
        f"{load.quantile(0.99) * 1000:.1f} ms",
    )


PARTS: dict[str, Callable[[Path, Bounds], Awaitable[list[Section]]]] = {
    "noop": noop,
    "matrix": matrix,
    "users": users,
    "memory": memory,
}


async def measured(chosen: Sequence[str], console: Console, bounds: Bounds = FULL) -> list[Section]:
    sections: list[Section] = []
    for part in chosen:
        with TemporaryDirectory(prefix="backscroll-service-") as folder:
            for section in await PARTS[part](Path(folder), bounds):
                sections.append(section)
                console.print(as_table(section))
    return sections


def _machine(load_before: float) -> Section:
    rows = [
        Row("cores", str(os.cpu_count())),
        Row("load before, by others", f"{load_before:.1f}"),
        Row("load in the end", f"{os.getloadavg()[0]:.1f}"),
    ]
    notes = ["Server, load and database share the machine: what is above two busy cores waited in line."]
    return Section("The machine", rows, notes, ("what", "how much"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    console = Console()
    console.print(", ".join(versions()))
    before = os.getloadavg()[0]
    sections = asyncio.run(measured(asked.parts or list(PARTS), console))
    if not asked.parts:
        sections.append(_machine(before))
        write(sections, COMMAND, RESULTS)
        console.print(f"written to {RESULTS.name}")


if __name__ == "__main__":
    main()
