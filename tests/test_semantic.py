"""Search by meaning: what gets a vector, who finds it, and how things are without it."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from backscroll import Backscroll, Memory
from backscroll.config import Settings
from backscroll.errors import EmbeddingError, StoreUnusable
from backscroll.semantic import Embedder, Semantic
from backscroll.semantic.filling import Filling
from backscroll.store import VectorStore
from backscroll.store.vectors import Signs
from backscroll.tokens import TokenCounter
from builders import assistant, call, result, user
from semantic_doors import ON, TALK, all_vectors, app_with_vectors, nearest, semantic_of, session_keys, stored

app = app_with_vectors


# Finding


async def test_a_question_finds_what_shares_no_word_with_it(app: Backscroll, memory: Memory, database: Path) -> None:
    await memory.record_run(TALK)
    await semantic_of(app).catch_up()
    for question, said in (
        ("Who fixed her vehicle?", TALK[0]),
        ("What meal did they eat?", TALK[1]),
        ("a bug in billing software", TALK[2]),
        ("music lessons of a child", TALK[3]),
    ):
        assert (await nearest(app, database, question))[0] == said["content"]


async def test_words_that_tell_more_weigh_more(app: Backscroll, memory: Memory) -> None:
    await memory.record_run(TALK)
    semantic = semantic_of(app)
    await semantic.catch_up()

    async def first(**weights: float) -> int:
        vector = await semantic.question("the car and the violin", list(weights.items()))
        assert vector is not None
        return (await semantic.nearest("ada", vector, limit=1))[0].message_key

    assert await first(car=5, violin=0.5) == 1
    assert await first(car=0.5, violin=5) == 4


async def test_nobody_finds_the_messages_of_another_user(app: Backscroll, memory: Memory, database: Path) -> None:
    await memory.record_run([user("The mechanic repaired my car.")])
    await app.memory("bob").record_run([user("The mechanic repaired bob's car.")])
    semantic = semantic_of(app)
    await semantic.catch_up()
    assert await nearest(app, database, "car repair") == ["The mechanic repaired my car."]
    assert await nearest(app, database, "car repair", user_id="bob") == ["The mechanic repaired bob's car."]
    assert await nearest(app, database, "car repair", user_id="nobody") == []
    vector = await semantic.question("car repair")
    assert vector is not None
    assert set(await semantic.scores("ada", vector, [1, 2])) == {1}
    assert set(await semantic.scores("bob", vector, [1, 2])) == {2}


async def test_sessions_narrow_before_the_cut(app: Backscroll, memory: Memory, database: Path) -> None:
    await memory.record_run([user(f"The mechanic repaired car number {n}.") for n in range(30)], session_id="cars")
    await memory.record_run([user("Pasta for dinner."), user("A bicycle was mended.")], session_id="other")
    await semantic_of(app).catch_up()
    keys = session_keys(database)
    within = [keys["other"]]
    assert await nearest(app, database, "repair of a car", limit=1, sessions=within) == ["A bicycle was mended."]
    assert await nearest(app, database, "repair of a car", sessions=[]) == []
    both = await nearest(app, database, "repair of a car", limit=40, sessions=list(keys.values()))
    assert len(both) == 32


async def test_a_session_far_from_the_question_is_found_among_many_nearer_ones(
    app: Backscroll, memory: Memory, database: Path
) -> None:
    """More than are compared as a whole for one question."""
    await memory.record_run([user(f"The mechanic repaired car number {n}.") for n in range(450)], session_id="cars")
    await memory.record_run([user("Pasta for dinner.")], session_id="food")
    await memory.record_run([user("A violin lesson.")], session_id="music")
    await semantic_of(app).catch_up()
    assert "Pasta for dinner." not in await nearest(app, database, "repair of a car", limit=3)
    keys = session_keys(database)
    within = [keys["food"], keys["music"]]
    assert set(await nearest(app, database, "repair of a car", sessions=within)) == {
        "Pasta for dinner.",
        "A violin lesson.",
    }
    assert await nearest(app, database, "repair of a car", user_id="bob", sessions=within) == []


async def test_scores_are_the_cosines_of_the_nearest(app: Backscroll, memory: Memory) -> None:
    await memory.record_run(TALK)
    semantic = semantic_of(app)
    await semantic.catch_up()
    vector = await semantic.question("a vehicle and its engine")
    assert vector is not None
    near = await semantic.nearest("ada", vector, limit=10)
    assert await semantic.scores("ada", vector, [one.message_key for one in near] + [999]) == dict(near)
    (exact,) = await (await semantic.embedder()).embed([TALK[0]["content"]]) @ vector
    assert near[0].cosine == pytest.approx(exact, abs=0.02)


async def test_a_question_without_any_text_has_no_vector(app: Backscroll) -> None:
    assert await semantic_of(app).question("") is None
    assert await semantic_of(app).question("\ud800 lone") is not None


async def test_what_was_said_and_called_has_a_vector_and_what_tools_answer_has_none(
    app: Backscroll, memory: Memory, database: Path
) -> None:
    await memory.record_run(
        [
            user("Please look."),
            assistant("", call("c1", "bash", '{"command":"ls -l"}')),
            result("c1", "total 0"),
            assistant("", name="silent"),
            assistant("Nothing is there."),
        ]
    )
    await semantic_of(app).catch_up()
    assert set(stored(database)) == {"Please look.", "", "Nothing is there."}


async def test_copies_that_came_as_history_have_none(app: Backscroll, memory: Memory, database: Path) -> None:
    await memory.record_run(
        [user("First question?"), assistant("First answer.")], session_id="s", store_history_messages=True
    )
    again = [user("First question?"), assistant("First answer."), user("Second question?")]
    assert (await memory.record_run(again, session_id="s", store_history_messages=True)).history == 2
    await semantic_of(app).catch_up()
    assert len(all_vectors(database)) == 3


async def test_who_speaks_is_part_of_it(app: Backscroll, memory: Memory, database: Path) -> None:
    await memory.record_run([user("Hello there.", name="Caroline"), user("Hello there.", name="Melanie")])
    semantic = semantic_of(app)
    await semantic.catch_up()
    vector = await semantic.question("Melanie")
    assert vector is not None
    assert (await semantic.nearest("ada", vector, limit=1))[0].message_key == 2


async def test_vectors_are_made_in_the_background_without_being_asked_for(
    url: str, database: Path, tokens: TokenCounter
) -> None:
    async with Backscroll(url, Settings(semantic="off")) as app:
        app.semantic = Semantic(app.store.vectors, ON, start_after_s=0.0)
        app.semantic.start()
        memory = app.memory("ada")
        for n in range(3):
            await memory.record_run([user(f"Question {n}.")])
            with anyio.fail_after(20):
                while len(stored(database)) <= n:
                    await asyncio.sleep(0.01)


class HeldUp:
    """Vectors of a store, whose signs take their time."""

    def __init__(self, vectors: VectorStore) -> None:
        self._vectors = vectors
        self.go_on = asyncio.Event()
        self.begun = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vectors, name)

    async def signs(self, user_id: str, generation: int, *, after: int, limit: int) -> Signs:
        self.begun += after == 0
        await self.go_on.wait()
        return await self._vectors.signs(user_id, generation, after=after, limit=limit)


async def test_a_search_does_not_wait_for_signs_that_take_long_and_a_later_one_has_them(
    app: Backscroll, memory: Memory
) -> None:
    await memory.record_run(TALK)
    await semantic_of(app).catch_up()
    slow = HeldUp(app.store.vectors)
    semantic = Semantic(cast("VectorStore", slow), ON, signs_s=0.01)
    vector = await semantic.question("car repair")
    assert vector is not None
    with anyio.fail_after(20):
        assert await semantic.nearest("ada", vector, limit=1) == []
        assert await semantic.nearest("ada", vector, limit=1) == []
        assert set(await semantic.scores("ada", vector, [1])) == {1}
        slow.go_on.set()
        while not (near := await semantic.nearest("ada", vector, limit=1)):
            await asyncio.sleep(0)
        assert near[0].message_key == 1
        assert slow.begun == 1
        # What is held serves while the news are read.
        slow.go_on.clear()
        await memory.record_run([user("The mechanic repaired my car again.")])
        assert await semantic.nearest("ada", vector, limit=1) == near
        await semantic.close()


# Off, or not there


async def test_one_setting_turns_it_off(url: str, database: Path, tokens: TokenCounter) -> None:
    async with Backscroll(url, Settings(semantic="off")) as app:
        assert app.semantic is None
        memory = app.memory("ada")
        await memory.record_run(TALK)
        assert (await memory.search_session_history("violin")).total == 1
    assert all_vectors(database) == []


HIDING = """
import sys
# As Python itself has it: what is None here cannot be found or imported.
sys.modules.update(dict.fromkeys(["numpy", "tokenizers", "safetensors", "wordllama"]))
"""

SEARCHING = """
import asyncio, sys
import backscroll
async def main():
    async with backscroll.open(sys.argv[1]) as memory:
        await memory.record_run([{"role": "user", "content": "My daughter plays the violin."}])
        print((await memory.search_session_history("violin")).total, memory._app.semantic is not None)
