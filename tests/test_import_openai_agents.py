"""Databases of the OpenAI Agents SDK through the importers' public door.

The real SDK's databases are read a second time here by a plain reading of our own, and both must agree. They lie
beside the repository and not in it; without them these tests skip.
"""

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
from hunting import examples
from importer_doors import SHARED, batches_of, messages_of, runs_of, said, stored, tally_of

HOST = "openai-agents"
T0 = 1_790_000_000
HOUR = 3600

MESSAGES = "id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, message_data TEXT, created_at TIMESTAMP"
STRUCTURE = """
CREATE TABLE message_structure (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, message_id INTEGER,
    branch_id TEXT, message_type TEXT, sequence_number INTEGER, user_turn_number INTEGER, branch_turn_number INTEGER);
CREATE TABLE turn_usage (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, branch_id TEXT,
    user_turn_number INTEGER, requests INTEGER, input_tokens INTEGER, output_tokens INTEGER, total_tokens INTEGER,
    input_tokens_details JSON, output_tokens_details JSON, created_at TIMESTAMP);
"""


class Agents:
    """Writes items as the SDK's sessions do, plain or advanced."""

    def __init__(self, path: Path, *, advanced: bool = False, prefix: str = "agent") -> None:
        self.path = path
        self.messages = f"{prefix}_messages"
        self.advanced = advanced
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"CREATE TABLE {self.messages} ({MESSAGES})")
        self.db.execute(f"CREATE INDEX idx_{self.messages} ON {self.messages} (session_id, id)")
        if advanced:
            self.db.executescript(STRUCTURE)

    def close(self) -> None:
        self.db.close()

    def add(self, *items: Any, session_id: str = "s-1", at: int = T0, branch: str = "main") -> None:
        for item in items:
            data = item if isinstance(item, str) else json.dumps(item)
            found = self.db.execute(
                f"INSERT INTO {self.messages} (session_id, message_data, created_at) VALUES (?, ?, ?)",
                (session_id, data, stamp(at)),
            )
            if self.advanced:
                begins = isinstance(item, dict) and item.get("role") == "user"
                self._place(session_id, found.lastrowid or 0, branch, self._turn(session_id, branch) + begins)

    def _turn(self, session_id: str, branch: str) -> int:
        query = (
            "SELECT coalesce(max(user_turn_number), 0) FROM message_structure WHERE session_id = ? AND branch_id = ?"
        )
        return int(self.db.execute(query, (session_id, branch)).fetchone()[0])

    def _place(self, session_id: str, message_id: int, branch: str, turn: int) -> None:
        self.db.execute(
            "INSERT INTO message_structure (session_id, message_id, branch_id, message_type, sequence_number, "
            "user_turn_number, branch_turn_number) "
            "VALUES (?, ?, ?, '', (SELECT count(*) FROM message_structure), ?, ?)",
            (session_id, message_id, branch, turn, turn),
        )

    def fork(self, branch: str, before_turn: int, *, source: str = "main", session_id: str = "s-1") -> None:
        """A branch begins as a copy of the places, not of the items."""
        shared = self.db.execute(
            "SELECT message_id, user_turn_number FROM message_structure WHERE session_id = ? AND branch_id = ? "
            "AND branch_turn_number < ? ORDER BY sequence_number",
            (session_id, source, before_turn),
        ).fetchall()
        for message_id, turn in shared:
            self._place(session_id, message_id, branch, turn)

    def spent(self, turn: int, tokens: int, *, branch: str = "main", session_id: str = "s-1", at: int = T0) -> None:
        details = (json.dumps({"cached_tokens": tokens // 2}), json.dumps({"reasoning_tokens": 1}))
        self.db.execute(
            "INSERT INTO turn_usage (session_id, branch_id, user_turn_number, requests, input_tokens, output_tokens, "
            "total_tokens, input_tokens_details, output_tokens_details, created_at) "
            "VALUES (?, ?, ?, 1, ?, 2, ?, ?, ?, ?)",
            (session_id, branch, turn, tokens, tokens + 2, *details, stamp(at)),
        )


def stamp(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def asked(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answered(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def called(call_id: str, name: str = "weather", arguments: str = '{"city":"Oslo"}') -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "id": f"fc_{call_id}"}


def found(call_id: str, output: Any = "Sunny") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    with closing(Agents(tmp_path / "agents.db")) as made:
        yield made


@pytest.fixture
def advanced(tmp_path: Path) -> Iterator[Agents]:
    with closing(Agents(tmp_path / "advanced.db", advanced=True)) as made:
        yield made


@pytest.fixture(params=["oai.db", "oai_adv.db"])
def sample(request: pytest.FixtureRequest) -> Path:
    path = SHARED / "frameworks" / str(request.param)
    if not path.exists():
        pytest.skip("no sample databases of the real frameworks beside the repository")
    return path


# Against a plain reading of the real SDK's databases.


def plain_items(sample: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"{sample.as_uri()}?immutable=1", uri=True)) as db:
        return [json.loads(data) for (data,) in db.execute("SELECT message_data FROM agent_messages ORDER BY id")]


def test_talk_calls_and_results_agree_with_a_plain_reading(sample: Path) -> None:
    expected: list[tuple[str, str, list[Any]]] = []
    for item in plain_items(sample):
        match item.get("type", "message"):
            case "function_call":
                expected.append(("assistant", "", [(item["call_id"], item["name"], item["arguments"])]))
            case "function_call_output":
                expected.append(("tool", item["output"], []))
            case "message":
                content = item["content"]
                text = content if isinstance(content, str) else "".join(part["text"] for part in content)
                expected.append((item["role"], text, []))
    messages = messages_of(HOST, sample)
    assert [
        (m.role, m.text, [(c.tool_call_id, c.tool_name, c.arguments) for c in m.tool_calls]) for m in messages
    ] == expected
    assert tally_of(HOST, sample).kept == len(expected)


async def test_a_second_import_of_a_sample_adds_nothing(memory: Memory, sample: Path) -> None:
    first = await import_paths(memory, [sample])
    again = await import_paths(memory, [sample], restore=True)
    assert (first.failed, first.runs, first.messages) == ((), 1, len(plain_items(sample)))
    assert (again.failed, again.runs, again.messages, again.duplicates) == ((), 0, 0, 1)


# What items become.


def test_a_run_begins_with_what_a_user_says(agents: Agents) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "status": None}
    agents.add(asked("How is Oslo?"), {**thought, "encrypted_content": "x" * 99}, called("c1"), found("c1"))
    agents.add(answered("Sunny."), asked("And?"))
    first, second = runs_of(HOST, agents.path)
    assert (first.session_id, first.run_id, first.status) == ("s-1", f"s-1:1-{T0}", "completed")
    assert (second.run_id, second.status, said(second.messages)) == (f"s-1:6-{T0}", "running", [("user", "And?")])
    assert said(first.messages) == [
        ("user", "How is Oslo?"), ("assistant", ""), ("tool", "Sunny"), ("assistant", "Sunny."),
    ]  # fmt: skip
    assert (first.messages[1].reasoning, first.messages[2].tool_name) == ("Hm.", "weather")
    assert {message.created_at for message in first.messages} == {datetime.fromtimestamp(T0, UTC)}
    assert [message.payload for message in first.messages] == [None] * 4, "ids and seals are the API's own"


def test_what_is_no_talk_is_counted(agents: Agents) -> None:
    agents.add({"role": "system", "content": "Be kind."}, asked("Go"), {"type": "compaction", "encrypted_content": "x"})
    agents.add({"__enc__": 1, "v": 1, "kid": "k", "payload": "x"}, {"role": "developer", "content": "Be brief."})
    assert said(messages_of(HOST, agents.path)) == [("user", "Go")]
    assert tally_of(HOST, agents.path).skipped == {"system": 2, "compaction": 1, "encrypted": 1}


def test_calls_of_every_kind_are_calls_with_their_results(agents: Agents) -> None:
    mcp = {"type": "mcp_call", "id": "m1", "server_label": "shed", "name": "find", "arguments": "{}", "output": "found"}
    search = {"type": "web_search_call", "id": "w1", "status": "completed", "action": {"query": "sheds"}}
    shell = {"type": "shell_call", "call_id": "s1", "action": {"commands": ["ls"]}}
    out = [{"stdout": "a.txt", "outcome": {"type": "exit", "exit_code": 0}}]
    agents.add(asked("Go"), mcp, {**mcp, "id": "m2", "output": None, "error": "gone"}, search, shell)
    agents.add({"type": "shell_call_output", "call_id": "s1", "output": out})
    (run,) = runs_of(HOST, agents.path)
    calls = [(c.tool_call_id, c.tool_name, c.arguments) for m in run.messages for c in m.tool_calls]
    assert calls == [
        ("m1", "shed.find", "{}"),
        ("m2", "shed.find", "{}"),
        ("w1", "web_search", '{"query":"sheds"}'),
        ("s1", "shell", '{"commands":["ls"]}'),
    ]
    results = [(m.tool_call_id, m.text, m.is_error) for m in run.messages if m.role == "tool"]
    assert results == [("m1", "found", False), ("m2", "gone", True), ("w1", "", False), ("s1", json.dumps(
        out, separators=(",", ":")), False)]  # fmt: skip


def test_what_cannot_be_read_costs_nothing_but_itself(agents: Agents) -> None:
    agents.add(asked("Go"), '{"role": "assis', "[1]", {"role": "critic", "content": "!"}, answered("Gone \ud83d"))
    assert said(messages_of(HOST, agents.path)) == [("user", "Go"), ("assistant", "Gone \ufffd")]
    assert [failure.line for failure in tally_of(HOST, agents.path).failed] == [2, 3, 4]


def test_a_branch_is_a_session_with_what_was_said_in_it_alone(advanced: Agents) -> None:
    advanced.add(asked("One"), answered("1"), asked("Two"), answered("2"))
    advanced.fork("alt", before_turn=2)
    advanced.add(asked("Else"), answered("e"), branch="alt")
    advanced.add(asked("Three"), answered("3"))
    advanced.fork("deep", before_turn=3, source="alt")
    advanced.add(asked("Deeper"), answered("d"), branch="deep")
    for turn, branch, tokens in ((1, "main", 10), (2, "main", 20), (2, "alt", 30), (3, "main", 40), (3, "deep", 50)):
        advanced.spent(turn, tokens, branch=branch)
    runs = runs_of(HOST, advanced.path)
    told = sorted((run.session_id, run.messages[0].text, (run.metrics or {})["input_tokens"]) for run in runs)
    assert told == [
        ("s-1", "One", 10),
        ("s-1", "Three", 40),
        ("s-1", "Two", 20),
        ("s-1/alt", "Else", 30),
        ("s-1/deep", "Deeper", 50),
    ]
    assert {run.session_id: run.session_metadata for run in runs} == {
        "s-1": None,
        "s-1/alt": {"forked_from": "s-1", "branch_id": "alt"},
        "s-1/deep": {"forked_from": "s-1/alt", "branch_id": "deep"},
    }
    assert runs[0].metrics == {
        "input_tokens": 10, "output_tokens": 2, "total_tokens": 12, "cache_read_tokens": 5, "reasoning_tokens": 1,
    }  # fmt: skip


ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("type", "role", "content", "text", "call_id", "output", "name", "arguments", "summary", "id")
            ),
            inner
            | st.sampled_from(["message", "function_call", "function_call_output", "user", "mcp_call", "reasoning"]),
            max_size=6,
        )
    ),
    max_leaves=15,
)


