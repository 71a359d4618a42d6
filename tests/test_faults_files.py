"""Files that cannot serve: a clear StoreUnusable, no traceback, and not a byte of them changed."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import backscroll
from backscroll import Memory
from backscroll.errors import InvalidArgument, StoreError, StoreUnusable
from builders import a_tool_turn, a_turn, user

NOBODY = 65534


async def filled(url: str, runs: int = 20) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        for n in range(runs):
            await memory.record_run(a_tool_turn(n), session_id="s")


async def refused(url: str, words: str) -> None:
    with pytest.raises(StoreUnusable, match=words) as told:
        async with backscroll.open(url, user_id="ada") as memory:
            await memory.list_sessions()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"\0" * 5000, b"SQLite format 3\0" + b"x" * 5000, b"x"]
)
async def test_a_file_that_is_no_database_is_left_as_it_is(url: str, database: Path, content: bytes) -> None:
    database.write_bytes(content)
    await refused(url, "not a SQLite database|damaged|cannot be used|another program")
    assert database.read_bytes() == content


async def test_an_empty_file_becomes_a_database(url: str, database: Path) -> None:
    database.touch()
    await filled(url, 1)
    assert database.stat().st_size > 0


async def test_a_folder_in_the_place_of_the_file_is_refused(url: str, database: Path) -> None:
    database.mkdir()
    await refused(url, str(database))


async def test_another_programs_database_is_left_as_it_is(url: str, database: Path) -> None:
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
        db.execute("INSERT INTO recipes VALUES ('soup')")
    db.close()
    before = database.read_bytes()
    await refused(url, "another program")
    assert database.read_bytes() == before
    with sqlite3.connect(database) as db:
        assert db.execute("SELECT name FROM recipes").fetchall() == [("soup",)]
    db.close()


async def test_a_database_of_a_newer_version_is_left_as_it_is(url: str, database: Path) -> None:
    await filled(url)
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 9999")
    db.close()
    before = database.read_bytes()
    await refused(url, "9999.*Upgrade Backscroll")
    assert database.read_bytes() == before


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
async def test_a_truncated_database_is_refused_and_left_as_it_is(url: str, database: Path, part: float) -> None:
    await filled(url)
    content = database.read_bytes()
    content = content[: int(len(content) * part) // 4096 * 4096 + 100]
    database.write_bytes(content)
    with pytest.raises(StoreUnusable, match=r"damaged|not a SQLite database"):
        async with backscroll.open(url, user_id="ada") as memory:
            await memory.get_messages_for_session("s")
            await memory.search_session_history("matter")
            await memory.record_run(a_turn(), session_id="s")
    assert database.read_bytes() == content


async def test_a_damaged_page_is_told_and_the_rest_is_still_read(url: str, database: Path) -> None:
    await filled(url, 60)
    content = bytearray(database.read_bytes())
    with sqlite3.connect(database) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'tool_calls'").fetchone()
    db.close()
    content[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    database.write_bytes(content)
    async with backscroll.open(url, user_id="ada") as memory:
        with pytest.raises(StoreUnusable, match="damaged"):
            await memory.get_tool_call_history("s")
        assert (await memory.list_sessions()).total == 1
        problems: list[str] = []
        try:
            problems = await memory.store.check()
        except StoreUnusable:
            problems = ["damaged"]
        assert problems


async def test_check_sees_an_index_that_says_something_else(url: str, database: Path, memory: Memory) -> None:
    await memory.record_run([user("a needle")], session_id="s")
    assert await memory.store.check() == []
    with sqlite3.connect(database) as db:
        db.execute("UPDATE messages SET text = 'a thread'")
    db.close()
    problems = await memory.store.check()
    assert any("lacks" in line for line in problems)
    assert any("of no message" in line for line in problems)
    await memory.store.rebuild_index()
    assert await memory.store.check() == []
    assert (await memory.search_session_history("needle")).total == 0
    assert (await memory.search_session_history("thread")).total == 1


async def test_check_sees_counters_that_are_wrong(url: str, database: Path, memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s")
    with sqlite3.connect(database) as db:
        db.execute("UPDATE sessions SET messages = messages + 1")
    db.close()
    assert any("count" in line for line in await memory.store.check())


@pytest.mark.parametrize("bad", ["postgres://x/y", "mysql://x", ":memory:", "", "sqlite:///"])
async def test_what_is_no_file_is_refused(bad: str) -> None:
    with pytest.raises((InvalidArgument, StoreUnusable)):
        async with backscroll.Backscroll(bad or "sqlite:///"):
            pass


def test_files_and_folders_are_the_owners_alone(tmp_path: Path) -> None:
    done = child(
        f"""
        url = "sqlite:///{tmp_path}/new/folder/notes.db"
        async def main():
            async with backscroll.open(url) as memory:
                await memory.record_run(TURN, session_id="s")
                for path in sorted(pathlib.Path("{tmp_path}/new/folder").iterdir()):
                    print(oct(path.stat().st_mode & 0o777), path.name)
        """,
        umask=0,
    )
    told = done.stdout.split()
    assert set(told[::2]) == {"0o600"}
    assert "notes.db-wal" in told
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700


PROLOGUE = """
import asyncio, os, pathlib, resource, signal, sys, tempfile
import backscroll, backscroll.memory
from backscroll.errors import BackscrollError
from backscroll.tokens import counter
counter.load()
TURN = [{"role": "user", "content": "hi " * 2000}, {"role": "assistant", "content": "yo " * 2000}]
"""


def child(program: str, *, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    """Run a program that defines `main` in a process of its own; fail if it dies or says anything on stderr."""
    script = PROLOGUE + textwrap.dedent(program) + "\nasyncio.run(main())\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        umask=umask,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done


# Root may write to what is read-only: the child becomes somebody else once all is imported.
SOMEBODY = f"if os.getuid() == 0: os.setgid({NOBODY}); os.setuid({NOBODY})"

TRIED = """
async def main():
    for work in (
        lambda memory: memory.record_run(TURN, session_id="s"),
        lambda memory: memory.list_sessions(),
    ):
        try:
            async with backscroll.open(URL, user_id="ada") as memory:
                await work(memory)
            print("done")
        except BackscrollError as error:
            print(type(error).__name__, error)
