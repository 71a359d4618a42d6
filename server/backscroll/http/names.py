"""Host and Origin: a page that a browser loads from elsewhere must not get at a server on this machine or net.

DNS rebinding lets such a page reach any address under a name of its own; that name then stands in Host.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from ..config import Settings
from ..errors import ConfigError
from .address import LOOPBACK_NAME, Address
from .refusals import Refused


class Names:
    """The names under which this server answers, and the pages that may ask it."""

    def __init__(self, address: Address, hosts: Iterable[str], origins: Iterable[str]) -> None:
        """`hosts` are names, with a port where only that is meant. Raises ConfigError for what is neither."""
        self._hosts: set[str] = {_known_host(host) for host in hosts}
        self._origins: set[str] = {_known_origin(origin) for origin in origins}
        self._loopback = address.loopback
        if not _everything(address.host):
            self._hosts.add(_bare(address.host))

    def check(self, host: bytes | None, origin: bytes | None) -> None:
        """Raises Refused: 421 for the host, 403 for the origin."""
        if host is None or not self._answers(host.decode("latin-1").lower()):
            raise Refused(
                421,
                "host",
                "This server does not answer under the name in Host. Ask it under its own, or let its operator add "
                "this one to BACKSCROLL_HTTP_HOSTS.",
            )
        if origin is not None and not self._welcomes(origin.decode("latin-1").lower()):
            raise Refused(
                403,
                "origin",
                "Pages of this origin may not ask here. Its operator can add it to BACKSCROLL_HTTP_ORIGINS.",
            )

    def _answers(self, host: str) -> bool:
        name = _name_of(host)
        return host in self._hosts or name in self._hosts or _is_loopback(name)

    def _welcomes(self, origin: str) -> bool:
        if origin in self._origins:
            return True
        # Pages of this machine, where only this machine can ask.
        return self._loopback and origin.startswith("http://") and _is_loopback(_name_of(origin[len("http://") :]))


def names_of(settings: Settings, address: Address) -> Names:
    """Raises ConfigError."""
    return Names(address, _by_commas(settings.http_hosts), _by_commas(settings.http_origins))


def _by_commas(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _name_of(host: str) -> str:
    """Without the port, if that is one; brackets stay."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() and (":" not in name or name.endswith("]")) else host


def _is_loopback(name: str) -> bool:
    return name in (LOOPBACK_NAME, "[::1]") or (name.startswith("127.") and _ipv4(name))


def _ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _bare(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def _everything(host: str) -> bool:
    return host in ("0.0.0.0", "::")  # noqa: S104


def _known_host(host: str) -> str:
    if not host or any(sign in host for sign in "/@ *,") or not host.isprintable():
        raise ConfigError(f"BACKSCROLL_HTTP_HOSTS takes names such as memory.example.com, not {host!r:.80}.")
    return host.lower()


def _known_origin(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query or "*" in origin:
        raise ConfigError(f"BACKSCROLL_HTTP_ORIGINS takes origins such as https://app.example.com, not {origin!r:.80}.")
    return origin.lower()
