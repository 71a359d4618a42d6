"""The program itself, as a process: exit codes, pipes that close, terminals, Ctrl-C, serving."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import backscroll
from builders import a_turn, user
from cli_doors import HOSTILE, PATIENCE_SECONDS, environment, ok_json, program, recorded, with_sessions

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def test_a_session_is_recorded_exported_imported_and_read_by_programs_of_their_own(
    database: Path, tmp_path: Path
) -> None:
    with_sessions(database)
    exported = program("export", "--db", str(database))
    assert (exported.returncode, exported.stderr) == (0, "")
    other = str(tmp_path / "other.db")
    imported = program("import", "-", "--db", other, typed=exported.stdout)
    assert (imported.returncode, imported.stderr) == (0, "")
    found = program("search", "wall", "clocks", "--json", env={"BACKSCROLL_DB": other})
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["total"] == 6


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list"], 0),
        (["-h"], 0),
        (["show", "nothing"], 1),
        (["import", "/nowhere"], 1),
        (["list", "--bogus"], 2),
        (["bogus"], 2),
    ],
)
def test_exit_codes_tell_well_from_failed_from_usage(database: Path, arguments: list[str], code: int) -> None:
    done = program(*arguments, env={"BACKSCROLL_DB": str(database)})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 1:
        assert len(done.stderr.strip().splitlines()) <= 2
        assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("arguments", [["show", "long"], ["show", "long", "--json"], ["export"], ["list", "--json"]])
def test_a_pipe_that_closes_ends_a_command_quietly(database: Path, arguments: list[str]) -> None:
    """More than a pipe holds, to a reader that wants one line."""

    async def record(memory: backscroll.Memory) -> None:
        await memory.record_run([user("word " * 100_000)], session_id="long")
        await memory.record_run(a_turn(), session_id="x" * 200, title="t" * 1000)

    recorded(database, record)
    with subprocess.Popen(
        [sys.executable, "-m", "backscroll", *arguments, "--db", str(database)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_locale_without_unicode_is_no_failure(database: Path) -> None:
    recorded(database, lambda memory: memory.record_run([user("naïve 日本語")], session_id="s"))
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "BACKSCROLL_DB": str(database)}
    assert program("show", "s", env=plain).returncode == 0
    assert "naïve 日本語" in program("export", "--format", "markdown", env=plain).stdout


@posix
def test_a_terminal_gets_tables_and_no_escape_of_the_stored_text(database: Path) -> None:
    recorded(database, lambda memory: memory.record_run([user(HOSTILE)], session_id="s", title=HOSTILE))
    for arguments in (["list"], ["search", "markup"], ["show", "s"], ["export", "--format", "markdown"], []):
        output = on_a_terminal("--db", str(database), *arguments, env={"NO_COLOR": "1", "TERM": "xterm"})
        shown = output.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
        assert "\x1b]0;" not in output
        assert "\x1b[2J" not in output
        assert not set(shown) & set("\x07\x9b\u202e"), arguments
        if arguments:
            assert "␛]0;owned␇␛[2J" in shown.replace("\r\n", "").replace(" ", "") or "␛]0" in shown


@posix
def test_plain_backscroll_on_a_terminal_is_a_status_and_in_a_pipe_a_server(database: Path) -> None:
    assert "Nothing is recorded yet" in on_a_terminal(env={"BACKSCROLL_DB": str(database)})
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    for arguments in ([], ["serve"], ["serve", "--profile=recall"]):
        done = program(*arguments, env={"BACKSCROLL_DB": str(database)}, typed=json.dumps(hello) + "\n")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[0])["result"]["serverInfo"]["name"] == "backscroll"


@posix
def test_an_interrupted_question_ends_without_a_traceback(database: Path) -> None:
    with_sessions(database, 1)
    with subprocess.Popen(
        [sys.executable, "-m", "backscroll", "delete", "#1", "--db", str(database)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        asked = b""
        while b"[y/N]" not in asked:
            asked += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
        assert process.stderr.read().strip() == b""
    assert ok_json(database, "list")["total"] == 1


def on_a_terminal(*arguments: str, env: dict[str, str]) -> str:
    """What a command writes to a pseudo-terminal of 100 columns."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "backscroll", *arguments],
        env=environment(**env),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        output = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # Linux says EIO at the end, others nothing.
                break
            if not piece:
                break
            output += piece
        assert process.wait(PATIENCE_SECONDS) == 0, output
    os.close(leader)
    return output.decode()
