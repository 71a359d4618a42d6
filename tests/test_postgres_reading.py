"""Both stores answer alike: the same rows are in each, and each reading method is asked the same of both."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backscroll import Backscroll, Memory
from backscroll.errors import BackscrollError
from backscroll.store import CallWindow, ChatWindow, SessionFilter, Store
from backscroll.store.opening import open_store
from builders import assistant, call, picture, result, system, user
from mirror import mirror
from postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

SESSIONS = 14
WORDS = (
    "alpha", "Béta", "ÉTÉ", "straße", "ИМЯ", "日本語", "zeta", "😀😀", "tab\there", "null\0here", "%percent%",
    "under_score",
)  # fmt: skip
AGENTS = (None, "coder", "Reviewer")


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.choice((1, 3, 10, 200))))


def _run(rng: random.Random, n: int) -> list[dict[str, Any]]:
    messages = [system("Be careful.")] if rng.random() < 0.2 else []
    asked = (
        user(_text(rng))
        if rng.random() < 0.8
        else {"role": "user", "content": [{"type": "text", "text": _text(rng)}, picture()]}
    )
    messages.append(asked)
    for turn in range(rng.choice((0, 1, 1, 4))):
        ids = [f"c{n}-{turn}-{i}" for i in range(rng.choice((1, 1, 3)))]
        arguments = rng.choice(('{"command":"ls"}', '{"path":"' + "x" * 300 + '"}', "not json", '{"a":"\\ud800"}'))
        said = rng.choice((None, _text(rng)))
        messages.append(assistant(said, *(call(i, rng.choice(("bash", "Edit", "BASH")), arguments) for i in ids)))
        messages += [result(i, _text(rng)) for i in ids if rng.random() < 0.85]
    if rng.random() < 0.8:
        messages.append(assistant(_text(rng)))
    return messages


async def _fill(memory: Memory, rng: random.Random) -> None:
    """Sessions with runs of all kinds, forks and forks of forks, parents that are gone, summaries."""
    count = itertools.count()
    ids: list[str] = []
    for n in range(SESSIONS):
        forked = bool(ids) and rng.random() < 0.6
        if forked:
            parent = rng.choice(ids)
            last = (await memory.get_session(parent)).last_seq
            fork = await memory.fork_session(
                f"{(await memory.get_session(parent)).session}.{rng.randint(1, last)}" if last else parent,
                title=rng.choice((None, f"Fork {n}")),
            )
            ids.append(fork.session_id)
        for _ in range(rng.choice((1, 2, 6, 12))):
            named: dict[str, Any] = {"session_id": ids[-1]} if forked else {}
            recorded = await memory.record_run(
                _run(rng, next(count)),
                **named,
                status=rng.choice(("completed", "completed", "running", "error")),
                agent=rng.choice(AGENTS),
                parent_run_id=rng.choice((None, None, None, "above")),
                title=rng.choice((None, f"Title {n} ÄÖ {rng.choice(WORDS)}")),
                project=rng.choice((None, "/home/ada/one", "/home/ada/Two")),
                metadata=rng.choice((None, {"k": n})),
                state=rng.choice((None, {"step": n})),
            )
            if not forked:
                forked = True
                ids.append(recorded.session_id)
        if rng.random() < 0.4:
            await memory.summarize_session(ids[-1], summary=f"Summary of {n}", topics=["one", "two"])
        if rng.random() < 0.2:
            await memory.update_session(ids[-1], archived=True)
        if rng.random() < 0.3:
            again = rng.choice(ids)
            told = await memory.get_messages_for_session(again)
            history = [m for m in told if m.role in ("user", "assistant") and not m.tool_calls][-6:]
            await memory.record_run(
                [*({"role": m.role, "content": m.text} for m in history), user(f"on with {n}"), assistant("yes")],
                session_id=again,
                store_history_messages=True,
            )
    await memory.record_run([user("named by its own id"), assistant("yes")], session_id="My-Own_ID 100%")
    for gone in ids[2:3]:
        await memory.delete_session(gone, forks="keep")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mirrored") / "sessions.db"

    async def fill() -> None:
        async with Backscroll(f"sqlite:///{file}") as app:
            for user_id, seed in (("bob", 2), ("ada", 1)):
                await _fill(app.memory(user_id, source="api"), random.Random(seed))

    asyncio.run(fill())
    return file


@pytest.fixture(scope="module")
def mirrored(filled: Path, postgres: PostgresServer) -> Iterator[str]:
    url = postgres.new_database()
    mirror(filled, url)
    yield url
    postgres.drop(url)


class Both:
    """Two stores with the same rows. `same` asks both and tells what they say, if it is the same."""

    def __init__(self, sqlite: Store, postgres: Store) -> None:
        self.sqlite = sqlite
        self.postgres = postgres

    async def same(self, method: str, *asked: Any, **more: Any) -> Any:
        told = [await _answer(getattr(store, method)(*asked, **more)) for store in (self.sqlite, self.postgres)]
        assert told[0] == told[1]
        return told[0]


async def _answer(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except BackscrollError as error:
        return type(error), str(error)


@pytest.fixture
async def both(filled: Path, mirrored: str) -> AsyncIterator[Both]:
    sqlite, postgres = await open_store(f"sqlite:///{filled}"), await open_store(mirrored)
    yield Both(sqlite, postgres)
    await postgres.close()
    await sqlite.close()


async def refs(both: Both) -> list[str]:
    return [f"#{number}" for number in await both.same("session_numbers", "ada")]


async def test_sessions_runs_summaries_and_messages_are_the_same(both: Both) -> None:
    for ref in [*await refs(both), "#999", "#", "#1x", "nobody", "My-Own_ID 100%", "my-own_id 100%"]:
        for ask in ("session", "runs", "summary", "messages"):
            await both.same(ask, "ada", ref)
        for more in ({"agent": "coder"}, {"after": 3}, {"agent": "Reviewer", "after": 9}):
            await both.same("messages", "ada", ref, **more)
    for user_id in ("ada", "bob", "nobody"):
        for ask in ("counts", "extent", "session_numbers"):
            await both.same(ask, user_id)
        await both.same("summarized_sessions", user_id, 3)
        for project in (None, "/home/ada/one", "/nowhere"):
            await both.same("newest_session", user_id, project)


async def test_every_message_and_every_part_of_a_text_is_the_same(both: Both) -> None:
    forked = 0
    for ref in await refs(both):
        told = await both.same("messages", "ada", ref)
        forked += len({message.session for message in told}) > 1
        inside = random.Random(ref).sample(range(1, len(told) + 1), min(12, len(told)))
        for seq in (0, *inside, len(told) + 1):
            await both.same("message", "ada", ref, seq)
            for call_at, offset, most in ((None, 0, 10), (None, 5, 1000), (0, 0, 7), (2, 3, 5)):
                await both.same("text_of", "ada", ref, seq, call=call_at, offset=offset, max_chars=most)
    assert forked > 2


WINDOWS = [
    ChatWindow(),
    ChatWindow(unique=False),
    ChatWindow(include_tool_messages=False),
    ChatWindow(agent="coder"),
    ChatWindow(num_history_runs=1),
    ChatWindow(num_history_runs=3),
    ChatWindow(num_history_runs=3, agent="Reviewer", unique=False),
    ChatWindow(agent="nobody", num_history_runs=2),
]
SIZES: list[dict[str, Any]] = [
    {},
    {"max_messages": 4},
    {"max_chars": 50},
    {"max_chars": 900},
    {"max_messages": 1, "max_chars": 1},
]


@pytest.mark.parametrize("window", WINDOWS, ids=map(str, range(len(WINDOWS))))
async def test_every_window_of_a_chat_is_the_same(both: Both, window: ChatWindow) -> None:
    rng = random.Random(repr(window))
    pages = 0
    for ref in await refs(both):
        last = (await both.same("session", "ada", ref)).last_seq
        for size in SIZES:
            sized = replace(window, as_of=rng.choice((None, None, last // 2)), **size)
            pages += len((await both.same("chat", "ada", ref, sized)).messages)
            for side in ("before", "start", "around"):
                at: dict[str, Any] = {side: rng.choice((1, rng.randint(1, last), last, last + 1))}
                await both.same("chat", "ada", ref, replace(sized, **at))
    assert pages or window.agent == "nobody"


async def test_contexts_are_the_same(both: Both) -> None:
    for ref, runs, agent, most in itertools.product(
        await refs(both), (0, 1, 3, 10_000), (None, "coder"), (1, 100, 3_000, 100_000)
    ):
        await both.same("context", "ada", ref, num_history_runs=runs, agent=agent, max_chars=most)


async def test_pages_of_tool_calls_are_the_same(both: Both) -> None:
    for ref, tool, status, signs in itertools.product(
        [None, *await refs(both)], (None, "bash"), (None, "pending", "ok"), ((), ("日本語",), ("x", "Béta"))
    ):
        window = CallWindow(session=ref, tool_name=tool, status=status, signs=signs, recent=15, limit=4, max_chars=40)
        found = await both.same("tool_calls", "ada", window)
        while found.keys:
            window = replace(window, after=found.keys[-1], as_of=found.as_of)
            found = await both.same("tool_calls", "ada", window)


async def test_calls_are_the_same_part_by_part(both: Both) -> None:
    found = await both.same("tool_calls", "ada", CallWindow(limit=200))
    assert found.total > 20
    for key in [key for _, key in found.keys] + [0, 10**9]:
        for field, offset in itertools.product(("arguments", "result"), (0, 9)):
            await both.same("call_text", "ada", key, field=field, offset=offset, max_chars=20)
        # Another user's are not found.
        await both.same("call_text", "bob", key, field="result", offset=0, max_chars=20)


async def test_lists_of_sessions_are_the_same_page_by_page_and_as_of_earlier(both: Both) -> None:
    shown = await both.same("sessions", "ada", SessionFilter(), limit=100)
    one = shown.sessions[len(shown.sessions) // 2]
    uuid = next(s.session_id for s in shown.sessions if len(s.session_id) == 36)
    filters = [
        SessionFilter(),
        SessionFilter(project="/home/ada/one"),
        SessionFilter(source="api", since=one.last_activity_at),
        SessionFilter(until=one.last_activity_at),
        SessionFilter(until=one.created_at, overlapping=True),
        *(
            SessionFilter(query=query)
            for query in ("title", "TITLE ä", "title Ä", "été", "ÉTÉ", "#1", "%", "_", "my-own_id", uuid, uuid.upper(),
                          uuid[:8], uuid[:13], "two béta", "nowhere")
        ),
    ]  # fmt: skip
    matched = 0
    for where, as_of, exclude in itertools.product(
        filters, (None, shown.as_of, shown.as_of // 2, 3), (None, "#2", uuid, "#x")
    ):
        found = await both.same("sessions", "ada", where, limit=3, as_of=as_of, exclude=exclude)
        matched += found.total
        while found.sessions:
            after = (found.activity[-1], found.sessions[-1].number)
            found = await both.same("sessions", "ada", where, limit=3, after=after, as_of=found.as_of, exclude=exclude)
    assert matched
    assert await both.same("previews", "ada", [*shown.sessions, one])
    assert await both.same("previews", "bob", shown.sessions)


async def test_what_somebody_began_to_type_matches_the_same_titles(both: Both) -> None:
    (session, *_) = (await both.same("sessions", "ada", SessionFilter(), limit=1)).sessions
    typed = [
        "",
        " ",
        "#",
        "#1",
        "1",
        "12",
        "title",
        "TITLE",
        "ä",
        "Ä",
        "my-own",
        "MY-OWN_ID 1",
        "%",
        "-",
        "_",
        "fork 3",
    ]
    typed += [session.session_id[:n] for n in (4, 9, 13, 36)]
    for prefix in typed:
        await both.same("titles", "ada", prefix, 5)


async def test_messages_by_their_keys_and_media_are_the_same(both: Both) -> None:
    newest = (await both.same("sessions", "ada", SessionFilter(), limit=1)).as_of
    keys = [*range(newest, 1, -5), newest, 10**12, 1]
    found = await both.same("found", "ada", keys, max_chars=12)
    assert found
    assert await both.same("found", "ada", [], max_chars=12) == []
    media = {medium.media_id for one in found for medium in one.message.media}
    assert media
    for media_id in (*media, "00" * 32, "not hexadecimal"):
        for user_id in ("ada", "bob", "nobody"):
            await both.same("media", user_id, media_id)


async def test_every_user_with_rows_is_told(both: Both) -> None:
    assert await both.postgres.users() == ["ada", "bob"]
