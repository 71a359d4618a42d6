"""The full-text index beside the rows: made, written, taken back, merged.

What a row's entry is, tells indexing.py. While the index is made anew (rebuilding.py) there are two: the one
that is searched, and the next one, which is complete up to a position that `meta` holds.
"""

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import NamedTuple

from ..indexing import INDEX_VERSION, TOKENIZER, Entry, Scope, entry, speaker_of
from .errors import index_errors

NAME = "search_index"
NEXT = "search_index_next"

MERGE_PAGES = 32
"""Written by one step of merging, which takes 2 to 8 ms."""
MERGE_AT = 8
"""As many segments of one size become one."""
NEVER_AT_ONCE = 1_000
"""So many segments of one size FTS5 would merge within somebody's commit, whole: by default 16, which took up
to 2 s. Ours come first."""

AVERAGES, STRUCTURE = 1, 10
"""Ids of the two rows of an index's `data` that are no page of a segment."""

# Those who are buried (deleting.py) were put in under the user whose they were.
_ROWS = """
    SELECT m.message_key, m.text, m.role, m.tool_name,
        coalesce((SELECT g.user_key FROM graves AS g WHERE g.session_key = s.session_key), s.user_key),
        s.session_key, s.source, s.project, r.agent, m.payload
    FROM messages AS m
    JOIN sessions AS s ON s.session_key = m.session_key
    JOIN runs AS r ON r.run_key = m.run_key
    WHERE m.from_history = 0 AND
"""


class Indexed(NamedTuple):
    message_key: int
    entry: Entry


class State(NamedTuple):
    """What `meta` tells of the index."""

    version: int
    """Of the index that is searched; 0 where it was lost and is being made anew."""
    next_version: int | None
    """Of the next one, if there is one."""
    position: int
    """The next one holds every message up to this key, and none beyond it."""

    @property
    def is_current(self) -> bool:
        """Whether the index holds all that a query of this program asks for."""
        return self.version == INDEX_VERSION


def state(db: sqlite3.Connection) -> State:
    told = dict(
        db.execute("SELECT name, value FROM meta WHERE name IN ('index_version', 'next_version', 'next_position')")
    )
    return State(told["index_version"], told.get("next_version"), told.get("next_position", 0))


SETTINGS = {"automerge": 0, "usermerge": MERGE_AT, "crisismerge": NEVER_AT_ONCE}


def create(db: sqlite3.Connection, name: str = NAME, settings: Mapping[str, int] = SETTINGS) -> None:
    """Make an empty index of today's shape: the one place that tells it, for new files and for rebuilding.

    Contentless: the text is in messages, once.
    """
    db.execute(f"CREATE VIRTUAL TABLE {name} USING fts5 (text, forms, scope, content = '', tokenize = '{TOKENIZER}')")
    for setting, value in settings.items():
        db.execute(f"INSERT INTO {name} ({_command(name)}, rank) VALUES (?, ?)", (setting, value))


def _command(name: str) -> str:
    """The column that takes commands: it has the name of the table."""
    return name.rpartition(".")[2]


def add(db: sqlite3.Connection, message_key: int, content: Entry, name: str = NAME) -> None:
    """Put in a message that was stored just now: its key is the newest, so the next index has yet to come to it."""
    with index_errors:
        db.execute(f"INSERT INTO {name} (rowid, text, forms, scope) VALUES (?, ?, ?, ?)", (message_key, *content))


def add_all(db: sqlite3.Connection, rows: Iterable[tuple[int, str, str, str]]) -> None:
    """The same of several: their keys, and the columns of an Entry."""
    with index_errors:
        db.executemany(f"INSERT INTO {NAME} (rowid, text, forms, scope) VALUES (?, ?, ?, ?)", rows)


def add_again(db: sqlite3.Connection, indexed: Iterable[Indexed]) -> None:
    """Put in messages that were removed to be changed."""
    now = state(db)
    for row in indexed:
        add(db, row.message_key, row.entry)
        if row.message_key <= now.position:
            add(db, row.message_key, row.entry, NEXT)


