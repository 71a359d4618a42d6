"""What an answer costs on Postgres: one round trip, no more rows for a long session, no more sent than is shown."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest

from backscroll import Backscroll, Memory
from backscroll.models import NewMessage, NewRun, NewToolCall
from backscroll.store import CallWindow, ChatWindow, SessionFilter, Store
from backscroll.store.opening import open_store
from builders import a_tool_turn, assistant, picture, user
from wire import wire_to

pytestmark = pytest.mark.postgres

Read = Callable[[Store, str], Awaitable[Any]]

HOT: dict[str, Read] = {
    "session": lambda store, ref: store.session("ada", ref),
    "the newest page": lambda store, ref: store.chat("ada", ref, ChatWindow(max_messages=20, max_chars=5_000)),
    "an older page": lambda store, ref: store.chat("ada", ref, ChatWindow(before=40, max_messages=20, as_of=50)),
    "a page from a message on": lambda store, ref: store.chat("ada", ref, ChatWindow(start=30, max_messages=20)),
    "a page around a message": lambda store, ref: store.chat("ada", ref, ChatWindow(around=30, max_messages=20)),
    "the last runs": lambda store, ref: store.chat("ada", ref, ChatWindow(num_history_runs=3)),
    "context": lambda store, ref: store.context("ada", ref, num_history_runs=3, agent=None, max_chars=5_000),
    "tool calls": lambda store, ref: store.tool_calls("ada", CallWindow(session=ref)),
    "one message": lambda store, ref: store.message("ada", ref, 20),
    "the newest session": lambda store, ref: store.newest_session("ada", None),
    "sessions": lambda store, ref: store.sessions("ada", SessionFilter(), limit=20),
    "a text": lambda store, ref: store.text_of("ada", ref, 20, call=None, offset=3, max_chars=100),
    "summary": lambda store, ref: store.summary("ada", ref),
    "whether anything was written": lambda store, ref: store.data_version("ada"),
}


def _run(session_id: str, n: int) -> NewRun:
    called = NewToolCall(tool_call_id=f"{session_id}-{n}", tool_name="bash", arguments=f'{{"command":"look {n}"}}')
    return NewRun(
        messages=(
            NewMessage(role="user", text=f"what about {n}?"),
            NewMessage(role="assistant", text="I look", tool_calls=(called,)),
            NewMessage(role="tool", tool_call_id=called.tool_call_id, text=f"{n} is there"),
            NewMessage(role="assistant", text=f"{n} is fine. " * 5),
        ),
        session_id=session_id,
    )


@pytest.fixture
async def postgres_memory(postgres_url: str) -> AsyncIterator[Memory]:
    async with Backscroll(postgres_url) as app:
        yield app.memory("ada", source="api")


async def test_hot_reads_are_one_round_trip_for_a_fork_too(postgres_memory: Memory, postgres_url: str) -> None:
    for n in range(15):
        await postgres_memory.record_run(
            [*a_tool_turn(n), {"role": "user", "content": [picture()]}, assistant("I see")], session_id="s"
        )
    await postgres_memory.summarize_session("s", summary="looked into")
    await postgres_memory.fork_session("#1.61", new_session_id="f")
    await postgres_memory.record_run([user("on here"), assistant("yes")], session_id="f")
    async with wire_to(postgres_url) as wire:
        store = await open_store(wire.url)
        # The pool's first connection is there when it has answered.
        listed = await store.sessions("ada", SessionFilter(), limit=20)
        asked: dict[str, Read] = {**HOT, "previews": lambda store, _: store.previews("ada", listed.sessions)}
        trips = {}
        for ref in ("s", "#1", "f"):
            for name, read in asked.items():
                wire.reset()
                assert await read(store, ref) is not None or (name, ref) == ("summary", "f")
                trips[name, ref] = wire.trips
        await store.close()
    assert trips == dict.fromkeys(trips, 1)


class Statements:
    """What is run on connections that are opened from here on, with its values."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, Any]] = []


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    told = Statements()
    execute = psycopg.AsyncCursor.execute

    async def noted(self: Any, query: str, params: Any = None, **more: Any) -> Any:
        if query.startswith(("SELECT", "WITH")) and "set_config" not in query:
            told.ran.append((query, params))
        return await execute(self, query, params, **more)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", noted)
    return told


