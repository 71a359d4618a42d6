"""The marker of a pause: a file `paused` beside the database, whose presence means that nothing may be recorded.

The database knows the pauses of each user; this file says the same to who must not open it: the program that a
host's hook starts reads it in a fraction of a millisecond. Imports nothing but the standard library.

Each line is one pause, a JSON object: `{"database": "backscroll.db", "user": "local", "since": 1795183380000,
"until": 1795190580000}`, times in UTC milliseconds, `until` null where somebody has to resume. A pause is over
from `until` on, even where nobody has taken its line away. What cannot be read as that counts as a pause.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

MARKER = "paused"

Folder = str | os.PathLike[str]
# Plain functions of `os` throughout: importing pathlib would take the hook longer than all the rest.


class Pause(NamedTuple):
    """A time in which nothing that is written is ever read: from `since` until before `until`, in UTC milliseconds."""

    since: int
    until: int | None = None

    def covers(self, at_ms: int) -> bool:
        return self.since <= at_ms and self.lasts(at_ms)

    def lasts(self, now_ms: int) -> bool:
        """Whether it is not over yet: asked of a pause that has begun, whatever the clock did since."""
        return self.until is None or now_ms < self.until


class Marked(NamedTuple):
    """A line of the marker: whose pause, and in which database of the folder."""

    database: str
    user: str
    pause: Pause


def is_paused(folder: Folder, now_ms: int, *, user: str | None = None, database: str | None = None) -> bool:
    """Whether nothing may be recorded now. `user` and the database's file name narrow it; without, anybody's counts.

    Never raises: a marker that cannot be read is a pause.
    """
    try:
        lines = _lines(folder)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    if not lines:
        return True
    for line in lines:
        marked = _marked(line)
        if marked is None:
            return True
        if user in (None, marked.user) and database in (None, marked.database) and marked.pause.lasts(now_ms):
            return True
    return False


def write_marker(
    folder: Folder, database: str, pauses: Iterable[tuple[str, Pause]], now_ms: int, *, of: str | None = None
) -> None:
    """Let the marker tell exactly these pauses (user, pause) of a database, and be no file where none is left.

    Lines of other databases in the folder stay as they are, unless they are over; so do those of users other than
    `of`, where that is given. Raises OSError.
    """
    try:
        known = [_marked(line) for line in _lines(folder)]
    except FileNotFoundError:
        known = []
    kept = [one for one in known if one is not None and (one.database != database or of not in (None, one.user))]
    kept += [Marked(database, user, pause) for user, pause in pauses]
    lines = [_line(one) for one in kept if one.pause.lasts(now_ms)]
    path = os.path.join(folder, MARKER)
    if not lines:
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    # Whole or not at all: half a marker would be read as a pause, no marker as none.
    # Of a server's database nothing else may lie here yet.
    os.makedirs(folder, mode=0o700, exist_ok=True)
    part = os.path.join(folder, f".{MARKER}.{os.getpid()}")
    try:
        with open(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(b"".join(lines))
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def _lines(folder: Folder) -> list[bytes]:
    with open(os.path.join(folder, MARKER), "rb") as file:
        return file.read().splitlines()


def _line(marked: Marked) -> bytes:
    told = {
        "database": marked.database,
        "user": marked.user,
        "since": marked.pause.since,
        "until": marked.pause.until,
    }
    return json.dumps(told).encode("ascii") + b"\n"


def _marked(line: bytes) -> Marked | None:
    try:
        told = json.loads(line)
        pause = Pause(int(told["since"]), None if told["until"] is None else int(told["until"]))
        return Marked(str(told["database"]), str(told["user"]), pause)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
