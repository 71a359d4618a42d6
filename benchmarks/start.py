"""From the start of the process to the first answers, beside a bare server of the same SDK."""

from pathlib import Path
from typing import Any

from .measure import Contender, in_turns
from .pipes import BARE, ERAS, OURS, Era, Server
from .results import Row, Section, timed
from .stdio import SESSION, small_store


async def measure(folder: Path, rounds: int) -> list[Section]:
    environment = await small_store(folder / "small.db")
    rows: list[Row] = []
    for era in ERAS:
        rows += await _of_era(era, environment, max(rounds // 4, 7))
    notes = [
        "Ours answers lists from a snapshot that an earlier start with the same settings left; the very "
        "first start of all has none. Each start is followed by a clean end, off the clock.",
    ]
    return [Section("Process start", rows, notes)]


async def _of_era(era: Era, environment: dict[str, str], rounds: int) -> list[Row]:
    def to_list(command: tuple[str, ...]) -> Any:
        async def start(_: int) -> Server:
            server = Server(command, era, environment)
            server.shake_hands()
            assert server.ask("tools/list")["tools"]
            return server

        return Contender(int, start, Server.close)

    def to_result(command: tuple[str, ...], tool: str, arguments: dict[str, Any]) -> Any:
        async def start(_: int) -> Server:
            server = Server(command, era, environment)
            server.shake_hands()
            server.ask("tools/list")
            server.call(tool, arguments)
            return server

        return Contender(int, start, Server.close)

    taken = await in_turns(
        {
            "ours list": to_list(OURS),
            "bare list": to_list(BARE),
            "ours result": to_result(OURS, "get_chat_history", {"session_id": SESSION}),
            "bare result": to_result(BARE, "nothing", {}),
        },
        rounds=rounds,
        warm_up=1,
    )
    return [
        timed(f"to `tools/list`, {era} era", taken["ours list"], "bare", taken["bare list"], at_most=0.1),
        timed(
            f"to the first tool result, {era} era",
            taken["ours result"],
            "bare",
            taken["bare result"],
            at_most=1.1,
        ),
    ]
