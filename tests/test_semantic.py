"""Search by meaning: what gets a vector, who finds it, and how things are without it."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from backscroll import Backscroll, Memory
from backscroll.config import Settings
from backscroll.errors import EmbeddingError
from backscroll.semantic import filling
from backscroll.tokens import TokenCounter
from builders import assistant, call, result, user
from semantic_doors import ON, TALK, all_vectors, nearest, semantic_of, stored


@pytest.fixture
async def app(url: str, tokens: TokenCounter) -> AsyncIterator[Backscroll]:
    async with Backscroll(url, ON) as opened:
        yield opened


@pytest.fixture
def memory(app: Backscroll) -> Memory:
    return app.memory("ada")


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
    with closing(sqlite3.connect(database)) as db:
        keys = {name: key for key, name in db.execute("SELECT session_key, session_id FROM sessions")}
    within = [keys["other"]]
    assert await nearest(app, database, "repair of a car", limit=1, sessions=within) == ["A bicycle was mended."]
    assert await nearest(app, database, "repair of a car", sessions=[]) == []
    both = await nearest(app, database, "repair of a car", limit=40, sessions=list(keys.values()))
    assert len(both) == 32


async def test_scores_are_the_cosines_of_the_nearest(app: Backscroll, memory: Memory) -> None:
    await memory.record_run(TALK)
    semantic = semantic_of(app)
    await semantic.catch_up()
    vector = await semantic.question("a vehicle and its engine")
    assert vector is not None
    near = await semantic.nearest("ada", vector, limit=10)
    assert await semantic.scores("ada", vector, [one.message_key for one in near] + [999]) == dict(near)
    (exact,) = (await semantic.embedder()).embed([TALK[0]["content"]]) @ vector
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
    url: str, database: Path, tokens: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "START_AFTER_S", 0.0)
    async with Backscroll(url, ON) as app:
        memory = app.memory("ada")
        for n in range(3):
            await memory.record_run([user(f"Question {n}.")])
            with anyio.fail_after(20):
                while len(stored(database)) <= n:
                    await asyncio.sleep(0.01)


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
