"""The line that tells where a server listens."""

import asyncio
import os

from . import logs
from .address import PATH, Address


def announce(address: Address, *, workers: int, auth: bool, counting: asyncio.Server | None) -> None:
    port = None if counting is None else counting.sockets[0].getsockname()[1]
    logs.put(
        "info",
        "listening",
        url=f"http://{address.authority}{PATH}",
        workers=workers,
        auth="token" if auth else "none",
        metrics=None if port is None else f"http://127.0.0.1:{port}/metrics",
        supervisor=os.getpid() if workers > 1 else None,
    )
