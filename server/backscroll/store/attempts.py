"""Tool calls that hold what a query says, best first, and identical ones as one line: "Have I tried this?" """

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..models import Session
from ..text import canonical_json
from .calling import Attempts, CallMatches, CallSearch, Clue, Reading
from .holding import OWN_CHARS, RANKED, Call, Found, Looking, Postings, holding, newest, postings
from .indexing import tool_token
from .matching import Wanted, expression, with_near
from .rows import NEWEST
from .shortlist import Scale, weight
from .wishes import ArgumentsOf, CallValues, Steps, one, together

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


def matches_of(wanted: CallSearch, session: Session | None, as_of: int) -> Steps[CallMatches]:
    """What a search for calls finds, up to this message."""
    asked, read, near = yield from _look_up(wanted, as_of)
    readings = tuple(Reading(one.frequency.bit_length(), one.near, one.spelled) for one in asked)
    weights = [
        clue.worth * weight(_low(reading.magnitude), as_of)
        for clue, reading in zip(wanted.clues, readings, strict=True)
    ]
    required = sum(1 << at for at, clue in enumerate(wanted.clues) if clue.term.required)
    # Terms by themselves are found sooner without the tool's token: it is asked for where they are frequent.
    also = () if wanted.tool_name is None else (tool_token(wanted.tool_name),)
    ranked = NEWEST if wanted.every else RANKED
    looking = Looking(asked, read, near, Scale(weights), required, also, ranked)
    holding_some = yield from holding(looking)
    alike = _worth_telling(looking, (yield from _folded(holding_some.calls)), wanted.clues)
    lines = _lines(looking, alike, wanted)
    return CallMatches(
        session,
        tuple((yield from _told(lines, wanted))),
        sum(map(len, alike)),
        holding_some.partial,
        as_of,
        readings,
        tuple(weights),
        tuple(_missing(holding_some, readings)),
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


LookedUp = tuple[list[Wanted], dict[int, Postings], dict[int, Postings]]


def _look_up(wanted: CallSearch, as_of: int) -> Steps[LookedUp]:
    """The clues in the words of an index, and the newest messages that hold each, or hold it nearly."""
    clues = wanted.clues
    # A cursor of another version of this program may hold others.
    readings = wanted.readings if len(wanted.readings or ()) == len(clues) else None
    most = NEWEST if wanted.every else min(_POSTINGS, max(_GATHERED // max(len(clues), 1), _FEW))
    meant = [clue for clue in clues if not clue.term.common] or clues
    exact = [expression(clue.term) if clue in meant else None for clue in clues]
    read = yield from _read(clues, [_sought(at, exact, readings) for at in range(len(clues))], most)
    asked: list[Wanted] = []
    nearly: dict[int, Wanted] = {}
    for at, clue in enumerate(clues):
        found = read[at]
        this = Wanted(exact[at] if found.keys else None, None, _frequency(found, as_of))
        if readings is not None:
            reading = readings[at]
            this = Wanted(this.exact, reading.near, _low(reading.magnitude), reading.spelled)
        elif exact[at] is not None and len(clues) <= _TYPED and clue.term.text.isalpha():
            nearly[at] = Wanted(exact[at], None, this.frequency)
        asked.append(this)
    told = yield from together([with_near(clues[at].term, this) for at, this in nearly.items()])
    for at, this in zip(nearly, told, strict=True):
        asked[at] = this
    near = {at: this.near for at, this in enumerate(asked) if this.near is not None}
    keys = yield [newest(terms, most) for terms in near.values()]
    return (
        asked,
        {at: found for at, found in enumerate(read) if found.keys},
        {at: postings(some, most) for at, some in zip(near, keys, strict=True)},
    )


def _sought(at: int, exact: Sequence[str | None], readings: Sequence[Reading] | None) -> str | None:
    """What to look for a clue by; None where nothing holds it, or the first page found it spelled otherwise."""
    if readings is not None and (readings[at].spelled or not readings[at].magnitude):
        return None
    return exact[at]


def _read(clues: Sequence[Clue], sought: Sequence[str | None], most: int) -> Steps[list[Postings]]:
    """The newest messages that hold each clue."""
    read: dict[int, Postings] = {}
    due = list(range(len(clues)))
    while due:
        asking: dict[int, str] = {}
        for at in due:
            terms = sought[at]
            if terms is None:
                read[at] = Postings((), True)
            elif not clues[at].widens or not at:
                asking[at] = terms
            elif (before := read.get(at - 1)) is None:
                continue
            elif before.keys and not before.whole:
                # Whatever holds a path holds its parts.
                read[at] = Postings(before.keys, True)
            else:
                asking[at] = terms
        told = yield [newest(terms, most) for terms in asking.values()]
        read.update((at, postings(keys, most)) for at, keys in zip(asking, told, strict=True))
        due = [at for at in due if at not in read]
    return [read[at] for at in range(len(clues))]


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


def _folded(calls: Iterable[Call]) -> Steps[list[list[Call]]]:
    """Calls of the same tool with the same arguments: as values where they are JSON, long ones to the letter.

    Arguments that were not stored are not known to be the same.
    """
    folded: list[list[Call]] = []
    alike: dict[tuple[str, str, int], list[Call]] = defaultdict(list)
    for call in calls:
        if call.arguments is None:
            folded.append([call])
        elif call.chars <= OWN_CHARS:
            alike[call.tool_name, canonical_json(call.arguments), 0].append(call)
        else:
            alike[call.tool_name, call.arguments, call.chars].append(call)
    for same in alike.values():
        if len(same) > 1 and same[0].chars > OWN_CHARS:
            folded += yield from _same_to_the_letter(same)
        else:
            folded.append(same)
    return folded


def _same_to_the_letter(calls: Sequence[Call]) -> Steps[list[list[Call]]]:
    alike: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        # One at a time: they may be megabytes.
        text = yield from one(ArgumentsOf(call.key))
        alike[text].append(call)
    return list(alike.values())


def _told(lines: Sequence[_Line], wanted: CallSearch) -> Steps[list[Attempts]]:
    several = [call.key for line in lines if len(line.calls) > 1 for call in line.calls[: wanted.outcomes]]
    shown, others = yield [
        CallValues(tuple(line.shown.key for line in lines), wanted.max_chars),
        CallValues(tuple(several), 0),
    ]
    places = {**shown, **others}
    told = []
    for line in lines:
        outcomes = tuple((places[call.key].ref, call.status) for call in line.calls[: wanted.outcomes])
        told.append(Attempts(shown[line.shown.key], line.position, len(line.calls), outcomes))
    return told
