"""Making, listing and revoking access tokens: what `backscroll token` does."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from ..access import Scope
from ..errors import NotFound
from ..store.tokens import StoredToken, TokenStore, user_tag
from . import opaque
from .grants import known_scopes

State = Literal["valid", "expired", "revoked"]


class AccessToken(NamedTuple):
    """A token as people may see it: all but what opens."""

    token_id: str
    user: str
    scopes: frozenset[Scope]
    state: State
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def create(
    tokens: TokenStore, user_id: str, scopes: Iterable[Scope], lasting: timedelta | None, *, now: datetime
) -> tuple[str, AccessToken]:
    """The token itself, which nothing can show again, and what is kept of it. Raises InvalidArgument."""
    token, stored = opaque.made(user_id, scopes, lasting, now=now)
    await tokens.add(stored)
    return token, _shown(stored, now)


async def listed(tokens: TokenStore, user_id: str | None, *, now: datetime) -> list[AccessToken]:
    """One user's, or all: newest first, those too that are refused by now."""
    return [_shown(token, now) for token in await tokens.listed(user_id)]


async def revoke(tokens: TokenStore, token_id: str, *, now: datetime) -> tuple[AccessToken, bool]:
    """The token, refused from the next request on, and whether it was not so before. Raises NotFound.

    A whole token, as it was found where it should not be, stands for its id.
    """
    whole = opaque.parsed(token_id)
    found = await tokens.named(token_id if whole is None else whole.token_id)
    if found is None:
        # What may be a part of a token is not repeated.
        told = "of this form" if token_id.startswith(opaque.PREFIX) else repr(token_id[:40])
        raise NotFound(f"No token {told}. `backscroll token list --all` shows the ids of all tokens.")
    tag = user_tag(found.user_id)
    first = await tokens.revoke(tag, found.token_id, opaque.milliseconds(now))
    return _shown(await tokens.find(tag, found.token_id) or found, now), first


def _shown(token: StoredToken, now: datetime) -> AccessToken:
    expires_at = _moment(token.expires_at)
    if token.revoked_at is not None:
        state: State = "revoked"
    else:
        state = "expired" if expires_at is not None and expires_at <= now else "valid"
    return AccessToken(
        token.token_id,
        token.user_id,
        known_scopes(token.scopes.split()),
        state,
        datetime.fromtimestamp(token.created_at / 1000, UTC),
        expires_at,
        _moment(token.revoked_at),
    )


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
