"""`python -m benchmarks.search_scale`: searching and recording where a million messages are.

The messages are made up (`corpus.py`): as many words as English has, as common and as rare, in sessions that are
about something. Each question is made from a message (`scale_questions.py`), so the right line is known; others
may fit as well, and no search can tell them apart, so R@1 and R@10 say how two searches compare and not how
good one is. Plain BM25 is SQLite's own over the same index: any word, best rank first, filters by join.

"In the store" is what a call of `search_session_history` waits for its store, "the call" is all of it. Each
question is asked once, the kinds in turns, after a warm-up with other questions.
"""

import argparse
import asyncio
import inspect
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

from rich import box
from rich.console import Console
from rich.table import Table

from backscroll import Backscroll, Memory, Settings
from backscroll.store import Store
from backscroll.tokens import counter

# Run by its path too: `uv run benchmarks/search_scale.py`.
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.contenders import USER
from benchmarks.corpus import Corpus
from benchmarks.large_file import Loaded, load, segments
from benchmarks.plain_query import plain_search
from benchmarks.results import Row, Section, as_table, timed, versions
from benchmarks.scale_questions import Asking, Question
from benchmarks.scale_recording import STALL_SECONDS, in_bursts, side_by_side, small_file, without_a_pause

MESSAGES, SMALL = 1_000_000, 1_000
EACH, PLAIN_EACH = 200, 25
COMMITS, ROUNDS = 20_000, 200
LIMIT = 10
MAX_TOKENS = 20_000
"""More than ten hits take: what is measured is the order, not the budget."""
WARM_UP_EACH = 3
"""Questions of each kind that are asked before those that count."""
COLD = 10
WIDE = 120
P50_MS, P99_MS = 10.0, 100.0
FREE = ("common words",)
"""Kinds that no target names."""
ALL = "with a target"


class Asked(NamedTuple):
    """One question's times in seconds, and the rank of its right line, from 1. None where it was not asked."""

    question: Question
    in_store: float
    call: float
    rank: int | None
    plain: float | None = None
    plain_rank: int | None = None


class ClockedStore:
    """A store that adds up how long its answers took."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def clocked(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return await method(*given, **named)
            finally:
                self.seconds += time.perf_counter() - started

        return clocked


class Clocked(Backscroll):
    """Backscroll whose store is watched."""

    _clock: ClockedStore | None = None

    @property
    def store(self) -> Store:
        return cast("Store", self.clock)

    @property
    def clock(self) -> ClockedStore:
        if self._clock is None:
            self._clock = ClockedStore(super().store)
        return self._clock


async def search_cold(path: Path, questions: Sequence[Question]) -> list[Asked]:
    """The first questions after opening, the file out of the system's memory where the system lets it go."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if hasattr(os, "posix_fadvise"):
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    counter.load()
    async with Clocked(str(path), Settings(semantic="off")) as app:
        return [await _ask(app, app.memory(USER), question) for question in questions]


async def search_warm(
    path: Path, warm_up: Sequence[Question], questions: Sequence[Question], plain_each: int
) -> list[Asked]:
    """Each question once; plain BM25 right after ours, for the first so many of each kind."""
    asked: list[Asked] = []
    plain_left = dict.fromkeys((question.kind for question in questions), plain_each)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.execute("PRAGMA cache_size = -16000")
        async with Clocked(str(path), Settings(semantic="off")) as app:
            memory = app.memory(USER)
            for question in warm_up:
                await _ask(app, memory, question)
            for question in questions:
                ours = await _ask(app, memory, question)
                if plain_left[question.kind] > 0:
                    plain_left[question.kind] -= 1
                    started = time.perf_counter()
                    found = plain_search(db, question.query, question.filters, LIMIT)
                    seconds = time.perf_counter() - started
                    ours = ours._replace(plain=seconds, plain_rank=_rank(question.message_key, found))
                asked.append(ours)
    return asked


async def _ask(app: Clocked, memory: Memory, question: Question) -> Asked:
    app.clock.seconds = 0.0
    started = time.perf_counter()
    page = await memory.search_session_history(question.query, limit=LIMIT, max_tokens=MAX_TOKENS, **question.filters)
    call = time.perf_counter() - started
    return Asked(question, app.clock.seconds, call, _rank(question.right, [hit.ref for hit in page.hits or ()]))


def _rank(right: object, found: Sequence[object]) -> int | None:
    return found.index(right) + 1 if right in found else None


# Telling


