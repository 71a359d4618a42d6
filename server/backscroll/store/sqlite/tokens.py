"""Access tokens in the file of a SqliteStore."""

import sqlite3

from ...errors import Conflict
from ..tokens import StoredToken, user_tag
from .database import Database

_COLUMNS = "user_id, token_id, secret_hash, scopes, created_at, expires_at, revoked_at"


class SqliteTokens:
    """A TokenStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, token: StoredToken) -> None:
        await self._database.write(lambda db: _add(db, token))

    async def find(self, tag: bytes, token_id: str) -> StoredToken | None:
        return await self._database.look_up(
            lambda db: _one(
                db.execute(f"SELECT {_COLUMNS} FROM access_tokens WHERE user_tag = ? AND token_id = ?", (tag, token_id))
            )
        )

    async def named(self, token_id: str) -> StoredToken | None:
        return await self._database.read(
            lambda db: _one(db.execute(f"SELECT {_COLUMNS} FROM access_tokens WHERE token_id = ?", (token_id,)))
        )

    async def listed(self, user_id: str | None = None) -> list[StoredToken]:
        return await self._database.read(lambda db: _listed(db, user_id))

    async def revoke(self, tag: bytes, token_id: str, at: int) -> bool:
        return await self._database.write(
            lambda db: (
                db.execute(
                    "UPDATE access_tokens SET revoked_at = ? "
                    "WHERE user_tag = ? AND token_id = ? AND revoked_at IS NULL",
                    (at, tag, token_id),
                ).rowcount
                > 0
            )
        )


def _add(db: sqlite3.Connection, token: StoredToken) -> None:
    done = db.execute(
        f"INSERT INTO access_tokens (user_tag, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (user_tag(token.user_id), *token),
    )
    if not done.rowcount:
        raise Conflict(f"There is a token {token.token_id} already. Make another.")


def _one(cursor: sqlite3.Cursor) -> StoredToken | None:
    rows = cursor.fetchall()
    return StoredToken(*rows[0]) if rows else None


def _listed(db: sqlite3.Connection, user_id: str | None) -> list[StoredToken]:
    where, values = ("WHERE user_tag = ?", (user_tag(user_id),)) if user_id is not None else ("", ())
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM access_tokens {where} ORDER BY created_at DESC, token_id", values
    ).fetchall()
    return [StoredToken(*row) for row in rows]
