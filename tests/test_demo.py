"""The demo: it runs, on the shipped talk and on transcripts, touches nothing, and fails when something is wrong."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from backscroll import demo
from backscroll.demo import DemoError
from backscroll.demo.conversation import conversation
from backscroll.demo.server import Agent, Stage
from backscroll.demo.telling import Teller
from backscroll.errors import TranscriptError
from cli_doors import program

TRANSCRIPTS = Path(__file__).parent / "fixtures" / "claude_code"


def screen() -> Console:
    return Console(file=io.StringIO(), width=100, markup=False, highlight=False)


def test_the_shipped_talk_is_recorded_and_recalled(own_folders: Path) -> None:
    done = program("demo", env={"BACKSCROLL_USER": "someone", "BACKSCROLL_DB": "/nowhere/x.db"})
    assert (done.returncode, done.stderr) == (0, "")
    for tool in (
        "record_run(", "list_sessions(", "search_session_history(", "get_chat_history(", "get_tool_call_history(",
        "get_session_context(", "resource session://%232/summary",
    ):  # fmt: skip
        assert f"  {tool}" in done.stdout
    assert " tokens\n" in done.stdout
    assert "checks passed: 55 messages came back word for word." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert len(done.stdout.splitlines()) < 130
    assert "\x1b" not in done.stdout
    assert list(own_folders.rglob("*")) == []


def test_a_bad_configuration_of_the_user_does_not_reach_the_demo(own_folders: Path) -> None:
    config = own_folders / ".config" / "backscroll" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("this is not TOML")
    assert program("demo", env={"BACKSCROLL_PROFILE": "nonsense"}).returncode == 0


def test_transcripts_take_the_place_of_the_shipped_talk() -> None:
    done = program("demo", str(TRANSCRIPTS))
    assert (done.returncode, done.stderr) == (0, "")
    assert "imported again: nothing new, nothing twice" in done.stdout
    assert "get_session_context(" in done.stdout
    assert "checks passed: 4 sessions, 28 messages, each recorded once." in done.stdout


def test_a_path_without_transcripts_is_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    for path in (empty, tmp_path / "notes.txt", tmp_path / "missing"):
        with pytest.raises(TranscriptError, match=path.name):
            demo.run([str(path)], screen())
    done = program("demo", str(empty))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: No transcripts")
    assert len(done.stderr.splitlines()) == 1


def test_a_claim_that_does_not_hold_ends_the_demo() -> None:
    teller = Teller(screen())
    teller.check(True, "one is one")
    with pytest.raises(DemoError, match="it is not so that one is two"):
        teller.check(False, "one is two")
    assert teller.checks == 1


async def test_a_server_that_does_not_start_is_one_clear_line(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Teller(screen()))
    stage.database.mkdir()

    async def ask(agent: Agent) -> None:
        await agent.call("list_sessions")

    with pytest.raises(DemoError, match=r"\S"):
        await stage.with_server(ask)


async def test_a_tool_that_refuses_ends_the_demo(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Teller(screen()))

    async def ask(agent: Agent) -> None:
        await agent.call("get_chat_history", session_id="nothing")

    with pytest.raises(DemoError, match="get_chat_history failed: No session 'nothing'"):
        await stage.with_server(ask)


def test_the_servers_surroundings_hold_nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BACKSCROLL_DB", "BACKSCROLL_SUMMARY_API_KEY", "OPENAI_API_KEY", "CLAUDE_PROJECT_DIR"):
        monkeypatch.setenv(name, "secret")
    surroundings = Stage(tmp_path, Teller(screen())).environment()
    assert "secret" not in surroundings.values()
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        assert surroundings[name] == str(tmp_path)


def test_what_is_shown_holds_no_control_character() -> None:
    console = screen()
    Teller(console).called("a_tool", {"query": "\x1b[2J"}, "one\x1b[2J\ntwo\u202e")
    assert isinstance(console.file, io.StringIO)
    assert not set(console.file.getvalue()) & set("\x1b\u202e")


def test_the_shipped_talk_is_dated_back_from_today() -> None:
    now = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    runs = conversation(now)
    days = [(now - datetime.fromisoformat(run["started_at"])).days for run in runs]
    assert max(days) > 7
    assert min(days) >= 0
    assert any(7 <= day <= 9 for day in days)
    for run in runs:
        assert all(message["created_at"] <= now.isoformat() for message in run["messages"])
        json.dumps(run)
