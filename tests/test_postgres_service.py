"""What an operator's Postgres does to a server of ours: poolers, restarts, limits, roles, and starts at once."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import anyio
import anyio.lowlevel
import psycopg
import pytest

import backscroll
from backscroll.errors import StoreBusy, StoreUnusable
from backscroll.store import ImportState, migrate
from backscroll.store.opening import StoreOptions, open_store
from backscroll.store.postgres import PostgresStore
from backscroll.store.postgres.database import Ask, Database, Transaction, Writing
from backscroll.store.postgres.errors import CommitUnknown
from backscroll.store.postgres.migrating import DIALECT
from builders import a_tool_turn
from cli_doors import program
from pooler import pgbouncer, pooler
from postgres_doors import every_tool, everything_else
from postgres_server import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

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


async def test_an_upgrade_gives_up_on_a_table_that_somebody_holds_and_can_be_tried_again(
    postgres: PostgresServer,
) -> None:
    url = postgres.empty_database()
    with psycopg.connect(url, autocommit=True) as connection:
        for number, _, script in migrate.migrations(DIALECT):
            if number <= 10:
                connection.execute(script.encode())
        connection.execute("INSERT INTO meta (name, value) VALUES ('version', '10')")
    with psycopg.connect(url) as holder:
        # As a reader does that is in no hurry.
        holder.execute("SELECT 1 FROM imports")
        with pytest.raises(StoreBusy, match="Nothing was changed; try again"):
            await asyncio.wait_for(open_store(url, StoreOptions(busy_timeout_s=0.3)), PATIENCE_S)
        holder.rollback()
        store = await open_store(url)
        await store.close()
    postgres.drop(url)


async def test_a_database_of_a_newer_backscroll_is_refused(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE name = 'version'")
    with pytest.raises(StoreUnusable, match=r"version 999.*Upgrade Backscroll"):
        await open_store(url)
    postgres.drop(url)


async def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    url = postgres.url("latin")
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(StoreUnusable, match=r"LATIN1.*ENCODING 'UTF8'"):
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
        postgres.url()
        .replace("backscroll@", "b:hunter2@")
        .replace("127.0.0.1", "no-such-host.invalid"): "no-such-host",
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


async def test_a_read_that_is_cancelled_ends_on_the_server_and_its_connection_serves_on(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1)
    await database.open(_nothing)
    ((backend,),) = (await database.fetch(Ask("SELECT pg_backend_pid()")))[0]

    async def slow(transaction: Transaction) -> None:
        await transaction.one("SELECT 1")
        await transaction.one("SELECT pg_sleep(30)")

    for read in (lambda: database.fetch(Ask("SELECT pg_sleep(30)")), lambda: database.read(slow)):
        # As a request's: it cancels whoever waits in it again and again.
        async with anyio.create_task_group() as request:
            request.start_soon(read)
            await _sleeping(postgres_url, backend)
            request.cancel_scope.cancel()
        # The same connection, at once: the query is not at it any more.
        assert await asyncio.wait_for(database.fetch(Ask("SELECT pg_backend_pid()")), PATIENCE_S / 3) == [[(backend,)]]
    await database.close()


async def test_reads_that_are_cancelled_at_any_moment_cost_the_pool_no_connection(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=2, lock_timeout_s=5)
    await database.open(_nothing)

    async def hurried(ticks: int) -> None:
        for _ in range(20):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(database.fetch, Ask("SELECT 1"))
                    for _ in range(ticks):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

    await asyncio.gather(*(hurried(ticks) for ticks in range(40)))
    async with database.snapshot(), database.snapshot():
        pass
    await database.close()


@pytest.fixture
async def held_user(postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """Ada is there, and somebody else's server writes for her until this connection ends its transaction."""
    database = Database(postgres_url)
    await database.open(_nothing)
    await database.write("ada", _no_work)
    await database.close()
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        await connection.execute("SELECT 1 FROM users WHERE user_id = 'ada' FOR UPDATE")
        yield connection


