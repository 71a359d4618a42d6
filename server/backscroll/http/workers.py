"""Several processes on one socket: started, watched, started again, stopped together.

A worker is a new interpreter. What it needs comes on its standard input, never on its command line, which others
can read; it says on its standard output that it is ready. When its standard input ends, whoever started it is
gone, and it stops.
"""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from typing import Any

from pydantic import SecretStr

from ..config import Settings
from . import logs, metrics
from .address import Address
from .announcing import announce
from .layout import Layout
from .shared import Shared

READY = b"ready\n"
STEADY_SECONDS = 10.0
"""A worker that ends sooner than this is started again after a pause, each time twice as long."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
EXTRA_SECONDS = 5.0
"""What a worker has to close its store, beyond the time for what is under way, before it is killed."""


class Supervisor:
    def __init__(
        self, settings: Settings, address: Address, bound: socket.socket, shared: Shared, *, auth: bool
    ) -> None:
        self._settings = settings
        self._address = address
        self._bound = bound
        self._shared = shared
        self._auth = auth
        self._layout = Layout(settings.http_workers)
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """0 after SIGTERM or SIGINT; 1 where no worker could begin, which has told why."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._stop.set)
        counting = await self._counting()
        tasks: list[asyncio.Task[None]] = []
        try:
            # The first one alone: it makes or migrates the database, and tells once what is wrong.
            if not await self._start(0):
                return 0 if self._stop.is_set() else 1
            others = range(1, self._layout.workers)
            await asyncio.gather(*(self._start(slot) for slot in others))
            if not self._stop.is_set():
                announce(self._address, workers=self._layout.workers, auth=self._auth, counting=counting)
            tasks = [loop.create_task(self._keep(slot)) for slot in range(self._layout.workers)]
            await self._stop.wait()
            return 0
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()
            if counting is not None:
                counting.close()
            logs.put("info", "stopped")

    async def _counting(self) -> asyncio.Server | None:
        if self._settings.http_metrics is None:
            return None

        def text() -> str:
            sums = metrics.total(self._shared, self._layout.counts, self._layout.workers)
            return metrics.exposition(sums, workers_alive=len(self._ready))

        return await metrics.listening(self._settings.http_metrics, text)

    async def _start(self, slot: int) -> bool:
        """Start a worker; whether it got ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # The working folder is no place to import from.
            "-m",
            "backscroll.http.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._bound.fileno(), self._shared.fd),
        )
        self._processes[slot] = process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.write(self._told(slot))
            await process.stdin.drain()
        stopped = asyncio.ensure_future(self._stop.wait())
        line = asyncio.ensure_future(process.stdout.readline())
        try:
            await asyncio.wait((stopped, line), return_when=asyncio.FIRST_COMPLETED)
            if not line.done() or line.result() != READY:
                return False
        finally:
            stopped.cancel()
            line.cancel()
        self._ready.add(slot)
        return True

    def _told(self, slot: int) -> bytes:
        told = {
            "settings": self._settings.model_dump(),
            "address": self._address,
            "socket": self._bound.fileno(),
            "shared": self._shared.fd,
            "slot": slot,
            "auth": self._auth,
        }
        return json.dumps(told, default=_revealed).encode() + b"\n"

    async def _keep(self, slot: int) -> None:
        """Start worker `slot` again whenever it ends."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            process = self._processes[slot]
            code = await process.wait()
            self._ready.discard(slot)
            logs.put("error", "worker ended", ended=process.pid, code=code)
            if time.monotonic() - began < STEADY_SECONDS:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS
            if await self._start(slot):
                logs.put("info", "worker started", started=self._processes[slot].pid)

    async def _end(self) -> None:
        """Stop all workers: asked first, killed when they take longer than they may."""
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        # Held open it would still take connections, which nobody would serve.
        self._bound.close()
        ends = [asyncio.ensure_future(process.wait()) for process in running]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=self._settings.http_shutdown_s + EXTRA_SECONDS)
        if late:
            for process in running:
                if process.returncode is None:
                    logs.put("error", "worker killed", ended=process.pid)
                    process.kill()
            await asyncio.wait(ends)


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(type(value).__name__)
