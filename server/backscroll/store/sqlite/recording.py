"""The write path on SQLite: what store/recording decides, in one transaction on the connection's thread."""

import sqlite3
from collections.abc import Sequence

from .. import PreparedRun, Recorded
from ..recording import at_once
from ..recording import record as record_on
from .growing import Growing
from .hooked import Hooking
from .knowing import Knowing
from .meetings import Meeting
from .writing import Writing


class SqliteGround(Writing, Knowing, Growing, Meeting, Hooking):
    """A Ground in a file. It never waits."""


def record(db: sqlite3.Connection, user_id: str, runs: Sequence[PreparedRun]) -> list[Recorded]:
    return at_once(record_on(SqliteGround(db, ensure_user(db, user_id)), runs))


def ensure_user(db: sqlite3.Connection, user_id: str) -> int:
    row = db.execute("SELECT user_key FROM users WHERE user_id = ?", (user_id,)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO users (user_id) VALUES (?) RETURNING user_key", (user_id,)).fetchone()
    return int(row[0])
