"""Whatever a query is, it is answered: without an error, with bounded work, and from the user's own messages only."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backscroll import Backscroll, Memory
from backscroll.ranking import read
from backscroll.ranking.question import MAX_TERMS
from backscroll.recall.reading import MAX_QUERY_CHARS
from backscroll.store import Search
from backscroll.tokens import TokenCounter
from builders import assistant, call, result, user
from hunting import examples

NOW = datetime(2026, 3, 4, tzinfo=UTC)

KEYWORDS = (
    "AND", "OR", "NOT", "NEAR", "NEAR(", "^", "*", ":", "-", "+", "{", "}", "(", ")", '"', '""', "'", "\\", ";", "--",
    "text", "forms", "scope", "rank", "{text forms} :", "scope :", "search_index", "xu1", "xu2", "xs1", "xruser",
    "fox", "fo*", "getURLFor", "v2.3.1", "a1b2c3d4", "数据库", "ดู", "Straße", "last Tuesday", "in March 2023",
    "don't", "Ada's", "?", "???", "_", "___", "%", "\0", "\ud800", "\udfff", "e\u0301", "\u0301", "\u200d",
    "👩\u200d👧", "\u202e", "\ufeff", "\x1b[31m", "\u2028", "\U0001e100", "ﬁ", "İ", "ß", "²", "1/2/2023",
    "99999999999999999999",
)  # fmt: skip

ANYTHING = st.characters(codec=None, exclude_categories=())

QUERIES = (
    st.text(ANYTHING, max_size=80)
    | st.lists(st.sampled_from(KEYWORDS) | st.text(ANYTHING, max_size=6), max_size=24).map(" ".join)
    | st.lists(st.sampled_from(KEYWORDS), max_size=24).map("".join)
)


@pytest.fixture
def kept_app(url: str, loop: asyncio.Runner, tokens: TokenCounter) -> Iterator[Backscroll]:
    """An app on `loop`, open for all examples of a property test."""
    stack = AsyncExitStack()
    yield loop.run(stack.enter_async_context(Backscroll(url)))
    loop.run(stack.aclose())


async def furnish(memory: Memory, word: str) -> None:
    await memory.record_run(
        [
            user(f"where is the {word} fox, and NOT the dog?", name=word),
            assistant("in the forest", call("c", "find", f'{{"{word}":"数据库 getURLFor v2.3.1"}}')),
            result("c", f"text forms scope rank {word} a1b2c3d4e5f6"),
            assistant(f"Ada’s {word} said: ต้องลองดู in der Straße"),
        ],
        session_id="s",
    )


searches = settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])


@searches
@given(QUERIES, st.sampled_from(["text", "json"]))
@example('"', "text")
@example('"" "', "text")
@example("\0", "text")
@example("\ud83d\ude00 \ud800", "json")
@example("NEAR(" * 300, "text")
@example("数a" * 1_000, "text")
@example('"' + "数a " * 600 + '"', "text")
@example("(" * MAX_QUERY_CHARS, "json")
@example("a/" * 1_000, "text")
@example("aB" * 1_000, "text")
@example(" ".join(f'"{n}"' for n in range(300)), "text")
@example("x\u0301" * 1_000, "text")
def test_any_query_is_answered(kept_app: Backscroll, loop: asyncio.Runner, query: str, form: Any) -> None:
    ada, bob = kept_app.memory("ada"), kept_app.memory("bob")
    if loop.run(kept_app.store.counts("ada"))["messages"] == 0:
        loop.run(furnish(ada, "adaword"))
        loop.run(furnish(bob, "bobword"))
    page = loop.run(ada.search_session_history(query[:MAX_QUERY_CHARS], format=form, max_tokens=1_000))
    shown = page.model_dump_json()
    if "bobword" not in query:
        assert "bobword" not in shown
    assert not {"bob", "s2"} & {hit.session_id for hit in page.hits or ()}
    assert {hit.ref for hit in page.hits or ()} <= {f"#1.{seq}" for seq in range(1, 5)}


TEXTS = st.text("abcd e", min_size=1, max_size=24).filter(lambda text: not text.isspace())


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(TEXTS, min_size=1, max_size=4), TEXTS)
def test_what_others_say_changes_neither_what_is_found_nor_what_is_told(
    kept_app: Backscroll, loop: asyncio.Runner, own: list[str], others: list[str], query: str
) -> None:
    """Compared with the same search before the others said anything."""

    async def answer(memory: Memory) -> tuple[Any, ...]:
        page = await memory.search_session_history(query, limit=50, max_tokens=20_000)
        return sorted((hit.seq, hit.snippet) for hit in page.hits or ()), page.total, page.note

    async def compared() -> tuple[tuple[Any, ...], ...]:
        ada, bob = kept_app.memory("ada"), kept_app.memory("bob")
        for memory in (ada, bob):
            for number in await kept_app.store.session_numbers(memory.user_id):
                await memory.delete_session(f"#{number}")
        await ada.record_run([user(text) for text in own])
        before = await answer(ada)
        await bob.record_run([user(text) for text in others])
        return before, await answer(ada)

    before, after = loop.run(compared())
    assert before == after


async def test_a_near_miss_never_tells_what_only_another_user_said(app: Backscroll) -> None:
    ada, bob = app.memory("ada"), app.memory("bob")
    await ada.record_run([user("the secretword is Datenbankverbindung")], session_id="s")
    await bob.record_run([user("nothing of the kind, but a notebok")], session_id="s")
    for query, note in (
        ("secretwrd", "No message has 'secretwrd'."),
        ("secretword", "No message has 'secretword'."),
        ("secret", "No message has 'secret'."),
        ("Datenbank", "No message has 'Datenbank'."),
        ("get_secretwrd", "No message has 'get_secretwrd'."),
        (
            '"the secretword"',
            "No message has \"the secretword\" together; searched for the words. No message has 'secretword'.",
        ),
    ):
        page = await bob.search_session_history(query)
        assert page.note == note
    # Nor does a word of theirs keep one's own near miss from being found.
    await ada.record_run([user("my notebook")] * 30, session_id="t")
    page = await bob.search_session_history("notebook")
    assert [hit.ref for hit in page.hits or ()] == ["#1.1"]
    assert page.note == "No message has 'notebook'; searched for 'notebok'."


# Bounded work


class Counting(sqlite3.Connection):
    statements = 0

    def execute(self, *args: Any) -> sqlite3.Cursor:
        Counting.statements += 1
        return super().execute(*args)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every connection that is opened within counts its statements."""
    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **{**more, "factory": Counting}))
        yield


