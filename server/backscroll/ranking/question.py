"""A query as search understands it: terms to look for, times it names, and what kind of answer it wants."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import pairwise

from ..models import Role
from ..store import Term
from ..store.indexing import query_forms, unspaced_runs, without_unspaced
from .dates import Span, spans
from .english import ANSWERED_BY, ASKED_OF_DAYS, OPENINGS, SELF, STOP_WORDS, YOU, Wants

MAX_TERMS = 64

LONGEST_UNSPACED = 6
"""A longer run of Chinese, Japanese, Korean, Thai or the like is no word."""

_ASKING = ("?", "？", "؟", "吗", "か")

_QUOTED = re.compile(r'"([^"]*)"')
_WORD = re.compile(r"\w+")
_POSSESSIVE = re.compile(r"['’]s$", re.IGNORECASE)
_DIGEST = re.compile(r"(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{6,64}", re.IGNORECASE)
_CONTRACTED = re.compile(r"['’](?:re|ve|ll|d|m)$", re.IGNORECASE)
_NEGATED = re.compile(r"[a-z]+n['’]t", re.IGNORECASE)
_AROUND = ".,;:!?()[]{}<>'’`…\"“”„«»"
"""What stands around a word and is none of it."""


@dataclass(frozen=True)
class Question:
    """`words` are those of the query in lower case and in order; `terms` what is looked for, each once.

    `roles` are those whose words it asks for: "what did I say", "your answer". `natural`: said as a
    sentence and not as bare keywords, so that the answer may stand beside the line that holds the words.
    """

    text: str
    terms: tuple[Term, ...]
    words: tuple[str, ...]
    spans: tuple[Span, ...]
    wants: frozenset[Wants]
    roles: frozenset[Role]
    natural: bool

    @cached_property
    def spelled(self) -> tuple[str, ...]:
        """The terms in lower case."""
        return tuple(term.text.casefold() for term in self.terms)

    @property
    def only_names_time(self) -> bool:
        """Whether it asks for nothing but a time: "what did we do yesterday?". A bare "monday" is a word."""
        if len(self.words) == 1 and not all(span.exact for span in self.spans):
            return False
        return bool(self.spans) and all(
            term.common or term.literal or term.text.casefold() in ASKED_OF_DAYS for term in self.terms
        )

    @property
    def time(self) -> tuple[datetime, datetime] | None:
        """The stretch that holds all the times it names."""
        if not self.spans:
            return None
        return min(span.start for span in self.spans), max(span.end for span in self.spans)

    def loosened(self) -> "Question":
        """The same with the words of its "phrases" as words."""
        return replace(self, terms=_told(one for term in self.terms for one in _loose(term)))


def read(query: str, now: datetime) -> Question:
    """Understand a query. `now` is in the user's zone. Nothing in a query is an operator but "quotes"."""
    named = _named_times(query, now)
    phrases = [Term(text, required=True) for text in _QUOTED.findall(query) if _WORD.search(text)]
    # "last" and "Tuesday" may stand in a text that was said then, but need not: "list" is no slip of theirs.
    dated = {word.casefold() for span in named for word in _WORD.findall(span.text)}
    terms = _told(_of_date(term, dated) for term in (*_terms(_QUOTED.sub(" ", query)), *phrases))
    words = tuple(word.casefold() for word in _WORD.findall(query))
    natural = not phrases and (
        bool(words and words[0] in OPENINGS and len(words) > 1)
        or query.rstrip().endswith(_ASKING)
        or (len(words) > 3 and not STOP_WORDS.isdisjoint(words))
    )
    return Question(query, terms, words, named, _wants(query), _roles(words), natural)


def _named_times(query: str, now: datetime) -> tuple[Span, ...]:
    """Beside an outright date, "recently" and its like are told from that date, not from now."""
    named = spans(query, now)
    outright = tuple(span for span in named if span.exact)
    return outright or named


def _of_date(term: Term, dated: set[str]) -> Term:
    """Words of a date are neither mended nor missed, and its figures say nothing of a text that was said then."""
    words = set(_WORD.findall(term.text.casefold()))
    if term.required or not words <= dated:
        return term
    return replace(term, literal=True, common=term.common or any(map(str.isdigit, "".join(words))))


def _told(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Each term once. Of too many, those are left out that say the least."""
    each = {term.text.casefold(): term for term in terms}
    return tuple(sorted(each.values(), key=lambda term: (not term.required, term.common)))[:MAX_TERMS]


def _terms(text: str) -> Iterator[Term]:
    for piece in _pieces(text):
        piece = _CONTRACTED.sub("", _POSSESSIVE.sub("", piece.strip(_AROUND)))
        if not _WORD.search(piece):
            continue
        bare = piece.strip("-/\\")
        spelled, *forms = query_forms(bare or piece)
        common = spelled.casefold() in STOP_WORDS or _NEGATED.fullmatch(spelled) is not None
        yield Term(spelled, tuple(forms), prefix=_DIGEST.fullmatch(spelled) is not None, common=common)


def _pieces(text: str) -> Iterator[str]:
    """What stands between spaces. A sentence in a script without any is taken by its pairs, as the index holds it."""
    for piece in text.split():
        long = [run for run in unspaced_runs(piece) if len(run) > LONGEST_UNSPACED]
        for run in long:
            yield from map("".join, pairwise(run))
        yield from (without_unspaced(piece).split() if long else (piece,))


def _loose(term: Term) -> Iterator[Term]:
    if term.required:
        yield from _terms(term.text)
    else:
        yield term


def _wants(query: str) -> frozenset[Wants]:
    return frozenset(kind for kind, pattern in ANSWERED_BY.items() if pattern.search(query))


def _roles(words: tuple[str, ...]) -> frozenset[Role]:
    roles: set[Role] = set()
    if not SELF.isdisjoint(words):
        roles.add("user")
    if not YOU.isdisjoint(words):
        roles.add("assistant")
    return frozenset(roles)
