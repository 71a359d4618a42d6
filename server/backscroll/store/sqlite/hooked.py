"""Messages that a hook told, on the write path: stored in their place, at most once, and without a digest.

So a run whose transcript is read again, with what hooks told or without, is the run it was. An answer that
a hook told before the transcript did is provisional: when the transcript goes on, it is either the very next
message, and then it is that one, or it gives way to what comes in between and is told again after it.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .. import PreparedMessage, PreparedRun
from ..arrival import Plan
from ..rows import maybe_ms, unpack_id
from . import index, meetings
from .deciding import Decision
from .inserting import Intake
from .placing import Place
from .writing import Writing

Beside = Mapping[int, tuple[PreparedMessage, ...]]
"""What hooks told, by the index of the message that it follows; -1 where none is before it."""


def told_apart(run: PreparedRun) -> tuple[PreparedRun, Beside]:
    """The run as its transcript tells it, and what hooks told besides."""
    if all(message.fact is None for message in run.messages):
        return run, {}
    told: list[PreparedMessage] = []
    beside: dict[int, tuple[PreparedMessage, ...]] = {}
    for message in run.messages:
        if message.fact is None:
            told.append(message)
        else:
            at = len(told) - 1
            beside[at] = (*beside.get(at, ()), message)
    return replace(run, messages=tuple(told)), beside


def decide_hooked(writing: Writing, placed: Place) -> Decision:
    """Of a sending that hooks alone tell: nothing of it is compared with what is known."""
    writing.note_way(placed.session, meetings.way_of(placed.run))
    return Decision(Plan((), (), "fresh" if placed.known is None else "same"), placed.known)


def adopted(intake: Intake, new: Sequence[int]) -> dict[int, int]:
    """Which new messages of a known run are there already, as hooks told them: their seqs, by index.

    What else hooks told for the end of this run is taken back: it waits until the transcript is read so far.
    """
    db, session, run = intake.writing.db, intake.session, intake.run
    provisional = db.execute(
        "SELECT f.fact_key, m.message_key, m.seq, m.text FROM facts AS f "
        "JOIN messages AS m ON m.message_key = f.message_key "
        "WHERE f.user_key = ? AND f.source = ? AND f.session_id IN (?, ?) AND f.kind = 'answer' AND m.run_key = ? "
        "ORDER BY m.seq",
        (
            session.user_key, run.source, session.session_id, session.session_id.removeprefix(f"{run.source}:"),
            intake.row.run_key,
        ),
    ).fetchall()  # fmt: skip
    found: dict[int, int] = {}
    for place, (fact_key, message_key, seq, text) in enumerate(provisional):
        if len(found) == place < len(new) and _is_said_by(run.messages[new[place]], text):
            found[new[place]] = seq
            db.execute("UPDATE facts SET message_key = NULL WHERE fact_key = ?", (fact_key,))
        else:
            db.execute("UPDATE facts SET told = 0, text = ?, message_key = NULL WHERE fact_key = ?", (text, fact_key))
            index.remove(db, [index.entry_of_message(db, message_key)])
            db.execute("DELETE FROM messages WHERE message_key = ?", (message_key,))
            intake.tally.messages -= 1
    return found


def _is_said_by(message: PreparedMessage, text: str) -> bool:
    """Whether it says just this. Both were scrubbed by the same rules; a host may join its parts otherwise."""
    return (
        message.kept and message.role == "assistant" and not message.tool_calls and _bare(message.text) == _bare(text)
    )


def _bare(text: str) -> str:
    return "".join(text.split())


class Hooked:
    """Takes what hooks told of one sending, as the messages that it follows are taken. `finish` when all is stored."""

    def __init__(self, intake: Intake, beside: Beside, *, is_hooked: bool) -> None:
        """`is_hooked`: no transcript tells this run."""
        self._intake = intake
        self._beside = dict(beside)
        self._is_hooked = is_hooked
        self._claimed: dict[str, tuple[int, str]] = {}
        self._told_by: list[tuple[int, int]] = []
        self._has_stored = False

    @property
    def messages(self) -> list[PreparedMessage]:
        """Those that are still to be taken."""
        return [message for following in self._beside.values() for message in following]

    def before(self, new: Iterable[int]) -> None:
        """Take what follows messages that were stored long ago."""
        for at in sorted(self._beside.keys() - set(new)):
            self.after(at)

    def after(self, at: int) -> None:
        """Take what follows the message that was taken just now."""
        for message in self._beside.pop(at, ()):
            self._take(message)

    def _take(self, message: PreparedMessage) -> None:
        assert message.fact is not None
        fact = self._claimed.get(message.fact) or self._claim(message.fact)
        if fact is None or (message.role == "tool" and not self._intake.waits_for(message.tool_call_id)):
            # It was told before, or the transcript told the result after all.
            return
        fact_key, kind = fact
        key = self._intake.take_hooked(message)
        if key is not None:
            self._has_stored = True
            if kind == "answer" or self._is_hooked:
                self._told_by.append((key, fact_key))

    def _claim(self, fact_id: str) -> tuple[int, str] | None:
        """From here on it is told, and its words are the message's; None where it was told before."""
        found = self._intake.writing.db.execute(
            "UPDATE facts SET told = 1, text = NULL, arguments = NULL, run_id = ? "
            "WHERE user_key = ? AND fact_id = ? AND told = 0 RETURNING fact_key, kind",
            (self._intake.row.run_id, self._intake.session.user_key, fact_id),
        ).fetchall()
        if not found:
            return None
        self._claimed[fact_id] = found[0]
        return self._claimed[fact_id]

    def finish(self) -> None:
        """The run reaches as far as what was told of it, and is over where hooks say so."""
        intake = self._intake
        db, row, run = intake.writing.db, intake.row, intake.run
        db.executemany("UPDATE facts SET message_key = ? WHERE fact_key = ?", self._told_by)
        if not self._has_stored:
            return
        db.execute(
            "UPDATE runs SET first_seq = min(coalesce(first_seq, ?1), ?1), last_seq = max(coalesce(last_seq, ?1), ?1) "
            "WHERE run_key = ?2",
            (intake.tally.seq, row.run_key),
        )
        if row.status == "running" and run.status != "running":
            db.execute(
                "UPDATE runs SET status = ?, ended_at = coalesce(?, ended_at) WHERE run_key = ?",
                (run.status, maybe_ms(run.ended_at), row.run_key),
            )
            row.status = run.status


