"""Terms as an index is asked for them: quoted, so that no sign in them is an operator; and what nearly finds them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from string import ascii_lowercase, digits

from .indexing import bigrams, folded, unspaced_runs, without_unspaced
from .values import Term
from .wishes import Count, Frequency, Said, Steps, one, together

COMMON_FROM = 20_000
"""Documents of a term are counted up to here: a term of more says as little as one of just as many."""

_LONGER_WORDS = 200
"""A beginning that finds more than this is no help to a word that is found itself."""

RARE = 20
"""A term of fewer matches than this may be the beginning of longer words."""

_MENDED = 6
"""Words of one term that are looked for by other spellings, and terms of one query: what was pasted is no slip."""

LOOKED_AT = 3
READ = 20_000
"""Messages, and signs of each, that are read to see whether a near spelling is a word that was said."""

# A loose accent belongs to its letter, for the tokenizer too.
_WORD = re.compile(r"\w[\w\u0300-\u036f]*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A term in the words of an index: what finds it, what nearly finds it, in how many of all messages it is."""

    exact: str | None
    near: str | None
    frequency: int
    spelled: tuple[str, ...] = ()


def expression(term: Term) -> str | None:
    """Any of the term's forms; None where they hold no word."""
    forms = [one for form in (term.text, *term.forms) if (one := _quoted(form, prefix=term.prefix)) is not None]
    return _any(dict.fromkeys(forms)) if forms else None


def _any(parts: Iterable[str]) -> str:
    told = list(parts)
    return told[0] if len(told) == 1 else f"({' OR '.join(told)})"


def _quoted(text: str, *, prefix: bool = False) -> str | None:
    longer = " *" if prefix else ""
    spaced = [f'"{" ".join(words)}"{longer}' for words in [_WORD.findall(without_unspaced(text))] if words]
    unspaced = [f'"{bigrams(run)}"' + (" *" if len(run) == 1 else "") for run in unspaced_runs(text)]
    parts = spaced + unspaced
    return None if not parts else parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"


def says(text: str, word: str) -> bool:
    """Whether a text, in plain small letters, has a word that begins so: the index has words without their endings."""
    return re.search(rf"(?<![^\W_]){re.escape(folded(word))}", text) is not None


def plain(text: str) -> str:
    """A text in plain small letters."""
    return text.lower() if text.isascii() else folded(text)


def asked_of(terms: Sequence[Term], *, narrowed: bool) -> Steps[list[Wanted]]:
    """The terms as an index takes them. Common ones only where there is nothing else to look for.

    `narrowed`: whether tokens of the scope leave out some of the messages.
    """
    meant = [term for term in terms if not term.common] or terms
    exact = {at: terms_of for at, term in enumerate(terms) if term in meant and (terms_of := expression(term))}
    told = yield [Frequency(terms_of) for terms_of in exact.values()]
    frequency = dict(zip(exact, told, strict=True))
    # What other users said weighs a word, but never tells whether this one's messages have it, nor how often.
    counted = [at for at in exact if frequency[at] and (narrowed or frequency[at] < RARE)]
    told = yield [Count(exact[at], RARE) for at in counted]
    within = {**frequency, **dict(zip(counted, told, strict=True))}
    lacking = [at for at in exact if not within[at] and frequency[at]]
    told = yield [Count(exact[at], 1, "user") for at in lacking]
    elsewhere = {at for at, count in zip(lacking, told, strict=True) if count}
    asked = [Wanted(exact.get(at), None, frequency[at] if within.get(at) else 0) for at in range(len(terms))]
    nowhere = [at for at in exact if not within[at]]
    mended = {at for place, at in enumerate(nowhere) if place < _MENDED and not terms[at].common}
    nearly = [
        at
        for at in exact
        # No slip: the user's messages have it, though none within the filters.
        if at not in elsewhere and not terms[at].literal and (within[at] or at in mended)
    ]
    found = yield from together([with_near(terms[at], Wanted(exact[at], None, within[at])) for at in nearly])
    for at, near in zip(nearly, found, strict=True):
        asked[at] = replace(near, frequency=frequency[at]) if within[at] else near
    return asked


def with_near(term: Term, asked: Wanted) -> Steps[Wanted]:
    """The same with what nearly finds a rare term: longer words, else near spellings if it is nowhere."""
    if asked.frequency >= RARE or term.prefix:
        return asked
    most = _LONGER_WORDS if asked.frequency else COMMON_FROM
    if longer := (yield from longer_words(term.text, most)):
        if asked.frequency:
            return replace(asked, near=longer)
        return Wanted(None, longer, RARE, (f"{term.text}...",))
    if asked.frequency == 0 and not term.required and (found := (yield from mended(term.text))):
        near, spelled = found
        frequency = yield from one(Frequency(near))
        return Wanted(None, near, max(frequency, 1), spelled)
    return asked


def longer_words(word: str, most: int) -> Steps[str | None]:
    """What finds words that begin with this one, as German compounds do; None where that finds none, or too many."""
    if len(word) < 5 or not word.isalpha():
        return None
    terms = f'"{word}" *'
    count = yield from one(Count(terms, most + 1))
    return terms if 0 < count <= most else None


def mended(text: str) -> Steps[tuple[str, tuple[str, ...]] | None]:
    """What nearly finds a term that is nowhere within the scope, and the words that it is looked for by.

    Each of its words may be one edit off; several need not stand together.
    """
    words = _WORD.findall(without_unspaced(text))[:_MENDED]
    parts: list[str] = []
    spelled: list[str] = []
    for run in unspaced_runs(text):
        # A word with another ending or particle shares most of its pairs.
        pairs = [*map("".join, pairwise(run))]
        told = yield [Count(f'"{bigrams(pair)}"', 1) for pair in pairs]
        held = [pair for pair, count in zip(pairs, told, strict=True) if count]
        if not held or 2 * len(held) < len(pairs):
            return None
        parts.extend(f'"{bigrams(pair)}"' for pair in held)
        spelled.extend(held)
    for word in words:
        if len(words) > 1 and (yield from one(Count(f'"{word}"', 1))):
            parts.append(f'"{word}"')
            spelled.append(word)
        elif edited := (yield from one_edit_off(word)):
            parts.append(_any(f'"{one}"' for one in edited))
            spelled.extend(edited)
        else:
            return None
    if not parts:
        return None
    together = " AND ".join(parts)
    if len(parts) == 1 or (yield from one(Count(together, 1))):
        return together, tuple(spelled)
    # Better the words that are there than a guess at all of them.
    there = [word for word in words if f'"{word}"' in parts]
    return (" OR ".join(f'"{word}"' for word in there), tuple(there)) if there else None


def one_edit_off(word: str) -> Steps[tuple[str, ...]]:
    """Words of the index that are one letter more, less, other or swapped, and stand within the scope.

    There are some 600 of a word of ten letters.
    """
    if not 4 <= len(word) <= 24:
        return ()
    found: tuple[str, ...] = yield from one(Said(tuple(_edits(word.lower()))))
    return found


def _edits(word: str) -> Iterable[str]:
    letters = sorted({*ascii_lowercase, *word, *(digits if any(map(str.isdigit, word)) else "")})
    parts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    made = [
        *(left + right[1:] for left, right in parts if right),
        *(left + right[1] + right[0] + right[2:] for left, right in parts if len(right) > 1),
        *(left + letter + right[1:] for left, right in parts if right for letter in letters),
        *(left + letter + right for left, right in parts for letter in letters),
    ]
    return (one for one in dict.fromkeys(made) if one != word and _WORD.fullmatch(one))
