"""Which machine this is: what a database for many machines has to know of what it remembers of files.

Two machines have files of one name. A random name, kept in the platform's data folder; where that is thrown away
(a container), it is another machine, whose files are read anew.
"""

import os
from pathlib import Path

from ...errors import StoreUnusable

FILE = "machine"


def machine(folder: str) -> str:
    """The name of this machine, made when it is first asked for. Raises StoreUnusable."""
    path = Path(folder) / FILE
    try:
        if (found := _read(path)) is not None:
            return found
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{FILE}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            draft.write_text(os.urandom(8).hex() + "\n", encoding="ascii")
            # Of several processes that begin at once, the first names the machine.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
        return _read(path) or "unnamed"
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it holds no name"
        raise StoreUnusable(f"{path} cannot be used: {why}. Check the folder.") from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
