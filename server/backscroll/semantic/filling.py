"""Messages get their vectors in the background: in small steps, whoever recorded them, and nobody waits for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import BackscrollError
from ..store import VectorStore
from .embedding import Embedder

if TYPE_CHECKING:
    from ..store.vectors import Unembedded
    from .vectors import Floats

logger = logging.getLogger(__name__)

MAX_CHARS = 2_000
"""Of a message; the mean over a longer text says little of any part of it."""

BATCH = 256
"""Messages a step: 10 to 100 ms of work, and 2 ms of the write lock."""

START_AFTER_S = 2.0
"""A server that has just started has better things to do."""

LOOK_AGAIN_S = 60.0
"""How long what another process recorded may lie. Only then all users are looked at, of however many there are."""

OVERTAKEN_S = 1.0
"""After another process was faster: it goes on, and this one leaves it to it."""

RETRY_S, LONGEST_RETRY_S = 10.0, 600.0


class Filling:
    """One task; `wake` tells it of new messages. A failure is logged without text, and tried again later.

    One that stays the same is logged once.
    """

    def __init__(
        self,
        vectors: VectorStore,
        embedder: Callable[[], Awaitable[Embedder]],
        *,
        start_after_s: float = START_AFTER_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._vectors = vectors
        self._embedder = embedder
        self._start_after_s = start_after_s
        self._retry_s = retry_s
        self._failure: str | None = None
        self._claimed: str | None = None
        self._news = asyncio.Event()
        self._users: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self, user_id: str) -> None:
        """This user may have new messages."""
        self._users.add(user_id)
        self._news.set()

    async def close(self) -> None:
        """What is being saved lands; what is being made is made again next time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        await asyncio.sleep(self._start_after_s)
        retry_s = self._retry_s
        now = asyncio.get_running_loop().time
        look_at = now()
        while True:
            self._news.clear()
            users, self._users = self._users, set()
            is_look = now() >= look_at
            try:
                await self.fill(gently=True, of=None if is_look else users)
            except Exception as error:
                # The outer edge of a background task: whatever it was, searching by words goes on.
                self._tell(str(error) if isinstance(error, BackscrollError) else type(error).__name__)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
                # Whose turn it was is not kept: all are looked at again.
                look_at = now()
                continue
            self._failure = None
            retry_s = self._retry_s
            if is_look:
                look_at = now() + LOOK_AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._news.wait()

    def _tell(self, failure: str) -> None:
        if failure != self._failure:
            self._failure = failure
            logger.warning("vectors of messages could not be made, trying again later: %s", failure)

    async def fill(self, *, gently: bool, of: Collection[str] | None = None) -> None:
        """Until no message of these users (None: of any) lacks its vector. `gently` rests between steps.

        Raises EmbeddingError, StoreError.
        """
        embedder = await self._embedder()
        async with self._one_at_a_time:
            if self._claimed is None:
                self._claimed = (await self._vectors.claim(embedder.name)).model
            while read := await self._vectors.unembedded(limit=BATCH, max_chars=MAX_CHARS, of=of):
                if read.progress.model != embedder.name:
                    # Started later, with other settings: it has the last word, or the two would undo each other's work.
                    logger.info("another process makes the vectors of this database with another model")
                    return
                started = asyncio.get_running_loop().time()
                made = await _made(embedder, read)
                if not await self._vectors.save(read, made):
                    await asyncio.sleep(OVERTAKEN_S if gently else 0)
                elif gently:
                    await asyncio.sleep(asyncio.get_running_loop().time() - started)


async def _made(embedder: Embedder, read: "Unembedded") -> Sequence[tuple[int, bytes]]:
    if not read.texts:
        return []
    rows = await embedder.embed([text for _, text in read.texts])
    return await asyncio.to_thread(_packed, [key for key, _ in read.texts], rows)


def _packed(keys: Sequence[int], rows: "Floats") -> list[tuple[int, bytes]]:
    """Those that say anything, by message key."""
    from .vectors import packed  # noqa: PLC0415

    return [(key, data) for key, row, data in zip(keys, rows, packed(rows), strict=True) if row.any()]
