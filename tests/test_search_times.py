"""Questions that name a time, and those that ask for nothing else; and what is found beside words."""

from typing import Any

import pytest

from backscroll import Memory
from backscroll.answers import SearchPage
from backscroll.render import page_text
from builders import assistant, result, user


async def said(memory: Memory, session: str, day: str, *lines: str, **run: Any) -> None:
    told = [user(line, created_at=f"{day}T10:00:0{n}+00:00") for n, line in enumerate(lines)]
    await memory.record_run(told, session_id=session, **run)


@pytest.fixture
async def november(memory: Memory) -> Memory:
    await said(memory, "one", "2025-11-03", "Pinned numpy for the wheel.")
    await said(memory, "two", "2025-11-10", "The cache is warm.")
    await said(memory, "two", "2025-11-14", "The cache is cold again.")
    await said(memory, "three", "2025-11-20", "Version 0.7.10 is out, cut from 2025.")
    return memory


def sessions(page: SearchPage) -> list[str]:
    return [line.session_id for line in page.sessions or ()]


@pytest.mark.parametrize(
    "query",
    [
        "what did we do on November 12, 2025?",
        "what did we work on on 2025-11-12?",
        "what happened on 12 November 2025",
        "2025-11-12",
        "what did we talk about on 11/12/2025?",
    ],
)
async def test_a_question_for_a_day_is_answered_by_the_sessions_that_were_going_on(
    november: Memory, query: str
) -> None:
    page = await november.search_session_history(query)
    assert sessions(page) == ["two"]
    assert "2025-11-12" in page_text(page)


async def test_words_that_are_nowhere_give_way_to_the_time_that_is_named(november: Memory) -> None:
    page = await november.search_session_history("what about zebras on November 3, 2025?")
    assert sessions(page) == ["one"]
    assert page.note is not None
    assert "zebras" in page.note


async def test_words_that_are_there_are_found_and_the_figures_of_the_date_are_not_searched(november: Memory) -> None:
    page = await november.search_session_history("what about the cache on November 10, 2025?")
    assert [hit.ref for hit in page.hits or ()] == ["#2.1", "#2.2"]


async def test_who_speaks_is_found_by_name(memory: Memory) -> None:
    await memory.record_run(
        [user("Clay everywhere.", name="Melanie"), user("A kettle.", name="Ada"), assistant("Glaze it.")],
        session_id="s",
    )
    page = await memory.search_session_history("Melanie")
    assert [hit.ref for hit in page.hits or ()] == ["#1.1"]
    # A name that is told later, by the same run read again, is found as well, and the index stays sound.
    assert await memory.store.check() == []


async def test_a_failure_that_is_told_as_a_status_is_one(memory: Memory) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
    await memory.record_run([user("go"), assistant("", call), result("c", "boom", status="error")], session_id="s")
    page = await memory.get_tool_call_history(status="error")
    assert page.total == 1


async def test_what_no_filter_lets_in_is_not_told_as_never_said(memory: Memory) -> None:
    await said(memory, "one", "2025-11-03", "kettle")
    page = await memory.search_session_history("kettle", role="assistant")
    assert page.note is not None
    assert "within these filters" in page.note


async def test_the_answer_beside_a_line_of_an_earlier_page_is_given(memory: Memory) -> None:
    await memory.record_run(
        [user("Where did you put the copper kettle?"), assistant("On the top shelf by the window.")], session_id="s"
    )
    for n in range(3):
        await said(memory, f"t{n}", "2025-11-03", f"The kettle of {n} is old.")
    refs: list[str] = []
    page = await memory.search_session_history("where is the copper kettle?", limit=1)
    while True:
        refs += [hit.ref for hit in page.hits or ()]
        if page.next_cursor is None:
            break
        page = await memory.search_session_history(cursor=page.next_cursor)
    assert "#1.2" in refs
    assert len(refs) == len(set(refs))


async def test_the_page_says_that_more_hold_only_common_words(memory: Memory) -> None:
    await memory.record_run([user(f"kettle {n}") for n in range(2_600)], session_id="s")
    await memory.record_run([user("a zebra")], session_id="t")
    page = await memory.search_session_history("kettle zebra")
    assert page.total_at_least is not None
    assert "more messages hold only common words" in page_text(page)


@pytest.mark.parametrize("query", ["monday", "Monday"])
async def test_a_bare_day_is_a_word_like_any_other(memory: Memory, query: str) -> None:
    await said(memory, "one", "2025-11-03", "KeyError 'monday'")
    page = await memory.search_session_history(query)
    assert [hit.ref for hit in page.hits or ()] == ["#1.1"]
