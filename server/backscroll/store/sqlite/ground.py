"""What every part of the write path on SQLite stands on."""

import sqlite3
from collections.abc import Mapping
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
        told = ", ".join(f"{name} = ?" for name in columns)
        self.db.execute(f"UPDATE {table}s SET {told}{more} WHERE {table}_key = ?", (*columns.values(), *values, key))
