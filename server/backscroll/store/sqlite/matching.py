"""Terms as the index is asked for them: quoted, so that no sign in them is an operator."""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from string import ascii_lowercase, digits

from .. import Term
from ..indexing import bigrams, folded, indexed_text, is_user_token, unspaced_runs, without_unspaced
from ..rows import NEWEST
from .errors import index_errors

COMMON_FROM = 20_000
"""Documents of a term are counted up to here: a term of more says as little as one of just as many."""

_LONGER_WORDS = 200
"""A beginning that finds more than this is no help to a word that is found itself."""

_RARE = 20
"""A term of fewer matches than this may be the beginning of longer words."""

_MENDED = 6
"""Words of one term that are looked for by other spellings, and terms of one query: what was pasted is no slip."""

# A loose accent belongs to its letter, for the tokenizer too.
_LOOKED_AT = 3
_READ = 20_000
"""Messages, and signs of each, that are read to see whether a near spelling is a word that was said."""

_WORD = re.compile(r"\w[\w\u0300-\u036f]*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A term in the engine's language: what finds it, what nearly finds it, in how many messages of the file it is."""

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


def ask(scope: Sequence[str], terms: str) -> str:
    """The MATCH expression: terms in the text and its forms, within the scope."""
    within = f"scope : ({' AND '.join(scope)}) AND " if scope else ""
    return f"{within}{{text forms}} : ({terms})"


def count(db: sqlite3.Connection, match: str, most: int, upto: int = NEWEST) -> int:
    """How many messages up to this key match, counted up to `most`: 60 ns each."""
    counted = "SELECT count(*) FROM (SELECT 1 FROM search_index WHERE search_index MATCH ? AND rowid <= ? LIMIT ?)"
    with index_errors:
        return int(db.execute(counted, (match, upto, most)).fetchone()[0])


class Frequencies:
    """In how many messages of the file a term is; what took long to count is remembered, until the file has grown."""

    _WORTH_KEEPING = 5_000
    _MOST_KEPT = 2_000

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, int]] = {}

    def of(self, db: sqlite3.Connection, terms: str, documents: int) -> int:
        counted, at = self._kept.get(terms, (0, 0))
        if at and at <= documents <= at + at // 10:
            return counted
        counted = count(db, ask((), terms), COMMON_FROM)
        if counted >= self._WORTH_KEEPING:
            if len(self._kept) >= self._MOST_KEPT:
                self._kept.clear()
            self._kept[terms] = (counted, documents)
        return counted


def longer_words(db: sqlite3.Connection, word: str, scope: Sequence[str], most: int, as_of: int) -> str | None:
    """What finds words that begin with this one, as German compounds do; None where that finds none, or too many."""
    if len(word) < 5 or not word.isalpha():
        return None
    terms = f'"{word}" *'
    return terms if 0 < count(db, ask(scope, terms), most + 1, as_of) <= most else None


def mended(db: sqlite3.Connection, text: str, scope: Sequence[str], as_of: int) -> tuple[str, tuple[str, ...]] | None:
    """What nearly finds a term that is nowhere within the scope, and the words that it is looked for by.

    Each of its words may be one edit off; several need not stand together.
    """
    words = _WORD.findall(without_unspaced(text))[:_MENDED]
    parts: list[str] = []
    spelled: list[str] = []
    for run in unspaced_runs(text):
        # A word with another ending or particle shares most of its pairs.
        pairs = [*map("".join, pairwise(run))]
        held = [pair for pair in pairs if count(db, ask(scope, f'"{bigrams(pair)}"'), 1, as_of)]
        if not held or 2 * len(held) < len(pairs):
            return None
        parts.extend(f'"{bigrams(pair)}"' for pair in held)
        spelled.extend(held)
    for word in words:
        if len(words) > 1 and count(db, ask(scope, f'"{word}"'), 1, as_of):
            parts.append(f'"{word}"')
            spelled.append(word)
        elif edited := one_edit_off(db, word, scope, as_of):
            parts.append(_any(f'"{one}"' for one in edited))
            spelled.extend(edited)
        else:
            return None
    if not parts:
        return None
    together = " AND ".join(parts)
    if len(parts) == 1 or count(db, ask(scope, together), 1, as_of):
        return together, tuple(spelled)
    # Better the words that are there than a guess at all of them.
    there = [word for word in words if f'"{word}"' in parts]
    return (" OR ".join(f'"{word}"' for word in there), tuple(there)) if there else None


