"""Plain BM25 over a store's own index: any word of the query, the engine's own rank, filters by join."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_WORD = re.compile(r"\w+")
_NEWEST = "SELECT session_key FROM sessions ORDER BY last_activity_at DESC, session_key DESC LIMIT ?"
_CLAUSES: Mapping[str, str] = {
    "session_id": "s.session_id = ?",
    "project": "s.project = ?",
    "role": "m.role = ?",
    "tool_name": "m.tool_name = ?",
    "since": "m.created_at >= ?",
    "until": "m.created_at < ?",
    "num_history_sessions": f"m.session_key IN ({_NEWEST})",
}
_JOINED = "JOIN messages AS m ON m.message_key = search_index.rowid JOIN sessions AS s ON s.session_key = m.session_key"


def plain_search(db: sqlite3.Connection, query: str, filters: Mapping[str, Any], limit: int) -> list[int]:
    """Keys of at most `limit` messages, best first; `filters` as `search_session_history` names them."""
    # Quoted, so that AND, OR and NOT are words. No word holds a quote.
    match = " OR ".join(f'"{word}"' for word in dict.fromkeys(_WORD.findall(query.casefold())))
    where = " AND ".join(["search_index MATCH ?", *(_CLAUSES[name] for name in filters)])
    rows = db.execute(
        f"SELECT search_index.rowid FROM search_index {_JOINED if filters else ''} WHERE {where} ORDER BY rank LIMIT ?",
        (match, *_values(filters), limit),
    )
    return [key for (key,) in rows]


def _values(filters: Mapping[str, Any]) -> Iterator[Any]:
    for name, value in filters.items():
        timed = name in ("since", "until")
        yield round(datetime.fromisoformat(value).timestamp() * 1000) if timed else value
