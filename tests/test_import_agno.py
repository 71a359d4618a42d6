"""Agno's databases through the importers' public door: the three forms in which it has kept its runs.

The real framework's databases are read a second time here by a plain reading of our own, and both must agree. They
lie beside the repository and not in it; without them these tests skip.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
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
from hunting import examples
from importer_doors import SHARED, batches_of, messages_of, runs_of, said, tally_of

HOST = "agno"
T0 = 1_790_000_000

SESSION = (
    "session_id VARCHAR PRIMARY KEY, session_type VARCHAR, agent_id VARCHAR, team_id VARCHAR, workflow_id VARCHAR, "
    "user_id VARCHAR, session_data JSON, agent_data JSON, team_data JSON, workflow_data JSON, metadata JSON, "
    "summary JSON, created_at BIGINT, updated_at BIGINT"
)
RUNS = (
    "run_id VARCHAR PRIMARY KEY, session_id VARCHAR, run_type VARCHAR, parent_run_id VARCHAR, status VARCHAR, "
    "run_index BIGINT, run_data JSON, created_at BIGINT, updated_at BIGINT"
)
MEMORY = (
    "session_id VARCHAR PRIMARY KEY, user_id VARCHAR, memory JSON, session_data JSON, extra_data JSON, "
    "created_at INTEGER, updated_at INTEGER, agent_id VARCHAR, agent_data JSON, team_session_id VARCHAR"
)


class Agno:
    """Writes sessions in one of the forms: `runs` of their own, `blob` in the session's row, or `memory` of Agno 1."""

    def __init__(self, path: Path, form: str = "runs", prefix: str = "agno") -> None:
        self.path = path
        self.form = form
        self.sessions, self.runs = f"{prefix}_sessions", f"{prefix}_runs"
        self.db = sqlite3.connect(path, isolation_level=None)
        if form == "memory":
            self.db.execute(f"CREATE TABLE {self.sessions} ({MEMORY})")
        else:
            blob = ", runs JSON" if form == "blob" else ""
            self.db.execute(f"CREATE TABLE {self.sessions} ({SESSION}{blob})")
        if form == "runs":
            self.db.execute(f"CREATE TABLE {self.runs} ({RUNS})")
        self._told: dict[str, list[dict[str, Any]]] = {}

    def close(self) -> None:
        self.db.close()

    def session(self, session_id: str = "s-1", at: int = T0, *, updated: int = 0, **more: Any) -> None:
        row: dict[str, Any] = {
            "session_id": session_id,
            "created_at": at,
            "updated_at": updated or at,
            "user_id": "u-7",
        }
        row |= {"agent_id": "shed", "agent_data": {"name": "Shed"}, "session_data": {"session_state": {"beds": 2}}}
        if self.form != "memory":
            row["session_type"] = "agent"
        self._upsert(self.sessions, "session_id", row | more)

    def run(self, run: dict[str, Any], session_id: str = "s-1", *, updated: int = 0) -> None:
        at = updated or run["created_at"]
        if self.form == "runs":
            index = self.db.execute(f"SELECT count(*) FROM {self.runs}").fetchone()[0]
            row = {"run_id": run["run_id"], "session_id": session_id, "run_type": "agent", "status": run["status"]}
            row |= {"parent_run_id": run.get("parent_run_id"), "run_index": index, "run_data": run}
            self._upsert(self.runs, "run_id", {**row, "created_at": run["created_at"], "updated_at": at})
            self.db.execute(f"UPDATE {self.sessions} SET updated_at = ? WHERE session_id = ?", (at, session_id))
            return
        told = self._told.setdefault(session_id, [])
        told[:] = [one for one in told if one["run_id"] != run["run_id"]] + [run]
        column, value = ("memory", {"runs": told}) if self.form == "memory" else ("runs", told)
        self.db.execute(
            f"UPDATE {self.sessions} SET {column} = ?, updated_at = ? WHERE session_id = ?",
            (self._json(value), at, session_id),
        )

    def _json(self, value: Any) -> str:
        return json.dumps(json.dumps(value)) if self.form == "blob" else json.dumps(value)

    def _upsert(self, table: str, key: str, row: dict[str, Any]) -> None:
        values = [self._json(value) if isinstance(value, dict | list) else value for value in row.values()]
        news = ", ".join(f"{name} = excluded.{name}" for name in row if name != key)
        self.db.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
            f"ON CONFLICT ({key}) DO UPDATE SET {news}",
            values,
        )


