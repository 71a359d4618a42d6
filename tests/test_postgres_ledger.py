"""The ledger of imports on Postgres: each machine's files are its own; the lease is this machine's alone."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backscroll.errors import StoreUnusable
from backscroll.store import ImportState, Store
from backscroll.store.facts import Heard
from backscroll.store.opening import open_store
from cli_doors import environment

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


def a_state(path: str, **more: object) -> ImportState:
    values: dict[str, object] = {
        "host": "codex", "file_id": f"1:{path}", "size_bytes": 10, "modified_ns": 2**60, "offset": 10, "kept": 3,
        "skipped": {"noise": 1}, "failed": ((4, "not JSON"),), "settled": {"kept": 3},
    }  # fmt: skip
    return ImportState(path, **(values | more))  # type: ignore[arg-type]


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    opened = await open_store(postgres_url)
    yield opened
    await opened.close()


async def test_what_is_noted_of_files_comes_back(store: Store) -> None:
    ledger = store.ledger
    await ledger.save("ada", [a_state("/b"), a_state("/a"), a_state("/Z")])
    await ledger.save("ada", [a_state("/b", offset=7, kept=2)])
    assert await ledger.state("ada", "/b") == a_state("/b", offset=7, kept=2)
    assert [state.path for state in await ledger.states("ada")] == ["/Z", "/a", "/b"]
    assert {mark.path for mark in await ledger.marks("ada", ["/a", "/b", "/none"])} == {"/a", "/b"}
    assert await ledger.twin("ada", "1:/a") == a_state("/a")
    await ledger.move("ada", "/a", "/c", keep=True)
    await ledger.move("ada", "/Z", "/b", keep=False)
    await ledger.forget("ada", ["/c", "/never"])
    assert [(state.path, state.file_id) for state in await ledger.states("ada")] == [("/a", "1:/a"), ("/b", "1:/Z")]
    assert await ledger.states("bob") == []


async def test_two_machines_remember_files_of_one_name_apart(
    store: Store, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.ledger.save("ada", [a_state("/home/ada/talk.jsonl")])
    await store.ledger.note_sync("ada", None)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
    elsewhere = await open_store(postgres_url)
    try:
        assert await elsewhere.ledger.states("ada") == []
        assert await elsewhere.ledger.last_sync("ada") is None
        await elsewhere.ledger.save("ada", [a_state("/home/ada/talk.jsonl", offset=99)])
        await elsewhere.ledger.forget("ada", ["/home/ada/talk.jsonl"])
    finally:
        await elsewhere.close()
    assert await store.ledger.state("ada", "/home/ada/talk.jsonl") == a_state("/home/ada/talk.jsonl")


async def test_a_killed_process_frees_the_lease_at_once(store: Store, postgres_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from backscroll.store.opening import open_store\n"
        "async def main():\n"
        "    store = await open_store(sys.argv[1])\n"
        "    lease = store.ledger.lease('ada', 'sync')\n"
        "    print(await lease.take(), flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, postgres_url, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await asyncio.wait_for(holder.stdout.readline(), 60) == b"True\n"
    mine = store.ledger.lease("ada", "sync")
    assert not await mine.take()
    assert await store.ledger.lease("bob", "sync").take()
    holder.send_signal(signal.SIGKILL)
    await holder.wait()
    assert await mine.take()
    await mine.release()


async def test_a_folder_that_cannot_be_made_is_named(store: Store, own_folders: Path) -> None:
    (own_folders / ".local").write_text("in the way")
    for asked in (store.ledger.save("ada", [a_state("/a")]), store.ledger.states("ada")):
        with pytest.raises(StoreUnusable, match=r"\.local.* cannot be used"):
            await asked
    with pytest.raises(StoreUnusable, match=r"\.local.* cannot be used"):
        store.ledger.lease("ada", "sync")


async def test_a_server_that_reads_no_files_leaves_none_here_and_one_that_does_names_its_machine(
    store: Store, own_folders: Path
) -> None:
    await store.counts("ada")
    assert list(own_folders.iterdir()) == []
    await store.ledger.marks("ada", [])
    assert [path.name for path in (own_folders / ".local/share/backscroll").iterdir()] == ["machine"]


async def test_a_transcript_that_another_machine_read_is_unread_here_and_told_once(
    store: Store, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told_at = "/home/ada/talk.jsonl", datetime(2026, 1, 2, tzinfo=UTC)
    await store.facts.save("ada", [Heard("codex", "stop", told_at, transcripts=(path,))])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
    elsewhere = await open_store(postgres_url)
    try:
        await elsewhere.ledger.save("ada", [a_state(path)])
        assert await elsewhere.facts.unread_transcripts("ada") == []
        assert await store.facts.unread_transcripts("ada") == [path]
        await store.ledger.save("ada", [a_state(path)])
        assert await store.facts.unread_transcripts("ada") == []
        later = datetime(2099, 1, 1, tzinfo=UTC)
        await store.facts.save("ada", [Heard("codex", "stop", later, transcripts=(path,))])
        assert await store.facts.unread_transcripts("ada") == [path]
    finally:
        await elsewhere.close()
