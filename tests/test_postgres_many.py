"""What a server does on its own among many users: nobody is kept from it by another, and idle it costs nothing."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from backscroll import Backscroll
from backscroll.config import Settings
from backscroll.retaining import retaining
from backscroll.store.postgres.database import user_key
from backscroll.store.postgres.frequencies import Frequencies
from builders import a_turn

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

DAY_MS = 86_400_000
OLD = (datetime.now(UTC) - timedelta(days=31)).isoformat()


async def test_a_user_who_is_held_keeps_nobody_from_retention(postgres_url: str) -> None:
    settings = Settings(retention_days=30, semantic="off", busy_timeout_s=0.2)
    async with Backscroll(postgres_url, settings) as app:
        for user in ("ada", "bob", "cleo"):
            await app.memory(user).record_run([{**one, "created_at": OLD} for one in a_turn()], session_id="old")
        cleo_is_done = asyncio.Event()
        app.on_change(lambda user, _: cleo_is_done.set() if user == "cleo" else None)
        with psycopg.connect(postgres_url) as held:
            held.execute("SELECT 1 FROM users WHERE user_key = %s FOR UPDATE", (user_key("ada"),))
            # One look, and no other within this test.
            async with asyncio.timeout(20), retaining(app, None, quiet_seconds=0, look_seconds=600):
                await cleo_is_done.wait()
        left = [len((await app.memory(user).list_sessions()).sessions) for user in ("ada", "bob", "cleo")]
    assert left == [1, 0, 0]


async def test_retention_that_is_not_due_writes_nothing(postgres_url: str) -> None:
    async with Backscroll(postgres_url, Settings(retention_days=30, semantic="off")) as app:
        memory = app.memory("ada")
        await memory.record_run(a_turn(), session_id="new")
        assert await memory.apply_retention() is not None
        before = await app.store.data_version("ada")
        assert await memory.apply_retention() is None
        assert await app.store.data_version("ada") == before


def test_counts_are_remembered_of_those_only_of_whom_there_are_any() -> None:
    frequencies = Frequencies()
    ada, others = user_key("ada"), [user_key(f"user {n}") for n in range(1_000)]
    frequencies.note(ada, 10_000, {'"often"': 900})
    for other in others:
        frequencies.note(other, 10, {})
    assert frequencies.users == 1
    assert frequencies.of(ada, '"often"') == 900
    frequencies.note(ada, 11_001, {})
    assert frequencies.of(ada, '"often"') is None


async def test_messages_that_want_vectors_are_looked_for_with_the_user_who_has_news(postgres_url: str) -> None:
    async with Backscroll(postgres_url, Settings(semantic="off")) as app:
        vectors = app.store.vectors
        await vectors.claim("model")
        for name in ("ada", "bob"):
            await app.memory(name).record_run(a_turn(), session_id="s")
        read = await vectors.unembedded(limit=10, max_chars=100, of=["bob", "nobody"])
        assert read is not None
        assert read.user_id == "bob"
        assert await vectors.save(read, [])
        assert await vectors.unembedded(limit=10, max_chars=100, of=["bob"]) is None
        left = await vectors.unembedded(limit=10, max_chars=100)
        assert left is not None
        assert left.user_id == "ada"
