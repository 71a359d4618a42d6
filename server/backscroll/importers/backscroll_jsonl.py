"""Backscroll's own export: JSON lines that hold sessions as they are, to be restored and not recorded anew.

A file is read twice: once to see that every line can be read and where each session lies, once more,
session by session, while it is restored. So a broken line costs the one session that it is in, and
memory holds a session's ids, never its text.

The recording policies do not apply: what is in an export passed them when it was recorded.
"""

import os
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from backscroll import policy
from backscroll.errors import TranscriptError
from backscroll.importers.batches import FailedLine
from backscroll.importers.jsonl import json_object
from backscroll.marks import OPENING
from backscroll.models import NewMessage, NewToolCall
from backscroll.recording.digests import digest_of
from backscroll.store.archive import (
    ArchivedCall,
    ArchivedMedia,
    ArchivedMessage,
    ArchivedRow,
    ArchivedRun,
    ArchivedSession,
    ArchivedSummary,
    row_of,
)
from backscroll.store.arrival import UNKNOWN

FORMAT = "jsonl"
VERSION = 1
HEADER = '{"type":"backscroll","version":1}\n'

MAX_LINE_BYTES = 1 << 30
"""A medium of the size that settings allow by default takes 43 MB; what is longer than this is no line."""

# What the policies leave where they took something away: what was sent is then not known here.
_MARKS = (policy.PRIVATE, policy.RECALLED, "[media removed: ", OPENING)


@dataclass(slots=True)
class Section:
    """Where a session lies in the file: its head at `at`, its rows in the bytes from `start` to `end`.

    `head` is without what only restoring needs. `error` is the first thing found wrong with the session.
    """

    head: ArchivedSession
    line: int
    at: int
    start: int
    end: int
    error: FailedLine | None = None
    messages: int = 0
    tool_calls: int = 0
    summaries: int = 0
    last_seq: int = 0
    received: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By run, while the session is read: its messages that have a place in it, and the last place."""

    @property
    def has_all(self) -> bool:
        head = self.head
        found = (len(self.received), self.messages, self.tool_calls, self.summaries)
        return found == (head.runs, head.messages, head.tool_calls, head.summaries)

    def take(self, row: ArchivedRow, media: Container[str]) -> None:
        """Book a row. Raises ValueError where it does not fit what came before."""
        match row:
            case ArchivedRun():
                if self.messages or self.tool_calls or row.run_index in self.received:
                    raise ValueError("a run out of place, or there twice")
                last = max((position for position, _ in row.dropped), default=-1)
                self.received[row.run_index] = (len(row.dropped), last)
            case ArchivedMessage():
                self._take_message(row, media)
            case ArchivedCall():
                if row.run_index not in self.received or row.called_at is None:
                    raise ValueError("a call without its run or its time")
                self.tool_calls += 1
            case ArchivedSummary():
                self.summaries += 1

    def _take_message(self, message: ArchivedMessage, media: Container[str]) -> None:
        if message.run_index not in self.received or message.seq <= self.last_seq:
            raise ValueError("a message out of order, or without its run")
        if any(media_id not in media for media_id in message.media):
            raise ValueError("a message whose media do not stand before it")
        self.last_seq = message.seq
        self.messages += 1
        self.tool_calls += 0 if message.from_history else len(message.tool_calls)
        if message.position is not None:
            count, last = self.received[message.run_index]
            self.received[message.run_index] = (count + 1, max(last, message.position))

    def close(self) -> str | None:
        """What the session lacks to be whole, if anything."""
        whole = self.has_all
        gaps = any(count != last + 1 for count, last in self.received.values())
        self.received.clear()
        self.head = replace(self.head, title=None, opening=None, state=None, metadata=None, metrics=None)
        if not whole:
            return "the session is not whole: its lines are fewer or more than this one says"
        return "the session is not whole: a run lacks a message, or has one twice" if gaps else None


@dataclass(slots=True)
class Contents:
    """What a file holds: sessions in its order, media by id with where their lines begin.

    `kept` and `skipped` count lines; `failed` has one line for each session that is not whole.
    """

    sections: list[Section] = field(default_factory=list)
    media: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    skipped: int = 0
    failed: list[FailedLine] = field(default_factory=list)

    def fail(self, section: Section | None, failure: FailedLine) -> None:
        self.failed.append(failure)
        if section is not None:
            section.error = failure

    def close(self, section: Section | None) -> None:
        if section is not None and (lack := section.close()) and section.error is None:
            self.fail(section, FailedLine(section.line, lack))


def recognises(path: Path) -> bool:
    """By its first line."""
    with suppress(OSError, ValueError):
        if path.is_file():
            with path.open("rb") as file:
                return json_object(file.readline(4_096)).get("type") == "backscroll"
    return False


def find(folder: Path) -> Iterator[Path]:
    """Every export below the folder, in a fixed order."""
    for at, folders_below, files in os.walk(folder):
        folders_below.sort()
        for name in sorted(files):
            path = Path(at, name)
            if path.suffix == ".jsonl" and recognises(path):
                yield path


def survey(file: BinaryIO, name: str) -> Contents:
    """The first reading. Raises TranscriptError where this is no export, or one of a newer Backscroll."""
    file.seek(0)
    _check_header(file.readline(4_096), name)
    contents = Contents(kept=1)
    section: Section | None = None
    end, number = file.tell(), 1
    while raw := file.readline(MAX_LINE_BYTES):
        start, end, number = end, end + len(raw), number + 1
        if raw.isspace():
            continue
        try:
            row = _row(raw)
            if isinstance(row, ArchivedSession):
                contents.close(section)
                section = Section(row, number, start, end, end)
                contents.sections.append(section)
            elif isinstance(row, ArchivedMedia):
                contents.media.setdefault(row.media_id, start)
            elif section is None or section.error:
                contents.skipped += 1
                continue
            else:
                section.take(row, contents.media)
            contents.kept += 1
        except ValueError as error:
            if section is not None and section.has_all:
                # Whatever this was, it was not of the session before: most likely the next one's head.
                contents.close(section)
                section = None
            if section is None or section.error is None:
                contents.fail(section, FailedLine(number, str(error)))
        if section is not None:
            section.end = end
    contents.close(section)
    return contents


def head(file: BinaryIO, section: Section) -> ArchivedSession:
    """A session's own row, whole. Raises TranscriptError where the file is no longer what it was."""
    with _unchanged(section):
        file.seek(section.at)
        row = _row(file.readline(MAX_LINE_BYTES))
        if not isinstance(row, ArchivedSession):
            raise ValueError("no session")
        return row


