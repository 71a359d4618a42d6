"""How a JWT may be signed, and where the keys are published that prove it: what the settings may say.

Only algorithms with a public key: whoever checks a token must not be able to make one. So what a public key was
published for can never be taken for a shared secret.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None), "RS384": ("RSA", None), "RS512": ("RSA", None),
    "PS256": ("RSA", None), "PS384": ("RSA", None), "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}  # fmt: skip
"""Type of key and curve of each (RFC 7518, RFC 8037)."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def algorithms(text: str) -> tuple[str, ...]:
    """Names by commas. Raises ValueError."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name.lower() == "none":
            raise ValueError('must not hold "none": a token without a signature proves nothing')
        if name.upper().startswith("HS"):
            raise ValueError(
                f"must not hold {name}: whoever can check such a token can make one, so use RS256 or ES256"
            )
        if name not in ALGORITHMS:
            raise ValueError(f"holds {name!r:.40}, which is unknown; known are {', '.join(ALGORITHMS)}")
    if not names:
        raise ValueError("must name one algorithm at least, such as RS256")
    return names


def is_url(place: str) -> bool:
    return "://" in place


def check_place(place: str) -> None:
    """A file, or a URL of https, or of http on this very machine. Raises ValueError."""
    if not is_url(place):
        return
    try:
        parts = urlsplit(place)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("https", "http"):
        raise ValueError("must be a file or an https URL")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ValueError("must be an https URL: over http anybody on the way could put in keys of their own")
