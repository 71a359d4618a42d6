"""`get_tool_call_history`: "Have I tried this?" Each call with its result, newest first; with a query, best first."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..answers import Outcome, ToolCallLine, ToolCallPage
from ..fitting import NO_ROOM, SMALLEST_PART, Budget, cut_words, leading, nonce, shares, squeezed
from ..policy import FENCE_SENTENCE
from ..render import tool_call_lines
from ..store import Attempts, CallSearch
from ..tokens import estimate
from .cutting import COUNTED_CHARS, SMALLEST_TEXTS, Cutter, Field, chars_of, fields_of, is_whole, shared_out, texts_of
from .listing import shortened
from .reading import Reader
from .tried import Tried, find

TOOL = "get_tool_call_history"

MARK_TOKENS = 60
"""For a mark with a cursor that goes on to other calls, and so holds what was asked for."""

LOOKED_THROUGH = 100_000
"""Characters of each text in which the query's words are looked for, to show the stretch that holds them."""


@dataclass(frozen=True, slots=True)
class Calls:
    arguments: dict[str, Any]
    session: str | None
    tool_name: str | None
    query: str | None
    status: str | None
    limit: int
    position: dict[str, Any] | None


PageOf = Callable[[tuple[ToolCallLine, ...], str | None], ToolCallPage]
"""The page of these lines, and of the cursor that goes on."""


async def tool_call_page(reader: Reader, calls: Calls, budget: Budget) -> ToolCallPage:
    position = calls.position or {}
    if "o" in position:
        return await _inside(reader, calls, budget, position)
    wanted = CallSearch(
        (),
        session=calls.session,
        tool_name=calls.tool_name,
        status=calls.status,
        limit=calls.limit + 1,
        max_chars=budget.max_chars if calls.query is None else max(budget.max_chars, LOOKED_THROUGH),
    )
    complete = reader.coverage is None
    found = await find(reader.store, reader.user_id, calls.query, wanted, position, index_is_current=complete)

    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(lines: tuple[ToolCallLine, ...], following: str | None = None) -> ToolCallPage:
        return _page(reader, found, lines, following, fence)

    if not found.attempts:
        return page(())
    return _several(reader, calls, budget, found, page) or _cut_first(reader, calls, budget, found, page)


