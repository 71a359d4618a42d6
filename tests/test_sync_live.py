"""Keeping up: what a host wrote a moment ago is found by the next search, in any process, and none waits long."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

import backscroll
from backscroll import Settings
from backscroll.answers import Behind
from backscroll.fitting import MIN_TOKENS
from backscroll.store.opening import open_store
from backscroll.syncing import sync
from backscroll.syncing.live import MAX_WAIT_S, SEARCH, Live
from backscroll.syncing.watching import Watching, watching
from backscroll.syncing.watching.polling import Polling
from cli_doors import at_prompt, program
from fixtures.front_client import ENVELOPE, request
from mcp_doors import answer_of, over_stdio, said, the_server, tokens_in
from test_import_opencode import T0, OpenCode
from transcripts import a_line, add, everything, projects, turns, write

SYNCED = {"BACKSCROLL_SYNC": "all"}
WATCHES = pytest.mark.parametrize("watch", [watching, Polling], ids=["told by the kernel", "looking"])
PATIENCE_S = 30


@asynccontextmanager
async def keeping_up(
    url: str, home: Path, *, watch: Callable[[], Watching] = watching, background: bool = False, user: str = "ada"
) -> AsyncIterator[backscroll.Memory]:
    """A memory that keeps up, in this process. It looks when it is asked, unless it reads in the background too."""
    async with backscroll.Backscroll(url, Settings(user=user, sync="all")) as app:
        # Without the background only what is asked for is read: a test can tell then who read it.
        live = Live(app, {}, home, background=background, watch=watch)
        app.catch_up = live.catch_up
        live.begin()
        try:
            yield app.memory(user)
        finally:
            await live.close()


async def found(memory: backscroll.Memory, words: str) -> int:
    page = await memory.search_session_history(words)
    return len(page.hits or ())


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until it holds."""
    with anyio.fail_after(PATIENCE_S):
        while not (held := await condition()):
            await asyncio.sleep(0.02)
        return held


# In a server, a process of its own


async def test_what_was_just_written_is_found_by_the_next_search_in_every_process(
    database: Path, own_folders: Path
) -> None:
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 2))
    async with (
        over_stdio(database, "auto", env=SYNCED) as one,
        over_stdio(database, "legacy", env=SYNCED) as other,
    ):

        async def finds(client: Any, words: str) -> bool:
            return "user" in said(await client.call_tool("search_session_history", {"query": words}))

        await until(lambda: finds(one, "Question 1"))
        for n in range(4):
            add(path, a_line("s", 100 + n, "user", f"The quokka number{n} jumped"))
            await until(partial(finds, (one, other)[n % 2], f"number{n}"))
        new = write(projects(own_folders) / "a new project" / "t.jsonl", turns("t", 1, words="wombat"))
        await until(lambda: finds(other, "wombat"))
        new.unlink()
        shell = await asyncio.to_thread(program, "search", "wombat", "--db", str(database), env=SYNCED)
        assert "wombat" in shell.stdout
        add(path, a_line("s", 200, "user", "A bandicoot for the shell"))
        shell = await asyncio.to_thread(program, "search", "bandicoot", "--db", str(database), env=SYNCED)
        assert "bandicoot" in shell.stdout, shell.stderr
        assert await finds(one, "bandicoot")
        # Every reading tool keeps up.
        add(path, a_line("s", 201, "user", "The last word"))
        assert "The last word" in said(await one.call_tool("get_chat_history", {"session_id": "s"}))
        add(path, a_line("s", 202, "user", "No, this one"))
        assert "No, this one" in said(await other.call_tool("get_session_context", {"session_id": "s"}))


async def test_a_host_that_comes_to_this_machine_later_is_met(database: Path, own_folders: Path) -> None:
    async with over_stdio(database, "auto", env=SYNCED) as client:
        assert "Nothing" in said(await client.call_tool("search_session_history", {"query": "wombat"}))
        write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1, words="wombat"))

        async def finds() -> bool:
            return "#1.1" in said(await client.call_tool("search_session_history", {"query": "wombat"}))

        await until(finds)


