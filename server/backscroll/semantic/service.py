"""`Semantic`: a question's vector, and the user's messages nearest to it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import EmbeddingError
from ..store import VectorStore
from .embedding import Embedder, Weights, load_embedder
from .filling import START_AFTER_S, Filling

if TYPE_CHECKING:
    from ..config import Settings
    from ..store.vectors import StoredVector
    from .vectors import Floats, Signs

T = TypeVar("T")

logger = logging.getLogger(__name__)

PAGE = 20_000
"""Signs read at a time: the reader is held for some 20 ms."""

USERS = 32
"""Whose signs are kept in memory; 44 bytes a message."""

QUESTION_S = 3.0
"""A search does not wait longer for its question's vector."""

REST_S = 30.0
"""After a failure no search waits again for so long."""

SIGNS_S = 0.25
"""A search does not wait longer for its user's signs: a million take over a second, once."""

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
    is_whole: bool = False
    """Whether they were read to their end once: what came since may be missing, and no more than that."""
    gone: set[int] = field(default_factory=set)
    """Keys of vectors that are no longer in the store, to be left out when they are next read."""
    reading: asyncio.Task[None] | None = None


class Semantic:
    """Search by meaning over one store. Every question is answered out of one user's vectors.

    `start` begins to make vectors in the background, after `start_after_s`; without it, what is there is searched
    all the same. `signs_s` is how long a search waits for its user's signs.
    """

    def __init__(
        self,
        vectors: VectorStore,
        settings: "Settings",
        *,
        start_after_s: float = START_AFTER_S,
        signs_s: float = SIGNS_S,
    ) -> None:
        self._vectors = vectors
        self._settings = settings
        self._signs_s = signs_s
        self._loading: asyncio.Task[Embedder] | None = None
        self._filling = Filling(vectors, self.embedder, start_after_s=start_after_s)
        self._resting_until = 0.0
        self._failure: str | None = None
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        self._filling.start()

    def wake(self, user_id: str) -> None:
        """The user may have new messages."""
        self._filling.wake(user_id)

    async def close(self) -> None:
        """Nothing is waited for that may take long: a question that is still being asked has no vector."""
        try:
            await self._filling.close()
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            loaded, self._loading = self._loading, None
            if loaded is not None and _succeeded(loaded):
                await loaded.result().close()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def catch_up(self) -> None:
        """Return once every message has its vector, those that other processes recorded among them.

        Raises EmbeddingError, StoreError.
        """
        await self._filling.fill(gently=False)

    async def embedder(self) -> Embedder:
        """Loaded when it is first wanted, and only once at a time, whoever gives up waiting for it.

        Raises EmbeddingError; the next call tries again.
        """
        if self._loading is None or (self._loading.done() and not _succeeded(self._loading)):
            self._loading = self._begin(load_embedder(self._settings))
        loading = self._loading
        await asyncio.wait([loading])
        if loading.cancelled():
            raise EmbeddingError("Search by meaning was closed. Open the database again.")
        return loading.result()

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
                vector = await embedder.embed_question(text, weights)
        except (EmbeddingError, TimeoutError) as error:
            self._resting_until = now + REST_S
            self._tell(str(error) if isinstance(error, EmbeddingError) else "the model is too slow")
            return None
        self._failure = None
        return vector if vector.any() else None

    async def nearest(
        self, user_id: str, question: "Floats", *, limit: int, sessions: Sequence[int] | None = None
    ) -> list[Near]:
        """The user's `limit` messages nearest to a question, nearest first; the newer first where equal.

        `sessions`, by key, narrow before the cut. What has no vector yet is not found; nothing is while the user's
        signs are read for the first time, where that takes long.
        """
        # What was recorded elsewhere gets its vectors for the next question.
        self._filling.wake(user_id)
        generation = await self._generation()
        if generation is None:
            return []
        wanted = min(max(LEAST, limit * TIMES), max(MOST, limit))
        held = self._held_by(user_id, generation, question)
        while True:
            is_current = await self._read_on(user_id, held)
            if not held.is_whole:
                return []
            keys = await asyncio.to_thread(held.signs.nearest, question, wanted, sessions)
            found = await self._vectors.by_key(user_id, generation, keys)
            # Deleted, redacted or made anew since their signs were read.
            gone = set(keys).difference(key for key, _, _ in found)
            held.gone |= gone
            if not gone or len(found) >= limit or not is_current:
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

    def _held_by(self, user_id: str, generation: int, question: "Floats") -> _Held:
        from .vectors import Signs  # noqa: PLC0415

        held = self._held.get(user_id)
        if held is None or held.generation != generation:
            held = self._held[user_id] = _Held(generation, Signs(question.shape[0]))
        self._held.move_to_end(user_id)
        while len(self._held) > USERS:
            self._held.popitem(last=False)
        return held

    async def _read_on(self, user_id: str, held: _Held) -> bool:
        """Bring the user's signs up to date; False where that takes longer than a search waits, and goes on."""
        if held.reading is None or held.reading.done():
            held.reading = self._begin(self._read_signs(user_id, held))
        reading = held.reading
        await asyncio.wait([reading], timeout=self._signs_s)
        if not reading.done() or reading.cancelled():
            return False
        reading.result()
        return True

    async def _read_signs(self, user_id: str, held: _Held) -> None:
        if held.gone:
            gone = sorted(held.gone)
            held.signs = await asyncio.to_thread(held.signs.without, gone)
            held.gone.difference_update(gone)
        while True:
            page = await self._vectors.signs(user_id, held.generation, after=held.upto, limit=PAGE)
            if page.keys:
                held.signs.add(page.keys, page.sessions, page.data)
            held.upto = page.upto
            if len(page.keys) < PAGE:
                held.is_whole = True
                return

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that goes on whoever waits for it no more, until this is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Looked at, or a failure that nobody waited for would be reported as never retrieved.
        _succeeded(task)

    def _tell(self, failure: str) -> None:
        """Log it, unless it is the last one again."""
        if failure != self._failure:
            self._failure = failure
            logger.warning("search goes by words alone, for %g s at least: %s", REST_S, failure)


def _succeeded(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _ranked(found: "Sequence[StoredVector]", question: "Floats", limit: int) -> list[Near]:
    from .vectors import cosines, top  # noqa: PLC0415

    # In order of messages, so that of equals the newer comes first.
    found = sorted(found, key=lambda vector: vector[1])
    scores = cosines([data for _, _, data in found], question)
    return [Near(found[at][1], float(scores[at])) for at in top(scores, limit).tolist()]
