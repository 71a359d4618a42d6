"""Sessions deleted: what they share with forks that stay is handed over, and they are gone at once, whole.

Gone means buried: in one short transaction a session leaves its user for one who is nobody, so that no statement
finds it, its runs or its calls, and leaves a tombstone. Its rows then go step by step (emptying.py): a session of
a hundred thousand messages would hold up all who write for half a minute. Whoever is killed in between has
deleted it all the same; the next to open the file goes on.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import Conflict
from ...merge import sum_metrics
from ...models import Session
from ..choosing import names_of
from ..rows import SessionRow, dump, load, unpack_id
from . import index
from .rows import find_session, session_by_key
from .writing import ways_of

NOBODY = "\0deleted"
"""Whose the buried are. No user can be called that: an id holds no NUL."""


@dataclass(slots=True)
class Burial:
    """What is to be done with sessions that are deleted, and what became of them."""

    forks: str
    tombstone: Callable[[SessionRow], bytes]
    now: int
    said_before: int | None = None
    """Where set, only what was said before that moment (UTC ms) stays out of imports."""
    keys: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)


def bury(db: sqlite3.Connection, user_id: str, ref: str, burial: Burial) -> Session:
    """Delete a session and those of its sub-agents. Raises SessionNotFound, and Conflict if forks are in the way.

    The shared part of forks that are kept moves to one of them, and the others then hang on that one: each row
    still exists once.
    """
    session = find_session(db, user_id, ref)
    told = session.value()
    for one in [*sub_agents(db, session), session]:
        if one.session_key not in burial.keys:
            _bury(db, one, burial)
    return told


def bury_key(db: sqlite3.Connection, user_key: int, session_key: int, burial: Burial, *, not_after: int) -> bool:
    """The same by key, of this session alone.

    False where it is left alone: it is not the user's, is gone, went on after that time, or has forks by now that
    may not be deleted.
    """
    row = db.execute(
        "SELECT 1 FROM sessions WHERE session_key = ? AND user_key = ? AND last_activity_at <= ?",
        (session_key, user_key, not_after),
    ).fetchone()
    session = None if row is None else session_by_key(db, session_key)
    if session is None or (burial.forks == "refuse" and _forks_of(db, session)):
        return False
    _bury(db, session, burial)
    return True


def doomed(db: sqlite3.Connection, user_id: str, ref: str, forks: str) -> list[int]:
    """The keys of all that `bury` would delete. Raises SessionNotFound."""
    session = find_session(db, user_id, ref)
    keys: dict[int, None] = {}
    waiting = [session, *sub_agents(db, session)]
    while waiting:
        one = waiting.pop()
        keys[one.session_key] = None
        if forks == "delete":
            waiting += _forks_of(db, one)
    return list(keys)


def sub_agents(db: sqlite3.Connection, session: SessionRow) -> list[SessionRow]:
    """The sessions of agents that this one started, and of those that they did, the last ones first."""
    found: list[SessionRow] = []
    parents, seen = [session], {session.session_key}
    while parents:
        ids = json.dumps([name for parent in parents for name in names_of(parent.source, unpack_id(parent.session_id))])
        keys = db.execute(
            "SELECT session_key FROM sessions WHERE user_key = ? AND parent_key IS NULL "
            "AND instr(metadata, 'parent_session_id') "
            "AND json_extract(metadata, '$.parent_session_id') IN (SELECT value ->> 0 FROM json_each(?) "
            "WHERE value ->> 1 IS NULL OR value ->> 1 = source)",
            (session.user_key, ids),
        ).fetchall()
        parents = [session_by_key(db, key) for (key,) in keys if key not in seen]
        seen.update(parent.session_key for parent in parents)
        found = [*parents, *found]
    return found


def _bury(db: sqlite3.Connection, session: SessionRow, burial: Burial) -> None:
    waiting = [session.session_key]
    order: list[int] = []
    while waiting:
        key = waiting.pop()
        order.append(key)
        children = _forks_of(db, session_by_key(db, key))
        if children and burial.forks == "refuse":
            names = ", ".join(child.handle for child in children[:5])
            raise Conflict(
                f"Session {session.handle} has forks ({names}) that share its messages. "
                'Pass forks="keep" to leave them whole, or forks="delete" to delete them too.'
            )
        if burial.forks == "delete":
            waiting += [child.session_key for child in children]
        elif children:
            hand_over(db, session_by_key(db, key), children)
    for key in reversed(order):
        _lay(db, session_by_key(db, key), burial)


def _lay(db: sqlite3.Connection, session: SessionRow, burial: Burial) -> None:
    db.execute("INSERT INTO users (user_id) VALUES (?) ON CONFLICT DO NOTHING", (NOBODY,))
    (nobody,) = db.execute("SELECT user_key FROM users WHERE user_id = ?", (NOBODY,)).fetchone()
    key = session.session_key
    # What names them is unique among the buried too; source and project are in their entries of the index.
    db.execute(
        "UPDATE sessions SET user_key = ?, session_id = session_key, number = session_key, title = NULL, "
        "opening = NULL, state = '{}', metadata = '{}', metrics = '{}', parent_key = NULL, fork_seq = NULL, "
        "summary_error = NULL WHERE session_key = ?",
        (nobody, key),
    )
    # Other ways by which its runs came: whoever told of it must not bring it back.
    sources = {session.source, *(way.source for way in ways_of(db, session))}
    db.execute("DELETE FROM tellings WHERE session_key = ?", (key,))
    _forget_facts(db, session, sources)
    db.execute("UPDATE runs SET user_key = ?, run_id = run_key WHERE session_key = ?", (nobody, key))
    db.execute("UPDATE tool_calls SET user_key = ? WHERE session_key = ?", (nobody, key))
    db.execute("INSERT INTO graves (session_key, user_key) VALUES (?, ?)", (key, session.user_key))
    db.executemany(
        "INSERT INTO tombstones (user_key, source, digest, deleted_at, said_before) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET deleted_at = excluded.deleted_at, said_before = CASE WHEN said_before IS NOT NULL "
        "AND excluded.said_before IS NOT NULL THEN max(said_before, excluded.said_before) END",
        [
            (
                session.user_key,
                source,
                burial.tombstone(session._replace(source=source)),
                burial.now,
                burial.said_before,
            )
            for source in sorted(sources)
        ],
    )
    burial.keys.append(key)
    gone = {
        "sessions": 1,
        "summaries": db.execute("DELETE FROM summaries WHERE session_key = ?", (key,)).rowcount,
    }
    for table, count in gone.items():
        burial.rows[table] = burial.rows.get(table, 0) + count


def _forget_facts(db: sqlite3.Connection, session: SessionRow, sources: Collection[str]) -> None:
    """What hooks told of it and of its sub-agents, be it told or waiting; of no other source's session of that id."""
    for name, own in names_of(session.source, unpack_id(session.session_id)):
        # As a range, which an index finds: "." is what follows "-".
        named = (name, f"{name}/agent-", f"{name}/agent.")
        db.executemany(
            "DELETE FROM facts WHERE user_key = ? AND source = ? "
            "AND (session_id = ? OR session_id >= ? AND session_id < ?)",
            [(session.user_key, source, *named) for source in ([own] if own else sorted(sources))],
        )