def take_back(db: sqlite3.Connection, user_key: int, run_id: bytes | str) -> None:
    """Delete a run that hooks alone told; its facts wait again, with the words that its messages hold.

    Not where a fork shares them: what it was forked from stays as it is, though it will be told twice then.
    """
    found = db.execute(
        "SELECT run_key, session_key FROM runs AS r WHERE user_key = ? AND run_id = ? "
        "AND NOT EXISTS (SELECT 1 FROM digests AS d WHERE d.run_key = r.run_key) "
        "AND NOT EXISTS (SELECT 1 FROM sessions AS f WHERE f.parent_key = r.session_key)",
        (user_key, run_id),
    ).fetchone()
    if found is None:
        return
    run_key, session_key = found
    db.execute(
        "UPDATE facts SET told = 0, message_key = NULL, run_id = NULL, "
        "text = (SELECT m.text FROM messages AS m WHERE m.message_key = facts.message_key), "
        "arguments = (SELECT c.arguments FROM tool_calls AS c WHERE c.result_key = facts.message_key) "
        "WHERE message_key IN (SELECT message_key FROM messages WHERE session_key = ? AND run_key = ?)",
        (session_key, run_key),
    )
    db.execute(
        "UPDATE facts SET told = 0, run_id = NULL WHERE user_key = ? AND run_id = ? AND kind = 'end'",
        (user_key, unpack_id(run_id)),
    )
    keys = [
        key
        for (key,) in db.execute(
            "SELECT message_key FROM messages WHERE session_key = ? AND run_key = ?", (session_key, run_key)
        ).fetchall()
    ]
    index.remove(db, [index.entry_of_message(db, key) for key in keys])
    calls = db.execute("DELETE FROM tool_calls WHERE session_key = ? AND run_key = ?", (session_key, run_key)).rowcount
    for statement in ("DELETE FROM message_media WHERE message_key = ?", "DELETE FROM messages WHERE message_key = ?"):
        db.executemany(statement, [(key,) for key in keys])
    db.execute("DELETE FROM runs WHERE run_key = ?", (run_key,))
    db.execute(
        "UPDATE sessions SET messages = messages - ?, tool_calls = tool_calls - ?, runs = runs - 1 "
        "WHERE session_key = ?",
        (len(keys), calls, session_key),
    )
