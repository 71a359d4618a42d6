"""Where things lie in the memory that workers share: the rates first, then each worker's counts."""

from typing import NamedTuple

from . import counts, rates


class Layout(NamedTuple):
    workers: int

    @property
    def counts(self) -> int:
        """Where the first worker's begin, in bytes."""
        return rates.SIZE

    @property
    def size(self) -> int:
        return rates.SIZE + self.workers * counts.SIZE