def rows(file: BinaryIO, section: Section, contents: Contents, digest_key: bytes) -> Iterator[ArchivedRow]:
    """The second reading, of one session that was found whole: its rows as the store wants them.

    Raises TranscriptError where the file is no longer what it was.
    """
    supplied: set[str] = set()
    start = section.start
    with _unchanged(section):
        while start < section.end:
            file.seek(start)
            raw = file.readline(MAX_LINE_BYTES)
            if not raw:
                raise ValueError("the file ends")
            start += len(raw)
            if raw.isspace():
                continue
            row = _row(raw)
            if isinstance(row, ArchivedMessage):
                for media_id in row.media:
                    if media_id not in supplied:
                        supplied.add(media_id)
                        file.seek(contents.media[media_id])
                        yield _row(file.readline(MAX_LINE_BYTES))
                row = replace(row, digest=digest_of_archived(row, digest_key))
            if not isinstance(row, ArchivedMedia):
                yield row


@contextmanager
def _unchanged(section: Section) -> Iterator[None]:
    """Told at once: on the database's thread, where rows are read, an OSError would seem its own file's."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise TranscriptError(f"The export changed while it was read, near line {section.line}. Try again.") from error


def _check_header(raw: bytes, name: str) -> None:
    try:
        header = json_object(raw)
    except ValueError:
        header = {}
    if header.get("type") != "backscroll":
        raise TranscriptError(
            f"{name} does not begin as Backscroll's exports do. Make one with `backscroll export -o FILE`."
        )
    version = header.get("version")
    if version != VERSION:
        raise TranscriptError(
            f"{name} is an export of version {str(version)[:20]}; this Backscroll reads version {VERSION}. "
            "Upgrade Backscroll."
        )


def _row(raw: bytes) -> ArchivedRow:
    if not raw.endswith(b"\n") and len(raw) >= MAX_LINE_BYTES:
        raise ValueError("longer than a line may be")
    return row_of(json_object(raw))


def digest_of_archived(message: ArchivedMessage, key: bytes) -> bytes:
    """Made anew from what was stored; UNKNOWN where that is not all that was sent."""
    texts: list[Any] = [message.text, *(call.arguments for call in message.tool_calls)]
    if any(mark in text for text in texts if text for mark in _MARKS):
        return UNKNOWN
    calls = tuple(NewToolCall(tool_name=call.tool_name, arguments=call.arguments or "") for call in message.tool_calls)
    return digest_of(NewMessage(role=message.role, text=message.text, tool_calls=calls), key)
