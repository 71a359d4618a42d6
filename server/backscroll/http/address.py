"""Where to listen: `HOST:PORT` as it is typed, whether only this machine gets there, and the socket itself."""

import ipaddress
import socket
from typing import NamedTuple

from ..errors import ConfigError

PATH = "/mcp"
"""Of the MCP endpoint."""
BACKLOG = 2048
LOOPBACK_NAME = "localhost"


class Address(NamedTuple):
    host: str
    """A name or an IP address, without brackets."""
    port: int
    """0: one that is free."""

    @property
    def loopback(self) -> bool:
        """Whether it can be reached from this machine alone. A name other than `localhost` may be anybody's."""
        if self.host == LOOPBACK_NAME:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def authority(self) -> str:
        """As it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """`127.0.0.1:8000`, `[::1]:8000`, `localhost:0`. Raises ConfigError."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    numbered = port.isascii() and port.isdigit() and int(port) < 65_536
    if not colon or not host or not numbered or (":" in host) != bracketed or not host.isprintable():
        raise ConfigError(f"--http takes HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000; not {text!r:.80}.")
    return Address(host, int(port))


def listening(address: Address) -> socket.socket:
    """A bound socket that listens. Raises ConfigError."""
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"{address.host!r:.80} is no address of this machine ({error.strerror}).") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Answers are small and written in two pieces: Nagle's algorithm would hold back the second. Taken over by
        # the connections that are accepted.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(name)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise ConfigError(f"Cannot listen on {address.authority}: {error.strerror}. Choose another port.") from error
    return bound


def address_bound(bound: socket.socket) -> Address:
    host, port = bound.getsockname()[:2]
    return Address(host, port)
