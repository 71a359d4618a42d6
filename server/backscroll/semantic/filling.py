"""Messages get their vectors in the background: in small steps, whoever recorded them, and nobody waits for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import BackscrollError
from ..store import VectorStore
from .embedding import Embedder

if TYPE_CHECKING:
    from ..store.vectors import Unembedded

logger = logging.getLogger(__name__)

MAX_CHARS = 2_000
"""Of a message; the mean over a longer text says little of any part of it."""

BATCH = 256
"""Messages a step: 10 to 100 ms of work, and 2 ms of the write lock."""

START_AFTER_S = 2.0
"""A server that has just started has better things to do."""

LOOK_AGAIN_S = 60.0
"""How long what another process recorded may lie, where this one neither records nor searches."""

OVERTAKEN_S = 1.0
"""After another process was faster: it goes on, and this one leaves it to it."""

RETRY_S, LONGEST_RETRY_S = 10.0, 600.0


class Filling:
    """One task; `wake` tells it of new messages. A failure is logged without text, and tried again later."""

    def __init__(self, vectors: VectorStore, embedder: Callable[[], Awaitable[Embedder]]) -> None:
        self._vectors = vectors
        self._embedder = embedder
        self._claimed: str | None = None
        self._news = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        self._news.set()

    async def close(self) -> None:
        """What is being saved lands; what is being made is made again next time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        await asyncio.sleep(START_AFTER_S)
        retry_s = RETRY_S
        while True:
            self._news.clear()
            try:
                await self.fill(gently=True)
            except Exception as error:
                # The outer edge of a background task: whatever it was, searching by words goes on.
                told = str(error) if isinstance(error, BackscrollError) else type(error).__name__
                logger.warning("vectors of messages could not be made, trying again in %.0f s: %s", retry_s, told)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
                continue
            retry_s = RETRY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._news.wait()

    async def fill(self, *, gently: bool) -> None:
        """Until no message lacks its vector. `gently` rests between steps, half of the time.

        Raises EmbeddingError, StoreError.
        """
        embedder = await self._embedder()
        async with self._one_at_a_time:
            if self._claimed is None:
                self._claimed = (await self._vectors.claim(embedder.name)).model
            while read := await self._vectors.unembedded(limit=BATCH, max_chars=MAX_CHARS):
                if read.progress.model != embedder.name:
                    # Started later, with other settings: it has the last word, or the two would undo each other's work.
                    logger.info("another process makes the vectors of this database with another model")
                    return
                started = asyncio.get_running_loop().time()
                made = await asyncio.to_thread(_made, embedder, read)
                if not await self._vectors.save(read, made):
                    await asyncio.sleep(OVERTAKEN_S if gently else 0)
                elif gently:
                    await asyncio.sleep(asyncio.get_running_loop().time() - started)


def _made(embedder: Embedder, read: "Unembedded") -> Sequence[tuple[int, bytes]]:
    from .vectors import packed  # noqa: PLC0415

    if not read.texts:
        return []
    rows = embedder.embed([text for _, text in read.texts])
    made = zip(read.texts, rows, packed(rows), strict=True)
    return [(key, data) for (key, _), row, data in made if row.any()]
