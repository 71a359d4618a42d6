"""How often each credential may ask: one limit, however many workers answer.

The generic cell rate algorithm keeps one number a caller: when, at the agreed rate, all that was asked so far
would be done. It lies in memory that the workers share, in a table of fixed size.
"""

import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from .shared import Shared

if sys.platform != "win32":
    import fcntl

_CELL = struct.Struct("<Qd")
"""A caller's digest (0: nobody's), and when its past would be done, on the monotonic clock."""
_CELLS, _BUCKETS = 8, 8192
_BUCKET_BYTES = _CELLS * _CELL.size

SIZE = _BUCKETS * _BUCKET_BYTES
"""Bytes: 65,536 callers in eights. A caller's place is free again once it has been quiet for as long as its burst."""


class Rates:
    """`per_minute` requests of each caller in the long run, `burst` of them at once."""

    def __init__(
        self,
        shared: Shared,
        *,
        per_minute: int,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` must be one for all processes of the machine, as the monotonic one is."""
        self._shared = shared
        self._interval = 60.0 / per_minute
        self._slack = (burst - 1) * self._interval
        self._clock = clock

    def wait(self, caller: str) -> float:
        """0 if `caller` may ask now, which then counts; else how many seconds it has to wait, and nothing counts."""
        digest = int.from_bytes(blake2b(caller.encode(), digest_size=8).digest(), "little") or 1
        offset = digest % _BUCKETS * _BUCKET_BYTES
        with self._locked(offset):
            now = self._clock()
            place, done_at = self._place(offset, digest, now)
            over = max(done_at, now) - now - self._slack
            if over > 1e-9:
                return over
            _CELL.pack_into(self._shared.view, place, digest, max(done_at, now) + self._interval)
        return 0.0

    def _place(self, offset: int, digest: int, now: float) -> tuple[int, float]:
        """Where this caller's cell is, and what it says; else the cell that can best be taken for it."""
        best, oldest = offset, float("inf")
        for place in range(offset, offset + _BUCKET_BYTES, _CELL.size):
            whose, done_at = _CELL.unpack_from(self._shared.view, place)
            if whose == digest:
                return place, done_at
            if done_at < oldest:
                best, oldest = place, done_at
        return best, now

    @contextmanager
    def _locked(self, offset: int) -> Iterator[None]:
        """Against the other workers; within one nothing waits in between. A lock ends with its process."""
        if sys.platform == "win32":  # where there is one worker
            yield
            return
        fcntl.lockf(self._shared.fd, fcntl.LOCK_EX, _BUCKET_BYTES, offset)
        try:
            yield
        finally:
            fcntl.lockf(self._shared.fd, fcntl.LOCK_UN, _BUCKET_BYTES, offset)
