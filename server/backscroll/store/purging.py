"""What a database can promise of text that was deleted: words for receipts, and what came of a purge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Purging(NamedTuple):
    """What receipts say of this kind of database. `copies` are those that a deletion in it does not reach."""

    pending: str
    copies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Purged:
    """What came of a purge.

    `found`: which of the words the bytes still hold, and how often; None where nobody can look through them from here,
    and `told` says what was done instead.
    """

    found: Mapping[str, int] | None
    told: str = ""


FILE = Purging("purge pending: deleted text may stay in the file's free pages and index until purge=true")

TABLES = Purging(
    "purge pending: deleted text stays in the pages of the database server until it vacuums them, which it does by "
    "itself in time, and purge=true at once",
    ("write-ahead log, replicas and backups of the database server",),
)

SHARED = Purging(
    "purge pending: a purge works on what others keep here too, so on a server for many users its operator does it, "
    "with `backscroll delete --purge` or `backscroll redact --purge`"
)
"""It would hold everybody up; and how often a deleted word is left in the file would tell what others said."""

VACUUMED = Purged(
    None,
    "vacuumed: no page of the tables holds the deleted rows as rows any more. The bytes of the server's files, "
    "write-ahead log and replicas cannot be looked through from here, and may hold them until they are written over",
)
NOT_VACUUMED = Purged(
    None,
    "not purged: this role does not own the tables, so it may not vacuum them. The rows are deleted; the server "
    "vacuums by itself in time, or its operator does",
)
PARTLY_VACUUMED = Purged(
    None,
    "purged in part: others held some of the tables, which were left out so that nobody waits. The rows are deleted; "
    "the server vacuums by itself in time, or with the next purge",
)
