"""Messages as values, one, some or all of a session, with the calls and media that hang on them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ...errors import MediaNotFound, MessageNotFound
from ...models import Media, Message, StoredMedia, ToolCall
from .. import FoundMessage
from ..message_rows import listed_call, message_columns
from ..message_rows import message_of as told
from ..rows import WHOLE, media_of_row
from .database import Ask, Row, user_key
from .part import Part
from .rows import lineage_of, named, session_asked, session_told

MESSAGE_COLUMNS = message_columns(chars="%(chars)s", length="length(m.text)")

_CALL = (
    "c.tool_call_id, c.tool_name, substr(c.arguments, 1, %(chars)s), length(c.arguments), "
    "CASE WHEN f.seq > {high} THEN 'pending' ELSE c.status END, c.duration_ms"
).format
"""A call as its message lists it. One whose result came after the cut of a fork is pending there."""

_WITH_RESULT = "LEFT JOIN messages AS f ON f.user_key = c.user_key AND f.message_key = c.result_key"


def hanging_columns(high: str) -> str:
    """What hangs on a message `m` with it, in two columns; `high` is the last seq that its stretch shows."""
    return (
        f"CASE WHEN m.role = 'assistant' THEN (SELECT json_agg(json_build_array({_CALL(high=high)}) "
        f"ORDER BY c.ordinal) FROM tool_calls AS c {_WITH_RESULT} "
        "WHERE c.user_key = %(user)s AND c.message_key = m.message_key) END, "
        "(SELECT json_agg(json_build_array(encode(f.sha256, 'hex'), f.mime_type, f.size_bytes, f.url) "
        "ORDER BY mm.ordinal) FROM message_media AS mm "
        "JOIN media AS f ON f.user_key = mm.user_key AND f.media_key = mm.media_key "
        "WHERE mm.user_key = %(user)s AND mm.message_key = m.message_key)"
    )


RUN_OF_MESSAGE = (
    "CROSS JOIN LATERAL (SELECT r.run_id, r.agent FROM runs AS r WHERE r.user_key = %(user)s "
    "AND r.run_key = m.run_key LIMIT 1) AS r"
)
"""Looked up for each message: all runs of a session would be read otherwise, where the planner thinks them few."""


def message_of(row: Row) -> Message:
    """A row of the number of a session, MESSAGE_COLUMNS and `hanging_columns`."""
    number, *columns, calls, media = row
    return told(columns, number, tuple(map(listed_call, calls or ())), tuple(map(_medium_of, media or ())))


def _medium_of(row: Sequence[Any]) -> Media:
    sha256, mime_type, size_bytes, url = row
    return media_of_row(bytes.fromhex(sha256), mime_type, size_bytes, url)


class Messages(Part):
    async def messages(self, user_id: str, session: str, *, agent: str | None = None, after: int = 0) -> list[Message]:
        one = named(user_id, session)
        lines = f"WITH RECURSIVE {lineage_of(one.where)}"
        values = {**one.values, "chars": WHOLE, "after": after, "agent": agent}
        of_line = "ON m.user_key = %(user)s AND m.session_key = l.session_key AND m.seq > l.low AND m.seq <= l.high"
        spoken = "" if agent is None else "AND r.agent = %(agent)s "
        # Calls and media in statements of their own: message by message they cost more than the messages do.
        found, rows, calls, media = await self._database.fetch(
            session_asked(one),
            Ask(
                f"{lines} SELECT l.number, {MESSAGE_COLUMNS} FROM line AS l JOIN messages AS m {of_line} "
                "JOIN runs AS r ON r.user_key = m.user_key AND r.run_key = m.run_key "
                f"WHERE m.seq > %(after)s {spoken}ORDER BY m.seq",
                values,
            ),
            Ask(
                f"{lines} SELECT c.message_key, {_CALL(high='l.high')} FROM line AS l "
                f"JOIN tool_calls AS c ON c.user_key = %(user)s AND c.session_key = l.session_key {_WITH_RESULT} "
                "WHERE c.message_key IS NOT NULL ORDER BY c.message_key, c.ordinal",
                values,
            ),
            Ask(
                f"{lines} SELECT mm.message_key, f.sha256, f.mime_type, f.size_bytes, f.url "
                f"FROM line AS l JOIN messages AS m {of_line} "
                "JOIN message_media AS mm ON mm.user_key = m.user_key AND mm.message_key = m.message_key "
                "JOIN media AS f ON f.user_key = mm.user_key AND f.media_key = mm.media_key "
                "ORDER BY mm.message_key, mm.ordinal",
                values,
            ),
        )
        session_told(found, session)
        calls_of: dict[int, list[ToolCall]] = defaultdict(list)
        for key, *call in calls:
            calls_of[key].append(listed_call(call))
        media_of: dict[int, list[Media]] = defaultdict(list)
        for key, *medium in media:
            media_of[key].append(media_of_row(*medium))
        return [told(row[1:], row[0], calls_of.get(row[1], ()), media_of.get(row[1], ())) for row in rows]

    async def message(self, user_id: str, session: str, seq: int) -> Message:
        one = named(user_id, session)
        found, rows = await self._database.fetch(
            session_asked(one),
            Ask(
                f"WITH RECURSIVE {lineage_of(one.where)} "
                f"SELECT l.number, {MESSAGE_COLUMNS}, {hanging_columns('l.high')} FROM line AS l {_AT_SEQ}",
                {**one.values, "seq": seq, "chars": WHOLE},
            ),
        )
        if not rows:
            raise MessageNotFound(f"{session_told(found, session).handle}.{seq}")
        return message_of(rows[0])

    async def text_of(
        self, user_id: str, session: str, seq: int, *, call: int | None, offset: int, max_chars: int
    ) -> tuple[Message, str, int]:
        one = named(user_id, session)
        values = {**one.values, "seq": seq, "call": call, "offset": offset, "most": max_chars, "chars": 0}
        of_call = (
            "LEFT JOIN tool_calls AS c ON c.user_key = %(user)s AND c.message_key = m.message_key "
            "AND c.ordinal = %(call)s "
        )
        # Each look into a text of megabytes unpacks it: its length comes with the message.
        part = "substr(m.text, %(offset)s + 1, %(most)s), NULL::integer"
        if call is not None:
            part = "substr(c.arguments, %(offset)s + 1, %(most)s), length(c.arguments)"
        found, rows = await self._database.fetch(
            session_asked(one),
            Ask(
                f"WITH RECURSIVE {lineage_of(one.where)} "
                f"SELECT {part}, l.number, {MESSAGE_COLUMNS}, "
                f"{hanging_columns('l.high')} FROM line AS l {_AT_SEQ} {'' if call is None else of_call}",
                values,
            ),
        )
        if not rows:
            raise MessageNotFound(f"{session_told(found, session).handle}.{seq}")
        text, chars, *row = rows[0]
        message = message_of(tuple(row))
        return message, text or "", (message.text_chars if call is None else chars) or 0

    async def found(self, user_id: str, keys: Sequence[int], *, max_chars: int) -> list[FoundMessage]:
        (rows,) = await self._database.fetch(
            Ask(
                f"SELECT s.session_id, s.number, {MESSAGE_COLUMNS}, {hanging_columns('NULL::bigint')} "
                "FROM unnest(%(keys)s::bigint[]) WITH ORDINALITY AS k (key, place) "
                "JOIN messages AS m ON m.user_key = %(user)s AND m.message_key = k.key "
                "JOIN sessions AS s ON s.user_key = %(user)s AND s.session_key = m.session_key "
                f"{RUN_OF_MESSAGE} ORDER BY k.place",
                {"user": user_key(user_id), "keys": list(keys), "chars": max_chars},
            )
        )
        return [FoundMessage(row[2], row[0], message_of(row[1:])) for row in rows]

    async def media(self, user_id: str, media_id: str) -> StoredMedia:
        try:
            sha256 = bytes.fromhex(media_id)
        except ValueError:
            raise MediaNotFound(media_id) from None
        (rows,) = await self._database.fetch(
            Ask(
                "SELECT mime_type, data, url FROM media AS f WHERE user_key = %s AND sha256 = %s AND EXISTS "
                "(SELECT 1 FROM message_media AS mm WHERE mm.user_key = f.user_key AND mm.media_key = f.media_key)",
                (user_key(user_id), sha256),
            )
        )
        if not rows:
            raise MediaNotFound(media_id)
        mime_type, data, url = rows[0]
        return StoredMedia(media_id=media_id.lower(), mime_type=mime_type, data=data, url=url)


_AT_SEQ = (
    "CROSS JOIN LATERAL (SELECT m.* FROM messages AS m WHERE m.user_key = %(user)s AND m.session_key = l.session_key "
    f"AND m.seq = %(seq)s AND m.seq > l.low AND m.seq <= l.high LIMIT 1) AS m {RUN_OF_MESSAGE}"
)
