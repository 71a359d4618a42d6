"""OpenCode's database and its older files through the importers' public door.

The real program's database is read a second time here by a plain reading of our own, and both must agree. It lies
beside the repository and not in it; without it these tests skip.
"""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backscroll
from backscroll.importers import IMPORTERS, importer_for
from backscroll.importing import import_paths
from backscroll.memory import Memory
from backscroll.models import NewRun
from builders import PNG
from hunting import examples
from importer_doors import SHARED, batches_of, messages_of, runs_of, said, stored, tally_of, write_lines

HOST = "opencode"
T0 = 1_790_000_000_000
HOUR = 3_600_000

FIELDS = (
    *("role", "type", "text", "time", "state", "input", "output", "status", "tokens", "cache", "error", "created"),
    *("end", "completed", "callID", "tool", "cost", "url", "summary", "metadata", "attachments"),
)

SCHEMA = """
CREATE TABLE session (id text PRIMARY KEY, project_id text, parent_id text, directory text, title text, version text,
    agent text, time_created integer, time_updated integer);
CREATE TABLE message (id text PRIMARY KEY, session_id text, time_created integer, time_updated integer, data text);
CREATE TABLE part (id text PRIMARY KEY, message_id text, session_id text, time_created integer, time_updated integer,
    data text);
CREATE TABLE session_message (id text PRIMARY KEY, session_id text, time_updated integer, data text);
CREATE INDEX message_session_time_created_id_idx ON message (session_id, time_created, id);
CREATE INDEX part_message_id_id_idx ON part (message_id, id);
CREATE INDEX part_session_idx ON part (session_id);
"""


