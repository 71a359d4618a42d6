"""Recording on Postgres: the same rows as in SQLite, in few round trips, and a lost answer to COMMIT is looked up."""

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backscroll import Backscroll
from backscroll.errors import BackscrollError, Conflict
from backscroll.models import NewMessage, NewRun, NewToolCall
from backscroll.recording import Recording, prepare
from backscroll.store import PreparedRun
from backscroll.store.opening import open_store
from backscroll.store.postgres.database import user_key
from backscroll.store.postgres.foreseeing import Foresight
from backscroll.store.rows import unpack_id
from backscroll.text import clean_text
from builders import a_tool_turn, a_turn, assistant, call, picture, result, system, texts, user
from hunting import examples
from postgres_server import PostgresServer
from wire import Wire, wire_to

pytestmark = pytest.mark.postgres

# The same rows


TABLES = {
    "sessions": "session_key",
    "runs": "run_key",
    "messages": "message_key",
    "tool_calls": "call_key",
    "digests": "run_key, position",
    "media": "sha256",
    "summaries": "session_key, version",
    "session_ways": "session_key, source, imported",
    "tellings": "run_id",
    "redactions": "kind",
}
# What is made anew for each database, and how SQLite alone counts.
_LEFT_OUT = {"user_key", "media_key", "redacted_at"}


def _comparable(name: str, value: Any) -> Any:
    if name in ("session_id", "run_id", "parent_run_id") and isinstance(value, bytes):
        return unpack_id(value)
    if isinstance(value, str):
        return clean_text(value)
    return str(value) if isinstance(value, UUID) else value


def _rows(run: Any) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for table, key in TABLES.items():
        cursor = run(f"SELECT * FROM {table} ORDER BY {key}")
        names = [column[0] for column in cursor.description]
        rows = [
            {name: _comparable(name, value) for name, value in zip(names, row, strict=True) if name not in _LEFT_OUT}
            for row in cursor.fetchall()
        ]
        found[table] = sorted(rows, key=str)
    return found


def sqlite_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    with sqlite3.connect(path) as db:
        return _rows(db.execute)


def postgres_rows(url: str) -> dict[str, list[dict[str, Any]]]:
    with psycopg.connect(url) as connection:
        return _rows(connection.execute)


_START = datetime(2026, 3, 1, tzinfo=UTC)

words = st.sampled_from(["Which port?", "8080.", "And now?", "Still 8080.", "a\x00b", "Привет", "Go on", "Done."])


@st.composite
def sendings(draw: st.DrawFn) -> list[tuple[NewRun, bool]]:
    """Runs, and whether a transcript tells each. Few words and few ids, so that much of it meets."""
    told = []
    for n in range(draw(st.integers(2, 7))):
        imported = draw(st.booleans())
        messages: list[NewMessage] = []
        if draw(st.booleans()):
            messages.append(NewMessage(role="system", text="Be brief."))
        for m in range(draw(st.integers(1, 3))):
            at = _START + timedelta(minutes=10 * n + m)
            messages.append(NewMessage(role="user", text=draw(words), created_at=at))
            if draw(st.booleans()):
                called = f"c{draw(st.integers(0, 2))}"
                messages.append(
                    NewMessage(
                        role="assistant",
                        text=draw(words),
                        created_at=at,
                        tool_calls=(NewToolCall(tool_call_id=called, tool_name="bash", arguments='{"a": 1}'),),
                    )
                )
                if draw(st.booleans()):
                    messages.append(NewMessage(role="tool", text="fine", tool_call_id=called, created_at=at))
            messages.append(NewMessage(role="assistant", text=draw(words), created_at=at))
        source = "codex" if imported else "api"
        told.append(
            (
                NewRun(
                    messages=tuple(messages),
                    session_id=draw(st.sampled_from(["one", "two"])),
                    run_id=f"{'t' if imported else 'r'}{draw(st.integers(0, 3))}",
                    parent_run_id=draw(st.sampled_from([None, None, "r0"])),
                    status=draw(st.sampled_from(["running", "completed"])),
                    source=source,
                    started_at=_START + timedelta(minutes=10 * n),
                    state=draw(st.sampled_from([None, {"branch": "main"}])),
                ),
                imported,
            )
        )
        if draw(st.booleans()):
            # The same again, or grown, or less of it.
            last = told[-1][0]
            told.append((last.model_copy(update={"messages": (*last.messages, *messages[:2])}), imported))
    return told


async def _answers(url: str, batches: list[list[PreparedRun]]) -> list[Any]:
    """What recording them gives, one batch a transaction."""
    store = await open_store(url)
    answers: list[Any] = []
    for runs in batches:
        try:
            answers += await store.record("ada", runs)
        except BackscrollError as error:
            answers.append(str(error))
    await store.close()
    return answers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(told=sendings(), together=st.booleans())
