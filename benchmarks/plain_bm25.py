"""Plain BM25, to stand beside our own search: SQLite's FTS5 as it comes, over the same texts."""

import re
import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self

_WORD = re.compile(r"\w+")


class PlainBM25:
    """What an index in a few lines gives: any word of the query matches, the engine's own rank orders.

    No stop words, no phrases, no second look. In memory, and without the texts. Close it, or use it in a `with`.
    """

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        """`documents` are ids and texts. Equal ranks come in the order given here."""
        self._ids: list[str] = []
        self._db = sqlite3.connect(":memory:")
        self._db.execute(
            "CREATE VIRTUAL TABLE documents USING fts5 (text, content='', tokenize='unicode61 remove_diacritics 2')"
        )
        for number, (document_id, text) in enumerate(documents):
            self._ids.append(document_id)
            self._db.execute("INSERT INTO documents (rowid, text) VALUES (?, ?)", (number, text))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def search(self, query: str, limit: int) -> list[str]:
        """The ids of at most `limit` documents, best first; none for a query without words."""
        # Quoted, so that AND, OR and NOT are words. No word holds a quote.
        words = [f'"{word}"' for word in dict.fromkeys(_WORD.findall(query.casefold()))]
        if not words:
            return []
        rows = self._db.execute(
            "SELECT rowid FROM documents WHERE documents MATCH ? ORDER BY rank, rowid LIMIT ?",
            (" OR ".join(words), limit),
        )
        return [self._ids[number] for (number,) in rows]
