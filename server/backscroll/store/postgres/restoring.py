"""An archive becomes a session again, with its rows as they were: one transaction a session."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ...errors import RecordingPaused, StoreBusy
from ..archive import ArchivedRow, ArchivedRun, ArchivedSession, Restored
from ..meeting import OPENING_BYTES
from ..restoring import Told, diverged, holds_all, no_parent, told_of
from ..rows import SessionRow, dump, load, maybe_from_ms, to_ms
from .database import Writing
from .deleting import empty_session
from .handing import index_session
from .part import Part
from .rows import lineage, look_up_session, session_by_key
from .unpacking import Unpacking

PAGE_ROWS = 200
COMPARED_ROWS = 1_000

Pages = AsyncIterator[Sequence[ArchivedRow]]


@dataclass(frozen=True, slots=True)
class Restoring:
    """How an archive is taken in. `tombstone` is what would keep it out. `replacing`: whatever stands in its place."""

    head: ArchivedSession
    keep_number: bool
    tombstone: bytes | None = None
    lift_tombstone: bool = False
    replacing: bool = False


class Restorations(Part):
    async def restore_session(
        self,
        user_id: str,
        session: ArchivedSession,
        rows: Iterable[ArchivedRow],
        *,
        keep_number: bool,
        lift_tombstone: bool,
    ) -> Restored:
        how = Restoring(session, keep_number, self.tombstone_digest(session.source, session.session_id), lift_tombstone)
        now = to_ms(datetime.now(UTC))
        pages = _paged(iter(rows))
        begun: list[bool] = []

        async def restored(writing: Writing) -> Restored:
            if begun:
                # The rows were taken as they came, and come once.
                raise StoreBusy("The connection to the database broke. Nothing of this session was stored; try again.")
            begun.append(True)
            await refuse_while_paused(writing, now)
            return await restore(writing, how, pages)

        return await self._database.write(user_id, restored)

    async def take_numbers(self, user_id: str, upto: int) -> int:
        async def take(writing: Writing) -> int:
            stood = writing.last_key("number")
            writing.move("number", upto)
            return stood

        return await self._database.write(user_id, take)


async def refuse_while_paused(writing: Writing, now: int) -> None:
    """In the transaction that would record: what is acknowledged as paused stays so. Raises RecordingPaused."""
    on = await writing.one(
        "SELECT until FROM pauses WHERE user_key = %s AND (until IS NULL OR until > %s) ORDER BY since DESC LIMIT 1",
        (writing.user_key, now),
    )
    if on is not None:
        raise RecordingPaused(maybe_from_ms(on[0]))


async def _paged(rows: Iterator[ArchivedRow]) -> AsyncIterator[list[ArchivedRow]]:
    """A file is read in a thread: nobody else's requests wait for it."""
    while page := await asyncio.to_thread(lambda: list(islice(rows, PAGE_ROWS))):
        yield page


async def restore(db: Writing, how: Restoring, pages: Pages) -> Restored:
    """Raises Conflict where what is here is no earlier state of what the archive holds, or no parent is here."""
    head = how.head
    if await _is_buried(db, how):
        return Restored("deleted")
    runs, rest = await _leading_runs(pages)
    here = await look_up_session(db, db.user_key, head.session_id)
    if here is not None and not how.replacing and await _holds_all(db, here, head, runs):
        return Restored("known", here.handle)
    parent = await _parent(db, head)
    if here is None:
        key = await _insert(db, head, keep_number=how.keep_number)
        intake = Unpacking(db, key, head.source)
    else:
        parent_key = None if parent is None else parent.session_key
        if not how.replacing and (here.parent_key, here.fork_seq) != (parent_key, head.fork_seq):
            raise diverged(head.session_id)
        key = here.session_key
        intake = Unpacking(db, key, head.source, said={} if how.replacing else await _said(db, here))
        await empty_session(db, key)
        if how.replacing:
            await _forget(db, key)
    await intake.take_runs(runs)
    await intake.take(rest)
    async for page in pages:
        await intake.take(page)
    await intake.finish()
    if intake.said:
        raise diverged(head.session_id)
    await _finish(db, key, head, None if how.replacing else here, parent)
    await _note_restored(db, key)
    await index_session(db, key)
    now = await session_by_key(db, db.user_key, key)
    before = (0, 0, 0) if here is None else (here.runs, here.messages, here.tool_calls)
    added = [new - old for new, old in zip((now.runs, now.messages, now.tool_calls), before, strict=True)]
    return Restored("restored" if here is None else "extended", now.handle, *added)


