"""Proof that what was deleted is gone: its rarest words, looked for in the bytes of the file."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .errors import index_errors

RARE_WORDS = 16
CANDIDATES = 200
CHUNK_BYTES = 8 << 20

_WORD = re.compile(r"[^\W_]{4,}")


def rare_words(db: sqlite3.Connection, session_key: int) -> list[str]:
    """Words of a session's messages that no other message holds; of those, the longest of the fewest."""
    words: set[str] = set()
    for (text,) in db.execute("SELECT text FROM messages WHERE session_key = ? AND from_history = 0", (session_key,)):
        words.update(word.lower() for word in _WORD.findall(text[:200_000]) if word.isascii())
        if len(words) > 20_000:
            break
    mine = {}
    for word in sorted(words, key=lambda word: (-len(word), word))[:CANDIDATES]:
        count = _documents(db, f'text : "{word}"')
        # The count stops at a hundred: of a word so common nobody can say whose it is.
        if count < 100 and count == _documents(db, f'scope : xs{session_key} AND text : "{word}"'):
            mine[word] = (not _is_term(db, word), count)
    return sorted(mine, key=lambda word: (mine[word], -len(word), word))[:RARE_WORDS]


def _is_term(db: sqlite3.Connection, word: str) -> bool:
    """Whether the index holds the word as it is. Of others it holds a stem, which a search of bytes for the word
    would not find there: they come last."""
    with index_errors:
        return db.execute("SELECT 1 FROM search_terms WHERE term = ?", (word,)).fetchone() is not None


def _documents(db: sqlite3.Connection, match: str) -> int:
    with index_errors:
        (count,) = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM search_index WHERE search_index MATCH ? LIMIT 100)", (match,)
        ).fetchone()
    return int(count)


def purge(db: sqlite3.Connection) -> None:
    """Rewrite the file without what was deleted. The index must be optimised before, in a transaction."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def left_over(db: sqlite3.Connection, path: Path, words: Sequence[str]) -> dict[str, int]:
    """Which words the bytes of file and log still hold, and how often, though nothing that is kept does.

    A word may well be part of another word, of a title, of a column's name.
    """
    found = _count(path, words)
    found |= {
        word: found.get(word, 0) + count for word, count in _count(path.with_name(f"{path.name}-wal"), words).items()
    }
    return {word: count for word, count in found.items() if not _is_kept(db, word)}


def _count(path: Path, words: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    wanted = [(word, word.encode()) for word in words]
    longest = max((len(spelled) for _, spelled in wanted), default=1)
    seen = b""
    for chunk in _chunks(path):
        content = seen + chunk.lower()
        for word, spelled in wanted:
            # What the last chunk held whole was counted there.
            if count := content.count(spelled) - seen.count(spelled):
                found[word] = found.get(word, 0) + count
        seen = content[-(longest - 1) :] if longest > 1 else b""
    return found


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        return


def _is_kept(db: sqlite3.Connection, word: str) -> bool:
    for table, columns in _texts(db):
        holds = " OR ".join(f"instr(lower({column}), :word)" for column in columns)
        if db.execute(f'SELECT 1 FROM "{table}" WHERE {holds} LIMIT 1', {"word": word}).fetchone():
            return True
    return False


def _texts(db: sqlite3.Connection) -> Iterable[tuple[str, list[str]]]:
    """Every column that holds text, the schema's own among them."""
    yield "sqlite_master", ["sql"]
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search_index%'")
    for (table,) in tables.fetchall():
        columns = db.execute("SELECT name FROM pragma_table_info(?) WHERE type IN ('TEXT', 'ANY')", (table,)).fetchall()
        if columns:
            yield table, [f'"{name}"' for (name,) in columns]
