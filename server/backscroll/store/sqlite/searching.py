"""Full-text search: the index tells which messages hold which terms; rows confirm whose they are.

The engine's own ranking is not asked for: it reads every match of every term, a second and more for a question
of plain words in a million messages. Rare terms are read whole, and frequent ones only where those are.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from .. import Candidate, FoundMessage, Search, SearchResult, Term, Turn
from ..indexing import indexed_text
from ..rows import SessionRow, from_ms, unpack_id
from ..shortlist import PLACES, Listed, Match, Place, Scale, best, shortlist, weight
from .errors import index_errors
from .matching import Frequencies, Wanted, ask, asked_of
from .messages import MESSAGE_COLUMNS, message_of
from .rows import find_session, find_user
from .scoping import Scope, scope_of

COUNT_CAP = 1_000
"""Matches are counted up to here; the answer then says `at least`."""

TURN_CHARS = 3_000
"""So much of a message is read to rank it."""

_POSTINGS = 2_500
"""A term of more matches than this is frequent: it is looked for where rarer terms are."""

_GATHERED = 7_500
"""Matches that are read for all terms together."""

_REFINED = 8
"""Frequent terms that are looked for, rarest first."""

_LOOKED_UP = 250
"""Rows asked for at a time."""


def search(db: sqlite3.Connection, user_id: str, wanted: Search, frequencies: Frequencies) -> SearchResult:
    session, scope, as_of, asked, weighed = _looked_up(db, user_id, wanted, frequencies)
    value = None if session is None else session.value()
    if scope is None:
        return SearchResult(value, (), 0, False, as_of, weighed)
    scale = Scale(weighed)
    gathered = _Gathering(db, wanted.terms, asked, scope, as_of).gathered()
    ranked = best(gathered.terms, gathered.near, scale)
    places, more = _places(db, ranked, scope, wanted.shown)
    similar = _similar(db, wanted, places, scope)
    listed = shortlist(places, scale, wanted.pool, beside=wanted.beside, similar=similar, shown=wanted.shown)
    total = len(gathered.terms)
    return SearchResult(
        value,
        tuple(_candidates(db, listed, wanted, scope, as_of)),
        min(total, COUNT_CAP),
        total > COUNT_CAP or gathered.partial,
        as_of,
        weighed,
        {at: one.spelled for at, one in enumerate(asked) if one.spelled},
        more
        or sum(bool(one.place.match.key) for one in listed)
        < sum(place.match.key not in wanted.shown for place in places),
    )


def weights(db: sqlite3.Connection, user_id: str, wanted: Search, frequencies: Frequencies) -> tuple[float, ...]:
    return _looked_up(db, user_id, wanted, frequencies).weights


class _LookedUp(NamedTuple):
    """Where to look (None: nowhere), up to which message, for what, and how much each term weighs."""

    session: SessionRow | None
    scope: Scope | None
    as_of: int
    asked: list[Wanted]
    weights: tuple[float, ...]


def _looked_up(db: sqlite3.Connection, user_id: str, wanted: Search, frequencies: Frequencies) -> _LookedUp:
    session = None if wanted.session is None else find_session(db, user_id, wanted.session)
    (documents,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    as_of = documents if wanted.as_of is None else wanted.as_of
    user_key = find_user(db, user_id)
    scope = None if user_key is None else scope_of(db, user_key, wanted, session)
    if scope is None:
        return _LookedUp(session, None, as_of, [], (0.0,) * len(wanted.terms))
    asked = asked_of(db, wanted.terms, scope.tokens, frequencies, documents, as_of)
    return _LookedUp(session, scope, as_of, asked, tuple(weight(one.frequency, documents) for one in asked))


def found(db: sqlite3.Connection, user_id: str, keys: Sequence[int], max_chars: int) -> list[FoundMessage]:
    """Messages of the user by their keys, in that order; those that are gone are left out."""
    user_key = find_user(db, user_id)
    rows = [
        db.execute(
            f"SELECT {MESSAGE_COLUMNS}, s.number, s.session_id FROM messages AS m "
            "JOIN runs AS r ON r.run_key = m.run_key JOIN sessions AS s ON s.session_key = m.session_key "
            "WHERE m.message_key = :key AND s.user_key = :user",
            {"key": key, "user": user_key, "chars": max_chars},
        ).fetchone()
        for key in keys
    ]
    return [
        FoundMessage(row[0], unpack_id(row[-1]), message_of(db, row[:-2], row[-2], max_chars))
        for row in rows
        if row is not None
    ]


# What holds it


@dataclass(slots=True)
class _Gathered:
    terms: dict[int, int] = field(default_factory=dict)
    near: dict[int, int] = field(default_factory=dict)
    partial: bool = False
    """Whether there are matches of frequent terms that were not read."""


class _Gathering:
    """Reads which messages hold which terms: the rare ones whole, the frequent ones only beside those."""

    def __init__(
        self, db: sqlite3.Connection, terms: Sequence[Term], asked: Sequence[Wanted], scope: Scope, as_of: int
    ) -> None:
        self._db = db
        self._asked = asked
        self._scope = scope
        self._as_of = as_of
        self._required = [at for at, term in enumerate(terms) if term.required]
        self._into = _Gathered()

    def gathered(self) -> _Gathered:
        exact = {at: one.exact for at, one in enumerate(self._asked) if one.exact is not None}
        order = sorted(exact, key=lambda at: self._asked[at].frequency)
        if self._required:
            if not all(at in exact for at in self._required):
                return self._into
            base = " AND ".join(exact[at] for at in self._required)
            keys = self._read(base, _GATHERED)
            self._into.partial = len(keys) == _GATHERED
            for at in self._required:
                self._note(at, keys)
            rest = [at for at in order if at not in self._required]
        else:
            base, rest = self._rare(order, exact)
        if base:
            for at in rest[:_REFINED]:
                self._note_known(at, self._read(f"({exact[at]}) AND ({base})", _GATHERED))
        for at, one in enumerate(self._asked):
            if one.near is not None:
                keys = self._read(one.near, _POSTINGS)
                self._into.partial |= len(keys) == _POSTINGS
                self._note_near(at, keys)
        return self._into

    def _rare(self, order: list[int], exact: dict[int, str]) -> tuple[str, list[int]]:
        """Read the rare terms, or else those that hold several frequent ones, or the newest of one."""
        read: list[int] = []
        frequent: list[int] = []
        left = _GATHERED
        for at in order:
            # Within a scope a frequent term may be rare; what only rows tell costs a look at each match.
            if self._asked[at].frequency > _POSTINGS and not self._scope.tokens:
                frequent.append(at)
                continue
            keys = self._read(exact[at], min(_POSTINGS, left) + 1)
            if len(keys) > min(_POSTINGS, left):
                frequent.append(at)
                continue
            left -= len(keys)
            read.append(at)
            self._note(at, keys)
        self._into.partial = bool(frequent)
        if self._into.terms or not frequent:
            return " OR ".join(exact[at] for at in read), frequent
        for several in range(min(len(frequent), _REFINED), 0, -1):
            keys = self._read(" AND ".join(exact[at] for at in frequent[:several]), _POSTINGS)
            for at in frequent[:several]:
                self._note(at, keys)
            if len(self._into.terms) >= PLACES:
                break
        self._into.partial = len(frequent) > 1 or len(keys) == _POSTINGS
        return "", []

    def _read(self, terms: str, most: int) -> list[int]:
        """Keys of the newest that match. What only rows tell narrows here too, before the cut."""
        inside = " AND ".join(["", *self._scope.clauses])
        with index_errors:
            rows = self._db.execute(
                "SELECT i.rowid FROM search_index AS i "
                + ("CROSS JOIN messages AS m ON m.message_key = i.rowid " if inside else "")
                + f"WHERE i.search_index MATCH :match AND i.rowid <= :as_of {inside} ORDER BY i.rowid DESC LIMIT :most",
                {
                    "match": ask(self._scope.tokens, terms),
                    "as_of": self._as_of,
                    "most": most,
                    **self._scope.values,
                },
            )
            return [key for (key,) in rows]

    def _note(self, at: int, keys: Iterable[int]) -> None:
        bit, terms = 1 << at, self._into.terms
        for key in keys:
            terms[key] = terms.get(key, 0) | bit

    def _note_known(self, at: int, keys: Iterable[int]) -> None:
        bit, terms = 1 << at, self._into.terms
        for key in keys:
            if key in terms:
                terms[key] |= bit

    def _note_near(self, at: int, keys: Iterable[int]) -> None:
        bit, near, terms = 1 << at, self._into.near, self._into.terms
        for key in keys:
            if key in terms or not self._required:
                terms.setdefault(key, 0)
                near[key] = near.get(key, 0) | bit


# What was found


def _places(
    db: sqlite3.Connection, ranked: Iterator[Match], scope: Scope, shown: frozenset[int]
) -> tuple[list[Place], bool]:
    """The best matches that the rows confirm, and whether there are more than these.

    What was shown before does not count, but it stays: it is what others stand beside.
    """
    places: list[Place] = []
    fresh = 0
    while some := {match.key: match for match in islice(ranked, _LOOKED_UP)}:
        rows = _rows(db, list(some), scope)
        places += [Place(*rows[key], match) for key, match in some.items() if key in rows]
        fresh += sum(key in rows and key not in shown for key in some)
        if fresh >= PLACES:
            break
    return places, next(ranked, None) is not None


def _rows(db: sqlite3.Connection, keys: list[int], scope: Scope) -> dict[int, tuple[int, int]]:
    """The session and seq of those of these messages that the rows confirm to be the user's and within the scope."""
    where = " AND ".join(["s.user_key = :user", "m.from_history = 0", *scope.clauses])
    statement = (
        "SELECT m.message_key, m.session_key, m.seq FROM json_each(:keys) AS k "
        "CROSS JOIN messages AS m ON m.message_key = k.value "
        f"CROSS JOIN sessions AS s ON s.session_key = m.session_key WHERE {where}"
    )
    values = {"keys": json.dumps(keys), "user": scope.user_key, **scope.values}
    return {key: (session_key, seq) for key, session_key, seq in db.execute(statement, values)}


