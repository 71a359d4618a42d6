"""`get_session_context`: what an agent needs to go on. Head, summary, the last runs word for word."""

from typing import Any

from ..answers import MessageLine, RunLine, SessionContext
from ..fitting import Budget, cut_words, nonce, squeezed
from ..models import Message, Run
from ..policy import FENCE_SENTENCE
from ..render import compact, message_lines
from ..store import ContextSlice
from ..tokens import estimate
from .chat import line_of
from .listing import TITLE_CHARS, shortened
from .reading import Reader

RUN_HEAD_TOKENS = 12
COUNTED_CHARS = 4_000
"""Of a message that is left out; how much more there is of it is said roughly."""


async def session_context(
    reader: Reader,
    session: str,
    *,
    num_history_runs: int,
    agent: str | None,
    include_tool_messages: bool,
    budget: Budget,
    resolved: str | None,
) -> SessionContext:
    found = await reader.store.context(
        reader.user_id, session, num_history_runs=num_history_runs, agent=agent, max_chars=budget.max_chars
    )
    told = [
        (run, message)
        for run, messages in found.runs
        for message in messages
        if include_tool_messages or (message.role != "tool" and (message.role != "assistant" or message.text))
    ]
    head = _fitting_head(reader, found, budget, resolved)
    if _surely_fits(told, budget):
        whole = _page(head, told, 0, budget)
        if budget.holds(whole):
            return whole
    # The newest messages matter most: from the end back while they fit.
    available = budget.max_tokens - budget.cost(head) - 40
    first = len(told)
    while first > 0:
        run, message = told[first - 1]
        cost = budget.cost_of(line_of(message), message_lines)
        opens_run = first == len(told) or told[first][0] is not run
        cost += RUN_HEAD_TOKENS if opens_run else 0
        if message.text_chars > len(message.text) or cost > available:
            break
        available -= cost
        first -= 1
    # A result is not shown without the call that it answers.
    while first < len(told) and first > 0 and told[first][1].role == "tool":
        first += 1
    while True:
        page = _page(head, told, first, budget)
        if budget.holds(page):
            break
        if first >= len(told):
            bare = _without_more(page, budget)
            return _with_cut(bare, told, budget) if told else bare
        first += 1
    if first == len(told) and told:
        return _with_cut(head, told, budget)
    return page


def _surely_fits(told: list[tuple[Run, Message]], budget: Budget) -> bool:
    """Whether there is so little to tell that one look at the whole page costs less than counting."""
    chars = sum(message.text_chars + sum(call.arguments_chars for call in message.tool_calls) for _, message in told)
    return chars < budget.max_tokens * 2 and all(message.text_chars <= len(message.text) for _, message in told)


def _page(
    head: SessionContext, told: list[tuple[Run, Message]], first: int, budget: Budget, cut: MessageLine | None = None
) -> SessionContext:
    runs: list[tuple[Run, list[MessageLine]]] = []
    for run, message in told[first:]:
        if not runs or runs[-1][0] is not run:
            runs.append((run, []))
        runs[-1][1].append(line_of(message))
    if cut is not None:
        runs = [(told[-1][0], [cut])]
    omitted = None
    if first > (1 if cut is not None else 0):
        left_out = told[: first - (1 if cut is not None else 0)]
        tokens = sum(_tokens(message, budget) for _, message in left_out)
        omitted = cut_words(tokens, f'get_chat_history(session_id="{left_out[-1][1].ref}")')
    lines = tuple(
        RunLine(
            run_id=run.run_id,
            run_index=run.run_index,
            status=run.status,
            agent=run.agent,
            model=run.model,
            started_at=run.started_at,
            messages=tuple(messages),
        )
        for run, messages in runs
    )
    return head.model_copy(update={"runs": lines, "omitted": omitted})


def _tokens(message: Message, budget: Budget) -> int:
    """What a message would take: counted where it is short and at hand, else projected from its beginning."""
    calls = sum(estimate(call.arguments_text) for call in message.tool_calls)
    if message.text_chars <= len(message.text) <= COUNTED_CHARS:
        return budget.count(message.text) + calls
    shown = message.text[:COUNTED_CHARS]
    return estimate(shown) * message.text_chars // max(len(shown), 1) + calls