def a_message(role: str, content: Any = None, at: int = T0, **more: Any) -> dict[str, Any]:
    return {"id": f"m-{role}-{at}", "role": role, "content": content, "from_history": False, "created_at": at, **more}


def a_call(call_id: str, name: str = "weather", arguments: str = '{"city": "Oslo"}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def a_run(
    run_id: str, *messages: dict[str, Any], at: int = T0, status: str = "COMPLETED", **more: Any
) -> dict[str, Any]:
    metrics = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18, "duration": 1.5, "details": {}}
    run = {"run_id": run_id, "agent_name": "Shed", "model": "shed-1", "created_at": at, "status": status}
    return {**run, "metrics": metrics, "messages": list(messages), **more}


def a_turn(run_id: str, question: str, answer: str, at: int = T0) -> dict[str, Any]:
    return a_run(run_id, a_message("user", question, at), a_message("assistant", answer, at), at=at)


@pytest.fixture(params=["runs", "blob", "memory"])
def agno(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agno]:
    with closing(Agno(tmp_path / "agents.db", request.param)) as found:
        yield found


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[Agno]:
    with closing(Agno(tmp_path / "agents.db")) as found:
        yield found


@pytest.fixture(params=["agno2.db", "agno3.db"])
def sample(request: pytest.FixtureRequest) -> Path:
    path = SHARED / "frameworks" / str(request.param)
    if not path.exists():
        pytest.skip("no sample databases of the real frameworks beside the repository")
    return path


# Against a plain reading of the real framework's databases.


def plain_runs(sample: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"{sample.as_uri()}?immutable=1", uri=True)) as db:
        if "3" in sample.name:
            return [json.loads(data) for (data,) in db.execute("SELECT run_data FROM agno_runs ORDER BY run_index")]
        return [run for (runs,) in db.execute("SELECT runs FROM agno_sessions") for run in json.loads(json.loads(runs))]


def test_messages_agree_with_a_plain_reading(sample: Path) -> None:
    expected = [
        [(m["role"], m["content"]) for m in run["messages"] if not m["from_history"] and m["role"] != "system"]
        for run in plain_runs(sample)
    ]
    assert [said(run.messages) for run in runs_of(HOST, sample)] == expected
    assert sum(map(len, expected)) == 4


def test_runs_keep_their_ids_and_their_usage(sample: Path) -> None:
    plain, runs = plain_runs(sample), runs_of(HOST, sample)
    assert [run.run_id for run in runs] == [run["run_id"] for run in plain]
    assert [(run.metrics or {})["total_tokens"] for run in runs] == [run["metrics"]["total_tokens"] for run in plain]
    assert [(run.agent, run.model, run.status) for run in runs] == [("A", "m1", "completed")] * 2
    assert {(run.session_metadata or {})["host_user_id"] for run in runs} == {"u1"}


async def test_a_second_import_of_a_sample_adds_nothing(memory: Memory, sample: Path) -> None:
    first = await import_paths(memory, [sample])
    again = await import_paths(memory, [sample], restore=True)
    assert (first.failed, first.runs, first.messages) == ((), 2, 4)
    assert (again.failed, again.runs, again.messages, again.duplicates) == ((), 0, 0, 2)


# What a run becomes.


