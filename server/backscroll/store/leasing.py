"""A lease on reading one user's files, as a lock on a file: the kernel takes it from a process that dies."""

from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path

from ..errors import StoreBusy, StoreUnusable
from .lock import FileLock


class FileLease:
    """A Lease. Two of one path shut each other out, be they of one process or of two."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path)
        self._held: ExitStack | None = None

    async def take(self) -> bool:
        if self._held is not None:
            return False
        stack = ExitStack()
        try:
            stack.enter_context(self._lock.held(0.0))
        except StoreBusy:
            return False
        except OSError as error:
            raise StoreUnusable(
                f"{self._path} cannot be used: {error.strerror or error}. Check the folder, or set BACKSCROLL_DB."
            ) from error
        self._held = stack
        return True

    async def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()


def lease_name(user_id: str, purpose: str) -> str:
    """Of fixed length without the user's name, which may hold what no file name can."""
    return f"{purpose}-{blake2b(user_id.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}.lock"
