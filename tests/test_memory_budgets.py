"""Every answer keeps its budget, counted exactly as it is returned, whatever is in the store."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backscroll import Memory
from backscroll.answers import Page
from backscroll.errors import InvalidArgument
from backscroll.render import compact, page_json, page_text
from backscroll.tokens import TokenCounter, counter
from builders import a_turn, assistant, call, picture, result, user
from hunting import examples

Read = Callable[[Memory, str, dict[str, Any]], Awaitable[Page]]

READS: dict[str, Read] = {
    "search": lambda memory, session, how: memory.search_session_history("word", **how),
    "search_here": lambda memory, session, how: memory.search_session_history("word other", session_id=session, **how),
    "previews": lambda memory, session, how: memory.search_session_history(**how),
    "sessions": lambda memory, session, how: memory.list_sessions(**how),
    "chat": lambda memory, session, how: memory.get_chat_history(session, **how),
    "all_of_chat": lambda memory, session, how: memory.get_chat_history(session, unique=False, **how),
    "around": lambda memory, session, how: memory.get_chat_history(f"{session}.2", **how),
    "calls": lambda memory, session, how: memory.get_tool_call_history(session, **how),
    "all_calls": lambda memory, session, how: memory.get_tool_call_history(**how),
    "context": lambda memory, session, how: memory.get_session_context(session, **how),
}
FORMATS = ("text", "json")


def returned(page: Page, form: str) -> str:
    return page_text(page) if form == "text" else compact(page_json(page))


def cost(page: Page, form: str) -> int:
    """Counted as the reader's model would, by tiktoken's own count where the text is short enough for it."""
    text = returned(page, form)
    exact = counter._encoding
    assert isinstance(exact, tiktoken.Encoding)
    return len(exact.encode_ordinary(text)) if len(text) < 50_000 else counter.count(text)


# Short texts over and over, long ones without a space, scripts that cost much, what JSON escapes.
SCRAPS = st.sampled_from(
    ["word ", "other", "日本語", "ก็ต้อง", "👩‍👩‍👧", '"', "\\", "\n", "\t", "\x01", "é", "<|endoftext|>", "{", "a" * 40,
     "[history ab]", "error: could not compile `serde` (lib) due to 3 previous errors\n", " " * 30]
)  # fmt: skip
TEXTS = st.builds(
    lambda scraps, times: "".join(scraps) * times, st.lists(SCRAPS, max_size=8), st.sampled_from([1, 1, 1, 3, 40, 400])
)
NAMES = st.one_of(st.none(), st.just("coder"), st.text("ab語", min_size=1, max_size=60))
_ids = itertools.count(1)


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages = [user(draw(TEXTS))]
    for _ in range(draw(st.integers(0, 3))):
        ids = [f"{'call_' if n % 2 else ''}{n}" for n in itertools.islice(_ids, draw(st.integers(1, 3)))]
        messages.append(
            assistant(draw(TEXTS), *(call(i, draw(st.sampled_from(["bash", "grep"])), draw(TEXTS)) for i in ids))
        )
        messages += [result(i, draw(TEXTS)) for i in ids[: draw(st.integers(0, len(ids)))]]
    if draw(st.booleans()):
        messages.append(
            {"role": "user", "content": [picture(draw(st.binary(min_size=1, max_size=9)))] * draw(st.integers(1, 3))}
        )
    return [*messages, assistant(draw(TEXTS))]


@st.composite
def sessions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Arguments for record_run, run by run."""
    return [
        {
            "messages": draw(turns()),
            "agent": draw(NAMES),
            "project": draw(NAMES),
            "title": draw(st.one_of(st.none(), TEXTS.filter(lambda text: len(text) < 1000))),
            "status": draw(st.sampled_from(["completed", "completed", "running", "error"])),
            "state": draw(st.one_of(st.none(), st.dictionaries(st.sampled_from("ab"), TEXTS))),
            "metrics": draw(st.one_of(st.none(), st.just({"total_tokens": 1 << 40, "cost": 0.123456789}))),
        }
        for _ in range(draw(st.integers(1, 3)))
    ]


