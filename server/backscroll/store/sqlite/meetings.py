"""Where the other telling of a run is found, and how the two are kept as one. What they share, tells meeting.py."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from ...ids import uuid7
from .. import PreparedMessage, PreparedRun
from ..meeting import OPENING_BYTES, Meeting, Said, Way, combined, meet, opening_of, section_start
from ..rows import dump, load, pack_id
from .inserting import RunRow
from .writing import OpenSession, stored_source

ALL = 1 << 40
"""More than any run says: who told a run first goes on with another."""

CANDIDATES = 16
"""Runs of a session that begin alike and are looked at, on either side of the newest that this way has told."""


class Met(NamedTuple):
    """A run that is here already, and what of it has come again."""

    run_key: int
    meeting: Meeting
    is_whole: bool
    """Whether it is all of it, and no more."""


# Ways


def way_of(run: PreparedRun) -> Way:
    return Way(run.source, run.imported)


def note_restored(db: sqlite3.Connection, session_key: int) -> None:
    """What an archive does not carry: by what its runs are found, and in which ways they came."""
    db.execute(
        "UPDATE runs SET opening = (SELECT substr(d.digest, 1, ?) FROM digests AS d WHERE d.run_key = runs.run_key "
        "AND d.is_system = 0 AND d.digest <> x'' ORDER BY d.position LIMIT 1) WHERE session_key = ?",
        (OPENING_BYTES, session_key),
    )
    db.execute(
        "INSERT OR IGNORE INTO session_ways (session_key, source, imported) "
        "SELECT DISTINCT session_key, source, imported FROM runs WHERE session_key = ?",
        (session_key,),
    )


# Finding


def find(
    db: sqlite3.Connection,
    session: OpenSession,
    way: Way,
    run: PreparedRun,
    said: Sequence[Said],
    part: Sequence[int],
) -> Met | None:
    """The run of this session that came another way and is what is sent, or begins it, or goes on beyond it.

    `part` are the indexes of what is sent. Turns come in the same order both ways, so the first one after those
    that this way has told goes before.
    """
    opening = opening_of(run, part)
    others = [other for other in session.ways if other.may_meet(way)]
    if opening is None or not others:
        return None
    newest = _newest_told(db, session, way)
    best: Met | None = None
    for run_key in _candidates(db, session, way, others, opening, newest):
        if best is not None and run_key < newest:
            break
        met = meeting_with(db, run_key, run, said, part)
        if met is not None and (best is None or met.meeting.shared > best.meeting.shared):
            best = met
            if met.is_whole:
                break
    return best or _section(db, way, run, said, part, newest)


def meeting_with(
    db: sqlite3.Connection, run_key: int, run: PreparedRun, said: Sequence[Said], part: Sequence[int], start: int = 0
) -> Met | None:
    """Whether what is sent and a known run are one, from its spoken message `start` on."""
    known = said_of(db, run_key)
    (status,) = db.execute("SELECT status FROM runs WHERE run_key = ?", (run_key,)).fetchone()
    sent = [said[i] for i in part]
    found = meet(sent, known, start=start, sent_grows=run.status == "running", known_grows=status == "running")
    if found is None:
        return None
    if found.doubtful is not None:
        which = longer_of(db, run_key, run.messages[part[found.doubtful[0]]], found.doubtful[1])
        if which is None:
            return None
        found = found if which == "sent" else found._replace(doubtful=None)
    whole = not found.new and found.doubtful is None and found.upto == sum(one.kind == "spoken" for one in known)
    return Met(run_key, found, whole)


def _newest_told(db: sqlite3.Connection, session: OpenSession, way: Way) -> int:
    (newest,) = db.execute(
        "SELECT max(run_key) FROM tellings WHERE session_key = ? AND source = ? AND imported = ?",
        (session.session_key, way.source, int(way.imported)),
    ).fetchone()
    return newest or 0


def _candidates(
    db: sqlite3.Connection, session: OpenSession, way: Way, others: Sequence[Way], opening: bytes, newest: int
) -> Iterator[int]:
    for beyond, order in ((">", "ASC"), ("<", "DESC")):
        for other in others:
            yield from (
                run_key
                for (run_key,) in db.execute(
                    "SELECT run_key FROM (SELECT run_key FROM runs WHERE session_key = ? AND imported = ? "
                    f"AND source = ? AND opening = ? AND run_key {beyond} ? ORDER BY run_key {order} "
                    f"LIMIT {CANDIDATES}) AS r "
                    "WHERE NOT EXISTS (SELECT 1 FROM tellings AS t WHERE t.run_key = r.run_key AND t.source = ? "
                    f"AND t.imported = ?) ORDER BY run_key {order}",
                    (
                        session.session_key, int(other.imported), stored_source(session.source, other.source), opening,
                        newest, way.source, int(way.imported),
                    ),
                ).fetchall()
            )  # fmt: skip


def _section(
    db: sqlite3.Connection, way: Way, run: PreparedRun, said: Sequence[Said], part: Sequence[int], newest: int
) -> Met | None:
    """The newest run that this way has told a part of, if what is sent is its next part."""
    if not newest:
        return None
    (told,) = db.execute(
        "SELECT max(upto) FROM tellings WHERE run_key = ? AND source = ? AND imported = ?",
        (newest, way.source, int(way.imported)),
    ).fetchone()
    start = section_start([said[i] for i in part], said_of(db, newest), told)
    return None if start is None else meeting_with(db, newest, run, said, part, start)


def newest_untold(db: sqlite3.Connection, session: OpenSession, way: Way) -> int | None:
    """The session's newest run, if it came another way and this way has not told it."""
    row = db.execute(
        "SELECT run_key, source, imported FROM runs WHERE session_key = ? ORDER BY run_index DESC LIMIT 1",
        (session.session_key,),
    ).fetchone()
    if row is None or not Way(row[1] or session.source, bool(row[2])).may_meet(way):
        return None
    told = db.execute(
        "SELECT 1 FROM tellings WHERE run_key = ? AND source = ? AND imported = ?",
        (row[0], way.source, int(way.imported)),
    ).fetchone()
    return None if told else int(row[0])


