"""Which sessions are to be deleted, in which order, and about how much each of them takes."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ..choices import Chosen, Wanted
from ..choosing import Named, children_of, forks_first, started_of, taken_from
from .database import Ask, Transaction

BYTES_PER_TEXT = 1.45
BYTES_PER_MESSAGE = 400
BYTES_PER_CALL = 100
"""What a session takes for each byte it says, each message and each call: the same estimate as in a file, so that a
quota means the same in both."""

SAMPLED_BYTES = 64 << 20
"""So much of a table is looked through, at most, to tell how much it holds."""


async def choose(db: Transaction, owner: UUID, wanted: Wanted, *, with_sizes: bool) -> list[Chosen]:
    """Oldest activity first, but forks before what they are forks of, so that each can go by itself."""
    by_age = await _matching(db, owner, wanted)
    if not by_age:
        return []
    children = await _sub_agents(db, owner)
    forks: dict[int, list[int]] = {}
    for key, parent in await db.all(
        "SELECT session_key, parent_key FROM sessions WHERE user_key = %s AND parent_key IS NOT NULL "
        "ORDER BY session_key",
        (owner,),
    ):
        forks.setdefault(parent, []).append(key)
    sizes = await _sizes(db, owner) if with_sizes or wanted.over_bytes is not None else None
    taken = taken_from(by_age, children, wanted.over_bytes, None if sizes is None else lambda key: sizes.get(key, 0))
    return await _chosen(db, owner, taken, forks)


async def _matching(db: Transaction, owner: UUID, wanted: Wanted) -> list[int]:
    clauses: list[str] = ["user_key = %s"]
    values: list[Any] = [owner]
    if wanted.projects is not None:
        clauses.append("project = ANY(%s::text[])")
        values.append(list(wanted.projects))
    if wanted.source is not None:
        clauses.append("source = %s")
        values.append(wanted.source)
    if wanted.before is not None:
        clauses.append("last_activity_at < %s")
        values.append(wanted.before)
    rows = await db.all(
        f"SELECT session_key FROM sessions WHERE {' AND '.join(clauses)} ORDER BY last_activity_at, session_key", values
    )
    return [key for (key,) in rows]


async def _sub_agents(db: Transaction, owner: UUID) -> dict[int, list[int]]:
    """The sessions of agents by the session that started them."""
    started = await db.all(
        "SELECT session_key, source, metadata FROM sessions "
        "WHERE user_key = %s AND parent_key IS NULL AND strpos(metadata, 'parent_session_id') > 0",
        (owner,),
    )
    if not started:
        return {}
    mine = await db.all("SELECT session_key, session_id, source FROM sessions WHERE user_key = %s", (owner,))
    return children_of([started_of(*row) for row in started], [Named(*row) for row in mine])


async def _sizes(db: Transaction, owner: UUID) -> dict[int, int]:
    """About what each session takes, with its part of the search index and its media."""
    said, asked, shown = await db.together(*_asked(owner))
    sizes: dict[int, float] = {}
    for key, messages, size in said:
        sizes[key] = BYTES_PER_TEXT * size + BYTES_PER_MESSAGE * messages
    for key, calls, size in asked:
        sizes[key] = sizes.get(key, 0.0) + BYTES_PER_TEXT * size + BYTES_PER_CALL * calls
    for key, size in shown:
        sizes[key] = sizes.get(key, 0.0) + size
    return {key: int(size) for key, size in sizes.items()}


def _asked(owner: UUID) -> tuple[Ask, ...]:
    return (
        Ask(f"SELECT session_key, count(*), {_SAID} FROM messages WHERE user_key = %s GROUP BY session_key", (owner,)),
        Ask(
            f"SELECT session_key, count(*), {_CALLED} FROM tool_calls WHERE user_key = %s GROUP BY session_key",
            (owner,),
        ),
        # What two messages of a session show is there once.
        Ask(
            "SELECT session_key, coalesce(sum(size_bytes), 0)::bigint FROM ("
            "SELECT DISTINCT m.session_key, f.media_key, f.size_bytes FROM message_media AS mm "
            "JOIN messages AS m ON m.user_key = mm.user_key AND m.message_key = mm.message_key "
            "JOIN media AS f ON f.user_key = mm.user_key AND f.media_key = mm.media_key "
            "WHERE mm.user_key = %s) AS shown GROUP BY session_key",
            (owner,),
        ),
    )


_SAID = (
    "coalesce(sum(octet_length(text) + coalesce(octet_length(reasoning), 0) + coalesce(octet_length(payload), 0)), 0)"
    "::bigint"
)
_CALLED = "coalesce(sum(octet_length(arguments)), 0)::bigint"


async def _chosen(db: Transaction, owner: UUID, taken: dict[int, int], forks: dict[int, list[int]]) -> list[Chosen]:
    rows = await db.all(
        "SELECT session_key, number, coalesce(title, opening, '(untitled)'), project, source, runs, "
        "messages - history_messages, last_activity_at FROM sessions WHERE user_key = %s",
        (owner,),
    )
    told = {row[0]: row for row in rows}

    def numbers(keys: Sequence[int]) -> tuple[int, ...]:
        return tuple(sorted(told[key][1] for key in keys if key not in taken))

    return [
        Chosen(*told[key], taken[key], numbers(forks.get(key, ())))  # type: ignore[call-arg]
        for key in forks_first(taken, forks)
    ]


async def used_bytes(db: Transaction) -> int:
    """About what all that is stored takes, as `_sizes` has it: of large tables a sample is looked through.

    Not what the tables' files take: those do not shrink with a deletion, and a quota must.
    """
    used = 0.0
    for table, counted in (
        ("messages", f"{BYTES_PER_TEXT} * {_SAID} + {BYTES_PER_MESSAGE} * count(*)"),
        ("tool_calls", f"{BYTES_PER_TEXT} * {_CALLED} + {BYTES_PER_CALL} * count(*)"),
        ("media", "coalesce(sum(size_bytes), 0)"),
    ):
        size: Any = await db.one("SELECT pg_relation_size(%s::regclass)", (table,))
        share = min(SAMPLED_BYTES / max(size[0], 1), 1.0)
        sample = "" if share == 1.0 else f"TABLESAMPLE SYSTEM ({share * 100}) REPEATABLE (1)"
        row: Any = await db.one(f"SELECT ({counted})::float8 FROM {table} {sample}")
        used += row[0] / share
    return int(used)
