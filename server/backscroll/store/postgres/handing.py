"""A session that goes hands what it shares to the forks that stay: each row still exists once."""

from collections.abc import Sequence
from typing import Any

from ...merge import sum_metrics
from ..rows import NEWEST, SessionRow, dump, load
from . import index
from .database import Writing

INDEXED_BYTES = 1 << 20


async def hand_over(db: Writing, session: SessionRow, children: Sequence[SessionRow]) -> None:
    """Give the shared part to the fork that shares most of it, the first; the others then share it with that one."""
    heir = children[0]
    named = {
        "user": db.user_key,
        "heir": heir.session_key,
        "session": session.session_key,
        "cut": heir.fork_seq or 0,
        "others": [other.session_key for other in children[1:]],
    }
    await _hand_calls(db, named)
    await db.run(
        "UPDATE messages SET session_key = %(heir)s "
        "WHERE user_key = %(user)s AND session_key = %(session)s AND seq <= %(cut)s",
        named,
    )
    await db.run(
        "UPDATE vectors SET session_key = %(heir)s WHERE user_key = %(user)s AND message_key IN "
        "(SELECT message_key FROM messages "
        "WHERE user_key = %(user)s AND session_key = %(heir)s AND seq <= %(cut)s)",
        named,
    )
    # A result that came after the cut was never the fork's, and goes now.
    await db.run(
        "UPDATE tool_calls SET status = 'pending', result_key = NULL, duration_ms = NULL "
        "WHERE user_key = %(user)s AND session_key = %(heir)s AND result_key IN "
        "(SELECT message_key FROM messages WHERE user_key = %(user)s AND session_key = %(session)s)",
        named,
    )
    spent = await _hand_runs(db, named)
    metrics: dict[str, Any] = load(heir.metrics)
    for one in spent:
        metrics = sum_metrics(metrics, {}, load(one) or {})
    await db.run(
        "UPDATE sessions SET parent_key = %(parent)s, fork_seq = %(fork_seq)s, "
        "messages = (SELECT count(*) FROM messages WHERE user_key = %(user)s AND session_key = %(heir)s), "
        "history_messages = (SELECT coalesce(sum(from_history), 0) FROM messages "
        "WHERE user_key = %(user)s AND session_key = %(heir)s), "
        "last_message_key = (SELECT coalesce(max(message_key), 0) FROM messages "
        "WHERE user_key = %(user)s AND session_key = %(heir)s), "
        "tool_calls = (SELECT count(*) FROM tool_calls "
        "WHERE user_key = %(user)s AND session_key = %(heir)s AND from_history = 0), "
        "runs = runs + %(runs)s, metrics = %(metrics)s WHERE user_key = %(user)s AND session_key = %(heir)s",
        {
            **named,
            "parent": session.parent_key,
            "fork_seq": session.fork_seq,
            "runs": len(spent),
            "metrics": dump(metrics),
        },
    )
    await db.run(
        "UPDATE sessions SET parent_key = %(heir)s "
        "WHERE user_key = %(user)s AND session_key = ANY(%(others)s::bigint[])",
        named,
    )
    # Their entries in the index name the session that they are in.
    await index_session(db, heir.session_key, upto=heir.fork_seq or 0)


async def _hand_calls(db: Writing, named: dict[str, Any]) -> None:
    shared = (
        "(SELECT message_key FROM messages WHERE user_key = %(user)s AND session_key = %(session)s AND seq <= %(cut)s)"
    )
    await db.run(
        "UPDATE tool_calls SET session_key = %(heir)s WHERE user_key = %(user)s AND session_key = %(session)s AND ("
        f"message_key IN {shared} OR result_key IN {shared} OR (message_key IS NULL AND result_key IS NULL AND "
        "run_key IN (SELECT run_key FROM runs "
        "WHERE user_key = %(user)s AND session_key = %(session)s AND first_seq <= %(cut)s)))",
        named,
    )


async def _hand_runs(db: Writing, named: dict[str, Any]) -> list[str | None]:
    """The metrics of the runs that were handed over, by their order.

    A run that the cut divides goes with its first part; what it said after the cut is deleted with the session.
    """
    rows = await db.all(
        "SELECT run_key, metrics FROM runs WHERE user_key = %(user)s AND session_key = %(session)s "
        "AND first_seq <= %(cut)s ORDER BY run_index",
        named,
    )
    moved = {**named, "runs": [key for key, _ in rows]}
    await db.run(
        "DELETE FROM digests WHERE user_key = %(user)s AND run_key = ANY(%(runs)s::bigint[]) AND seq > %(cut)s", moved
    )
    await db.run(
        "UPDATE tellings SET session_key = %(heir)s WHERE user_key = %(user)s AND run_key = ANY(%(runs)s::bigint[])",
        moved,
    )
    await db.run(
        "UPDATE runs SET session_key = %(heir)s, last_seq = least(last_seq, %(cut)s) "
        "WHERE user_key = %(user)s AND run_key = ANY(%(runs)s::bigint[])",
        moved,
    )
    await db.run(
        "INSERT INTO session_ways (user_key, session_key, source, imported) "
        "SELECT DISTINCT user_key, session_key, source, imported FROM runs "
        "WHERE user_key = %(user)s AND run_key = ANY(%(runs)s::bigint[]) ON CONFLICT DO NOTHING",
        moved,
    )
    return [metrics for _, metrics in rows]


async def index_session(db: Writing, session_key: int, *, upto: int = NEWEST) -> None:
    """Make the entries of a session's messages up to that seq, from what their rows say now."""
    after = 0
    while rows := await db.all(
        "SELECT message_key, seq, octet_length(text) FROM messages WHERE user_key = %s AND session_key = %s "
        "AND seq > %s AND seq <= %s AND from_history = 0 ORDER BY seq LIMIT %s",
        (db.user_key, session_key, after, upto, index.AT_ONCE),
    ):
        keys: list[int] = []
        size = 0
        for key, seq, text_bytes in rows:
            # What is said in a page of them is taken apart at once.
            if keys and size + text_bytes > INDEXED_BYTES:
                break
            keys.append(key)
            after, size = seq, size + text_bytes
        await index.renew(db, keys)
