"""Reading a session back: its last runs, all of it, and the list of sessions."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from backscroll import Memory

from .contenders import USER, Agno, OpenAIAgents, backscroll_at, closing_all, fill
from .measure import Contender, Times, in_turns
from .results import Row, Section, timed, under
from .talk import Chat, Talk

SESSION = "a-session"
LENGTHS = (30, 3_000)
SESSIONS = 200
LAST_RUNS = 3
ITEMS_A_RUN = 5
"""What openai-agents stores of a run: its question, words, call, result and answer."""
ROOM_CHARS = 100_000


async def measure(folder: Path, rounds: int) -> list[Section]:
    return [
        await last_runs(folder, rounds),
        await whole_session(folder, max(rounds // 4, 5)),
        await listing(folder, rounds),
    ]


def _begun(path: Path, chats: list[Chat]) -> Agno:
    """An Agno database with one session of these runs."""
    agno = Agno(path)
    session = agno.begin(SESSION)
    for chat in chats:
        agno.end(session, agno.run_of(chat, SESSION))
    return agno


async def last_runs(folder: Path, rounds: int) -> Section:
    talk = Talk(3)
    taken: dict[str, Times] = {}
    async with AsyncExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for length in LENGTHS:
            chats = [talk.run() for _ in range(length)]
            async with backscroll_at(folder / f"runs-{length}.db") as memory:
                await fill(memory, SESSION, chats)
            memory = await stack.enter_async_context(backscroll_at(folder / f"runs-{length}.db"))

            async def in_store(_: int, memory: Memory = memory) -> None:
                found = await memory.store.context(
                    USER, SESSION, num_history_runs=LAST_RUNS, agent=None, max_chars=ROOM_CHARS
                )
                assert len(found.runs) == LAST_RUNS

            async def as_tool(_: int, memory: Memory = memory) -> None:
                await memory.get_session_context(SESSION, num_history_runs=LAST_RUNS)

            agno = _begun(folder / f"agno-{length}.db", chats)
            agents = OpenAIAgents(folder / f"openai-agents-{length}.db", SESSION)
            stack.enter_context(closing_all(agno, agents))
            for chat in chats:
                await agents.record(agents.steps_of(chat))

            async def by_agno(_: int, agno: Agno = agno) -> None:
                found: Any = agno.db.get_session(SESSION, user_id=USER, runs_limit=LAST_RUNS)
                assert len(found.runs) == LAST_RUNS

            async def by_agents(_: int, agents: OpenAIAgents = agents) -> None:
                found = await agents.session.get_items(limit=LAST_RUNS * ITEMS_A_RUN)
                assert len(found) == LAST_RUNS * ITEMS_A_RUN

            for name, turn in (
                ("store", in_store),
                ("tool", as_tool),
                ("agno", by_agno),
                ("agents", by_agents),
            ):
                contenders[f"{name} {length}"] = Contender(int, turn)
        taken = await in_turns(contenders, rounds=rounds)
    short, long = LENGTHS
    own = taken[f"store {long}"]
    rows: list[Row] = [
        under(f"in the store, of {long:,} runs", own, 1.0),
        timed(f"in the store, of {long:,} runs", own, f"of {short}", taken[f"store {short}"], at_most=1.1),
        timed("the same beside Agno's bounded read", own, "Agno", taken[f"agno {long}"]),
        timed(
            "the same beside openai-agents' `get_items(limit=15)`",
            own,
            "openai-agents",
            taken[f"agents {long}"],
        ),
        timed(
            f"`get_session_context`, fitted to its budget, of {long:,} runs",
            taken[f"tool {long}"],
            f"of {short}",
            taken[f"tool {short}"],
        ),
    ]
    return Section("The last 3 runs", rows)


async def whole_session(folder: Path, rounds: int) -> Section:
    long = LENGTHS[-1]
    async with backscroll_at(folder / f"runs-{long}.db") as memory:
        agents = OpenAIAgents(folder / f"openai-agents-{long}.db", SESSION)
        path = folder / f"agno-{long}.db"
        warm = Agno(path)
        with closing_all(agents, warm):

            async def ours(_: int) -> None:
                assert len(await memory.get_messages_for_session(SESSION)) == 4 * long

            async def by_agents(_: int) -> None:
                assert len(await agents.session.get_items()) == ITEMS_A_RUN * long

            async def by_agno(agno: Agno) -> Agno:
                found: Any = agno.db.get_session(SESSION, user_id=USER)
                assert len(found.get_messages()) == 4 * long
                return agno

            taken = await in_turns(
                {
                    "ours": Contender(int, ours),
                    "agno new": Contender(lambda _: Agno(path), by_agno, Agno.close),
                    "agno cached": Contender(lambda _: warm, by_agno),
                    "agents": Contender(int, by_agents),
                },
                rounds=rounds,
                warm_up=1,
            )
    own = taken["ours"]
    rows = [
        timed("beside Agno in a new process", own, "Agno", taken["agno new"]),
        timed("beside Agno with all of it in its cache", own, "Agno", taken["agno cached"]),
        timed("beside openai-agents, `get_items()`: dicts from JSON", own, "openai-agents", taken["agents"]),
    ]
    return Section(f"A whole session of {long:,} runs, {4 * long:,} messages, as values", rows)


async def listing(folder: Path, rounds: int) -> Section:
    talk = Talk(4)
    agno = Agno(folder / "agno-listing.db")
    async with backscroll_at(folder / "listing.db") as memory:
        with closing_all(agno):
            for number in range(SESSIONS):
                name = f"{SESSION}-{number}"
                chats = [talk.run() for _ in range(5)]
                await fill(memory, name, chats)
                session = agno.begin(name)
                for chat in chats:
                    agno.end(session, agno.run_of(chat, name))

            async def ours(_: int) -> None:
                assert (await memory.list_sessions(limit=20, max_tokens=20_000)).sessions

            async def by_agno(_: int) -> None:
                found: Any = agno.db.get_sessions(user_id=USER, limit=20, sort_by="updated_at", sort_order="desc")
                assert len(found) == 20

            taken = await in_turns({"ours": Contender(int, ours), "agno": Contender(int, by_agno)}, rounds=rounds)
    row = timed(f"20 of {SESSIONS}, ready to show", taken["ours"], "Agno", taken["agno"])
    return Section(
        "Listing sessions",
        [row],
        ["openai-agents keeps no list. Agno's loads each session's runs, by default."],
    )
