"""What an operator's Postgres does to a server of ours: poolers, restarts, limits, roles, and starts at once."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from backscroll.errors import StoreBusy, StoreUnusable
from backscroll.store import ImportState, migrate
from backscroll.store.opening import StoreOptions, open_store
from backscroll.store.postgres import PostgresStore
from backscroll.store.postgres.database import Database, Writing
from backscroll.store.postgres.migrating import DIALECT
from cli_doors import environment, program
from pooler import pooler
from postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

PATIENCE_S = 30


def a_state(path: str) -> ImportState:
    return ImportState(path, "codex", f"1:{path}", 1, 1, 1, 1, {}, (), {})


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    opened = await PostgresStore.opened(postgres_url)
    yield opened
    await opened.close()


# Starting


async def test_servers_that_start_at_once_on_an_empty_database_migrate_it_once(postgres: PostgresServer) -> None:
    url = postgres.empty_database()
    opened = await asyncio.gather(*(open_store(url) for _ in range(6)))
    keys = {await store.digest_key() for store in opened}
    await asyncio.gather(*(store.close() for store in opened))
    assert len(keys) == 1
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT convert_from(value, 'UTF8') FROM meta WHERE name = 'version'").fetchone() == (
            str(migrate.newest(DIALECT)),
        )
    postgres.drop(url)


async def test_a_database_of_a_newer_backscroll_is_refused(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE name = 'version'")
    with pytest.raises(StoreUnusable, match="version 999.*Upgrade Backscroll"):
        await open_store(url)
    postgres.drop(url)


async def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    url = postgres.url("latin")
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(StoreUnusable, match="LATIN1.*ENCODING 'UTF8'"):
        await open_store(url)
    postgres.drop(url)


@pytest.fixture
def locked_out(postgres: PostgresServer) -> str:
    """A URL with a wrong password, on a server that asks for one."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS locked")
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right-one'")
    postgres.ask_for_password("locked")
    return postgres.url().replace("backscroll@", "locked:hunter2@")


async def test_what_is_wrong_with_an_address_is_one_clear_line_without_its_password(
    postgres: PostgresServer, locked_out: str
) -> None:
    port = str(postgres.port)
    wrong = {
        locked_out: "password",
        postgres.url("nowhere").replace("backscroll@", "backscroll:hunter2@"): 'database "nowhere" does not exist',
        postgres.url().replace("backscroll@", "nobody:hunter2@"): 'role "nobody" does not exist',
        postgres.url().replace("backscroll@", "b:hunter2@").replace(port, "1"): "port 1",
        postgres.url().replace("backscroll@", "b:hunter2@").replace("127.0.0.1", "no-such-host.invalid"): "no-such-host",
        "postgresql://b:hunter2@127.0.0.1:port/x": "BACKSCROLL_DB",
        "postgresql://b:hunt@hunter2@127.0.0.1/x": "%40",
        "postgresql://b:hunter2@127.0.0.1/x?nonsense=1": "BACKSCROLL_DB",
    }
    for url, words in wrong.items():
        done = await asyncio.to_thread(program, "list", env={"BACKSCROLL_DB": url})
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
        assert "hunter2" not in done.stdout + done.stderr


# Limits


async def test_a_role_that_may_not_change_tables_can_use_a_migrated_database(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS plain")
        connection.execute("CREATE ROLE plain LOGIN")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain")
    store = await open_store(url.replace("backscroll@", "plain@"))
    await store.ledger.save("ada", [a_state("/a")])
    assert [state.path for state in await store.ledger.states("ada")] == ["/a"]
    await store.close()
    postgres.drop(url)
    empty = postgres.empty_database()
    with pytest.raises(StoreUnusable, match="refuses this role"):
        await open_store(empty.replace("backscroll@", "plain@"))
    postgres.drop(empty)


async def test_another_writer_of_the_same_user_waits_and_one_of_another_user_does_not(postgres_url: str) -> None:
    patient = Database(postgres_url)
    await patient.open(_nothing)
    held, go = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def first(writing: Writing) -> None:
        await writing.one("SELECT 1")
        held.set()
        await go.wait()
        order.append("first")

    async def second(writing: Writing) -> None:
        order.append("second")

    async def other(writing: Writing) -> None:
        order.append("other")

    writing = asyncio.create_task(patient.write("ada", first))
    await asyncio.wait_for(held.wait(), PATIENCE_S)
    waiting = asyncio.create_task(patient.write("ada", second))
    await asyncio.wait_for(patient.write("bob", other), PATIENCE_S)
    hasty = Database(postgres_url, lock_timeout_s=0.2)
    await hasty.open(_nothing)
    with pytest.raises(StoreBusy, match="Nothing was changed; try again"):
        await hasty.write("ada", second)
    go.set()
    await asyncio.wait_for(asyncio.gather(writing, waiting), PATIENCE_S)
    assert order == ["other", "first", "second"]
    await hasty.close()
    await patient.close()


async def test_a_statement_that_takes_too_long_is_ended(postgres_url: str) -> None:
    hasty = Database(postgres_url, statement_timeout_s=0.2)
    await hasty.open(_nothing)

    async def slow(writing: Writing) -> None:
        await writing.one("SELECT pg_sleep(30)")

    with pytest.raises(StoreBusy, match="its time limit. Nothing was changed"):
        await asyncio.wait_for(hasty.write("ada", slow), PATIENCE_S)
    await hasty.close()


async def test_a_pool_that_is_all_in_use_says_so(postgres_url: str) -> None:
    small = Database(postgres_url, pool_size=1, lock_timeout_s=0.3)
    await small.open(_nothing)
    async with small.snapshot():
        with pytest.raises(StoreBusy, match="try again"):
            await small.write("ada", _no_work)
    await small.write("ada", _no_work)
    await small.close()


async def _nothing(connection: object) -> None: ...


async def _no_work(writing: Writing) -> None: ...
