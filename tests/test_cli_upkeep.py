"""stats, backup, migrate, and what plain `backscroll` says."""

import sqlite3
from pathlib import Path

import pytest

import backscroll
from backscroll.config import Settings
from backscroll.store import migrate
from builders import a_turn
from cli_doors import at_prompt, ok, ok_json, recorded, with_sessions


@pytest.fixture
def sessions(database: Path) -> Path:
    with_sessions(database)
    return database


def test_stats_counts_what_is_stored(sessions: Path) -> None:
    found = ok_json(sessions, "stats")
    counted = {name: found["counts"][name] for name in ("sessions", "runs", "messages", "tool_calls", "summary_errors")}
    assert counted == {"sessions": 3, "runs": 3, "messages": 12, "tool_calls": 3, "summary_errors": 0}
    assert found["database"]["path"] == str(sessions)
    assert found["database"]["size_bytes"] == sessions.stat().st_size
    assert found["database"]["mode"] == "0600"
    assert found["version"] == backscroll.__version__
    shown = ok(sessions, "stats")
    assert "messages             12" in shown
    assert "file 0600" in shown


def test_stats_tells_every_setting_and_where_it_was_set(
    sessions: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_folders / ".config" / "backscroll" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('summary_retries = 1\nprofile = "recall"\n')
    monkeypatch.setenv("BACKSCROLL_PROFILE", "full")
    monkeypatch.setenv("BACKSCROLL_SUMMARY_ENABLED", "true")
    told = ok_json(sessions, "stats")["settings"]
    assert set(told) == set(Settings.model_fields)
    assert told["db"] == {"value": str(sessions), "from": "--db"}
    assert told["profile"] == {"value": "full", "from": "BACKSCROLL_PROFILE"}
    assert told["enable_session_summaries"] == {"value": True, "from": "environment"}
    assert told["summary_retries"] == {"value": 1, "from": str(config)}
    assert told["user"] == {"value": "local", "from": "default"}


def test_stats_says_what_leaves_the_machine_and_keeps_keys_to_itself(
    sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ok_json(sessions, "stats")["leaves_this_machine"] == []
    assert "leaves this machine  nothing" in ok(sessions, "stats")
    monkeypatch.setenv("BACKSCROLL_SUMMARY_BASE_URL", "https://me:hunter2@models.example/v1?key=hunter2")
    monkeypatch.setenv("BACKSCROLL_SUMMARY_MODEL", "small")
    monkeypatch.setenv("BACKSCROLL_SUMMARY_API_KEY", "hunter2")
    (sent,) = ok_json(sessions, "stats")["leaves_this_machine"]
    assert sent["to"] == "https://models.example/v1"
    for text in (ok(sessions, "stats"), ok(sessions, "stats", "--json")):
        assert "hunter2" not in text
        assert "https://models.example/v1" in text


def test_stats_says_how_search_by_meaning_stands(sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "search by meaning    off" in ok(sessions, "stats")
    monkeypatch.setenv("BACKSCROLL_SEMANTIC", "auto")
    told = ok_json(sessions, "stats")
    assert (told["semantic"]["on"], told["semantic"]["installed"]) == (True, True)
    assert told["semantic"]["made"] == 0
    assert f"on: 0 vectors, {told['counts']['messages']} messages to look at" in ok(sessions, "stats")
    monkeypatch.setenv("BACKSCROLL_SEMANTIC_BASE_URL", "https://me:hunter2@models.example/v1?key=hunter2")
    monkeypatch.setenv("BACKSCROLL_SEMANTIC_MODEL", "small")
    monkeypatch.setenv("BACKSCROLL_SEMANTIC_API_KEY", "hunter2")
    (sent,) = ok_json(sessions, "stats")["leaves_this_machine"]
    assert sent == {
        "what": "text of messages and questions, for search by meaning",
        "to": "https://models.example/v1",
    }
    assert "hunter2" not in ok(sessions, "stats") + ok(sessions, "stats", "--json")
    monkeypatch.setenv("BACKSCROLL_SEMANTIC", "off")
    assert ok_json(sessions, "stats")["leaves_this_machine"] == []


def test_a_backup_is_a_database_of_its_own(sessions: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert str(copy) in ok(sessions, "backup", str(copy))
    recorded(sessions, lambda memory: memory.record_run(a_turn(), session_id="later"))
    assert ok_json(copy, "list")["total"] == 3
    assert ok(copy, "show", "#1") == ok(sessions, "show", "#1")


def test_a_backup_never_overwrites(sessions: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("mine")
    done = at_prompt(sessions, "backup", str(copy))
    assert done.exit_code == 1
    assert "exists already" in done.stderr
    assert copy.read_text() == "mine"


def test_what_needs_a_database_says_that_there_is_none(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    for arguments in (["backup", str(tmp_path / "copy.db")], ["migrate"]):
        done = at_prompt(missing, *arguments)
        assert done.exit_code == 1
        assert done.stderr == f"Error: There is no database at {missing}. Name another with --db.\n"
    assert list(tmp_path.glob("*.db")) == []


def test_migrate_says_the_version_and_checks_the_index(sessions: Path) -> None:
    assert f"has version {migrate.newest('sqlite')}, the newest" in ok(sessions, "migrate")
    assert "agree" in ok(sessions, "migrate", "--check-index")


def test_migrate_finds_a_broken_index_and_makes_it_anew(sessions: Path) -> None:
    with sqlite3.connect(sessions) as db:
        db.execute("INSERT INTO search_index (search_index) VALUES ('delete-all')")
    db.close()
    done = at_prompt(sessions, "migrate", "--check-index")
    assert done.exit_code == 1
    assert "--rebuild-index" in done.stderr
    assert "Index rebuilt: 12 " in ok(sessions, "migrate", "--rebuild-index", "--check-index")
    assert ok_json(sessions, "search", "clocks")["total"] == 6


def test_plain_backscroll_says_what_is_there_and_what_to_do_next(sessions: Path, tmp_path: Path) -> None:
    shown = ok(sessions)
    assert "3 sessions, 12 messages in" in shown
    assert "backscroll search WORDS" in shown
    fresh = at_prompt(tmp_path / "none.db")
    assert fresh.exit_code == 0
    assert "Nothing is recorded yet" in fresh.stdout
    assert "backscroll import" in fresh.stdout
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"just text, and more than a hundred bytes of it " * 4, "is not a"), (b"", ""), (None, "cannot be used")],
)
def test_a_file_that_is_no_database_is_one_line_and_stays_as_it_was(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "odd.db"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    done = at_prompt(file, "list")
    assert len(done.stderr.splitlines()) == 1
    if words:
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: ")
        assert words in done.stderr
        assert content is None or file.read_bytes() == content


def test_a_bad_setting_is_one_line_that_names_where_it_was_set(sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSCROLL_BUSY_TIMEOUT_S", "soon")
    done = at_prompt(sessions, "list")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: BACKSCROLL_BUSY_TIMEOUT_S is not valid")


def test_an_error_inside_is_one_line_without_a_traceback(sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backscroll.cli.upkeep.database_of", lambda settings: 1 / 0)
    done = at_prompt(sessions, "stats")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: Backscroll failed inside (ZeroDivisionError). Set BACKSCROLL_TRACEBACK=1 to see where, and report it.\n"
    )