@given(runs=sessions(), summary=st.one_of(st.none(), TEXTS.filter(str.strip)), data=st.data())
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_keeps_its_budget(
    kept_memory: Memory, loop: asyncio.Runner, runs: list[dict[str, Any]], summary: str | None, data: st.DataObject
) -> None:
    async def read_all() -> None:
        for run in runs:
            receipt = await kept_memory.record_run(session_id=f"s{number}", **run)
        if summary:
            await kept_memory.summarize_session(receipt.session, summary=summary[:100_000], topics=["one", "two"])
        for name, read in READS.items():
            for form in FORMATS:
                page = await read(kept_memory, receipt.session, {"max_tokens": budget, "format": form})
                assert cost(page, form) <= budget, (name, form, budget)
                for _ in range(3):
                    if page.next_cursor is None:
                        break
                    how = {"max_tokens": budget, "format": form, "cursor": page.next_cursor}
                    page = await read_on(kept_memory, name, how)
                    assert cost(page, form) <= budget, (name, form, budget, "continued")

    number = next(_ids)
    budget = data.draw(st.one_of(st.integers(200, 260), st.integers(200, 3_000)), label="max_tokens")
    loop.run(read_all())


async def read_on(memory: Memory, name: str, how: dict[str, Any]) -> Page:
    if name in ("search", "search_here", "previews"):
        return await memory.search_session_history(**how)
    if name == "sessions":
        return await memory.list_sessions(**how)
    if name in ("calls", "all_calls"):
        return await memory.get_tool_call_history(**how)
    return await memory.get_chat_history(**how)


def shown(page: Any) -> int:
    """How much a page shows: characters of what was recorded."""
    if hasattr(page, "runs"):
        return sum(len(m.text) + len(str(m.tool_calls)) for run in page.runs for m in run.messages)
    if hasattr(page, "messages"):
        return sum(len(m.text) for m in page.messages)
    if hasattr(page, "tool_calls"):
        return sum(len(str(c.arguments or "")) + len(c.result or "") for c in page.tool_calls)
    return len(getattr(page, "hits", None) or getattr(page, "sessions", None) or ())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", READS)
async def test_a_bigger_budget_never_gives_less(memory: Memory, name: str, form: str) -> None:
    for n in range(12):
        long = f"word {n} is here. " * (3 ** (n % 7))
        await memory.record_run(
            [
                user(long),
                assistant("Trying.", call(f"c{n}", "bash", long)),
                result(f"c{n}", long),
                assistant(f"done {n}"),
            ],
            session_id=f"s{n % 3}",
        )
    before = 0
    for budget in (200, 220, 260, 300, 400, 600, 1_000, 2_000, 4_000, 8_000, 20_000):
        page = await READS[name](memory, "#1", {"max_tokens": budget, "format": form})
        assert cost(page, form) <= budget
        amount = shown(page)
        # A larger page may end where a pair would be torn, a few words before the smaller one was cut.
        assert amount >= before * 0.9, (budget, amount, before)
        before = max(before, amount)


@pytest.mark.parametrize("form", FORMATS)
async def test_an_empty_store_answers_within_the_smallest_budget(memory: Memory, form: str) -> None:
    for name in ("search", "previews", "sessions", "all_calls"):
        page = await READS[name](memory, "", {"max_tokens": 200, "format": form})
        assert cost(page, form) <= 200


@pytest.mark.parametrize("bad", [199, 20_001, 0, -1, True, 1000.0, "1000", None])
async def test_a_budget_outside_its_range_is_refused(memory: Memory, bad: Any) -> None:
    await memory.record_run(a_turn(), session_id="s")
    for read in READS.values():
        with pytest.raises(InvalidArgument, match="max_tokens"):
            await read(memory, "#1", {"max_tokens": bad})


async def test_an_unknown_format_is_refused(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s")
    for read in READS.values():
        with pytest.raises(InvalidArgument, match="format"):
            await read(memory, "#1", {"format": "xml"})


async def test_ids_and_names_as_long_as_can_be_fit_too(memory: Memory, tokens: TokenCounter) -> None:
    """Every id and name at its limit, in a script that costs a token or more a character."""
    long = "語" * 512
    await memory.record_run(
        [user("word"), assistant("word", call(long, long, "{}")), result(long, "word")],
        session_id=long, run_id=long, agent=long, model=long, project=long, title=long,
    )  # fmt: skip
    for name, read in READS.items():
        for form in FORMATS:
            page = await read(memory, "#1", {"max_tokens": 200, "format": form})
            assert cost(page, form) <= 200, (name, form)
