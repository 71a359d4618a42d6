"""Sessions leave: their rows in the order of an archive, page by page, as of one point in time.

Pages go by seq and by size: of each message its size is known before its text is read, so memory holds a page.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from ...errors import InvalidArgument
from ..archive import (
    ArchivedMedia,
    ArchivedMessage,
    ArchivedRow,
    ArchivedSession,
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
from ..rows import SessionRow, from_ms, load
from .database import Row, Transaction, user_key
from .part import Part
from .rows import SESSION_COLUMNS, find_session, session_by_key

PAGE_ROWS = 500
PAGE_BYTES = 1 << 20


class Archives(Part):
    async def archive(self, user_id: str, sessions: Sequence[str] | None) -> AsyncGenerator[list[ArchivedRow], None]:
        async with self._database.snapshot() as db, aclosing(rows(db, user_key(user_id), sessions)) as pages:
            async for page in pages:
                if page:
                    yield page

    async def backup(self, target: str) -> None:
        raise InvalidArgument(
            "A Postgres database is backed up by its own tools: pg_dump makes a copy of it while it is in use, and its "
            "server may archive what is written. To have your sessions in a file, run `backscroll export -o FILE`."
        )


async def rows(db: Transaction, owner: UUID, refs: Sequence[str] | None) -> AsyncGenerator[list[ArchivedRow], None]:
    """Pages of the archives of these sessions and of those they are forks of, or of all; parents before forks.

    Each medium comes once, before the first message that shows it. Raises SessionNotFound.
    """
    shown: set[int] = set()
    parents: dict[int, int | None] = dict(
        await db.all("SELECT session_key, parent_key FROM sessions WHERE user_key = %s ORDER BY number", (owner,))
    )
    chosen = set(parents) if refs is None else {(await find_session(db, owner, ref)).session_key for ref in refs}
    for key in in_order(parents, chosen):
        async with aclosing(session_rows(db, owner, await session_by_key(db, owner, key), shown)) as pages:
            async for page in pages:
                yield page


async def session_rows(
    db: Transaction, owner: UUID, session: SessionRow, shown: set[int]
) -> AsyncGenerator[list[ArchivedRow], None]:
    """The archive of one session; media that are `shown` already are left out, and others added to it."""
    yield [await _head(db, owner, session)]
    async for runs in _runs(db, owner, session):
        yield runs
    async with aclosing(_talk(db, owner, session.session_key, shown)) as talk:
        async for page in talk:
            yield page
    yield await _summaries(db, owner, session.session_key)


async def heads(db: Transaction, owner: UUID) -> list[ArchivedSession]:
    """Of all the user's sessions; parents before forks."""
    rows = await db.all(
        f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = %s ORDER BY s.number", (owner,)
    )
    sessions = {session.session_key: session for session in map(SessionRow._make, rows)}
    summaries: dict[int, int] = dict(
        await db.all("SELECT session_key, count(*) FROM summaries WHERE user_key = %s GROUP BY session_key", (owner,))
    )
    found = []
    for key in in_order({key: one.parent_key for key, one in sessions.items()}, sessions):
        one = sessions[key]
        parent = None if one.parent_key is None else str(sessions[one.parent_key].session_id)
        found.append(head_of(one, forked_from=parent, summaries=summaries.get(key, 0)))
    return found


async def _head(db: Transaction, owner: UUID, row: SessionRow) -> ArchivedSession:
    told: Any = await db.one(
        "SELECT (SELECT count(*) FROM summaries WHERE user_key = %s AND session_key = %s), "
        "(SELECT session_id FROM sessions WHERE user_key = %s AND session_key = %s)",
        (owner, row.session_key, owner, row.parent_key),
    )
    return head_of(row, forked_from=told[1], summaries=told[0])


