"""Which session a run goes into, and which run of it is the same: made where there is none yet."""

from dataclasses import replace
from typing import NamedTuple

from ...errors import Conflict, SessionNotFound
from .. import PreparedRun
from ..meeting import RECORDERS, said_in
from . import meetings
from .ground import Ground, RunRow
from .sessions import OpenSession, Sessions, newest_at


class Place(NamedTuple):
    """`run` has the ids under which it is kept. `known` is None for a run that is new by its id."""

    run: PreparedRun
    session: OpenSession
    created: bool
    known: RunRow | None = None


async def place(ground: Ground, sessions: Sessions, run: PreparedRun) -> Place | None:
    """None where the session was deleted here, so that an import must not bring it back. Raises Conflict."""
    if run.imported and run.tombstones and await ground.is_buried(run.tombstones, newest_at(run)):
        return None
    named = None if run.session_id is None else await sessions.named(run.session_id)
    if run.imported and run.session_id is not None and (named is None or named.source != run.source):
        run, named = await _beside(ground, sessions, run, named)
    known = None if run.run_id is None else await ground.run(run.run_id)
    if known is not None and run.session_id is None:
        named = await sessions.by_key(known.session_key)
    if known is not None and (named is None or named.session_key != known.session_key):
        raise Conflict(f"Run {run.run_id!r} belongs to another session. Leave session_id out, or use another run_id.")
    if named is not None:
        return Place(run, named, False, known)
    if run.session_id is not None and run.session_id.startswith("#"):
        raise SessionNotFound(run.session_id)
    return Place(run, sessions.new(run), True)


def aside(source: str, run_or_session_id: str) -> str:
    """The id under which an import is kept whose own is another source's."""
    return f"{source}:{run_or_session_id}"


async def _beside(
    ground: Ground, sessions: Sessions, run: PreparedRun, named: OpenSession | None
) -> tuple[PreparedRun, OpenSession | None]:
    """An import whose id another source's session has, or had: it goes into that one where they are one
    conversation, else into a session `source:id`, and so on every later reading."""
    assert run.session_id is not None
    beside = aside(run.source, run.session_id)
    there = await sessions.named(beside)
    if there is None and (named is None or await _is_one_conversation(ground, named, run)):
        return run, named
    kept = replace(
        run,
        session_id=beside,
        run_id=None if run.run_id is None else aside(run.source, run.run_id),
        parent_run_id=None if run.parent_run_id is None else aside(run.source, run.parent_run_id),
    )
    return kept, there


async def _is_one_conversation(ground: Ground, session: OpenSession, run: PreparedRun) -> bool:
    way = meetings.way_of(run)
    if way in session.ways:
        return True
    if session.source in RECORDERS and not any(other.imported for other in session.ways):
        # An agent recorded it under its host's id, and this may be that host.
        return True
    said = said_in(run)
    return await meetings.find(ground, session, way, run, said, range(len(said))) is not None
