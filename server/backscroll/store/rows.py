"""Rows become values here, and ids and times take their stored form: shared by both stores."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from ..models import Media, Run, Session, Summary
from ..text import compact_json

NEWEST = (1 << 62) - 1
"""Above any seq: a session's own messages have no upper end."""

WHOLE = 1 << 30
"""More characters than any text has, for substr: SQLite counts them in 32 bits."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """UTC milliseconds, whole: a float would be off by one now and then."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def from_ms(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def maybe_ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def maybe_from_ms(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def ascii_lower(text: str) -> str:
    """As SQLite's `lower` does it: letters beyond ASCII stay, or they would never be found."""
    return text.translate(_LOWER)


def pack_id(text: str) -> bytes | str:
    """A canonical UUID as its 16 bytes, any other id as it is."""
    if len(text) == 36 and text[8] == "-":
        try:
            uuid = UUID(text)
        except ValueError:
            return text
        return uuid.bytes if str(uuid) == text else text
    return text


@lru_cache(maxsize=1024)  # a run's id is asked for with each of its messages
def unpack_id(stored: bytes | str) -> str:
    return str(UUID(bytes=stored)) if isinstance(stored, bytes) else stored


def dump(value: Any) -> str:
    return compact_json(value)


def maybe_dump(value: Any) -> str | None:
    return None if value is None else dump(value)


def load(text: str | None) -> Any:
    return None if text is None else json.loads(text)


class SessionRow(NamedTuple):
    session_key: int
    user_key: Any
    """An integer in SQLite, a UUID in Postgres."""
    session_id: bytes | str
    number: int
    title: str | None
    renamed: int
    opening: str | None
    project: str | None
    source: str
    agent: str | None
    state: str
    metadata: str
    metrics: str
    archived: int
    parent_key: int | None
    parent_number: int | None
    fork_seq: int | None
    messages: int
    history_messages: int
    runs: int
    tool_calls: int
    last_seq: int
    last_run_index: int
    last_message_key: int
    system_digest: bytes | None
    summary_error: str | None
    created_at: int
    updated_at: int
    last_activity_at: int

    @property
    def handle(self) -> str:
        return f"#{self.number}"

    def value(self) -> Session:
        return Session(
            session_id=unpack_id(self.session_id),
            session=self.handle,
            number=self.number,
            title=self.title,
            opening=self.opening,
            project=self.project,
            source=self.source,
            agent=self.agent,
            state=load(self.state),
            metadata=load(self.metadata),
            metrics=load(self.metrics),
            archived=bool(self.archived),
            forked_from=None if self.parent_number is None else f"#{self.parent_number}",
            fork_seq=self.fork_seq,
            messages=self.messages,
            history_messages=self.history_messages,
            runs=self.runs,
            tool_calls=self.tool_calls,
            last_seq=self.last_seq,
            summary_error=self.summary_error,
            created_at=from_ms(self.created_at),
            updated_at=from_ms(self.updated_at),
            last_activity_at=from_ms(self.last_activity_at),
        )


class Stretch(NamedTuple):
    """A part of a session's messages and the row that holds them: `low` < seq <= `high`."""

    session_key: int
    number: int
    low: int
    high: int


RUN_COLUMNS = (
    "run_id, run_index, parent_run_id, status, agent, model, metrics, metadata, started_at, ended_at, created_at"
)


def run_of(row: Sequence[Any]) -> Run:
    run_id, run_index, parent, status, agent, model, metrics, metadata, started_at, ended_at, created_at = row
    return Run(
        run_id=unpack_id(run_id),
        run_index=run_index,
        parent_run_id=None if parent is None else unpack_id(parent),
        status=status,
        agent=agent,
        model=model,
        metrics=load(metrics),
        metadata=load(metadata),
        started_at=maybe_from_ms(started_at),
        ended_at=maybe_from_ms(ended_at),
        created_at=from_ms(created_at),
    )


def summary_of(row: Sequence[Any], last_seq: int) -> Summary:
    version, summary, topics, made_by, first_seq, covered, digest, created_at = row
    return Summary(
        version=version,
        summary=summary,
        topics=tuple(load(topics)),
        made_by=made_by,
        first_seq=first_seq,
        last_seq=covered,
        digest=digest.hex(),
        stale=last_seq > covered,
        created_at=from_ms(created_at),
    )


SUMMARY_COLUMNS = "version, summary, topics, made_by, first_seq, last_seq, digest, created_at"


def media_of_row(sha256: bytes, mime_type: str, size_bytes: int, url: str | None) -> Media:
    media_id = sha256.hex()
    return Media(media_id=media_id, mime_type=mime_type, size_bytes=size_bytes, uri=url or f"media://{media_id}")