def one_edit_off(db: sqlite3.Connection, word: str, scope: Sequence[str], as_of: int) -> tuple[str, ...]:
    """Words of the index that are one letter more, less, other or swapped, and stand within the scope.

    Asking for each takes some 15 microseconds, so for a word of ten letters 10 ms in all.
    """
    if not 4 <= len(word) <= 24:
        return ()
    return tuple(one for one in _edits(word.lower()) if _is_said(db, one, scope, as_of))


def _is_said(db: sqlite3.Connection, word: str, scope: Sequence[str], as_of: int) -> bool:
    """Whether a message has the word itself: the index has it without its ending, as it has words of other endings."""
    with index_errors:
        rows = db.execute(
            "SELECT rowid FROM search_index WHERE search_index MATCH ? AND rowid <= ? ORDER BY rowid DESC LIMIT ?",
            (ask(scope, f'"{word}"'), as_of, _LOOKED_AT),
        ).fetchall()
    if not rows:
        return False
    begins = re.compile(rf"(?<![^\W_]){re.escape(folded(word))}")
    return any(begins.search(_text_of(db, key)) for (key,) in rows)


def _text_of(db: sqlite3.Connection, message_key: int) -> str:
    """The beginning of a message and of its calls, in plain small letters."""
    row = db.execute("SELECT substr(text, 1, ?) FROM messages WHERE message_key = ?", (_READ, message_key)).fetchone()
    calls = db.execute(
        "SELECT tool_name, substr(arguments, 1, ?) FROM tool_calls WHERE message_key = ?", (_READ, message_key)
    )
    # The index may name a message that is gone, while a new one is made.
    text = indexed_text(row[0], calls) if row else ""
    return text.lower() if text.isascii() else folded(text)


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


def asked_of(
    db: sqlite3.Connection,
    terms: Sequence[Term],
    scope: Sequence[str],
    frequencies: Frequencies,
    documents: int,
    as_of: int,
) -> list[Wanted]:
    """The terms as the engine takes them. Common ones only where there is nothing else to look for.

    `as_of`: what came later decides nothing.
    """
    meant = [term for term in terms if not term.common] or terms
    asked: list[Wanted] = []
    nowhere = 0
    for term in terms:
        exact = expression(term) if term in meant else None
        mend = nowhere < _MENDED and not term.common
        one = _one_asked(db, term, exact, scope, frequencies, documents, as_of, mend=mend)
        nowhere += exact is not None and (one.frequency == 0 or bool(one.spelled))
        asked.append(one)
    return asked


def _one_asked(
    db: sqlite3.Connection,
    term: Term,
    exact: str | None,
    scope: Sequence[str],
    frequencies: Frequencies,
    documents: int,
    as_of: int,
    *,
    mend: bool,
) -> Wanted:
    if exact is None:
        return Wanted(None, None, 0)
    # What other users said weighs a word, but never tells whether this one's messages have it, nor how often.
    frequency = frequencies.of(db, exact, documents)
    within = frequency
    if frequency and (scope or frequency < _RARE):
        within = count(db, ask(scope, exact), _RARE, as_of)
    if not within and frequency and count(db, ask(_of_user(scope), exact), 1, as_of):
        # No slip: the user's messages have it, though none within the filters.
        return Wanted(exact, None, 0)
    if term.literal or not (within or mend):
        return Wanted(exact, None, frequency if within else 0)
    asked = with_near(db, term, Wanted(exact, None, within), scope, frequencies, as_of)
    return replace(asked, frequency=frequency) if within else asked


def _of_user(scope: Sequence[str]) -> Sequence[str]:
    return [token for token in scope if is_user_token(token)]


def with_near(
    db: sqlite3.Connection,
    term: Term,
    asked: Wanted,
    scope: Sequence[str],
    frequencies: Frequencies,
    as_of: int,
) -> Wanted:
    """The same with what nearly finds a rare term: longer words, else near spellings if it is nowhere."""
    if asked.frequency >= _RARE or term.prefix:
        return asked
    most = _LONGER_WORDS if asked.frequency else COMMON_FROM
    if longer := longer_words(db, term.text, scope, most, as_of):
        if asked.frequency:
            return replace(asked, near=longer)
        return Wanted(None, longer, _RARE, (f"{term.text}...",))
    if asked.frequency == 0 and not term.required and (found := mended(db, term.text, scope, as_of)):
        near, spelled = found
        return Wanted(None, near, max(frequencies.of(db, near, as_of), 1), spelled)
    return asked
