"""What a doctor finds: values, and the form in which programs read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from ..importing import Failure
from ..models import iso


class Problem(NamedTuple):
    """Something that is wrong, and the command or the step that mends it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class HostReport:
    """One host. `present`: something of it is on this machine. `attached` and `hooks` are None where it takes none.

    `found` counts transcripts; `imported` were read to their end, `behind` were not or have grown since. `skipped`
    counts lines by reason, `left_out` messages that the user does not want.
    """

    host: str
    present: bool
    attached: bool | None = None
    hooks: bool | None = None
    found: int = 0
    imported: int = 0
    behind: int = 0
    behind_bytes: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    failed: tuple[Failure, ...] = ()
    last_capture: datetime | None = None
    captures: int = 0
    outdated: bool = False
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "present": self.present,
            "attached": self.attached,
            "hooks": self.hooks,
            "found": self.found,
            "imported": self.imported,
            "behind": self.behind,
            "behind_bytes": self.behind_bytes,
            "skipped": dict(self.skipped),
            "left_out": dict(self.left_out),
            "failed": [failure._asdict() for failure in self.failed],
            "last_capture": None if self.last_capture is None else iso(self.last_capture),
            "captures": self.captures,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class SpoolReport:
    """What hooks left and nobody took in yet; `failures` are payloads that could not be kept, with their time."""

    entries: int = 0
    size_bytes: int = 0
    oldest_at: datetime | None = None
    aside: int = 0
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The database. `url` holds no password. Log and modes are a file's; `user_bytes`, what of a server's database
    is this user's, is known after a whole check.

    `integrity` is what a check found, None where none was made; `error` why it cannot be opened.
    """

    url: str
    exists: bool
    error: str | None = None
    integrity: tuple[str, ...] | None = None
    index_current: bool | None = None
    engine: str | None = None
    schema_version: int | None = None
    user_bytes: int | None = None
    size_bytes: int = 0
    wal_bytes: int = 0
    modes: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    oldest: datetime | None = None
    newest: datetime | None = None
    stale_summaries: int = 0
    redacted: Mapping[str, int] = field(default_factory=dict)
    paused_since: datetime | None = None
    paused_until: datetime | None = None
    expired: int = 0
    over_quota_bytes: int = 0
    last_sync_at: datetime | None = None
    last_sync_error: str | None = None

    def told(self) -> dict[str, Any]:
        def when(moment: datetime | None) -> str | None:
            return None if moment is None else iso(moment)

        return {
            "url": self.url,
            "exists": self.exists,
            "error": self.error,
            "integrity": None if self.integrity is None else list(self.integrity) or "ok",
            "index_current": self.index_current,
            "engine": self.engine,
            "schema_version": self.schema_version,
            "user_bytes": self.user_bytes,
            "size_bytes": self.size_bytes,
            "wal_bytes": self.wal_bytes,
            "modes": dict(self.modes),
            "counts": dict(self.counts),
            "oldest": when(self.oldest),
            "newest": when(self.newest),
            "stale_summaries": self.stale_summaries,
            "redacted": dict(self.redacted),
            "paused_since": when(self.paused_since),
            "paused_until": when(self.paused_until),
            "expired_sessions": self.expired,
            "over_quota_bytes": self.over_quota_bytes,
            "last_sync_at": when(self.last_sync_at),
            "last_sync_error": self.last_sync_error,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. `sends` says what leaves this machine, and where to."""

    hosts: tuple[HostReport, ...]
    store: StoreReport
    spool: SpoolReport
    sync: str
    sends: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def told(self) -> dict[str, Any]:
        """As `doctor --json` prints it."""
        spool = self.spool
        return {
            "ok": self.ok,
            "hosts": [host.told() for host in self.hosts],
            "store": self.store.told(),
            "spool": {
                "entries": spool.entries,
                "size_bytes": spool.size_bytes,
                "oldest_at": None if spool.oldest_at is None else iso(spool.oldest_at),
                "aside": spool.aside,
                "failures": [{"at": at, "reason": reason} for at, reason in spool.failures],
            },
            "sync": self.sync,
            "leaves_this_machine": [{"what": what, "to": to} for what, to in self.sends],
            "problems": [problem._asdict() for problem in self.problems],
        }