def _with_cut(head: SessionContext, told: list[tuple[Run, Message]], budget: Budget) -> SessionContext:
    """Not even the last message fits: it is cut."""
    message = told[-1][1]
    how = f'get_chat_history(session_id="{message.ref}")'
    blank = line_of(message).model_copy(update={"text": "", "tool_calls": (), "cut": cut_words(1_000_000, how)})
    available = budget.max_tokens - budget.cost(_page(head, told, len(told), budget, blank))

    def page(tokens: int) -> SessionContext:
        shown = budget.prefix(message.text, tokens) if message.text else ""
        missing = budget.missing(shown, message.text_chars - len(shown), message.text[len(shown) :])
        line = blank.model_copy(update={"text": shown, "cut": cut_words(missing, how)})
        return _page(head, told, len(told), budget, line)

    return squeezed(page, available, budget, lambda cut: _without_more(cut, budget))


def _fitting_head(reader: Reader, found: ContextSlice, budget: Budget, resolved: str | None) -> SessionContext:
    """The head alone, its summary and state cut to leave half of the budget for the talk."""
    session, summary = found.session, found.summary
    head = SessionContext(
        notice=FENCE_SENTENCE,
        nonce=nonce(),
        session_id=session.session_id,
        session=session.session,
        title=shortened(session.shown_title, TITLE_CHARS),
        project=session.project,
        source=session.source,
        agent=session.agent,
        state=session.state,
        metrics=session.metrics,
        messages_total=session.messages - session.history_messages,
        runs_total=session.runs,
        created_at=session.created_at,
        last_activity_at=session.last_activity_at,
        summary=None if summary is None else summary.summary,
        topics=() if summary is None else summary.topics,
        summary_stale=None if summary is None else summary.stale,
        summary_covers=None if summary is None else f"{session.session}.1 to {session.session}.{summary.last_seq}",
        resolved=resolved,
        coverage=reader.coverage,
    )
    half = budget.max_tokens // 2
    if budget.within(head, half):
        return head
    uri = f"session://%23{session.number}"
    if session.state and budget.count(compact(session.state)) > half // 3:
        shown = budget.prefix(compact(session.state), half // 4)
        head = head.model_copy(update={"state": f"{shown}[state cut: {uri} has all of it]"})
    if budget.cost(head) > half and head.summary:
        over = budget.cost(head) - half
        keep = max(budget.count(head.summary) - over - 25, 20)
        shown = budget.prefix(head.summary, keep)
        head = head.model_copy(update={"summary": f"{shown}[summary cut: {uri}/summary has all of it]", "topics": ()})
    if budget.cost(head) > half:
        head = head.model_copy(update={"metrics": {}, "topics": (), "coverage": None})
    return head


def _without_more(page: SessionContext, budget: Budget) -> SessionContext:
    """For a very small budget: what names the session, and the handle where reading goes on."""
    updates: tuple[dict[str, Any], ...] = (
        {"metrics": {}, "topics": (), "state": {}},
        {"summary": None, "summary_covers": None, "summary_stale": None},
        {"runs": tuple(_bare(run) for run in page.runs)},
        {"title": shortened(page.title, 30), "project": None, "agent": None},
        {"session_id": page.session, "resolved": None},
        # The cut message's own handle stays; what lies before it is one cursor back from there.
        {"omitted": None if page.runs else page.omitted},
        {"runs": ()},
    )
    for update in updates:
        page = page.model_copy(update=update)
        if budget.holds(page):
            return page
    return page


def _bare(run: RunLine) -> RunLine:
    messages = tuple(
        message.model_copy(
            update={"run_id": None, "agent": None, "tool_call_id": None, "created_at": None, "media": ()}
        )
        for message in run.messages
    )
    return run.model_copy(update={"messages": messages, "agent": None, "model": None, "started_at": None})
