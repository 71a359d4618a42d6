"""Near-duplicates: lines that say the same are one line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..store import Candidate

ALIKE = 0.9
"""Texts that share this much of their words say the same: a log line with another time, not `run 17` and `run 18`."""

_BEST = 50
"""Candidates that are compared: what ranks lower than these is not alike."""

_LONG = 12
"""Shorter texts are the same only if they are equal and of one session: a "yes" elsewhere answers something else."""

_WORD = re.compile(r"\w+")


@dataclass(slots=True)
class Folded:
    """A line and those that say the same as it, in their order."""

    first: Candidate
    words: frozenset[str]
    said: tuple[str, ...]
    alike: list[Candidate] = field(default_factory=list)


def folded(candidates: Sequence[Candidate], lines: int) -> list[Folded]:
    """The first `lines` lines that say different things, each with those of the best that say the same."""
    kept: list[Folded] = []
    for candidate in candidates[: max(_BEST, 2 * lines)]:
        said = tuple(_WORD.findall(candidate.turn.text.casefold()))
        words = frozenset(said)
        same = next((one for one in kept if _alike(one, candidate, said, words)), None)
        if same is not None:
            same.alike.append(candidate)
        elif len(kept) < lines:
            kept.append(Folded(candidate, words, said))
    return kept


def _alike(one: Folded, other: Candidate, said: tuple[str, ...], words: frozenset[str]) -> bool:
    if not said or (one.first.turn.role, one.first.turn.speaker) != (other.turn.role, other.turn.speaker):
        return False
    if len(said) < _LONG or len(one.said) < _LONG:
        return one.said == said and _session(one.first) == _session(other)
    fewer, more = sorted((len(words), len(one.words)))
    if fewer < ALIKE * more:
        return False
    shared = len(words & one.words)
    return shared >= ALIKE * (len(words) + len(one.words) - shared)


def _session(candidate: Candidate) -> str:
    return candidate.turn.ref.partition(".")[0]
