"""The benchmark of the service and the soak: that each part runs and measures, and that the soak sees what is wrong."""

import io

import pytest
from benchmarks import many_users, service, soak
from rich.console import Console

from backscroll import Backscroll, Settings
from postgres_server import PostgresServer

TINY = service.Bounds(rounds=3, seconds=0.2, calls=20, users=24, sessions=2, memory={"SQLite": 40, "Postgres": 40})


@pytest.mark.slow
@pytest.mark.parametrize("part", service.PARTS)
async def test_each_part_of_the_benchmark_runs_on_both_databases(part: str) -> None:
    sections = await service.measured([part], Console(file=io.StringIO()), TINY)
    told = " ".join(f"{section.title} {row.what}" for section in sections for row in section.rows)
    assert "SQLite" in told
    assert "Postgres" in told
    assert all(row.ours for section in sections for row in section.rows)


async def test_users_that_get_anothers_rows_find_them_and_the_store_finds_nothing_wrong(
    postgres: PostgresServer,
) -> None:
    url = postgres.new_database()
    await many_users.fill(url, range(5), sessions=2, on_postgres=2)
    async with Backscroll(url, Settings(semantic="off")) as app:
        model, copied = app.memory("user-1"), app.memory("user-4")
        (line, *_) = (await model.list_sessions()).sessions
        words = (await model.get_chat_history(line.session)).messages[0].text.split()[:3]
        hits = [(await memory.search_session_history(" ".join(words))).hits for memory in (model, copied)]
        assert hits[0]
        assert [hit.snippet for hit in hits[1] or ()] == [hit.snippet for hit in hits[0]]
        assert await app.store.check() == []


def told_of_one_run() -> tuple[soak.Told, soak.Sent]:
    run = soak.Sent("r-1", "s-1", ("asked", "answered"))
    return soak.Told(sent={("ada", "r-1"): run}), run


def test_the_soak_misses_a_run_that_was_acknowledged() -> None:
    told, run = told_of_one_run()
    assert soak.wrong({}, told) == []
    told.acknowledged.add(("ada", run.run_id))
    assert soak.wrong({}, told) == ["r-1: missing"]
    assert soak.wrong({("ada", "r-1"): ["asked", "answered"]}, told) == []


@pytest.mark.parametrize("texts", [[], ["asked"], ["asked", "answered", "asked", "answered"], ["asked", "other"]])
@pytest.mark.parametrize("acknowledged", [True, False])
def test_the_soak_sees_a_run_in_part_twice_or_changed(texts: list[str], acknowledged: bool) -> None:
    told, _ = told_of_one_run()
    if acknowledged:
        told.acknowledged.add(("ada", "r-1"))
    assert soak.wrong({("ada", "r-1"): texts}, told) == ["r-1: not as it was sent"]


def test_the_soak_sees_a_run_that_nobody_sent() -> None:
    told, _ = told_of_one_run()
    assert soak.wrong({("bob", "r-1"): ["asked", "answered"]}, told) == ["r-1: not as it was sent"]
