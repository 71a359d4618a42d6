"""What Backscroll asks of a database that keeps vectors beside the messages.

A vector is made from the text of a message, and goes with the message and with any change
of that text, in the same transaction. What is in a blob and which vector is near which is not the store's
business, except that the first quarter of a blob can be had alone: it holds the signs.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol


class Progress(NamedTuple):
    """Which model's vectors are here, and how far they go. `generation` counts the changes of model.

    A store may go from user to user: then `upto` and `changes` are those of the user whose texts were read.
    """

    model: str
    generation: int
    upto: int
    """Messages up to this key have their vector, or need none."""
    changes: int
    """Grows whenever the text of a message is changed: what was read of it before is then void."""


class Unembedded(NamedTuple):
    """Texts that want a vector, by message key, in order; and how far everything is done once they have it."""

    progress: Progress
    upto: int
    texts: tuple[tuple[int, str], ...]
    user_id: str | None = None
    """Whose they are, where a store goes from user to user."""


class Signs(NamedTuple):
    """Of a few vectors: the key and the session of each, and their first quarters, joined."""

    keys: tuple[int, ...]
    sessions: tuple[int, ...]
    data: bytes
    upto: int
    """Where to go on: up to this key nothing more is the user's. That of the last one where there may be more."""


StoredVector = tuple[int, int, bytes]
"""The key of a vector, that of its message, and the blob: hundreds are read for a search, so no more than that."""


class Counts(NamedTuple):
    made: int
    waiting: int
    """Messages that were not looked at yet; some may need no vector."""


class VectorStore(Protocol):
    """Each method is one transaction. What is read back is one user's, and of one generation."""

    async def claim(self, model: str) -> Progress:
        """Say that vectors are made by `model` from now on. Another model's are stale, and are replaced one by one."""
        ...

    async def progress(self) -> Progress | None:
        """None where no model was ever named."""
        ...

    async def unembedded(self, *, limit: int, max_chars: int, of: Collection[str] | None = None) -> Unembedded | None:
        """The first `max_chars` of the next messages without a vector, of all users; None when there are none.

        `of` names those who may have some, where it is known: a store that goes from user to user asks for no other.

        What tools said is left out: it is found by its words, and would be half of all vectors. So are
        copies that came as history, and messages without text.
        """
        ...

    async def save(self, read: Unembedded, vectors: Sequence[tuple[int, bytes]]) -> bool:
        """Save vectors by message key; False, and nothing saved, where `read` is out of date by now.

        Another process was faster, another model was named, or a message was changed: what was read may then
        be text that is no longer there. A message that was deleted meanwhile gets none.
        """
        ...

    async def signs(self, user_id: str, generation: int, *, after: int, limit: int) -> Signs:
        """Those of the vectors whose keys lie above `after`, in order. One that is saved later has a higher key."""
        ...

    async def by_key(self, user_id: str, generation: int, keys: Sequence[int]) -> list[StoredVector]:
        """Those that are still there, in any order."""
        ...

    async def by_message(self, user_id: str, generation: int, message_keys: Sequence[int]) -> list[StoredVector]:
        """Those of the messages that have one, in any order."""
        ...

    async def counts(self, user_id: str) -> Counts: ...