def _several(reader: Reader, calls: Calls, budget: Budget, found: Tried, page: PageOf) -> ToolCallPage | None:
    """As many calls as there is room for, the long ones cut to their share; None where one is left that must be cut."""
    lines = [line_of(one) for one in found.attempts]

    def made(shown: list[ToolCallLine]) -> ToolCallPage:
        following = None
        if len(shown) < len(lines):
            following = reader.cursors.make(TOOL, calls.arguments, _place(found, len(shown) - 1))
        return page(tuple(shown), following)

    head = lines[0].model_copy(update={"arguments": None, "result": None})
    least = budget.cost_of(head, tool_call_lines)
    available = budget.max_tokens - budget.cost(made([head])) + least
    taken = min(len(lines), calls.limit, available // (least + SMALLEST_TEXTS))
    costs = [_cost(one, line, budget) for one, line in zip(found.attempts[:taken], lines, strict=False)]
    cutter = Cutter(budget, found.words)
    while taken > 1:
        given = shared_out(costs[:taken], available)
        shown = [
            line if share is None else cutter.cut(one.call, line, share, _reading_on(reader, one))
            for one, line, share in zip(found.attempts, lines, given, strict=False)
        ]
        exact = [budget.cost_of(line, tool_call_lines) for line in shown]
        if sum(exact) <= available:
            if budget.holds(page_of := made(shown)):
                return page_of
            # Where two lines meet, a token more may be needed.
            available -= SMALLEST_PART
            continue
        # What was estimated is known now: perhaps the same calls fit in other shares.
        known = [cost if share is None else was for cost, share, was in zip(exact, given, costs, strict=False)]
        if known == costs[:taken]:
            taken = min(taken - 1, leading(exact, available))
        costs[: len(known)] = known
    alone = made(lines[:1])
    return alone if _is_whole(found.attempts[0]) and budget.holds(alone) else None


def _reading_on(reader: Reader, attempts: Attempts) -> Callable[[Field, int], str]:
    """Cursors that read one text to its end, whatever was asked for: the shortest there are."""
    return lambda name, onward: reader.cursors.make(TOOL, {}, {"k": attempts.position[-1], "f": name, "o": onward})


def _cost(attempts: Attempts, line: ToolCallLine, budget: Budget) -> int:
    texts = texts_of(attempts.call).values()
    if not _is_whole(attempts):
        return budget.max_tokens
    if sum(map(len, texts)) > COUNTED_CHARS:
        return sum(map(estimate, texts))
    return budget.cost_of(line, tool_call_lines)


def _is_whole(attempts: Attempts) -> bool:
    return is_whole(attempts.call, "a") and is_whole(attempts.call, "r")


def _place(found: Tried, at: int) -> dict[str, Any]:
    """What a cursor holds that goes on below a line."""
    return {"a": found.attempts[at].position, **found.place}


def _page(
    reader: Reader, found: Tried | None, lines: tuple[ToolCallLine, ...], following: str | None, fence: str
) -> ToolCallPage:
    """A page of what was found; or, where that is None, one that reads on inside a call."""
    page = ToolCallPage(
        notice=FENCE_SENTENCE, nonce=fence, tool_calls=lines, next_cursor=following, coverage=reader.coverage
    )
    if found is None:
        return page
    session = found.session
    return page.model_copy(
        update={
            "session_id": None if session is None else session.session_id,
            "session": None if session is None else session.session,
            "note": found.note,
            "total": None if found.capped else found.total,
            "total_at_least": found.total if found.capped else None,
            "ranked": found.ranked,
        }
    )


def line_of(attempts: Attempts) -> ToolCallLine:
    """The call; where it stands for several, their number and how the newest of them ended."""
    call = attempts.call
    line = ToolCallLine(
        ref=call.ref,
        seq=call.seq,
        run_id=call.run_id,
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        arguments=call.arguments,
        result=call.result,
        status=call.status,
        agent=call.agent,
        created_at=call.created_at,
        duration_ms=call.duration_ms,
    )
    if attempts.times == 1:
        return line
    return line.model_copy(update={"times": attempts.times, "outcomes": outcomes_of(attempts)})


def outcomes_of(attempts: Attempts) -> tuple[Outcome, ...]:
    return tuple(Outcome(ref=ref, status=status) for ref, status in attempts.outcomes)


def _cut_first(reader: Reader, calls: Calls, budget: Budget, found: Tried, page: PageOf) -> ToolCallPage:
    """The first call alone, its arguments and its result shortened to their shares. The page's cursor reads on."""
    call, line = found.attempts[0].call, line_of(found.attempts[0])
    onward = _place(found, 0) if len(found.attempts) > 1 else {}
    cutter = Cutter(budget, found.words)
    texts = texts_of(call)
    head = line.model_copy(update={"arguments": None, "result": None})
    key = found.attempts[0].position[-1]
    following = reader.cursors.make(TOOL, calls.arguments, onward)
    available = budget.max_tokens - budget.cost(page((head,), following)) - MARK_TOKENS
    while True:
        wanted = [
            budget.count(text) + (0 if is_whole(call, name) else budget.max_tokens) for name, text in texts.items()
        ]
        given = shares(wanted, available)
        given = shares(wanted, available - MARK_TOKENS * (sum(h < w for h, w in zip(given, wanted, strict=True)) - 1))
        update: dict[str, Any] = {}
        first: str | None = None
        parts = {
            name: cutter.part(text, have)
            for (name, text), have, want in zip(texts.items(), given, wanted, strict=True)
            if have < want
        }
        # Reading on in the arguments goes on in the result where this page leaves it; a lean page leaves it out.
        lean = available <= 16
        result_at = 0 if lean else parts["r"].onward if "r" in parts else -1
        for name, part in parts.items():
            place = {**onward, "k": key, "f": name, "o": part.onward}
            cursor = reader.cursors.make(TOOL, calls.arguments, place | ({"r": result_at} if name == "a" else {}))
            first = first or cursor
            missing = cutter.missing(part, texts[name], chars_of(call, name))
            how = "next_cursor" if budget.form == "json" and cursor == first else f'cursor "{cursor}"'
            field, mark = fields_of(name)
            update |= {field: part.shown, mark: cut_words(missing, how)}
        if lean and "cut" in update:
            update |= {"result": None, "result_cut": None}
        made = page((line.model_copy(update=update),), first)
        if budget.holds(made):
            return made
        if lean:
            return _lean(made, budget)
        available = available * 4 // 5


def _lean(page: ToolCallPage, budget: Budget) -> ToolCallPage:
    """For a very small budget: what a handle can bring back goes first, then a result that reading on leads to."""
    for leave_out in (
        {"run_id": None, "agent": None, "duration_ms": None},
        {"created_at": None, "tool_call_id": "", "outcomes": ()},
        {"result": None, "result_cut": None},
    ):
        if "result" in leave_out and not any(call.cut for call in page.tool_calls):
            continue
        page = page.model_copy(update={"tool_calls": tuple(c.model_copy(update=leave_out) for c in page.tool_calls)})
        if budget.holds(page):
            return page
    named = (c.model_copy(update={"tool_name": shortened(c.tool_name, 40)}) for c in page.tool_calls)
    page = page.model_copy(update={"session_id": None, "coverage": None, "note": None, "tool_calls": tuple(named)})
    if budget.holds(page):
        return page
    marked = tuple(
        call.model_copy(update={"cut": call.cut and NO_ROOM, "result_cut": call.result_cut and NO_ROOM})
        for call in page.tool_calls
    )
    return page.model_copy(update={"tool_calls": marked, "next_cursor": None})


async def _inside(reader: Reader, calls: Calls, budget: Budget, position: dict[str, Any]) -> ToolCallPage:
    """On from where the arguments or the result were cut.

    At the end, where the page was of that call alone, the cursor goes on to the calls after it.
    """
    field = {"a": "arguments", "r": "result"}[position["f"]]
    offset = position["o"]
    call, rest, chars = await reader.store.call_text(
        reader.user_id, position["k"], field=field, offset=offset, max_chars=budget.max_chars
    )
    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(shown: str) -> ToolCallPage:
        following: str | None
        rest_chars = chars - offset - len(shown)
        mark = "cut" if field == "arguments" else "result_cut"
        blank = {"arguments": None, "result": None, field: shown}
        if rest_chars > 0:
            following = reader.cursors.make(TOOL, calls.arguments, {**position, "o": offset + len(shown)})
            how = "next_cursor" if budget.form == "json" else f'cursor "{following}"'
            blank[mark] = cut_words(budget.missing(shown, rest_chars, rest[len(shown) :]), how)
        elif field == "arguments" and (result_at := position.get("r", -1)) >= 0:
            place = {name: value for name, value in position.items() if name != "r"}
            following = reader.cursors.make(TOOL, calls.arguments, {**place, "f": "r", "o": result_at})
        elif "a" not in position:
            following = None
        else:
            onward = {name: value for name, value in position.items() if name not in ("k", "f", "o", "r")}
            following = reader.cursors.make(TOOL, calls.arguments, onward)
        return _page(reader, None, (line_of(Attempts(call, (), 1, ())).model_copy(update=blank),), following, fence)

    whole = page(rest)
    if chars - offset <= len(rest) and budget.holds(whole):
        return whole
    available = budget.max_tokens - budget.cost(page(""))
    return squeezed(lambda tokens: page(budget.prefix(rest, tokens)), available, budget, lambda cut: _lean(cut, budget))
