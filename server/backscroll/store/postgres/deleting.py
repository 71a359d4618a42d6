"""Sessions deleted: what they share with forks that stay is handed over, and they are gone whole, rows and all.

One transaction: readers see the session until it ends, and nothing of it from then on.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ...errors import Conflict
from ...models import Session
from ..choosing import names_of, started_of
from ..purging import NOT_VACUUMED, PARTLY_VACUUMED, TABLES, VACUUMED, Purged, Purging
from ..rows import SessionRow, to_ms
from ..values import Deleted
from .database import Ask, Database, Transaction, Writing, user_key
from .handing import hand_over
from .part import Part
from .rows import find_session, session_by_key, sessions_by_key
from .vacuuming import Vacuuming

AT_ONCE = 20_000
"""Messages that one statement deletes: its time limit must do for them, with all that hangs on them."""


_HANGING = (("search_index", "search_entries"), ("vectors", "vectors"))
"""What the receipt calls it, and its table. Deleted before the messages, to be counted and in one go."""


PURGED = (
    "sessions", "runs", "messages", "tool_calls", "digests", "media", "message_media", "summaries", "tellings", "facts",
    *(name for _, name in _HANGING),
)  # fmt: skip
"""Tables that hold what was said, or tell of it."""


@dataclass(slots=True)
class Deleting:
    """What is to be done with sessions that are deleted, and what became of them."""

    forks: str
    tombstone: Callable[[str, str], bytes]
    now: int
    said_before: int | None = None
    """Where set, only what was said before that moment (UTC ms) stays out of imports."""
    leaving: Collection[str] | None = None
    """Of which sessions a tombstone is left; None: of all."""
    keys: list[int] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)


class Deletions(Part):
    def __init__(self, database: Database, digest_key: bytes) -> None:
        super().__init__(database, digest_key)
        self._vacuuming = Vacuuming(database.connected, PURGED)

    async def delete_session(self, user_id: str, session: str, *, forks: str, with_words: bool = True) -> Deleted:
        now = to_ms(datetime.now(UTC))

        async def delete(writing: Writing) -> Deleted:
            # Made here: where the connection breaks, this is done again.
            deleting = Deleting(forks, self.tombstone_digest, now)
            told = await delete_named(writing, session, deleting)
            # No words are looked for: nobody can look through the bytes of the server's files from here.
            return Deleted(told, {table: count for table, count in deleting.rows.items() if count}, ())

        return await self._database.write(user_id, delete)

    async def lift_tombstone(self, user_id: str, source: str, digest: bytes) -> bool:
        async def lift(writing: Writing) -> bool:
            statement = "DELETE FROM tombstones WHERE user_key = %s AND source = %s AND digest = %s"
            return await writing.run(statement, (user_key(user_id), source, digest)) > 0

        return await self._database.write(user_id, lift)

    @property
    def purging(self) -> Purging:
        return TABLES

    async def purge(self, words: Sequence[str]) -> Purged:
        """Vacuum what deletions leave rows in. No table is locked: those of a service are never rewritten for one.

        Raises StoreBusy, StoreUnusable.
        """
        ((allowed,),) = (
            await self._database.fetch(
                Ask(
                    "SELECT coalesce(bool_and(pg_has_role(c.relowner, 'USAGE')), false) FROM pg_class AS c "
                    "WHERE c.oid = ANY(SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)",
                    (list(PURGED),),
                )
            )
        )[0]
        if not allowed:
            return NOT_VACUUMED
        return VACUUMED if await self._vacuuming.vacuum() else PARTLY_VACUUMED


async def delete_named(db: Writing, ref: str, deleting: Deleting) -> Session:
    """Delete a session and those of its sub-agents. Raises SessionNotFound, and Conflict if forks are in the way."""
    session = await find_session(db, db.user_key, ref)
    told = session.value()
    for one in [*await _sub_agents(db, session), session]:
        if one.session_key not in deleting.keys:
            await delete_one(db, one, deleting)
    return told


async def delete_chosen(db: Writing, session_key: int, deleting: Deleting, *, not_after: int) -> bool:
    """The same by key, of this session alone.

    False where it is left alone: it is not the user's, is gone, went on after that time, or has forks by now that
    may not be deleted.
    """
    found = await sessions_by_key(db, db.user_key, [session_key])
    if not found or found[0].last_activity_at > not_after:
        return False
    if deleting.forks == "refuse" and await _forks_of(db, session_key):
        return False
    await delete_one(db, found[0], deleting)
    return True


async def delete_one(db: Writing, session: SessionRow, deleting: Deleting) -> None:
    """A session, and its forks where they go too. Those that are kept are given what they share. Raises Conflict."""
    waiting, order = [session.session_key], []
    while waiting:
        key = waiting.pop()
        order.append(key)
        children = await _forks_of(db, key)
        if children and deleting.forks == "refuse":
            names = ", ".join(child.handle for child in children[:5])
            raise Conflict(
                f"Session {session.handle} has forks ({names}) that share its messages. "
                'Pass forks="keep" to leave them whole, or forks="delete" to delete them too.'
            )
        if deleting.forks == "delete":
            waiting += [child.session_key for child in children]
        elif children:
            await hand_over(db, await session_by_key(db, db.user_key, key), children)
    for key in reversed(order):
        await _remove(db, await session_by_key(db, db.user_key, key), deleting)


async def _sub_agents(db: Transaction, session: SessionRow) -> list[SessionRow]:
    """The sessions of agents that this one started, and of those that they did, the last ones first."""
    owner: Any = session.user_key
    rows = await db.all(
        "SELECT session_key, source, metadata FROM sessions "
        "WHERE user_key = %s AND parent_key IS NULL AND strpos(metadata, 'parent_session_id') > 0",
        (owner,),
    )
    started = [started_of(*row) for row in rows]
    found: list[SessionRow] = []
    parents, seen = [session], {session.session_key}
    while parents and started:
        names = {name for parent in parents for name in names_of(parent.source, parent.session_id)}  # type: ignore[arg-type]
        keys = [
            one.key
            for one in started
            if one.parent is not None
            and one.key not in seen
            and ((one.parent, None) in names or (one.parent, one.source) in names)
        ]
        parents = await sessions_by_key(db, owner, keys)
        seen.update(keys)
        found = [*parents, *found]
    return found


async def _forks_of(db: Writing, session_key: int) -> list[SessionRow]:
    rows = await db.all(
        "SELECT session_key FROM sessions WHERE user_key = %s AND parent_key = %s ORDER BY fork_seq DESC, session_key",
        (db.user_key, session_key),
    )
    return await sessions_by_key(db, db.user_key, [key for (key,) in rows]) if rows else []


async def _remove(db: Writing, session: SessionRow, deleting: Deleting) -> None:
    key = session.session_key
    ways = await db.all(
        "SELECT DISTINCT source FROM session_ways WHERE user_key = %s AND session_key = %s", (db.user_key, key)
    )
    # Other ways by which its runs came: whoever told of it must not bring it back.
    sources = {session.source, *(source or session.source for (source,) in ways)}
    if deleting.leaving is None or session.session_id in deleting.leaving:
        await _forget_facts(db, session, sources)
        await _leave_tombstones(db, session, sources, deleting)
    deleting.rows.update(await empty_session(db, key))
    deleting.rows["summaries"] += await db.run(
        "DELETE FROM summaries WHERE user_key = %s AND session_key = %s", (db.user_key, key)
    )
    deleting.rows["sessions"] += await db.run(
        "DELETE FROM sessions WHERE user_key = %s AND session_key = %s", (db.user_key, key)
    )
    deleting.keys.append(key)


async def _leave_tombstones(db: Writing, session: SessionRow, sources: Collection[str], deleting: Deleting) -> None:
    name = str(session.session_id)
    await db.many(
        "INSERT INTO tombstones AS t (user_key, source, digest, deleted_at, said_before) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (user_key, source, digest) DO UPDATE SET deleted_at = excluded.deleted_at, said_before = "
        "CASE WHEN t.said_before IS NOT NULL AND excluded.said_before IS NOT NULL "
        "THEN greatest(t.said_before, excluded.said_before) END",
        [
            (db.user_key, source, deleting.tombstone(source, name), deleting.now, deleting.said_before)
            for source in sorted(sources)
        ],
    )


async def _forget_facts(db: Writing, session: SessionRow, sources: Collection[str]) -> None:
    """What hooks told of it and of its sub-agents, be it told or waiting; of no other source's session of that id."""
    for name, own in names_of(session.source, str(session.session_id)):
        # As a range, which an index finds: "." is what follows "-". By bytes, whatever the database's locale.
        await db.run(
            "DELETE FROM facts WHERE user_key = %s AND source = ANY(%s::text[]) "
            'AND (session_id = %s OR session_id COLLATE "C" >= %s AND session_id COLLATE "C" < %s)',
            (db.user_key, [own] if own else sorted(sources), name, f"{name}/agent-", f"{name}/agent."),
        )


