"""`search_session_history`: one line a hit, best first; without a query, previews of the last sessions."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..answers import Hit, SearchPage
from ..errors import InvalidArgument
from ..fitting import Budget, filled, nonce
from ..models import Message
from ..policy import FENCE_SENTENCE
from ..render import hit_line, one_line, session_line
from ..store import FoundMessage, Search, SearchResult, SessionFilter, Term
from ..tokens import estimate
from .listing import lean as lean_sessions
from .listing import line_of as session_line_of
from .listing import shortened
from .reading import Reader

TOOL = "search_session_history"
SNIPPET_CHARS = 240
MAX_QUERY_CHARS = 2_000
MAX_TERMS = 64

_PHRASE = re.compile(r'"([^"]*)"|(\S+)')
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Searching:
    """What was asked. `current_session` is the one the host is in: the last N sessions leave it out."""

    arguments: dict[str, Any]
    query: str
    session: str | None
    num_history_sessions: int | None
    role: str | None
    tool_name: str | None
    agent: str | None
    project: str | None
    source: str | None
    since: datetime | None
    until: datetime | None
    limit: int
    position: dict[str, Any] | None
    current_session: str | None
    now_ms: int


def terms_of(query: str) -> tuple[Term, ...]:
    """The words and "phrases" of a query, each once. No character in it is an operator."""
    found: dict[str, Term] = {}
    for phrase, word in _PHRASE.findall(query):
        text = phrase or word
        if _WORD.search(text):
            found.setdefault(text.casefold(), Term(text))
    return tuple(found.values())[:MAX_TERMS]


async def search_page(reader: Reader, searching: Searching, budget: Budget) -> SearchPage:
    if not searching.query.strip():
        return await _previews(reader, searching, budget)
    position = searching.position or {}
    shown = _unpacked(position.get("k", []))
    terms = terms_of(searching.query)
    result = await reader.store.search(
        reader.user_id,
        Search(
            terms=terms,
            session=searching.session,
            num_history_sessions=searching.num_history_sessions,
            current_session=searching.current_session,
            role=searching.role,
            tool_name=searching.tool_name,
            agent=searching.agent,
            project=searching.project,
            source=searching.source,
            since=searching.since,
            until=searching.until,
            limit=searching.limit + 1,
            shown=shown,
            as_of=position.get("n"),
        ),
    )
    return _hits_page(reader, searching, budget, result, shown, terms)


def _hits_page(
    reader: Reader,
    searching: Searching,
    budget: Budget,
    result: SearchResult,
    shown: tuple[int, ...],
    terms: tuple[Term, ...],
) -> SearchPage:
    one_session = result.session is not None
    hits = [hit_of(found, terms, one_session=one_session, asked_tool=searching.tool_name) for found in result.found]

    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(taken: int) -> SearchPage:
        following = None
        if taken < len(hits):
            keys = sorted({*shown, *(found.key for found in result.found[:taken])})
            place = {"k": _packed(keys), "n": result.as_of, "t": searching.now_ms}
            following = reader.cursors.make(TOOL, searching.arguments, place)
        return SearchPage(
            notice=FENCE_SENTENCE,
            nonce=fence,
            session_id=result.session.session_id if result.session else None,
            session=result.session.session if result.session else None,
            hits=tuple(hits[:taken]),
            total=None if result.capped else result.total,
            total_at_least=result.total if result.capped else None,
            next_cursor=following,
            coverage=reader.coverage,
        )

    return filled(page, hits, hit_line, searching.limit, budget, lambda made: _lean(made, budget))


def _packed(keys: list[int]) -> list[int]:
    """Ascending keys as differences: a cursor is read in tokens."""
    return [key - before for key, before in zip(keys, [0, *keys], strict=False)]


def _unpacked(differences: list[int]) -> tuple[int, ...]:
    keys, key = [], 0
    for difference in differences:
        key += difference
        keys.append(key)
    return tuple(keys)


def hit_of(found: FoundMessage, terms: tuple[Term, ...], *, one_session: bool, asked_tool: str | None = None) -> Hit:
    """A match as a line. Of several calls, the one that was asked for names the line, else the first."""
    message = found.message
    text = searched_text(message)
    tool_name = message.tool_name
    if message.tool_calls and not message.text:
        names = [call.tool_name for call in message.tool_calls]
        tool_name = next((name for name in names if asked_tool and name.casefold() == asked_tool.casefold()), names[0])
    return Hit(
        ref=message.ref,
        seq=message.seq,
        session_id=None if one_session else found.session_id,
        run_id=message.run_id,
        role=message.role,
        snippet=snippet(text, terms),
        tool_name=tool_name,
        agent=message.agent,
        created_at=message.created_at,
        tokens=estimate(text),
    )


def searched_text(message: Message) -> str:
    """What the index holds of a message: its text, and its calls' names and arguments."""
    return "\n".join([message.text, *(f"{c.tool_name} {c.arguments_text}" for c in message.tool_calls)]).strip()


