"""Thousands of random operations of twenty users at once, against a plain model of each: all see their own, exactly."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import backscroll
from backscroll import Memory
from backscroll.addresses import is_server
from backscroll.errors import Conflict, SessionNotFound
from backscroll.exporting import export_jsonl
from builders import assistant, call, result, user

TOPICS = (
    "kettle", "harbour", "lantern", "meadow", "violin", "granite", "saffron", "compass", "orchard", "thimble",
    "glacier", "bramble", "anvil", "pelican", "quarry", "walnut", "turbine", "sparrow", "velvet", "canyon",
)  # fmt: skip

Said = tuple[str, str]
"""Role and text of a message."""


@dataclass
class ModelRun:
    run_id: str
    messages: list[dict[str, Any]]


@dataclass
class ModelSession:
    """`shared` is what was said before it was forked, and is its parent's; `own` is what hangs on it."""

    session_id: str
    number: int
    shared: list[dict[str, Any]] = field(default_factory=list)
    own: list[dict[str, Any]] = field(default_factory=list)
    runs: list[ModelRun] = field(default_factory=list)
    parent: int | None = None
    title: str | None = None
    state: dict[str, Any] = field(default_factory=dict)
    archived: bool = False
    summaries: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"#{self.number}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [*self.shared, *self.own]


