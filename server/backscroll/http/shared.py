"""Memory that all workers of one server share: a file without a name, mapped by each."""

import mmap
import os
import tempfile
from typing import Self


class Shared:
    """`size` bytes, zero at first. `fd` is what another process maps the same bytes with."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._map = mmap.mmap(fd, size)
        self.view = memoryview(self._map)

    @classmethod
    def create(cls, size: int) -> Self:
        with tempfile.TemporaryFile(prefix="backscroll-") as file:
            file.truncate(size)
            return cls(os.dup(file.fileno()), size)

    def close(self) -> None:
        """What was cut from `view` must be released before."""
        self.view.release()
        self._map.close()
        os.close(self.fd)
