"""`python -m benchmarks.semantic_scan`: what search by meaning costs, by number of messages.

Vectors are made up: of 256 dimensions, around 3,000 centres, as messages gather around topics; each question is
near one of them. They go into the file as the store writes them, and are asked for through `Semantic.nearest`
(p50, p95; `In 1 %` of the sessions) and through its scan of the signs alone. `File` is bytes a message. `Found`
says how many of the 10 or 100 true nearest, by the vectors as they were made in 32-bit floats, are among as many
that were found. Around a centre all are nearly as near as each other, so this is harder than real talk.

The second table is about making them: how fast, with the real model over made-up sentences, and what somebody
who records meanwhile notices of it.
"""

import argparse
import asyncio
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from backscroll import Backscroll, Settings
from backscroll.semantic import Semantic
from backscroll.semantic.filling import START_AFTER_S
from backscroll.semantic.service import PAGE
from backscroll.semantic.vectors import Floats, Signs, packed, unit
from backscroll.store import VectorStore
from backscroll.store.opening import open_store
from backscroll.store.vectors import Unembedded

DIMS = 256
CENTRES = 3_000
NOISE = 0.9
COUNTS = (10_000, 100_000, 1_000_000)
PER_SESSION = 50
QUESTIONS = 40
LIMIT = 100
RECORDED = 150


class Scan(NamedTuple):
    messages: int
    file_bytes: float
    memory_bytes: float
    load_ms: float
    call_ms: tuple[float, float]
    scan_ms: float
    narrowed_ms: float
    found_10: float
    found_100: float


def made_up(count: int, seed: int = 1) -> Iterator[Floats]:
    """Blocks of vectors."""
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((CENTRES, DIMS)).astype(np.float32))
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        noise = unit(random.standard_normal((size, DIMS)).astype(np.float32))
        yield unit(centres[random.integers(0, CENTRES, size)] + NOISE * noise)


def questions() -> Floats:
    random = np.random.default_rng(1)
    centres = unit(random.standard_normal((CENTRES, DIMS)).astype(np.float32))
    noise = unit(np.random.default_rng(2).standard_normal((QUESTIONS, DIMS)).astype(np.float32))
    return unit(centres[:QUESTIONS] + NOISE * noise)


def filled(path: Path, count: int, model: str) -> float:
    """Bare messages and their vectors, straight into the file of an empty store; the bytes a vector takes there."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("INSERT INTO users (user_key, user_id) VALUES (1, 'ada')")
        db.executemany(
            "INSERT INTO sessions (session_key, user_key, session_id, number, source, created_at, updated_at, "
            "last_activity_at) VALUES (?1, 1, ?2, ?1, 'api', 0, 0, 0)",
            ((key, f"s{key}") for key in range(1, count // PER_SESSION + 2)),
        )
        db.execute(
            "INSERT INTO runs (run_key, user_key, session_key, run_id, run_index, status, created_at) "
            "VALUES (1, 1, 1, 'r', 1, 'completed', 0)"
        )
        db.executemany(
            "INSERT INTO messages (message_key, session_key, run_key, seq, role, text, created_at) "
            "VALUES (?, ?, 1, ?, 'user', '', 0)",
            ((key, key // PER_SESSION + 1, key) for key in range(1, count + 1)),
        )
        db.execute("COMMIT")
        before = _pages(db)
        db.execute("BEGIN")
        db.execute("INSERT INTO vector_progress VALUES (1, ?, 1, ?, 0)", (model, count))
        key = 0
        for block in made_up(count):
            rows = [
                (number, number // PER_SESSION + 1, data) for number, data in enumerate(packed(block), start=key + 1)
            ]
            db.executemany(
                "INSERT INTO vectors (message_key, user_key, session_key, generation, vector) VALUES (?, 1, ?, 1, ?)",
                rows,
            )
            key += len(rows)
        db.execute("COMMIT")
        return (_pages(db) - before) * 4096 / count


def _pages(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA page_count").fetchone()[0])


def truth(count: int, asked: Floats) -> list[list[int]]:
    """The keys of the LIMIT true nearest of each question."""
    scores = np.concatenate([asked @ block.T for block in made_up(count)], axis=1)
    return [[int(at) + 1 for at in np.argsort(-row)[:LIMIT]] for row in scores]


async def scan(count: int, folder: Path) -> Scan:
    path = folder / f"{count}.db"
    settings = Settings()
    store = await open_store(str(path))
    # A search waits for less; here the whole load is timed.
    semantic = Semantic(store.vectors, settings, signs_s=600.0)
    file_bytes = await asyncio.to_thread(filled, path, count, (await semantic.embedder()).name)
    asked = questions()
    right = truth(count, asked)
    before = _resident()
    started = time.perf_counter()
    await semantic.nearest("ada", asked[0], limit=LIMIT)
    load = time.perf_counter() - started
    memory = _resident() - before
    calls, found_10, found_100 = [], [], []
    for question, expected in zip(asked, right, strict=True):
        started = time.perf_counter()
        near = await semantic.nearest("ada", question, limit=LIMIT)
        calls.append((time.perf_counter() - started) * 1_000)
        keys = [one.message_key for one in near]
        found_10.append(len(set(keys[:10]) & set(expected[:10])) / 10)
        found_100.append(len(set(keys) & set(expected)) / LIMIT)
    within = list(range(1, max(2, count // PER_SESSION // 100)))
    narrowed = []
    for question in asked:
        started = time.perf_counter()
        await semantic.nearest("ada", question, limit=LIMIT, sessions=within)
        narrowed.append((time.perf_counter() - started) * 1_000)
    signs = Signs(DIMS)
    after = 0
    while (page := await store.vectors.signs("ada", 1, after=after, limit=PAGE)).keys:
        signs.add(page.keys, page.sessions, page.data)
        after = page.upto
    scans = []
    for question in asked:
        started = time.perf_counter()
        signs.nearest(question, LIMIT * 8)
        scans.append((time.perf_counter() - started) * 1_000)
    await semantic.close()
    await store.close()
    return Scan(
        count,
        file_bytes,
        memory / count,
        load * 1_000,
        (statistics.median(calls), _high(calls)),
        statistics.median(scans),
        statistics.median(narrowed),
        statistics.mean(found_10),
        statistics.mean(found_100),
    )


def _resident() -> int:
    """Bytes; Linux tells pages in the second field."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _high(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