LONGEST = 100_000

LONG_QUERIES = {
    "one word": "a" * LONGEST,
    "quotes": '"' * LONGEST,
    "an open quote": '"' + "fox " * (LONGEST // 4),
    "a phrase": '"' + "fox " * (LONGEST // 4) + '"',
    "phrases": '"fox" ' * (LONGEST // 6),
    "other phrases": " ".join(f'"fox {n}"' for n in range(LONGEST // 10)),
    "words": " ".join(f"word{n}" for n in range(LONGEST // 9)),
    "slips": " ".join(f"getUrlFox{n}" * 2 for n in range(LONGEST // 24)),
    "paths": " ".join(f"forest/fox{n}/abcdefghijklmnopq{n}" for n in range(LONGEST // 36)),
    "operators": "NOT ( NEAR * " * (LONGEST // 13),
    "brackets": "(" * LONGEST,
    "unspaced": "数据库" * (LONGEST // 3),
    "mixed scripts": "数a" * (LONGEST // 2),
    "marks": "e" + "\u0301" * LONGEST,
    "humps": "aB" * (LONGEST // 2),
    "versions": "v1" + ".1" * (LONGEST // 2),
    "dates": "last Tuesday " * (LONGEST // 13),
    "figures": "1 " * (LONGEST // 2),
    "possessives": "'s" * (LONGEST // 2),
    "spaces": " " * LONGEST,
    "surrogates and zeros": "\ud800\0" * (LONGEST // 2),
}


@pytest.mark.parametrize("kind", LONG_QUERIES)
async def test_a_text_of_any_length_is_asked_for_in_bounded_work(
    url: str, kind: str, tokens: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what the tool takes: the store and the reading of a question are bounded by themselves."""
    with counted(monkeypatch):
        async with Backscroll(url) as app:
            await furnish(app.memory("ada"), "adaword")
            await furnish(app.memory("bob"), "bobword")
            question = read(LONG_QUERIES[kind], NOW)
            for asked in (question, question.loosened()):
                assert len(asked.terms) <= MAX_TERMS
                before = Counting.statements
                found = await app.store.search("ada", Search(asked.terms, beside=asked.natural))
                # Near spellings of a few words, some thousand edits each, and a handful for each term.
                assert Counting.statements - before < 15_000
                assert {one.turn.key for one in found.candidates} <= {1, 2, 3, 4}


def test_reading_a_question_takes_steps_in_proportion_to_its_length() -> None:
    """Counted in calls of Python functions: a rule that looks at all the words for each word would show."""

    def calls_for(length: int, text: str) -> int:
        made = 0

        def count(*_: Any) -> None:
            nonlocal made
            made += 1

        sys.setprofile(count)
        try:
            read((text * length)[:length], NOW)
        finally:
            sys.setprofile(None)
        return made

    for text in KEYWORDS:
        assert calls_for(4_000, f"{text} ") < 5 * calls_for(1_000, f"{text} ") + 1_000
