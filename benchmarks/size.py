"""Bytes on disk for one text."""

import asyncio
from pathlib import Path

from .contenders import Agno, OpenAIAgents, backscroll_at, closing_all, record
from .results import Row, Section
from .talk import Chat, Sizes, Talk, text_bytes

RUNS_A_SESSION = 50
QUIET_SECONDS = 1.0
"""The index is merged when nobody has written for a moment."""


async def measure(folder: Path, rounds: int) -> list[Section]:
    talk = Talk(5)
    cases = [
        ("1 kB a message", [talk.run(Sizes.even(1_000)) for _ in range(2_000)], 1.8),
        ("130 B a message", [talk.run(Sizes.even(130)) for _ in range(4_000)], 3.5),
        ("130 B a message, a chat without tools", [talk.chat(130) for _ in range(8_000)], 3.5),
    ]
    rows: list[Row] = []
    for number, (what, chats, target) in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        said = sum(map(text_bytes, chats))
        ours = await _ours(place, chats) / said
        others = {
            "Agno": await _agno(place, chats) / said,
            "openai-agents": await _agents(place, chats) / said,
        }
        rows.append(
            Row(
                f"{what}, {said / 1e6:.1f} MB recorded",
                f"{ours:.2f} bytes a byte",
                ", ".join(f"{name}: {size:.2f}" for name, size in others.items()),
                target=f"{target}",
                met=ours <= target,
            )
        )
    notes = [
        "Runs of four messages with one tool call (the last case: of two, without), recorded one by one, 50",
        "to a session; lengths vary from half to one and a half of the average. The files as they are left",
        "after closing. Agno and openai-agents have no search index in theirs.",
    ]
    return [Section("Bytes on disk for one byte of text", rows, [" ".join(notes)])]


def _sessions(chats: list[Chat]) -> list[tuple[str, list[Chat]]]:
    starts = range(0, len(chats), RUNS_A_SESSION)
    return [(f"session-{start}", chats[start : start + RUNS_A_SESSION]) for start in starts]


def _bytes(place: Path, name: str) -> int:
    return sum(path.stat().st_size for path in place.glob(f"{name}*"))


async def _ours(place: Path, chats: list[Chat]) -> int:
    async with backscroll_at(place / "ours.db") as memory:
        for session_id, its in _sessions(chats):
            for chat in its:
                await record(memory, session_id, chat)
        before, now = -1, _bytes(place, "ours.db")
        while before != now:
            await asyncio.sleep(QUIET_SECONDS)
            before, now = now, _bytes(place, "ours.db")
    return _bytes(place, "ours.db")


async def _agno(place: Path, chats: list[Chat]) -> int:
    agno = Agno(place / "agno.db")
    with closing_all(agno):
        for session_id, its in _sessions(chats):
            session = agno.begin(session_id)
            for chat in its:
                agno.end(session, agno.run_of(chat, session_id))
    return _bytes(place, "agno.db")


async def _agents(place: Path, chats: list[Chat]) -> int:
    for session_id, its in _sessions(chats):
        agents = OpenAIAgents(place / "openai-agents.db", session_id)
        with closing_all(agents):
            for chat in its:
                await agents.record(agents.steps_of(chat))
    return _bytes(place, "openai-agents.db")