def _similar(db: sqlite3.Connection, wanted: Search, places: Sequence[Place], scope: Scope) -> list[Place]:
    """Places of messages that were found by their meaning, where they hold none of the terms."""
    others = sorted(set(wanted.similar).difference((place.match.key for place in places), wanted.shown))
    if scope.tokens and others:
        within = "SELECT 1 FROM search_index WHERE search_index MATCH ? AND rowid = ?"
        tokens = f"scope : ({' AND '.join(scope.tokens)})"
        with index_errors:
            others = [key for key in others if db.execute(within, (tokens, key)).fetchone()]
    return [Place(*place, Match(0, 0)) for place in _rows(db, others, scope).values()] if others else []


_TURNS = """
    SELECT {inside}, m.session_key, m.seq, s.number, m.message_key, m.role, substr(m.text, 1, :chars), length(m.text),
        m.created_at, CASE WHEN m.payload IS NOT NULL THEN json_extract(m.payload, '$.name') END, r.agent, m.tool_name,
        CASE WHEN m.role = 'assistant' THEN
            (SELECT json_group_array(json_array(c.tool_name, substr(c.arguments, 1, :chars)))
             FROM (SELECT tool_name, arguments FROM tool_calls WHERE message_key = m.message_key ORDER BY ordinal) AS c)
        END
    FROM json_each(:places) AS p
    CROSS JOIN messages AS m ON m.session_key = p.value ->> 0 AND m.seq = p.value ->> 1
    CROSS JOIN runs AS r ON r.run_key = m.run_key
    CROSS JOIN sessions AS s ON s.session_key = m.session_key
    WHERE m.from_history = 0 AND m.message_key <= :as_of AND s.user_key = :user
"""


@dataclass(frozen=True, slots=True)
class _Row:
    turn: Turn
    inside: bool
    """Whether what only rows tell (times, the part of a session that a fork shares) lets it in."""
    agent: str | None
    tools: frozenset[str]


def _candidates(
    db: sqlite3.Connection, listed: Sequence[Listed], wanted: Search, scope: Scope, as_of: int
) -> Iterator[Candidate]:
    spots = {(one.place.session_key, one.place.seq) for one in listed}
    spots |= {(session_key, seq - 1) for session_key, seq in spots}
    values = {
        "places": json.dumps(sorted(spots)),
        "chars": TURN_CHARS,
        "as_of": as_of,
        "user": scope.user_key,
        **scope.values,
    }
    statement = _TURNS.format(inside=" AND ".join(scope.clauses) or "TRUE")
    rows = {(row[1], row[2]): _row(row) for row in db.execute(statement, values)}
    for one in listed:
        place = one.place
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
            one.own,
            one.context,
            one.session,
            one.before_own,
        )


def _row(row: Sequence[Any]) -> _Row:
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
