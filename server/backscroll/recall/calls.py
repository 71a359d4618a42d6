"""`get_tool_call_history`: "Have I tried this?" Each call with its result, newest first; with a query, best first."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..answers import Outcome, ToolCallLine, ToolCallPage
from ..fitting import NO_ROOM, Budget, cut_words, leading, nonce, shares, squeezed
from ..models import ToolCall
from ..policy import FENCE_SENTENCE
from ..render import tool_call_lines
from ..store import Attempts, CallSearch
from .listing import shortened
from .reading import Reader
from .tried import Tried, find

TOOL = "get_tool_call_history"
MARK_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Calls:
    arguments: dict[str, Any]
    session: str | None
    tool_name: str | None
    query: str | None
    status: str | None
    limit: int
    position: dict[str, Any] | None


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
        max_chars=budget.max_chars,
    )
    found = await find(reader.store, reader.user_id, calls.query, wanted, position)
    lines = [line_of(one) for one in found.attempts]
    wholes = [_is_whole(one.call, budget) for one in found.attempts]

    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(taken: int, cut: tuple[ToolCallLine, str] | None = None) -> ToolCallPage:
        following = None
        if taken < len(lines):
            following = reader.cursors.make(TOOL, calls.arguments, _place(found, taken - 1))
        shown = tuple(lines[:taken])
        if cut is not None:
            shown, following = (cut[0],), cut[1]
        return _page(reader, found, shown, following, fence)

    if not lines:
        return page(0)
    frame = budget.cost(page(1)) - budget.cost_of(lines[0], tool_call_lines) + MARK_TOKENS
    costs = (
        budget.cost_of(line, tool_call_lines) if whole else budget.max_tokens
        for line, whole in zip(lines, wholes, strict=True)
    )
    taken = min(leading(costs, budget.max_tokens - frame), calls.limit)
    while taken:
        made = page(taken)
        if budget.holds(made):
            return made
        taken -= 1
    if wholes[0] and budget.holds(made := page(1)):
        return made
    return _cut_first(reader, calls, budget, found, page)


def _place(found: Tried, at: int) -> dict[str, Any]:
    """What a cursor holds that goes on below a line."""
    return {"a": found.attempts[at].position, **found.place}


def _page(
    reader: Reader, found: Tried, lines: tuple[ToolCallLine, ...], following: str | None, fence: str
) -> ToolCallPage:
    session = found.session
    return ToolCallPage(
        notice=FENCE_SENTENCE,
        nonce=fence,
        session_id=None if session is None else session.session_id,
        session=None if session is None else session.session,
        tool_calls=lines,
        note=found.note,
        next_cursor=following,
        total=None if found.capped else found.total,
        total_at_least=found.total if found.capped else None,
        ranked=found.ranked,
        coverage=reader.coverage,
    )


def _is_whole(call: ToolCall, budget: Budget) -> bool:
    return all(len(text) < budget.max_chars for text in (call.arguments_text, call.result or ""))


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


def _cut_first(
    reader: Reader, calls: Calls, budget: Budget, found: Tried, page: Callable[..., ToolCallPage]
) -> ToolCallPage:
    """The first call alone, its arguments and its result shortened to their shares."""
    line, onward = line_of(found.attempts[0]), _place(found, 0)
    frame = budget.cost(page(1)) - budget.cost_of(line, tool_call_lines) + MARK_TOKENS
    texts = {"a": found.attempts[0].call.arguments_text, "r": line.result or ""}
    head = line.model_copy(update={"arguments": None, "result": None})
    available = budget.max_tokens - frame - budget.cost_of(head, tool_call_lines)
    while True:
        wanted = [
            budget.count(text) + (budget.max_tokens if len(text) >= budget.max_chars else 0) for text in texts.values()
        ]
        given = shares(wanted, available)
        given = shares(wanted, available - MARK_TOKENS * (sum(h < w for h, w in zip(given, wanted, strict=True)) - 1))
        update: dict[str, Any] = {}
        following: str | None = None
        parts = {
            name: text if have >= want else budget.prefix(text, have)
            for (name, text), have, want in zip(texts.items(), given, wanted, strict=True)
        }
        # Reading on in the arguments goes on in the result where this page leaves it; a lean page leaves it out.
        lean = available <= 16
        result_at = 0 if lean else -1 if given[1] >= wanted[1] else len(parts["r"])
        for (name, text), have, want in zip(texts.items(), given, wanted, strict=True):
            if have >= want:
                continue
            shown = parts[name]
            place = {**onward, "k": onward["a"][-1], "f": name, "o": len(shown)}
            cursor = reader.cursors.make(TOOL, calls.arguments, place | ({"r": result_at} if name == "a" else {}))
            following = following or cursor
            missing = budget.missing(shown, len(text) - len(shown), text[len(shown) :])
            how = "next_cursor" if budget.form == "json" and cursor == following else f'cursor "{cursor}"'
            field, mark = ("arguments", "cut") if name == "a" else ("result", "result_cut")
            update |= {field: shown, mark: cut_words(missing, how)}
        if lean and "cut" in update:
            update |= {"result": None, "result_cut": None}
        made = page(1, (line.model_copy(update=update), following))
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
    """On from where the arguments or the result were cut; at the end the cursor goes on to the older calls."""
    field = {"a": "arguments", "r": "result"}[position["f"]]
    offset = position["o"]
    call, rest, chars = await reader.store.call_text(
        reader.user_id, position["k"], field=field, offset=offset, max_chars=budget.max_chars
    )
    found = Tried(None, (), 1, capped=False, ranked=False, note=None, place={})

    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(shown: str) -> ToolCallPage:
        rest_chars = chars - offset - len(shown)
        mark = "cut" if field == "arguments" else "result_cut"
        blank = {"arguments": None, "result": None, field: shown}
        if rest_chars > 0:
            following = reader.cursors.make(TOOL, calls.arguments, {**position, "o": offset + len(shown)})
            how = "next_cursor" if budget.form == "json" else f'cursor "{following}"'
            blank[mark] = cut_words(budget.missing(shown, rest_chars, rest[len(shown) :]), how)
        elif field == "arguments" and (result_at := position.get("r", 0)) >= 0:
            place = {name: value for name, value in position.items() if name != "r"}
            following = reader.cursors.make(TOOL, calls.arguments, {**place, "f": "r", "o": result_at})
        else:
            onward = {name: value for name, value in position.items() if name not in ("k", "f", "o", "r")}
            following = reader.cursors.make(TOOL, calls.arguments, onward)
        return _page(reader, found, (line_of(Attempts(call, (), 1, ())).model_copy(update=blank),), following, fence)

    whole = page(rest)
    if chars - offset <= len(rest) and budget.holds(whole):
        return whole
    available = budget.max_tokens - budget.cost(page(""))
    return squeezed(lambda tokens: page(budget.prefix(rest, tokens)), available, budget, lambda cut: _lean(cut, budget))
