"""Today's rules applied to what was stored before: rows are read, looked through, and replaced where need be.

In many short transactions, so that nobody waits. What was done stays done: whoever is broken off begins again, and
what is clean costs a look at it.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .memory import Memory
from .redaction import Redactor, secrets_in
from .store.redacting import JSON_COLUMNS, TABLES, Change, Piece, Place, Table

PAGE_ROWS = 1_000
PAGE_CHARS = 1 << 20
CHANGES_AT_ONCE = 10
CHARS_AT_ONCE = 100_000
"""Of one transaction: its messages are taken out of the index and put in again, some milliseconds in all."""
PAUSE_SECONDS = 0.01
"""Between two, in which others write."""
PASSES = 5
"""Rows that others change while they are looked at are looked at again, in another pass."""

WORDS = 64
_WORD = re.compile(r"[A-Za-z0-9]{6,64}")

NOT_REACHED = (
    "transcripts that the host itself keeps",
    "backups, exports and copies from before a migration",
    "what a model's provider was sent",
)


@dataclass(frozen=True, slots=True)
class Purged:
    """What the file's bytes were searched for after it was rewritten: words of the secrets, and how many it holds.

    `left` is None where the database lets nobody look, and `told` says what was done instead.
    """

    words: int
    left: int | None
    told: str = ""


@dataclass(frozen=True, slots=True)
class RedactionReport:
    """Secrets by kind, rows by table that held any, and the numbers of their sessions.

    After a dry run that is what a run would change. `busy` rows were changed by others each time they were to be.
    """

    secrets: dict[str, int]
    rows: dict[str, int]
    sessions: tuple[int, ...]
    looked_at: int
    busy: int = 0
    purged: Purged | None = None
    not_reached: tuple[str, ...] = NOT_REACHED


@dataclass(slots=True)
class _Tally:
    secrets: Counter[str] = field(default_factory=Counter)
    places: set[tuple[Table, Place]] = field(default_factory=set)
    sessions: set[int] = field(default_factory=set)
    words: dict[str, None] = field(default_factory=dict)
    looked_at: int = 0

    def take(self, change: Change) -> None:
        self.secrets.update(change.kinds)
        self.places.add((change.piece.table, change.piece.place))
        if change.piece.session is not None:
            self.sessions.add(change.piece.session)

    def note_word(self, secret: str) -> None:
        """A word of a secret, which text and index would hold if they held that. Told to nobody."""
        if words := _WORD.findall(secret[:256]):
            self.words[max(words, key=len).lower()] = None

    def report(self, busy: int = 0, purged: Purged | None = None) -> RedactionReport:
        return RedactionReport(
            secrets=dict(self.secrets.most_common()),
            rows={table: count for table in TABLES if (count := sum(place[0] == table for place in self.places))},
            sessions=tuple(sorted(self.sessions)),
            looked_at=self.looked_at,
            busy=busy,
            purged=purged,
        )


async def redact_stored(
    memory: Memory,
    *,
    dry_run: bool = False,
    purge: bool = False,
    told: Callable[[int, int], None] | None = None,
) -> RedactionReport:
    """Redact all that is stored of the memory's user, index, summaries and vectors with it.

    `purge` also rewrites the file, so that none of its pages holds what was taken out, and searches its bytes.
    `told` is called with the rows that were looked at, and how many there are. Raises StoreBusy; what was done
    until then stays.
    """
    tally = _Tally()
    key = await memory.store.digest_key()
    counts = await memory.store.counts(memory.user_id)
    total = sum(counts[name] for name in ("messages", "tool_calls", "runs", "sessions"))
    busy = 0
    for _ in range(PASSES):
        seen = busy = 0
        for table in TABLES:
            after: Place = ()
            while pieces := await memory.store.secrets.pieces(
                memory.user_id, table, after=after, limit=PAGE_ROWS, max_chars=PAGE_CHARS
            ):
                after = pieces[-1].place
                # Beside the loop: a page may hold the largest message there is.
                changes = await asyncio.to_thread(_changes, pieces, key, tally.note_word)
                busy += await _make(memory, changes, tally, dry_run=dry_run)
                seen += len(pieces)
                tally.looked_at = max(tally.looked_at, seen)
                if told is not None:
                    told(seen, max(total, seen))
        if not busy:
            break
    purged = await _purged(memory, list(tally.words)) if purge and not dry_run else None
    return tally.report(busy, purged)


def _changes(pieces: Sequence[Piece], key: bytes, seen: Callable[[str], None]) -> list[Change]:
    if not secrets_in("\n".join(text for piece in pieces for text in piece.texts.values())):
        return []
    return [change for piece in pieces if (change := _change(piece, key, seen))]


def _change(piece: Piece, key: bytes, seen: Callable[[str], None]) -> Change | None:
    redactor, uncounted = Redactor(key, seen=seen), Redactor(key, seen=seen)
    texts: dict[str, str] = {}
    for column, text in piece.texts.items():
        # An opening is a message's first words, and counted there.
        used = uncounted if column == "opening" else redactor
        texts[column] = used.json(text) if column in JSON_COLUMNS else used.text(text)
    changed = {column: text for column, text in texts.items() if text != piece.texts[column]}
    return Change(piece, changed, tuple(redactor.found.elements())) if changed else None


async def _make(memory: Memory, changes: Iterable[Change], tally: _Tally, *, dry_run: bool) -> int:
    """Make the changes, a few at a time; return how many could not be made."""
    left = 0
    for few in _few(changes):
        undone: list[Change] = []
        if not dry_run:
            undone = await memory.store.secrets.replace(memory.user_id, few)
            await asyncio.sleep(PAUSE_SECONDS)
        for change in few:
            if change not in undone:
                tally.take(change)
        left += len(undone)
    return left


def _few(changes: Iterable[Change]) -> Iterable[list[Change]]:
    few: list[Change] = []
    chars = 0
    for change in changes:
        few.append(change)
        chars += sum(map(len, change.piece.texts.values()))
        if len(few) >= CHANGES_AT_ONCE or chars >= CHARS_AT_ONCE:
            yield few
            few, chars = [], 0
    if few:
        yield few


async def _purged(memory: Memory, words: list[str]) -> Purged:
    longest = sorted(words, key=len, reverse=True)[:WORDS]
    purged = await memory.store.purge(longest)
    return Purged(len(longest), None if purged.found is None else len(purged.found), purged.told)
