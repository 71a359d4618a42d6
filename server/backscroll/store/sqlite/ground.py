"""What every part of the write path on SQLite stands on."""

import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .. import PreparedRun


class OnFile:
    """One user's recording in one transaction of one connection."""

    def __init__(self, db: sqlite3.Connection, user_key: int) -> None:
        self.db = db
        self.user_key = user_key

    async def foresee(self, run: PreparedRun) -> None:
        """Nothing here is far away."""

    def _update(self, table: str, key: int, columns: Mapping[str, Any], more: str = "", *values: Any) -> None:
        """Set columns of the row whose key is `table`_key."""
        self.db.execute(_updating(table, tuple(columns), more), (*columns.values(), *values, key))

    def _insert(self, table: str, columns: Mapping[str, Any]) -> None:
        self.db.execute(_inserting(table, tuple(columns)), tuple(columns.values()))


@lru_cache
def _updating(table: str, columns: tuple[str, ...], more: str) -> str:
    return f"UPDATE {table}s SET {' = ?, '.join(columns)} = ?{more} WHERE {table}_key = ?"


@lru_cache
def _inserting(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
