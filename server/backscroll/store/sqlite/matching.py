"""How the index is asked for terms, and how often terms are."""

import sqlite3
from collections.abc import Sequence

from ..indexing import indexed_text, is_user_token
from ..matching import COMMON_FROM, LOOKED_AT, READ, plain, says
from ..rows import NEWEST
from ..wishes import Count
from .errors import index_errors


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


def counted(db: sqlite3.Connection, wish: Count, scope: Sequence[str], as_of: int) -> int:
    tokens = scope if wish.within == "scope" else [token for token in scope if is_user_token(token)]
    return count(db, ask(tokens, wish.terms), wish.most, as_of)


def said(db: sqlite3.Connection, words: Sequence[str], scope: Sequence[str], as_of: int) -> tuple[str, ...]:
    """Those of the words that a message has as they are. Asking for each takes some 15 microseconds."""
    return tuple(word for word in words if _is_said(db, word, scope, as_of))


def _is_said(db: sqlite3.Connection, word: str, scope: Sequence[str], as_of: int) -> bool:
    with index_errors:
        rows = db.execute(
            "SELECT rowid FROM search_index WHERE search_index MATCH ? AND rowid <= ? ORDER BY rowid DESC LIMIT ?",
            (ask(scope, f'"{word}"'), as_of, LOOKED_AT),
        ).fetchall()
    return any(says(_text_of(db, key), word) for (key,) in rows)


def _text_of(db: sqlite3.Connection, message_key: int) -> str:
    """The beginning of a message and of its calls, in plain small letters."""
    row = db.execute("SELECT substr(text, 1, ?) FROM messages WHERE message_key = ?", (READ, message_key)).fetchone()
    calls = db.execute(
        "SELECT tool_name, substr(arguments, 1, ?) FROM tool_calls WHERE message_key = ?", (READ, message_key)
    )
    # The index may name a message that is gone, while a new one is made.
    return plain(indexed_text(row[0], calls)) if row else ""
