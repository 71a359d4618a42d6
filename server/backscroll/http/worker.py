"""A worker process: `python -m backscroll.http.worker`, as workers.py starts it."""

import asyncio
import json
import os
import socket
import sys
from typing import Any

from ..config import Settings
from ..errors import BackscrollError
from . import logs, serving
from .address import Address
from .layout import Layout
from .shared import Shared
from .workers import READY

_STDIN, _STDOUT = 0, 1


def main() -> int:
    told = json.loads(sys.stdin.buffer.readline())
    settings = Settings.model_validate(told["settings"])
    bound = socket.socket(fileno=told["socket"])
    shared = Shared(told["shared"], Layout(settings.http_workers).size)
    try:
        asyncio.run(_serve(settings, bound, shared, told))
    except BackscrollError as error:
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        return 1
    return 0


async def _serve(settings: Settings, bound: socket.socket, shared: Shared, told: dict[str, Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def heard() -> None:
        # Nothing more is ever sent: what can be read is the end.
        loop.remove_reader(_STDIN)
        stop.set()

    loop.add_reader(_STDIN, heard)
    await serving.serve(
        settings,
        Address(*told["address"]),
        bound,
        shared,
        told["slot"],
        auth=told["auth"],
        ready=lambda: _say(READY),
        stop=stop,
    )


def _say(line: bytes) -> None:
    try:
        os.write(_STDOUT, line)
    except OSError:
        logs.put("error", "nobody watches this worker")


if __name__ == "__main__":
    sys.exit(main())