async def test_many_writers_of_one_user_keep_nobody_else_from_reading_and_writing(
    postgres_url: str, held_user: psycopg.AsyncConnection[tuple[object, ...]]
) -> None:
    database = Database(postgres_url, pool_size=4)
    await database.open(_nothing)
    writes = [asyncio.create_task(database.write("ada", _no_work)) for _ in range(12)]
    await _waiting_for_a_lock(postgres_url)
    # They would get no connection while these wait, and these wait until they are through.
    assert await database.fetch(Ask("SELECT 1")) == [[(1,)]]
    await database.write("bob", _no_work)
    assert not any(write.done() for write in writes)
    await held_user.rollback()
    await asyncio.wait_for(asyncio.gather(*writes), PATIENCE_S)
    assert await database.fetch(Ask("SELECT changes FROM users ORDER BY user_id")) == [[(13,), (1,)]]
    await database.close()


async def test_writers_of_many_users_leave_connections_for_readers(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=4, lock_timeout_s=PATIENCE_S)
    await database.open(_nothing)
    go, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def held(writing: Writing) -> None:
        begun.release()
        await go.wait()

    writes = [asyncio.create_task(database.write(f"user {n}", held)) for n in range(12)]
    for _ in range(2):
        await asyncio.wait_for(begun.acquire(), PATIENCE_S)
    async with database.snapshot():
        assert await asyncio.wait_for(database.fetch(Ask("SELECT 1")), PATIENCE_S / 2) == [[(1,)]]
    go.set()
    await asyncio.wait_for(asyncio.gather(*writes), PATIENCE_S)
    await database.close()


async def test_writes_of_callers_that_gave_up_before_their_turn_are_not_done(
    postgres_url: str, held_user: psycopg.AsyncConnection[tuple[object, ...]]
) -> None:
    database = Database(postgres_url, pool_size=4)
    await database.open(_nothing)
    done: list[int] = []

    def noting(n: int) -> Callable[[Writing], Awaitable[None]]:
        async def note(writing: Writing) -> None:
            done.append(n)

        return note

    writes = [asyncio.create_task(database.write("ada", noting(n))) for n in range(40)]
    await _waiting_for_a_lock(postgres_url)
    for write in writes[:-1]:
        write.cancel()
    await asyncio.gather(*writes[:-1], return_exceptions=True)
    await held_user.rollback()
    await asyncio.wait_for(writes[-1], PATIENCE_S)
    # The first was at it, and nobody can tell how far; the last one's caller is still there.
    assert done == [0, 39]
    await database.close()


