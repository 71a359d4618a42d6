"""Sessions leave: their rows in the order of an archive, lazily, within one long read transaction."""

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from ..archive import (
    ArchivedCall,
    ArchivedMedia,
    ArchivedMessage,
    ArchivedRow,
    ArchivedRun,
    ArchivedSession,
    ArchivedSummary,
)
from ..archiving import (
    RUN_COLUMNS,
    SUMMARY_COLUMNS,
    TELLING_COLUMNS,
    call_of,
    head_of,
    in_order,
    run_of,
    summary_of,
    tellings_of,
)
from ..rows import SessionRow, from_ms, load, unpack_id
from .rows import find_session, find_user, session_by_key

T = TypeVar("T")

PAGE_ROWS = 500
PAGE_CHARS = 1 << 20


def rows(db: sqlite3.Connection, user_id: str, refs: Sequence[str] | None) -> Generator[ArchivedRow, None, None]:
    """The archives of these sessions and of those they are forks of, or of all; parents before forks.

    Each medium comes once, before the first message that shows it. Raises SessionNotFound.
    """
    shown: set[int] = set()
    for key in _in_order(db, user_id, refs):
        yield from session_rows(db, key, shown)


def session_rows(db: sqlite3.Connection, key: int, shown: set[int]) -> Generator[ArchivedRow, None, None]:
    """The archive of one session; media that are `shown` already are left out, and others added to it."""
    session = session_by_key(db, key)
    yield _head(db, session)
    yield from _runs(db, session)
    yield from _talk(db, key, shown)
    yield from _summaries(db, key)


def heads(db: sqlite3.Connection, user_id: str) -> list[ArchivedSession]:
    """Of all the user's sessions; parents before forks."""
    return [_head(db, session_by_key(db, key)) for key in _in_order(db, user_id, None)]


def page(found: Iterator[T]) -> list[T]:
    """The next rows, about a megabyte of them; nothing at the end."""
    taken: list[T] = []
    chars = 0
    for row in islice(found, PAGE_ROWS):
        taken.append(row)
        chars += _size(row)
        if chars >= PAGE_CHARS:
            break
    return taken


def _size(row: object) -> int:
    if isinstance(row, ArchivedMedia):
        return len(row.data or b"")
    if isinstance(row, ArchivedMessage):
        return len(row.text) + sum(len(call.arguments or "") for call in row.tool_calls)
    return 0


def numbers(db: sqlite3.Connection, user_id: str) -> list[int]:
    found = db.execute("SELECT number FROM sessions WHERE user_key = ? ORDER BY number", (find_user(db, user_id),))
    return [number for (number,) in found]


def _in_order(db: sqlite3.Connection, user_id: str, refs: Sequence[str] | None) -> list[int]:
    """Session keys by number, but each after its parent: a parent may be younger, where it took over."""
    parents: dict[int, int | None] = dict(
        db.execute(
            "SELECT session_key, parent_key FROM sessions WHERE user_key = ? ORDER BY number",
            (find_user(db, user_id),),
        )
    )
    chosen = set(parents) if refs is None else {find_session(db, user_id, ref).session_key for ref in refs}
    return in_order(parents, chosen)


def _head(db: sqlite3.Connection, row: SessionRow) -> ArchivedSession:
    parent = None if row.parent_key is None else session_by_key(db, row.parent_key)
    (summaries,) = db.execute("SELECT count(*) FROM summaries WHERE session_key = ?", (row.session_key,)).fetchone()
    forked_from = None if parent is None else unpack_id(parent.session_id)
    return head_of(row, forked_from=forked_from, summaries=summaries)


def _runs(db: sqlite3.Connection, session: SessionRow) -> Iterator[ArchivedRun]:
    for row in db.execute(
        f"SELECT {RUN_COLUMNS} FROM runs WHERE session_key = ? ORDER BY run_index", (session.session_key,)
    ):
        dropped = db.execute(
            "SELECT position, seq FROM digests WHERE run_key = ? AND stored = 0 ORDER BY position", (row[0],)
        ).fetchall()
        told = db.execute(f"SELECT {TELLING_COLUMNS} FROM tellings WHERE run_key = ?", (row[0],)).fetchall()
        yield run_of(row, session.source, dropped, tellings_of(told))


