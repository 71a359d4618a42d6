"""Which messages hold which terms: rare terms are read whole, and frequent ones only where those are.

An engine's own ranking is not asked for: it reads every match of every term, a second and more for a question
of plain words in a million messages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .matching import Wanted
from .shortlist import PLACES
from .values import Term
from .wishes import Newest, Steps, one

POSTINGS = 2_500
"""A term of more matches than this is frequent: it is looked for where rarer terms are."""

_GATHERED = 7_500
"""Matches that are read for all terms together."""

_REFINED = 8
"""Frequent terms that are looked for, rarest first."""


@dataclass(slots=True)
class Gathered:
    """Messages by key with the terms that they hold, as bits by their place, exactly and nearly."""

    terms: dict[int, int] = field(default_factory=dict)
    near: dict[int, int] = field(default_factory=dict)
    partial: bool = False
    """Whether there are matches of frequent terms that were not read."""


def gathered(terms: Sequence[Term], asked: Sequence[Wanted], *, narrowed: bool) -> Steps[Gathered]:
    """`narrowed`: whether tokens of the scope leave out some of the messages."""
    return _Gathering(terms, asked, narrowed).gathered()


class _Gathering:
    def __init__(self, terms: Sequence[Term], asked: Sequence[Wanted], narrowed: bool) -> None:
        self._asked = asked
        self._narrowed = narrowed
        self._required = [at for at, term in enumerate(terms) if term.required]
        self._into = Gathered()

    def gathered(self) -> Steps[Gathered]:
        exact = {at: one.exact for at, one in enumerate(self._asked) if one.exact is not None}
        order = sorted(exact, key=lambda at: self._asked[at].frequency)
        if self._required:
            if not all(at in exact for at in self._required):
                return self._into
            base = " AND ".join(exact[at] for at in self._required)
            keys = yield from one(Newest(base, _GATHERED))
            self._into.partial = len(keys) == _GATHERED
            for at in self._required:
                self._note(at, keys)
            rest = [at for at in order if at not in self._required]
        else:
            base, rest = yield from self._rare(order, exact)
        beside = rest[:_REFINED] if base else []
        near = {at: one.near for at, one in enumerate(self._asked) if one.near is not None}
        told = yield [
            *(Newest(f"({exact[at]}) AND ({base})", _GATHERED) for at in beside),
            *(Newest(terms, POSTINGS) for terms in near.values()),
        ]
        for at, keys in zip(beside, told[: len(beside)], strict=True):
            self._note_known(at, keys)
        for at, keys in zip(near, told[len(beside) :], strict=True):
            self._into.partial |= len(keys) == POSTINGS
            self._note_near(at, keys)
        return self._into

    def _rare(self, order: list[int], exact: dict[int, str]) -> Steps[tuple[str, list[int]]]:
        """Read the rare terms, or else those that hold several frequent ones, or the newest of one."""
        read: list[int] = []
        # Within a scope a frequent term may be rare; what only rows tell costs a look at each match.
        frequent = [at for at in order if self._asked[at].frequency > POSTINGS and not self._narrowed]
        due = [at for at in order if at not in frequent]
        left = _GATHERED
        while due:
            some = self._that_fit(due, left)
            due = due[len(some) :]
            told = yield [Newest(exact[at], min(POSTINGS, left) + 1) for at in some]
            for at, keys in zip(some, told, strict=True):
                if len(keys) > min(POSTINGS, left):
                    frequent.append(at)
                    continue
                left -= len(keys)
                read.append(at)
                self._note(at, keys)
        frequent.sort(key=order.index)
        self._into.partial = bool(frequent)
        if self._into.terms or not frequent:
            return " OR ".join(exact[at] for at in read), frequent
        keys = []
        for several in range(min(len(frequent), _REFINED), 0, -1):
            keys = yield from one(Newest(" AND ".join(exact[at] for at in frequent[:several]), POSTINGS))
            for at in frequent[:several]:
                self._note(at, keys)
            if len(self._into.terms) >= PLACES:
                break
        self._into.partial = len(frequent) > 1 or len(keys) == POSTINGS
        return "", []

    def _that_fit(self, due: list[int], left: int) -> list[int]:
        """The first of these terms that can be read at once, without reading more than is left."""
        some = due[:1]
        for at in due[1:]:
            if sum(min(self._asked[other].frequency, POSTINGS) for other in (*some, at)) > left:
                break
            some.append(at)
        return some

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
