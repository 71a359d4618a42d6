"""Words of texts, as SQLite's tokenizer makes them, so that both stores find the same.

The tokenizer itself, an FTS5 index in memory, is asked for each sign and for each word once; what it made of them is
remembered. So a word takes a quarter of a microsecond, where FTS5 alone takes one to three.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache

from ...text import clean_text
from ..indexing import TOKENIZER

Columns = tuple[str, str]
"""A message's text and its forms (indexing.Entry)."""

Places = dict[str, tuple[list[int], list[int]]]
"""Where each word stands in the first column and in the second, counted in words from 0."""

_MOST_KEPT = 100_000
_LONGEST_KEPT = 40
"""A longer word is data, and seldom said again."""


def words_of(texts: Sequence[Columns]) -> list[Places]:
    """The words of each of the texts."""
    tokens = [tuple(_tokens(column) for column in columns) for columns in texts]
    stems = _stems_of({token for columns in tokens for column in columns for token in column})
    found: list[Places] = []
    for columns in tokens:
        places: Places = {}
        for column, told in enumerate(columns):
            for at, token in enumerate(told):
                stem = stems[token]
                stands = places.get(stem)
                if stands is None:
                    stands = places[stem] = ([], [])
                stands[column].append(at)
        found.append(places)
    return found


@lru_cache(maxsize=4096)
def phrase_of(text: str) -> tuple[str, ...]:
    """The words of a phrase, in order."""
    tokens = _tokens(text)
    stems = _stems_of(set(tokens))
    return tuple(stems[token] for token in tokens)


def _tokens(text: str) -> list[str]:
    """Words in small letters, without accents, with their endings."""
    return clean_text(text).translate(_SIGNS).split()


class _Signs(dict[int, str]):
    """What becomes of each sign: itself or its small letter, nothing where it is an accent, a space between words."""

    def __missing__(self, code: int) -> str:
        (told,) = _asked(_plain(), [f"a{chr(code)}a"])
        # As one word, with whatever stands in it, or as two.
        folded = told[0][1:-1] if len(told) == 1 else " "
        self[code] = folded
        return folded


_SIGNS = _Signs((code, chr(code).lower() if chr(code).isalnum() else " ") for code in range(128))
_kept: dict[str, str] = {}


def _stems_of(tokens: Collection[str]) -> dict[str, str]:
    """Each with its ending taken off."""
    found: dict[str, str] = {}
    unknown: list[str] = []
    for token in tokens:
        stem = _kept.get(token)
        if stem is None:
            unknown.append(token)
        else:
            found[token] = stem
    if unknown:
        learned = {
            token: told[0] if told else token for token, told in zip(unknown, _asked(_stemming(), unknown), strict=True)
        }
        if len(_kept) + len(learned) > _MOST_KEPT:
            _kept.clear()
        _kept.update((token, stem) for token, stem in learned.items() if len(token) <= _LONGEST_KEPT)
        found.update(learned)
    return found


# The tokenizer

_own = threading.local()


def _plain() -> sqlite3.Connection:
    return _tokenizer(TOKENIZER.removeprefix("porter "))


def _stemming() -> sqlite3.Connection:
    return _tokenizer(TOKENIZER)


def _asked(db: sqlite3.Connection, texts: Sequence[str]) -> Iterator[list[str]]:
    """The words of each of these texts, in order."""
    words: list[list[str]] = [[] for _ in texts]
    db.execute("BEGIN")
    try:
        db.executemany("INSERT INTO told (rowid, text) VALUES (?, ?)", enumerate(texts))
        for term, at in db.execute("SELECT term, doc FROM words ORDER BY doc, offset"):
            words[at].append(term)
    finally:
        db.execute("ROLLBACK")
    return iter(words)


def _tokenizer(name: str) -> sqlite3.Connection:
    """The thread's own."""
    own: dict[str, sqlite3.Connection] = _own.__dict__.setdefault("tokenizers", {})
    db = own.get(name)
    if db is None:
        db = own[name] = sqlite3.connect(":memory:", isolation_level=None)
        db.execute(f"CREATE VIRTUAL TABLE told USING fts5 (text, content = '', tokenize = '{name}')")
        db.execute("CREATE VIRTUAL TABLE words USING fts5vocab (told, instance)")
    return db
