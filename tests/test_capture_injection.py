"""What the hook program gives its host to read, where the user asked for that: real processes on a real store."""

import asyncio
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import backscroll
from backscroll import Memory, spool
from backscroll.hooks.placing import place_of
from backscroll.importing import import_paths
from backscroll.policy import FENCE_SENTENCE
from backscroll.tokens import TokenCounter
from builders import assistant, user
from cli_doors import environment
from hook_doors import capture, claude, codex, cursor, gemini, kept, written

ASKED = "why does the postgres fixture time out in the login test"


@pytest.fixture
def recorded(database: Path) -> dict[str, str]:
    """Two sessions of one project, one of another; and the environment of a hook of their user."""

    async def record() -> None:
        async with backscroll.open(str(database), user_id="ada") as memory:
            for n in range(8):
                question = f"The login test number {n} fails: the postgres fixture times out. {'More on that. ' * 200}"
                answer = f"The postgres fixture waited for port 543{n}. {'I looked into it. ' * 200}"
                await memory.record_run([user(question), assistant(answer)], session_id="past", project="/srv/shed")
            await memory.record_run([user("And a third thing.")], session_id="s-1", project="/srv/shed")
            await memory.record_run([user("Elsewhere entirely.")], session_id="other", project="/srv/house")

    asyncio.run(record())
    return {"BACKSCROLL_DB": str(database), "BACKSCROLL_USER": "ada"}