def test_whatever_is_recorded_makes_the_same_rows_and_answers(
    told: list[tuple[NewRun, bool]],
    together: bool,
    postgres: PostgresServer,
    kept_postgres_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    loop: asyncio.Runner,
) -> None:
    how = Recording(b"key" * 10)
    prepared = [
        (prepare(run, how, now=_START + timedelta(hours=n), imported=imported), imported)
        for n, (run, imported) in enumerate(told)
    ]
    batches = [[run] for run, _ in prepared]
    if together:
        batches = [[run for run, _ in batch] for _, batch in itertools.groupby(prepared, key=lambda one: one[1])]
    path = tmp_path_factory.mktemp("rows") / "s.db"
    postgres.emptied(kept_postgres_url)
    answers = [loop.run(_answers(url, batches)) for url in (f"sqlite:///{path}", kept_postgres_url)]
    assert answers[1] == answers[0]
    assert postgres_rows(kept_postgres_url) == sqlite_rows(path)


# Round trips


@pytest.fixture
async def wire(postgres_url: str) -> AsyncIterator[Wire]:
    async with wire_to(postgres_url) as opened:
        yield opened


async def test_a_run_is_two_round_trips_whatever_its_size_and_the_past(wire: Wire, tokens: object) -> None:
    async with Backscroll(wire.url) as app:
        memory = app.memory("ada", source="api")
        await memory.record_run(a_turn(), session_id="first")
        trips: dict[str, int] = {}

        async def record(name: str, sent: list[dict[str, Any]], **more: Any) -> None:
            wire.trips = 0
            await memory.record_run(sent, **more)
            trips[name] = wire.trips

        await record("without a session", a_turn())
        await record("new session", [*a_tool_turn(1), {"role": "user", "content": [picture()]}], session_id="s")
        await record("goes on", [system(), *a_turn()], session_id="s")
        await record("by number", a_turn(), session_id="#2")
        many = [message for n in range(100) for message in a_tool_turn(n)]
        await record("long", many, session_id="s")
        await record("with its history", [*many, *a_turn()], session_id="s")
        await record("with an id", turn := a_turn(), session_id="s", run_id="r", status="running")
        await record("sent again", turn, session_id="s", run_id="r", status="running")
        await record("grown", [*turn, user("and"), assistant("", call("x"))], session_id="s", run_id="r")
        await record("answers a call", [result("x")], session_id="s")
    assert trips == dict.fromkeys(trips, 2)


async def test_runs_that_come_together_are_a_round_trip_each(wire: Wire, tokens: object) -> None:
    async with Backscroll(wire.url) as app:
        memory = app.memory("ada", source="api")
        await memory.record_run(a_turn(), session_id="first")
        runs = [
            NewRun(messages=(NewMessage(role="user", text=f"{n}?"),), session_id=f"s{n % 3}", run_id=f"r{n}")
            for n in range(30)
        ]
        wire.trips = 0
        await memory.record(runs, imported=True)
        assert wire.trips == 31


def _read(plan: dict[str, Any]) -> int:
    """How many rows of tables it looked at."""
    rows = sum(map(_read, plan.get("Plans", ())))
    if "Relation Name" in plan:
        left_out = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        rows += round((plan["Actual Rows"] + left_out) * plan["Actual Loops"])
    return rows


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
async def test_what_is_asked_of_a_long_past_costs_as_many_rows_as_of_a_short_one(
    postgres_url: str, tokens: object, analyzed: bool
) -> None:
    said = (NewMessage(role="user", text="Who?"), NewMessage(role="assistant", text="Ada."))
    async with Backscroll(postgres_url) as app:
        memory = app.memory("ada", source="api")
        for session_id, count in (("short", 30), ("long", 1_500)):
            await memory.record(
                [NewRun(messages=said, session_id=session_id, run_id=f"{session_id}{n}") for n in range(count)]
            )
    read: dict[tuple[bool, int], list[int]] = {}
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        if analyzed:
            connection.execute("ANALYZE")
        for session_id in ("short", "long"):
            for has_id in (False, True):
                run_id = f"{session_id}29" if has_id else None
                tool = NewMessage(role="tool", text="fine", tool_call_id="c")
                run = NewRun(messages=(*said, tool), session_id=session_id, run_id=run_id)
                sent = prepare(run, Recording(b"key" * 10), now=_START)
                for place, asked in enumerate(Foresight(user_key("ada"), sent).asks):
                    explained: Any = connection.execute(
                        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {asked.statement}", asked.values
                    ).fetchone()
                    read.setdefault((has_id, place), []).append(_read(explained[0][0]["Plan"]))
        connection.execute("DISCARD ALL")
    assert {name: rows for name, rows in read.items() if rows[1] > rows[0] + 5} == {}


# A lost answer to COMMIT


