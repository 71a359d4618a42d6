"""The search index made anew beside the old one, while everybody reads and writes.

The next index is filled from the rows in short transactions, in the order of their keys. How far it has come
stands in `meta`, written by the same transactions: a rebuild that was killed goes on from there, in whatever
process. What writers change up to there they change in both (index.py). One short transaction swaps the two,
and the old one is then emptied in steps too: dropping it whole would hold up writers for seconds.

Each function here is a part of one transaction; keeping.py runs them.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from ..indexing import INDEX_VERSION
from . import index

OLD = "search_index_old"
KEYS_AT_ONCE = 1_000
LOST = 0
"""The version of an index that holds only what came after the damage."""
_SHADOWS = (
    "data (id INTEGER PRIMARY KEY, block BLOB)",
    "idx (segid, term, pgno, PRIMARY KEY (segid, term)) WITHOUT ROWID",
    "docsize (id INTEGER PRIMARY KEY, sz BLOB)",
    "config (k PRIMARY KEY, v) WITHOUT ROWID",
)


def progress(db: sqlite3.Connection) -> tuple[int, int]:
    """The newest message that the next index holds, and the newest there is; the same when none is made."""
    (newest,) = db.execute("SELECT coalesce(max(message_key), 0) FROM messages").fetchone()
    now = index.state(db)
    return (newest if now.next_version is None else min(now.position, newest)), newest


def is_pending(db: sqlite3.Connection) -> bool:
    """Whether the index is of another version, or somebody left before a rebuild was through."""
    now = index.state(db)
    return not now.is_current or now.next_version is not None or next(_old_ones(db), None) is not None


def begin(db: sqlite3.Connection) -> None:
    """Make an empty next index, unless there is one of this version, begun by another process."""
    if index.state(db).next_version != INDEX_VERSION:
        begin_again(db)


def begin_again(db: sqlite3.Connection) -> None:
    """Make an empty next index in the place of any that there is."""
    if index.state(db).next_version is not None:
        _set_aside(db, index.NEXT)
    index.create(db, index.NEXT)
    _note(db, next_version=INDEX_VERSION, next_position=0)


def fill(db: sqlite3.Connection, max_chars: int) -> bool:
    """Put the next messages into the next index, some `max_chars` of text; with the last, swap and say True.

    In one transaction: those who write all the time would always be a message ahead.
    """
    now = index.state(db)
    if now.next_version is None:
        return True
    newest, high = db.execute(
        "SELECT (SELECT max(message_key) FROM messages), (SELECT max(message_key) FROM "
        "(SELECT message_key FROM messages WHERE message_key > ? ORDER BY message_key LIMIT ?))",
        (now.position, KEYS_AT_ONCE),
    ).fetchone()
    chars = 0
    with closing(index.entries_between(db, now.position, high or now.position)) as rows:
        for row in rows:
            index.add(db, row.message_key, row.entry, index.NEXT)
            chars += len(row.entry.text)
            if chars >= max_chars:
                high = row.message_key
                break
    if high is None or high == newest:
        _swap(db)
        return True
    _note(db, next_position=high)
    return False


def lose(db: sqlite3.Connection) -> None:
    """Put an index that can be read or written no more out of everybody's way, and begin with an empty one."""
    now = index.state(db)
    if now.version == LOST:
        return
    _set_aside(db, index.NAME)
    index.create(db)
    if now.next_version is not None:
        # Whether this one or the other is damaged nobody knows.
        _set_aside(db, index.NEXT)
        _forget_next(db)
    _note(db, index_version=LOST)


def empty_old(db: sqlite3.Connection, rows: int) -> bool:
    """Delete some of an index that was set aside, and at last itself. True when none is left."""
    name = next(_old_ones(db), None)
    if name is None:
        return True
    gone = db.execute(
        f"DELETE FROM {name}_data WHERE id IN (SELECT id FROM {name}_data WHERE id > ? ORDER BY id LIMIT ?)",
        (index.STRUCTURE, rows),
    ).rowcount
    if gone < rows:
        gone += db.execute(
            f"DELETE FROM {name}_docsize WHERE id IN (SELECT id FROM {name}_docsize ORDER BY id LIMIT ?)",
            (rows - gone,),
        ).rowcount
    if gone < rows:
        gone += db.execute(
            f"DELETE FROM {name}_idx WHERE (segid, term) IN (SELECT segid, term FROM {name}_idx LIMIT ?)",
            (rows - gone,),
        ).rowcount
    if gone < rows:
        db.execute(f"DROP TABLE {name}")
    return False


def merge_next(db: sqlite3.Connection, seconds: float) -> bool:
    """Merge the next index for about that long; True while there is more to do."""
    if index.state(db).next_version is None:
        return False
    until = time.monotonic() + seconds
    while index.merge(db, name=index.NEXT):
        if time.monotonic() >= until:
            return True
    return False


def _swap(db: sqlite3.Connection) -> None:
    _set_aside(db, index.NAME)
    db.execute(f"ALTER TABLE {index.NEXT} RENAME TO {index.NAME}")
    _forget_next(db)
    _note(db, index_version=INDEX_VERSION)


def _set_aside(db: sqlite3.Connection, name: str) -> None:
    """Rename an index, however damaged, to one that waits to be emptied.

    FTS5 renames and drops only what it can open, so what it lacks is given back first: its tables, and the
    record of its segments, which from now on are none.
    """
    for shadow in _SHADOWS:
        db.execute(f"CREATE TABLE IF NOT EXISTS {name}_{shadow}")
    db.execute(f"INSERT OR REPLACE INTO {name}_config (k, v) VALUES ('version', 4)")
    db.execute(
        f"INSERT OR REPLACE INTO {name}_data (id, block) VALUES (?, x''), (?, zeroblob(7))",
        (index.AVERAGES, index.STRUCTURE),
    )
    taken = set(_old_ones(db))
    free = next(free for n in range(len(taken) + 1) if (free := f"{OLD}_{n}") not in taken)
    db.execute(f"ALTER TABLE {name} RENAME TO {free}")


def _old_ones(db: sqlite3.Connection) -> Iterator[str]:
    for (name,) in db.execute(
        "SELECT name FROM sqlite_master WHERE name GLOB ? AND sql LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name",
        (f"{OLD}_*",),
    ).fetchall():
        yield name


def _note(db: sqlite3.Connection, **values: int) -> None:
    db.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", values.items())


def _forget_next(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM meta WHERE name IN ('next_version', 'next_position')")