def _forks_of(db: sqlite3.Connection, session: SessionRow) -> list[SessionRow]:
    keys = db.execute(
        "SELECT session_key FROM sessions WHERE parent_key = ? ORDER BY fork_seq DESC, session_key",
        (session.session_key,),
    ).fetchall()
    return [session_by_key(db, key) for (key,) in keys]


def hand_over(db: sqlite3.Connection, session: SessionRow, children: Sequence[SessionRow]) -> None:
    """Give the shared part to the fork that shares most of it; the other forks then share it with that one."""
    heir, others = children[0], children[1:]
    low = session.fork_seq or 0
    cut = heir.fork_seq or 0
    moved = list(index.entries_of_session(db, session.session_key, low=low, high=cut))
    index.remove(db, moved)
    values = {"heir": heir.session_key, "session": session.session_key, "cut": cut}
    db.execute(
        "UPDATE tool_calls SET session_key = :heir WHERE session_key = :session AND ("
        "message_key IN (SELECT message_key FROM messages WHERE session_key = :session AND seq <= :cut) OR "
        "result_key IN (SELECT message_key FROM messages WHERE session_key = :session AND seq <= :cut) OR "
        "(message_key IS NULL AND result_key IS NULL AND run_key IN "
        "(SELECT run_key FROM runs WHERE session_key = :session AND first_seq <= :cut)))",
        values,
    )
    db.execute("UPDATE messages SET session_key = :heir WHERE session_key = :session AND seq <= :cut", values)
    # A result that came after the cut was never the fork's, and goes now.
    db.execute(
        "UPDATE tool_calls SET status = 'pending', result_key = NULL, duration_ms = NULL WHERE session_key = ? AND "
        "result_key IN (SELECT message_key FROM messages WHERE session_key = ?)",
        (heir.session_key, session.session_key),
    )
    runs = db.execute(
        "SELECT run_key FROM runs WHERE session_key = ? AND first_seq <= ? ORDER BY run_index",
        (session.session_key, cut),
    ).fetchall()
    for (run_key,) in runs:
        # A run that the cut divides goes with its first part; what it said after the cut is deleted.
        db.execute("DELETE FROM digests WHERE run_key = ? AND seq > ?", (run_key, cut))
        _delete_messages(db, session, "run_key = ? AND session_key = ?", (run_key, session.session_key))
        db.execute(
            "UPDATE runs SET session_key = ?, last_seq = min(last_seq, ?) WHERE run_key = ?",
            (heir.session_key, cut, run_key),
        )
    calls = db.execute(
        "SELECT count(*) FROM tool_calls WHERE session_key = ? AND from_history = 0", (heir.session_key,)
    ).fetchone()[0]
    metrics: dict[str, Any] = load(heir.metrics)
    for (spent,) in db.execute(
        f"SELECT metrics FROM runs WHERE run_key IN ({', '.join(str(run_key) for (run_key,) in runs)})"
    ):
        metrics = sum_metrics(metrics, {}, load(spent) or {})
    stored, history = db.execute(
        "SELECT count(*), coalesce(sum(from_history), 0) FROM messages WHERE session_key = ?",
        (heir.session_key,),
    ).fetchone()
    (newest,) = db.execute(
        "SELECT max(message_key) FROM messages WHERE session_key = ?", (heir.session_key,)
    ).fetchone()
    db.execute(
        "UPDATE sessions SET parent_key = ?, fork_seq = ?, messages = ?, history_messages = ?, tool_calls = ?, "
        "runs = runs + ?, last_message_key = ?, metrics = ? WHERE session_key = ?",
        (
            session.parent_key,
            session.fork_seq,
            stored,
            history,
            calls,
            len(runs),
            newest or 0,
            dump(metrics),
            heir.session_key,
        ),
    )
    for other in others:
        db.execute("UPDATE sessions SET parent_key = ? WHERE session_key = ?", (heir.session_key, other.session_key))
    index.add_again(db, index.entries_of_session(db, heir.session_key, low=low, high=cut))


