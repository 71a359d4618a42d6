"""`backscroll serve --http`, the real process: both eras, JSON and streams, health, one worker and several."""

import signal
from pathlib import Path

import pytest

from builders import a_tool_turn
from http_doors import the_http_server
from mcp_doors import ERAS, answer_of, said

eras = pytest.mark.parametrize("era", ERAS)


@eras
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_session_is_recorded_and_recalled_over_http(era: str, workers: str, database: Path) -> None:
    async with the_http_server(database, "--no-auth", "--workers", workers) as server:
        async with server.client(era) as client:
            receipt = answer_of(await client.call_tool("record_run", {"messages": a_tool_turn(7), "session_id": "s"}))
            assert (receipt["session"], receipt["recorded"]) == ("#1", 4)
            assert "matter 7 is fine" in said(await client.call_tool("get_chat_history", {"session_id": "s"}))
            assert len((await client.list_tools()).tools) == 10
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 0