def a_tool_run(run_id: str = "r-1") -> dict[str, Any]:
    return a_run(
        run_id,
        a_message("system", "Be kind."),
        a_message("user", "Said before", from_history=True),
        a_message("user", "How is Oslo? And tea?"),
        a_message(
            "assistant", "Let me look.", reasoning_content="Hm.", tool_calls=[a_call("c1"), a_call("c2", "broken")]
        ),
        a_message("tool", "Sunny", tool_call_id="c1", tool_name="weather", tool_args={"city": "Oslo"}),
        a_message("tool", "no tea", tool_call_id="c2", tool_name="broken", tool_call_error=True),
        a_message("assistant", "Sunny, no tea.", at=T0 + 4),
        tools=[{"tool_call_id": "c1", "metrics": {"duration": 0.25}}, {"tool_call_id": "c2", "metrics": None}],
    )


def test_a_run_holds_what_was_new_in_it(agno: Agno) -> None:
    agno.session()
    agno.run(a_tool_run())
    (run,) = runs_of(HOST, agno.path)
    assert (run.session_id, run.run_id, run.status, run.agent, run.model) == (
        "s-1",
        "r-1",
        "completed",
        "Shed",
        "shed-1",
    )
    assert run.metrics == {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    assert said(run.messages) == [
        ("user", "How is Oslo? And tea?"),
        ("assistant", "Let me look."),
        ("tool", "Sunny"),
        ("tool", "no tea"),
        ("assistant", "Sunny, no tea."),
    ]
    _, calling, sunny, failed, _ = run.messages
    assert calling.reasoning == "Hm."
    assert [(c.tool_call_id, c.tool_name, c.arguments) for c in calling.tool_calls] == [
        ("c1", "weather", '{"city": "Oslo"}'),
        ("c2", "broken", '{"city": "Oslo"}'),
    ]
    assert (sunny.tool_name, sunny.duration_ms, sunny.is_error) == ("weather", 250, False)
    assert (failed.tool_name, failed.duration_ms, failed.is_error) == ("broken", None, True)
    assert [message.payload for message in run.messages] == [None] * 5, "what has a place of its own is not kept twice"
    assert tally_of(HOST, agno.path).skipped == {"system": 1, "from_history": 1}


def test_agnos_user_summary_and_state_go_where_ours_are_not(agno: Agno) -> None:
    extra: dict[str, Any] = {"metadata" if agno.form != "memory" else "extra_data": {"plan": "gold"}}
    if agno.form != "memory":
        extra["summary"] = {"summary": "Of Oslo", "topics": ["weather"]}
    agno.session(session_data={"session_name": "Weather", "session_state": {"city": "Oslo"}}, **extra)
    agno.run(a_turn("r-1", "How?", "So."))
    agno.run(a_turn("r-2", "And?", "Also."))
    first, last = runs_of(HOST, agno.path)
    metadata = last.session_metadata or {}
    assert (metadata["host_user_id"], metadata["host_metadata"]) == ("u-7", {"plan": "gold"})
    assert metadata.get("host_summary", {}).get("summary") == extra.get("summary", {}).get("summary")
    assert (last.title, first.state, last.state) == ("Weather", None, {"city": "Oslo"})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("PENDING", "running"), ("RUNNING", "running"), ("PAUSED", "paused"), ("CANCELLED", "cancelled"),
        ("ERROR", "error"), ("REGENERATED", "cancelled"), ("SOMETHING_NEW", "completed"),
    ],
)  # fmt: skip
def test_a_run_ends_as_agno_says(newest: Agno, theirs: str, ours: str) -> None:
    newest.session()
    newest.run(a_run("r-1", a_message("user", "Go"), status=theirs, content="boom"))
    (run,) = runs_of(HOST, newest.path)
    assert (run.status, run.ended_at is None) == (ours, ours == "running")
    assert (run.metadata or {}).get("error") == ("boom" if ours == "error" else None)