def said_of(db: sqlite3.Connection, run_key: int) -> list[Said]:
    """What a run received, in the order in which it came. What policy dropped was of the tools."""
    return [
        Said(digest, "system" if is_system else "tool" if is_tool else "spoken")
        for digest, is_system, is_tool in db.execute(
            "SELECT d.digest, d.is_system, d.stored = 0 OR m.role = 'tool' OR "
            "EXISTS (SELECT 1 FROM tool_calls AS c WHERE c.message_key = m.message_key) "
            "FROM digests AS d JOIN runs AS r ON r.run_key = d.run_key "
            "LEFT JOIN messages AS m ON d.stored = 1 AND m.session_key = r.session_key AND m.seq = d.seq "
            "WHERE d.run_key = ? ORDER BY d.position",
            (run_key,),
        )
    ]


def longer_of(
    db: sqlite3.Connection, run_key: int, sent: PreparedMessage, position: int
) -> Literal["sent", "known"] | None:
    """Which of two tellings of an assistant's text holds the other's; None where they are two."""
    row = db.execute(
        "SELECT m.text FROM digests AS d JOIN runs AS r ON r.run_key = d.run_key "
        "JOIN messages AS m ON m.session_key = r.session_key AND m.seq = d.seq "
        "WHERE d.run_key = ? AND d.position = ? AND d.stored = 1 AND m.role = 'assistant'",
        (run_key, position),
    ).fetchone()
    if row is None or sent.role != "assistant":
        return None
    (known,) = row
    if sent.text.startswith(known):
        return "sent"
    return "known" if known.startswith(sent.text) and not sent.tool_calls else None


# Tellings


def note_telling(db: sqlite3.Connection, session: OpenSession, row: RunRow, run: PreparedRun, upto: int) -> None:
    """From now on the run's own id and that of the sending both lead to it."""
    db.execute(
        "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
        "SELECT user_key, run_id, run_key, session_key, iif(source = '', ?, source), imported, metrics, ? "
        "FROM runs WHERE run_key = ? ON CONFLICT DO NOTHING",
        (session.source, ALL, row.run_key),
    )
    db.execute(
        "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session.user_key, pack_id(run.run_id or uuid7()), row.run_key, session.session_key, run.source,
            int(run.imported), dump(run.metrics), upto,
        ),
    )  # fmt: skip


def metrics_with(db: sqlite3.Connection, session: OpenSession, row: RunRow, run: PreparedRun) -> dict[str, Any]:
    """The metrics of a run that came more than one way, with what this sending tells of them."""
    if run.run_id is not None:
        db.execute(
            "UPDATE tellings SET metrics = ? WHERE user_key = ? AND run_id = ?",
            (dump(run.metrics), session.user_key, pack_id(run.run_id)),
        )
    told = db.execute("SELECT imported, metrics FROM tellings WHERE run_key = ?", (row.run_key,)).fetchall()
    return combined((bool(imported), load(metrics) or {}) for imported, metrics in told)