async def _runs(db: Transaction, owner: UUID, session: SessionRow) -> AsyncIterator[list[ArchivedRow]]:
    after = 0
    while True:
        page = await db.all(
            f"SELECT {RUN_COLUMNS} FROM runs WHERE user_key = %s AND session_key = %s AND run_index > %s "
            "ORDER BY run_index LIMIT %s",
            (owner, session.session_key, after, PAGE_ROWS),
        )
        if not page:
            return
        keys = [row[0] for row in page]
        after = page[-1][2]
        dropped: dict[int, list[tuple[int, int]]] = {}
        for key, position, seq in await db.all(
            "SELECT run_key, position, seq FROM digests WHERE user_key = %s AND run_key = ANY(%s::bigint[]) "
            "AND stored = 0 ORDER BY run_key, position",
            (owner, keys),
        ):
            dropped.setdefault(key, []).append((position, seq))
        tellings: dict[int, list[Row]] = {}
        for key, *telling in await db.all(
            f"SELECT run_key, {TELLING_COLUMNS} FROM tellings WHERE user_key = %s AND run_key = ANY(%s::bigint[])",
            (owner, keys),
        ):
            tellings.setdefault(key, []).append(tuple(telling))
        yield [
            run_of(row, session.source, dropped.get(row[0], ()), tellings_of(tellings.get(row[0], ()))) for row in page
        ]


# What was said

_MESSAGES = """
    WITH ahead AS (
        SELECT m.message_key, m.seq, octet_length(m.text) + coalesce(octet_length(m.reasoning), 0)
            + coalesce(octet_length(m.payload), 0) + coalesce((
                SELECT sum(octet_length(c.arguments)) FROM tool_calls AS c
                WHERE c.user_key = m.user_key AND c.message_key = m.message_key), 0) AS size
        FROM messages AS m
        WHERE m.user_key = %(user)s AND m.session_key = %(session)s AND m.seq > %(after)s
        ORDER BY m.seq LIMIT %(rows)s
    ), page AS (
        SELECT message_key FROM (
            SELECT message_key, sum(size) OVER (ORDER BY seq) - size AS before FROM ahead) AS summed
        WHERE before < %(bytes)s
    )
    SELECT m.message_key, m.seq, r.run_index, m.role, m.from_history, m.text, m.reasoning, m.tool_call_id,
        m.tool_name, m.is_error, m.payload, m.created_at, r.run_key
    FROM page JOIN messages AS m ON m.user_key = %(user)s AND m.message_key = page.message_key
    JOIN runs AS r ON r.user_key = m.user_key AND r.run_key = m.run_key
    ORDER BY m.seq
"""

_CALLS = (
    "c.call_key, c.ordinal, c.tool_call_id, c.tool_name, c.arguments, c.status, c.duration_ms, c.called_at, "
    "(SELECT f.seq FROM messages AS f WHERE f.user_key = c.user_key AND f.message_key = c.result_key)"
)


async def _talk(
    db: Transaction, owner: UUID, session_key: int, shown: set[int]
) -> AsyncGenerator[list[ArchivedRow], None]:
    """Messages by seq. Calls that left no message stand where they were made, as far as calls tell."""
    loose = _Loose(db, owner, session_key)
    after = 0
    while True:
        found = await db.all(
            _MESSAGES,
            {"user": owner, "session": session_key, "after": after, "rows": PAGE_ROWS, "bytes": PAGE_BYTES},
        )
        if not found:
            break
        after = found[-1][1]
        keys = [row[0] for row in found]
        received = await _received(db, owner, found)
        calls = await _calls_of(db, owner, keys)
        media = await _media_of(db, owner, keys)
        page: list[ArchivedRow] = []
        for row in found:
            for media_key, _ in media.get(row[0], ()):
                if media_key not in shown:
                    shown.add(media_key)
                    # Each may be as large as a page.
                    yield [*page, await _medium(db, owner, media_key)]
                    page = []
            mine = calls.get(row[0], ())
            if mine:
                page += await loose.before(min(key for key, _ in mine))
            shows = tuple(digest.hex() for _, digest in media.get(row[0], ()))
            page.append(_message(row, received.get(row[1]), shows, [call for _, call in mine]))
        yield page
    while rest := await loose.before(1 << 62, at_most=PAGE_ROWS):
        yield rest


def _message(
    row: Row, received: tuple[int, bytes] | None, media: tuple[str, ...], calls: Sequence[Row]
) -> ArchivedMessage:
    _, seq, run_index, role, from_history, text, reasoning, tool_call_id, tool_name, is_error, *rest = row
    payload, created_at, _ = rest
    position, digest = received or (None, b"")
    return ArchivedMessage(
        seq=seq,
        run_index=run_index,
        position=position,
        digest=digest,
        role=role,
        from_history=bool(from_history),
        text=text,
        reasoning=reasoning,
        media=media,
        tool_calls=tuple(call_of(call[2:], created_at) for call in calls),
        tool_call_id=tool_call_id,
        tool_name=tool_name,
        is_error=bool(is_error),
        payload=load(payload),
        created_at=from_ms(created_at),
    )


