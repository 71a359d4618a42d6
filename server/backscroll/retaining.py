"""Retention by age in a running server: once a day what expired is deleted, at a moment when nobody writes.

Of several servers on one store one does it, for each user. That it is due is written in the database, so that a
server which runs for a minute does it too.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .errors import BackscrollError
from .memory import Backscroll, Memory
from .memory.forgetting import DAY_MS
from .recall.reading import now_ms

logger = logging.getLogger(__name__)

QUIET_SECONDS = 5.0
"""So long nobody has written when it begins; and no server is kept from its start by it."""
LOOK_SECONDS = 600.0
"""How often a server that runs for days asks whether a day has passed."""


@asynccontextmanager
async def retaining(
    app: Backscroll,
    user_id: str | None,
    *,
    quiet_seconds: float = QUIET_SECONDS,
    look_seconds: float = LOOK_SECONDS,
) -> AsyncIterator[None]:
    """Apply the retention that is set, if there is one, for as long as this is entered.

    To this user's sessions; where that is None, to those of every user of the store.
    """
    if app.settings.retention_days is None:
        yield
        return
    task = asyncio.get_running_loop().create_task(_retain(app, user_id, quiet_seconds, look_seconds))
    try:
        yield
    finally:
        # What is half done is done for those sessions that are gone, and goes on another day for the rest.
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _retain(app: Backscroll, user_id: str | None, quiet_seconds: float, look_seconds: float) -> None:
    while True:
        try:
            if user_id is not None:
                await _until_quiet(app.memory(user_id), quiet_seconds)
                users = [user_id]
            else:
                # Of many users there is always one who writes; and each deletion takes a short moment.
                await asyncio.sleep(quiet_seconds)
                users = await app.store.choices.users_due(now_ms(), DAY_MS)
        except Exception as error:
            _tell(error)
            users = []
        for user in users:
            await _retain_of(app.memory(user))
        await asyncio.sleep(look_seconds)


async def _retain_of(memory: Memory) -> None:
    """A user whose turn fails keeps nobody else from theirs."""
    try:
        receipt = await memory.apply_retention()
    except Exception as error:
        _tell(error)
        return
    if receipt is not None and receipt.sessions:
        logger.info("retention: %d expired sessions deleted", receipt.sessions)


def _tell(error: Exception) -> None:
    """Never the server's end: it is tried again. What is not ours is told by its kind alone."""
    if isinstance(error, BackscrollError):
        logger.warning("retention could not be applied: %s", error)
    else:
        logger.warning("retention failed (%s)", type(error).__name__)


async def _until_quiet(memory: Memory, seconds: float) -> None:
    version = await memory.store.data_version(memory.user_id)
    while True:
        await asyncio.sleep(seconds)
        version, before = await memory.store.data_version(memory.user_id), version
        if version == before:
            return