class Cut:
    """A listener that breaks the next connections that write, before the server hears of COMMIT or after it did it."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.url = ""
        self.waiting: list[Literal["before", "after"]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def of(cls, target: str) -> AsyncIterator["Cut"]:
        cut = cls(target)
        server = await asyncio.start_server(cut._connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        cut.url = cut._target._replace(netloc=f"{cut._target.username}@127.0.0.1:{port}").geturl()
        try:
            yield cut
        finally:
            server.close()
            for task in cut._tasks:
                task.cancel()
            await asyncio.gather(*cut._tasks, return_exceptions=True)

    async def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.ensure_future(self._carry(client, to_client)))
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        is_deaf = asyncio.Event()
        try:
            await asyncio.gather(
                self._asked(client, to_client, to_server, is_deaf), self._told(server, to_client, is_deaf)
            )
        finally:
            to_client.close()
            to_server.close()

    async def _asked(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
        is_deaf: asyncio.Event,
    ) -> None:
        has_begun = writes = False
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = await client.readexactly(1) if has_begun else b""
                size = await client.readexactly(4)
                body = await client.readexactly(int.from_bytes(size, "big") - 4)
                has_begun = has_begun or body.startswith((3 << 16).to_bytes(4, "big"))
                writes = writes or b"UPDATE users SET changes" in body
                if writes and b"COMMIT" in body and self.waiting:
                    if self.waiting.pop(0) == "before":
                        to_client.close()
                        break
                    is_deaf.set()
                to_server.write(kind + size + body)
                await to_server.drain()
        to_server.close()

    async def _told(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, is_deaf: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await server.read(1 << 16):
                # It says so once it is written.
                if is_deaf.is_set() and b"COMMIT" in data:
                    break
                to_client.write(data)
                await to_client.drain()
        to_client.close()


KILLED = 30
"""Connections, before the writers are left in peace."""


@pytest.mark.parametrize(
    "cuts", [["before"], ["after"], ["before", "after"], ["before", "before", "after"]], ids=" then ".join
)
async def test_a_run_whose_commit_was_not_answered_is_there_once_and_has_its_receipt(
    postgres_url: str, tokens: object, cuts: list[Literal["before", "after"]]
) -> None:
    async with Cut.of(postgres_url) as cut, Backscroll(cut.url) as app:
        memory = app.memory("ada", source="api")
        first = await memory.record_run(a_turn("Who?", "Ada."), session_id="s", run_id="a")
        cut.waiting = [*cuts]
        second = await memory.record_run([user("Where?"), assistant("Here.")], session_id="s")
        assert cut.waiting == []
        cut.waiting = [*cuts]
        alone = await memory.record_run([user("Alone?"), assistant("Alone.")])
        assert cut.waiting == []
        assert (first.created, second.created, alone.created) == (True, False, True)
        assert [(one.duplicate, one.recorded) for one in (first, second, alone)] == [(False, 2)] * 3
        assert texts(await memory.get_messages_for_session("s")) == ["Who?", "Ada.", "Where?", "Here."]
        assert [run.run_id for run in await memory.get_runs(second.session_id)][1:] == [second.run_id]
        assert texts(await memory.get_messages_for_session(alone.session_id)) == ["Alone?", "Alone."]
        assert (await memory.list_sessions()).total == 2


async def test_a_refused_run_stays_refused_where_the_connection_breaks(postgres_url: str, tokens: object) -> None:
    async with Cut.of(postgres_url) as cut, Backscroll(cut.url) as app:
        memory = app.memory("ada", source="api")
        await memory.record_run(a_turn(), session_id="s", run_id="r")
        cut.waiting = ["before"]
        with pytest.raises(Conflict):
            await memory.record_run(a_turn(), session_id="other", run_id="r")
        assert cut.waiting == ["before"]
        assert (await memory.list_sessions()).total == 1


async def test_writers_that_are_killed_in_their_midst_store_each_run_once(
    postgres_url: str, postgres: PostgresServer, tokens: object
) -> None:
    """The server ends connections wherever they are, over and over, while six users record."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        async with Backscroll(postgres_url) as app:
            done = asyncio.Event()

            async def kill() -> int:
                killed = 0
                while killed < KILLED and not done.is_set():
                    rows = await asyncio.to_thread(
                        lambda: connection.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
                        ).fetchall()
                    )
                    killed += len(rows)
                return killed

            async def record(name: str) -> list[str]:
                memory, told = app.memory(name, source="api"), []
                for n in range(6):
                    receipt = await memory.record_run([user(f"{n}?"), assistant(f"{n}.")], session_id="s")
                    assert (receipt.recorded, receipt.duplicate, receipt.created) == (2, False, n == 0)
                    told.append(receipt.run_id)
                return told

            names = [f"user {n}" for n in range(6)]
            killing = asyncio.ensure_future(kill())
            told = dict(zip(names, await asyncio.gather(*map(record, names)), strict=True))
            done.set()
            assert await killing > 0
            for name in names:
                memory = app.memory(name)
                assert [run.run_id for run in await memory.get_runs("s")] == told[name]
                expected = [text for n in range(6) for text in (f"{n}?", f"{n}.")]
                assert texts(await memory.get_messages_for_session("s")) == expected