def snippet(text: str, terms: tuple[Term, ...], chars: int = SNIPPET_CHARS) -> str:
    """The part of a text, on one line, that holds most of the terms; `...` where it was cut.

    Words stay whole where they are not longer than the snippet itself.
    """
    if len(text) <= chars:
        return one_line(text)
    folded = text.casefold() if len(text.casefold()) == len(text) else text.lower()
    if len(folded) != len(text):
        folded = text
    words = {word.casefold() for term in terms for word in _WORD.findall(term.text)}
    places = sorted(
        (found.start(), word)
        for word in words
        for found in [*re.finditer(rf"\b{re.escape(word)}", folded)][:50] or [*re.finditer(re.escape(word), folded)][:5]
    )
    start = 0
    if places:
        best = max(
            range(len(places)),
            key=lambda i: (len({w for at, w in places[i:] if at < places[i][0] + chars * 3 // 4}), -i),
        )
        start = max(0, places[best][0] - chars // 5)
    end = min(len(text), start + chars)
    start = max(0, min(start, end - chars))
    if start:
        space = text.find(" ", start, start + chars // 6)
        start = space + 1 if space >= 0 else start
    if end < len(text):
        space = text.rfind(" ", end - chars // 6, end)
        end = space if space > start else end
    shown = one_line(text[start:end])
    return f"{'...' if start else ''}{shown}{'...' if end < len(text) else ''}"


async def _previews(reader: Reader, searching: Searching, budget: Budget) -> SearchPage:
    for name in ("session_id", "role", "tool_name", "agent"):
        if searching.arguments.get(name) is not None:
            raise InvalidArgument(
                f"{name} narrows a search and needs a query. Without one, the last sessions are shown; "
                "project, source, since and until narrow those. get_session_context opens one session."
            )
    position = searching.position or {}
    count = searching.num_history_sessions or searching.limit
    already = position.get("c", 0)
    where = SessionFilter(
        project=searching.project, source=searching.source, since=searching.since, until=searching.until
    )
    found = await reader.store.sessions(
        reader.user_id,
        where,
        limit=min(count - already, searching.limit) + 1,
        after=tuple(position["a"]) if "a" in position else None,
        as_of=position.get("n"),
        exclude=searching.current_session,
    )
    sessions = found.sessions[: count - already]
    told = await reader.store.previews(reader.user_id, sessions)
    lines = [session_line_of(one, *preview) for one, preview in zip(sessions, told, strict=True)]

    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(taken: int) -> SearchPage:
        following = None
        if taken < len(lines):
            last = [found.activity[taken - 1], sessions[taken - 1].number]
            place = {"a": last, "n": found.as_of, "c": already + taken, "t": searching.now_ms}
            following = reader.cursors.make(TOOL, searching.arguments, place)
        return SearchPage(
            notice=FENCE_SENTENCE,
            nonce=fence,
            sessions=tuple(lines[:taken]),
            total=min(found.total, count),
            next_cursor=following,
            coverage=reader.coverage,
        )

    return filled(page, lines, session_line, searching.limit, budget, lambda made: lean_sessions(made, budget))


def _lean(page: SearchPage, budget: Budget) -> SearchPage:
    """For a very small budget: one hit, its snippet shortened, and only what names it."""
    assert page.hits
    hit = page.hits[0]
    for chars in (SNIPPET_CHARS, 120, 60, 20):
        hit = hit.model_copy(
            update={"snippet": shortened(hit.snippet, chars), "run_id": None, "agent": None, "session_id": None}
        )
        page = page.model_copy(update={"hits": (hit,), "session_id": None})
        if budget.holds(page):
            return page
    # The cursor holds the query: where that alone is too long, ask again with more room.
    return page.model_copy(
        update={"next_cursor": None, "coverage": "More match; ask with a larger max_tokens or a shorter query."}
    )
