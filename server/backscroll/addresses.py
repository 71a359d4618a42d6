"""Addresses of databases: a file's or a server's, how one may be shown, and where the files lie that go with it.

A hook imports this: the standard library only, and what takes a millisecond inside functions.
"""

from __future__ import annotations

import os
import sys

_APP = "backscroll"
_SQLITE = "sqlite:///"
_SERVERS = ("postgresql://", "postgres://")

_SECRET = frozenset({"password", "sslpassword"})
"""Options of libpq, which an address may carry behind its question mark."""

STARS = "***"


def is_server(url: str) -> bool:
    """Whether a database is a server's, and so no file of this machine."""
    return url.startswith(_SERVERS)


def companions(url: str | None, data_folder: str) -> tuple[str, str]:
    """Where the files lie that go with a database (spool, marker of a pause, locks), and what they call it.

    Beside a database file, under its name. A server has no folder here: the platform's data folder, under an address
    that names host and database alone, so that it holds no password and is the same for every role.
    `url` as settings give it; None is the default database.
    """
    path = file_of(url)
    if path is not None:
        folder, name = os.path.split(path)
        return folder, name
    return data_folder, "backscroll.db" if url is None else bare(url)


def file_of(url: str | None) -> str | None:
    """The database's file, absolute; None where it is the default one, or no file."""
    if url is None:
        return None
    if url.startswith(_SQLITE):
        url = url.removeprefix(_SQLITE)
        if "%" in url:
            from urllib.parse import unquote  # noqa: PLC0415

            url = unquote(url)
    elif "://" in url:
        return None
    return os.path.abspath(os.path.expanduser(url))


class _Parts:
    """What libpq makes of a server's address: percent signs are left as they are. `role`: `user` or `user:password`."""

    __slots__ = ("database", "hosts", "options", "role", "scheme")

    def __init__(
        self, scheme: str, role: str, hosts: str, database: str, options: list[tuple[str, str | None]]
    ) -> None:
        self.scheme, self.role, self.hosts, self.database, self.options = scheme, role, hosts, database, options


def _parted(url: str) -> _Parts | None:
    """None where parts of a password may have been taken for a host: a sign in it is not percent-encoded."""
    scheme, _, rest = url.partition("://")
    role = ""
    # As libpq does it: an @ before the first slash ends the role.
    at, slash = rest.find("@"), rest.find("/")
    if at >= 0 and (slash < 0 or at < slash):
        role, rest = rest[:at], rest[at + 1 :]
    place, _, asked = rest.partition("?")
    if "@" in place:
        return None
    hosts, _, database = place.partition("/")
    options = [_option(part) for part in asked.split("&")] if asked else []
    return _Parts(scheme, role, hosts, database, options)


def _option(part: str) -> tuple[str, str | None]:
    name, equals, value = part.partition("=")
    if "%" in name:
        from urllib.parse import unquote  # noqa: PLC0415

        name = unquote(name)
    return name, value if equals else None


def is_clear(url: str) -> bool:
    """Whether it can be told which part of an address is the password. Where not, an error could quote some of it."""
    return not is_server(url) or _parted(url) is not None


def bare(url: str) -> str:
    """A server's address without role, password and options: `postgresql://host:port/database`, always in one form."""
    if not is_server(url):
        return url
    parts = _parted(url)
    if parts is None:
        return "postgresql://"
    # libpq takes any part of the address as an option too.
    told = dict(parts.options)
    host, port = told.get("host") or "", told.get("port")
    hosts = parts.hosts or (f"{host}:{port}" if port else host)
    schema = f"?options={told['options']}" if told.get("options") else ""
    return f"postgresql://{hosts.lower()}/{parts.database or told.get('dbname') or ''}{schema}"


def shown(url: str) -> str:
    """An address as it may be printed: passwords as stars."""
    return _with_password(url, STARS)


def without_password(url: str) -> str:
    return _with_password(url, None)


def has_password(url: str) -> bool:
    if not is_server(url):
        return False
    parts = _parted(url)
    return parts is None or ":" in parts.role or any(name in _SECRET for name, _ in parts.options)


def _with_password(url: str, word: str | None) -> str:
    """A server's address with `word` for each password, or without any. Other databases' are handed back."""
    if not is_server(url):
        return url
    parts = _parted(url)
    if parts is None:
        return f"{url.partition('://')[0]}://{STARS}"
    user, colon, _ = parts.role.partition(":")
    role = f"{user}:{word}" if colon and word else user
    told = [
        name if value is None else f"{name}={word if name in _SECRET else value}"
        for name, value in parts.options
        if word is not None or name not in _SECRET
    ]
    who = f"{role}@" if role else ""
    return f"{parts.scheme}://{who}{parts.hosts}/{parts.database}{'?' if told else ''}{'&'.join(told)}"


_FOLDERS = {
    "linux": {"data": ("XDG_DATA_HOME", "~/.local/share"), "config": ("XDG_CONFIG_HOME", "~/.config")},
    "darwin": {
        "data": ("XDG_DATA_HOME", "~/Library/Application Support"),
        "config": ("XDG_CONFIG_HOME", "~/Library/Application Support"),
    },
}


def platform_folder(kind: str) -> str:
    """The platform's `data` or `config` folder: what platformdirs says, which takes 12 ms to import."""
    if sys.platform in _FOLDERS and not hasattr(sys, "getandroidapilevel"):
        variable, usual = _FOLDERS[sys.platform][kind]
        told = os.environ.get(variable, "")
        home = os.path.expanduser("~")
        # Where its releases differ (a variable on a Mac, a path that is not absolute) it must speak for itself.
        if os.path.isabs(home) and (not told or (sys.platform == "linux" and os.path.isabs(told))):
            return os.path.join(told or os.path.expanduser(usual), _APP)
    import platformdirs  # noqa: PLC0415

    return str(getattr(platformdirs, f"user_{kind}_dir")(_APP, appauthor=False))
