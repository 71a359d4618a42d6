"""Who asks: the one Authorization header, checked; or whoever started the server, where nobody is asked.

RFC 6750 for the header and the refusals, RFC 9728 for where a client learns who gives tokens.
"""

import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qsl

from ..access import Access
from ..auth.refusal import Refusal
from .refusals import Refused

# RFC 6750, 2.1 (b64token); the scheme's name is told apart by RFC 9110, 11.1, whatever its case.
_BEARER = re.compile(rb"Bearer ([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class Verifier(Protocol):
    async def examine(self, token: str) -> Access | Refusal:
        """Whom a token stands for, or why not. Raises StoreError where that cannot be asked."""


def bearer(header: bytes | None) -> str | None:
    """The token of one Authorization header; None where there is none, or none that is a bearer token's."""
    found = _BEARER.fullmatch(header) if header is not None else None
    return found[1].decode("ascii") if found is not None else None


class Asking:
    def __init__(self, verifier: Verifier, metadata_url: str) -> None:
        """`metadata_url` is where the protected-resource metadata is published."""
        self._verifier = verifier
        self._where = f'resource_metadata="{metadata_url}"'

    async def access(self, headers: Mapping[bytes, bytes], twice: bool, query: bytes) -> Access:
        """Raises Refused (401; 400 for what is no way to send a token), StoreError.

        `twice`: there is more than one Authorization header.
        """
        if _token_in(query):
            raise self._refused(400, "invalid_request", "A token belongs in the Authorization header, never in a URL.")
        if twice:
            raise self._refused(400, "invalid_request", "Send one Authorization header.")
        given = headers.get(b"authorization")
        if given is None:
            # RFC 6750, 3.1: no error code for whoever sent no credential.
            raise self._refused(
                401,
                None,
                "This server asks for a token. Send `Authorization: Bearer TOKEN`; its operator makes one with "
                "`backscroll token create`.",
            )
        token = bearer(given)
        if token is None:
            raise self._refused(401, "invalid_token", "Send `Authorization: Bearer TOKEN`.")
        found = await self._verifier.examine(token)
        if isinstance(found, Access):
            return found
        raise self._refused(
            401, "invalid_token", "This token is unknown, expired or revoked. Ask the operator for a new one.", found
        )

    async def still(self, access: Access, header: bytes | None) -> bool:
        """Whether the same header gives the same access now."""
        token = bearer(header)
        return token is not None and await self._verifier.examine(token) == access

    def _refused(self, status: int, error: str | None, detail: str, why: Refusal | None = None) -> Refused:
        told = f'Bearer error="{error}", error_description="{detail}", ' if error else "Bearer "
        challenge = (told + self._where).replace("`", "'").encode("latin-1")
        return Refused(status, "authentication", detail, [(b"www-authenticate", challenge)], why=why)


class Anybody:
    """No authentication: each request is that of whoever started the server."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def access(self, headers: Mapping[bytes, bytes], twice: bool, query: bytes) -> Access:
        return self._access

    async def still(self, access: Access, header: bytes | None) -> bool:
        return True


def _token_in(query: bytes) -> bool:
    return b"token" in query and any(name == "access_token" for name, _ in parse_qsl(query.decode("latin-1"), True))
