"""Whose turn it is to write, within this process: one writer at a time for a user, and room left for readers.

Whoever waits here holds no connection. So one user's writers, however many, take one connection from the others, and
a caller who gives up leaves nothing behind.
"""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from ...errors import StoreBusy


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    taking: int = 0
    """How many have it or wait for it."""


class Turns:
    def __init__(self, *, most: int, patience_s: float) -> None:
        """`most` write at once."""
        self._room = asyncio.Semaphore(most)
        self._patience_s = patience_s
        self._turns: dict[UUID, _Turn] = {}
        self._over = asyncio.Event()
        self._over.set()

    async def take(self, user_key: UUID) -> None:
        """Wait for the user's turn, then for room. Raises StoreBusy where neither comes in time."""
        turn = self._turns.setdefault(user_key, _Turn())
        turn.taking += 1
        self._over.clear()
        try:
            async with asyncio.timeout(self._patience_s):
                await turn.lock.acquire()
                try:
                    await self._room.acquire()
                except BaseException:
                    turn.lock.release()
                    raise
        except BaseException as error:
            self._leave(user_key)
            if isinstance(error, TimeoutError):
                raise StoreBusy(
                    "The database is busy: other writes wait already. Nothing was changed; try again."
                ) from None
            raise

    def give_back(self, user_key: UUID) -> None:
        """For each `take` that came to its end, once."""
        self._room.release()
        self._turns[user_key].lock.release()
        self._leave(user_key)

    async def over(self) -> None:
        """Wait until nobody has a turn or waits for one."""
        await self._over.wait()

    def _leave(self, user_key: UUID) -> None:
        turn = self._turns[user_key]
        turn.taking -= 1
        if not turn.taking:
            del self._turns[user_key]
        if not self._turns:
            self._over.set()