@given(items=st.lists(ITEMS, max_size=6), is_advanced=st.booleans())
@settings(max_examples=examples(50))
def test_whatever_the_rows_hold_each_is_accounted_for(
    items: list[Any], is_advanced: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with closing(Agents(tmp_path_factory.mktemp("rows") / "any.db", advanced=is_advanced)) as agents:
        agents.add(*(json.dumps(item) for item in items), asked("Go"))
        assert tally_of(HOST, agents.path).lines == len(items) + 1
        assert said(messages_of(HOST, agents.path))[-1:] == [("user", "Go")]


# Read on.


def a_day(agents: Agents) -> Iterator[str]:
    """Every write of two sessions, one after another."""
    fork = agents.advanced
    agents.add(asked("One"))
    yield "asked"
    agents.add({"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]})
    yield "a thought without its call yet"
    agents.add(called("c1"), called("c2"))
    yield "called"
    agents.add(found("c2", "second"))
    agents.add(found("c1", "first"), at=T0 + 1)
    yield "found"
    agents.add(asked("Elsewhere"), session_id="s-2", at=T0 + 2)
    yield "another session"
    agents.add(answered("1"), at=T0 + HOUR)
    yield "answered an hour later"
    if fork:
        agents.spent(1, 10, at=T0 + 2 * HOUR)
        yield "usage, written last"
        agents.add(asked("Two"), at=T0 + 2 * HOUR)
        agents.fork("alt", before_turn=2)
        yield "a branch"
        agents.add(asked("Else"), branch="alt", at=T0 + 3 * HOUR)
        agents.add(answered("2"), at=T0 + 3 * HOUR)
        yield "both go on"
        agents.add(answered("e"), branch="alt", at=T0 + 5 * HOUR)
        agents.spent(2, 30, branch="alt", at=T0 + 5 * HOUR)
        yield "one is answered hours later"
    agents.add(answered("e"), session_id="s-2", at=T0 + 6 * HOUR)
    yield "the other session is answered"
    agents.add(asked("Last"), answered("l"), at=T0 + 7 * HOUR)
    yield "a whole turn"


@pytest.mark.parametrize("is_advanced", [False, True])
async def test_sessions_read_at_every_write_are_the_sessions_read_once(
    app: backscroll.Backscroll, tmp_path: Path, is_advanced: bool
) -> None:
    grown, whole = app.memory("grown"), app.memory("whole")
    with closing(Agents(tmp_path / "agents.db", advanced=is_advanced)) as agents:
        for step in a_day(agents):
            report = await import_paths(grown, [agents.path])
            assert not report.failed, (step, report.failed)
        await import_paths(whole, [agents.path])
    assert await stored(grown) == await stored(whole)
    assert [one["session"] for one in await stored(whole)] == ["s-1", *(["s-1/alt"] if is_advanced else []), "s-2"]


def test_a_reading_goes_on_from_the_prompt_of_the_run_that_grew(agents: Agents) -> None:
    for n in range(9):
        agents.add(asked(f"Question {n}"), answered(f"Answer {n}"), at=T0 + n * HOUR)
    first = batches_of(HOST, agents.path)[-1]
    assert (first.settled.kept, first.ahead.kept) == (16, 2)
    agents.add(answered("More"), at=T0 + 9 * HOUR)
    again = batches_of(HOST, agents.path, first.offset)[-1]
    assert [run.messages[0].text for run in again.runs] == ["Question 8"]
    assert (again.start, again.settled.kept, again.ahead.kept) == (first.offset, 2, 1)


async def test_a_session_that_was_cleared_goes_on_as_another_talk(memory: Memory, agents: Agents) -> None:
    agents.add(asked("One"), answered("1"))
    await import_paths(memory, [agents.path])
    agents.db.execute("DELETE FROM agent_messages")
    agents.add(asked("Two"), answered("2"), at=T0 + HOUR)
    report = await import_paths(memory, [agents.path])
    assert (report.runs, report.failed, (await memory.get_session("s-1")).messages) == (1, (), 4)


async def test_two_files_with_one_session_id_keep_their_runs_apart(memory: Memory, tmp_path: Path) -> None:
    for n in (1, 2):
        with closing(Agents(tmp_path / f"{n}.db", prefix=f"my{n}")) as agents:
            agents.add(asked(f"In file {n}"), answered("Yes"), at=T0 + n)
    report = await import_paths(memory, [tmp_path])
    assert (report.files, report.runs, report.failed) == (2, 2, ())


def test_tables_of_any_name_are_known_by_their_columns(tmp_path: Path) -> None:
    with closing(Agents(tmp_path / "odd.sqlite", prefix="mine")) as agents:
        agents.add(asked("Go"))
        assert importer_for(agents.path).host == HOST
    assert list(IMPORTERS[HOST].folders({}, tmp_path)) == []
