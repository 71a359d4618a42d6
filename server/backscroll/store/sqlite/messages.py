"""Messages as values, one, some or all of a session, with the calls and media that hang on them."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...errors import MediaNotFound, MessageNotFound
from ...models import Media, Message, StoredMedia, ToolCall
from ..message_rows import listed_call, message_columns
from ..message_rows import message_of as told
from ..rows import NEWEST, WHOLE, Stretch, media_of_row
from .rows import find_session, find_user, lineage

MESSAGE_COLUMNS = message_columns(chars=":chars", length="length(m.text)")

MANY = 8
"""More messages than this are better served by looking up all calls and media of their session at once."""


class Hanging(NamedTuple):
    """What hangs on messages, by their key."""

    calls: Mapping[int, tuple[ToolCall, ...]]
    media: Mapping[int, tuple[Media, ...]]


def message_of(
    db: sqlite3.Connection,
    row: Sequence[Any],
    number: int,
    max_chars: int,
    high: int = NEWEST,
    hanging: Hanging | None = None,
) -> Message:
    """A row of MESSAGE_COLUMNS as a value. Its calls and media are looked up, unless they are handed in."""
    key, role = row[0], row[3]
    if hanging is not None:
        return told(row, number, hanging.calls.get(key, ()), hanging.media.get(key, ()))
    calls = tuple(_calls_of_message(db, key, max_chars, high)) if role == "assistant" else ()
    return told(row, number, calls, _media_of(db, key))


def _media_of(db: sqlite3.Connection, message_key: int) -> tuple[Media, ...]:
    rows = db.execute(
        "SELECT f.sha256, f.mime_type, f.size_bytes, f.url FROM message_media AS mm "
        "JOIN media AS f ON f.media_key = mm.media_key WHERE mm.message_key = ? ORDER BY mm.ordinal",
        (message_key,),
    )
    return tuple(media_of_row(*row) for row in rows)


_CALL = (
    "c.tool_call_id, c.tool_name, substr(c.arguments, 1, :chars), length(c.arguments), "
    "CASE WHEN f.seq > :high THEN 'pending' ELSE c.status END, c.duration_ms"
)
"""A call as its message lists it. One whose result came after the cut of a fork is pending there."""


def _calls_of_message(db: sqlite3.Connection, message_key: int, max_chars: int, high: int) -> Iterator[ToolCall]:
    rows = db.execute(
        f"SELECT {_CALL} FROM tool_calls AS c LEFT JOIN messages AS f ON f.message_key = c.result_key "
        "WHERE c.message_key = :key ORDER BY c.ordinal",
        {"key": message_key, "chars": max_chars, "high": high},
    )
    return map(listed_call, rows)


def _hanging_on(db: sqlite3.Connection, stretch: Stretch) -> Hanging:
    """Calls and media of a whole stretch in two statements: one by one they cost more than the messages do."""
    calls: dict[int, list[ToolCall]] = defaultdict(list)
    for key, *row in db.execute(
        f"SELECT c.message_key, {_CALL} FROM tool_calls AS c LEFT JOIN messages AS f ON f.message_key = c.result_key "
        "WHERE c.session_key = :session AND c.message_key IS NOT NULL ORDER BY c.message_key, c.ordinal",
        {"session": stretch.session_key, "chars": WHOLE, "high": stretch.high},
    ):
        calls[key].append(listed_call(row))
    media: dict[int, list[Media]] = defaultdict(list)
    for key, *row in db.execute(
        "SELECT m.message_key, f.sha256, f.mime_type, f.size_bytes, f.url FROM messages AS m "
        "JOIN message_media AS mm ON mm.message_key = m.message_key JOIN media AS f ON f.media_key = mm.media_key "
        "WHERE m.session_key = :session ORDER BY m.message_key, mm.ordinal",
        {"session": stretch.session_key},
    ):
        media[key].append(media_of_row(*row))
    return Hanging(
        {key: tuple(several) for key, several in calls.items()}, {key: tuple(several) for key, several in media.items()}
    )


def messages(db: sqlite3.Connection, user_id: str, ref: str, agent: str | None, after: int) -> list[Message]:
    session = find_session(db, user_id, ref)
    found: list[Message] = []
    for stretch in reversed(lineage(db, session)):
        rows = db.execute(
            f"SELECT {MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
            "WHERE m.session_key = :session AND m.seq > :low AND m.seq <= :high "
            "AND (:agent IS NULL OR r.agent = :agent) ORDER BY m.seq",
            {
                "session": stretch.session_key,
                "low": max(stretch.low, after),
                "high": stretch.high,
                "agent": agent,
                "chars": WHOLE,
            },
        ).fetchall()
        hanging = _hanging_on(db, stretch) if len(rows) > MANY else None
        found.extend(message_of(db, row, stretch.number, WHOLE, stretch.high, hanging) for row in rows)
    return found


def message(db: sqlite3.Connection, user_id: str, ref: str, seq: int) -> Message:
    session = find_session(db, user_id, ref)
    for stretch in lineage(db, session):
        if stretch.low < seq <= stretch.high:
            row = db.execute(
                f"SELECT {MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
                "WHERE m.session_key = :session AND m.seq = :seq",
                {"session": stretch.session_key, "seq": seq, "chars": WHOLE},
            ).fetchone()
            if row is not None:
                return message_of(db, row, stretch.number, WHOLE, stretch.high)
    raise MessageNotFound(f"{session.handle}.{seq}")


def text_of(
    db: sqlite3.Connection, user_id: str, ref: str, seq: int, call: int | None, offset: int, max_chars: int
) -> tuple[Message, str, int]:
    session = find_session(db, user_id, ref)
    for stretch in lineage(db, session):
        if not stretch.low < seq <= stretch.high:
            continue
        row = db.execute(
            f"SELECT {MESSAGE_COLUMNS} FROM messages AS m JOIN runs AS r ON r.run_key = m.run_key "
            "WHERE m.session_key = :session AND m.seq = :seq",
            {"session": stretch.session_key, "seq": seq, "chars": 0},
        ).fetchone()
        if row is None:
            break
        column, table, key = "text", "messages", "message_key = :key"
        if call is not None:
            column, table, key = "arguments", "tool_calls", "message_key = :key AND ordinal = :call"
        part = db.execute(
            f"SELECT substr({column}, :offset + 1, :max), length({column}) FROM {table} WHERE {key}",
            {"key": row[0], "call": call, "offset": offset, "max": max_chars},
        ).fetchone()
        text, chars = (None, None) if part is None else part
        message = message_of(db, row, stretch.number, 0, stretch.high)
        return message, text or "", chars or 0
    raise MessageNotFound(f"{session.handle}.{seq}")


def media(db: sqlite3.Connection, user_id: str, media_id: str) -> StoredMedia:
    try:
        sha256 = bytes.fromhex(media_id)
    except ValueError:
        raise MediaNotFound(media_id) from None
    row = db.execute(
        # What only deleted sessions showed is gone with them, though its row may go a little later.
        "SELECT mime_type, data, url FROM media AS f WHERE user_key = ? AND sha256 = ? AND EXISTS "
        "(SELECT 1 FROM message_media AS mm JOIN messages AS m ON m.message_key = mm.message_key "
        "JOIN sessions AS s ON s.session_key = m.session_key "
        "WHERE mm.media_key = f.media_key AND s.user_key = f.user_key)",
        (find_user(db, user_id), sha256),
    ).fetchone()
    if row is None:
        raise MediaNotFound(media_id)
    return StoredMedia(media_id=media_id.lower(), mime_type=row[0], data=row[1], url=row[2])
