"""Access tokens on Postgres."""

from uuid import UUID

from ...errors import Conflict
from ..tokens import StoredToken
from .database import Ask, Database, Row, Writing, user_key

_COLUMNS = "user_id, token_id, secret_hash, scopes, created_at, expires_at, revoked_at"


class PostgresTokens:
    """A TokenStore. The tag that a token carries is its user's key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, token: StoredToken) -> None:
        async def add(writing: Writing) -> None:
            # Another user's too: people name a token by its id alone. A unique index could not be spread by user; ids
            # are random, so that nobody has to be kept from making the same one at the same moment.
            taken = await writing.one("SELECT 1 FROM access_tokens WHERE token_id = %s", (token.token_id,))
            added = not taken and await writing.run(
                f"INSERT INTO access_tokens (user_key, {_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (writing.user_key, *token),
            )
            if not added:
                raise Conflict(f"There is a token {token.token_id} already. Make another.")

        await self._database.write(token.user_id, add)

    async def find(self, tag: bytes, token_id: str) -> StoredToken | None:
        return await self._one(
            Ask(
                f"SELECT {_COLUMNS} FROM access_tokens WHERE user_key = %s AND token_id = %s",
                (UUID(bytes=tag), token_id),
            )
        )

    async def named(self, token_id: str) -> StoredToken | None:
        return await self._one(Ask(f"SELECT {_COLUMNS} FROM access_tokens WHERE token_id = %s", (token_id,)))

    async def listed(self, user_id: str | None = None) -> list[StoredToken]:
        where, values = ("WHERE user_key = %s", (user_key(user_id),)) if user_id is not None else ("", ())
        (rows,) = await self._database.fetch(
            Ask(f"SELECT {_COLUMNS} FROM access_tokens {where} ORDER BY created_at DESC, token_id", values)
        )
        return [_token(row) for row in rows]

    async def revoke(self, tag: bytes, token_id: str, at: int) -> bool:
        found = await self.find(tag, token_id)
        if found is None:
            return False

        async def revoke(writing: Writing) -> bool:
            done = await writing.run(
                "UPDATE access_tokens SET revoked_at = %s WHERE user_key = %s AND token_id = %s AND revoked_at IS NULL",
                (at, writing.user_key, token_id),
            )
            return done > 0

        return await self._database.write(found.user_id, revoke)

    async def _one(self, asked: Ask) -> StoredToken | None:
        (rows,) = await self._database.fetch(asked)
        return _token(rows[0]) if rows else None


def _token(row: Row) -> StoredToken:
    user_id, token_id, secret_hash, scopes, created_at, expires_at, revoked_at = row
    return StoredToken(user_id, token_id, bytes(secret_hash), scopes, created_at, expires_at, revoked_at)