async def test_a_server_reads_what_nobody_asks_for(database: Path, own_folders: Path) -> None:
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 2))
    async with the_server(database, env=SYNCED) as server:
        store = await open_store(str(database))
        try:

            async def has(count: int) -> bool:
                return (await store.counts("local"))["messages"] == count

            await until(lambda: has(4))
            add(path, *turns("s", 1, first=2))
            await until(lambda: has(6))
        finally:
            await store.close()
        assert await server.rest() == ([], 0)
        assert await server.stderr() == ""


async def test_with_sync_off_nothing_is_read(database: Path, own_folders: Path) -> None:
    write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1))
    async with over_stdio(database, "auto") as client:
        page = answer_of(await client.call_tool("list_sessions", {"format": "json"}))
    assert page == {**page, "sessions": [], "total": 0}
    assert not list(database.parent.glob("*.sync-*"))


async def test_only_the_hosts_of_the_setting_are_read(database: Path, own_folders: Path) -> None:
    write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1, words="wombat"))
    for setting, matches in (("claude-code", False), ("pi", False), ("claude-code", True)):
        told = await asyncio.to_thread(
            program, "search", "wombat", "--db", str(database), env={"BACKSCROLL_SYNC": setting}
        )
        assert ("wombat" in told.stdout) is matches
        # Without a database, a reading command makes none and reads nothing.
        await _made(database)
    told = await asyncio.to_thread(program, "list", "--db", str(database), env=SYNCED)
    assert "Question 0 of s" in told.stdout


async def test_a_server_that_leaves_in_the_middle_of_an_import_leaves_soon_and_whole(
    database: Path, own_folders: Path
) -> None:
    for n in range(3):
        write(projects(own_folders) / "p" / f"s{n}.jsonl", turns(f"s{n}", 2_500, words="x" * 900))
    async with the_server(database, env=SYNCED) as server:
        store = await open_store(str(database))

        async def has_begun() -> bool:
            return (await store.counts("local"))["messages"] > 0

        await until(has_begun)
        began = time.monotonic()
        assert await server.rest() == ([], 0)
        took = time.monotonic() - began
        read = (await store.counts("local"))["messages"]
        assert await store.check() == []
        await store.close()
    assert read < 15_000
    assert took < 10
    done = await asyncio.to_thread(program, "sync", "--db", str(database))
    assert done.returncode == 0, done.stderr
    store = await open_store(str(database))
    assert (await store.counts("local"))["messages"] == 15_000
    await store.close()


async def test_a_killed_server_leaves_the_lease_to_others(database: Path, own_folders: Path) -> None:
    for n in range(3):
        write(projects(own_folders) / "p" / f"s{n}.jsonl", turns(f"s{n}", 2_500, words="x" * 900))
    async with the_server(database, env=SYNCED) as server:
        store = await open_store(str(database))

        async def has_begun() -> bool:
            return (await store.counts("local"))["messages"] > 0

        await until(has_begun)
        server.process.kill()
        await server.exit_code()
        await store.close()
    done = await asyncio.to_thread(program, "sync", "--db", str(database))
    assert (done.returncode, done.stderr) == (0, "")
    store = await open_store(str(database))
    assert (await store.counts("local"))["messages"] == 15_000
    assert await store.check() == []
    await store.close()