class OpenCode:
    """Writes as the program does: what is written again is written where it stands."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.executescript(SCHEMA)
        self._parts = 0

    def close(self) -> None:
        self.db.close()

    def session(self, session_id: str = "ses_1", at: int = T0, **more: Any) -> None:
        row: dict[str, Any] = {
            "directory": "/srv/shed",
            "title": "Sheds",
            "version": "1.18.33",
            "agent": "build",
            "parent_id": None,
        }
        row |= {"id": session_id, "project_id": "p", "time_created": at, "time_updated": at} | more
        names = ", ".join(row)
        self.db.execute(
            f"INSERT INTO session ({names}) VALUES ({', '.join('?' * len(row))}) "
            "ON CONFLICT DO UPDATE SET title = excluded.title, time_updated = excluded.time_updated",
            list(row.values()),
        )

    def message(self, message_id: str, at: int, data: Any, *, session_id: str = "ses_1", updated: int = 0) -> None:
        self.db.execute(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET data = excluded.data, time_updated = excluded.time_updated",
            (message_id, session_id, at, updated or at, data if isinstance(data, str) else json.dumps(data)),
        )

    def part(self, message_id: str, at: int, data: Any, part_id: str = "", *, session_id: str = "ses_1") -> str:
        self._parts += not part_id
        part_id = part_id or f"prt_{self._parts:04}"
        self.db.execute(
            "INSERT INTO part VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET data = excluded.data, time_updated = excluded.time_updated",
            (part_id, message_id, session_id, at, at, data if isinstance(data, str) else json.dumps(data)),
        )
        return part_id

    def prompt(self, message_id: str, at: int, *parts: Any, session_id: str = "ses_1") -> None:
        data = {"role": "user", "time": {"created": at}, "agent": "build"}
        self.message(message_id, at, data, session_id=session_id)
        for part in parts:
            self.part(message_id, at, words(part) if isinstance(part, str) else part, session_id=session_id)

    def answer(
        self, message_id: str, at: int, *parts: Any, session_id: str = "ses_1", done: bool = True, **more: Any
    ) -> None:
        data = an_answer(at, done=done, **more)
        self.message(message_id, at, data, session_id=session_id, updated=at)
        for part in parts:
            self.part(message_id, at, words(part) if isinstance(part, str) else part, session_id=session_id)


def an_answer(at: int, *, done: bool = True, **more: Any) -> dict[str, Any]:
    time = {"created": at, **({"completed": at + 900} if done else {})}
    tokens = {"input": 10, "output": 3, "reasoning": 1, "total": 18, "cache": {"read": 4, "write": 0}}
    told = {"tokens": tokens, "cost": 0.5, "finish": "stop"} if done else {}
    return {"role": "assistant", "time": time, "modelID": "shed-1", "agent": "build", **told, **more}


def words(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def a_tool(call_id: str, status: str, name: str = "bash", **state: Any) -> dict[str, Any]:
    given = {"input": {"command": f"run {call_id}"}} if status != "pending" else {"input": {}, "raw": ""}
    return {"type": "tool", "tool": name, "callID": call_id, "state": {"status": status, **given, **state}}


def done(call_id: str, end: int, output: str = "", **more: Any) -> dict[str, Any]:
    time = {"start": end - 40, "end": end}
    return a_tool(call_id, "completed", output=output or f"output of {call_id}", time=time, title="", **more)


@pytest.fixture
def opencode(tmp_path: Path) -> Iterator[OpenCode]:
    with closing(OpenCode(tmp_path / "data" / "opencode.db")) as found:
        yield found


@pytest.fixture
def sample() -> Path:
    path = SHARED / "opencode" / "opencode.db"
    if not path.exists():
        pytest.skip("no sample database of the real program beside the repository")
    return path


# Against a plain reading of the real program's database.


def plain(sample: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"{sample.as_uri()}?immutable=1", uri=True)) as db:
        return [json.loads(data) for (data,) in db.execute(query)]


def test_talk_agrees_with_a_plain_reading(sample: Path) -> None:
    spoken = [part["text"] for part in plain(sample, "SELECT data FROM part ORDER BY id") if part["type"] == "text"]
    assert [m.text for m in messages_of(HOST, sample) if m.text and m.role != "tool"] == spoken
    assert len(spoken) == 4


def test_calls_and_results_agree_with_a_plain_reading(sample: Path) -> None:
    tools = [part for part in plain(sample, "SELECT data FROM part ORDER BY id") if part["type"] == "tool"]
    messages = messages_of(HOST, sample)
    calls = [call for message in messages for call in message.tool_calls]
    assert [(c.tool_call_id, c.tool_name, json.loads(c.arguments)) for c in calls] == [
        (tool["callID"], tool["tool"], tool["state"]["input"]) for tool in tools
    ]
    results = [m for m in messages if m.role == "tool"]
    assert [(m.tool_call_id, m.text, m.duration_ms) for m in results] == [
        (t["callID"], t["state"]["output"], t["state"]["time"]["end"] - t["state"]["time"]["start"]) for t in tools
    ]


def test_usage_and_status_agree_with_a_plain_reading(sample: Path) -> None:
    answers = [m for m in plain(sample, "SELECT data FROM message") if m["role"] == "assistant"]
    runs = runs_of(HOST, sample)
    for ours, theirs in (("input_tokens", "input"), ("output_tokens", "output"), ("total_tokens", "total")):
        assert sum((run.metrics or {}).get(ours, 0) for run in runs) == sum(a["tokens"][theirs] for a in answers)
    assert [(run.status, run.model, run.project) for run in runs] == [("completed", "m1", "/home/dev/widget")] * 2
    assert {(run.session_metadata or {})["host_version"] for run in runs} == {"1.18.33"}


def test_every_row_of_the_sample_is_accounted_for(sample: Path) -> None:
    with closing(sqlite3.connect(f"{sample.as_uri()}?immutable=1", uri=True)) as db:
        (rows,) = db.execute("SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM part)").fetchone()
    told = tally_of(HOST, sample)
    assert (told.lines, told.failed) == (rows, ())


async def test_a_second_import_of_the_sample_adds_nothing(memory: Memory, sample: Path) -> None:
    first = await import_paths(memory, [sample])
    again = await import_paths(memory, [sample], restore=True)
    assert (first.failed, first.runs, first.messages, first.tool_calls) == ((), 2, 6, 1)
    assert (again.failed, again.runs, again.messages, again.duplicates) == ((), 0, 0, 2)


# What a message becomes.


def test_a_run_holds_what_was_asked_called_found_and_answered(opencode: OpenCode) -> None:
    opencode.session()
    opencode.prompt("msg_1", T0, "Look please")
    thought = {"type": "reasoning", "text": "I should look", "time": {"start": T0, "end": T0 + 1}}
    opencode.answer("msg_2", T0 + 100, {"type": "step-start"}, thought, "Looking.", done("c1", T0 + 200))
    opencode.answer("msg_3", T0 + 300, "All is well.")
    (run,) = runs_of(HOST, opencode.path)
    assert (run.session_id, run.run_id, run.status, run.agent) == ("ses_1", "ses_1:msg_1", "completed", "build")
    assert (run.title, run.project, run.model, run.source) == ("Sheds", "/srv/shed", "shed-1", "opencode")
    assert run.metrics == {
        "input_tokens": 20, "output_tokens": 6, "reasoning_tokens": 2, "total_tokens": 36, "cache_read_tokens": 8,
        "cost": 1.0,
    }  # fmt: skip
    assert said(run.messages) == [
        ("user", "Look please"),
        ("assistant", "Looking."),
        ("tool", "output of c1"),
        ("assistant", "All is well."),
    ]
    call, result = run.messages[1], run.messages[2]
    assert (call.reasoning, call.tool_calls[0].arguments) == ("I should look", '{"command":"run c1"}')
    assert (result.duration_ms, result.is_error, result.tool_name) == (40, False, "bash")
    assert result.created_at == datetime.fromtimestamp((T0 + 200) / 1000, UTC)


def test_what_the_host_wrote_into_the_talk_is_counted_and_not_taken_for_talk(opencode: OpenCode) -> None:
    opencode.session(title="New session - 2026-09-21T10:00:00.000Z")
    opencode.prompt("msg_1", T0, "See @notes", words("Called the Read tool", synthetic=True), words("!", ignored=True))
    opencode.answer("msg_2", T0 + 1, {"type": "step-start"}, "Seen.", {"type": "patch"}, {"type": "snapshot"})
    opencode.prompt("msg_3", T0 + 2, {"type": "compaction", "auto": True})
    opencode.answer("msg_4", T0 + 3, "What was said so far", summary=True)
    opencode.prompt("msg_5", T0 + 4, words("Continue", synthetic=True))
    opencode.answer("msg_6", T0 + 5, "Going on.")
    opencode.message("msg_7", T0 + 6, {"role": "critic"})
    opencode.db.execute("INSERT INTO session_message VALUES ('m', 'ses_1', ?, '{}')", (T0,))
    (run,) = runs_of(HOST, opencode.path)
    assert said(run.messages) == [("user", "See @notes"), ("assistant", "Seen."), ("assistant", "Going on.")]
    assert run.title is None
    assert (run.metrics or {})["input_tokens"] == 30, "what the summary cost was spent all the same"
    assert tally_of(HOST, opencode.path).skipped == {
        "synthetic": 3, "ignored": 1, "step-start": 1, "patch": 1, "snapshot": 1, "compaction": 4, "another role": 1,
        "session_message": 1,
    }  # fmt: skip


def test_files_are_kept_as_media_or_named_where_they_cannot_be_read(opencode: OpenCode) -> None:
    picture = {"type": "file", "mime": "image/png", "filename": "shed.png"}
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    opencode.session()
    opencode.prompt("msg_1", T0, {**picture, "url": url}, {**picture, "url": "file:///srv/a.txt"})
    opencode.prompt("msg_2", T0 + 1, {**picture, "url": "blob:1"}, {"type": "agent", "name": "plan"})
    opencode.answer("msg_3", T0 + 2, done("c1", T0 + 3, attachments=[{**picture, "url": url}]))
    first, second = runs_of(HOST, opencode.path)
    assert [(m.data, m.url, m.name) for m in first.messages[0].media] == [
        (PNG, None, "shed.png"),
        (None, "file:///srv/a.txt", "shed.png"),
    ]
    assert second.messages[0].payload == {
        "files": [{"mime": "image/png", "filename": "shed.png"}],
        "agents": ["plan"],
    }
    assert [m.data for m in second.messages[2].media] == [PNG]


def test_a_sub_agents_session_names_its_parent_and_the_call_that_started_it(opencode: OpenCode) -> None:
    opencode.session()
    opencode.prompt("msg_1", T0, "Ask another")
    task = done("c9", T0 + 50, name="task", metadata={"sessionId": "ses_2"})
    opencode.answer("msg_2", T0 + 1, {**task, "tool": "task"}, "It said hi.")
    opencode.session("ses_2", at=T0 + 2, parent_id="ses_1", agent=None, title="Child session - 1")
    data = {"role": "user", "time": {"created": T0 + 3}, "agent": "general"}
    opencode.message("msg_3", T0 + 3, data, session_id="ses_2")
    opencode.part("msg_3", T0 + 3, words("Say hi"), session_id="ses_2")
    parent, child = runs_of(HOST, opencode.path)
    assert (parent.session_metadata or {}).get("parent_session_id") is None
    assert parent.messages[2].payload == {"agent_session_id": "ses_2"}
    assert child.session_metadata == {
        "host_version": "1.18.33",
        "parent_session_id": "ses_1",
        "agent_type": "general",
        "tool_use_id": "c9",
    }
    assert (child.agent, child.title) == ("general", None)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"error": {"name": "MessageAbortedError", "data": {"message": "stopped"}}}, "cancelled"),
        ({"error": {"name": "APIError", "data": {"message": "overloaded"}}}, "error"),
        ({"finish": "tool-calls"}, "running"),
        ({"finish": "length"}, "completed"),
    ],
)
def test_a_run_ends_as_its_last_answer_did(opencode: OpenCode, more: dict[str, Any], status: str) -> None:
    opencode.session()
    opencode.prompt("msg_1", T0, "Go")
    opencode.answer("msg_2", T0 + 1, "So far", **more)
    (run,) = runs_of(HOST, opencode.path)
    assert (run.status, run.messages[-1].text) == (status, "So far")
    assert (run.metadata or {}).get("error", {}).get("message") == more.get("error", {}).get("data", {}).get("message")


def test_a_row_that_cannot_be_read_costs_nothing_but_itself(opencode: OpenCode) -> None:
    opencode.session()
    opencode.prompt("msg_1", T0, "Go")
    opencode.part("msg_1", T0, '{"type": "text", "te')
    opencode.message("msg_2", T0 + 1, "[1, 2]")
    opencode.answer("msg_3", T0 + 2, "Gone \ud83d", words("nested", deep=[[]]))
    told = tally_of(HOST, opencode.path)
    assert [(failure.line, failure.error.partition(":")[0]) for failure in told.failed] == [
        (2, "not JSON"),
        (2, "no JSON object"),
    ]
    assert said(messages_of(HOST, opencode.path)) == [("user", "Go"), ("assistant", "Gone \ufffd\n\nnested")]


@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(FIELDS),
                inner | st.sampled_from(["assistant", "user", "tool", "text", "completed", "step-finish", "file"]),
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
@settings(max_examples=examples(50))
def test_whatever_the_rows_hold_a_reading_ends(data: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    with closing(OpenCode(tmp_path_factory.mktemp("rows") / "opencode.db")) as opencode:
        opencode.session()
        opencode.message("msg_1", T0, data)
        opencode.part("msg_1", T0, data)
        opencode.message("msg_2", T0, {"role": "assistant", **(data if isinstance(data, dict) else {})})
        opencode.part("msg_2", T0, {"type": "tool", **(data if isinstance(data, dict) else {})})
        opencode.part("msg_2", T0, {"type": "tool", "tool": "bash", "callID": "c", "state": data})
        assert tally_of(HOST, opencode.path).lines == 5


# A session while it goes on.


def an_evening(opencode: OpenCode) -> Iterator[str]:
    """Every write of a session, one after another, as OpenCode makes them."""
    at = T0
    opencode.session(title="New session - now")
    yield "session"
    opencode.prompt("msg_1", at, "First")
    yield "prompt"
    opencode.answer("msg_2", at + 10, done=False)
    yield "an empty answer"
    thought = {"type": "reasoning", "text": "Let me", "time": {"start": at + 20}}
    first = opencode.part("msg_2", at + 20, thought)
    yield "half a thought"
    opencode.part(
        "msg_2", at + 30, {**thought, "text": "Let me see", "time": {"start": at + 20, "end": at + 30}}, first
    )
    text = opencode.part("msg_2", at + 40, words("I will ", time={"start": at + 40}))
    yield "half a sentence with a space at its end"
    opencode.part("msg_2", at + 50, words("I will look \n", time={"start": at + 40}), text)
    yield "more of it"
    opencode.part("msg_2", at + 60, words("I will look", time={"start": at + 40, "end": at + 60}), text)
    slow = opencode.part("msg_2", at + 70, a_tool("slow", "pending"))
    yield "a call whose arguments still come"
    opencode.part("msg_2", at + 80, a_tool("slow", "running", time={"start": at + 80}), slow)
    quick = opencode.part("msg_2", at + 85, a_tool("quick", "pending"))
    yield "one runs, one comes"
    opencode.part("msg_2", at + 90, a_tool("quick", "running", time={"start": at + 90}), quick)
    yield "both run"
    opencode.part("msg_2", at + 100, done("quick", at + 100), quick)
    yield "the later one is done first"
    opencode.prompt("msg_3", at + 120, "Second, said meanwhile")
    opencode.session(title="A better title", at=at, time_updated=at + 121)
    yield "a prompt that waits"
    opencode.part("msg_2", at + 2 * HOUR, done("slow", at + 2 * HOUR), slow)
    yield "the slow one is done, hours later"
    opencode.part("msg_2", at + 2 * HOUR, {"type": "step-finish", "tokens": {"input": 5, "output": 2}, "cost": 0.25})
    opencode.message("msg_2", at + 10, an_answer(at + 10, finish="tool-calls"), updated=at + 2 * HOUR + 5)
    yield "the answer is whole"
    opencode.answer("msg_4", at + 2 * HOUR + 10, "To both: ", done=False)
    yield "another answer begins"
    opencode.answer("msg_4", at + 2 * HOUR + 10, " yes.")
    opencode.session(title="A better title", at=at, time_updated=at + 2 * HOUR + 20)
    yield "and ends"
    opencode.session("ses_2", at=at + 3 * HOUR)
    opencode.prompt("msg_5", at + 3 * HOUR, "Elsewhere", session_id="ses_2")
    opencode.answer("msg_6", at + 3 * HOUR + 1, "Yes", session_id="ses_2")
    yield "another session"


async def by_run(memory: Memory) -> dict[str, list[Any]]:
    """What each run holds: where a late result stands in a session depends on when it was seen."""
    found: dict[str, list[Any]] = {}
    for session_id in ("ses_1", "ses_2"):
        for message in await memory.get_messages_for_session(session_id):
            calls = [(call.tool_call_id, call.arguments, call.status) for call in message.tool_calls]
            told = (message.role, message.text, message.reasoning, calls, message.created_at)
            found.setdefault(message.run_id, []).append(told)
    return found


async def test_a_session_read_at_every_write_is_the_session_read_once(
    app: backscroll.Backscroll, tmp_path: Path
) -> None:
    grown, whole = app.memory("grown"), app.memory("whole")
    with closing(OpenCode(tmp_path / "opencode.db")) as opencode:
        for step in an_evening(opencode):
            report = await import_paths(grown, [opencode.path])
            assert not report.failed, (step, report.failed)
            assert report.unchanged == 0, step
        await import_paths(whole, [opencode.path])
        again = await import_paths(grown, [opencode.path])
    assert await by_run(grown) == await by_run(whole)
    assert [{**one, "messages": None} for one in await stored(grown)] == [
        {**one, "messages": None} for one in await stored(whole)
    ]
    assert (again.unchanged, again.runs) == (1, 0)
    first, second = await stored(whole)
    assert [text for _, text, *_ in first["messages"]] == [
        "First", "I will look", "output of quick", "output of slow", "Second, said meanwhile", "To both: \n\n yes.",
    ]  # fmt: skip
    assert (first["title"], second["session"]) == ("A better title", "ses_2")


async def test_results_are_told_in_the_order_in_which_they_came(memory: Memory, opencode: OpenCode) -> None:
    opencode.session()
    opencode.prompt("msg_1", T0, "Go")
    opencode.answer("msg_2", T0 + 1, done("slow", T0 + 900), done("quick", T0 + 100))
    assert [m.tool_call_id for m in messages_of(HOST, opencode.path) if m.role == "tool"] == ["quick", "slow"]


def test_a_reading_goes_on_from_the_prompt_of_what_changed(opencode: OpenCode) -> None:
    opencode.session(time_updated=T0 + 9 * HOUR)
    for n in range(9):
        opencode.prompt(f"msg_{n}a", T0 + n * HOUR, f"Question {n}")
        opencode.answer(f"msg_{n}b", T0 + n * HOUR + 1, f"Answer {n}")
    first = batches_of(HOST, opencode.path)[-1]
    assert (first.settled.kept, first.ahead.kept, first.start) == (36, 0, 0)
    opencode.prompt("msg_9a", T0 + 9 * HOUR, "Question 9")
    opencode.session(time_updated=T0 + 9 * HOUR + 2)
    again = batches_of(HOST, opencode.path, first.offset)[-1]
    assert [run.run_id for run in again.runs] == ["ses_1:msg_9a"]
    assert (again.start, again.settled.kept, again.ahead.kept) == (first.offset, 0, 2)
    opencode.part("msg_5b", T0 + 10 * HOUR, words("Answer 5"), "prt_0012")
    opencode.session(time_updated=T0 + 10 * HOUR)
    assert next(run.run_id for run in runs_of(HOST, opencode.path, again.offset)) == "ses_1:msg_5a"


def test_a_row_that_was_stamped_before_the_watermark_and_seen_after_it_is_read(opencode: OpenCode) -> None:
    opencode.session(time_updated=T0 + HOUR)
    opencode.prompt("msg_1", T0 + HOUR, "First")
    offset = batches_of(HOST, opencode.path)[-1].offset
    opencode.prompt("msg_2", T0 + HOUR - 5_000, "Written by a transaction that took its time")
    assert said(messages_of_from(opencode, offset))[0][1].startswith("Written by")


def messages_of_from(opencode: OpenCode, offset: int) -> list[Any]:
    return [message for run in runs_of(HOST, opencode.path, offset) for message in run.messages]


async def test_a_new_title_is_taken_over_though_nothing_else_changed(memory: Memory, opencode: OpenCode) -> None:
    opencode.session(title="New session - now")
    opencode.prompt("msg_1", T0, "Go")
    opencode.answer("msg_2", T0 + 1, "Gone")
    await import_paths(memory, [opencode.path])
    opencode.session(title="Going", time_updated=T0 + 2 * HOUR)
    report = await import_paths(memory, [opencode.path])
    assert ((await memory.get_session("#1")).title, report.failed) == ("Going", ())


async def test_a_database_that_another_took_the_place_of_is_read_from_its_beginning(
    memory: Memory, tmp_path: Path
) -> None:
    path = tmp_path / "opencode.db"
    for name, sessions in (("a", 1), ("b", 3)):
        with closing(OpenCode(tmp_path / name / "opencode.db")) as made:
            for n in range(sessions):
                made.session(f"ses_{name}{n}", at=T0 + n, time_updated=T0 + n * HOUR)
                made.prompt(f"msg_{name}{n}", T0 + n, f"In {name}{n}", session_id=f"ses_{name}{n}")
                made.answer(f"msg_{name}{n}x", T0 + n, "x" * 9_000 * sessions, session_id=f"ses_{name}{n}")
        with path.open("wb") as file:
            file.write((tmp_path / name / "opencode.db").read_bytes())
        report = await import_paths(memory, [path])
        assert (report.sessions, report.failed) == (sessions, ())


# The older form.


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def as_files(opencode: OpenCode, root: Path, *, oldest: bool) -> Path:
    """What the database holds, as OpenCode kept it before it had one."""
    storage = root / "project" / "srv-shed" / "storage" / "session" if oldest else root / "storage"
    db = opencode.db
    for session_id, title, created, parent in db.execute("SELECT id, title, time_created, parent_id FROM session"):
        info = {"id": session_id, "title": title, "version": "1.18.33", "time": {"created": created}}
        info |= {"parentID": parent} if parent else {}
        folder = storage / "info" if oldest else storage / "session" / "abc"
        write_json(folder / f"{session_id}.json", info if oldest else {**info, "directory": "/srv/shed"})
    for message_id, session_id, data in db.execute("SELECT id, session_id, data FROM message"):
        told = {"id": message_id, "sessionID": session_id, "path": {"cwd": "/srv/shed"}, **json.loads(data)}
        write_json(storage / "message" / session_id / f"{message_id}.json", told)
    for part_id, message_id, session_id, data in db.execute("SELECT id, message_id, session_id, data FROM part"):
        folder = storage / "part" / session_id / message_id if oldest else storage / "part" / message_id
        write_json(folder / f"{part_id}.json", {"id": part_id, "messageID": message_id, **json.loads(data)})
    return root


def without_counts(runs: list[NewRun]) -> list[dict[str, Any]]:
    return sorted((run.model_dump(exclude={"session_metadata"}) for run in runs), key=lambda run: str(run["run_id"]))


@pytest.mark.parametrize("oldest", [False, True])
async def test_the_files_that_opencode_left_behind_tell_what_its_database_tells(
    memory: Memory, opencode: OpenCode, tmp_path: Path, oldest: bool
) -> None:
    list(an_evening(opencode))
    root = as_files(opencode, tmp_path / "old", oldest=oldest)
    found = sorted(IMPORTERS[HOST].find(root))
    assert [path.stem for path in found] == ["ses_1", "ses_2"]
    files = [run for path in found for run in runs_of(HOST, path)]
    assert without_counts(files) == without_counts(runs_of(HOST, opencode.path))
    first = await import_paths(memory, [root])
    again = await import_paths(memory, [opencode.path])
    assert (first.runs, first.failed) == (3, ())
    assert (again.runs, again.duplicates, again.failed) == (0, 3, ())


def test_a_broken_file_of_the_older_form_costs_nothing_but_itself(opencode: OpenCode, tmp_path: Path) -> None:
    opencode.session()
    opencode.prompt("msg_1", T0, "Go")
    opencode.answer("msg_2", T0 + 1, "Gone")
    root = as_files(opencode, tmp_path / "old", oldest=False)
    (root / "storage" / "part" / "msg_2" / "prt_9999.json").write_bytes(b'{"type": "te')
    (root / "storage" / "message" / "ses_1" / "msg_0.json").write_bytes(b"\xff\xfe")
    (path,) = IMPORTERS[HOST].find(root)
    assert said(messages_of(HOST, path)) == [("user", "Go"), ("assistant", "Gone")]
    assert len(tally_of(HOST, path).failed) == 2


# Where it is.


def test_its_files_are_looked_for_where_the_program_keeps_them(tmp_path: Path) -> None:
    data = tmp_path / "share" / "opencode"
    data.mkdir(parents=True)
    (data / "opencode-beta.db").touch()
    assert list(IMPORTERS[HOST].folders({"XDG_DATA_HOME": str(tmp_path / "share")}, tmp_path)) == [
        data / "project",
        data / "storage" / "session",
        data / "opencode.db",
        data / "opencode-beta.db",
    ]
    assert list(IMPORTERS[HOST].folders({}, tmp_path))[2] == tmp_path / ".local/share/opencode/opencode.db"


def test_the_database_is_recognised_and_other_json_is_not(opencode: OpenCode, tmp_path: Path) -> None:
    assert importer_for(opencode.path).host == HOST
    write_lines(tmp_path / "session" / "x" / "ses_1.json", [{"id": "ses_1"}])
    write_lines(tmp_path / "package.json", [{"name": "x"}])
    assert list(IMPORTERS[HOST].find(tmp_path)) == [opencode.path]
