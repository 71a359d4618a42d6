"""Several workers on one port: they are as one, one that dies comes back, and none outlives its supervisor."""

import asyncio
import fcntl
import os
import signal
import sys
from pathlib import Path

import anyio
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

import backscroll
from builders import a_tool_turn
from http_doors import HttpServer, call_of, the_http_server
from test_http_serving import all_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers share a socket")

HEADERS = {"content-type": "application/json", "accept": "application/json"}


async def asked_by_both(server: HttpServer) -> set[int]:
    """Ask over connections of their own until both workers have answered; their process ids."""
    with anyio.fail_after(60):
        while len({line["worker"] for line in server.lines() if line["event"] == "request"}) < 2:
            async with httpx2.AsyncClient() as fresh, asyncio.TaskGroup() as tasks:
                for _ in range(8):
                    tasks.create_task(fresh.post(server.url, json=call_of("list_sessions"), headers=HEADERS))
    return {line["worker"] for line in server.lines() if line["event"] == "request"}


def values(text: str) -> dict[tuple[str, ...], float]:
    """Every sample that the metrics hold, by name and label values."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_counts_are_those_of_all_workers(database: Path) -> None:
    async with the_http_server(database, "--no-auth", "--workers", "2", "--metrics", "0") as server:
        await asked_by_both(server)
        await server.post(call_of("no_such_tool"))
        await server.post(call_of("get_chat_history", session_id="missing"))
        await server.post(call_of("list_sessions"), {"host": "evil.example"})
        told = values(await server.metrics())
        asked = len([line for line in server.lines() if line.get("tool") == "list_sessions"])
        assert told["backscroll_requests_total", "tools/call", "ok", "list_sessions"] == asked
        assert told["backscroll_request_duration_seconds_count", "tools/call", "list_sessions"] == asked
        assert told["backscroll_request_duration_seconds_bucket", "+Inf", "tools/call", "list_sessions"] == asked
        assert told["backscroll_requests_total", "tools/call", "failed", "get_chat_history"] == 1
        assert told["backscroll_requests_total", "tools/call", "error", "other"] == 1
        assert told["backscroll_refused_total", "host"] == 1
        assert told["backscroll_requests_in_flight",] == 0
        assert told["backscroll_workers",] == 2
        assert told["backscroll_worker_starts_total",] == 2
        where = server.said["metrics"]
        assert where.startswith("http://127.0.0.1:")
        assert (await server.http.get(where, headers={"host": "evil.example"})).status_code == 421
        assert (await server.http.get(where.replace("/metrics", "/"))).status_code == 404


async def test_a_worker_that_is_killed_comes_back_and_nothing_acknowledged_is_lost(
    app: backscroll.Backscroll, database: Path
) -> None:
    acknowledged: set[str] = set()
    async with the_http_server(database, "--no-auth", "--workers", "2", "--metrics", "0") as server:
        workers = await asked_by_both(server)

        async def record(name: str) -> None:
            for number in range(25):
                run_id = f"{name}-{number}"
                message = call_of("record_run", messages=a_tool_turn(number), session_id=name, run_id=run_id)
                while run_id not in acknowledged:
                    try:
                        async with httpx2.AsyncClient(timeout=30) as http:
                            answer = await http.post(server.url, json=message, headers=HEADERS)
                    except httpx2.TransportError:
                        continue  # Cut off in the middle. Once more is no harm: the run has an id.
                    assert answer.json()["result"]["structuredContent"]["run_id"] == run_id
                    acknowledged.add(run_id)

        with anyio.fail_after(120):
            async with asyncio.TaskGroup() as tasks:
                for name in ("a", "b", "c"):
                    tasks.create_task(record(name))
                for victim in workers:
                    os.kill(victim, signal.SIGKILL)
                    await server.line(event="worker ended", ended=victim, code=-9)
            for _ in workers:
                await server.line(event="worker started")
        assert len(acknowledged) == 75
        assert (await server.post(call_of("list_sessions"))).status_code == 200
        told = values(await server.metrics())
        # The new ones count on from where the dead ones ended.
        assert told["backscroll_requests_total", "tools/call", "ok", "record_run"] >= 75
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 0
    await all_whole(app, acknowledged)


async def test_no_worker_outlives_its_supervisor(database: Path) -> None:
    async with the_http_server(database, "--no-auth", "--workers", "2") as server:
        await asked_by_both(server)
        server.process.kill()
        # Each holds the other end of standard error, which ends when the last of them does.
        assert await server.exit_code() == -9


async def test_nothing_of_the_settings_is_on_a_workers_command_line(database: Path) -> None:
    env = {"BACKSCROLL_SUMMARY_API_KEY": "sk-very-secret"}
    async with the_http_server(database, "--no-auth", "--workers", "2", env=env) as server:
        for worker in await asked_by_both(server):
            told = Path(f"/proc/{worker}/cmdline")
            if not told.exists():
                pytest.skip("this system has no /proc")
            shown = told.read_bytes()
            assert b"worker" in shown
            assert b"secret" not in shown and str(database).encode() not in shown


async def test_a_server_that_stops_takes_no_new_connections(database: Path) -> None:
    """A proxy must learn at once that nobody will serve them, while what is under way goes on."""
    async with the_http_server(database, "--no-auth", "--workers", "2", "--metrics", "0") as server:
        await asked_by_both(server)
        with database.with_name(f"{database.name}.lock").open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as another writer has it
            under_way = asyncio.create_task(server.post(call_of("record_run", messages=a_tool_turn(1), run_id="r")))
            with anyio.fail_after(20):
                while values(await server.metrics())["backscroll_requests_in_flight",] < 1:
                    await asyncio.sleep(0)
                server.process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionError):
                    while True:
                        _, writer = await asyncio.open_connection(server.host, server.port)
                        writer.close()
            assert not under_way.done()
        assert (await under_way).status_code == 200
        assert await server.exit_code() == 0
