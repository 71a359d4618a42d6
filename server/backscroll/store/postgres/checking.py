"""Whether what is derived from the rows is what the rows say: entries of the search index, counters of sessions.

Pages and references are Postgres' own business. All of it as of one point in time; nobody waits.
"""

from collections.abc import Callable
from uuid import UUID

from ..indexing import INDEX_VERSION
from . import index
from .database import Database, Transaction

Told = Callable[[int, int], None]

REMEDY = "Run `backscroll migrate --rebuild-index`."

_COMPARED = (
    "SELECT count(*) FILTER (WHERE e.message_key IS NULL), count(*) FILTER (WHERE e.message_key IS NOT NULL AND "
    "(e.terms, e.session_key, e.seq, e.created_at) IS DISTINCT FROM "
    "(n.terms::tsvector, n.session_key, n.seq, n.created_at)) "
    "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[]) "
    "AS n (message_key, session_key, seq, created_at, terms) "
    "LEFT JOIN search_entries AS e ON e.user_key = %s AND e.message_key = n.message_key"
)


async def check(database: Database, told: Told | None = None) -> list[str]:
    """What is wrong, a line each; nothing when all is well."""
    async with database.snapshot() as read:
        return await _index(read, told or (lambda done, total: None)) + await _counters(read)


async def _index(read: Transaction, told: Told) -> list[str]:
    row = await read.one("SELECT convert_from(value, 'UTF8')::integer FROM meta WHERE name = 'index_version'")
    version = None if row is None else row[0]
    if version != INDEX_VERSION:
        return [f"The search index has version {version}, not {INDEX_VERSION}. {REMEDY}"]
    users = await read.all("SELECT user_key, last_message_key FROM users ORDER BY user_key")
    total = sum(newest for _, newest in users)
    lacks = wrong = done = 0
    for user, newest in users:
        after = 0
        while rows := await index.entered(read, user, "m.message_key > %s", (after,)):
            lacking, differing = await _compared(read, user, rows)
            lacks += lacking
            wrong += differing
            after = rows[-1].message_key
            told(done + after, total)
        done += newest
    row = await read.one(
        "SELECT count(*) FROM search_entries AS e JOIN messages AS m ON m.user_key = e.user_key "
        "AND m.message_key = e.message_key WHERE m.from_history = 1"
    )
    holds = 0 if row is None else row[0]
    told_of = (
        (lacks, "lacks {} messages"),
        (wrong, "has {} messages otherwise than they are"),
        (holds, "holds {} copies of messages"),
    )
    return [f"The search index {what.format(count)}. {REMEDY}" for count, what in told_of if count]


async def _compared(read: Transaction, user: UUID, rows: list[index.Entered]) -> tuple[int, int]:
    made = await index.made(user, rows)
    found = await read.one(_COMPARED, (*(list(column) for column in zip(*made, strict=True)), user))
    assert found is not None
    return found[0], found[1]


async def _counters(read: Transaction) -> list[str]:
    """The counters on the session rows against the rows that they count."""
    row = await read.one(
        "SELECT count(*) FROM sessions AS s WHERE "
        "s.messages <> (SELECT count(*) FROM messages AS m "
        "WHERE m.user_key = s.user_key AND m.session_key = s.session_key) OR "
        "s.runs <> (SELECT count(*) FROM runs AS r WHERE r.user_key = s.user_key AND r.session_key = s.session_key) OR "
        "s.tool_calls <> (SELECT count(*) FROM tool_calls AS c WHERE c.user_key = s.user_key "
        "AND c.session_key = s.session_key AND c.from_history = 0) OR "
        "s.history_messages <> (SELECT count(*) FROM messages AS m WHERE m.user_key = s.user_key "
        "AND m.session_key = s.session_key AND m.from_history = 1)"
    )
    wrong = 0 if row is None else row[0]
    return [f"{wrong} sessions count their rows wrongly. Restore a backup, or report this."] if wrong else []
