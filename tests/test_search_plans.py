"""How the database goes about what the tools ask it: every statement that they run, as SQLite plans it."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backscroll import Backscroll, Host, Memory
from backscroll.tokens import TokenCounter
from builders import assistant, call, result, user

STORED = ("messages", "tool_calls", "runs")
"""Tables that grow with what was said: going through one of them whole takes the longer the more there is."""


class Recording(sqlite3.Connection):
    """Keeps each statement that reads, with its values, by its words."""

    ran: dict[str, Any] = {}

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        if sql.lstrip().upper().startswith(("SELECT", "WITH")):
            Recording.ran.setdefault(sql, values)
        return super().execute(sql, values)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What is run on connections that are opened from here on."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **{**more, "factory": Recording}))
    Recording.ran.clear()
    yield Recording.ran
    Recording.ran.clear()


async def fill(app: Backscroll) -> None:
    """Two users, sessions of some length, a fork, a summary, calls that went well and calls that did not."""
    for name in ("ada", "bob"):
        memory = app.memory(name, source="api")
        for n in range(12):
            await memory.record_run(
                [
                    user(f"where is the kettle of room {n}?", created_at=f"2026-03-{n + 1:02d}T10:00:00Z"),
                    assistant("let me look", call(f"c{n}", ("bash", "grep")[n % 2], f'{{"command":"look {n % 3}"}}')),
                    result(f"c{n}", "error: no such kettle" if n % 3 else "on the shelf", is_error=bool(n % 3)),
                    assistant(f"the kettle of room {n} is on the shelf"),
                ],
                session_id=f"s{n % 3}",
                run_id=f"r{n}",
                project=f"/srv/{n % 2}",
                agent=("cook", "coder")[n % 2],
            )
        await memory.summarize_session("s0", summary="kettles", topics=["kettle"])
        await memory.fork_session("#2.6", new_session_id="fork")
        await memory.record_run([user("the kettle of the fork")], session_id="fork")


QUERIES = (
    "kettle", "where is the kettle of the room?", '"no such kettle" room', "ketle", "kett", "to be or not",
    "what did we do in March 2026?", '"nothing of the kind"',
)  # fmt: skip

Arguments = Sequence[dict[str, Any]]

NARROWING: Arguments = (
    {}, {"role": "user"}, {"session_id": "s1"}, {"session_id": "fork"}, {"tool_name": "bash"}, {"agent": "cook"},
    {"project": "/srv/1"}, {"source": "api"}, {"since": "2026-03-02"}, {"until": "2026-03-05"},
    {"num_history_sessions": 2}, {"since": "2026-03-02", "until": "2026-03-09", "role": "assistant"},
)  # fmt: skip
PREVIEWS: Arguments = (
    {}, {"num_history_sessions": 2}, {"project": "/srv/1"}, {"source": "api"}, {"since": "2026-03-02"},
)  # fmt: skip
LISTS: Arguments = (
    {}, {"query": "kettle"}, {"query": "fork"}, {"project": "/srv/1"}, {"until": "2026-03-09"},
)  # fmt: skip
CHATS: Arguments = (
    {}, {"session_id": "s1"}, {"session_id": "fork"}, {"session_id": "#2.3"}, {"num_history_runs": 2},
    {"session_id": "s1", "agent": "coder"}, {"session_id": "s1", "unique": False},
    {"session_id": "s1", "include_tool_messages": False}, {"num_history_runs": 2, "agent": "cook"},
)  # fmt: skip
CALLS: Arguments = (
    {}, {"session_id": "s1"}, {"session_id": "fork"}, {"tool_name": "bash"}, {"status": "error"},
    {"query": "look 1"}, {"query": "no such kettle", "status": "error"}, {"query": '"look 1"', "tool_name": "bash"},
    {"query": "lok", "session_id": "s1"}, {"query": "look", "session_id": "fork"},
)  # fmt: skip
CONTEXTS: Arguments = (
    {}, {"session_id": "fork"}, {"num_history_runs": 1, "agent": "coder"}, {"include_tool_messages": False},
)  # fmt: skip


async def read_all(memory: Memory) -> None:
    """Each reading tool, with each of its filters, and the pages that follow."""
    for where in NARROWING:
        for query in QUERIES:
            page = await memory.search_session_history(query, limit=2, **where)
            if page.next_cursor:
                await memory.search_session_history(cursor=page.next_cursor)
    for where in PREVIEWS:
        listed = await memory.search_session_history(limit=1, **where)
        if listed.next_cursor:
            await memory.search_session_history(cursor=listed.next_cursor)
    for where in LISTS:
        sessions = await memory.list_sessions(limit=1, **where)
        if sessions.next_cursor:
            await memory.list_sessions(cursor=sessions.next_cursor)
    for where in CHATS:
        chat = await memory.get_chat_history(max_tokens=200, **where)
        for cursor in (chat.previous_cursor, chat.next_cursor):
            if cursor:
                await memory.get_chat_history(cursor=cursor, max_tokens=200)
    for where in CALLS:
        calls = await memory.get_tool_call_history(limit=1, **where)
        if calls.next_cursor:
            await memory.get_tool_call_history(cursor=calls.next_cursor)
    for where in CONTEXTS:
        await memory.get_session_context(**where)


def steps(db: sqlite3.Connection, sql: str, values: Any) -> list[str]:
    return [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def faults(sql: str, plan: list[str]) -> list[str]:
    """Steps that go through a table of what was said, and those that sort by themselves.

    To sort the right part, or last term, of an order is to sort what an index tells to be equal: a few rows at a time.
    """
    named = re.findall(rf"\b({'|'.join(STORED)})(?:\s+AS\s+(\w+))?", sql)
    stored = {name for pair in named for name in pair if name}
    scans = [step for step in plan if step.startswith("SCAN ") and step.split()[1] in stored]
    sorts = [step for step in plan if step.startswith("USE TEMP B-TREE")]
    return scans + [step for step in sorts if not re.search("FOR (RIGHT PART|LAST TERM|LAST .* TERMS) OF", step)]


async def test_no_tool_goes_through_a_table_of_messages_or_sorts_what_an_index_orders(
    url: str, database: Path, tokens: TokenCounter, statements: dict[str, Any]
) -> None:
    async with Backscroll(url) as app:
        await fill(app)
        statements.clear()
        memory = app.memory("ada", source="api")
        await read_all(memory)
        await read_all(memory.at(Host(session_id="s0", project="/srv/1")))
        ran = dict(statements)
    db = sqlite3.connect(database)
    plans = {sql: steps(db, sql, values) for sql, values in ran.items()}
    db.close()
    assert {sql: found for sql, plan in plans.items() if (found := faults(sql, plan))} == {}
    told = "\n".join(step for plan in plans.values() for step in plan)
    for index in ("sqlite_autoindex_messages", "tool_calls_by_user", "tool_calls_by_session", "runs_top_level"):
        assert f"USING INDEX {index}" in told or f"USING COVERING INDEX {index}" in told
    assert "search_index MATCH" in " ".join(plans)


def test_a_plan_with_a_scan_or_a_sort_would_be_noticed() -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE messages (message_key INTEGER PRIMARY KEY, text TEXT)")
    for sql in ("SELECT * FROM messages", "SELECT m.text FROM messages AS m", "SELECT 1 FROM messages ORDER BY text"):
        assert faults(sql, steps(db, sql, ()))
    assert not faults("-", steps(db, "SELECT text FROM messages WHERE message_key = 1", ()))
    db.close()
