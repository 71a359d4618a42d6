"""What a query says about a tool call: its words, its phrases, the files it names. And the calls that hold them."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ..models import Session
from ..ranking import Question, read
from ..ranking.english import STOP_WORDS
from ..store import Attempts, CallMatches, CallSearch, CallWindow, Clue, Reading, Store, Term
from ..store.indexing import query_forms
from .listing import shortened

MAX_WORDS = 32
"""Of a longer text the beginning and the end are looked for: the error stands in one of them."""

FILE_NAME = 0.5
"""What a path's last part counts beside other words as rare: the same file in another folder is half found."""

FIGURES = 0.25
"""What figures count, and single letters: line numbers, times, the flag -x differ from one time to the next."""

_MAX_SIGNS = 16

_NAMED = 3
"""Of the words that no call has, so many are told."""

_TYPED = 8
"""More terms than this were pasted: of those that no call has, only words are told, no figures, paths or times."""

_SHOWN_FOR = 12
"""So many of the weightiest words decide which stretch of a long text is shown: it is gone through for each."""

_WORD = re.compile(r"[^\W_]")
# Quotes that stand free mark a phrase. Others are the command's own, as in {"path":"x"} or File "x.py", line 3.
_PHRASE = re.compile(r'(?<!\S)"[^"]+"(?!\S)')
# Signs that stand between two words of a command or an error, not inside one.
_BETWEEN = re.compile(r'["`=:,;|&<>(){}\[\]$]+')
_SLASH = re.compile(r"[/\\]")
_FLAG = re.compile(r"--?[^\W\d_]")
_PART = re.compile(r"[^\W_]+")
# How "Have I tried this?" begins: nobody looks for a call that holds "tried".
_ASKING = re.compile(
    r"^\W*(?:have|has|had|did|do)\s+(?:i|we|you)\s+(?:(?:ever|already|yet|just|really)\s+)*"
    r"(?:tried|try|used|use|run|ran|called|call|made|make|done|seen|see|got|get|hit|had)\b(?:\s+to)?(?=\s)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Tried:
    """Calls as lines: `ranked`, the best match first, where the query has words; else newest first, one by one.

    `place` is what a cursor holds beside a line's position, so that the next page goes on in the same order.
    `words`, in lower case and with their weights, are those of the query that some call has.
    """

    session: Session | None
    attempts: tuple[Attempts, ...]
    total: int
    capped: bool
    ranked: bool
    note: str | None
    place: dict[str, Any]
    words: Mapping[str, float] = field(default_factory=dict)


async def find(
    store: Store,
    user_id: str,
    query: str | None,
    wanted: CallSearch,
    place: Mapping[str, Any] | None = None,
    *,
    index_is_current: bool = True,
) -> Tried:
    """Calls that hold most of the query, or all of them. `wanted` says where to look; `place` is a cursor's.

    What no call has is told only where the index is current: one in the making may lack what was recorded.
    """
    if query is not None and _WORD.search(query):
        return await _matching(store, user_id, query, wanted, place or {}, index_is_current=index_is_current)
    return await _newest(store, user_id, query or "", wanted, place or {})


async def _matching(
    store: Store, user_id: str, query: str, wanted: CallSearch, place: Mapping[str, Any], *, index_is_current: bool
) -> Tried:
    query = _ASKING.sub("", query, count=1)
    question = read(_words_of(query), datetime.now(UTC))
    flags = frozenset(word.strip("-").casefold() for word in query.split() if _FLAG.match(word))
    wanted = replace(
        wanted, as_of=place.get("n"), readings=_readings(place), after=tuple(place["a"]) if "a" in place else None
    )
    phrases = " ".join(f'"{term.text}"' for term in question.terms if term.required)
    loosened = phrases if place.get("l") else None
    if loosened:
        question = question.loosened()
    matches = await store.find_calls(user_id, replace(wanted, clues=clues(question, flags)))
    if phrases and not loosened and not matches.total:
        loosened, question = phrases, question.loosened()
        matches = await store.find_calls(user_id, replace(wanted, clues=clues(question, flags)))
    held = {"n": matches.as_of, "w": [*map(_packed, matches.readings)], **({"l": 1} if loosened else {})}
    told = clues(question, flags)
    note = _note(told, matches, loosened) if index_is_current else None
    words = _telling_words(told, matches)
    return Tried(matches.session, matches.attempts, matches.total, matches.capped, True, note, held, words)


async def _newest(store: Store, user_id: str, signs: str, wanted: CallSearch, place: Mapping[str, Any]) -> Tried:
    """The newest calls; where there are signs such as "&&", which no index holds, those that hold them."""
    window = CallWindow(
        session=wanted.session,
        tool_name=wanted.tool_name,
        status=wanted.status,
        signs=tuple(dict.fromkeys(signs.split()))[:_MAX_SIGNS],
        after=tuple(place["a"]) if "a" in place else None,
        as_of=place.get("n"),
        limit=wanted.limit,
        max_chars=wanted.max_chars,
    )
    found = await store.tool_calls(user_id, window)
    attempts = (
        Attempts(call, key, 1, ((call.ref, call.status),)) for call, key in zip(found.calls, found.keys, strict=True)
    )
    note = f"Signs without words are looked for in the newest {window.recent:,} calls." if window.signs else None
    return Tried(found.session, tuple(attempts), found.total, False, False, note, {"n": found.as_of})


def clues(question: Question, flags: Set[str] = frozenset()) -> tuple[Clue, ...]:
    """The terms of a question, and for each path the name of its file. `flags`, in lower case, are words after a -."""
    return tuple(clue for term in question.terms for clue in _clues_of(term, flags))


def _clues_of(term: Term, flags: Set[str]) -> Iterator[Clue]:
    tells = term.required or (len(term.text) > 1 and any(map(str.isalpha, term.text)))
    parts = [part for part in _SLASH.split(term.text) if _WORD.search(part)]
    is_path = len(parts) > 1 and not term.required
    varies = not tells or is_path or (term.text.casefold() in flags and not term.required)
    yield Clue(term, 1.0 if tells else FIGURES, varies=varies)
    if is_path:
        name, *forms = query_forms(parts[-1])
        yield Clue(Term(name, tuple(forms)), FILE_NAME, widens=True, varies=True)


def _words_of(query: str) -> str:
    """The query with its signs between words as spaces, and cut to the words that are looked for."""
    # What has lines was pasted: its quotes are its own.
    phrases = [] if "\n" in query.strip() else [phrase for phrase in _PHRASE.findall(query) if _WORD.search(phrase)]
    rest = _PHRASE.sub(" ", query) if phrases else query
    return " ".join([*_chosen(_BETWEEN.sub(" ", rest).split()), *phrases])


def _chosen(words: Sequence[str]) -> list[str]:
    """Each word once; of too many, those of the two ends that say something."""
    each = list({word.casefold(): word for word in words if _WORD.search(word)}.values())
    if len(each) <= MAX_WORDS:
        return each
    telling = [word for word in each if any(map(str.isalpha, word)) and word.casefold() not in STOP_WORDS]
    return [*telling[: MAX_WORDS // 2], *telling[MAX_WORDS // 2 :][-MAX_WORDS // 2 :]]


def _packed(reading: Reading) -> Any:
    """As little as a cursor can hold of it."""
    return [reading.magnitude, reading.near, reading.spelled] if reading.near else reading.magnitude


def _readings(place: Mapping[str, Any]) -> tuple[Reading, ...] | None:
    if "w" not in place:
        return None
    return tuple(Reading(one) if isinstance(one, int) else Reading(one[0], one[1], tuple(one[2])) for one in place["w"])


def _telling_words(asked: Sequence[Clue], matches: CallMatches) -> dict[str, float]:
    """The words that some call has, with their weights, and the parts of paths and names: the weightiest."""
    weights: dict[str, float] = {}
    for at, (clue, weight) in enumerate(zip(asked, matches.weights, strict=False)):
        near = matches.readings[at].spelled
        parts = {part for text in near or (clue.term.text, *clue.term.forms) for part in _PART.findall(text.casefold())}
        for word, worth in [*((part, weight / len(parts)) for part in parts), (clue.term.text.casefold(), weight)]:
            weights[word] = max(weights.get(word, 0.0), worth)
    ranked = sorted(((worth, word) for word, worth in weights.items() if worth), reverse=True)
    return {word: worth for worth, word in ranked[:_SHOWN_FOR]}


def _note(asked: Sequence[Clue], matches: CallMatches, loosened: str | None) -> str | None:
    """What was tried other than the words as given, and what no call has: one short line, or nothing."""
    terms = [clue.term for clue in asked]
    told = []
    if loosened:
        told.append(f"No call has {shortened(loosened, 80)} word for word; searched for the words.")
    spelled = {at: one.spelled for at, one in enumerate(matches.readings) if one.spelled}
    for at, others in spelled.items():
        told.append(f"No call has {_quoted(terms[at])}; searched for {', '.join(others[:_NAMED])}.")
    missing = [
        terms[at]
        for at in matches.missing
        # Where a path is nowhere, it is told itself, not also its name.
        if not (terms[at].common or at in spelled or asked[at].widens)
        and (terms[at].text.isalpha() or len(terms) <= _TYPED)
        and not (loosened and terms[at].required)
    ]
    if missing:
        said = sorted(missing, key=lambda term: not term.text.isalpha())[:_NAMED]
        told.append(f"No call has {', '.join(map(_quoted, said))}.")
    return " ".join(told) or None


def _quoted(term: Term) -> str:
    return repr(shortened(term.text, 40))
