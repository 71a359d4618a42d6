"""What an archive adds to the session that is here already, if it may: pure decisions, shared by both stores."""

from collections.abc import Collection
from hashlib import blake2b
from typing import NamedTuple

from ..errors import Conflict, InvalidArgument
from .archive import ArchivedMessage, ArchivedRun, ArchivedSession
from .rows import SessionRow, to_ms


class Told(NamedTuple):
    """A message that is here, as far as it has to be compared."""

    role: str
    chars: int
    digest: bytes


def told_of(role: str, text: str) -> Told:
    return Told(role, len(text), blake2b(text.encode(), digest_size=16).digest())


def holds_all(
    here: SessionRow, known: Collection[str], summaries: int, head: ArchivedSession, runs: Collection[ArchivedRun]
) -> bool:
    """Whether nothing in the archive is new here. `known` are the ids of the runs that are here.

    Raises Conflict where each has what the other lacks.
    """
    mine, told = set(known), {run.run_id for run in runs}
    newer = to_ms(head.updated_at) > here.updated_at or head.summaries > summaries
    if told <= mine and head.last_seq <= here.last_seq:
        if told < mine or head.last_seq < here.last_seq or not newer:
            return True
    elif not (mine <= told and head.last_seq >= here.last_seq):
        raise diverged(head.session_id)
    return False


def compare(said: dict[int, Told], message: ArchivedMessage) -> None:
    """What stood here must come again, and is taken out of `said`; what an assistant said may have grown.

    Raises Conflict.
    """
    if (old := said.pop(message.seq, None)) is None:
        return
    may_grow = message.role == "assistant"
    told = told_of(message.role, message.text[: old.chars] if may_grow else message.text)
    if told != old:
        raise Conflict(
            f"Message {message.seq} of the file's session is not what is here under the same ids. Nothing was "
            "changed; import into another database, or delete the one here and import with --restore."
        )


def diverged(session_id: str) -> Conflict:
    return Conflict(
        f"Session {session_id!r} is here and went on differently. It was left as it is here; to have the file's, "
        "import into another database, or delete this one and import with --restore."
    )


def run_elsewhere(run_id: str) -> Conflict:
    return Conflict(
        f"Run {run_id!r} is here in another session, so this one was left out. "
        "Delete that session first, or import into another database."
    )


def no_parent(head: ArchivedSession) -> Conflict:
    return Conflict(
        f"Session {head.session_id!r} is a fork of {head.forked_from!r}, which is not here with the messages that "
        "both share. Export the two together and import that."
    )


def out_of_order() -> InvalidArgument:
    return InvalidArgument("An archive has one head, then its runs, then all else. Export it anew.")


def no_media() -> InvalidArgument:
    return InvalidArgument("An archive must hold the media of its messages before them. Export it anew.")


def no_time() -> InvalidArgument:
    return InvalidArgument("A call without its message must tell when it was made. Export it anew.")


def no_run(run_index: int | None) -> InvalidArgument:
    return InvalidArgument(f"An archive must hold run {run_index} before what it said. Export it anew.")
