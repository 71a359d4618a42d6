"""The full-text index beside the rows: written, taken back, compared and rebuilt."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..indexing import INDEX_VERSION, Entry, Scope, entry

_ROWS = """
    SELECT m.message_key, m.text, m.role, m.tool_name, s.user_key, s.session_key, s.source, s.project, r.agent
    FROM messages AS m
    JOIN sessions AS s ON s.session_key = m.session_key
    JOIN runs AS r ON r.run_key = m.run_key
    WHERE m.from_history = 0 AND
"""


class Indexed(NamedTuple):
    message_key: int
    entry: Entry


def add(db: sqlite3.Connection, message_key: int, content: Entry) -> None:
    db.execute(
        "INSERT INTO search_index (rowid, text, forms, scope) VALUES (?, ?, ?, ?)",
        (message_key, content.text, content.forms, content.scope),
    )


def remove(db: sqlite3.Connection, indexed: Iterable[Indexed]) -> int:
    """Take rows out; their entries must be what was put in."""
    rows = [(row.message_key, *row.entry) for row in indexed]
    db.executemany(
        "INSERT INTO search_index (search_index, rowid, text, forms, scope) VALUES ('delete', ?, ?, ?, ?)",
        rows,
    )
    return len(rows)


def entries_of_session(
    db: sqlite3.Connection, session_key: int, *, low: int = 0, high: int = 1 << 62
) -> Iterator[Indexed]:
    return _entries(db, "m.session_key = ? AND m.seq > ? AND m.seq <= ?", (session_key, low, high))


def entry_of_message(db: sqlite3.Connection, message_key: int) -> Indexed:
    return next(_entries(db, "m.message_key = ?", (message_key,)))


def _entries(db: sqlite3.Connection, where: str, values: tuple[int, ...]) -> Iterator[Indexed]:
    for key, text, role, tool_name, user_key, session_key, source, project, agent in db.execute(
        f"{_ROWS} {where} ORDER BY m.message_key", values
    ):
        calls: list[tuple[str, str | None]] = []
        if role == "assistant":
            calls = db.execute(
                "SELECT tool_name, arguments FROM tool_calls WHERE message_key = ? ORDER BY ordinal", (key,)
            ).fetchall()
        tools = tuple(name for name, _ in calls) if tool_name is None else (tool_name,)
        scope = Scope(user_key, session_key, source, role, project, agent, tools)
        yield Indexed(key, entry(text, calls, scope))


def check(db: sqlite3.Connection) -> list[str]:
    """Compare the index with the rows it is made from.

    SQLite's own `integrity-check` cannot see a term that a wrong deletion left behind. So a second index
    is made from the rows, in a temporary table, and the two vocabularies are compared term by term.
    """
    db.execute("DROP TABLE IF EXISTS temp.expected_index")
    db.execute("DROP TABLE IF EXISTS temp.expected_terms")
    db.execute("DROP TABLE IF EXISTS temp.found_terms")
    db.execute(
        "CREATE VIRTUAL TABLE temp.expected_index USING fts5 "
        "(text, forms, scope, content = '', tokenize = 'unicode61 remove_diacritics 2')"
    )
    try:
        db.executemany(
            "INSERT INTO temp.expected_index (rowid, text, forms, scope) VALUES (?, ?, ?, ?)",
            ((row.message_key, *row.entry) for row in list(_entries(db, "TRUE", ()))),
        )
        db.execute("CREATE VIRTUAL TABLE temp.expected_terms USING fts5vocab ('temp', 'expected_index', 'instance')")
        db.execute("CREATE VIRTUAL TABLE temp.found_terms USING fts5vocab ('main', 'search_index', 'instance')")
        missing, left_over = (
            db.execute(
                f"SELECT count(*) FROM (SELECT term, doc, col, offset FROM {one} "
                f"EXCEPT SELECT term, doc, col, offset FROM {other})"
            ).fetchone()[0]
            for one, other in (
                ("temp.expected_terms", "temp.found_terms"),
                ("temp.found_terms", "temp.expected_terms"),
            )
        )
    finally:
        db.execute("DROP TABLE IF EXISTS temp.expected_terms")
        db.execute("DROP TABLE IF EXISTS temp.found_terms")
        db.execute("DROP TABLE temp.expected_index")
    problems = []
    if missing:
        problems.append(f"The search index lacks {missing} terms. Run `backscroll migrate --rebuild-index`.")
    if left_over:
        problems.append(
            f"The search index holds {left_over} terms of no message. Run `backscroll migrate --rebuild-index`."
        )
    (version,) = db.execute("SELECT value FROM meta WHERE name = 'index_version'").fetchone()
    if version != INDEX_VERSION:
        problems.append(
            f"The search index has version {version}, not {INDEX_VERSION}. Run `backscroll migrate --rebuild-index`."
        )
    return problems


def rebuild(db: sqlite3.Connection) -> int:
    """Make the index anew from the rows; return how many it holds."""
    db.execute("INSERT INTO search_index (search_index) VALUES ('delete-all')")
    count = 0
    for row in list(_entries(db, "TRUE", ())):
        add(db, row.message_key, row.entry)
        count += 1
    db.execute("UPDATE meta SET value = ? WHERE name = 'index_version'", (INDEX_VERSION,))
    return count
