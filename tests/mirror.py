"""The rows of a SQLite store in a Postgres one, key by key: what is asked of both must then be answered alike."""

import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from backscroll.store.postgres.database import user_key
from backscroll.text import clean_text

_BY_SESSION = "JOIN sessions AS s ON s.session_key = t.session_key JOIN users AS u ON u.user_key = s.user_key"
_OWN = "JOIN users AS u ON u.user_key = t.user_key"
_TABLES = {
    "sessions": _OWN,
    "runs": _OWN,
    "messages": _BY_SESSION,
    "tool_calls": _OWN,
    "digests": "JOIN runs AS r ON r.run_key = t.run_key JOIN users AS u ON u.user_key = r.user_key",
    "media": _OWN,
    "message_media": f"JOIN messages AS m ON m.message_key = t.message_key {_BY_SESSION.replace('t.', 'm.')}",
    "summaries": _BY_SESSION,
    "session_ways": _BY_SESSION,
    "tellings": _OWN,
}
_COUNTED = {
    "session": ("sessions", "session_key"),
    "run": ("runs", "run_key"),
    "message": ("messages", "message_key"),
    "call": ("tool_calls", "call_key"),
    "media": ("media", "media_key"),
}


def mirror(file: Path, url: str) -> None:
    """Sessions and all that hangs on them, into a database that is new. Nobody has the file open."""
    source = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    with psycopg.connect(url) as target:
        # In any order: references are not looked at.
        target.execute("SET session_replication_role = replica")
        for user_id, last_number in source.execute("SELECT user_id, last_number FROM users"):
            target.execute(
                "INSERT INTO users (user_key, user_id, last_number) VALUES (%s, %s, %s)",
                (user_key(user_id), user_id, last_number),
            )
        for table, joined in _TABLES.items():
            columns = [row[1] for row in source.execute(f"PRAGMA table_info({table})") if row[1] != "user_key"]
            chosen = ", ".join(f"t.{column}" for column in columns)
            rows = source.execute(f"SELECT u.user_id, {chosen} FROM {table} AS t {joined}")
            with target.cursor().copy(f"COPY {table} (user_key, {', '.join(columns)}) FROM STDIN") as copy:
                for user_id, *values in rows:
                    copy.write_row((user_key(user_id), *map(_value, columns, values)))
        for counter, (table, key) in _COUNTED.items():
            target.execute(
                f"UPDATE users AS u SET last_{counter}_key = "
                f"coalesce((SELECT max({key}) FROM {table} AS t WHERE t.user_key = u.user_key), 0)"
            )
    source.close()


def _value(column: str, value: Any) -> Any:
    if column.endswith("_id") and isinstance(value, bytes):
        return str(UUID(bytes=value))
    return clean_text(value) if isinstance(value, str) else value
