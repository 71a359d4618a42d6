"""What took long to count, remembered for later searches of the same user."""

from uuid import UUID


class Frequencies:
    """In how many of a user's messages a frequent term is, remembered until they have grown by a tenth."""

    _MOST_KEPT = 20_000

    def __init__(self) -> None:
        self._kept: dict[tuple[UUID, str], tuple[int, int]] = {}
        self._documents: dict[UUID, int] = {}

    def of(self, user_key: UUID, terms: str) -> int | None:
        counted, at = self._kept.get((user_key, terms), (0, 0))
        return counted if at and at <= self._documents.get(user_key, 0) <= at + at // 10 else None

    @property
    def users(self) -> int:
        """Of how many something is remembered."""
        return len(self._documents)

    def note(self, user_key: UUID, documents: int, counted: dict[str, int]) -> None:
        if len(self._kept) + len(counted) > self._MOST_KEPT:
            self._kept.clear()
            self._documents.clear()
        # Whoever has nothing remembered needs no entry; whoever has, grows out of it.
        if counted or user_key in self._documents:
            self._documents[user_key] = documents
        self._kept.update(((user_key, terms), (count, documents)) for terms, count in counted.items())
