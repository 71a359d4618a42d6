"""The spool: what hosts told their hooks, a file each, until a reader takes it in.

A hook lives for a few milliseconds and may be killed in any of them, many run at once, and none may
wait: so each payload is a file of its own. It is written under another name, flushed, and renamed, which
needs no lock: nothing interleaves, and what a killed process leaves behind is never taken for an entry.
What must be known of an entry without opening it stands in its name, so that it holds the payload alone:

    <ns since 1970>-<address>-<random>-<bytes>-<bytes cut>.json

The hook imports this: the standard library only, and of that little (`typing` alone takes a quarter of
the time of a bare interpreter).
"""

from __future__ import annotations

import os
import time
from binascii import crc32

from backscroll.addresses import companions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "spool"
ASIDE = "aside"
"""Below the spool: entries that nobody could read, for whoever wants to know why."""

PAUSED = "paused"
"""A file of this name beside the database says that nothing is to be captured."""

FAILURES = "capture-failures"
"""Beside the database: a line for each payload that could not be kept."""

MAX_ENTRIES = 10_000
MAX_BYTES = 256 << 20
"""Of the whole spool. Where nobody drains it the oldest stay: what follows is refused, and counted as failures."""

MAX_ASIDE = 100
MAX_FAILURES_BYTES = 64 << 10
STALE_S = 3_600
"""A file that was begun so long ago and has no name yet is what a killed process left."""

_ENTRY, _UNFINISHED = ".json", ".tmp"


class SpoolFull(Exception):
    """The spool holds as much as it may."""

    reason = "spool full"


class Place:
    """Where a database's spool lies, and what its entries are addressed with: databases may share a folder."""

    __slots__ = ("address", "database", "folder", "spool", "user")

    def __init__(self, url: str | None, user: str, default_folder: str) -> None:
        """`url` as settings give it (None: the default database)."""
        self.folder, self.database = companions(url, default_folder)
        self.user = user
        self.spool = os.path.join(self.folder, FOLDER)
        named = "\0".join((self.database, user)).encode("utf-8", "surrogateescape")
        self.address = f"{crc32(named):08x}"

    def paused(self) -> bool:
        """Whether this user wants nothing captured now: as a rule nobody's pause is on, and there is no marker."""
        if not os.path.exists(os.path.join(self.folder, PAUSED)):
            return False
        from backscroll.pausing import is_paused  # noqa: PLC0415

        return is_paused(self.folder, time.time_ns() // 1_000_000, user=self.user, database=self.database)


class Entry:
    """A payload that was captured `at_ms`; `cut_bytes` more of it were not kept."""

    __slots__ = ("address", "at_ms", "cut_bytes", "name", "path", "size_bytes")

    def __init__(self, folder: str, name: str) -> None:
        """Raises ValueError for a name that is no entry's."""
        at_ns, self.address, _, size, cut = name.removesuffix(_ENTRY).split("-")
        self.name, self.path = name, os.path.join(folder, name)
        self.at_ms, self.size_bytes, self.cut_bytes = int(at_ns) // 1_000_000, int(size), int(cut)


class Length:
    """How much waits in a spool. `oldest_at_ms` is None where nothing does."""

    __slots__ = ("aside", "entries", "oldest_at_ms", "size_bytes")

    def __init__(self, entries: int, size_bytes: int, oldest_at_ms: int | None, aside: int) -> None:
        self.entries, self.size_bytes, self.oldest_at_ms, self.aside = entries, size_bytes, oldest_at_ms, aside


def append(place: Place, payload: bytes, *, cut_bytes: int = 0) -> None:
    """Keep a payload: once this returns, it survives a power cut. Raises OSError, SpoolFull."""
    _make_folder(place.spool)
    waiting = [one for one in os.listdir(place.spool) if one.endswith(_ENTRY)]
    size = sum(map(_size_in, waiting)) + len(payload)
    if len(waiting) >= MAX_ENTRIES or size > MAX_BYTES:
        raise SpoolFull
    name = f"{time.time_ns():020d}-{place.address}-{os.urandom(4).hex()}-{len(payload)}-{cut_bytes}"
    unfinished = os.path.join(place.spool, f"{name}{_UNFINISHED}")
    try:
        _write(unfinished, payload)
        os.rename(unfinished, os.path.join(place.spool, f"{name}{_ENTRY}"))
    except BaseException:
        _remove(unfinished)
        raise
    _flush_folder(place.spool)


def _size_in(name: str) -> int:
    try:
        return int(name.split("-")[3])
    except (IndexError, ValueError):
        return 0


def _make_folder(folder: str) -> None:
    try:
        if os.stat(folder).st_mode & 0o077 and os.name == "posix":
            os.chmod(folder, 0o700)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            # Another hook was faster.
            pass


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: str) -> None:
    """So that the new name survives too. Some systems cannot open a folder; there the name is on its own."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def note(place: Place, reason: str) -> None:
    """Say in one line that a payload was not kept, and why; never what it held. Does what it can, and never raises."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {' '.join(reason.split())[:200]}\n"
    path = os.path.join(place.folder, FAILURES)
    try:
        os.makedirs(place.folder, mode=0o700, exist_ok=True)
        # A short line written at once to a file open for appending does not mix with another process's.
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, line.encode("ascii", "replace"))
            full = os.fstat(descriptor).st_size > MAX_FAILURES_BYTES
        finally:
            os.close(descriptor)
        if full:
            os.replace(path, f"{path}.old")
    except OSError:
        pass


