"""Search by meaning, as it reaches who asks: what shares no word with the question."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backscroll import Backscroll, Memory, Settings
from builders import a_turn


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    async with Backscroll(str(tmp_path / "meant.db"), Settings(semantic="auto")) as app:
        memory = app.memory("ada")
        await memory.record_run(a_turn("My car broke down on the motorway.", "I am on my way."), session_id="a")
        await memory.record_run(a_turn("We adopted a dog, she is called Bella.", "Lovely!"), session_id="b")
        await memory.record_run(a_turn("Postgres it is, for invoices.", "Noted."), session_id="c")
        assert app.semantic is not None
        await app.semantic.catch_up()
        yield memory


@pytest.mark.parametrize(
    ("query", "ref"),
    [("Which vehicle had trouble?", "#1.1"), ("what pet do they own?", "#2.1"), ("automobile trouble", "#1.1")],
)
async def test_what_shares_no_word_is_found_and_the_answer_says_how(memory: Memory, query: str, ref: str) -> None:
    page = await memory.search_session_history(query)
    assert ref in [hit.ref for hit in page.hits or ()]
    assert page.note is not None
    assert "nearest in meaning" in page.note


async def test_to_bare_words_that_are_there_nothing_else_is_added(memory: Memory) -> None:
    page = await memory.search_session_history("postgres")
    assert [hit.ref for hit in page.hits or ()] == ["#3.1"]
    assert page.note is None


async def test_what_is_like_nothing_said_finds_nothing(memory: Memory) -> None:
    page = await memory.search_session_history("quantum chromodynamics")
    assert page.hits == ()


async def test_filters_hold_for_what_is_found_by_meaning(memory: Memory) -> None:
    page = await memory.search_session_history("Which vehicle had trouble?", session_id="b")
    assert "#1.1" not in [hit.ref for hit in page.hits or ()]
    page = await memory.search_session_history("Which vehicle had trouble?", role="assistant")
    assert all(hit.role == "assistant" for hit in page.hits or ())