async def test_a_write_that_does_not_get_its_turn_in_time_says_so_and_the_next_one_gets_it(
    postgres_url: str, held_user: psycopg.AsyncConnection[tuple[object, ...]]
) -> None:
    database = Database(postgres_url, lock_timeout_s=0.3)
    await database.open(_nothing)
    told = await asyncio.gather(*(database.write("ada", _no_work) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [StoreBusy] * 3
    assert all("Nothing was changed; try again" in str(one) for one in told)
    await held_user.rollback()
    await asyncio.wait_for(database.write("ada", _no_work), PATIENCE_S)
    await database.close()


async def test_closing_ends_every_write_that_was_asked_for(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1)
    await database.open(_nothing)
    writes = [asyncio.create_task(database.write("ada", _no_work)) for _ in range(5)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*writes) == [None] * 5


async def test_rows_that_refer_to_a_user_can_be_stored_while_a_writer_holds_the_user(postgres_url: str) -> None:
    database = Database(postgres_url, lock_timeout_s=0.3)
    await database.open(_nothing)

    async def refer(writing: Writing) -> None:
        await writing.one("SELECT 1")
        await database.upkeep(
            "INSERT INTO search_rebuilds (user_key, version, message_key) SELECT user_key, 1, 0 FROM users"
        )

    await database.write("ada", _no_work)
    await asyncio.wait_for(database.write("ada", refer), PATIENCE_S)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM search_rebuilds").fetchone() == (1,)
    await database.close()


async def test_a_statement_that_takes_too_long_is_ended(postgres_url: str) -> None:
    hasty = Database(postgres_url, statement_timeout_s=0.2)
    await hasty.open(_nothing)

    async def slow(writing: Writing) -> None:
        await writing.one("SELECT pg_sleep(30)")

    with pytest.raises(StoreBusy, match=r"its time limit\. Nothing was changed"):
        await asyncio.wait_for(hasty.write("ada", slow), PATIENCE_S)
    await hasty.close()


async def test_a_pool_that_is_all_in_use_says_so(postgres_url: str) -> None:
    small = Database(postgres_url, pool_size=1, lock_timeout_s=0.3)
    await small.open(_nothing)
    async with small.snapshot():
        with pytest.raises(StoreBusy, match=r"all connections to it are in use.*Nothing was changed; try again"):
            await small.write("ada", _no_work)
    await small.write("ada", _no_work)
    await small.close()


async def test_a_database_that_was_closed_says_so(postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.open(_nothing)
    await database.close()
    with pytest.raises(StoreUnusable, match="is not open"):
        await database.write("ada", _no_work)


async def test_a_server_that_takes_no_writes_is_read_from(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    async with backscroll.Backscroll(url) as app:
        await app.memory("ada").record_run(a_tool_turn(1), session_id="s", title="Matters")
    with psycopg.connect(url, autocommit=True) as connection:
        # As a replica is, and what is said to it.
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET default_transaction_read_only = on")
    async with backscroll.Backscroll(url) as app:
        memory = app.memory("ada")
        assert (await memory.search_session_history("matter")).total
        assert len(await memory.get_messages_for_session("s")) == 4
        assert (await memory.list_sessions()).sessions
        assert (await memory.get_session_context("s")).session == "#1"
        with pytest.raises(StoreUnusable, match="Name the primary"):
            await memory.record_run(a_tool_turn(2), session_id="s")
    postgres.drop(url)


# Purging


async def test_purges_keep_nobody_waiting_for_a_table_or_for_a_connection(postgres_url: str) -> None:
    store = await PostgresStore.opened(postgres_url, pool_size=1, busy_timeout_s=0.5)
    await store.ledger.save("bob", [a_state("/a")])
    async with await psycopg.AsyncConnection.connect(postgres_url) as holder:
        # As the server's own vacuum and ANALYZE hold it.
        await holder.execute("LOCK TABLE messages IN SHARE UPDATE EXCLUSIVE MODE")
        purges = [asyncio.create_task(store.purge(())) for _ in range(4)]
        assert [state.path for state in await store.ledger.states("bob")] == ["/a"]
        told = {purged.told for purged in await asyncio.wait_for(asyncio.gather(*purges), PATIENCE_S)}
        assert [words.split(":")[0] for words in told] == ["purged in part"]
    assert (await store.purge(())).told.startswith("vacuumed: ")
    await store.close()


async def test_purges_at_once_share_a_vacuum_that_begins_after_them(store: PostgresStore, postgres_url: str) -> None:
    before = _vacuums(postgres_url)
    purged = await asyncio.gather(*(store.purge(()) for _ in range(20)))
    assert {one.told.split(":")[0] for one in purged} == {"vacuumed"}
    at_once = _vacuums(postgres_url) - before
    assert 1 <= at_once <= 4
    await store.purge(())
    assert _vacuums(postgres_url) - before == at_once + 1


# A server that goes away


async def test_a_restart_in_the_midst_of_writes_loses_nothing_that_was_acknowledged_and_doubles_nothing(
    postgres: PostgresServer,
) -> None:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        # As an operator's server has it, and unlike the others here.
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = on")
    database = Database(url, pool_size=8, lock_timeout_s=PATIENCE_S)
    await database.open(_nothing)
    acknowledged, unsure = set[str](), set[str]()
    enough = asyncio.Event()

    async def write(writer: int, number: int) -> None:
        label = f"{writer}.{number}"

        async def note(writing: Writing) -> None:
            await writing.run(
                "INSERT INTO facts (user_key, fact_key, fact_id, source, session_id, kind, at, heard_at) "
                "VALUES (%s, %s, %s, 'test', 's', 'test', 0, 0)",
                (writing.user_key, writing.next_key("fact"), f"{label}-{uuid4()}"),
            )

        try:
            await database.write(f"user {writer % 5}", note)
            acknowledged.add(label)
        except CommitUnknown:
            unsure.add(label)
        if len(acknowledged) >= 200:
            enough.set()

    async def writer(number: int) -> None:
        for count in range(60):
            await write(number, count)

    writers = asyncio.gather(*(writer(number) for number in range(12)))
    await asyncio.wait_for(enough.wait(), PATIENCE_S)
    before = len(acknowledged)
    await asyncio.to_thread(postgres.restart)
    await asyncio.wait_for(writers, 2 * PATIENCE_S)
    await database.close()
    with psycopg.connect(url) as connection:
        kept = [fact_id.split("-")[0] for (fact_id,) in connection.execute("SELECT fact_id FROM facts")]
        gaps = connection.execute(
            "SELECT u.user_id FROM users AS u JOIN facts AS f USING (user_key) GROUP BY u.user_key, u.last_fact_key "
            "HAVING count(*) <> u.last_fact_key"
        ).fetchall()
    assert before < 12 * 60
    assert len(acknowledged | unsure) == 12 * 60
    assert acknowledged <= set(kept)
    assert len(kept) == len(set(kept))
    assert gaps == []
    postgres.drop(url)


async def test_a_server_that_stays_away_is_told_after_the_time_limit_and_serves_again_when_it_is_back(
    postgres: PostgresServer, postgres_url: str
) -> None:
    store = await open_store(postgres_url, StoreOptions(busy_timeout_s=0.5))
    await store.ledger.save("ada", [a_state("/a")])
    await asyncio.to_thread(postgres.stop, "fast")
    try:
        with pytest.raises(StoreBusy, match="try again"):
            await asyncio.wait_for(store.ledger.save("ada", [a_state("/b")]), PATIENCE_S)
        with pytest.raises(StoreBusy, match="try again"):
            await asyncio.wait_for(store.ledger.states("ada"), PATIENCE_S)
    finally:
        await asyncio.to_thread(postgres.start)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await store.ledger.save("ada", [a_state("/c")])
                break
            except StoreBusy:
                continue
    assert {state.path for state in await store.ledger.states("ada")} >= {"/a", "/c"}
    await store.close()


# Poolers


async def test_all_works_behind_a_pooler_that_gives_each_transaction_another_connection(
    postgres: PostgresServer,
) -> None:
    url = postgres.empty_database()
    async with pooler(url) as pooled:
        await _used(pooled.url)
        assert min(pooled.served[number] for number in range(3)) > 20
    postgres.drop(url)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed")
async def test_all_works_behind_pgbouncer(postgres: PostgresServer) -> None:
    url = postgres.empty_database()
    with pgbouncer(postgres) as port:
        await _used(url.replace(f":{postgres.port}/", f":{port}/"))
    postgres.drop(url)


async def _used(url: str) -> None:
    """Everything once, by two at once, and from several users at once."""
    async with backscroll.Backscroll(url) as one, backscroll.Backscroll(url) as two:
        await every_tool(one.memory("ada"))
        await everything_else(one.memory("ada"))
        await asyncio.gather(
            *(
                app.memory(f"user {n}").record_run(a_tool_turn(n), session_id="s", run_id="r")
                for n in range(12)
                for app in (one, two)
            )
        )
        for n in range(12):
            assert (await two.memory(f"user {n}").get_session("s")).messages == 4


def _vacuums(url: str) -> int:
    """How often the table of messages was vacuumed by hand."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_stat_get_vacuum_count('messages'::regclass)").fetchone()
    assert row is not None
    return int(row[0])


async def _waiting_for_a_lock(url: str) -> None:
    """Come back once somebody waits for a row of this database."""
    await _seen(url, "wait_event_type = 'Lock'")


async def _sleeping(url: str, backend: int) -> None:
    await _seen(url, f"wait_event = 'PgSleep' AND pid = {backend}")


async def _seen(url: str, where: str) -> None:
    """Come back once there is such a connection to this database."""
    statement = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {where}"
    async with asyncio.timeout(PATIENCE_S), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while await (await connection.execute(statement.encode())).fetchone() == (0,):
            pass


async def _nothing(connection: object) -> None: ...


async def _no_work(writing: Writing) -> None: ...