# What readers do


def failures(place: Place) -> list[tuple[str, str]]:
    """When payloads could not be kept (ISO 8601, UTC) and why, oldest first, as far back as is remembered."""
    lines: list[str] = []
    for name in (f"{FAILURES}.old", FAILURES):
        try:
            with open(os.path.join(place.folder, name), encoding="ascii", errors="replace") as file:
                lines += file.read().splitlines()
        except OSError:
            continue
    return [(at, reason) for at, _, reason in (line.partition(" ") for line in lines) if reason]


def forget_failures(place: Place) -> None:
    """Whoever was told of them has seen to it. Raises OSError."""
    for name in (f"{FAILURES}.old", FAILURES):
        try:
            os.unlink(os.path.join(place.folder, name))
        except FileNotFoundError:
            pass


def entries(place: Place) -> Iterator[Entry]:
    """What waits for this database and user, in the order of its capture. What killed processes left is swept out."""
    now = time.time()
    for name in sorted(_names(place.spool)):
        if name.endswith(_ENTRY):
            try:
                entry = Entry(place.spool, name)
            except ValueError:
                continue
            if entry.address == place.address:
                yield entry
        elif name.endswith(_UNFINISHED):
            _sweep(os.path.join(place.spool, name), now)


def _sweep(path: str, now: float) -> None:
    try:
        if now - os.stat(path).st_mtime > STALE_S:
            os.unlink(path)
    except OSError:
        pass


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read(entry: Entry) -> bytes | None:
    """The payload; None where another reader was faster, empty where it is not whole. Raises OSError."""
    try:
        with open(entry.path, "rb") as file:
            payload = file.read()
    except FileNotFoundError:
        return None
    return payload if len(payload) == entry.size_bytes else b""


def done(entry: Entry) -> None:
    """The entry is taken in: forget it. Raises OSError where it cannot be removed."""
    try:
        os.unlink(entry.path)
    except FileNotFoundError:
        pass


def set_aside(entry: Entry) -> None:
    """Keep an entry that nobody could read where no reader meets it again; the oldest of those make room."""
    folder = os.path.join(os.path.dirname(entry.path), ASIDE)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.replace(entry.path, os.path.join(folder, entry.name))
        for name in sorted(os.listdir(folder))[:-MAX_ASIDE]:
            os.unlink(os.path.join(folder, name))
    except FileNotFoundError:
        pass


def waits(place: Place) -> bool:
    """Whether anything waits for this database and user: one look at a folder."""
    address = f"-{place.address}-"
    return any(name.endswith(_ENTRY) and address in name for name in _names(place.spool))


def length(place: Place) -> Length:
    """How much waits for this database and user."""
    waiting = list(entries(place))
    oldest = waiting[0].at_ms if waiting else None
    return Length(
        len(waiting), sum(entry.size_bytes for entry in waiting), oldest, len(_names(os.path.join(place.spool, ASIDE)))
    )