async def test_errors_do_not_end_a_server(database: Path, own_folders: Path) -> None:
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1))
    with path.open("a") as file:
        file.write("{ a secret that is no JSON\n")
    busy = {**SYNCED, "BACKSCROLL_BUSY_TIMEOUT_S": "0.05"}
    async with the_server(database, env=busy) as server:
        await server.ask(request(0, "tools/list", ENVELOPE))
        holder = sqlite3.connect(database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        await server.until_it_says("trying again later")
        arguments = {"name": "search_session_history", "arguments": {"query": "Question"}}
        answer = await server.ask(request(1, "tools/call", {**arguments, **ENVELOPE}))
        assert "still being read" in answer["result"]["content"][0]["text"]
        holder.execute("ROLLBACK")
        holder.close()

        async def finds() -> bool:
            answer = await server.ask(request(1, "tools/call", {**arguments, **ENVELOPE}))
            return "Question 0 of s" in answer["result"]["content"][0]["text"]

        await until(finds)
        assert (await server.rest())[1] == 0
        assert "secret" not in await server.stderr()


# What is behind


async def test_the_foot_of_an_answer_says_what_is_still_behind(url: str, own_folders: Path, tokens: Any) -> None:
    for n in range(2):
        write(projects(own_folders) / "p" / f"s{n}.jsonl", turns(f"s{n}", 3_000, words="x" * 900))
    async with keeping_up(url, own_folders) as memory:
        await memory.record_run([{"role": "user", "content": "wombat " * 50}], session_id="mine")
        # More than can be read while somebody waits: nobody does.
        for page in (
            await memory.search_session_history("wombat"),
            await memory.list_sessions(),
            await memory.get_chat_history("mine"),
            await memory.get_tool_call_history(),
            await memory.get_session_context("mine"),
        ):
            text = backscroll.render.page_text(page)
            assert text.splitlines()[-1].startswith("2 transcripts are still being read (")
            assert text.endswith("MB behind): ask again in a moment.")
            assert page.behind is not None and page.behind.transcripts == 2
        found = await memory.search_session_history("wombat", format="json")
        size = sum(path.stat().st_size for path in (projects(own_folders) / "p").iterdir())
        assert backscroll.render.page_json(found)["behind"] == {"transcripts": 2, "bytes": size}


@pytest.mark.parametrize("form", ["text", "json"])
async def test_the_foot_counts_against_the_budget(url: str, own_folders: Path, form: Any) -> None:
    for n in range(2):
        write(projects(own_folders) / "p" / f"s{n}.jsonl", turns(f"s{n}", 3_000, words="x" * 900))
    async with keeping_up(url, own_folders) as memory:
        for n in range(30):
            await memory.record_run([{"role": "user", "content": f"wombat {n} " * 60}], session_id=f"mine{n}")
        for size in (MIN_TOKENS, 230, 300, 500, 1_000):
            for page in (
                await memory.search_session_history("wombat", max_tokens=size, format=form),
                await memory.list_sessions(max_tokens=size, format=form),
                await memory.get_chat_history("mine1", max_tokens=size, format=form),
                await memory.get_session_context("mine1", max_tokens=size, format=form),
            ):
                told = backscroll.render.page_text(page)
                if form == "json":
                    told = backscroll.render.compact(backscroll.render.page_json(page))
                assert tokens_in(told) <= size
                assert page.behind is not None


def test_a_command_says_what_is_behind_and_how_to_read_it(database: Path, own_folders: Path) -> None:
    write(projects(own_folders) / "p" / "s.jsonl", turns("s", 3_000, words="x" * 900))
    at_prompt(database, "migrate")
    asyncio.run(_made(database))
    told = program("list", "--db", str(database), env=SYNCED)
    assert "1 transcript is still being read (" in told.stderr
    assert "backscroll sync reads them now" in told.stderr
    as_json = program("list", "--json", "--db", str(database), env=SYNCED)
    assert '"behind": {' in as_json.stdout and '"transcripts": 1' in as_json.stdout


async def _made(database: Path) -> None:
    await (await open_store(str(database))).close()


# In this process


@WATCHES
async def test_every_change_of_a_file_is_met(url: str, own_folders: Path, watch: Callable[[], Watching]) -> None:
    folder = projects(own_folders) / "p"
    path = write(folder / "s.jsonl", turns("s", 2))
    async with keeping_up(url, own_folders, watch=watch) as memory:
        assert await found(memory, "Question 1")
        add(path, a_line("s", 50, "user", "a quokka"))
        assert await found(memory, "quokka")
        moved = projects(own_folders) / "archived" / "s.jsonl"
        moved.parent.mkdir()
        path.rename(moved)
        assert await memory.catch_up() is None
        add(moved, a_line("s", 51, "user", "a wombat"))
        assert await found(memory, "wombat")
        write(moved, turns("t", 1, words="bandicoot"))
        assert await found(memory, "bandicoot")
        folder.rename(folder.with_name("q"))
        write(folder.with_name("q") / "u.jsonl", turns("u", 1, words="numbat"))
        assert await found(memory, "numbat")
        deep = folder.with_name("q") / "u" / "subagents" / "agent-x.jsonl"
        write(deep, [{**line, "isSidechain": True, "agentId": "x"} for line in turns("u", 1, words="bilby")])
        assert await found(memory, "bilby")
        shutil.rmtree(projects(own_folders))
        assert await memory.catch_up() is None
        write(folder / "v.jsonl", turns("v", 1, words="potoroo"))
        assert await found(memory, "potoroo")
        assert await memory.store.check() == []


async def test_a_new_folder_of_a_host_that_keeps_one_in_each_workspace_is_met(url: str, own_folders: Path) -> None:
    spaces = own_folders / ".config" / "Code" / "User" / "workspaceStorage"
    sample = next(iter((Path(__file__).parents[2] / "shared" / "samples" / "synthetic").glob("copilot*")), None)
    if sample is None:
        pytest.skip("the shared samples are not there")
    transcripts = "GitHub.copilot-chat/transcripts"
    (spaces / "one" / transcripts).mkdir(parents=True)
    async with keeping_up(url, own_folders) as memory:
        assert (await memory.list_sessions()).total == 0
        (spaces / "two" / transcripts).mkdir(parents=True)
        shutil.copy(sample, spaces / "two" / transcripts / "a.jsonl")
        assert (await memory.list_sessions()).total == 1


async def test_more_changes_than_the_kernel_keeps_are_met_by_looking_at_all(url: str, own_folders: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1))
    busy = projects(own_folders) / "p" / "noise"
    async with keeping_up(url, own_folders) as memory:
        assert await found(memory, "Question 0")
        for _ in range(limit // 2 + 10):
            busy.touch()
            busy.unlink()
        add(path, a_line("s", 50, "user", "a quokka"))
        assert await found(memory, "quokka")


async def test_another_process_that_reads_is_waited_for_but_not_long(url: str, own_folders: Path) -> None:
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1))
    async with keeping_up(url, own_folders) as memory:
        assert await found(memory, "Question 0")
        theirs = memory.store.ledger.lease("ada", SEARCH)
        assert await theirs.take()
        add(path, a_line("s", 50, "user", "a quokka"))
        began = time.monotonic()
        behind = await memory.catch_up()
        took = time.monotonic() - began
        assert behind == Behind(transcripts=1, bytes=path.stat().st_size - before_of(path))
        assert MAX_WAIT_S <= took < MAX_WAIT_S * 3
        # It reads the file itself as soon as the other leaves off.
        await theirs.release()
        assert await memory.catch_up() is None
        assert await found(memory, "quokka")


