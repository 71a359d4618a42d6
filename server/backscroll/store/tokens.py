"""What Backscroll asks of a database that knows access tokens: who may call over HTTP, and what for.

Of a token's secret only a digest comes here, so no copy of the database lets anybody in. Times are UTC milliseconds.
What a request asks (`find`) names the user first, by a tag that the token itself carries; what an
administrator asks (`named`, `listed`) may go over all users.
"""

from hashlib import sha256
from typing import NamedTuple, Protocol

TAG_BYTES = 16


class StoredToken(NamedTuple):
    """An access token as the database keeps it. `token_id` is what people call it; it opens nothing."""

    user_id: str
    token_id: str
    secret_hash: bytes
    scopes: str
    """Names by spaces. One that this version does not know is kept."""
    created_at: int
    expires_at: int | None = None
    """From then on it is refused; None: never."""
    revoked_at: int | None = None


def user_tag(user_id: str) -> bytes:
    """The first half of the SHA-256 of a user's name: of one length, and the same in every database."""
    return sha256(user_id.encode("utf-8", "surrogatepass")).digest()[:TAG_BYTES]


class TokenStore(Protocol):
    """Each method is one transaction; what one process has committed, the next call of every other one sees."""

    async def add(self, token: StoredToken) -> None:
        """Raises Conflict where there is one of this id."""
        ...

    async def find(self, tag: bytes, token_id: str) -> StoredToken | None:
        """One user's token, be it expired or revoked or not. Asked for with every request."""
        ...

    async def named(self, token_id: str) -> StoredToken | None:
        """Whoever's it is: for an administrator."""
        ...

    async def listed(self, user_id: str | None = None) -> list[StoredToken]:
        """One user's, or all there are: newest first."""
        ...

    async def revoke(self, tag: bytes, token_id: str, at: int) -> bool:
        """Refuse it from now on. False where there is none, or it was revoked before, which then stands."""
        ...