def _delete_messages(
    db: sqlite3.Connection, session: SessionRow, where: str, values: tuple[Any, ...]
) -> dict[str, int]:
    """Messages by condition with index entries, tool calls and media that nothing else refers to."""
    keys = [key for (key,) in db.execute(f"SELECT message_key FROM messages WHERE {where}", values).fetchall()]
    rows: dict[str, int] = {"messages": len(keys), "search_index": 0, "tool_calls": 0, "media": 0}
    for key in keys:
        (indexed,) = db.execute("SELECT from_history = 0 FROM messages WHERE message_key = ?", (key,)).fetchone()
        if indexed:
            rows["search_index"] += index.remove(db, [index.entry_of_message(db, key)])
    media = set()
    for key in keys:
        media.update(db.execute("SELECT media_key FROM message_media WHERE message_key = ?", (key,)).fetchall())
        db.execute("DELETE FROM message_media WHERE message_key = ?", (key,))
        rows["tool_calls"] += db.execute("DELETE FROM tool_calls WHERE message_key = ?", (key,)).rowcount
        db.execute(
            "UPDATE tool_calls SET result_key = NULL WHERE session_key = ? AND result_key = ?",
            (session.session_key, key),
        )
        db.execute("DELETE FROM messages WHERE message_key = ?", (key,))
    for (media_key,) in media:
        rows["media"] += db.execute(
            "DELETE FROM media WHERE media_key = ? AND NOT EXISTS "
            "(SELECT 1 FROM message_media AS mm WHERE mm.media_key = media.media_key)",
            (media_key,),
        ).rowcount
    return rows


def empty_session(db: sqlite3.Connection, session: SessionRow) -> dict[str, int]:
    """Delete all that was said and done in a session; its own row and its summaries stay."""
    key = session.session_key
    rows = {"search_index": index.remove(db, list(index.entries_of_session(db, key)))}
    rows["vectors"] = db.execute(
        "DELETE FROM vectors WHERE message_key IN (SELECT message_key FROM messages WHERE session_key = ?)", (key,)
    ).rowcount
    media = db.execute(
        "SELECT DISTINCT mm.media_key FROM message_media AS mm JOIN messages AS m ON m.message_key = mm.message_key "
        "WHERE m.session_key = ?",
        (key,),
    ).fetchall()
    db.execute(
        "DELETE FROM message_media WHERE message_key IN (SELECT message_key FROM messages WHERE session_key = ?)",
        (key,),
    )
    rows["tool_calls"] = db.execute("DELETE FROM tool_calls WHERE session_key = ?", (key,)).rowcount
    rows["messages"] = db.execute("DELETE FROM messages WHERE session_key = ?", (key,)).rowcount
    db.execute("DELETE FROM digests WHERE run_key IN (SELECT run_key FROM runs WHERE session_key = ?)", (key,))
    rows["runs"] = db.execute("DELETE FROM runs WHERE session_key = ?", (key,)).rowcount
    rows["media"] = sum(
        db.execute(
            "DELETE FROM media WHERE media_key = ? AND NOT EXISTS "
            "(SELECT 1 FROM message_media AS mm WHERE mm.media_key = media.media_key)",
            row,
        ).rowcount
        for row in media
    )
    return rows
