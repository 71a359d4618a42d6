"""`list_sessions`: newest activity first."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..answers import SearchPage, SessionLine, SessionPage
from ..fitting import NO_ROOM, Budget, filled, nonce
from ..models import Session
from ..policy import FENCE_SENTENCE
from ..render import session_line
from ..store import SessionFilter
from .reading import Reader, few_words

TOOL = "list_sessions"
TITLE_CHARS = 120
PREVIEW_CHARS = 200

P = TypeVar("P", SessionPage, SearchPage)


@dataclass(frozen=True, slots=True)
class Listing:
    arguments: dict[str, Any]
    where: SessionFilter
    limit: int
    position: dict[str, Any] | None
    now_ms: int


async def session_page(reader: Reader, listing: Listing, budget: Budget) -> SessionPage:
    position = listing.position or {}
    found = await reader.store.sessions(
        reader.user_id,
        replace(listing.where, query=few_words(listing.where.query)),
        limit=listing.limit + 1,
        after=tuple(position["a"]) if "a" in position else None,
        as_of=position.get("n"),
    )
    lines = [line_of(session) for session in found.sessions]

    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(taken: int) -> SessionPage:
        following = None
        if taken < len(lines):
            last = found.activity[taken - 1]
            place = {"a": [last, found.sessions[taken - 1].number], "n": found.as_of, "t": listing.now_ms}
            following = reader.cursors.make(TOOL, listing.arguments, place)
        return SessionPage(
            notice=FENCE_SENTENCE,
            nonce=fence,
            sessions=tuple(lines[:taken]),
            next_cursor=following,
            total=found.total,
            coverage=reader.coverage,
        )

    return filled(page, lines, session_line, listing.limit, budget, lambda made: lean(made, budget))


def line_of(session: Session, opening: str | None = None, last_answer: str | None = None) -> SessionLine:
    return SessionLine(
        session_id=session.session_id,
        session=session.session,
        title=shortened(session.shown_title, TITLE_CHARS),
        project=session.project,
        source=session.source,
        agent=session.agent,
        runs=session.runs,
        messages=session.messages - session.history_messages,
        created_at=session.created_at,
        last_activity_at=session.last_activity_at,
        archived=session.archived,
        forked_from=session.forked_from,
        opening=None if opening is None else shortened(opening, PREVIEW_CHARS),
        last_answer=None if last_answer is None else shortened(last_answer, PREVIEW_CHARS),
    )


def shortened(text: str, chars: int) -> str:
    """The text on one line, its end left out where it is too long."""
    line = " ".join(text[: chars * 4].split())
    return line if len(line) <= chars else f"{line[: chars - 1].rstrip()}…"


def lean(page: P, budget: Budget) -> P:
    """For a very small budget: one session, and only what names it."""
    assert page.sessions
    line = page.sessions[0].model_copy(update={"opening": None, "last_answer": None, "agent": None})
    for chars in (40, 10):
        line = line.model_copy(
            update={
                "title": shortened(line.title, chars),
                "project": line.project and shortened(line.project, chars),
                "session_id": line.session if chars == 10 else line.session_id,
            }
        )
        page = page.model_copy(update={"sessions": (line,)})
        if budget.holds(page):
            return page
    # The cursor holds the query and the filters: where they alone are too long, ask again with more room.
    return page.model_copy(update={"next_cursor": None, "coverage": NO_ROOM})