async def empty_session(db: Writing, session_key: int) -> Counter[str]:
    """Delete all that was said and done in a session; its own row, its ways and its summaries stay.

    What was deleted, by table.
    """
    mine = (db.user_key, session_key)
    media = await db.all(
        "SELECT DISTINCT mm.media_key FROM messages AS m JOIN message_media AS mm "
        "ON mm.user_key = m.user_key AND mm.message_key = m.message_key "
        "WHERE m.user_key = %s AND m.session_key = %s",
        mine,
    )
    rows: Counter[str] = Counter()
    while some := await _delete_some(db, session_key):
        rows.update(some)
    rows["tool_calls"] += await db.run("DELETE FROM tool_calls WHERE user_key = %s AND session_key = %s", mine)
    rows["runs"] += await db.run("DELETE FROM runs WHERE user_key = %s AND session_key = %s", mine)
    rows["media"] += await delete_unshown(db, [key for (key,) in media])
    return rows


async def _delete_some(db: Writing, session_key: int) -> Counter[str]:
    """Delete the session's first messages with all that hangs on them; nothing where there are none."""
    row: Any = await db.one(
        "SELECT max(seq) FROM (SELECT seq FROM messages WHERE user_key = %s AND session_key = %s "
        "ORDER BY seq LIMIT %s) AS first",
        (db.user_key, session_key, AT_ONCE),
    )
    if row[0] is None:
        return Counter()
    named = {"user": db.user_key, "session": session_key, "upto": row[0]}
    these = (
        "(SELECT message_key FROM messages WHERE user_key = %(user)s AND session_key = %(session)s AND seq <= %(upto)s)"
    )
    hanging = f"WHERE user_key = %(user)s AND message_key IN {these}"
    await db.run(f"UPDATE facts SET message_key = NULL {hanging}", named)
    rows = Counter({table: await db.run(f"DELETE FROM {name} {hanging}", named) for table, name in _HANGING})
    rows["messages"] = await db.run(
        "DELETE FROM messages WHERE user_key = %(user)s AND session_key = %(session)s AND seq <= %(upto)s", named
    )
    return rows


async def delete_unshown(db: Writing, media_keys: Sequence[int]) -> int:
    """Delete those of these media that no message shows any more."""
    if not media_keys:
        return 0
    return await db.run(
        "DELETE FROM media AS f WHERE f.user_key = %s AND f.media_key = ANY(%s::bigint[]) AND NOT EXISTS "
        "(SELECT 1 FROM message_media AS mm WHERE mm.user_key = f.user_key AND mm.media_key = f.media_key)",
        (db.user_key, list(media_keys)),
    )
