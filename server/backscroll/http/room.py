"""How many requests are served at once, and that no more begin once the server is to stop."""

from collections.abc import Callable

from .refusals import later

RETRY_SECONDS = 1.0


class Room:
    """Places for `size` requests of this worker."""

    def __init__(self, size: int, counted: Callable[[int], None]) -> None:
        """`counted` is told of each change."""
        self._size = size
        self._counted = counted
        self._taken = 0
        self.stopping = False

    def enter(self) -> None:
        """Raises Refused."""
        if self.stopping:
            raise later(503, "stopping", "This server is stopping. Try again in a moment.", RETRY_SECONDS)
        if self._taken >= self._size:
            raise later(
                503,
                "busy",
                f"{self._size} requests are being served, which is as many as may be at once "
                "(BACKSCROLL_HTTP_MAX_REQUESTS). Try again in a moment.",
                RETRY_SECONDS,
            )
        self._taken += 1
        self._counted(1)

    def leave(self) -> None:
        self._taken -= 1
        self._counted(-1)