def before_of(path: Path) -> int:
    """How long the file was before its last line."""
    return path.read_bytes().rstrip(b"\n").rfind(b"\n") + 1


async def test_what_another_process_has_read_is_not_read_again(url: str, own_folders: Path) -> None:
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1))
    async with keeping_up(url, own_folders) as one, keeping_up(url, own_folders) as other:
        assert await found(one, "Question 0") and await found(other, "Question 0")
        add(path, a_line("s", 50, "user", "a quokka"))
        assert set(await asyncio.gather(found(one, "quokka"), found(other, "quokka"))) == {1}
        assert (await one.get_session("s")).messages == 3
        # Nothing is left to be read, for either.
        version = await one.store.data_version("ada")
        assert await other.catch_up() is None
        assert await one.store.data_version("ada") == version


async def test_in_a_pause_nothing_is_read_and_nothing_counts_as_behind(url: str, own_folders: Path) -> None:
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1))
    async with keeping_up(url, own_folders, background=True) as memory:
        assert await found(memory, "Question 0")
        await memory.pause()
        add(path, {**a_line("s", 50, "user", "a quokka"), "timestamp": now()})
        for _ in range(3):
            page = await memory.search_session_history("quokka")
            assert (page.hits, page.behind) == ((), None)
        await memory.resume()
        add(path, {**a_line("s", 51, "user", "a wombat"), "timestamp": now()})
        await until(lambda: found(memory, "wombat"))
        assert not await found(memory, "quokka")


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def test_other_users_are_not_kept_up_with(url: str, own_folders: Path) -> None:
    write(projects(own_folders) / "p" / "s.jsonl", turns("s", 1))
    async with keeping_up(url, own_folders) as memory:
        bob = memory._app.memory("bob")
        assert (await bob.list_sessions()).total == 0
        assert (await memory.list_sessions()).total == 1


