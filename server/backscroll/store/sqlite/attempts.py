"""Tool calls that hold what a query says, best first, and identical ones as one line: "Have I tried this?" """

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...text import canonical_json
from .. import Attempts, CallMatches, CallSearch, Clue, Reading, Search
from ..indexing import tool_token
from ..rows import NEWEST
from ..shortlist import Scale, weight
from .calls import Filters, calls_by_key, filters
from .holding import OWN_CHARS, RANKED, Call, Found, Looking, Postings, holding, newest
from .matching import Frequencies, Wanted, expression, with_near
from .rows import find_session, find_user
from .scoping import scope_of

_TYPED = 8
"""More terms than this were pasted, not typed: then no word of them is looked for in near spellings."""


_POSTINGS = 400
"""Messages that are read for a term at most: four for each call that is ranked, since talk holds it too."""

_GATHERED = 3_000
"""Messages that are read for all terms together: of what was pasted, which has many, each is read less far."""

_FEW = 100
"""Messages that are read for a term at least, however many there are: a rare one is read whole even so."""

_HALF = 0.5
"""A call is told that holds more than half of what the best one holds, by number and by weight: either of all
terms, or of those that stay the same from one time to the next."""

_SLIGHT = 0.5
"""Terms that count less than this, figures and single letters, lead to no call by themselves."""


