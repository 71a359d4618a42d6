"""`Semantic`: a question's vector, and the user's messages nearest to it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..errors import EmbeddingError
from ..store import VectorStore
from .embedding import Embedder, Weights, load_embedder
from .filling import Filling

if TYPE_CHECKING:
    from ..config import Settings
    from ..store.vectors import StoredVector
    from .vectors import Floats, Signs

logger = logging.getLogger(__name__)

PAGE = 20_000
"""Signs read at a time: the reader is held for some 20 ms."""

USERS = 32
"""Whose signs are kept in memory; 44 bytes a message."""

QUESTION_S = 3.0
"""A search does not wait longer for its question's vector."""

REST_S = 30.0
"""After a failure no search waits again for so long."""

LEAST, TIMES, MOST = 400, 8, 4_000
"""Of the candidates that signs choose and whole vectors are read for: so many times what is wanted."""


class Near(NamedTuple):
    message_key: int
    cosine: float


@dataclass(slots=True)
class _Held:
    """One user's signs, as far as they were read."""

    generation: int
    signs: "Signs"
    upto: int = 0
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class Semantic:
    """Search by meaning over one store. Every question is answered out of one user's vectors.

    `start` begins to make vectors in the background; without it, what is there is searched all the same.
    """

    def __init__(self, vectors: VectorStore, settings: "Settings") -> None:
        self._vectors = vectors
        self._settings = settings
        self._embedder: Embedder | None = None
        self._loading = asyncio.Lock()
        self._filling = Filling(vectors, self.embedder)
        self._resting_until = 0.0
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def start(self) -> None:
        self._filling.start()

    def wake(self) -> None:
        """There may be new messages."""
        self._filling.wake()

    async def close(self) -> None:
        await self._filling.close()

    async def catch_up(self) -> None:
        """Return once every message has its vector, those that other processes recorded among them.

        Raises EmbeddingError, StoreError.
        """
        await self._filling.fill(gently=False)

    async def embedder(self) -> Embedder:
        """Loaded when it is first wanted. Raises EmbeddingError; the next call tries again."""
        async with self._loading:
            if self._embedder is None:
                self._embedder = await asyncio.to_thread(load_embedder, self._settings)
            return self._embedder

    async def question(self, text: str, weights: Weights = ()) -> "Floats | None":
        """The vector of a question; None where it has none, or the model failed: search then goes by words alone.

        `weights` are its words and how much each tells; they matter much for static vectors.
        """
        now = asyncio.get_running_loop().time()
        if now < self._resting_until:
            return None
        try:
            async with asyncio.timeout(QUESTION_S):
                embedder = await self.embedder()
                vector = await asyncio.to_thread(embedder.embed_question, text, weights)
        except (EmbeddingError, TimeoutError) as error:
            self._resting_until = now + REST_S
            told = str(error) if isinstance(error, EmbeddingError) else "the model is too slow"
            logger.warning("for %g s search goes by words alone: %s", REST_S, told)
            return None
        return vector if vector.any() else None

    async def nearest(
        self, user_id: str, question: "Floats", *, limit: int, sessions: Sequence[int] | None = None
    ) -> list[Near]:
        """The user's `limit` messages nearest to a question, nearest first; the newer first where equal.

        `sessions`, by key, narrow before the cut. What has no vector yet is not found.
        """
        # What was recorded elsewhere gets its vectors for the next question.
        self._filling.wake()
        generation = await self._generation()
        if generation is None:
            return []
        wanted = min(max(LEAST, limit * TIMES), max(MOST, limit))
        while True:
            held = await self._signs_of(user_id, generation, question)
            keys = await asyncio.to_thread(held.signs.nearest, question, wanted, sessions)
            found = await self._vectors.by_key(user_id, generation, keys)
            gone = set(keys).difference(key for key, _, _ in found)
            if gone:
                # Deleted, redacted or made anew since their signs were read.
                async with held.reading:
                    held.signs = await asyncio.to_thread(held.signs.without, sorted(gone))
            if not gone or len(found) >= limit:
                return await asyncio.to_thread(_ranked, found, question, limit)

    async def scores(self, user_id: str, question: "Floats", message_keys: Sequence[int]) -> dict[int, float]:
        """The cosines of those of these messages that are the user's and have a vector."""
        generation = await self._generation()
        if generation is None:
            return {}
        found = await self._vectors.by_message(user_id, generation, message_keys)
        return dict(await asyncio.to_thread(_ranked, found, question, len(found)))

    async def _generation(self) -> int | None:
        """Which vectors can be compared with this model's; None if those that are there are another's."""
        progress = await self._vectors.progress()
        if progress is None or progress.model != (await self.embedder()).name:
            return None
        return progress.generation

    async def _signs_of(self, user_id: str, generation: int, question: "Floats") -> _Held:
        """The user's signs, brought up to date."""
        from .vectors import Signs  # noqa: PLC0415

        held = self._held.get(user_id)
        if held is None or held.generation != generation:
            held = self._held[user_id] = _Held(generation, Signs(question.shape[0]))
        self._held.move_to_end(user_id)
        while len(self._held) > USERS:
            self._held.popitem(last=False)
        async with held.reading:
            while True:
                page = await self._vectors.signs(user_id, generation, after=held.upto, limit=PAGE)
                if page.keys:
                    held.signs.add(page.keys, page.sessions, page.data)
                held.upto = page.upto
                if len(page.keys) < PAGE:
                    return held


def _ranked(found: "Sequence[StoredVector]", question: "Floats", limit: int) -> list[Near]:
    from .vectors import cosines, top  # noqa: PLC0415

    # In order of messages, so that of equals the newer comes first.
    found = sorted(found, key=lambda vector: vector[1])
    scores = cosines([data for _, _, data in found], question)
    return [Near(found[at][1], float(scores[at])) for at in top(scores, limit).tolist()]
