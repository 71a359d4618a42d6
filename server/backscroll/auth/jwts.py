"""JWTs of one issuer (RFC 7519, RFC 8725): form, algorithm, key, signature and claims are looked at in this order."""

import json
import re
from hashlib import sha256
from typing import Any, NamedTuple

import jwt

from ..access import Access
from ..config import Settings
from ..errors import ConfigError
from ..signing import algorithms
from .claims import Expected, granted
from .key_sources import KeySource
from .refusal import Refusal

MAX_CHARS = 16_384
"""Of a whole token. The largest that issuers give name hundreds of groups in 8 KB; servers bound a header likewise."""

MAX_KID_CHARS = 512

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

# RFC 9068, 2.1; most issuers write JWT or nothing. What has a type of its own, as a DPoP proof has, is no access token.
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})


class JwtRules(NamedTuple):
    expected: Expected
    algorithms: tuple[str, ...]
    jwks: str


def rules_of(settings: Settings) -> JwtRules | None:
    """None where no JWTs are taken. Raises ConfigError where the settings say half of it."""
    needed = {name: getattr(settings, name) for name in ("jwt_issuer", "jwt_audience", "jwks")}
    missing = [name for name, value in needed.items() if not value]
    if len(missing) == len(needed):
        return None
    if missing:
        raise ConfigError(
            f"{' and '.join(_variable(name) for name in missing)} must be set too: JWTs need "
            f"{', '.join(map(_variable, needed))}. Set all three, or none."
        )
    expected = Expected(
        needed["jwt_issuer"],
        needed["jwt_audience"],
        settings.jwt_user_claim,
        settings.jwt_scope_claim,
        settings.jwt_leeway_s,
    )
    return JwtRules(expected, algorithms(settings.jwt_algorithms), needed["jwks"])


async def jwt_access(token: str, rules: JwtRules, source: KeySource, *, now: float) -> Access | Refusal:
    """Who a JWT says it is, or why not. Raises nothing, whatever the text."""
    header = _header(token)
    if header is None:
        return Refusal.MALFORMED
    algorithm, kid = header.get("alg"), header.get("kid")
    # Before any key is looked at. The settings cannot name `none` or shared secrets.
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        return Refusal.ALGORITHM
    # Keys come from the settings' place alone: what a header says of keys (jwk, jku, x5c, x5u) is not read.
    keys = await source.keys(kid)
    if keys is None:
        return Refusal.UNAVAILABLE
    key = keys.find(kid, algorithm)
    if key is None:
        return Refusal.KEY
    claims = _proved(token, key.public, algorithm)
    if isinstance(claims, Refusal):
        return claims
    found = granted(claims, rules.expected, now=now)
    if isinstance(found, Refusal):
        return found
    return Access(found.user_id, found.scopes, credential_id(token))


def credential_id(token: str) -> str:
    """What logs and limits call a JWT: a digest of what was signed, since a signature can be written in two ways."""
    return f"jwt-{sha256(token.rpartition('.')[0].encode()).hexdigest()[:16]}"


def _header(token: str) -> dict[str, Any] | None:
    """Of a token that may be followed; None for any other."""
    if len(token) > MAX_CHARS or not _FORM.fullmatch(token):
        return None
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        return None
    # `crit` names what must be understood or else refused (RFC 7515, 4.1.11), and nothing of the kind is understood.
    if "crit" in header or "b64" in header or len(header.get("kid") or "") > MAX_KID_CHARS:
        return None
    kind = header.get("typ", "JWT")
    return header if isinstance(kind, str) and kind.lower() in _TYPES else None


def _proved(token: str, public: Any, algorithm: str) -> dict[str, Any] | Refusal:
    """The claims, once the signature is that of the key by this algorithm. Their times are not looked at here."""
    try:
        payload = _jws.decode_complete(token, public, [algorithm])["payload"]
    except jwt.InvalidSignatureError:
        return Refusal.SIGNATURE
    except (jwt.PyJWTError, ValueError):
        return Refusal.MALFORMED
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        return Refusal.MALFORMED
    return claims if isinstance(claims, dict) else Refusal.MALFORMED


_jws = jwt.PyJWS()


def _variable(name: str) -> str:
    return f"BACKSCROLL_{name.upper()}"