def find_calls(db: sqlite3.Connection, user_id: str, wanted: CallSearch, frequencies: Frequencies) -> CallMatches:
    session = None if wanted.session is None else find_session(db, user_id, wanted.session)
    value = None if session is None else session.value()
    as_of = wanted.as_of
    if as_of is None:
        (as_of,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    user_key = find_user(db, user_id)
    where = Search((), session=wanted.session)
    scope = None if user_key is None else scope_of(db, user_key, where, session)
    if scope is None:
        return CallMatches(value, (), 0, False, as_of, ())
    asked, postings, near = _look_up(db, wanted, scope.tokens, frequencies, as_of)
    readings = tuple(Reading(one.frequency.bit_length(), one.near, one.spelled) for one in asked)
    weights = [
        clue.worth * weight(_low(reading.magnitude), as_of)
        for clue, reading in zip(wanted.clues, readings, strict=True)
    ]
    required = sum(1 << at for at, clue in enumerate(wanted.clues) if clue.term.required)
    # Terms by themselves are found sooner without the tool's token: it is asked for where they are frequent.
    tools = () if wanted.tool_name is None else (tool_token(wanted.tool_name),)
    told = filters(db, user_key, session, wanted.tool_name, wanted.status)
    ranked = NEWEST if wanted.every else RANKED
    looking = Looking(db, asked, postings, near, Scale(weights), required, (*scope.tokens, *tools), told, as_of, ranked)
    found = holding(looking)
    alike = _worth_telling(looking, [*_folded(looking, found.calls)], wanted.clues)
    lines = _lines(looking, alike, wanted)
    return CallMatches(
        value,
        tuple(_told(db, lines, looking.filters, wanted)),
        sum(map(len, alike)),
        found.partial,
        as_of,
        readings,
        tuple(weights),
        tuple(_missing(found, readings)),
    )


def _worth_telling(looking: Looking, alike: Sequence[list[Call]], clues: Sequence[Clue]) -> list[list[Call]]:
    """Of groups of identical calls those with one that holds enough beside the best of all: see _HALF and _SLIGHT."""
    whole = (1 << len(clues)) - 1
    steady = sum(1 << at for at, clue in enumerate(clues) if not clue.varies)
    telling = sum(1 << at for at, clue in enumerate(clues) if clue.worth >= _SLIGHT) or whole
    counted = Scale([clue.worth for clue in clues])
    some = [call for calls in alike for call in calls if (call.terms | call.near) & telling]
    if not some:
        return []
    best = max(some, key=looking.rank)

    def enough(call: Call, among: int) -> bool:
        held, most = (call.terms | call.near) & among, (best.terms | best.near) & among
        return all(scale.share(held) > _HALF * scale.share(most) for scale in (counted, looking.scale))

    kept = {call.key for call in some if call is best or enough(call, whole) or enough(call, steady)}
    return [calls for calls in alike if any(call.key in kept for call in calls)]


def _look_up(
    db: sqlite3.Connection,
    wanted: CallSearch,
    scope: Sequence[str],
    frequencies: Frequencies,
    as_of: int,
) -> tuple[list[Wanted], dict[int, Postings], dict[int, Postings]]:
    """The clues in the engine's words, and the newest messages that hold each, or hold it nearly."""
    asked: list[Wanted] = []
    postings: dict[int, Postings] = {}
    clues = wanted.clues
    # A cursor of another version of this program may hold others.
    readings = wanted.readings if len(wanted.readings or ()) == len(clues) else None
    most = NEWEST if wanted.every else min(_POSTINGS, max(_GATHERED // max(len(clues), 1), _FEW))
    meant = [clue for clue in clues if not clue.term.common] or clues
    for at, clue in enumerate(clues):
        reading = None if readings is None else readings[at]
        exact = expression(clue.term) if clue in meant else None
        if exact is None or (reading is not None and (reading.spelled or not reading.magnitude)):
            read = Postings((), True)
        elif clue.widens and at - 1 in postings and not postings[at - 1].whole:
            # Whatever holds a path holds its parts.
            read = Postings(postings[at - 1].keys, True)
        else:
            read = newest(db, scope, exact, most, as_of)
        if read.keys:
            postings[at] = read
        one = Wanted(exact if read.keys else None, None, _frequency(read, as_of))
        if reading is not None:
            one = Wanted(one.exact, reading.near, _low(reading.magnitude), reading.spelled)
        elif exact is not None and len(clues) <= _TYPED and clue.term.text.isalpha():
            one = with_near(db, clue.term, Wanted(exact, None, one.frequency), scope, frequencies, as_of)
        asked.append(one)
    near = {at: newest(db, scope, one.near, most, as_of) for at, one in enumerate(asked) if one.near is not None}
    return asked, postings, near


def _frequency(read: Postings, as_of: int) -> int:
    """How many messages hold a term: where only the newest were read, as many as if it had always been as frequent."""
    return len(read.keys) if read.whole else len(read.keys) * as_of // (as_of + 1 - read.keys[-1])


def _low(magnitude: int) -> int:
    """The least number of that many bits: what all pages know of a frequency, though messages came since."""
    return 1 << magnitude - 1 if magnitude else 0


def _missing(found: Found, readings: Sequence[Reading]) -> Iterator[int]:
    """The terms that are in no call, where all that hold them were looked at."""
    held = 0
    for call in found.calls:
        held |= call.terms | call.near
    for at, reading in enumerate(readings):
        if not held >> at & 1 and (not reading.magnitude or found.whole >> at & 1):
            yield at


@dataclass(frozen=True, slots=True)
class _Line:
    """Identical calls, newest first, and the one that stands for them."""

    shown: Call
    position: tuple[int, int, int]
    calls: Sequence[Call]


def _lines(looking: Looking, alike: Iterable[list[Call]], wanted: CallSearch) -> list[_Line]:
    """The lines from where the page begins, best first. A line stands where the best of its calls does."""
    lines = []
    for calls in alike:
        position, at = max((looking.rank(call), at) for at, call in enumerate(calls))
        if wanted.after is None or position < wanted.after:
            lines.append(_Line(calls[at], position, sorted(calls, key=_newest_first)))
    return sorted(lines, key=lambda line: line.position, reverse=True)[: wanted.limit]


def _newest_first(call: Call) -> tuple[int, int]:
    return -call.called_at, -call.key


def _folded(looking: Looking, calls: Iterable[Call]) -> Iterator[list[Call]]:
    """Calls of the same tool with the same arguments: as values where they are JSON, long ones to the letter.

    Arguments that were not stored are not known to be the same.
    """
    alike: dict[tuple[str, str, int], list[Call]] = defaultdict(list)
    for call in calls:
        if call.arguments is None:
            yield [call]
        elif call.chars <= OWN_CHARS:
            alike[call.tool_name, canonical_json(call.arguments), 0].append(call)
        else:
            alike[call.tool_name, call.arguments, call.chars].append(call)
    for same in alike.values():
        if len(same) > 1 and same[0].chars > OWN_CHARS:
            yield from _same_to_the_letter(looking, same)
        else:
            yield same


def _same_to_the_letter(looking: Looking, calls: Iterable[Call]) -> Iterator[list[Call]]:
    alike: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        (text,) = looking.db.execute(
            "SELECT arguments FROM tool_calls WHERE user_key = ? AND call_key = ?",
            (looking.filters.values["user"], call.key),
        ).fetchone()
        alike[text].append(call)
    yield from alike.values()


def _told(db: sqlite3.Connection, lines: Sequence[_Line], told: Filters, wanted: CallSearch) -> Iterator[Attempts]:
    shown = calls_by_key(db, [line.shown.key for line in lines], told, wanted.max_chars)
    several = [call.key for line in lines if len(line.calls) > 1 for call in line.calls[: wanted.outcomes]]
    places = {**shown, **calls_by_key(db, several, told, 0)}
    for line in lines:
        outcomes = tuple((places[call.key].ref, call.status) for call in line.calls[: wanted.outcomes])
        yield Attempts(shown[line.shown.key], line.position, len(line.calls), outcomes)
