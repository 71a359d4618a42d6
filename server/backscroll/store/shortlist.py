"""Which of many matches are worth reading: by the terms in them and near them, before any text is read.

Pure, and the same for every database: keys of messages, the terms that each holds, and its place in its session.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PLACES = 250
"""Matches whose places are looked up: the neighbourhood that context is measured in."""

NEARLY = 0.5
"""What a term counts that is held in a near spelling only."""

_REACH = 12
_FADING = 4.0
"""Context fades with the distance in messages: to a third after four, to nothing after twelve."""

_FADED = [math.exp(-distance / _FADING) for distance in range(_REACH + 1)]

_OWN, _CONTEXT, _SESSION = 0.5, 1.0, 0.25
"""How much each measure says about a message before it is read; the second stage weighs them anew."""

_BESIDE = 60
"""So many of the likeliest matches lend their neighbours: the answer often stands beside the question."""

_NEIGHBOURS = (1, -1, 2, -2)


@dataclass(frozen=True, slots=True)
class Match:
    """The terms of one message, as bits by their place in the query."""

    key: int
    terms: int
    near: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A message's place, and what it holds. `key` 0: not a match itself, but beside one."""

    session_key: int
    seq: int
    match: Match


@dataclass(frozen=True, slots=True)
class Listed:
    """A place with its measures, each a share of the weight of all terms."""

    place: Place
    own: float
    context: float
    session: float
    before_own: float

    @property
    def likely(self) -> float:
        return _OWN * self.own + _CONTEXT * self.context + _SESSION * self.session


def weight(frequency: int, documents: int) -> float:
    """What a term says about a message that holds it: BM25's inverse document frequency; 0 if none does."""
    if frequency == 0:
        return 0.0
    return math.log(1 + (max(documents, frequency) - frequency + 0.5) / (frequency + 0.5))


class Scale:
    """The weights of the terms, and what a set of terms is worth as a share of all."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = weights
        self._whole = sum(weights) or 1.0
        self._known: dict[int, float] = {0: 0.0}

    def share(self, terms: int) -> float:
        value = self._known.get(terms)
        if value is None:
            value = sum(one for at, one in enumerate(self.weights) if terms >> at & 1) / self._whole
            self._known[terms] = value
        return value

    def own(self, match: Match) -> float:
        near = match.near & ~match.terms
        return self.share(match.terms) + (NEARLY * self.share(near) if near else 0.0)


def best(terms: Mapping[int, int], near: Mapping[int, int], scale: Scale) -> Iterator[Match]:
    """Messages by key with the terms that they hold, as bits: most of the weight first, the newest of equals."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for key, held in terms.items():
        groups[held, near.get(key, 0)].append(key)
    worth = {held: scale.own(Match(0, *held)) for held in groups}
    for value in sorted(set(worth.values()), reverse=True):
        tiers = [held for held in groups if worth[held] == value]
        keys = sorted(((key, held) for held in tiers for key in groups[held]), reverse=True)
        yield from (Match(key, *held) for key, held in keys)


def shortlist(
    places: Sequence[Place],
    scale: Scale,
    pool: int,
    *,
    beside: bool,
    similar: Sequence[Place] = (),
    shown: frozenset[int] = frozenset(),
) -> list[Listed]:
    """The likeliest `pool` of the places and, if asked for, of the places beside the best of them; and the similar.

    What was `shown` is not listed again, but lends its neighbours and its terms as before.
    """
    sessions: dict[int, dict[int, Match]] = defaultdict(dict)
    for place in places:
        sessions[place.session_key][place.seq] = place.match
    grounds = {key: _Ground(matches, scale) for key, matches in sessions.items()}
    listed = sorted((_listed(place, grounds, scale) for place in places), key=_likeliest)
    if beside:
        lent = {
            (one.place.session_key, seq): Place(one.place.session_key, seq, Match(0, 0))
            for one in listed[:_BESIDE]
            for seq in (one.place.seq + distance for distance in _NEIGHBOURS)
            if seq > 0 and seq not in sessions[one.place.session_key]
        }
        listed = sorted([*listed, *(_listed(place, grounds, scale) for place in lent.values())], key=_likeliest)
    fresh = [one for one in listed if one.place.match.key not in shown]
    # Neighbours may turn out to be shown or forbidden by a filter: matches keep a third of the room.
    lent_out = [one for one in fresh if not one.place.match.key][: pool * 2 // 3]
    matches = [one for one in fresh if one.place.match.key][: pool - len(lent_out)]
    chosen = {(one.place.session_key, one.place.seq): one for one in sorted([*matches, *lent_out], key=_likeliest)}
    for place in similar:
        chosen.setdefault((place.session_key, place.seq), _listed(place, grounds, scale))
    return list(chosen.values())


def _likeliest(one: Listed) -> float:
    return -one.likely


class _Ground:
    """The matches of one session by seq: where each term is, and what all of them together hold."""

    def __init__(self, matches: Mapping[int, Match], scale: Scale) -> None:
        self.matches = matches
        seqs_of: dict[int, list[int]] = defaultdict(list)
        held = 0
        for seq in sorted(matches):
            terms = matches[seq].terms | matches[seq].near
            held |= terms
            while terms:
                lowest = terms & -terms
                seqs_of[lowest].append(seq)
                terms ^= lowest
        self._lines = [(scale.share(term), seqs) for term, seqs in seqs_of.items()]
        self.session = scale.share(held)

    def context(self, seq: int) -> float:
        """Each term by its nearest place in the session."""
        total = 0.0
        for share, seqs in self._lines:
            at = bisect_left(seqs, seq)
            distance = seqs[at] - seq if at < len(seqs) else _REACH + 1
            if at and seq - seqs[at - 1] < distance:
                distance = seq - seqs[at - 1]
            if distance <= _REACH:
                total += share * _FADED[distance]
        return total


def _listed(place: Place, grounds: Mapping[int, _Ground], scale: Scale) -> Listed:
    ground = grounds.get(place.session_key)
    if ground is None:
        return Listed(place, own=scale.own(place.match), context=0.0, session=0.0, before_own=0.0)
    before = ground.matches.get(place.seq - 1)
    return Listed(
        place,
        own=scale.own(place.match),
        context=ground.context(place.seq),
        session=ground.session,
        before_own=0.0 if before is None else scale.own(before),
    )