def test_agno_1_left_its_runs_running_and_told_tokens_answer_by_answer(tmp_path: Path) -> None:
    with closing(Agno(tmp_path / "old.db", "memory", prefix="my")) as agno:
        agno.session(team_session_id="s-0")
        metrics = {"input_tokens": [11, 4], "output_tokens": [7], "cached_tokens": [3, 0], "time": [0.1]}
        response = {**a_turn("r-1", "How?", "So."), "status": "RUNNING", "metrics": metrics}
        del response["messages"]
        messages = [a_message("user", "How?"), a_message("model", "So.")]
        agno.run({"run_id": "r-1", "created_at": T0, "response": response, "messages": messages})
        (run,) = runs_of(HOST, agno.path)
    assert (run.status, said(run.messages)) == ("completed", [("user", "How?"), ("assistant", "So.")])
    assert run.metrics == {"input_tokens": 15, "output_tokens": 7, "cache_read_tokens": 3}
    assert (run.session_metadata or {})["parent_session_id"] == "s-0"


def test_runs_inside_a_run_name_it_and_follow_it(agno: Agno) -> None:
    agno.session()
    agno.run(a_turn("member", "Say hi", "hi") | {"parent_run_id": "team", "agent_name": "Member"})
    step = a_turn("step", "go", "done") | {"agent_name": "Stepper"}
    team = a_turn("team", "Ask them", "They say hi") | {"member_responses": [a_turn("member", "?", "!"), step]}
    agno.run(team)
    runs = runs_of(HOST, agno.path)
    assert [(run.run_id, run.parent_run_id) for run in runs] == [("team", None), ("step", "team"), ("member", "team")]
    assert said(runs[-1].messages) == [("user", "Say hi"), ("assistant", "hi")]


def test_a_workflow_tells_what_went_in_and_what_came_out(newest: Agno) -> None:
    newest.session()
    inner = a_turn("inner", "go", "gone")
    flow = {"run_id": "flow", "workflow_name": "Flow", "input": {"city": "Oslo"}, "content": "done", "created_at": T0}
    newest.run({**flow, "status": "COMPLETED", "metrics": {"steps": {}}, "step_executor_runs": [inner]})
    outer, step = runs_of(HOST, newest.path)
    assert said(outer.messages) == [("user", '{"city":"Oslo"}'), ("assistant", "done")]
    assert (outer.agent, outer.metrics, step.parent_run_id) == ("Flow", None, "flow")


def test_what_agno_put_after_the_prompt_is_not_the_prompt(newest: Agno) -> None:
    newest.session()
    prompt = "How?\n\nUse the following references from the knowledge base if it helps:\n<references>...</references>"
    newest.run(a_run("r-1", a_message("user", prompt), input={"input_content": "How?"}))
    newest.run(a_run("r-2", a_message("user", "How? Tell me"), input={"input_content": "How?"}))
    assert [m.text for m in messages_of(HOST, newest.path)] == ["How?", "How? Tell me"]


def test_pictures_and_several_results_in_one_message_find_their_places(newest: Agno) -> None:
    newest.session()
    results = [{"tool_call_id": f"c{n}", "tool_name": "weather", "content": f"found {n}"} for n in (1, 2)]
    newest.run(
        a_run(
            "r-1",
            a_message("user", [{"type": "text", "text": "See"}], images=[{"url": "https://shed.example/a.png"}]),
            a_message("assistant", None, tool_calls=[a_call("c1"), a_call("c2")]),
            a_message("tool", ["found 1", "found 2"], tool_calls=results),
            a_message("assistant", {"sky": "blue"}),
        )
    )
    (run,) = runs_of(HOST, newest.path)
    assert run.messages[0].media[0].url == "https://shed.example/a.png"
    assert [(m.tool_call_id, m.text) for m in run.messages if m.role == "tool"] == [
        ("c1", "found 1"),
        ("c2", "found 2"),
    ]
    assert run.messages[-1].text == '{"sky":"blue"}'


