"""summarize, delete, import, export: what changes a store, or carries sessions in and out of it."""

import json
import stat
from pathlib import Path

import pytest

from builders import user
from cli_doors import HOSTILE, at_prompt, ok, ok_json, recorded, with_sessions

TRANSCRIPTS = Path(__file__).parent / "fixtures" / "claude_code"


@pytest.fixture
def sessions(database: Path) -> Path:
    with_sessions(database)
    return database


# summarize


def test_summarize_makes_a_summary_and_prints_it(sessions: Path) -> None:
    done = at_prompt(sessions, "summarize", "#1")
    assert done.exit_code == 0
    assert "Please look at the flaky login test, attempt 1." in done.stdout
    assert "Session #1: summary 1, made by extractive." in done.stderr


def test_summarize_stores_the_text_that_is_given(sessions: Path) -> None:
    found = ok_json(sessions, "summarize", "1", "--summary", "Clocks.", "--topic", "tests", "--topic", "time")
    assert found["summary"]["summary"] == "Clocks."
    assert found["summary"]["topics"] == ["tests", "time"]
    assert "Clocks." in ok(sessions, "show", "#1")


def test_summarize_reads_a_text_from_standard_input(sessions: Path) -> None:
    assert at_prompt(sessions, "summarize", "#1", "--summary", "-", typed="Long\ntext").exit_code == 0
    assert ok_json(sessions, "show", "#1")["summary"]["summary"] == "Long\ntext"


def test_topics_without_a_summary_are_a_matter_of_usage(sessions: Path) -> None:
    assert at_prompt(sessions, "summarize", "#1", "--topic", "x").exit_code == 2


# delete


@pytest.mark.parametrize("answer", ["n\n", "\n", "nope\n"])
def test_delete_asks_and_does_nothing_without_a_yes(sessions: Path, answer: str) -> None:
    done = at_prompt(sessions, "delete", "#1", typed=answer)
    assert done.exit_code == 1
    assert 'Delete session #1 "Flaky login test 1" (1 run, 4 messages, from api)? [y/N]' in done.stderr
    assert done.stderr.endswith("Not deleted.\n")
    assert ok_json(sessions, "list")["total"] == 3


def test_delete_with_nobody_there_does_nothing(sessions: Path) -> None:
    done = at_prompt(sessions, "delete", "#1", typed="")
    assert done.exit_code == 1
    assert "--yes" in done.stderr
    assert ok_json(sessions, "list")["total"] == 3


@pytest.mark.parametrize(("flags", "answer"), [([], "y\n"), ([], "YES\n"), (["--yes"], None), (["-y"], None)])
def test_delete_prints_what_is_gone_and_what_it_cannot_reach(
    sessions: Path, flags: list[str], answer: str | None
) -> None:
    done = at_prompt(sessions, "delete", "#1", *flags, typed=answer)
    assert done.exit_code == 0
    assert "Deleted session #1: " in done.stdout
    assert "4 messages" in done.stdout
    assert "Purge pending" in done.stdout
    assert "until --purge" in done.stdout
    assert "Not reached: " in done.stdout
    assert [one["session"] for one in ok_json(sessions, "list")["sessions"]] == ["#3", "#2"]


def test_delete_purges_and_tells_it_to_programs_too(sessions: Path) -> None:
    receipt = ok_json(sessions, "delete", "s-2", "--yes", "--purge")
    assert receipt["session_id"] == "s-2"
    assert receipt["deleted"]["messages"] == 4
    assert receipt["purge"].startswith("purged")


def test_delete_refuses_a_handle_of_a_message_before_it_asks(sessions: Path) -> None:
    done = at_prompt(sessions, "delete", "#1.2")
    assert done.exit_code == 1
    assert done.stderr == "Error: #1.2 names a message. Only a session can be deleted: #1.\n"


def test_delete_says_what_to_do_about_forks(sessions: Path) -> None:
    recorded(sessions, lambda memory: memory.fork_session("s-1", new_session_id="fork"))
    done = at_prompt(sessions, "delete", "s-1", "--yes")
    assert done.exit_code == 1
    assert "--forks keep" in done.stderr
    assert "--forks delete" in done.stderr
    ok(sessions, "delete", "s-1", "--yes", "--forks", "keep")
    assert len(ok_json(sessions, "show", "fork")["messages"]) == 4


def test_a_title_cannot_forge_the_question(database: Path) -> None:
    recorded(database, lambda memory: memory.record_run([user("x")], session_id="s", title=f"a\n{HOSTILE}"))
    done = at_prompt(database, "delete", "s", typed="n\n")
    assert not set(done.output) & set("\x1b\x07\x9b\u202e")
    (question,) = done.stderr.splitlines()
    assert question.endswith("[y/N] Not deleted.")


