"""The command line, the hook and the stdio server on a database server; and that no password of it is told anywhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from backscroll import spool
from backscroll.addresses import without_password
from backscroll.capture.locating import located
from cli_doors import program
from hook_doors import capture, claude
from postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

PASSWORD = "hunter2"

FIRST_WORDS: list[dict[str, Any]] = [
    {
        "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
        },
    },
    {"method": "notifications/initialized"},
    {
        "id": 2, "method": "tools/call",
        "params": {
            "name": "record_run",
            "arguments": {
                "messages": [{"role": "user", "content": "a quick fox"}, {"role": "assistant", "content": "It jumps."}],
                "session_id": "s-1",
            },
        },
    },
]  # fmt: skip


@pytest.fixture
def url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """In the environment, with a password, though the server asks for none."""
    named = postgres_url.replace("backscroll@", f"backscroll:{PASSWORD}@")
    monkeypatch.setenv("BACKSCROLL_DB", named)
    return named


def said(*arguments: str, typed: str | None = None) -> str:
    """What a command prints, its complaints with it."""
    done = program(*arguments, typed=typed)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.stdout + done.stderr


def recorded_over_stdio() -> list[dict[str, Any]]:
    lines = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in FIRST_WORDS)
    return [json.loads(line) for line in said("serve", typed=lines).splitlines() if line.startswith("{")]


def test_what_is_recorded_over_stdio_is_found_listed_and_shown(url: str, own_folders: Path) -> None:
    answers = {answer.get("id"): answer for answer in recorded_over_stdio()}
    assert answers[2]["result"]["structuredContent"]["session"] == "#1"
    assert "a quick fox" in said("search", "fox")
    assert "#1" in said("list")
    assert "It jumps." in said("show", "1")
    # Neither a file of the server's start nor any other holds the password.
    files = [path for path in own_folders.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


def test_stats_tells_of_the_server_and_of_no_file(url: str) -> None:
    told = json.loads(program("stats", "--json").stdout)
    shown = url.replace(PASSWORD, "***")
    assert told["database"]["url"] == shown
    assert told["database"]["path"] is None
    assert told["database"]["engine"].startswith("PostgreSQL ")
    assert told["database"]["size_bytes"] > 1_000_000
    assert told["settings"]["db"] == {"value": shown, "from": "BACKSCROLL_DB"}
    assert "everybody's" in said("stats")
    assert f"{shown} has version {told['database']['schema_version']}" in said("migrate")


def test_a_server_that_cannot_be_reached_is_a_problem_that_doctor_tells(postgres: PostgresServer, url: str) -> None:
    done = program("doctor", "--json", "--db", url.replace(str(postgres.port), "1"))
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told["store"]["exists"] is False
    assert "port 1" in told["store"]["error"]
    assert any("Look whether the server runs" in problem["fix"] for problem in told["problems"])
    assert PASSWORD not in done.stdout + done.stderr


def test_a_backup_is_the_servers_own_affair(url: str, tmp_path: Path) -> None:
    done = program("backup", str(tmp_path / "copy.db"))
    assert done.returncode == 1
    assert "pg_dump" in done.stderr


def test_what_a_hook_keeps_is_found_by_whoever_knows_the_same_database(url: str, own_folders: Path) -> None:
    # As `setup` writes it for hooks: without the password, and perhaps as another role.
    done = capture(
        claude("UserPromptSubmit", prompt="hello"), "--db", without_password(url).replace("backscroll@", "bob@")
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    place = located({"db": url}).place
    assert place.folder == str(own_folders / ".local/share/backscroll")
    assert spool.length(place).entries == 1


def test_a_pause_is_told_to_hooks_of_this_machine(url: str, own_folders: Path) -> None:
    assert "paused" in said("pause")
    capture(claude("UserPromptSubmit", prompt="hello"), "--db", without_password(url))
    assert spool.length(located({"db": url}).place).entries == 0
    said("resume")
    capture(claude("UserPromptSubmit", prompt="hello"), "--db", without_password(url))
    assert spool.length(located({"db": url}).place).entries == 1
    assert PASSWORD not in "".join(path.name for path in own_folders.rglob("*"))


def test_setup_writes_no_password_into_the_settings_of_hosts(
    url: str, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_folders / ".codex").mkdir()
    done = program("setup", "--host", "codex", "--yes", "--no-import")
    assert done.returncode == 1
    assert "config.toml" in done.stderr
    assert ".pgpass" in done.stderr
    assert list((own_folders / ".codex").iterdir()) == []
    # Where the config file holds the address, hosts need not be told.
    config = own_folders / ".config/backscroll/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'db = "{url}"\n')
    monkeypatch.delenv("BACKSCROLL_DB")
    said("setup", "--host", "codex", "--yes", "--no-import")
    written = "".join(path.read_text() for path in (own_folders / ".codex").rglob("*") if path.is_file())
    assert "backscroll" in written
    assert PASSWORD not in written
    assert "BACKSCROLL_DB" not in written
