"""The stores that are compared, each through the code that its own framework runs."""

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from backscroll import Backscroll, Memory, Settings
from backscroll.ids import uuid7
from backscroll.models import NewRun
from backscroll.recording import normalise
from backscroll.store.sqlite.index import entries_of_session
from backscroll.tokens import counter

from .talk import Chat

USER = "bench"
AGENT = "bench-agent"
USAGE: dict[str, Any] = {"input_tokens": 400, "output_tokens": 150, "total_tokens": 550}
"""What the model's answer told: a framework knows it and hands it on."""
BATCH = 250


@asynccontextmanager
async def backscroll_at(path: Path) -> AsyncIterator[Memory]:
    """Backscroll as its server opens it: counting tokens for real, everything at its default."""
    counter.load()
    async with Backscroll(str(path), Settings()) as app:
        yield app.memory(USER)


async def record(memory: Memory, session_id: str, chat: Chat) -> None:
    """Record a run as an agent framework would."""
    await memory.record_run(chat, session_id=session_id, agent=AGENT, metrics=USAGE)


async def fill(memory: Memory, session_id: str, chats: Sequence[Chat]) -> None:
    """Record many runs, in few transactions."""
    for start in range(0, len(chats), BATCH):
        runs = [
            NewRun(messages=normalise(chat), session_id=session_id, agent=AGENT, metrics=USAGE)
            for chat in chats[start : start + BATCH]
        ]
        await memory.record(runs)


class Raw:
    """`sqlite3` by hand: inserts the very rows that Backscroll makes, one transaction a run.

    The rows are taken from a copy of the database in which Backscroll recorded the same runs. Ids, digests
    and index entries are there already: what is left is SQLite's own work, at the same durability.
    """

    TABLES = ("runs", "messages", "tool_calls", "digests")
    COUNTERS = (
        "metrics", "messages", "runs", "tool_calls", "last_seq", "last_run_index", "last_message_key",
        "updated_at", "last_activity_at",
    )  # fmt: skip

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        for pragma in (
            "journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0", "foreign_keys = ON",
            "secure_delete = ON", "cache_size = -16000",
        ):  # fmt: skip
            self._db.execute(f"PRAGMA {pragma}").fetchall()

    def close(self) -> None:
        self._db.close()

    @classmethod
    def rows_of_newest_run(cls, path: Path) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """The statements, with their rows, that make what the newest run left behind."""
        db = sqlite3.connect(path)
        try:
            session_key, run_key, low = db.execute(
                "SELECT session_key, run_key, first_seq - 1 FROM runs ORDER BY run_key DESC LIMIT 1"
            ).fetchone()
            made: list[tuple[str, list[tuple[Any, ...]]]] = []
            for table in cls.TABLES:
                rows = db.execute(f"SELECT * FROM {table} WHERE run_key = ?", (run_key,)).fetchall()
                made.append((f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows))
            entries = [(one.message_key, *one.entry) for one in entries_of_session(db, session_key, low=low)]
            made.append(("INSERT INTO search_index (rowid, text, forms, scope) VALUES (?, ?, ?, ?)", entries))
            counters = db.execute(
                f"SELECT {', '.join(cls.COUNTERS)}, session_key FROM sessions WHERE session_key = ?",
                (session_key,),
            ).fetchall()
            changes = ", ".join(f"{name} = ?" for name in cls.COUNTERS)
            made.append((f"UPDATE sessions SET {changes} WHERE session_key = ?", counters))
            return made
        finally:
            db.close()

    def record(self, made: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        for statement, rows in made:
            for row in rows:
                execute(statement, row)
        execute("COMMIT")


class Agno:
    """Agno's SqliteDb, driven by the functions that its Agent runs before and after the model."""

    def __init__(self, path: Path) -> None:
        from agno.agent import Agent
        from agno.db.sqlite import SqliteDb

        self.db = SqliteDb(db_file=str(path))
        self.agent = Agent(id=AGENT, db=self.db, telemetry=False)

    def close(self) -> None:
        self.db.db_engine.dispose()

    def begin(self, session_id: str) -> Any:
        """What a run does first: read its session, with all runs."""
        from agno.agent._storage import read_or_create_session

        return read_or_create_session(self.agent, session_id, USER)

    def end(self, session: Any, run: Any) -> None:
        """What a run does last: session row and run row, two transactions."""
        from agno.agent._run import persist_run_in_session

        persist_run_in_session(self.agent, run, session)

    @staticmethod
    def run_of(chat: Chat, session_id: str) -> Any:
        """A finished run as the Agent has it in hand when it saves."""
        from agno.metrics import RunMetrics
        from agno.models.message import Message
        from agno.run.agent import RunInput, RunOutput
        from agno.run.base import RunStatus

        names = {call["id"]: call["function"]["name"] for message in chat for call in message.get("tool_calls", ())}
        return RunOutput(
            run_id=str(uuid4()),
            session_id=session_id,
            agent_id=AGENT,
            user_id=USER,
            input=RunInput(input_content=chat[0]["content"]),
            content=chat[-1]["content"],
            status=RunStatus.completed,
            metrics=RunMetrics(**USAGE),
            messages=[Message(**message, tool_name=names.get(message.get("tool_call_id"))) for message in chat],
        )


class OpenAIAgents:
    """openai-agents' SQLiteSession, in the three `add_items` that its Runner makes of such a run."""

    def __init__(self, path: Path, session_id: str) -> None:
        from agents import SQLiteSession

        self.session = SQLiteSession(session_id, path)

    def close(self) -> None:
        self.session.close()

    async def record(self, steps: list[list[Any]]) -> None:
        for items in steps:
            await self.session.add_items(items)

    @staticmethod
    def steps_of(chat: Chat) -> list[list[Any]]:
        """The Responses items of a run, in the portions in which the Runner saves them."""
        steps: list[list[Any]] = [[]]
        for message in chat:
            if message["role"] == "user":
                steps[-1].append({"role": "user", "content": message["content"]})
            elif message["role"] == "tool":
                steps[-1].append(
                    {
                        "type": "function_call_output",
                        "call_id": message["tool_call_id"],
                        "output": message["content"],
                    }
                )
            else:
                part = {"type": "output_text", "text": message["content"], "annotations": [], "logprobs": []}
                said = {"id": f"msg_{uuid7()}", "type": "message", "role": "assistant", "status": "completed"}
                steps.append([{**said, "content": [part]}])
                for call in message.get("tool_calls", ()):
                    function = {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}
                    head = {
                        "id": f"fc_{uuid7()}",
                        "type": "function_call",
                        "call_id": call["id"],
                        "status": "completed",
                    }
                    steps[-1].append({**head, **function})
        return steps


@contextmanager
def closing_all(*stores: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for store in stores:
            store.close()
