"""Why somebody was not let in: for counts and logs here, never for whoever asked."""

from enum import StrEnum


class Refusal(StrEnum):
    """A caller cannot tell these apart: each is a 401, but for UNAVAILABLE, which a server may make a 503."""

    MALFORMED = "malformed"
    """Neither a token of ours nor a JWT, or too long, or a header that cannot be followed."""
    UNKNOWN = "unknown"
    """No such token, or not its secret."""
    EXPIRED = "expired"
    REVOKED = "revoked"
    NOT_YET = "not_yet"
    """A JWT that is valid later (`nbf`), or was issued in the future (`iat`)."""
    NOT_CONFIGURED = "not_configured"
    """A JWT, where no issuer of JWTs is set."""
    ALGORITHM = "algorithm"
    """A JWT that is signed otherwise than the settings allow, or not at all."""
    KEY = "key"
    """No published key is the one it names and fits its algorithm."""
    SIGNATURE = "signature"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIMS = "claims"
    """A claim that must be there is not, or is not what it has to be."""
    SCOPE = "scope"
    """It grants nothing that is known here."""
    UNAVAILABLE = "unavailable"
    """The keys cannot be had, so nothing can be said of the token."""
