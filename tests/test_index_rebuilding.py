"""The search index found damaged, lagging or old, and made anew beside those who read, write and delete."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

import backscroll
from backscroll import Memory
from backscroll.errors import IndexDamaged, StoreUnusable
from backscroll.store import migrate
from backscroll.store.indexing import INDEX_VERSION, Entry
from backscroll.store.lock import FileLock
from backscroll.store.opening import open_store
from backscroll.store.sqlite import index
from builders import a_turn, assistant, bytes_of, user

REBUILDER = Path(__file__).parent / "fixtures" / "rebuilder.py"
SESSIONS = 9
TURNS = 40
# A search that finds nothing tries what is spelled alike: none of these is like another.
ANIMALS = ("alpaca", "buzzard", "cheetah", "dolphin")


def group(n: int) -> str:
    """A word of one session, spelled unlike those of the others."""
    return f"group{'abcdefghijkl'[n] * 4}"


async def filled(memory: Memory) -> None:
    """Half a megabyte in nine sessions: some fifteen steps of rebuilding."""
    for n in range(SESSIONS):
        talk = [a_turn(f"Question {i} of {group(n)}?", f"The teapot stands on shelf {i}. " * 50) for i in range(TURNS)]
        await memory.record_run([message for turn in talk for message in turn], session_id=f"s{n}")


@contextmanager
def rebuilding(url: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, REBUILDER, url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    line = process.stdout.readline()
    # One that failed by itself says why.
    assert line, process.stderr and process.stderr.read()
    return [int(number) for number in line.split()]


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        yield db


def tables(database: Path) -> set[str]:
    with opened(database) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'search_index%'")}


TODAYS = {"search_index", *(f"search_index_{part}" for part in ("config", "data", "docsize", "idx"))}


async def whole(memory: Memory, database: Path) -> None:
    assert await memory.store.check() == []
    assert await memory.store.index_is_current()
    assert tables(database) == TODAYS


def make_old(database: Path) -> None:
    """As if the index had been made by an older program: another tokenizer, and no words but the text's."""
    ((_, _, ground), *_) = migrate.migrations("sqlite")
    (made,) = (one for one in migrate.statements(ground) if "CREATE VIRTUAL TABLE search_index" in one)
    with opened(database) as db:
        db.execute("DROP TABLE search_index")
        db.execute(made)
        db.execute(
            "INSERT INTO search_index (rowid, text, forms, scope) SELECT m.message_key, m.text, '', "
            "'xu' || s.user_key || ' xs' || s.session_key FROM messages AS m JOIN sessions AS s USING (session_key)"
        )
        db.execute("UPDATE meta SET value = ? WHERE name = 'index_version'", (INDEX_VERSION - 1,))


# Made anew