def context(payload: Mapping[str, Any], kind: str, env: Mapping[str, str]) -> str | None:
    """What a host would show its agent; None where it is told nothing."""
    done = capture(payload, "--inject", kind, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    answer = json.loads(done.stdout or b"{}")
    if not answer:
        return None
    if "additional_context" in answer:
        assert set(answer) == {"additional_context"}
        return str(answer["additional_context"])
    assert set(answer) == {"hookSpecificOutput"}
    assert set(answer["hookSpecificOutput"]) == {"hookEventName", "additionalContext"}
    assert answer["hookSpecificOutput"]["hookEventName"] == payload["hook_event_name"]
    return str(answer["hookSpecificOutput"]["additionalContext"])


@pytest.mark.parametrize(
    "payload",
    [
        claude("SessionStart", source="startup"),
        codex("SessionStart", "s-1", source="startup"),
        gemini("SessionStart", source="startup"),
        cursor("sessionStart", conversation="s-1", workspace_roots=["/srv/shed"]),
    ],
)
def test_a_session_begins_with_the_projects_last_one_in_the_form_of_its_host(
    recorded: dict[str, str], database: Path, tokens: TokenCounter, payload: dict[str, Any]
) -> None:
    told = context({**payload, "session_id": "s-1"}, "session", recorded)
    assert told is not None
    assert FENCE_SENTENCE in told
    assert "The postgres fixture waited for port 5437" in told
    assert "third thing" not in told
    assert "Elsewhere" not in told
    assert 500 < tokens.count(told) <= 2_000
    # It was captured all the same.
    assert len(kept(database.parent)) == 1


@pytest.mark.parametrize(
    "payload",
    [
        claude("SessionStart", source="resume"),
        codex("SessionStart", source="fork"),
        claude("SessionStart", source="startup", cwd="/srv/nowhere"),
        claude("Stop"),
        cursor("beforeSubmitPrompt", prompt=ASKED),
        {"sessionId": "c", "cwd": "/srv/shed"},
    ],
)
def test_a_session_that_has_its_past_or_none_is_told_nothing(recorded: dict[str, str], payload: dict[str, Any]) -> None:
    assert context(payload, "session", recorded) is None


@pytest.mark.parametrize(
    "payload",
    [
        claude("UserPromptSubmit", prompt=ASKED),
        codex("UserPromptSubmit", prompt=ASKED),
        gemini("BeforeAgent", prompt=ASKED),
    ],
)
def test_a_prompt_comes_with_the_few_lines_that_it_is_about(
    recorded: dict[str, str], tokens: TokenCounter, payload: dict[str, Any]
) -> None:
    told = context(payload, "prompt", recorded)
    assert told is not None
    assert FENCE_SENTENCE in told
    assert "postgres fixture" in told
    assert "#1." in told
    assert tokens.count(told) <= 500
    assert len([line for line in told.splitlines() if line.startswith("#")]) <= 3


@pytest.mark.parametrize(
    "prompt", ["hello there", "please continue", "", "write a haiku about the sea", "yes", 5, None]
)
def test_a_prompt_that_nothing_answers_comes_with_nothing(recorded: dict[str, str], prompt: object) -> None:
    assert context(claude("UserPromptSubmit", prompt=prompt), "prompt", recorded) is None


def test_a_prompt_is_not_answered_from_its_own_session(recorded: dict[str, str]) -> None:
    assert context({**claude("UserPromptSubmit", prompt=ASKED), "session_id": "past"}, "prompt", recorded) is None


def test_what_was_injected_does_not_ask_for_more(recorded: dict[str, str]) -> None:
    prompt = f"<hook_context>{ASKED}</hook_context>\n\nhello there"
    assert context(gemini("BeforeAgent", prompt=prompt), "prompt", recorded) is None


def test_nothing_is_told_unless_the_user_asked_for_it(recorded: dict[str, str]) -> None:
    done = capture(claude("SessionStart", source="startup"), env=recorded)
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("kind", ["session", "prompt"])
def test_where_there_is_no_store_none_is_made(tmp_path: Path, kind: str) -> None:
    payload = claude("SessionStart" if kind == "session" else "UserPromptSubmit", prompt=ASKED, source="startup")
    path = tmp_path / "none" / "talk.db"
    done = capture(payload, "--inject", kind, env={"BACKSCROLL_DB": str(path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not path.exists()
    assert len(kept(path.parent)) == 1


def test_a_store_that_cannot_be_read_is_no_failure_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "talk.db"
    path.write_text("no database at all")
    for payload, said in ((claude("SessionStart", source="startup"), b""), (gemini("SessionStart"), b"{}\n")):
        done = capture(payload, "--inject", "session", env={"BACKSCROLL_DB": str(path)})
        assert (done.returncode, done.stdout, done.stderr) == (0, said, b"")


def test_a_store_that_is_busy_for_too_long_is_not_waited_for(recorded: dict[str, str], database: Path) -> None:
    with database.with_name(f"{database.name}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        done = capture(gemini("SessionStart", source="startup"), "--inject", "session", env=recorded)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
        assert time.monotonic() - began < 8


def test_a_host_that_no_longer_waits_ends_it_well(recorded: dict[str, str], database: Path) -> None:
    with database.with_name(f"{database.name}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "-m", "backscroll", "capture", "--inject", "session"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(**recorded),
        ) as process:  # fmt: skip
            assert process.stdin is not None
            process.stdin.write(json.dumps(claude("SessionStart", source="startup")).encode())
            process.stdin.close()
            while not kept(database.parent):
                pass
            process.terminate()
            assert process.wait(timeout=60) == 0


async def test_what_was_injected_is_not_stored_as_talk(
    memory: Memory, tmp_path: Path, recorded: dict[str, str]
) -> None:
    told = context(claude("SessionStart", source="startup"), "session", recorded)
    line = {"sessionId": "new", "timestamp": "2026-05-01T10:00:00Z", "isSidechain": False, "parentUuid": None}
    path = written(
        tmp_path / "new.jsonl",
        [
            {
                **line,
                "attachment": {"type": "hook_additional_context", "content": [told]},
                "type": "attachment",
                "uuid": "a",
            },
            {**line, "type": "user", "uuid": "b", "message": {"role": "user", "content": "Good morning."}},
        ],
    )
    await import_paths(memory, [path])
    assert [message.text for message in await memory.get_messages_for_session("new")] == ["Good morning."]


async def test_a_memory_in_use_is_left_as_it_is(memory: Memory, recorded: dict[str, str], database: Path) -> None:
    before = await memory.store.data_version("ada")
    assert context(claude("SessionStart", source="startup"), "session", recorded) is not None
    assert await memory.store.data_version("ada") == before
    assert await memory.store.check() == []
    assert spool.length(place_of(memory)).entries == 1
    assert database.stat().st_mode & 0o777 == 0o600
