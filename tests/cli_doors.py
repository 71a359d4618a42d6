"""The command line in this process (`at_prompt`) and as a program of its own (`program`); and a store to ask."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import backscroll
from backscroll.cli import commands
from builders import assistant, call, result, user

PATIENCE_SECONDS = 60
SERVER = Path(backscroll.__file__).parents[1]

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m \u202eevil\u202c [red]markup[/red] :smile:"
"""What would set a window's title, clear the screen, and be taken for markup."""


def at_prompt(database: Path, *arguments: str, typed: str | None = None) -> Result:
    """A command in this process, its output and its errors apart. A pipe, not a terminal."""
    return CliRunner().invoke(commands, ["--db", str(database), *arguments], input=typed)


def ok(database: Path, *arguments: str) -> str:
    """What a command prints that has to succeed."""
    done = at_prompt(database, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def ok_json(database: Path, *arguments: str) -> Any:
    """The one document that a command prints with --json."""
    return json.loads(ok(database, *arguments, "--json"))


def program(
    *arguments: str, env: Mapping[str, str] | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backscroll", *arguments],
        env=environment(**env or {}),
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def environment(**more: str) -> dict[str, str]:
    python = os.pathsep.join([str(SERVER), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": python, **more}


def recorded(
    database: Path, work: Callable[[backscroll.Memory], Coroutine[Any, Any, Any]], user_id: str = "local"
) -> Any:
    """Run `work` on a memory of the database."""

    async def opened() -> Any:
        async with backscroll.open(str(database), user_id=user_id) as memory:
            return await work(memory)

    return asyncio.run(opened())


def login_test(number: int, *, output: str = "AssertionError: the clock was frozen") -> Sequence[dict[str, Any]]:
    """A turn about a flaky test: a request, a call that fails, its result, an answer."""
    said = [
        user(f"Please look at the flaky login test, attempt {number}."),
        assistant("Running it.", call(f"c{number}", "bash", '{"command": "pytest -q tests/test_login.py"}')),
        result(f"c{number}", output, is_error=True),
        assistant(f"Attempt {number}: the test compares wall clocks."),
    ]
    return [{**message, "created_at": f"2026-11-20T10:0{number}:00Z"} for message in said]


def with_sessions(database: Path, count: int = 3) -> None:
    """Sessions `s-1` to `s-N`, newest last, one run each."""

    async def record(memory: backscroll.Memory) -> None:
        for number in range(1, count + 1):
            await memory.record_run(
                login_test(number),
                session_id=f"s-{number}",
                run_id=f"r-{number}",
                title=f"Flaky login test {number}",
                project="/srv/widget",
                agent="coder",
            )

    recorded(database, record)
