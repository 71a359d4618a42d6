"""Generated ids: UUIDv7 (RFC 9562), in order of time within a process and nearly so between them. And users' tags."""

import os
import threading
import time
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

_lock = threading.Lock()
_last = 0


def uuid7() -> str:
    """48 bits of milliseconds, 12 bits that only grow within a millisecond (method 3), 62 random bits."""
    global _last  # noqa: PLW0603 - the one clock of the process
    now_ns = time.time_ns()
    tick = (now_ns // 1_000_000 << 12) | (now_ns % 1_000_000 * 4096 // 1_000_000)
    with _lock:
        _last = tick = max(tick, _last + 1)
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return str(UUID(int=(tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | random))


@lru_cache(maxsize=4096)
def user_tag(user_id: str) -> bytes:
    """16 bytes that stand for a user where their id would be too long or too plain: in keys, and in tokens.

    The first half of SHA-256: nobody finds a second id with the same tag.
    """
    return sha256(user_id.encode("utf-8", "surrogatepass")).digest()[:16]