async def _is_buried(db: Writing, how: Restoring) -> bool:
    if how.tombstone is None:
        return False
    buried = (db.user_key, how.head.source, how.tombstone)
    if how.lift_tombstone:
        await db.run("DELETE FROM tombstones WHERE user_key = %s AND source = %s AND digest = %s", buried)
        return False
    found = await db.one(
        "SELECT 1 FROM tombstones WHERE user_key = %s AND source = %s AND digest = %s "
        "AND (said_before IS NULL OR %s < said_before)",
        (*buried, to_ms(how.head.last_activity_at)),
    )
    return found is not None


async def _leading_runs(pages: Pages) -> tuple[list[ArchivedRun], list[ArchivedRow]]:
    """The runs, and what else was in the last page of them."""
    runs: list[ArchivedRun] = []
    async for page in pages:
        for place, row in enumerate(page):
            if not isinstance(row, ArchivedRun):
                return runs, list(page[place:])
            runs.append(row)
    return runs, []


async def _parent(db: Writing, head: ArchivedSession) -> SessionRow | None:
    if head.forked_from is None:
        return None
    parent = await look_up_session(db, db.user_key, head.forked_from)
    if parent is None or parent.last_seq < (head.fork_seq or 0):
        raise no_parent(head)
    return parent


# A session that is here already


async def _said(db: Writing, here: SessionRow) -> dict[int, Told]:
    said: dict[int, Told] = {}
    after = 0
    while rows := await db.all(
        "SELECT seq, role, text FROM messages WHERE user_key = %s AND session_key = %s AND seq > %s "
        "ORDER BY seq LIMIT %s",
        (db.user_key, here.session_key, after, COMPARED_ROWS),
    ):
        said.update((seq, told_of(role, text)) for seq, role, text in rows)
        after = rows[-1][0]
    return said


async def _holds_all(db: Writing, here: SessionRow, head: ArchivedSession, runs: list[ArchivedRun]) -> bool:
    mine = (db.user_key, here.session_key)
    known = [row[0] for row in await db.all("SELECT run_id FROM runs WHERE user_key = %s AND session_key = %s", mine)]
    counted: Any = await db.one("SELECT count(*) FROM summaries WHERE user_key = %s AND session_key = %s", mine)
    return holds_all(here, known, counted[0], head, runs)


async def _forget(db: Writing, key: int) -> None:
    """What else was known of a session that is replaced."""
    for table in ("summaries", "session_ways"):
        await db.run(f"DELETE FROM {table} WHERE user_key = %s AND session_key = %s", (db.user_key, key))


# Writing


async def _insert(db: Writing, head: ArchivedSession, *, keep_number: bool) -> int:
    taken = await db.one("SELECT 1 FROM sessions WHERE user_key = %s AND number = %s", (db.user_key, head.number))
    number = head.number if keep_number and taken is None else db.next_key("number")
    key, moment = db.next_key("session"), to_ms(head.created_at)
    await db.run(
        "INSERT INTO sessions (user_key, session_key, session_id, number, source, created_at, updated_at, "
        "last_activity_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (db.user_key, key, head.session_id, number, head.source, moment, moment, moment),
    )
    return key