asyncio.run(main())
print(*[name for name in ("numpy", "tokenizers", "safetensors", "wordllama") if sys.modules.get(name)])
"""


@pytest.mark.parametrize(("before", "semantic", "told"), [(HIDING, "auto", "False"), ("", "off", "False")])
def test_without_the_extra_or_turned_off_search_goes_by_words_and_nothing_of_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, semantic: str, told: str
) -> None:
    monkeypatch.setenv("BACKSCROLL_SEMANTIC", semantic)
    done = subprocess.run(
        [sys.executable, "-c", before + SEARCHING, str(tmp_path / "s.db")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == [f"1 {told}", ""]
    assert done.stderr == ""


def test_opening_and_recording_import_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSCROLL_SEMANTIC", "auto")
    script = SEARCHING.replace('print((await memory.search_session_history("violin")).total, ', "print(1, ")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s.db")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["1 True", ""]


BROKEN = {
    "an import that fails": ("safetensors.py", "raise ImportError('libfoo.so.1: cannot open shared object file')"),
    "numpy of another ABI": ("safetensors.py", "raise ValueError('numpy.dtype size changed')"),
    "a numpy that is too old": ("sitecustomize.py", "import numpy; del numpy.bitwise_count"),
    "a file that cannot be read": ("safetensors.py", "open('/nowhere/at/all')"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_package_breaks_no_search_and_is_logged_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("BACKSCROLL_SEMANTIC", "auto")
    name, content = BROKEN[how]
    (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    done = subprocess.run(
        [sys.executable, "-c", SEARCHING, str(tmp_path / "s.db")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split("\n")[0]) == (0, "1 True"), done.stderr
    (logged,) = done.stderr.splitlines()
    assert "search goes by words alone" in logged
    assert "pip install --force-reinstall 'backscroll[semantic]'" in logged


async def test_a_failure_that_stays_the_same_is_logged_once_by_what_fills(
    app: Backscroll, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0
    enough = asyncio.Event()

    async def missing() -> Embedder:
        nonlocal tries
        tries += 1
        if tries == 7:
            enough.set()
        raise EmbeddingError("It is not here." if tries < 4 else "It is broken.")

    filling = Filling(app.store.vectors, missing, start_after_s=0.0, retry_s=0.0)
    filling.start()
    with anyio.fail_after(20):
        await enough.wait()
    await filling.close()
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "It is not here.",
        "It is broken.",
    ]


async def test_closing_that_is_cancelled_closes_the_store_all_the_same(url: str, tokens: TokenCounter) -> None:
    for steps in range(1, 6):
        app = await Backscroll(url, ON).__aenter__()
        await app.memory("ada").record_run(TALK)
        store = app.store
        closing = asyncio.ensure_future(app.__aexit__(None, None, None))
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        with pytest.raises(StoreUnusable, match="not open"):
            await store.data_version("ada")


async def test_a_model_that_cannot_be_had_is_logged_without_what_was_asked(
    url: str, tokens: TokenCounter, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Settings(semantic_base_url="http://127.0.0.1:9/v1", semantic_model="some-model")
    async with Backscroll(url, nowhere) as app:
        memory = app.memory("ada")
        await memory.record_run(TALK)
        with caplog.at_level(logging.WARNING):
            assert await semantic_of(app).question("a secret question") is None
        assert "127.0.0.1:9" in caplog.text
        assert "secret" not in caplog.text
        assert (await memory.search_session_history("violin")).total == 1
        with pytest.raises(EmbeddingError, match="cannot be reached"):
            await semantic_of(app).catch_up()