class User:
    """One user: the memory that is tested, and the model of what it must hold."""

    def __init__(self, memory: Memory, seed: int) -> None:
        self.memory = memory
        self.tag = f"of{memory.user_id}"
        self.chance = random.Random(f"{memory.user_id} {seed}")
        self.sessions: dict[str, ModelSession] = {}
        self.last_number = 0
        self.said = 0
        self.runs = 0
        self.done: Counter[str] = Counter()

    async def go(self, steps: int, turn: asyncio.Semaphore) -> None:
        operations: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.record, 30), (self.record_again, 6), (self.go_on, 5), (self.update, 8), (self.summarize, 6),
            (self.fork, 5), (self.delete, 4), (self.search, 12), (self.chat, 10), (self.calls, 8), (self.list, 6),
            (self.export, 2), (self.look_for_anothers, 6),
        ]  # fmt: skip
        chosen, weights = zip(*operations, strict=True)
        for operation in self.chance.choices(chosen, weights, k=steps):
            async with turn:
                await operation()
            self.done[operation.__name__] += 1

    def some_session(self) -> ModelSession | None:
        return self.chance.choice(list(self.sessions.values())) if self.sessions else None

    def called(self, session: ModelSession) -> str:
        return self.chance.choice((session.session_id, session.name))

    def words(self) -> str:
        """Words that others say too, and one that nobody else ever says."""
        self.said += 1
        return f"{' '.join(self.chance.sample(TOPICS, 4))} {self.tag}n{self.said}"

    def a_turn(self) -> list[dict[str, Any]]:
        asked, answered = user(self.words()), assistant(self.words())
        if self.chance.random() < 0.6:
            return [asked, answered]
        # The same ids of calls, with everybody.
        call_id = f"c{self.said}"
        made = call(call_id, "bash", json.dumps({"command": self.words()}))
        return [asked, assistant(self.words(), made), result(call_id, self.words()), answered]

    # What changes something

    async def record(self) -> None:
        session_id = f"s{self.chance.randrange(8)}"
        self.runs += 1
        run = ModelRun(f"r{self.runs}", self.a_turn())
        receipt = await self.memory.record_run(run.messages, session_id=session_id, run_id=run.run_id)
        if session_id not in self.sessions:
            self.last_number += 1
            self.sessions[session_id] = ModelSession(session_id, self.last_number)
        session = self.sessions[session_id]
        session.own += run.messages
        session.runs.append(run)
        assert (receipt.session, receipt.duplicate, receipt.history) == (session.name, False, 0)
        assert receipt.recorded == len(run.messages)

    async def record_again(self) -> None:
        """A run that is known: nothing new, whichever of the sessions of that name others have."""
        if (session := self.some_session()) is None or not session.runs:
            return
        run = self.chance.choice(session.runs)
        receipt = await self.memory.record_run(run.messages, session_id=session.session_id, run_id=run.run_id)
        assert (receipt.session, receipt.duplicate, receipt.recorded) == (session.name, True, 0)

    async def go_on(self) -> None:
        """A known run with more to it."""
        if (session := self.some_session()) is None or not session.runs:
            return
        run = self.chance.choice(session.runs)
        more = [user(self.words()), assistant(self.words())]
        receipt = await self.memory.record_run([*run.messages, *more], session_id=session.name, run_id=run.run_id)
        run.messages = [*run.messages, *more]
        session.own += more
        assert (receipt.session, receipt.recorded) == (session.name, 2)

    async def update(self) -> None:
        if (session := self.some_session()) is None:
            return
        key, value = f"k{self.chance.randrange(4)}", self.chance.choice((None, self.words(), {"is": self.tag}))
        session.title, session.archived = self.words(), self.chance.random() < 0.2
        receipt = await self.memory.update_session(
            self.called(session), title=session.title, state={key: value}, archived=session.archived
        )
        session.state = {name: one for name, one in {**session.state, key: value}.items() if one is not None}
        assert (receipt.session, receipt.title, receipt.state) == (session.name, session.title, session.state)

    async def summarize(self) -> None:
        if (session := self.some_session()) is None:
            return
        session.summaries.append(self.words())
        receipt = await self.memory.summarize_session(self.called(session), summary=session.summaries[-1])
        assert (receipt.session, receipt.summary.version) == (session.name, len(session.summaries))

    async def fork(self) -> None:
        parent = self.some_session()
        if parent is None or parent.parent is not None or len(self.sessions) > 14:
            return
        cut = self.chance.randint(1, len(parent.own) + len(parent.shared))
        self.last_number += 1
        forked = ModelSession(f"f{self.last_number}", self.last_number, parent=parent.number)
        receipt = await self.memory.fork_session(f"{parent.name}.{cut}", new_session_id=forked.session_id)
        while parent.messages[cut - 1].get("tool_calls"):
            cut += 1  # to the end of a tool pair
        forked.shared, forked.state = parent.messages[:cut], dict(parent.state)
        self.sessions[forked.session_id] = forked
        assert (receipt.session, receipt.forked_from, receipt.fork_seq) == (forked.name, parent.name, cut)

    async def delete(self) -> None:
        if (session := self.some_session()) is None:
            return
        children = [one for one in self.sessions.values() if one.parent == session.number]
        how: Any = self.chance.choice(("refuse", "keep", "delete"))
        deleting = self.memory.delete_session(self.called(session), forks=how)
        if children and how == "refuse":
            with pytest.raises(Conflict):
                await deleting
            return
        receipt = await deleting
        assert receipt.session == session.name
        del self.sessions[session.session_id]
        if how == "delete":
            for child in children:
                del self.sessions[child.session_id]
        elif children:
            # The fork that shares most of it has it from now on, and the others share it with that one.
            heir, *others = sorted(children, key=lambda one: (-len(one.shared), one.number))
            heir.own, heir.shared, heir.parent = heir.messages, [], None
            for child in others:
                child.parent = heir.number

    # What reads

    def spoken(self) -> list[dict[str, Any]]:
        return [message for session in self.sessions.values() for message in session.own]

    async def search(self) -> None:
        mine = [message["content"] for message in self.spoken()]
        if not mine:
            return
        unique = self.chance.choice(mine).split()[-1]
        page = await self.memory.search_session_history(unique, max_tokens=20_000)
        assert [hit.snippet.count(unique) for hit in page.hits or ()] == [1]
        topic = self.chance.choice(TOPICS)
        told = self.memory.search_session_history(topic, limit=100, max_tokens=20_000)
        page = await told
        # Where a call's arguments or its text hold it, the message is found.
        holds = [message for message in self.spoken() if topic in json.dumps(message)]
        assert page.total == len(holds)
        assert all(self.is_mine(hit.snippet) for hit in page.hits or ())

    async def chat(self) -> None:
        if (session := self.some_session()) is None:
            return
        everything, page = await asyncio.gather(
            self.memory.get_messages_for_session(self.called(session)),
            self.memory.get_chat_history(self.called(session), max_tokens=2_000),
        )
        expected = [said(message) for message in session.messages]
        assert [(message.role, message.text) for message in everything] == expected
        assert page.total == len(expected)
        assert [(line.role, line.text) for line in page.messages] == expected[len(expected) - len(page.messages) :]

    async def calls(self) -> None:
        expected = [made for message in self.spoken() for made in message.get("tool_calls", ())]
        page = await self.memory.get_tool_call_history(limit=100, max_tokens=20_000)
        assert page.total == len(expected)
        wanted = {json.loads(made["function"]["arguments"])["command"] for made in expected}
        assert {line.arguments["command"] for line in page.tool_calls if isinstance(line.arguments, dict)} <= wanted

    async def list(self) -> None:
        page = await self.memory.list_sessions(limit=100, max_tokens=20_000)
        shown = {session.name for session in self.sessions.values() if not session.archived}
        assert ({line.session for line in page.sessions}, page.total) == (shown, len(shown))
        summed = {one.name for one in self.sessions.values() if one.summaries and not one.archived}
        assert {one.session for one in await self.memory.summarized_sessions(100)} == summed

    async def export(self) -> None:
        lines: list[str] = []
        await export_jsonl(self.memory, None, lines.append)
        everything = "".join(lines)
        own = re.findall(rf"\b{self.tag}n\d+\b", everything)
        assert set(re.findall(r"\bofuser\d+n\d+\b", everything)) == set(own)
        for message in self.spoken():
            assert message["content"].split()[-1] in own

    async def look_for_anothers(self) -> None:
        """Sessions that others have and this user has not, and the words that others alone said."""
        number = self.last_number + self.chance.randint(1, 30)
        for name in (f"#{number}", f"f{number}", "s-of-nobody"):
            with pytest.raises(SessionNotFound):
                await self.memory.get_chat_history(name)
        other = f"ofuser{(int(self.memory.user_id[4:]) + 1) % 20}n{self.chance.randint(1, 40)}"
        page = await self.memory.search_session_history(other)
        # A word that is not there may have been meant as one that is: as one of this user's.
        assert page.note is not None and other in page.note
        assert self.is_mine(page.note.replace(f"'{other}'", ""))
        assert all(self.is_mine(hit.snippet) for hit in page.hits or ())

    def is_mine(self, text: str) -> bool:
        return set(re.findall(r"\bofuser\d+n", text)) <= {f"{self.tag}n"}

    async def compare(self) -> None:
        """All that there is, at the end."""
        for session in self.sessions.values():
            found = await self.memory.get_session(session.session_id)
            assert (found.session, found.title, found.state, found.archived) == (
                session.name, session.title, session.state, session.archived,
            )  # fmt: skip
            assert found.messages == len(session.own)
            told = await self.memory.get_messages_for_session(session.name)
            assert [(message.role, message.text) for message in told] == [said(one) for one in session.messages]
            summary = await self.memory.get_summary(session.name)
            assert (summary and summary.summary) == (session.summaries[-1] if session.summaries else None)
        counts = await self.memory.store.counts(self.memory.user_id)
        assert (counts["sessions"], counts["messages"]) == (len(self.sessions), len(self.spoken()))
        await self.list()
        await self.calls()
        await self.export()


def said(message: dict[str, Any]) -> Said:
    return message["role"], message["content"]


async def live(app: backscroll.Backscroll, *, users: int, steps: int, at_once: int, seed: int) -> Counter[str]:
    everybody = [User(app.memory(f"user{n}"), seed) for n in range(users)]
    turn = asyncio.Semaphore(at_once)
    async with asyncio.TaskGroup() as tasks:
        for one in everybody:
            tasks.create_task(one.go(steps, turn))
    for one in everybody:
        await one.compare()
    assert await app.store.users() == sorted(f"user{n}" for n in range(users))
    assert await app.store.check() == []
    return sum((one.done for one in everybody), Counter())


async def test_twenty_users_at_once_see_what_they_did_themselves(app: backscroll.Backscroll) -> None:
    steps = 40 if is_server(app.url) else 100  # a write costs a server a round trip or two
    done = await live(app, users=20, steps=steps, at_once=8, seed=1)
    assert done.total() == 20 * steps
    assert len(done) == 13


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
async def test_so_they_do_after_ten_thousand_operations(app: backscroll.Backscroll, seed: int) -> None:
    await live(app, users=20, steps=500, at_once=20, seed=seed)