async def _received(db: Transaction, owner: UUID, page: Sequence[Row]) -> dict[int, tuple[int, bytes]]:
    """By seq: at which place of its run each message of a page was received, and its digest."""
    rows = await db.all(
        "SELECT seq, position, digest FROM digests WHERE user_key = %s AND run_key = ANY(%s::bigint[]) "
        "AND stored = 1 AND seq BETWEEN %s AND %s ORDER BY position DESC",
        (owner, list({row[-1] for row in page}), page[0][1], page[-1][1]),
    )
    return {seq: (position, bytes(digest)) for seq, position, digest in rows}


async def _calls_of(db: Transaction, owner: UUID, keys: Sequence[int]) -> dict[int, list[tuple[int, Row]]]:
    """By message: its calls in order, each with its key."""
    found: dict[int, list[tuple[int, Row]]] = {}
    for message_key, *call in await db.all(
        f"SELECT c.message_key, {_CALLS} FROM tool_calls AS c "
        "WHERE c.user_key = %s AND c.message_key = ANY(%s::bigint[]) ORDER BY c.message_key, c.ordinal",
        (owner, list(keys)),
    ):
        found.setdefault(message_key, []).append((call[0], tuple(call)))
    return found


async def _media_of(db: Transaction, owner: UUID, keys: Sequence[int]) -> dict[int, list[tuple[int, bytes]]]:
    found: dict[int, list[tuple[int, bytes]]] = {}
    for message_key, media_key, digest in await db.all(
        "SELECT mm.message_key, f.media_key, f.sha256 FROM message_media AS mm "
        "JOIN media AS f ON f.user_key = mm.user_key AND f.media_key = mm.media_key "
        "WHERE mm.user_key = %s AND mm.message_key = ANY(%s::bigint[]) ORDER BY mm.message_key, mm.ordinal",
        (owner, list(keys)),
    ):
        found.setdefault(message_key, []).append((media_key, bytes(digest)))
    return found


async def _medium(db: Transaction, owner: UUID, media_key: int) -> ArchivedMedia:
    row: Any = await db.one(
        "SELECT sha256, mime_type, data, url FROM media WHERE user_key = %s AND media_key = %s", (owner, media_key)
    )
    return ArchivedMedia(media_id=row[0].hex(), mime_type=row[1], data=row[2], url=row[3])


class _Loose:
    """Calls whose message was not stored, handed out in the order they were made."""

    def __init__(self, db: Transaction, owner: UUID, session_key: int) -> None:
        self._db, self._owner, self._session_key = db, owner, session_key
        self._after: int | None = 0
        self._waiting: deque[Row] = deque()

    async def before(self, call_key: int, *, at_most: int = 1 << 30) -> list[ArchivedRow]:
        """The next ones with keys below that."""
        taken: list[ArchivedRow] = []
        while len(taken) < at_most:
            await self._look()
            if not self._waiting or self._waiting[0][0] >= call_key:
                break
            row = self._waiting.popleft()
            taken.append(call_of(row[2:-1], run_index=row[-1], ordinal=row[1]))
        return taken

    async def _look(self) -> None:
        if self._waiting or self._after is None:
            return
        self._waiting.extend(
            await self._db.all(
                f"SELECT {_CALLS}, r.run_index FROM tool_calls AS c "
                "JOIN runs AS r ON r.user_key = c.user_key AND r.run_key = c.run_key "
                "WHERE c.user_key = %s AND c.session_key = %s AND c.message_key IS NULL AND c.call_key > %s "
                "ORDER BY c.call_key LIMIT %s",
                (self._owner, self._session_key, self._after, PAGE_ROWS),
            )
        )
        self._after = self._waiting[-1][0] if self._waiting else None


async def _summaries(db: Transaction, owner: UUID, session_key: int) -> list[ArchivedRow]:
    found = await db.all(
        f"SELECT {SUMMARY_COLUMNS} FROM summaries WHERE user_key = %s AND session_key = %s ORDER BY version",
        (owner, session_key),
    )
    return [summary_of(row) for row in found]
