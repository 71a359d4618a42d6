"""A search from its terms to its candidates, and how candidates are made of rows: shared by both stores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..models import Session
from .gathering import gathered
from .indexing import indexed_text
from .matching import Wanted
from .rows import from_ms
from .shortlist import PLACES, Listed, Match, Place, Scale, best, shortlist
from .values import Candidate, Search, SearchResult, Turn
from .wishes import Places, Steps, Turns, one

COUNT_CAP = 1_000
"""Matches are counted up to here; the answer then says `at least`."""

TURN_CHARS = 3_000
"""So much of a message is read to rank it."""

_LOOKED_UP = 250
"""Rows asked for at a time."""


def result_of(
    wanted: Search,
    session: Session | None,
    as_of: int,
    asked: Sequence[Wanted],
    weights: tuple[float, ...],
    *,
    narrowed: bool,
) -> Steps[SearchResult]:
    """What a search finds, once its terms are looked up. `narrowed`: whether tokens of the scope leave anything out."""
    scale = Scale(weights)
    found = yield from gathered(wanted.terms, asked, narrowed=narrowed)
    ranked = best(found.terms, found.near, scale)
    places, more = yield from _places(ranked, wanted.shown)
    similar = yield from _similar(wanted, places, narrowed=narrowed)
    listed = shortlist(places, scale, wanted.pool, beside=wanted.beside, similar=similar, shown=wanted.shown)
    total = len(found.terms)
    return SearchResult(
        session,
        tuple((yield from _candidates(listed, wanted))),
        min(total, COUNT_CAP),
        total > COUNT_CAP or found.partial,
        as_of,
        weights,
        {at: term.spelled for at, term in enumerate(asked) if term.spelled},
        more
        or sum(bool(one.place.match.key) for one in listed)
        < sum(place.match.key not in wanted.shown for place in places),
    )


def _places(ranked: Iterator[Match], shown: frozenset[int]) -> Steps[tuple[list[Place], bool]]:
    """The best matches that the rows confirm, and whether there are more than these.

    What was shown before does not count, but it stays: it is what others stand beside.
    """
    places: list[Place] = []
    fresh = 0
    while some := {match.key: match for match in islice(ranked, _LOOKED_UP)}:
        rows: dict[int, tuple[int, int]] = yield from one(Places(tuple(some)))
        places += [Place(*rows[key], match) for key, match in some.items() if key in rows]
        fresh += sum(key in rows and key not in shown for key in some)
        if fresh >= PLACES:
            break
    return places, next(ranked, None) is not None


def _similar(wanted: Search, places: Sequence[Place], *, narrowed: bool) -> Steps[list[Place]]:
    """Places of messages that were found by their meaning, where they hold none of the terms."""
    others = sorted(set(wanted.similar).difference((place.match.key for place in places), wanted.shown))
    if not others:
        return []
    rows: dict[int, tuple[int, int]] = yield from one(Places(tuple(others), unsure=narrowed))
    return [Place(*place, Match(0, 0)) for place in rows.values()]


@dataclass(frozen=True, slots=True)
class _Row:
    turn: Turn
    inside: bool
    """Whether what only rows tell (times, the part of a session that a fork shares) lets it in."""
    agent: str | None
    tools: frozenset[str]


def _candidates(listed: Sequence[Listed], wanted: Search) -> Steps[list[Candidate]]:
    spots = {(one.place.session_key, one.place.seq) for one in listed}
    spots |= {(session_key, seq - 1) for session_key, seq in spots}
    told = yield from one(Turns(tuple(sorted(spots))))
    return list(_out_of(listed, {(row[1], row[2]): _row(row) for row in told}, wanted))


def _out_of(listed: Sequence[Listed], rows: Mapping[tuple[int, int], _Row], wanted: Search) -> Iterator[Candidate]:
    for each in listed:
        place = each.place
        row = rows.get((place.session_key, place.seq))
        # A match is within the filters by the index; what stands beside one is held against them here.
        if row is None or not (place.match.key or _allowed(row, wanted)):
            continue
        before = rows.get((place.session_key, place.seq - 1))
        yield Candidate(
            row.turn,
            None if before is None else before.turn,
            _bits(place.match.terms),
            _bits(place.match.near & ~place.match.terms),
            each.own,
            each.context,
            each.session,
            each.before_own,
        )


def _row(row: Sequence[Any]) -> _Row:
    """A row: inside, session key, seq, number, key, role, text, its length, time, name, agent, tool, calls.

    Text, and arguments of calls, are their first TURN_CHARS; calls are JSON, null where there are none.
    """
    inside, _, seq, number, key, role, text, chars, created_at, name, agent, tool_name, calls = row
    told = [] if calls is None else json.loads(calls)
    if told:
        whole = indexed_text(text, told).strip()
        text, chars = whole[:TURN_CHARS], chars + len(whole) - len(text)
    speaker = name if isinstance(name, str) else agent if role == "assistant" else None
    tools = frozenset(tool.casefold() for tool in (tool_name, *(tool for tool, _ in told)) if tool)
    return _Row(
        Turn(key, f"#{number}.{seq}", role, speaker, text, chars, from_ms(created_at)), bool(inside), agent, tools
    )


def _allowed(row: _Row, wanted: Search) -> bool:
    turn = row.turn
    return (
        row.inside
        and turn.key not in wanted.shown
        and (wanted.role is None or turn.role == wanted.role)
        and (wanted.agent is None or row.agent == wanted.agent)
        and (wanted.tool_name is None or wanted.tool_name.casefold() in row.tools)
    )


def _bits(terms: int) -> tuple[int, ...]:
    return tuple(at for at in range(terms.bit_length()) if terms >> at & 1)
