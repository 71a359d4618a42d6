"""What speaks for a candidate, each thing as a number of about 0 to 1. How much it counts stands in weights.py."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise

from ..store import Candidate
from .dates import Span
from .english import FIRST_PERSON, NAMES, NUMBERS, PLACES, REACTION, STOP_WORDS, TIMES
from .question import Question

_WORD = re.compile(r"\w+")
_SAID_BY = re.compile(r"\W*([^\W\d_][\w .'-]{0,30}):\s")
_DAY = timedelta(days=1)
_FADING_DAYS = 10.0


@dataclass(frozen=True)
class Reading:
    """A candidate as it is held against the question. `speakers` are the names that it names.

    `usual_chars` is the mean length of all candidates.
    """

    question: Question
    candidate: Candidate
    weights: Sequence[float]
    speakers: frozenset[str]
    usual_chars: float
    with_vectors: bool = False
    similar: float = 0.0
    similar_before: float = 0.0

    @cached_property
    def folded(self) -> str:
        return self.candidate.turn.text.casefold()

    @cached_property
    def named(self) -> frozenset[str]:
        """Of the names that the question names, those of this candidate's speaker."""
        return self.speakers & speaker_words(self.candidate)


def speaker_words(candidate: Candidate) -> frozenset[str]:
    """The words of the name of who speaks: told by the message or its agent, or at the beginning of its text."""
    name = candidate.turn.speaker
    if name is None:
        said_by = _SAID_BY.match(candidate.turn.text)
        name = said_by[1] if said_by else ""
    return frozenset(_WORD.findall(name.casefold()))


def own(one: Reading) -> float:
    """The share of the question's weight that its terms make up."""
    return one.candidate.own


def dense(one: Reading) -> float:
    """The same as BM25 has it: again and again counts more, in a long text less.

    Questions gain nothing by it; it orders what holds the same bare keywords.
    """
    candidate = one.candidate
    whole = sum(one.weights) or 1.0
    room = 1.2 * (0.25 + 0.75 * candidate.turn.chars / one.usual_chars)
    total = 0.0
    for at in candidate.terms:
        often = max(one.folded.count(one.question.spelled[at]), 1)
        total += one.weights[at] * often * 2.2 / (often + room)
    return total / whole


def context(one: Reading) -> float:
    """The same with the terms of the messages around it, which fade: talk goes on from line to line."""
    return one.candidate.context


def session(one: Reading) -> float:
    """The same for all that was found in its session: what it was about."""
    return one.candidate.session


def exact(one: Reading) -> float:
    """The share of its terms that stand there to the letter, endings too."""
    terms = [at for at in one.candidate.terms if one.weights[at]]
    whole = sum(one.weights[at] for at in terms)
    there = sum(one.weights[at] for at in terms if one.question.spelled[at] in one.folded)
    return there / whole * one.candidate.own if whole else 0.0


def phrase(one: Reading) -> float:
    """The share of the question's neighbouring words that stand side by side here too."""
    pairs = _pairs(one.question.words)
    if not pairs:
        return 0.0
    text = one.folded
    return sum(any(pair in text for pair in ways) for ways in pairs) / len(pairs)


@lru_cache(maxsize=64)
def _pairs(words: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Neighbouring words that are not both of a question's frame, joined in each way that names are."""
    return tuple(
        (f"{a} {b}", f"{a}_{b}", f"{a}-{b}") for a, b in pairwise(words) if not (a in STOP_WORDS and b in STOP_WORDS)
    )


def answers(one: Reading) -> float:
    """The line before asks, with the question's terms: this one answers."""
    return answering(one.candidate)


def answering(candidate: Candidate) -> float:
    """The share of the question's weight that the line before has, if that asks; else 0."""
    before = candidate.before
    return candidate.before_own if before is not None and "?" in before.text else 0.0


def asks(one: Reading) -> float:
    """A question itself: it is answered elsewhere."""
    return float(one.candidate.turn.text.rstrip().endswith("?"))


def speaks(one: Reading) -> float:
    """Said by the one that the question names."""
    return float(bool(one.named) or one.candidate.turn.role in one.question.roles)


def of_self(one: Reading) -> float:
    """The one named speaks of themselves."""
    return float(bool(one.named) and FIRST_PERSON.search(one.candidate.turn.text) is not None)


def reacts(one: Reading) -> float:
    """Begins as lines do that only answer to another one."""
    return float(REACTION.match(one.candidate.turn.text) is not None)


def tells_time(one: Reading) -> float:
    """Asked when, it tells a time."""
    return _tells(one, "time", TIMES)


def tells_number(one: Reading) -> float:
    """Asked how many, it tells a number."""
    return _tells(one, "number", NUMBERS)


def tells_place(one: Reading) -> float:
    """Asked where, it names what may be a place."""
    return _tells(one, "place", PLACES)


def tells_title(one: Reading) -> float:
    """Asked for a title or a name, it quotes something."""
    text = one.candidate.turn.text
    # In the arguments of a call everything is quoted.
    return float("title" in one.question.wants and '"' in text and '{"' not in text)


def tells_names(one: Reading) -> float:
    """Asked what, which or who, it names names: up to three count."""
    if "name" not in one.question.wants:
        return 0.0
    return min(len(NAMES.findall(one.candidate.turn.text)), 3) / 3


def in_time(one: Reading) -> float:
    """Said in the time that the question names, or soon after: things are told when they are over."""
    return max((_in_span(span, one.candidate.turn.created_at) for span in one.question.spans), default=0.0)


def similar(one: Reading) -> float:
    """Cosine of its vector with the question's, where there are vectors."""
    return one.similar


def similar_before(one: Reading) -> float:
    """The same of the message before."""
    return one.similar_before


Feature = Callable[[Reading], float]

LEXICAL: Mapping[str, Feature] = {
    feature.__name__: feature
    for feature in (
        own, context, session, exact, phrase, answers, asks, speaks, of_self, reacts, tells_time,
        tells_number, tells_place, tells_title, tells_names, in_time,
    )
}  # fmt: skip
SEMANTIC: Mapping[str, Feature] = {**LEXICAL, "similar": similar, "similar_before": similar_before}


def _tells(one: Reading, kind: str, pattern: re.Pattern[str]) -> float:
    return float(kind in one.question.wants and pattern.search(one.candidate.turn.text) is not None)


def _in_span(span: Span, said_at: datetime) -> float:
    if span.start - _DAY <= said_at < span.end + _DAY:
        return 1.0
    if said_at >= span.end:
        return 0.6 * math.exp(-((said_at - span.end) / _DAY) / _FADING_DAYS)
    return 0.2 * math.exp(-((span.start - said_at) / _DAY) / _FADING_DAYS)