def search_table(asked: Sequence[Asked]) -> Table:
    """Three rows a kind: what a call waits for the store, all of the call, and plain BM25 for some of the questions."""
    names = ("question", "search", "n", "p50", "p95", "p99", "max", "R@1", "R@10", "target")
    table = Table(*names, title="Searching, milliseconds", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in table.columns[2:-1]:
        column.justify = "right"
    for kind in dict.fromkeys(one.question.kind for one in asked):
        _add_rows(table, kind, [one for one in asked if one.question.kind == kind])
    _add_rows(table, ALL, [one for one in asked if one.question.kind not in FREE])
    return table


def _add_rows(table: Table, kind: str, asked: Sequence[Asked]) -> None:
    in_store, call = [one.in_store for one in asked], [one.call for one in asked]
    both = [one for one in asked if one.plain is not None]
    plain = [one.plain for one in both if one.plain is not None]
    p50, _, p99, _ = _percentiles(in_store)
    target = "" if kind in FREE else "met" if p50 < P50_MS and p99 < P99_MS else "missed"
    rows: list[tuple[str, Sequence[float], Sequence[str]]] = [
        ("in the store", in_store, ("", "", target)),
        ("the call", call, _within(asked, [one.rank for one in asked])),
        ("plain BM25", plain, _within(both, [one.plain_rank for one in both])),
    ]
    for name, seconds, rest in rows:
        shown = _percentiles_shown(seconds)
        table.add_row(kind if name == rows[0][0] else "", name, str(len(seconds)), *shown, *rest)
    if kind == ALL and len(both) < len(asked):
        same = _within(both, [one.rank for one in both])
        table.add_row("", "call, as BM25", str(len(both)), *_percentiles_shown([one.call for one in both]), *same)
    table.add_section()


def _percentiles_shown(seconds: Sequence[float]) -> list[str]:
    return [f"{ms:.1f}" if ms < 100 else f"{ms:.0f}" for ms in _percentiles(seconds)]


def _percentiles(seconds: Sequence[float]) -> tuple[float, float, float, float]:
    """p50, p95, p99 and the most, in milliseconds; nought where nothing was timed."""
    if len(seconds) < 2:
        only = 1000 * sum(seconds)
        return only, only, only, only
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return 1000 * statistics.median(seconds), 1000 * cuts[94], 1000 * cuts[98], 1000 * max(seconds)


def _within(asked: Sequence[Asked], ranks: Sequence[int | None]) -> Sequence[str]:
    """R@1 and R@10 in per cent; nothing where there is no right line."""
    if not any(one.question.right for one in asked):
        return ("", "")
    return [f"{100 * sum(rank is not None and rank <= k for rank in ranks) / len(ranks):.0f}" for k in (1, LIMIT)]


def loading_section(loaded: Loaded, path: Path) -> Section:
    mb = loaded.text_bytes / 1e6
    size = path.stat().st_size / 1e6
    batches = sorted(loaded.batch_seconds)
    rate = f"{loaded.messages / sum(batches):,.0f} messages a second, {mb / sum(batches):.1f} MB a second"
    rows = [
        Row(f"load {loaded.messages:,} messages, {mb:,.0f} MB of text, as an import does", rate),
        Row("a batch: median and slowest", f"{batches[len(batches) // 2] * 1000:.0f}, {batches[-1] * 1000:.0f} ms"),
        Row("upkeep of the index afterwards, until it rests", f"{loaded.merging_seconds:.0f} s"),
        Row("size of the file", f"{size:,.0f} MB, {size / mb:.2f} times the text"),
    ]
    return Section("Loading", rows)


# Measuring


async def measure(
    path: Path, folder: Path, console: Console, *, messages: int, each: int, plain_each: int, commits: int, rounds: int
) -> None:
    if await asyncio.to_thread(path.exists):
        console.print(f"The database of an earlier run is used: {path.name}.")
    else:
        loaded = await load(path, Corpus(), messages, console.print)
        console.print(as_table(loading_section(loaded, path)))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        (held,) = db.execute("SELECT count(*) FROM messages").fetchone()
        console.print(f"{held:,} messages; the index has {len(segments(db))} segments.")
        warm_up, questions = Asking(db, seed=2).questions(WARM_UP_EACH), Asking(db).questions(each)
    cold = await search_cold(path, questions[:COLD])
    console.print(
        f"The first {COLD} searches, nothing in memory, ms in the store: "
        + ", ".join(f"{1000 * one.in_store:.1f}" for one in cold)
    )
    console.print(search_table(await search_warm(path, warm_up, questions, plain_each)))
    console.print(as_table(await recording_section(path, folder, held, commits, rounds)))


async def recording_section(path: Path, folder: Path, held: int, commits: int, rounds: int) -> Section:
    """On a copy, so that the file stays what it is."""
    large, small = folder / "large.db", folder / "small.db"
    await asyncio.to_thread(_copy, path, large)
    await small_file(small, SMALL)
    taken = await side_by_side({"large": large, "small": small}, rounds)
    rows = [
        timed(
            f"record a run of 4 messages, {held:,} messages in the file",
            taken["large"],
            f"{SMALL:,} messages",
            taken["small"],
            at_most=1.1,
        )
    ]
    for what, driven in (("one after another", without_a_pause), ("in bursts, meeting merges", in_bursts)):
        done, disk = await driven(large, folder / "disk", commits)
        limit = f"{1000 * STALL_SECONDS:.0f} ms"
        rows.append(
            Row(
                f"small commits, {what}: median, 99th of 100, slowest",
                done.shown(),
                f"4 kB written and synced: {disk.shown()}",
                target=f"none over {limit}",
                met=done.stalls == 0,
            )
        )
    return Section("Recording", rows)


def _copy(path: Path, to: Path) -> None:
    """On the disk when it returns: no commit that is measured should have to write it there."""
    shutil.copyfile(path, to)
    with to.open("rb+") as file:
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_scale", description="Search where much is.")
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"how many to load ({MESSAGES:,})")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="the database: made if missing, else used as it is")
    parser.add_argument("--questions", type=int, default=EACH, help=f"of each kind ({EACH})")
    parser.add_argument(
        "--plain", type=int, default=PLAIN_EACH, help=f"of each kind, asked of plain BM25 ({PLAIN_EACH})"
    )
    parser.add_argument("--commits", type=int, default=COMMITS, help=f"small commits of each sort ({COMMITS:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"pairs of recordings ({ROUNDS})")
    parser.add_argument("--folder", type=Path, help="where to put what is thrown away, to choose the disk")
    asked = parser.parse_args()
    # Nothing folds a table that goes into a file.
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    console.print(", ".join(versions()))
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="backscroll-bench-") as folder:
        asyncio.run(
            measure(
                asked.keep or Path(folder) / "scale.db",
                Path(folder),
                console,
                messages=asked.messages,
                each=asked.questions,
                plain_each=asked.plain,
                commits=asked.commits,
                rounds=asked.rounds,
            )
        )


if __name__ == "__main__":
    main()
