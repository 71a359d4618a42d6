"""Transcripts that are read by a process beside the one that records: the same rows, whatever becomes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from benchmarks.talk import Sizes, Talk
from benchmarks.transcripts import write_transcript, write_transcripts

import backscroll
from backscroll import Memory
from backscroll.config import Settings
from backscroll.exporting import export_jsonl
from backscroll.importing import Progress, import_paths

FIXTURES = Path(__file__).parent / "fixtures" / "claude_code"

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")


async def everything(memory: Memory) -> list[dict[str, Any]]:
    """All rows, but for the times at which they were recorded."""
    lines: list[str] = []
    await export_jsonl(memory, None, lines.append)
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row.pop("updated_at" if row["type"] == "session" else "created_at" if row["type"] == "run" else "", None)
    return rows


def children_of(pid: int) -> set[int]:
    told = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return {int(child) for line in told for child in line.split()}


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def soon(is_so: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether it comes to be so in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    write_transcripts(folder, Talk(3), files=3, runs=400, sizes=Sizes.even(1_000))
    (folder / "broken.jsonl").write_bytes((FIXTURES / "every_turn.jsonl").read_bytes() + b'{"half a line\n')
    return folder


async def test_what_a_process_beside_reads_is_what_this_one_reads(
    app: backscroll.Backscroll, transcripts: Path
) -> None:
    here, beside = app.memory("here"), app.memory("beside")
    one = await import_paths(here, [transcripts], beside=False)
    other = await import_paths(beside, [transcripts], beside=True)
    assert one == other
    assert one.failed
    assert one.messages > 4_000
    assert await everything(here) == await everything(beside)
    again = await import_paths(beside, [transcripts], beside=True)
    assert (again.unchanged, again.messages) == (4, 0)


@needs_proc
async def test_an_import_goes_on_without_the_process_that_died(app: backscroll.Backscroll, transcripts: Path) -> None:
    whole, killed = app.memory("whole"), app.memory("killed")
    before = children_of(os.getpid())
    killings: set[int] = set()

    def kill(progress: Progress) -> None:
        if progress.bytes_done and not killings:
            killings.update(children_of(os.getpid()) - before)
            for pid in killings:
                os.kill(pid, signal.SIGKILL)

    report = await import_paths(killed, [transcripts], beside=True, progress=kill)
    assert killings
    assert report == await import_paths(whole, [transcripts], beside=False)
    assert await everything(killed) == await everything(whole)
    assert children_of(os.getpid()) == before


async def test_what_cannot_be_read_or_kept_is_told_from_beside_too(url: str, transcripts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    lines = [
        {"type": "user", "uuid": f"u{n}", "sessionId": "s", "message": {"role": "user", "content": "x" * 3_000 * n}}
        for n in (1, 2, 0)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    gone = folder / "b.jsonl"
    gone.write_text(json.dumps(lines[0] | {"sessionId": "t"}) + "\n")

    def remove(progress: Progress) -> None:
        gone.unlink(missing_ok=True)

    async with backscroll.Backscroll(url, Settings(max_message_bytes=4_000)) as app:
        report = await import_paths(app.memory("ada"), [folder], beside=True, progress=remove)
    told = {Path(failure.file).name: failure.error for failure in report.failed}
    assert "max_message_bytes" in told["a.jsonl"]
    assert "b.jsonl" in told["b.jsonl"]
    assert report.messages == 1


@contextmanager
def importing(database: Path, transcript: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "backscroll", "import", str(transcript), "--db", str(database)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@needs_proc
@pytest.mark.parametrize("signum", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
async def test_an_import_that_is_broken_off_leaves_no_process_and_goes_on_later(
    database: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    path = tmp_path / "large.jsonl"
    written = write_transcript(path, Talk(4), size_bytes=16 << 20, sizes=Sizes.even(1_000))
    with importing(database, path) as process:
        assert soon(lambda: bool(children_of(process.pid)))
        (helper,) = children_of(process.pid)
        assert soon(lambda: database.exists() and database.stat().st_size > 1 << 18)
        process.send_signal(signum)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (-signal.SIGKILL, 130, 1)
        assert "Traceback" not in errors
    assert soon(lambda: not is_alive(helper))
    async with backscroll.open(f"sqlite:///{database}", user_id="local") as memory:
        before = (await memory.store.counts("local"))["messages"]
        assert 0 < before < written.messages
        report = await import_paths(memory, [path])
        assert report.messages == written.messages - before
        assert await memory.store.check() == []
