"""Words of texts, as SQLite's tokenizer makes them: an FTS5 index in memory is asked, so that both stores agree.

A token takes about a microsecond. Nothing stays: each text is put in, read back and forgotten.
"""

import sqlite3
import threading
from collections.abc import Sequence
from functools import lru_cache

from ...text import clean_text
from ..indexing import TOKENIZER

Columns = tuple[str, str]
"""A message's text and its forms (indexing.Entry)."""

Places = dict[str, tuple[list[int], list[int]]]
"""Where each word stands in the first column and in the second, counted in words from 0."""


def words_of(texts: Sequence[Columns]) -> list[Places]:
    """The words of each of the texts."""
    found: list[Places] = [{} for _ in texts]
    db = _tokenizer()
    db.execute("BEGIN")
    try:
        db.executemany(
            "INSERT INTO told (rowid, text, forms) VALUES (?, ?, ?)",
            ((at, clean_text(text), clean_text(forms)) for at, (text, forms) in enumerate(texts)),
        )
        for term, at, column, offset in db.execute("SELECT term, doc, col = 'forms', offset FROM words"):
            places = found[at].get(term)
            if places is None:
                places = found[at][term] = ([], [])
            places[column].append(offset)
    finally:
        db.execute("ROLLBACK")
    return found


@lru_cache(maxsize=4096)
def phrase_of(text: str) -> tuple[str, ...]:
    """The words of a phrase, in order."""
    (places,) = words_of([(text, "")])
    return tuple(word for _, word in sorted((at, word) for word, (ats, _) in places.items() for at in ats))


_own = threading.local()


def _tokenizer() -> sqlite3.Connection:
    """The thread's own."""
    db: sqlite3.Connection | None = getattr(_own, "db", None)
    if db is None:
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.execute(f"CREATE VIRTUAL TABLE told USING fts5 (text, forms, content = '', tokenize = '{TOKENIZER}')")
        db.execute("CREATE VIRTUAL TABLE words USING fts5vocab (told, instance)")
        _own.db = db
    return db
