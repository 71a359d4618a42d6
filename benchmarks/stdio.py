"""A tool call over stdio, beside a tool that does nothing on a bare server of the same SDK."""

from pathlib import Path
from typing import Any

from .contenders import backscroll_at, closing_all
from .measure import Contender, in_turns
from .pipes import BARE, ERAS, OURS, Era, Server
from .results import Row, Section, timed
from .talk import Sizes, Talk

SESSION = "small"
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("get_chat_history", {"session_id": SESSION}),
    ("get_session_context", {"session_id": SESSION}),
    ("get_tool_call_history", {"session_id": SESSION}),
    ("list_sessions", {"limit": 5}),
    ("search_session_history", {"query": "sed module", "limit": 5}),
)


async def small_store(path: Path) -> dict[str, str]:
    """A few sessions of a few short messages; the environment that names the file."""
    talk = Talk(6)
    async with backscroll_at(path) as memory:
        for name in (SESSION, "another", "a-third"):
            await memory.record_run(talk.run(Sizes(80, 40, 120, 120)), session_id=name)
    return {"BACKSCROLL_DB": str(path), "BACKSCROLL_USER": memory.user_id}


async def measure(folder: Path, rounds: int) -> list[Section]:
    environment = await small_store(folder / "small.db")
    rows: list[Row] = []
    for era in ERAS:
        rows += await _of_era(era, environment, rounds * 4)
    notes = [
        "Through plain pipes: no client of an SDK is on the clock. The session has four short messages; "
        "every call reads the database, counts tokens and fits the page.",
    ]
    return [Section("A tool call over stdio", rows, notes)]


async def _of_era(era: Era, environment: dict[str, str], rounds: int) -> list[Row]:
    ours, bare = Server(OURS, era, environment), Server(BARE, era)
    with closing_all(ours, bare):
        contenders = {"nothing": Contender(int, _calling(bare, "nothing", {}))}
        for server in (ours, bare):
            server.shake_hands()
        for tool, arguments in CALLS:
            contenders[tool] = Contender(int, _calling(ours, tool, arguments))
        taken = await in_turns(contenders, rounds=rounds, warm_up=20)
    return [timed(f"`{tool}`, {era} era", taken[tool], "no-op", taken["nothing"], at_most=1.5) for tool, _ in CALLS]


def _calling(server: Server, tool: str, arguments: dict[str, Any]) -> Any:
    async def call(_: int) -> None:
        assert server.call(tool, arguments)["content"]

    return call