def remove(db: sqlite3.Connection, indexed: Iterable[Indexed]) -> int:
    """Take rows out; their entries must be what was put in. Return how many the index held.

    What an index of another version holds of a row cannot be named to the letter: it stays there until
    the next index takes its place. Rows confirm every match, so nobody finds it.
    """
    now = state(db)
    count = 0
    for row in indexed:
        count += now.is_current and _take_out(db, NAME, row)
        if row.message_key <= now.position:
            _take_out(db, NEXT, row)
    return count


def _take_out(db: sqlite3.Connection, name: str, row: Indexed) -> bool:
    # To take out what a damaged index lacks would damage it further.
    with index_errors:
        if db.execute(f"SELECT 1 FROM {name}_docsize WHERE id = ?", (row.message_key,)).fetchone() is None:
            return False
        db.execute(
            f"INSERT INTO {name} ({name}, rowid, text, forms, scope) VALUES ('delete', ?, ?, ?, ?)",
            (row.message_key, *row.entry),
        )
    return True


def merge(db: sqlite3.Connection, pages: int = MERGE_PAGES, name: str = NAME) -> bool:
    """One bounded step of merging; True while there is more to do. A negative number begins to merge all."""
    before = db.total_changes
    with index_errors:
        db.execute(f"INSERT INTO {name} ({name}, rank) VALUES ('merge', ?)", (pages,))
    # FTS5's own words: fewer than two changes mean that there was nothing to merge.
    return db.total_changes - before >= 2


def count(db: sqlite3.Connection) -> int:
    """How many messages the index holds."""
    (found,) = db.execute(f"SELECT count(*) FROM {NAME}_docsize").fetchone()
    return int(found)


def segments(db: sqlite3.Connection, name: str = NAME) -> int:
    """How many segments a search has to look through; 0 where a damaged index does not tell."""
    try:
        # Four bytes, then the number of levels and that of segments.
        _, found, *_ = [*_varints(_record(db, name, STRUCTURE)[4:]), 0, 0]
    except sqlite3.DatabaseError:
        # Asked after COMMIT: what was written is written.
        return 0
    return found


def words(db: sqlite3.Connection, name: str = NAME) -> int:
    """How many words the index holds in all."""
    # The number of messages, then the sum of each column.
    return sum(list(_varints(_record(db, name, AVERAGES)))[1:])


def _record(db: sqlite3.Connection, name: str, key: int) -> bytes:
    row = db.execute(f"SELECT block FROM {name}_data WHERE id = ?", (key,)).fetchone()
    return b"" if row is None else bytes(row[0])


def _varints(record: bytes) -> Iterator[int]:
    """Numbers of seven bits a byte, the highest first, as SQLite writes them."""
    number = 0
    for byte in record:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            yield number
            number = 0


def entries_of_session(
    db: sqlite3.Connection, session_key: int, *, low: int = 0, high: int = 1 << 62
) -> Generator[Indexed, None, None]:
    """Of the messages with a seq above `low`, up to `high`."""
    return _entries(db, "m.session_key = ? AND m.seq > ? AND m.seq <= ?", (session_key, low, high))


def entries_between(db: sqlite3.Connection, low: int, high: int) -> Generator[Indexed, None, None]:
    """Of the messages of all sessions with a key above `low`, up to `high`, in order of their keys."""
    return _entries(db, "m.message_key > ? AND m.message_key <= ?", (low, high))


def entry_of_message(db: sqlite3.Connection, message_key: int) -> Indexed:
    return next(_entries(db, "m.message_key = ?", (message_key,)))


def _entries(db: sqlite3.Connection, where: str, values: tuple[int, ...]) -> Generator[Indexed, None, None]:
    for key, text, role, tool_name, user_key, session_key, source, project, agent, payload in db.execute(
        f"{_ROWS} {where} ORDER BY m.message_key", values
    ):
        calls: list[tuple[str, str | None]] = []
        if role == "assistant":
            calls = db.execute(
                "SELECT tool_name, arguments FROM tool_calls WHERE message_key = ? ORDER BY ordinal", (key,)
            ).fetchall()
        tools = tuple(name for name, _ in calls) if tool_name is None else (tool_name,)
        scope = Scope(user_key, session_key, source, role, project, agent, tools)
        yield Indexed(key, entry(text, calls, scope, speaker_of(payload)))