def _read(plan: dict[str, Any]) -> int:
    """How many rows of tables it looked at."""
    rows = sum(map(_read, plan.get("Plans", ())))
    if "Relation Name" in plan or plan["Node Type"] == "Bitmap Index Scan":
        left_out = sum(plan.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck", "Join Filter"))
        rows += round((plan["Actual Rows"] + left_out) * plan["Actual Loops"])
    return rows


async def test_a_long_session_costs_as_many_rows_as_a_short_one(
    postgres_url: str, postgres_memory: Memory, statements: Statements
) -> None:
    for session_id, runs in (("short", 30), ("long", 600)):
        await postgres_memory.record([_run(session_id, n) for n in range(runs)])
    read: dict[tuple[str, bool], list[int]] = {}
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for analyzed in (False, True):
            if analyzed:
                connection.execute("ANALYZE")
            for (name, ask), ref in itertools.product(HOT.items(), ("short", "long")):
                statements.ran.clear()
                await ask(postgres_memory.store, ref)
                plans = [
                    connection.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", values).fetchone()
                    for statement, values in statements.ran
                ]
                assert plans
                read.setdefault((name, analyzed), []).append(sum(_read(plan[0][0]["Plan"]) for plan in plans if plan))
    assert {name: rows for name, rows in read.items() if rows[1] > rows[0] + 20 or rows[1] > 300} == {}


async def test_no_more_text_is_sent_than_is_shown(postgres_memory: Memory, postgres_url: str) -> None:
    long = " ".join(chr(0x4E00 + n % 5_000) for n in range(60_000))
    for n in range(5):
        await postgres_memory.record_run([user(f"{n} {long}"), assistant(f"{n}")], session_id="s")
    async with wire_to(postgres_url) as wire:
        store = await open_store(wire.url)
        await store.session("ada", "s")
        for read in (
            lambda: store.chat("ada", "s", ChatWindow(max_chars=1_000)),
            lambda: store.chat("ada", "s", ChatWindow(start=1, max_chars=1_000)),
            lambda: store.chat("ada", "s", ChatWindow(around=9, max_chars=1_000)),
            lambda: store.context("ada", "s", num_history_runs=5, agent=None, max_chars=1_000),
            lambda: store.text_of("ada", "s", 9, call=None, offset=100_000, max_chars=1_000),
            lambda: store.found("ada", [1, 3, 5], max_chars=100),
        ):
            wire.reset()
            assert await read()
            assert 0 < wire.received < 20_000
        await store.close()


async def test_what_a_user_writes_is_another_version_of_that_users_data_alone(postgres_url: str) -> None:
    async with Backscroll(postgres_url) as app:
        ada, bob = app.memory("ada", source="api"), app.memory("bob", source="api")
        versions = [await app.store.data_version("ada")]
        await ada.record_run([user("hello"), assistant("hi")], session_id="s")
        versions.append(await app.store.data_version("ada"))
        await ada.update_session("s", title="Greetings")
        versions.append(await app.store.data_version("ada"))
        await bob.record_run([user("hello"), assistant("hi")], session_id="s")
        assert await app.store.data_version("ada") == versions[-1]
        assert sorted(set(versions)) == versions


async def test_a_search_reads_one_part_and_no_index_but_that_of_its_words(
    partitioned_url: str, statements: Statements
) -> None:
    async with Backscroll(partitioned_url) as app:
        for n in range(12):
            memory = app.memory(f"user {n}")
            await memory.record([_run(f"s{part}", n) for part in range(40)])
        statements.ran.clear()
        await memory.search_session_history("what about the look that is fine and there")
        await memory.get_tool_call_history(query="look")
    ran = [(query, values) for query, values in statements.ran if "search_entries" in query]
    assert len(ran) >= 3
    with psycopg.connect(partitioned_url, autocommit=True) as connection:
        connection.execute("ANALYZE search_entries")
        connection.execute("SELECT set_config('enable_seqscan', 'off', false)")
        for query, values in ran:
            plan = connection.execute(f"EXPLAIN (FORMAT JSON) {query}", values).fetchone()
            assert plan is not None
            nodes = list(_nodes(plan[0][0]["Plan"]))
            parts = {node["Relation Name"] for node in nodes if "Relation Name" in node}
            assert len({part for part in parts if part.startswith("search_entries")}) == 1, query
            assert "BitmapAnd" not in {node["Node Type"] for node in nodes}, query


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
