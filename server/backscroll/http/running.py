"""`backscroll serve --http`: checks what was chosen, listens, and serves with one process or several."""

import asyncio
import socket
import sys

from ..config import Settings
from ..errors import ConfigError
from . import logs, metrics
from .address import Address, address_bound, listening
from .announcing import announce
from .layout import Layout
from .names import names_of
from .shared import Shared
from .workers import Supervisor


def run(settings: Settings, address: Address, *, auth: bool) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. Raises ConfigError, and what opening the database raises."""
    if settings.http_workers > 1 and sys.platform == "win32":
        raise ConfigError("Several workers share a socket, which this system does not let them. Leave --workers out.")
    names_of(settings, address)
    bound = listening(address)
    actual = address_bound(bound)._replace(host=address.host)
    shared = Shared.create(Layout(settings.http_workers).size)
    try:
        if settings.http_workers == 1:
            return asyncio.run(_alone(settings, actual, bound, shared, auth=auth))
        return asyncio.run(Supervisor(settings, actual, bound, shared, auth=auth).run())
    finally:
        bound.close()
        shared.close()


async def _alone(settings: Settings, address: Address, bound: socket.socket, shared: Shared, *, auth: bool) -> int:
    # The SDK and uvicorn take most of a second to import; with several workers only they need them.
    from . import serving  # noqa: PLC0415

    layout = Layout(1)
    counting = None
    if settings.http_metrics is not None:
        counting = await metrics.listening(
            settings.http_metrics,
            lambda: metrics.exposition(metrics.total(shared, layout.counts, 1), workers_alive=1),
        )

    def ready() -> None:
        announce(address, workers=1, auth=auth, counting=counting)

    try:
        await serving.serve(settings, address, bound, shared, 0, auth=auth, ready=ready)
    finally:
        if counting is not None:
            counting.close()
    logs.put("info", "stopped")
    return 0
