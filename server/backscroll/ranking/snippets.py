"""The part of a message that shows why it was found."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import fsum
from unicodedata import category, normalize

from ..text import one_line

_PLACES_OF_A_WORD = 50
_LEAD = 1 / 5
"""So much of a snippet stands before the words that it is shown for."""

_SPACE = re.compile(r"\s")
_JOINER = "\u200d"
_MODIFIERS = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_MARKS_OF_A_LETTER = 32
"""Some scripts and emoji take up to ten; texts made to annoy take thousands."""


def snippet(text: str, words: Mapping[str, float], chars: int) -> str:
    """The stretch of a text, on one line, that holds most of the words by their weight; `...` where it was cut.

    `words` are in lower case. A cut is never inside a word that is shorter than a sixth of the snippet, nor
    before a mark that belongs to the letter before it.
    """
    if len(text) <= chars:
        return one_line(text)
    start, end = stretch(text, words, chars)
    shown = one_line(text[start:end])
    return f"{'...' if start else ''}{shown}{'...' if end < len(text) else ''}"


def stretch(text: str, words: Mapping[str, float], chars: int) -> tuple[int, int]:
    """Where the stretch begins and ends that holds most of the words by their weight."""
    start = _start(text, words, chars)
    end = min(len(text), start + chars)
    start = max(0, end - chars)
    if start:
        space = _SPACE.search(text, start - 1, start + chars // 6)
        start = space.end() if space else _whole(text, start)
    if end < len(text):
        spaces = [found.start() for found in _SPACE.finditer(text, end - chars // 6, end + 1)]
        end = spaces[-1] if spaces else _whole(text, end)
    return start, end


def _start(text: str, words: Mapping[str, float], chars: int) -> int:
    """Where the best stretch begins: a little before the first of its words."""
    folded = _folded(text)
    places = sorted((at, word) for word in words for at in _places(folded, _folded(word)))
    if not places:
        return 0
    ats = [at for at, _ in places]
    reach = chars - round(chars * _LEAD)

    def worth(first: int) -> float:
        # Exactly, since the order of a set is another in each process.
        return fsum(words[word] for word in {word for _, word in places[first : bisect_left(ats, ats[first] + reach)]})

    first = max(range(len(places)), key=lambda one: (worth(one), -one))
    return max(0, ats[first] - round(chars * _LEAD))


def _places(folded: str, word: str) -> Iterator[int]:
    """Where a word stands; else where one begins as it does, for other endings; else anywhere."""
    stem = word[: max(4, len(word) - 3)]
    for pattern in (rf"\b{re.escape(word)}\b", rf"\b{re.escape(stem)}", re.escape(word)):
        found = [
            match.start() for match, _ in zip(re.finditer(pattern, folded), range(_PLACES_OF_A_WORD), strict=False)
        ]
        if found:
            yield from found
            return


def _folded(text: str) -> str:
    """In lower case and without accents, one sign for one, so that places stay."""
    return text.lower() if text.isascii() else "".join(map(_plain, text))


@lru_cache(maxsize=4096)
def _plain(sign: str) -> str:
    apart = normalize("NFD", sign)
    plain = (apart[0] if all(category(mark) == "Mn" for mark in apart[1:]) else sign).lower()
    return plain if len(plain) == 1 else sign


def _whole(text: str, at: int) -> int:
    """Not before a mark that belongs to the letter before it."""
    for end in range(at, at + _MARKS_OF_A_LETTER):
        if end >= len(text) or not (_belongs(text[end]) or text[end - 1] == _JOINER):
            return end
    return at


def _belongs(sign: str) -> bool:
    """Whether a sign is part of the one before it: accents, vowel signs, variations and colours of emoji."""
    return sign == _JOINER or sign in _MODIFIERS or category(sign).startswith("M")