"""


def tried_by_somebody(url: str, home: Path) -> list[str]:
    """What a user without rights is told who tries to write and to read; `home` is a folder they can enter."""
    their_home = f"os.environ['XDG_CONFIG_HOME'] = {str(home)!r}"
    return child(f"{SOMEBODY}\n{their_home}\nURL = {url!r}\n{TRIED}").stdout.splitlines()


@pytest.fixture
def commons() -> Iterator[Path]:
    """A folder that any user can enter; tmp_path lies below folders that are ours alone."""
    with tempfile.TemporaryDirectory(prefix="backscroll-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path
        path.chmod(0o755)


@pytest.mark.parametrize("what", ["file", "folder", "both"])
async def test_what_is_read_only_is_told_and_left_as_it_is(commons: Path, what: str) -> None:
    database = commons / "notes.db"
    url = f"sqlite:///{database}"
    await filled(url, 3)
    before = database.read_bytes()
    for path in commons.iterdir():
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        path.chmod(0o644 if what == "folder" else 0o444)
    commons.chmod(0o777 if what == "file" else 0o555)
    told = tried_by_somebody(url, commons)
    assert told[0].startswith("StoreUnusable")
    assert str(database) in told[0]
    assert database.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told(commons: Path) -> None:
    commons.chmod(0o555)
    told = tried_by_somebody(f"sqlite:///{commons}/sub/notes.db", commons)
    assert [line.split()[0] for line in told] == ["StoreUnusable"] * 2
    assert list(commons.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_full_disk_is_told_and_what_was_there_stays(url: str, database: Path) -> None:
    told = child(
        f"""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        async def main():
            async with backscroll.open({url!r}, user_id="ada") as memory:
                kept = 0
                await memory.record_run(TURN, session_id="s", run_id="0")
                resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
                try:
                    for kept in range(1, 1000):
                        await memory.record_run(TURN, session_id="s", run_id=str(kept))
                except BackscrollError as error:
                    print(type(error).__name__, error)
                print(kept, len(await memory.get_messages_for_session("s")))
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
                await memory.record_run(TURN, session_id="s", run_id="after")
                print(len(await memory.get_messages_for_session("s")), await memory.store.check())
        """
    ).stdout.splitlines()
    assert told[0].startswith("StoreUnusable")
    assert "full" in told[0]
    kept, messages = map(int, told[1].split())
    assert kept > 3
    assert messages == 2 * kept
    assert told[2] == f"{2 * kept + 2} []"


def test_a_full_file_system_is_told(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this process may not mount a file system; the limit on a file's size is tried above")
    try:
        told = child(
            f"""
            async def main():
                kept = 0
                try:
                    async with backscroll.open("sqlite:///{small}/notes.db", user_id="ada") as memory:
                        for kept in range(1000):
                            await memory.record_run(TURN, session_id="s", run_id=str(kept))
                except BackscrollError as error:
                    print(type(error).__name__, error)
                async with backscroll.open("sqlite:///{small}/notes.db", user_id="ada") as memory:
                    print(kept, len(await memory.get_messages_for_session("s")))
            """
        ).stdout.splitlines()
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert told[0].startswith("StoreUnusable")
    kept, messages = map(int, told[1].split())
    assert kept > 3
    assert messages == 2 * kept


async def test_a_lock_that_is_held_elsewhere_is_told_as_busy(url: str, database: Path) -> None:
    from backscroll.errors import StoreBusy
    from backscroll.store.lock import FileLock

    async with backscroll.Backscroll(url, backscroll.Settings(busy_timeout_s=0.05)) as app:
        memory = app.memory("ada")
        await memory.record_run(a_turn(), session_id="s")
        with FileLock(database.with_name(f"{database.name}.lock")).held(1.0):
            with pytest.raises(StoreBusy, match="Try again"):
                await memory.record_run(a_turn(), session_id="s")
            assert (await memory.get_session("s")).messages == 2
        await memory.record_run(a_turn(), session_id="s")
        assert (await memory.get_session("s")).messages == 4


async def test_a_backup_is_whole_and_never_overwrites(database: Path, tmp_path: Path, memory: Memory) -> None:
    await memory.record_run(a_tool_turn(), session_id="s")
    target = tmp_path / "copy.db"
    await memory.store.backup(str(target))
    assert target.stat().st_mode & 0o777 == 0o600
    async with backscroll.open(str(target), user_id="ada") as copy:
        assert await copy.get_messages_for_session("s") == await memory.get_messages_for_session("s")
        assert await copy.store.check() == []
    before = target.read_bytes()
    with pytest.raises(InvalidArgument, match="exists already"):
        await memory.store.backup(str(target))
    assert target.read_bytes() == before
    with pytest.raises(StoreError):
        await memory.store.backup(str(tmp_path / "no" / "such" / "folder" / "copy.db"))


async def test_a_store_that_is_closed_says_so(url: str) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        store = memory.store
    with pytest.raises(StoreUnusable, match="not open"):
        await store.session("ada", "s")
    with pytest.raises(StoreUnusable, match="not open"):
        await memory.list_sessions()
