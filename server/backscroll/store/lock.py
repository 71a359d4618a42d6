"""A lock between processes, held on a file beside the database. The kernel drops it with its holder."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreBusy

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


SHORTEST_WAIT_S = 0.000_2
LONGEST_WAIT_S = 0.002
TURN_S = 0.004
"""Whoever takes the lock for one step after another leaves it free this long between two, so that those who
wait for it, and look every LONGEST_WAIT_S, have their turn."""


class FileLock:
    """Exclusive, between threads and processes. Each holding opens the file anew, as flock is per opening."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock. Raises StoreBusy after `timeout_s`, and OSError where the file cannot be opened."""
        fd = os.open(self._path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            self._wait(fd, timeout_s)
            try:
                yield
            finally:
                _unlock(fd)
        finally:
            os.close(fd)

    def _wait(self, fd: int, timeout_s: float) -> None:
        # A blocking flock has no time-out, and a stopped process would hold up all others for ever.
        deadline = time.monotonic() + timeout_s
        wait_s = SHORTEST_WAIT_S
        while not _try_lock(fd):
            if time.monotonic() >= deadline:
                raise StoreBusy(f"Another process has been writing to the database for {timeout_s:.0f} s. Try again.")
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