# export and import


def test_an_export_comes_back_the_same(sessions: Path, tmp_path: Path) -> None:
    recorded(sessions, lambda memory: memory.summarize_session("s-1", summary="Clocks."))
    exported = ok(sessions, "export")
    assert json.loads(exported.splitlines()[0])["type"] == "backscroll"
    other = tmp_path / "other.db"
    done = at_prompt(other, "import", "-", typed=exported)
    assert done.exit_code == 0, done.output
    assert "Recorded 3 sessions, 3 runs, 12 messages, 3 tool calls" in done.stdout
    assert ok(other, "export") == exported


def test_an_export_goes_to_a_file_for_its_owner_alone(sessions: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text("older")
    done = at_prompt(sessions, "export", "-o", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert file.read_text(encoding="utf-8") == ok(sessions, "export")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "all" in path.name] == ["all.jsonl"]


def test_an_export_that_fails_leaves_the_older_file_alone(sessions: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text("older")
    assert at_prompt(sessions, "export", "#99", "-o", str(file)).exit_code == 1
    assert file.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir() if "all" in path.name] == ["all.jsonl"]


def test_chosen_sessions_are_exported_as_markdown(sessions: Path, tmp_path: Path) -> None:
    text = ok(sessions, "export", "#1", "2", "--format", "markdown")
    assert text.startswith("# Flaky login test 1\n")
    assert "# Flaky login test 2" in text
    assert "Flaky login test 3" not in text
    file = tmp_path / "notes.md"
    ok(sessions, "export", "#1", "2", "-o", str(file))
    assert file.read_text(encoding="utf-8") == text


def test_an_export_in_a_pipe_is_verbatim(database: Path) -> None:
    recorded(database, lambda memory: memory.record_run([user(HOSTILE)], session_id="s"))
    assert HOSTILE in ok(database, "export", "s", "--format", "markdown")


def test_an_export_into_a_folder_that_is_not_there_says_so(sessions: Path, tmp_path: Path) -> None:
    done = at_prompt(sessions, "export", "-o", str(tmp_path / "no" / "x.jsonl"))
    assert done.exit_code == 1
    assert done.stderr == f"Error: There is no folder {tmp_path / 'no'}. Make it first.\n"


def test_transcripts_are_recorded_once_however_often(database: Path) -> None:
    first = ok_json(database, "import", str(TRANSCRIPTS))
    assert first["messages"] > 0
    assert first["failed"] == []
    again = ok_json(database, "import", str(TRANSCRIPTS))
    assert (again["messages"], again["unchanged"]) == (0, again["files"])
    assert "Nothing new" in ok(database, "import", str(TRANSCRIPTS))
    assert ok_json(database, "list")["total"] == first["sessions"]


def test_a_dry_run_records_nothing(database: Path) -> None:
    assert "Found " in ok(database, "import", str(TRANSCRIPTS), "--dry-run")
    assert not database.exists()


def test_a_deleted_session_stays_deleted_unless_restored(database: Path) -> None:
    ok(database, "import", str(TRANSCRIPTS))
    total = ok_json(database, "list")["total"]
    ok(database, "delete", "#1", "--yes")
    ok(database, "import", str(TRANSCRIPTS))
    assert ok_json(database, "list")["total"] == total - 1
    ok(database, "import", str(TRANSCRIPTS), "--restore")
    assert ok_json(database, "list")["total"] == total


def test_what_cannot_be_imported_is_named_and_fails(database: Path, tmp_path: Path) -> None:
    empty, other = tmp_path / "empty", tmp_path / "notes.txt"
    empty.mkdir()
    other.write_text("just notes")
    for path in (empty, other, tmp_path / "missing"):
        done = at_prompt(database, "import", str(path))
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: ")
        assert str(path) in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_one_bad_path_does_not_stop_the_others(database: Path, tmp_path: Path) -> None:
    done = at_prompt(database, "import", str(tmp_path / "missing"), str(TRANSCRIPTS))
    assert done.exit_code == 1
    assert "Recorded " in done.stdout
    assert "missing" in done.stderr


def test_an_import_goes_to_the_user_that_is_named(database: Path) -> None:
    ok(database, "--user", "ada", "import", str(TRANSCRIPTS))
    assert ok_json(database, "list")["total"] == 0
    assert ok_json(database, "list", "--user", "ada")["total"] > 0
