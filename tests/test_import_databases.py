"""Other programs' databases, opened: nothing of them changes, whatever state they are in."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backscroll
from backscroll.errors import TranscriptError
from backscroll.importers import IMPORTERS, importer_for, transcripts
from backscroll.importers.databases import Database, tables_of, watermark
from backscroll.importing import import_paths
from backscroll.memory import Memory
from hunting import examples
from importer_doors import SHARED

HOSTS = ("opencode", "agno", "openai-agents")

MINUTE_MS = 60_000
NOW_MS = 1_800_000_000_000


def a_database(path: Path, *, journal: str = "delete", rows: int = 3) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute("CREATE TABLE talk (n INTEGER PRIMARY KEY, said TEXT)")
        db.executemany("INSERT INTO talk VALUES (?, ?)", [(n, f"words {n}") for n in range(rows)])
        db.commit()
    return path


def count(path: Path) -> int:
    with closing(Database(path)) as database:
        return int(database.read(lambda db: db.execute("SELECT count(*) FROM talk").fetchone()[0]))


def state_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def cut_short(path: Path, statements: list[str]) -> None:
    """A program that wrote this and was killed before it could tidy up."""
    code = "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    code += "".join(f"db.execute({statement!r})\n" for statement in statements) + "os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_database_at_rest_is_read_without_a_trace(tmp_path: Path, journal: str) -> None:
    path = a_database(tmp_path / "rest.db", journal=journal)
    before = state_of(tmp_path)
    assert count(path) == 3
    assert set(tables_of(path)) == {"talk"}
    assert state_of(tmp_path) == before


def test_what_a_running_program_wrote_a_moment_ago_is_seen(tmp_path: Path) -> None:
    path = a_database(tmp_path / "live.db", journal="wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer, closing(Database(path)) as database:
        writer.execute("INSERT INTO talk VALUES (10, 'fresh')")
        assert count(path) == 4
        seen = [database.read(lambda db: db.execute("SELECT max(n) FROM talk").fetchone()[0])]
        writer.execute("INSERT INTO talk VALUES (11, 'fresher')")
        seen.append(database.read(lambda db: db.execute("SELECT max(n) FROM talk").fetchone()[0]))
    assert seen == [10, 11]


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_program_that_starts_while_its_database_is_read_is_noticed(tmp_path: Path, journal: str) -> None:
    path = a_database(tmp_path / "woken.db", journal=journal)
    with closing(Database(path)) as database, closing(sqlite3.connect(path, isolation_level=None)) as writer:
        assert database.read(lambda db: len(db.execute("SELECT * FROM talk").fetchall())) == 3
        writer.execute("INSERT INTO talk VALUES (10, 'fresh')")
        assert database.read(lambda db: len(db.execute("SELECT * FROM talk").fetchall())) == 4


def test_what_is_read_while_its_program_writes_is_read_again(tmp_path: Path) -> None:
    path = a_database(tmp_path / "torn.db")
    calls: list[int] = []
    with closing(Database(path)) as database:

        def work(db: sqlite3.Connection) -> int:
            (before,) = db.execute("SELECT count(*) FROM talk").fetchone()
            if not calls:
                with closing(sqlite3.connect(path, isolation_level=None)) as writer:
                    writer.execute("INSERT INTO talk VALUES (10, 'fresh')")
            calls.append(before)
            return int(before)

        assert database.read(work) == 4
    assert calls == [3, 4]


def test_a_program_that_was_cut_short_left_its_last_words_in_the_log(tmp_path: Path) -> None:
    path = a_database(tmp_path / "cut.db", journal="wal")
    cut_short(path, ["INSERT INTO talk VALUES (10, 'last words')"])
    assert (tmp_path / "cut.db-wal").stat().st_size
    assert count(path) == 4
    assert set(state_of(tmp_path)) == {"cut.db", "cut.db-wal", "cut.db-shm"}


def test_a_copy_with_its_log_and_nothing_else_is_read_whole_and_left_as_it_is(tmp_path: Path) -> None:
    path = a_database(tmp_path / "cut.db", journal="wal")
    cut_short(path, ["INSERT INTO talk VALUES (10, 'last words')"])
    (tmp_path / "cut.db-shm").unlink()
    before = state_of(tmp_path)
    assert count(path) == 4
    assert state_of(tmp_path) == before


def test_a_database_in_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = a_database(tmp_path / "kept.db", journal="wal")
    tmp_path.chmod(0o500)
    try:
        assert count(path) == 3
    finally:
        tmp_path.chmod(0o700)


def test_a_database_that_another_program_holds_locked_says_to_try_again(tmp_path: Path) -> None:
    path = a_database(tmp_path / "busy.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        # A journal that stays is what a rollback database has beside it while it is written to.
        writer.execute("PRAGMA journal_mode = PERSIST")
        writer.execute("INSERT INTO talk VALUES (10, 'fresh')")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TranscriptError, match=r"writing to it\. Import it again"):
            count(path)


def test_a_write_that_was_cut_short_is_left_to_its_own_program(tmp_path: Path) -> None:
    path = a_database(tmp_path / "hot.db", rows=2_000)
    half_done = ["PRAGMA cache_size = 1", "BEGIN", "UPDATE talk SET said = said || hex(randomblob(200))"]
    cut_short(path, half_done)
    before = state_of(tmp_path)
    assert "hot.db-journal" in before
    with pytest.raises(TranscriptError, match="cut short while it wrote"):
        count(path)
    assert state_of(tmp_path) == before


def test_a_damaged_database_says_so_and_what_to_do(tmp_path: Path) -> None:
    path = a_database(tmp_path / "damaged.db", rows=2_000)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 3)
    with pytest.raises(TranscriptError, match="damaged"), closing(Database(path)) as database:
        database.read(lambda db: db.execute("SELECT count(said || 'x') FROM talk").fetchall())
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 400)
    with pytest.raises(TranscriptError, match="damaged"):
        importer_for(path)
    assert list(transcripts(tmp_path)) == []


def test_text_that_is_no_utf8_and_values_without_end_do_not_stop_a_reading(tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE talk (n INTEGER PRIMARY KEY, said TEXT)")
        db.execute("INSERT INTO talk VALUES (1, CAST(x'666fff' AS TEXT)), (2, 'a' || char(0) || 'b')")
        db.execute("INSERT INTO talk VALUES (3, hex(zeroblob(40000000)))")
        db.commit()
    with closing(Database(path)) as database:
        said = database.read(lambda db: db.execute("SELECT said FROM talk ORDER BY n").fetchall())
    assert [said[0][0], said[1][0]] == ["fo\ufffd", "a\x00b"]
    assert not isinstance(said[2][0], str)


# Whose it is.


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("CREATE TABLE checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint)", "LangGraph"),
        ("CREATE TABLE events (id, app_name, user_id, session_id, invocation_id, event_data)", "ADK"),
        ("CREATE TABLE recipes (id, name)", "not known as one of"),
    ],
)
def test_a_database_of_another_kind_is_refused_by_name(tmp_path: Path, schema: str, words: str) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(schema)
    with pytest.raises(TranscriptError, match=words):
        importer_for(path)
    assert list(transcripts(tmp_path)) == []


def test_the_real_langgraph_database_is_refused() -> None:
    path = SHARED / "frameworks" / "lg.db"
    if not path.exists():
        pytest.skip("no sample databases of the real frameworks beside the repository")
    with pytest.raises(TranscriptError, match="LangGraph checkpoints"):
        importer_for(path)


async def test_backscrolls_own_databases_are_left_alone(memory: Memory, database: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "sessions.db"
    other.parent.mkdir()
    async with backscroll.open(str(other)) as elsewhere:
        await elsewhere.record_run(messages=[{"role": "user", "content": "hi"}])
    report = await import_paths(memory, [database, other, tmp_path])
    assert [failure.error.partition(" ")[2][:40] for failure in report.failed] == [
        "is the database that Backscroll itself h",
        "is the database that Backscroll itself h",
    ]
    assert report.files == 0
    code = "import sys; from pathlib import Path; from backscroll.importers import importer_for\n"
    code += "try: importer_for(Path(sys.argv[1]))\nexcept Exception as error: print(error)"
    told = subprocess.run([sys.executable, "-c", code, str(other)], check=True, capture_output=True, text=True)
    assert "a database of Backscroll itself" in told.stdout


@pytest.mark.parametrize("host", HOSTS)
def test_a_database_of_another_host_is_refused_where_the_host_is_named(tmp_path: Path, host: str) -> None:
    path = a_database(tmp_path / "other.db")
    with pytest.raises(TranscriptError, match="Check the path"):
        list(IMPORTERS[host].read(path, 0))


@pytest.mark.parametrize("host", HOSTS)
@given(content=st.binary(max_size=400), head=st.booleans())
@settings(max_examples=examples(40))
def test_whatever_the_bytes_a_reading_gives_runs_or_a_transcript_error(
    host: str, content: bytes, head: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "any.db"
    path.write_bytes((b"SQLite format 3\0" if head else b"") + content)
    assert IMPORTERS[host].has(path) is False
    with pytest.raises(TranscriptError):
        list(IMPORTERS[host].read(path, 0))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may read every file")
def test_a_database_that_may_not_be_read_says_to_check_its_permissions(tmp_path: Path) -> None:
    path = a_database(tmp_path / "locked.db")
    path.chmod(0)
    with pytest.raises(TranscriptError, match="permissions"):
        count(path)


# How far it was read.


def test_a_watermark_stays_a_minute_behind_the_newest_row() -> None:
    first = watermark(0, oldest="a", newest_ms=NOW_MS, modified_ms=NOW_MS)
    again = watermark(first.offset, oldest="a", newest_ms=NOW_MS + MINUTE_MS, modified_ms=NOW_MS + MINUTE_MS)
    assert (first.since_ms, first.start, first.until_ms) == (0, 0, NOW_MS - MINUTE_MS)
    assert (again.since_ms, again.start, again.until_ms) == (NOW_MS - MINUTE_MS, first.offset, NOW_MS)


def test_another_database_in_the_same_place_is_read_from_its_beginning() -> None:
    offset = watermark(0, oldest="a", newest_ms=NOW_MS, modified_ms=NOW_MS).offset
    for oldest, newest_ms in (("b", NOW_MS + 1), ("a", NOW_MS - 2 * MINUTE_MS), ("", 0)):
        other = watermark(offset, oldest=oldest, newest_ms=newest_ms, modified_ms=NOW_MS + 1)
        assert (other.since_ms, other.start) == (0, 0)


def test_rows_of_the_future_do_not_move_the_watermark_beyond_the_file() -> None:
    found = watermark(0, oldest="a", newest_ms=NOW_MS * 2, modified_ms=NOW_MS)
    assert found.until_ms == NOW_MS - MINUTE_MS


def test_an_offset_of_anything_is_taken_for_none() -> None:
    for offset in (-1, 1, 1 << 62, (1 << 63) - 1):
        found = watermark(offset, oldest="a", newest_ms=NOW_MS, modified_ms=NOW_MS)
        assert found.start in (0, offset)
        assert found.since_ms <= NOW_MS
