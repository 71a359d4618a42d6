"""Recording a run: at different lengths of a session, and beside others."""

import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

from backscroll import Memory

from .contenders import AGENT, Agno, OpenAIAgents, Raw, backscroll_at, closing_all, fill, record
from .measure import Contender, in_turns
from .results import Row, Section, shown, timed
from .talk import Chat, Talk

LENGTHS = (10, 100, 1_000, 10_000)
SESSION = "long-session"
SAVING_NOTES = (
    "Backscroll's time is from `record_run` to its receipt: normalised, digests made, indexed for search, on "
    "disk. The raw inserts are given all that, index entries too. Agno and openai-agents index nothing.",
)
TURN_NOTES = (
    "Backscroll reads the last three runs (`get_session_context`). Agno and openai-agents read the whole "
    "session, by default; Agno has the objects of these runs in its cache, as a process that lives on has.",
)


async def measure(folder: Path, rounds: int) -> list[Section]:
    return [await by_length(folder, rounds), *await beside_others(folder, rounds)]


async def by_length(folder: Path, rounds: int) -> Section:
    """One file for each length, so that what the file grows by counts as well."""
    talk = Talk(1)
    warm_up = 3
    async with AsyncExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for length in LENGTHS:
            path = folder / f"length-{length}.db"
            async with backscroll_at(path) as memory:
                # The tenth run comes once in a session; later ones are recorded around the length.
                sessions = rounds + warm_up if length == 10 else 1
                before = length - 1 if length == 10 else length - rounds // 2
                for number in range(sessions):
                    await fill(memory, f"{SESSION}-{number}", [talk.run() for _ in range(before)])
            memory = await stack.enter_async_context(backscroll_at(path))

            def prepare(number: int, many: bool = sessions > 1) -> tuple[str, Chat]:
                return f"{SESSION}-{number if many else 0}", talk.run()

            async def turn(given: tuple[str, Chat], memory: Memory = memory) -> None:
                await record(memory, *given)

            contenders[f"run {length:,}"] = Contender(prepare, turn)
        taken = await in_turns(contenders, rounds=rounds, warm_up=warm_up)
    tenth = taken[f"run {LENGTHS[0]:,}"]
    rows = [
        timed(
            f"record run {n:,} of a session",
            taken[f"run {n:,}"],
            "run 10",
            tenth,
            at_most=1.1 if n == 10_000 else None,
        )
        for n in LENGTHS[1:]
    ]
    return Section("Recording a run, by the length of its session", rows)


async def beside_others(folder: Path, rounds: int) -> list[Section]:
    """At run 1,000 of a session, everyone with a file of its own."""
    talk = Talk(2)
    warm_up = 3
    past = [talk.run() for _ in range(1_000)]
    chats = [talk.run() for _ in range(rounds + warm_up)]
    names = ("ours", "ours-turn", "ours-counting", "copy", "by-hand")
    ours, ours_turn, ours_counting, copy, by_hand = (folder / f"{name}.db" for name in names)
    async with backscroll_at(ours) as memory:
        await fill(memory, SESSION, past)
    for path in (ours_turn, ours_counting, copy, by_hand):
        shutil.copy(ours, path)
    made = []
    async with backscroll_at(copy) as memory:
        for chat in chats:
            await record(memory, SESSION, chat)
            made.append(Raw.rows_of_newest_run(copy))

    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(backscroll_at(ours))
        in_turn = await stack.enter_async_context(backscroll_at(ours_turn))
        counting = await stack.enter_async_context(backscroll_at(ours_counting))
        raw = Raw(by_hand)
        agno, agno_turn = Agno(folder / "agno.db"), Agno(folder / "agno-turn.db")
        agents, agents_turn = (OpenAIAgents(folder / f"{name}.db", SESSION) for name in ("agents", "agents-turn"))
        disk = os.open(folder / "disk", os.O_CREAT | os.O_WRONLY, 0o600)
        stack.callback(os.close, disk)
        stack.enter_context(closing_all(raw, agno, agno_turn, agents, agents_turn))
        held = agno.begin(SESSION)
        session = agno_turn.begin(SESSION)
        for chat in past:
            agno.end(held, agno.run_of(chat, SESSION))
            agno_turn.end(session, agno.run_of(chat, SESSION))
            await agents.record(agents.steps_of(chat))
            await agents_turn.record(agents.steps_of(chat))

        async def told(chat: Chat) -> None:
            await record(memory, SESSION, chat)

        async def counted(chat: Chat) -> None:
            await counting.record_run(chat, session_id=SESSION, agent=AGENT)

        async def turn(chat: Chat) -> None:
            await in_turn.get_session_context(SESSION, num_history_runs=3)
            await record(in_turn, SESSION, chat)

        async def insert(number: int) -> None:
            raw.record(made[number])

        async def sync(_: int) -> None:
            os.pwrite(disk, bytes(4096), 0)
            os.fsync(disk)

        async def agno_ends(run: object) -> None:
            agno.end(held, run)

        async def agno_turns(run: object) -> None:
            agno_turn.end(agno_turn.begin(SESSION), run)

        async def agents_turns(steps: list[list[object]]) -> None:
            await agents_turn.session.get_items()
            await agents_turn.record(steps)

        taken = await in_turns(
            {
                "ours": Contender(chats.__getitem__, told),
                "counted": Contender(chats.__getitem__, counted),
                "sqlite3": Contender(int, insert),
                "disk": Contender(int, sync),
                "agno": Contender(lambda i: agno.run_of(chats[i], SESSION), agno_ends),
                "agents": Contender(lambda i: agents.steps_of(chats[i]), agents.record),
                "ours turn": Contender(chats.__getitem__, turn),
                "agno turn": Contender(lambda i: agno.run_of(chats[i], SESSION), agno_turns),
                "agents turn": Contender(lambda i: agents.steps_of(chats[i]), agents_turns),
            },
            rounds=rounds,
            warm_up=warm_up,
        )
    own, own_turn = taken["ours"], taken["ours turn"]
    floor = taken["sqlite3"].median
    saving = [
        timed("raw `sqlite3` inserts of the same rows", own, "sqlite3", taken["sqlite3"], at_most=3.0),
        timed(
            "Agno, what it does at the end of a run",
            own,
            "Agno",
            taken["agno"],
            at_most=0.1,
            why=f"{_room(taken['agno'].median / 10, floor)} What costs Agno more is reading its whole "
            "session before each run: see the turn, below.",
        ),
        timed(
            "openai-agents, its Runner's three `add_items`",
            own,
            "openai-agents",
            taken["agents"],
            at_most=1 / 1.5,
            why=f"{_room(taken['agents'].median / 1.5, floor)} openai-agents syncs three times and indexes "
            "nothing, Backscroll syncs once and indexes: the dearer a sync, the better the ratio.",
        ),
        timed("without usage told: its tokens are counted", taken["counted"], "usage told", own),
        Row("for scale: 4 kB written to a file and synced", "", shown(taken["disk"])),
    ]
    turns = [
        timed("Agno", own_turn, "Agno", taken["agno turn"]),
        timed("openai-agents", own_turn, "openai-agents", taken["agents turn"]),
    ]
    return [
        Section("Recording a run at 1,000 runs, beside others", saving, SAVING_NOTES),
        Section(
            "A turn at 1,000 runs: what is read before the model is called, and the run saved",
            turns,
            TURN_NOTES,
        ),
    ]


def _room(wanted: float, floor: float) -> str:
    """What a target leaves above the price of the rows themselves."""
    return f"The target is {wanted * 1000:.2f} ms here; raw inserts of our rows take {floor * 1000:.2f} ms."
