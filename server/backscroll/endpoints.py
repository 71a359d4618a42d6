"""What endpoints of OpenAI's kind have in common: where to post, and what of that may be shown."""

from urllib.parse import urlsplit, urlunsplit


def endpoint_url(base_url: str, path: str) -> tuple[str, str]:
    """The URL to post to, and what of it may be shown: no user, password or query, which can be keys.

    `base_url` is what precedes `path`, which it may hold already; a query stays. Where it is no URL at all,
    the first is empty, and a client will refuse it.
    """
    try:
        parts = urlsplit(base_url.strip())
        host = parts.hostname or ""
        shown_host = f"[{host}]" if ":" in host else host
        shown_port = f":{parts.port}" if parts.port else ""
    except ValueError:
        # Port or address out of bounds.
        return "", "(unusable)"
    whole = parts.path.rstrip("/").removesuffix(path) + path
    shown = urlunsplit((parts.scheme, shown_host + shown_port, whole, "", ""))
    return urlunsplit(parts._replace(path=whole, fragment="")), shown


def fits_a_header(api_key: str) -> bool:
    """Looked at before it is sent, since the libraries below would quote a key in their error."""
    return api_key.isascii() and api_key.isprintable()


def encodable(text: str) -> str:
    """`text` without lone surrogates, which JSON in UTF-8 cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