async def _finish(
    db: Writing, key: int, head: ArchivedSession, here: SessionRow | None, parent: SessionRow | None
) -> None:
    """The session's own row, its counters counted from what came in."""
    title, archived = head.title, int(head.archived)
    state, metadata = head.state or {}, head.metadata or {}
    updated_at = to_ms(head.updated_at)
    if here is not None and here.updated_at > updated_at:
        # It was changed here last.
        title, archived, state, metadata = here.title, here.archived, load(here.state), load(here.metadata)
        updated_at = here.updated_at
    await db.run(
        "UPDATE sessions SET title = %s, opening = %s, project = %s, source = %s, agent = %s, state = %s, "
        "metadata = %s, metrics = %s, archived = %s, parent_key = %s, fork_seq = %s, last_seq = %s, "
        "last_run_index = %s, created_at = %s, updated_at = %s, last_activity_at = %s "
        "WHERE user_key = %s AND session_key = %s",
        (
            title, head.opening, head.project, head.source, head.agent, dump(state), dump(metadata),
            dump(head.metrics or {}), archived, None if parent is None else parent.session_key, head.fork_seq,
            head.last_seq, head.last_run_index, to_ms(head.created_at), updated_at, to_ms(head.last_activity_at),
            db.user_key, key,
        ),
    )  # fmt: skip
    await db.run(_COUNTED, {"user": db.user_key, "session": key})
    digest = await _system_digest(db, await session_by_key(db, db.user_key, key))
    await db.run(
        "UPDATE sessions SET system_digest = %s WHERE user_key = %s AND session_key = %s", (digest, db.user_key, key)
    )


_COUNTED = """
    UPDATE sessions AS s SET messages = said.messages, history_messages = said.history, runs = ran.runs,
        tool_calls = called.calls, last_message_key = said.newest, last_seq = greatest(s.last_seq, said.last_seq),
        last_run_index = greatest(s.last_run_index, ran.last_index)
    FROM (
        SELECT count(*) AS messages, coalesce(sum(from_history), 0)::bigint AS history,
            coalesce(max(message_key), 0) AS newest, coalesce(max(seq), 0) AS last_seq
        FROM messages WHERE user_key = %(user)s AND session_key = %(session)s
    ) AS said, (
        SELECT count(*) AS runs, coalesce(max(run_index), 0) AS last_index
        FROM runs WHERE user_key = %(user)s AND session_key = %(session)s
    ) AS ran, (
        SELECT count(*) AS calls FROM tool_calls
        WHERE user_key = %(user)s AND session_key = %(session)s AND from_history = 0
    ) AS called
    WHERE s.user_key = %(user)s AND s.session_key = %(session)s
"""


async def _system_digest(db: Writing, session: SessionRow) -> bytes | None:
    """Of the newest system message, a fork's being its parent's until it has one of its own."""
    for stretch in await lineage(db, session):
        row = await db.one(
            "SELECT d.digest FROM runs AS r JOIN digests AS d ON d.user_key = r.user_key AND d.run_key = r.run_key "
            "WHERE r.user_key = %s AND r.session_key = %s AND d.is_system = 1 AND d.seq <= %s "
            "ORDER BY d.seq DESC LIMIT 1",
            (db.user_key, stretch.session_key, stretch.high),
        )
        if row is not None:
            return bytes(row[0])
    return None


async def _note_restored(db: Writing, key: int) -> None:
    """What an archive does not carry: by what its runs are found, and in which ways they came."""
    await db.run(
        "UPDATE runs AS r SET opening = (SELECT substring(d.digest FROM 1 FOR %s) FROM digests AS d "
        "WHERE d.user_key = r.user_key AND d.run_key = r.run_key AND d.is_system = 0 AND d.digest <> ''::bytea "
        "ORDER BY d.position LIMIT 1) WHERE r.user_key = %s AND r.session_key = %s",
        (OPENING_BYTES, db.user_key, key),
    )
    await db.run(
        "INSERT INTO session_ways (user_key, session_key, source, imported) "
        "SELECT DISTINCT user_key, session_key, source, imported FROM runs "
        "WHERE user_key = %s AND session_key = %s ON CONFLICT DO NOTHING",
        (db.user_key, key),
    )
