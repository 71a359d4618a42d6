"""The one door: from what a stranger sent to who it is and what they may, or why not."""

import time
from collections.abc import Callable

from ..access import Access
from ..config import Settings
from ..store.tokens import StoredToken, TokenStore
from . import opaque
from .grants import known_scopes
from .jwts import JwtRules, jwt_access, rules_of
from .key_sources import KeySource, source_of
from .refusal import Refusal


class Verifier:
    """Checks opaque tokens against a store and JWTs against published keys.

    One for each process. Raises ConfigError for settings of JWTs that are no whole. `now` is Unix time in seconds;
    `clock`, by which keys grow old, has no date and never goes back.
    """

    def __init__(
        self,
        tokens: TokenStore,
        settings: Settings,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._now = now
        self._rules: JwtRules | None = rules_of(settings)
        self._keys: KeySource | None = None if self._rules is None else source_of(self._rules.jwks, clock=clock)

    async def verify(self, token: str) -> Access | None:
        """Who it is, or None. The same as `examine` without the reason."""
        found = await self.examine(token)
        return found if isinstance(found, Access) else None

    async def examine(self, token: str) -> Access | Refusal:
        """Who it is, or why not. `token` is what follows `Bearer `, of whatever signs and length.

        Raises nothing for what a stranger may send; StoreError where the database cannot be asked, since nothing can be
        said of the token then.
        """
        if (parts := opaque.parsed(token)) is not None:
            # Looked up each time: a token that any process revokes is refused by the next request to every other one.
            return self._opaque_access(parts, await self._tokens.find(parts.tag, parts.token_id))
        if self._rules is None or self._keys is None:
            return Refusal.NOT_CONFIGURED if token.count(".") == 2 else Refusal.MALFORMED
        return await jwt_access(token, self._rules, self._keys, now=self._now())

    async def check(self) -> None:
        """Get the keys before the first request does. Raises ConfigError where a file of keys cannot be used.

        A URL that does not answer is logged and no error: the issuer may come up after us.
        """
        if self._keys is not None:
            await self._keys.check()

    def _opaque_access(self, parts: opaque.Opaque, known: StoredToken | None) -> Access | Refusal:
        if not opaque.proves(parts.secret, known) or known is None:
            return Refusal.UNKNOWN
        # Told only to whoever has the secret.
        if known.revoked_at is not None:
            return Refusal.REVOKED
        if known.expires_at is not None and self._now() * 1000 >= known.expires_at:
            return Refusal.EXPIRED
        scopes = known_scopes(known.scopes.split())
        return Access(known.user_id, scopes, known.token_id) if scopes else Refusal.SCOPE