async def test_a_file_that_vanishes_before_it_is_read_is_no_lag(url: str, own_folders: Path) -> None:
    path = write(projects(own_folders) / "p" / "s.jsonl", turns("s", 3_000, words="x" * 900))
    async with keeping_up(url, own_folders) as memory:
        assert await memory.catch_up() is not None
        path.unlink()
        assert await memory.catch_up() is None


async def test_a_growing_file_ends_as_one_reading_of_it(url: str, own_folders: Path, tmp_path: Path) -> None:
    """Searches, and the background, read it while it is written."""
    path = projects(own_folders) / "p" / "s.jsonl"
    lines = turns("s", 60)
    async with keeping_up(url, own_folders, background=True) as memory:
        write(path, lines[:1])
        for line in lines[1:]:
            add(path, line)
            if line["type"] == "user":
                await memory.catch_up()
        await until(lambda: _none(memory))
        rows = await everything(memory)
        assert await memory.store.check() == []
    async with backscroll.open(f"sqlite:///{tmp_path}/other.db", user_id="ada") as other:
        await sync(other, ("claude-code",), {}, own_folders)
        assert await everything(other) == rows


async def _none(memory: backscroll.Memory) -> bool:
    return await memory.catch_up() is None


@WATCHES
async def test_what_stands_only_in_the_log_of_a_hosts_database_is_found(
    url: str, own_folders: Path, watch: Callable[[], Watching]
) -> None:
    host = OpenCode(own_folders / ".local" / "share" / "opencode" / "opencode.db")
    host.session()
    host.prompt("msg_1", T0, "Where is the shed?")
    host.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    try:
        async with keeping_up(url, own_folders, watch=watch) as memory:
            assert await found(memory, "shed")
            before = host.path.stat()
            for n, word in enumerate(("quokka", "wombat", "bandicoot"), 2):
                host.prompt(f"msg_{n}", T0 + n * 60_000, f"And the {word}?")
                assert await found(memory, word)
            after = host.path.stat()
            assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
            # The log finds its way into the file, and goes.
            host.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert await memory.catch_up() is None
            host.prompt("msg_9", T0 + 3_600_000, "A numbat, after that?")
            assert await found(memory, "numbat")
    finally:
        host.close()


async def test_a_host_whose_place_is_a_file_is_met_when_it_comes(url: str, own_folders: Path) -> None:
    async with keeping_up(url, own_folders) as memory:
        assert (await memory.list_sessions()).total == 0
        host = OpenCode(own_folders / ".local" / "share" / "opencode" / "opencode.db")
        host.session()
        host.prompt("msg_1", T0, "Where is the shed?")
        try:
            assert await found(memory, "shed")
        finally:
            host.close()


async def test_a_long_file_is_read_slice_by_slice_to_its_end(
    url: str, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little time a slice has: where a run or a batch takes longer, it is read all the same."""
    monkeypatch.setattr("backscroll.syncing.live.SLICE_S", 0.0)
    write(projects(own_folders) / "p" / "s.jsonl", turns("s", 700, words="x" * 900))
    answers = (a_line("long", n, "assistant", "y" * 9_000) for n in range(1, 700))
    write(projects(own_folders) / "p" / "long.jsonl", [a_line("long", 0, "user", "Go on"), *answers])
    async with keeping_up(url, own_folders, background=True) as memory:
        await until(lambda: _none(memory))
        assert (await memory.get_session("s")).messages == 1_400
        assert (await memory.get_session("long")).messages == 700


async def test_a_command_that_comes_again_gets_to_the_end(database: Path, own_folders: Path) -> None:
    """What it began to read when its time was up, it reads to the end."""
    write(projects(own_folders) / "p" / "s.jsonl", turns("s", 700, words="x" * 900))
    await _made(database)
    for _ in range(3):
        told = await asyncio.to_thread(program, "list", "--db", str(database), env=SYNCED)
    assert "still being read" not in told.stderr
    assert "Question 0 of s" in told.stdout
