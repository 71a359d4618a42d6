"""Which session a run goes into, and which run of it is the same: made where there is none yet."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ...errors import Conflict, SessionNotFound
from .. import PreparedRun
from ..meeting import RECORDERS, said_in
from ..rows import load, pack_id, unpack_id
from . import meetings
from .inserting import RunRow
from .writing import OpenSession, Writing


class Place(NamedTuple):
    """`run` has the ids under which it is kept. `known` is None for a run that is new by its id."""

    run: PreparedRun
    session: OpenSession
    created: bool
    known: RunRow | None = None


def place(writing: Writing, run: PreparedRun) -> Place | None:
    """None where the session was deleted here, so that an import must not bring it back. Raises Conflict."""
    if run.imported and writing.is_buried(run):
        return None
    named = None if run.session_id is None else writing.session(run.session_id)
    if run.imported and run.session_id is not None and (named is None or named.source != run.source):
        run, named = _beside(writing, run, named)
    known = _known_run(writing, run.run_id)
    if known is not None and run.session_id is None:
        named = writing.session_by_key(known.session_key)
    if known is not None and (named is None or named.session_key != known.session_key):
        raise Conflict(f"Run {run.run_id!r} belongs to another session. Leave session_id out, or use another run_id.")
    if named is not None:
        return Place(run, named, False, known)
    if run.session_id is not None and run.session_id.startswith("#"):
        raise SessionNotFound(run.session_id)
    return Place(run, writing.new_session(run), True)


def run_by_key(db: sqlite3.Connection, run_key: int) -> RunRow:
    return _run_row(db.execute(f"{_RUN} WHERE r.run_key = ?", (run_key,)).fetchone())


def _known_run(writing: Writing, run_id: str | None) -> RunRow | None:
    """The run that has this id, or was sent under it by another way than it came first."""
    if run_id is None:
        return None
    packed = pack_id(run_id)
    found = writing.db.execute(
        "SELECT run_key FROM runs WHERE user_key = ? AND run_id = ? UNION ALL "
        "SELECT run_key FROM tellings WHERE user_key = ? AND run_id = ? LIMIT 1",
        (writing.user_key, packed, writing.user_key, packed),
    ).fetchone()
    return None if found is None else run_by_key(writing.db, found[0])


_RUN = (
    "SELECT r.run_key, r.session_key, r.run_id, r.run_index, r.status, r.agent, r.metrics, "
    "(SELECT count(*) FROM digests AS d WHERE d.run_key = r.run_key), r.history_count, r.history_digest, r.first_seq, "
    "r.last_seq, EXISTS (SELECT 1 FROM tellings AS t WHERE t.run_key = r.run_key) FROM runs AS r"
)


def _run_row(row: Sequence[Any]) -> RunRow:
    key, session_key, run_id, run_index, status, agent, metrics, received, count, digest, first_seq, last_seq, met = row
    return RunRow(
        key, session_key, unpack_id(run_id), run_index, status, agent, load(metrics) or {}, received, count, digest,
        first_seq, last_seq, bool(met),
    )  # fmt: skip


def _beside(writing: Writing, run: PreparedRun, named: OpenSession | None) -> tuple[PreparedRun, OpenSession | None]:
    """An import whose id another source's session has, or had: it goes into that one where they are one
    conversation, else into a session `source:id`, and so on every later reading."""
    beside = f"{run.source}:{run.session_id}"
    there = writing.session(beside)
    if there is None and (named is None or _is_one_conversation(writing.db, named, run)):
        return run, named
    aside = replace(
        run,
        session_id=beside,
        run_id=None if run.run_id is None else f"{run.source}:{run.run_id}",
        parent_run_id=None if run.parent_run_id is None else f"{run.source}:{run.parent_run_id}",
    )
    return aside, there


def _is_one_conversation(db: sqlite3.Connection, session: OpenSession, run: PreparedRun) -> bool:
    way = meetings.way_of(run)
    if way in session.ways:
        return True
    if session.source in RECORDERS and not any(other.imported for other in session.ways):
        # An agent recorded it under its host's id, and this may be that host.
        return True
    said = said_in(run)
    return meetings.find(db, session, way, run, said, range(len(said))) is not None
