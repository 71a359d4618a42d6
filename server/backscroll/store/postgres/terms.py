"""Words as lexemes of a `tsvector`: what a message's entry holds, and what a query asks for.

A lexeme is the tag of its user, then the word; that of a filter has a colon between. A `tsvector` has room for
a megabyte and for positions up to 16383, 255 a lexeme. What lies beyond is still found as a word, but in no phrase;
of a text with so many different words that these alone do not fit, the last ones are not found. A word of more than
128 signs is known by its first 96 and a digest.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from uuid import UUID

from ..indexing import is_user_token
from .words import Places, phrase_of

_LAST_POSITION = 16_383
_MOST_POSITIONS = 255
_FORMS_ROOM = 4_000
"""Positions that a long text leaves to its forms, if there are so many."""
_GAP = 8
"""Between the two: no phrase reaches across."""

_ROOM = 1_000_000
"""Bytes for lexemes and positions; Postgres ends at 2 ** 20."""

_LONGEST, _HEAD = 128, 96

NOTHING = ":"
"""The filter that no message has."""


def tag_of(user_key: UUID) -> str:
    """Three signs: of a quarter of a million tags two users seldom share one, and rows tell them apart."""
    return urlsafe_b64encode(user_key.bytes[:3])[:3].decode()


def vector_of(user_key: UUID, places: Places, scope: str) -> str:
    """The entry of a message, to be cast to `tsvector`. `scope` are the tokens of its filters, with spaces between."""
    tag = tag_of(user_key)
    filters = " ".join(f"'{tag}:{token}'" for token in scope.split() if not is_user_token(token))
    return f"{filters} {' '.join(_lexemes(tag, places))}"


def _lexemes(tag: str, places: Places) -> Iterator[str]:
    text_words = sum(len(ats) for ats, _ in places.values())
    forms_words = sum(len(ats) for _, ats in places.values())
    last = _LAST_POSITION - min(forms_words, _FORMS_ROOM) - _GAP if forms_words else _LAST_POSITION
    after = min(text_words, last) + _GAP
    size = sum(4 * len(word) + 8 for word in places) + 2 * (text_words + forms_words)
    roomy = size < _ROOM
    items: Iterable[tuple[str, tuple[list[int], list[int]]]] = places.items()
    if not roomy:
        items = sorted(places.items(), key=_first)
        roomy = _size(tag, places) < _ROOM
    left = _ROOM
    if roomy and after + forms_words < last and text_words < _MOST_POSITIONS:
        yield from _plainly(tag, places, after)
        return
    for word, (in_text, in_forms) in items:
        spelled = _spelled(word)
        if not roomy:
            left -= len(spelled.encode()) + len(tag) + 4
            if left < 0:
                return
            yield f"'{tag}{spelled}'"
            continue
        at = [place + 1 for place in in_text[:_MOST_POSITIONS] if place < last]
        at += [place + after + 1 for place in in_forms[: _MOST_POSITIONS - len(at)] if place + after < _LAST_POSITION]
        yield f"'{tag}{spelled}':{','.join(map(str, at))}" if at else f"'{tag}{spelled}'"


def _plainly(tag: str, places: Places, after: int) -> Iterator[str]:
    """The same where everything fits, as nearly always: a third of the time."""
    for word, (in_text, in_forms) in places.items():
        spelled = word if len(word) <= _LONGEST else _spelled(word)
        if len(in_text) == 1 and not in_forms:
            yield f"'{tag}{spelled}':{in_text[0] + 1}"
        else:
            at = [place + 1 for place in in_text] + [place + after + 1 for place in in_forms]
            yield f"'{tag}{spelled}':{','.join(map(str, at[:_MOST_POSITIONS]))}"


def _first(item: tuple[str, tuple[list[int], list[int]]]) -> tuple[bool, int]:
    in_text, in_forms = item[1]
    return (False, in_text[0]) if in_text else (True, in_forms[0])


def _size(tag: str, places: Places) -> int:
    """Bytes that the lexemes and their positions take, or more."""
    return sum(
        len(_spelled(word).encode()) + len(tag) + 4 + 2 * min(len(in_text) + len(in_forms), _MOST_POSITIONS)
        for word, (in_text, in_forms) in places.items()
    )


def _spelled(word: str) -> str:
    if len(word) <= _LONGEST:
        return word
    return f"{word[:_HEAD]}{blake2b(word.encode(), digest_size=16).hexdigest()}"


# What is asked

_SIGNS = re.compile(r'\s*(?:"([^"]*)"(\s*\*)?|(AND|OR|NOT|[()])|(\w+))')
_LONGEST_PHRASE, _MOST_OPERANDS = 100, 500
"""What is pasted may be longer. Postgres goes through a query by recursion, and ends at some thousands: of a longer
phrase, and of more phrases, the first ones are looked for."""

_OPERATORS = {"AND": " & ", "OR": " | ", "NOT": " & !", "(": "(", ")": ")"}
_JOINING = frozenset(_OPERATORS[name] for name in ("AND", "OR", "NOT"))


def query_of(user_key: UUID, terms: str, scope: Iterable[str] = ()) -> str:
    """A query, to be cast to `tsquery`, for terms in the words of matching.py, within the scope.

    There, words in quotes are a phrase, with a star the last may go on; bare words are filters.
    """
    tag = tag_of(user_key)
    parts = [f"({_translated(tag, part)})" for part in (terms, *scope)]
    return " & ".join(parts)


def filters_of(user_key: UUID, scope: Iterable[str]) -> str:
    """A query for the scope alone."""
    tag = tag_of(user_key)
    return " & ".join(f"({_translated(tag, token)})" for token in scope)


def word_of(user_key: UUID, stem: str, within: str) -> str:
    """A query for a word as the index has it, within filters."""
    lexeme = f"'{tag_of(user_key)}{_spelled(stem)}'"
    return f"{lexeme} & {within}" if within else lexeme


def _translated(tag: str, terms: str) -> str:
    told: list[str] = []
    operands = 0
    for phrase, star, operator, name in _SIGNS.findall(terms):
        if operator:
            told.append(_OPERATORS[operator])
            continue
        operands += 1
        if operands > _MOST_OPERANDS and told[-1] in _JOINING:
            told.pop()
        else:
            told.append(f"'{tag}:{name}'" if name else _phrase(tag, phrase, star))
    return "".join(told)


def _phrase(tag: str, text: str, star: str) -> str:
    words = [f"'{tag}{_spelled(word)}'" for word in phrase_of(text)]
    if not words:
        return f"'{tag}{NOTHING}'"
    if len(words) > _LONGEST_PHRASE:
        return f"({' <-> '.join(words[:_LONGEST_PHRASE])})"
    if star:
        words[-1] += ":*"
    return words[0] if len(words) == 1 else f"({' <-> '.join(words)})"