def _talk(db: sqlite3.Connection, session_key: int, shown: set[int]) -> Iterator[ArchivedRow]:
    """Messages by seq. Calls that left no message stand where they were made, as far as calls tell."""
    loose = _Loose(db, session_key)
    positions = _Positions(db, session_key)
    for key, seq, run_index, role, from_history, *rest in db.execute(
        "SELECT m.message_key, m.seq, r.run_index, m.role, m.from_history, m.text, m.reasoning, m.tool_call_id, "
        "m.tool_name, m.is_error, m.payload, m.created_at FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
        "WHERE m.session_key = ? ORDER BY m.seq",
        (session_key,),
    ):
        text, reasoning, tool_call_id, tool_name, is_error, payload, created_at = rest
        media = []
        for media_key, digest in db.execute(
            "SELECT f.media_key, f.sha256 FROM message_media AS mm JOIN media AS f ON f.media_key = mm.media_key "
            "WHERE mm.message_key = ? ORDER BY mm.ordinal",
            (key,),
        ).fetchall():
            media.append(digest.hex())
            if media_key not in shown:
                shown.add(media_key)
                yield _medium(db, media_key)
        first_call, calls = _calls(db, key, created_at)
        if first_call is not None:
            yield from loose.before(first_call)
        position, digest = positions.of(seq)
        yield ArchivedMessage(
            seq=seq,
            run_index=run_index,
            position=position,
            digest=digest,
            role=role,
            from_history=bool(from_history),
            text=text,
            reasoning=reasoning,
            media=tuple(media),
            tool_calls=calls,
            tool_call_id=tool_call_id,
            tool_name=tool_name,
            is_error=bool(is_error),
            payload=load(payload),
            created_at=from_ms(created_at),
        )
    yield from loose.before(1 << 62)


_CALL_COLUMNS = (
    "c.call_key, c.ordinal, c.tool_call_id, c.tool_name, c.arguments, c.status, c.duration_ms, c.called_at, "
    "(SELECT f.seq FROM messages AS f WHERE f.message_key = c.result_key)"
)


def _calls(db: sqlite3.Connection, message_key: int, created_at: int) -> tuple[int | None, tuple[ArchivedCall, ...]]:
    """The message's calls, and the key of the first of them."""
    found = db.execute(
        f"SELECT {_CALL_COLUMNS} FROM tool_calls AS c WHERE c.message_key = ? ORDER BY c.ordinal",
        (message_key,),
    ).fetchall()
    calls = tuple(call_of(row[2:], created_at) for row in found)
    return min((call[0] for call in found), default=None), calls


class _Loose:
    """Calls whose message was not stored, handed out in the order they were made."""

    def __init__(self, db: sqlite3.Connection, session_key: int) -> None:
        self._rows = db.execute(
            f"SELECT {_CALL_COLUMNS}, r.run_index FROM tool_calls AS c JOIN runs AS r ON r.run_key = c.run_key "
            "WHERE c.session_key = ? AND c.message_key IS NULL ORDER BY c.call_key",
            (session_key,),
        )
        self._next = self._rows.fetchone()

    def before(self, call_key: int) -> Iterator[ArchivedCall]:
        while self._next is not None and self._next[0] < call_key:
            yield call_of(self._next[2:-1], run_index=self._next[-1], ordinal=self._next[1])
            self._next = self._rows.fetchone()


class _Positions:
    """At which place of its run each message was received, and its digest, looked up by rising seq."""

    def __init__(self, db: sqlite3.Connection, session_key: int) -> None:
        self._rows = db.execute(
            "SELECT d.seq, d.position, d.digest FROM runs AS r JOIN digests AS d ON d.run_key = r.run_key "
            "WHERE r.session_key = ? AND d.stored = 1 ORDER BY d.seq",
            (session_key,),
        )
        self._next = self._rows.fetchone()

    def of(self, seq: int) -> tuple[int | None, bytes]:
        while self._next is not None and self._next[0] < seq:
            self._next = self._rows.fetchone()
        return self._next[1:] if self._next is not None and self._next[0] == seq else (None, b"")


def _medium(db: sqlite3.Connection, media_key: int) -> ArchivedMedia:
    digest, mime_type, data, url = db.execute(
        "SELECT sha256, mime_type, data, url FROM media WHERE media_key = ?", (media_key,)
    ).fetchone()
    return ArchivedMedia(media_id=digest.hex(), mime_type=mime_type, data=data, url=url)


def _summaries(db: sqlite3.Connection, session_key: int) -> Iterator[ArchivedSummary]:
    for row in db.execute(
        f"SELECT {SUMMARY_COLUMNS} FROM summaries WHERE session_key = ? ORDER BY version", (session_key,)
    ):
        yield summary_of(row)