def test_what_cannot_be_read_costs_nothing_but_itself(newest: Agno) -> None:
    newest.session()
    newest.run(a_turn("r-1", "How?", "So."))
    newest.run(a_run("r-2", a_message("user", "And?"), {"role": "critic", "content": "!"}, "words"))  # type: ignore[arg-type]
    newest.run(a_turn("r-3", "Then?", "Thus."))
    newest.db.execute("UPDATE agno_runs SET run_data = '[1, 2' WHERE run_id = 'r-3'")
    assert said(messages_of(HOST, newest.path)) == [("user", "How?"), ("assistant", "So."), ("user", "And?")]
    assert sorted(failure.line for failure in tally_of(HOST, newest.path).failed) == [2, 2, 3]


def test_a_session_named_like_a_number_is_still_one(newest: Agno) -> None:
    newest.session("#7")
    newest.run(a_turn("r-1", "How?", "So."), "#7")
    assert [run.session_id for run in runs_of(HOST, newest.path)] == ["agno:#7"]


FIELDS = (
    *("role", "content", "messages", "tool_calls", "function", "name", "arguments", "tools", "metrics", "input"),
    *("created_at", "images", "url", "member_responses", "status", "session_state", "runs", "response", "run_id"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner | st.sampled_from(["assistant", "user", "tool", "system"]),
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(data=VALUES, form=st.sampled_from(["runs", "blob", "memory"]))
@settings(max_examples=examples(50))
def test_whatever_the_rows_hold_a_reading_ends(data: Any, form: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with closing(Agno(tmp_path_factory.mktemp("rows") / "any.db", form)) as agno:
        told = data if isinstance(data, dict) else {"messages": data}
        agno.session(session_data=told, agent_data=told)
        agno.run({"status": "COMPLETED", **told, "run_id": "r-1", "created_at": T0})
        agno.run(a_run("r-2", {"role": "user", **told}, told))
        for run in runs_of(HOST, agno.path):
            assert run.run_id
            assert run.messages


# Read on.


async def test_a_run_that_is_written_again_grows_and_others_are_left(app: backscroll.Backscroll, agno: Agno) -> None:
    grown, whole = app.memory("grown"), app.memory("whole")

    async def step() -> None:
        report = await import_paths(grown, [agno.path])
        assert not report.failed, report.failed

    asked = a_message("user", "May I?")
    calling = a_message("assistant", "Asking.", tool_calls=[a_call("c1")])
    agno.session()
    await step()
    agno.run(a_turn("r-1", "How?", "So."))
    await step()
    agno.run(a_run("r-2", asked, status="RUNNING", at=T0 + 10))
    await step()
    agno.run(a_run("r-2", asked, calling, status="PAUSED", at=T0 + 10), updated=T0 + 20)
    await step()
    agno.run(a_turn("r-3", "Meanwhile?", "Yes.", at=T0 + 7200))
    await step()
    found = [a_message("tool", "Sunny", tool_call_id="c1"), a_message("assistant", "Sunny.")]
    agno.run(a_run("r-2", asked, calling, *found, at=T0 + 10), updated=T0 + 9000)
    await step()
    agno.session(updated=T0 + 20_000, session_data={"session_name": "Weather", "session_state": {"beds": 3}})
    await step()
    await import_paths(whole, [agno.path])
    assert by_run(await stored_runs(grown)) == by_run(await stored_runs(whole))
    session = await grown.get_session("s-1")
    assert (session.title, session.state) == ("Weather", {"beds": 3})
    assert (session.runs, session.messages) == (3, 8)


async def stored_runs(memory: Memory) -> list[Any]:
    return list(await memory.get_messages_for_session("s-1"))


def by_run(messages: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for message in messages:
        calls = [(call.tool_call_id, call.status) for call in message.tool_calls]
        found.setdefault(message.run_id, []).append((message.role, message.text, calls))
    return found


def test_a_reading_goes_on_with_the_sessions_and_the_runs_that_moved(newest: Agno) -> None:
    for n in range(4):
        newest.session(f"s-{n}", at=T0 + n * 3600)
        for m in range(3):
            newest.run(a_turn(f"r-{n}-{m}", "How?", "So.", at=T0 + n * 3600 + m), f"s-{n}")
    first = batches_of(HOST, newest.path)[-1]
    assert (first.settled.kept, first.ahead.kept) == (18, 6)
    newest.run(a_turn("r-1-3", "And?", "Also.", at=T0 + 9 * 3600), "s-1")
    again = batches_of(HOST, newest.path, first.offset)[-1]
    assert [run.run_id for run in again.runs if run.session_id == "s-1"] == ["r-1-3"]
    assert {run.session_id for run in again.runs} == {"s-1", "s-3"}
    assert again.start == first.offset


def test_several_agents_with_tables_of_their_own_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    for prefix, form in (("cook", "runs"), ("smith", "blob")):
        with closing(Agno(path, form, prefix)) as agno:
            agno.session(f"s-{prefix}")
            agno.run(a_turn(f"r-{prefix}", "How?", "So."), f"s-{prefix}")
    assert [run.run_id for run in runs_of(HOST, path)] == ["r-cook", "r-smith"]
    assert importer_for(path).host == HOST


def test_runs_that_agno_3_moved_out_of_the_sessions_row_are_told_once(newest: Agno) -> None:
    newest.db.execute("ALTER TABLE agno_sessions ADD COLUMN runs JSON")
    legacy = [a_turn("r-0", "Before?", "Yes."), a_turn("r-1", "Stale", "Stale")]
    newest.session(runs=json.dumps(legacy))
    newest.run(a_turn("r-1", "How?", "So."))
    assert [(run.run_id, run.messages[0].text) for run in runs_of(HOST, newest.path)] == [
        ("r-0", "Before?"),
        ("r-1", "How?"),
    ]


async def test_a_run_id_that_is_another_sessions_is_told_and_stops_nothing(memory: Memory, newest: Agno) -> None:
    newest.session()
    newest.run(a_turn("r-1", "How?", "So."))
    newest.run(a_turn("r-2", "And?", "Also."))
    await memory.record_run(messages=[{"role": "user", "content": "Mine"}], session_id="mine", run_id="r-1")
    report = await import_paths(memory, [newest.path])
    assert [failure.error.partition(".")[0] for failure in report.failed] == ["Run 'r-1' belongs to another session"]
    assert report.runs == 1


async def test_a_run_recorded_while_it_went_on_is_known_again(memory: Memory, newest: Agno) -> None:
    said_live = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}]
    await memory.record_run(messages=said_live, session_id="s-1", run_id="r-1")
    newest.session()
    newest.run(a_turn("r-1", "How?", "So."))
    report = await import_paths(memory, [newest.path])
    assert (report.messages, report.failed) == (0, ())
    assert (await memory.get_session("s-1")).messages == 2


def test_there_is_no_usual_place_for_an_agents_database(tmp_path: Path) -> None:
    assert list(IMPORTERS[HOST].folders({}, tmp_path)) == []


def runs_by_id(runs: list[NewRun]) -> dict[str | None, NewRun]:
    return {run.run_id: run for run in runs}


def test_the_same_sessions_in_each_form_become_the_same_runs(tmp_path: Path) -> None:
    told = []
    for form in ("runs", "blob", "memory"):
        with closing(Agno(tmp_path / f"{form}.db", form)) as agno:
            agno.session()
            agno.run(a_tool_run())
            agno.run(a_turn("r-2", "And?", "Also."))
            runs = runs_by_id(runs_of(HOST, agno.path))
            told.append({key: run.model_dump(exclude={"session_metadata"}) for key, run in runs.items()})
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 2