async def test_a_killed_rebuild_goes_on_where_it_stopped(url: str, database: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await filled(memory)
    with rebuilding(url) as process:
        for _ in range(3):
            next_line(process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert "search_index_next" in tables(database)
    with opened(database) as db:
        stopped_at = index.state(db).position
    assert 0 < stopped_at < SESSIONS * TURNS * 2
    async with backscroll.open(url, user_id="ada") as memory:
        steps: list[tuple[int, int]] = []
        assert await memory.store.rebuild_index(lambda *step: steps.append(step)) == SESSIONS * TURNS * 2
        assert steps[0][0] >= stopped_at
        assert steps[-1] == (SESSIONS * TURNS * 2, SESSIONS * TURNS * 2)
        await whole(memory, database)


@pytest.mark.parametrize(
    "damage", ["DELETE FROM {}_data WHERE id = 10", "UPDATE {}_data SET block = x'0011' WHERE id = 10"]
)
async def test_a_half_made_index_that_was_damaged_is_begun_again(url: str, database: Path, damage: str) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await filled(memory)
    with rebuilding(url) as process:
        next_line(process)
        process.kill()
    with opened(database) as db:
        db.execute(damage.format(index.NEXT))
    async with backscroll.open(url, user_id="ada") as memory:
        assert await memory.store.rebuild_index() == SESSIONS * TURNS * 2
        await whole(memory, database)


async def test_opening_goes_on_with_what_a_killed_rebuild_left(url: str, database: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await filled(memory)
    with rebuilding(url) as process:
        next_line(process)
        process.kill()
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.list_sessions()
        with anyio.fail_after(30):
            while tables(database) != TODAYS:
                await asyncio.sleep(0)
        await whole(memory, database)


async def test_what_others_write_and_delete_meanwhile_is_in_the_new_index(url: str, database: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await filled(memory)
        await memory.record_run([user("Begin."), assistant("I")], run_id="growing", session_id="g", status="running")
        grown = "I"
        with rebuilding(url) as process:
            done, _ = next_line(process)
            assert done < SESSIONS * TURNS * 2
            rounds = 0
            while process.poll() is None:
                grown += f" said{rounds}"
                await memory.record_run(
                    [user("Begin."), assistant(grown)], run_id="growing", session_id="g", status="running"
                )
                await memory.record_run(a_turn(f"late{rounds}"), session_id=f"n{rounds}")
                if rounds < SESSIONS:
                    # What it shares moves to the fork: the same messages under another session.
                    if rounds % 3:
                        await memory.fork_session(f"#{rounds + 1}.{TURNS}", new_session_id=f"f{rounds}")
                    await memory.delete_session(f"s{rounds}", forks="keep")
                rounds += 1
            _, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, "")
        assert rounds > 3
        await whole(memory, database)
        for n in range(rounds):
            assert (await memory.search_session_history(f'"late{n}"')).total == 1
            assert (await memory.search_session_history(f'"said{n}"')).total == 1
        for n in range(min(rounds, SESSIONS)):
            assert bool((await memory.search_session_history(group(n))).total) == (n % 3 > 0)


async def test_readers_find_everything_while_the_index_is_made_anew(memory: Memory, database: Path) -> None:
    await filled(memory)
    rebuild = asyncio.create_task(memory.store.rebuild_index())
    seen = 0
    while not rebuild.done():
        assert (await memory.search_session_history(group(7))).total == TURNS
        assert await memory.store.index_is_current()
        seen += "search_index_next" in tables(database)
    assert seen
    assert await rebuild == SESSIONS * TURNS * 2
    await whole(memory, database)


async def test_processes_that_rebuild_at_once_make_one_index(url: str, memory: Memory, database: Path) -> None:
    await filled(memory)
    with rebuilding(url) as one, rebuilding(url) as other:
        for process in (one, other):
            out, errors = await asyncio.to_thread(process.communicate)
            assert (process.returncode, errors) == (0, "")
            assert int(out.split()[-1]) == SESSIONS * TURNS * 2
    await whole(memory, database)


# Of an older version


async def test_an_old_index_serves_until_the_new_one_takes_its_place(url: str, database: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await filled(memory)
    make_old(database)
    with FileLock(database.with_name(f"{database.name}.rebuild.lock")).held(0.0):
        # Nobody else may rebuild now.
        async with backscroll.open(url, user_id="ada") as memory:
            assert not await memory.store.index_is_current()
            page = await memory.search_session_history(group(7))
            assert page.total == TURNS
            assert "index is being made anew" in (page.coverage or "")
            await memory.delete_session("s7")
            assert not (await memory.search_session_history(group(7))).hits
            await memory.record_run(a_turn("a latecomer"), session_id="late")
            assert (await memory.search_session_history("latecomer")).total == 1
            assert [line for line in await memory.store.check() if "version" in line]
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.store.rebuild_index()
        await whole(memory, database)
        page = await memory.search_session_history("standing teapots")
        assert page.total
        assert page.coverage is None
        assert (await memory.search_session_history(group(7))).total == 0
        assert (await memory.search_session_history("latecomer")).total == 1


async def test_a_purge_leaves_nothing_in_an_index_of_an_older_version(url: str, database: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.record_run(a_turn("Remember xyzzyquux123."), session_id="secret")
        await memory.record_run(a_turn(), session_id="other")
    make_old(database)
    async with backscroll.open(url, user_id="ada") as memory:
        assert b"xyzzyquux123" in bytes_of(database)
        await memory.delete_session("secret", purge=True)
        await whole(memory, database)
    assert b"xyzzyquux123" not in bytes_of(database)


async def test_a_new_file_and_an_old_one_come_to_the_same_index(url: str, database: Path, tmp_path: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.record_run(a_turn(), session_id="s")
    make_old(database)
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.store.rebuild_index()
    fresh = tmp_path / "fresh.db"
    async with backscroll.open(str(fresh)):
        pass

    def shape(path: Path) -> tuple[object, ...]:
        with opened(path) as db:
            (made,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'search_index'").fetchone()
            settings = db.execute("SELECT k, v FROM search_index_config ORDER BY k").fetchall()
            return made.replace('"', ""), settings, index.state(db).version

    assert shape(database) == shape(fresh)


# Damaged


def garbage(db: sqlite3.Connection) -> None:
    db.execute("UPDATE search_index_data SET block = zeroblob(length(block)) WHERE id > 10")


def without_structure(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM search_index_data WHERE id = 10")


def with_wrong_structure(db: sqlite3.Connection) -> None:
    db.execute("UPDATE search_index_data SET block = x'0011' WHERE id = 10")


def without_a_table(db: sqlite3.Connection) -> None:
    db.execute("DROP TABLE search_index_idx")


def without_settings(db: sqlite3.Connection) -> None:
    db.execute("DROP TABLE search_index_config")


def lacking_a_message(db: sqlite3.Connection) -> None:
    index.remove(db, [index.entry_of_message(db, 2)])


def with_words_of_no_message(db: sqlite3.Connection) -> None:
    index.add(db, 99, Entry("ghost", "", "xu1"))


def with_two_messages_exchanged(db: sqlite3.Connection) -> None:
    one, other = index.entry_of_message(db, 2), index.entry_of_message(db, 4)
    index.remove(db, [one, other])
    index.add(db, 4, one.entry)
    index.add(db, 2, other.entry)


def with_wrong_lengths(db: sqlite3.Connection) -> None:
    db.execute("UPDATE search_index_docsize SET sz = x'010101' WHERE id = 3")


UNREADABLE = [without_structure, without_a_table, without_settings, with_wrong_structure]
DAMAGE = [
    *UNREADABLE,
    garbage,
    lacking_a_message,
    with_words_of_no_message,
    with_two_messages_exchanged,
    with_wrong_lengths,
]


async def damaged(url: str, database: Path, damage: Callable[[sqlite3.Connection], None]) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        for animal in ANIMALS[:3]:
            await memory.record_run(a_turn(f"What of the {animal}?", f"It is fed: {animal}."), session_id=animal)
    with opened(database) as db:
        damage(db)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_found_and_mended(
    url: str, database: Path, damage: Callable[[sqlite3.Connection], None]
) -> None:
    await damaged(url, database, damage)
    async with backscroll.open(url, user_id="ada") as memory:
        told = await memory.store.check()
        assert told
        assert all("--rebuild-index" in line for line in told)
        assert await memory.store.rebuild_index() == 6
        await whole(memory, database)
        for animal in ANIMALS[:3]:
            assert (await memory.search_session_history(animal)).total == 2


@pytest.mark.parametrize("damage", [*UNREADABLE, garbage, lacking_a_message])
async def test_recording_and_deleting_go_on_beside_a_damaged_index(
    url: str, database: Path, damage: Callable[[sqlite3.Connection], None]
) -> None:
    await damaged(url, database, damage)
    async with backscroll.open(url, user_id="ada") as memory:
        gone, *_, new = ANIMALS
        await memory.record_run(a_turn(f"And the {new}?"), session_id=new)
        await memory.delete_session(gone)
        assert {line.session_id for line in (await memory.list_sessions()).sessions} == set(ANIMALS[1:])
        await memory.store.rebuild_index()
        await whole(memory, database)
        assert (await memory.search_session_history(gone)).total == 0
        assert (await memory.search_session_history(new)).total == 1


@pytest.mark.parametrize("damage", [*UNREADABLE, garbage, lacking_a_message])
async def test_deleting_comes_first_on_a_damaged_index_and_succeeds(
    url: str, database: Path, damage: Callable[[sqlite3.Connection], None]
) -> None:
    await damaged(url, database, damage)
    async with backscroll.open(url, user_id="ada") as memory:
        gone, *kept = ANIMALS[:3]
        assert (await memory.delete_session(gone)).deleted["messages"] == 2
        assert {line.session_id for line in (await memory.list_sessions()).sessions} == set(kept)
        await memory.store.rebuild_index()
        await whole(memory, database)
        for animal in ANIMALS[:3]:
            assert (await memory.search_session_history(animal)).total == (0 if animal == gone else 2)


@pytest.mark.parametrize("damage", [without_structure, without_a_table, without_settings])
async def test_a_search_in_an_index_that_cannot_be_read_says_how_to_mend_it(
    url: str, database: Path, damage: Callable[[sqlite3.Connection], None]
) -> None:
    await damaged(url, database, damage)
    async with backscroll.open(url, user_id="ada") as memory:
        for search in (memory.search_session_history, memory.get_tool_call_history):
            with pytest.raises(IndexDamaged, match="backscroll migrate --rebuild-index"):
                await search(query=ANIMALS[1])


async def test_what_was_stored_is_told_as_stored_where_the_index_cannot_be_measured(url: str, database: Path) -> None:
    await damaged(url, database, lambda db: None)
    with opened(database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        ((page,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'search_index_data'").fetchall()
        ((size,),) = db.execute("PRAGMA page_size").fetchall()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.update_session(ANIMALS[0], title="Of alpacas")
    async with backscroll.open(url, user_id="ada") as memory:
        assert "Of alpacas" in {line.title for line in (await memory.list_sessions()).sessions}


# Locked, or left


async def test_a_lock_that_cannot_be_opened_is_told(url: str, database: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.record_run(a_turn("What of the alpaca?"), session_id="s")
    make_old(database)
    lock = database.with_name(f"{database.name}.rebuild.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    async with backscroll.open(url, user_id="ada") as memory:
        with anyio.fail_after(20):
            while "could not be made anew" not in caplog.text:
                await asyncio.sleep(0)
        with pytest.raises(StoreUnusable, match=f"{lock.name} cannot be used"):
            await memory.store.rebuild_index()
        assert (await memory.search_session_history("alpaca")).total == 1


async def test_closing_that_is_cancelled_while_the_index_is_made_closes_all_the_same(url: str, database: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await filled(memory)
    make_old(database)
    store = await open_store(url)
    with anyio.fail_after(20):
        while "search_index_next" not in tables(database):
            await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    assert closing.cancelled()
    with pytest.raises(StoreUnusable, match="not open"):
        await store.data_version("ada")
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.store.rebuild_index()
        await whole(memory, database)
