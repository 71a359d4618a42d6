"""`search_session_history`: one line a hit, best first; without a query, previews of the last sessions."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..answers import SearchPage
from ..errors import InvalidArgument
from ..fitting import Budget, filled, nonce
from ..policy import FENCE_SENTENCE
from ..ranking import Question, read
from ..render import clock, hit_line, session_line
from ..store import Search, SessionFilter
from .finding import SNIPPET_CHARS, Found, find
from .listing import lean as lean_sessions
from .listing import line_of as session_line_of
from .listing import shortened
from .reading import Reader, at_ms

TOOL = "search_session_history"
MAX_PASTED_CHARS = 100_000


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


async def search_page(reader: Reader, searching: Searching, budget: Budget) -> SearchPage:
    if not searching.query.strip():
        return await _previews(reader, searching, budget)
    position = searching.position or {}
    shown = _unpacked(position.get("k", []))
    # Words such as "yesterday" are counted from the end of the time asked for, where one was given.
    now = min(searching.until or at_ms(searching.now_ms), at_ms(searching.now_ms)).astimezone()
    question = read(searching.query, now)
    if question.only_names_time and _narrowing(searching) is None:
        # "What did we do yesterday?": the sessions of that time are the answer.
        return await _sessions_of_time(reader, searching, question, budget)
    wanted = Search(
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
        shown=frozenset(shown),
        as_of=position.get("n"),
    )
    lines = searching.limit + 1
    found = await find(
        reader.store, reader.semantic, reader.user_id, question, wanted, lines, across=searching.session is None
    )
    if not found.lines and not shown and question.time and _narrowing(searching) is None:
        return await _sessions_of_time(reader, searching, question, budget, found.note)
    return _hits_page(reader, searching, budget, found, shown, position.get("b", 0))


async def _sessions_of_time(
    reader: Reader, searching: Searching, question: Question, budget: Budget, note: str | None = None
) -> SearchPage:
    """How the sessions of the time that a question names began and ended."""
    assert question.time
    start, end = question.time
    since, until = max(start, searching.since or start), min(end, searching.until or end)
    told = f"Sessions of {clock(since)} to {clock(until)}:"
    narrowed = replace(searching, since=since, until=until)
    return await _previews(reader, narrowed, budget, f"{note} {told}" if note else told, overlapping=True)


def _hits_page(
    reader: Reader, searching: Searching, budget: Budget, found: Found, shown: tuple[int, ...], beside: int
) -> SearchPage:
    """`beside`: how many of those shown before are no matches, but stand beside some."""
    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(taken: int) -> SearchPage:
        lines = found.lines[:taken]
        keys = sorted({*shown, *(key for line in lines for key in line.keys)})
        strangers = beside + replace(found, lines=lines).strangers
        following = None
        if taken < len(found.lines) or (found.more and taken):
            place = {"k": _packed(keys), "n": found.as_of, "t": searching.now_ms, "b": strangers}
            following = reader.cursors.make(TOOL, searching.arguments, place)
        total = max(found.total + strangers, len(keys))
        return SearchPage(
            notice=FENCE_SENTENCE,
            nonce=fence,
            session_id=found.session.session_id if found.session else None,
            session=found.session.session if found.session else None,
            hits=tuple(line.hit for line in lines),
            total=None if found.capped else total,
            total_at_least=total if found.capped else None,
            remaining=max(total - len(keys), 0),
            note=found.note,
            next_cursor=following,
            coverage=reader.coverage,
        )

    hits = [line.hit for line in found.lines]
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


NOT_OF_SESSIONS = ("session_id", "role", "tool_name", "agent")
"""Arguments that previews of sessions cannot be narrowed by."""


def _narrowing(searching: Searching) -> str | None:
    return next((name for name in NOT_OF_SESSIONS if searching.arguments.get(name) is not None), None)


async def _previews(
    reader: Reader, searching: Searching, budget: Budget, note: str | None = None, *, overlapping: bool = False
) -> SearchPage:
    if (name := _narrowing(searching)) is not None:
        raise InvalidArgument(
            f"{name} narrows a search and needs a query. Without one, the last sessions are shown; "
            "project, source, since and until narrow those. get_session_context opens one session."
        )
    position = searching.position or {}
    count = searching.num_history_sessions or searching.limit
    already = position.get("c", 0)
    where = SessionFilter(
        project=searching.project,
        source=searching.source,
        since=searching.since,
        until=searching.until,
        overlapping=overlapping,
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
            note=note,
            total=min(found.total, count),
            next_cursor=following,
            coverage=reader.coverage,
        )

    return filled(page, lines, session_line, searching.limit, budget, lambda made: lean_sessions(made, budget))


BARE = dict.fromkeys(("before", "name", "tool_name", "run_id", "agent", "session_id")) | {"also": ()}
"""A hit without what it can do without."""


def _lean(page: SearchPage, budget: Budget) -> SearchPage:
    """For a very small budget: one hit, its snippet shortened, and only what names it."""
    assert page.hits
    hit = page.hits[0]
    for chars in (SNIPPET_CHARS, 120, 60, 20):
        hit = hit.model_copy(update={"snippet": shortened(hit.snippet, chars), **BARE})
        page = page.model_copy(update={"hits": (hit,), "session_id": None, "note": None})
        if budget.holds(page):
            return page
    # The cursor holds the query: where that alone is too long, ask again with more room.
    return page.model_copy(
        update={"next_cursor": None, "coverage": "More match; ask with a larger max_tokens or a shorter query."}
    )
