"""What a JWT's claims must say (RFC 7519), once its signature is proved. Pure: time comes in."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..access import Scope
from .grants import is_user, known_scopes
from .refusal import Refusal


class Expected(NamedTuple):
    issuer: str
    audience: str
    user_claim: str
    scope_claim: str
    leeway_s: float


class Granted(NamedTuple):
    user_id: str
    scopes: frozenset[Scope]


def granted(claims: Mapping[str, Any], expected: Expected, *, now: float) -> Granted | Refusal:
    """Whom it names and what it grants. `now` is Unix time in seconds.

    Issuer and audience are compared sign by sign. Of several audiences one must be ours. `exp` must be there; `nbf` and
    `iat` count where they are.
    """
    if claims.get("iss") != expected.issuer:
        return Refusal.ISSUER
    if expected.audience not in _audiences(claims.get("aud")):
        return Refusal.AUDIENCE
    if (refused := _timely(claims, now, expected.leeway_s)) is not None:
        return refused
    user_id = claims.get(expected.user_claim)
    if not isinstance(user_id, str) or not is_user(user_id):
        return Refusal.CLAIMS
    scopes = _scopes(claims.get(expected.scope_claim))
    return Granted(user_id, scopes) if scopes else Refusal.SCOPE


def _audiences(claim: object) -> list[object]:
    return claim if isinstance(claim, list) else [claim]


def _timely(claims: Mapping[str, Any], now: float, leeway_s: float) -> Refusal | None:
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times or not all(map(_is_time, times.values())):
        return Refusal.CLAIMS
    if now >= times["exp"] + leeway_s:
        return Refusal.EXPIRED
    if any(times.get(name, now) > now + leeway_s for name in ("nbf", "iat")):
        return Refusal.NOT_YET
    return None


def _is_time(value: object) -> bool:
    """A NumericDate. JSON as Python reads it also has NaN, which is later than nothing, and true, which is 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # An integer may be too large for a float to be added to.
    return abs(value) < 1e15 if isinstance(value, int) else math.isfinite(value)


def _scopes(claim: object) -> frozenset[Scope]:
    """Names by spaces (RFC 8693, 4.2), or a list of names, as some issuers write it."""
    if isinstance(claim, str):
        return known_scopes(claim.split(" "))
    return known_scopes(claim) if isinstance(claim, list) else frozenset()