class Making(NamedTuple):
    messages_a_second: float
    longest_save_ms: float
    alone_ms: tuple[float, float]
    meanwhile_ms: tuple[float, float]


class ClockedVectors:
    """Vectors of a store; notes how long each saving took, its wait for the disk included."""

    def __init__(self, vectors: VectorStore) -> None:
        self._vectors = vectors
        self.saves_ms: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vectors, name)

    async def save(self, read: Unembedded, vectors: Sequence[tuple[int, bytes]]) -> bool:
        started = time.perf_counter()
        done = await self._vectors.save(read, vectors)
        self.saves_ms.append((time.perf_counter() - started) * 1_000)
        return done


async def making(count: int, folder: Path) -> Making:
    """Vectors of `count` messages, made as fast as it goes; and recording while as many are made in the background."""
    path = folder / "making.db"
    async with Backscroll(str(path), Settings(semantic="off")) as app:
        await _recorded(app, count)
        vectors = ClockedVectors(app.store.vectors)
        semantic = Semantic(cast("VectorStore", vectors), Settings())
        await semantic.embedder()
        started = time.perf_counter()
        await semantic.catch_up()
        seconds = time.perf_counter() - started
        alone = await _timed_recording(app)
        await _recorded(app, count)
    async with Backscroll(str(path), Settings()) as app:
        await asyncio.sleep(START_AFTER_S + 0.5)
        meanwhile = await _timed_recording(app)
        assert (await app.store.vectors.counts("ada")).waiting, "all was made before recording ended: make more"
    return Making(count / seconds, max(vectors.saves_ms), alone, meanwhile)


async def _recorded(app: Backscroll, count: int) -> None:
    memory = app.memory("ada")
    for start in range(0, count, 500):
        await memory.record_run([_message(number) for number in range(start, min(count, start + 500))])


WORDS = "the build of our service fails since we moved its cache behind a new gateway and nobody can say why"


def _message(number: int) -> dict[str, str]:
    words = WORDS.split()
    said = [words[(number * step) % len(words)] for step in range(1, 41)]
    return {"role": "user", "content": f"Message {number}: {' '.join(said)}."}


async def _timed_recording(app: Backscroll) -> tuple[float, float]:
    memory = app.memory("ada")
    taken = []
    for number in range(RECORDED):
        started = time.perf_counter()
        await memory.record_run([_message(number), _message(number + 1)])
        taken.append((time.perf_counter() - started) * 1_000)
        await asyncio.sleep(0.005)
    return statistics.median(taken), _high(taken)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--messages", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--making", type=int, default=20_000, help="messages whose vectors are made")
    given = parser.parse_args()
    out = Console(width=120)
    columns = ("Messages", "File", "Memory", "Load", "p50", "p95", "Scan", "In 1 %", "Found 10", "Found 100")
    table = Table(*(Column(name, justify="right", no_wrap=True) for name in columns))
    with tempfile.TemporaryDirectory() as folder:
        for count in given.messages:
            told = await scan(count, Path(folder))
            table.add_row(
                f"{told.messages:,}",
                f"{told.file_bytes:.0f} B",
                f"{told.memory_bytes * told.messages / 1e6:.1f} MB",
                f"{told.load_ms:,.0f} ms",
                f"{told.call_ms[0]:.1f} ms",
                f"{told.call_ms[1]:.1f} ms",
                f"{told.scan_ms:.1f} ms",
                f"{told.narrowed_ms:.1f} ms",
                f"{told.found_10:.1%}",
                f"{told.found_100:.1%}",
            )
        out.print(table)
        made = await making(given.making, Path(folder))
    table = Table("Made a second", "Longest save", "record_run p50, p95 alone", "while vectors are made")
    table.add_row(
        f"{made.messages_a_second:,.0f}",
        f"{made.longest_save_ms:.1f} ms",
        f"{made.alone_ms[0]:.1f}, {made.alone_ms[1]:.1f} ms",
        f"{made.meanwhile_ms[0]:.1f}, {made.meanwhile_ms[1]:.1f} ms",
    )
    out.print(table)


if __name__ == "__main__":
    asyncio.run(main())
