"""Where a client learns who gives tokens for this server: RFC 9728, as MCP's authorization asks for it."""

from typing import Any
from urllib.parse import urlsplit

from ..access import SCOPES
from ..config import Settings

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def protected_resource(resource: str, settings: Settings) -> dict[str, Any]:
    """The JSON document. `resource` is the endpoint's public URL, such as `https://memory.example/mcp`.

    Without an issuer of JWTs it names none: a token comes from `backscroll token create` then.
    """
    issuer = settings.jwt_issuer
    return {
        "resource": resource,
        **({"authorization_servers": [issuer]} if issuer else {}),
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "resource_name": "Backscroll",
    }


def metadata_path(resource: str) -> str:
    """Where the document lies on the resource's host: its path goes behind the well-known one (RFC 9728, 3.1)."""
    return WELL_KNOWN + urlsplit(resource).path.rstrip("/")


def metadata_url(resource: str) -> str:
    """For `resource_metadata` in WWW-Authenticate (RFC 9728, 5.1)."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{metadata_path(resource)}"
