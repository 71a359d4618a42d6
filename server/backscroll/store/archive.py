"""A session on its way from one database to another: its rows as values, and each value as a line of JSON.

An archive of a session is its head, its runs, its messages in order (calls that left no message among
them, media before the first message that shows them), its summaries. A fork's archive holds its own
rows only; what it shares is in its parent's.

What cannot be carried: digests are keyed to one database, so they are made anew from the stored text,
and those of messages that were not stored are unknown (see `arrival.UNKNOWN`). Ledgers of imports,
tombstones and tokens belong to the database and stay.
"""

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

from ..models import CallStatus, Role, RunStatus, iso
from ..text import clean_text

_MOST = 2**53
Count = Annotated[int, Field(ge=0, le=_MOST)]
Place = Annotated[int, Field(ge=1, le=_MOST)]
Id = Annotated[str, Field(min_length=1, max_length=512)]
SessionId = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^#]")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
MediaId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Json = dict[str, Any]

_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSession:
    """A session's own row. `forked_from` is the parent's id. The counts tell what must follow."""

    __pydantic_config__ = _STRICT

    session_id: SessionId
    number: Place
    title: str | None = None
    opening: str | None = None
    project: str | None = None
    source: Id
    agent: str | None = None
    state: Json | None = None
    metadata: Json | None = None
    metrics: Json | None = None
    archived: bool = False
    forked_from: SessionId | None = None
    fork_seq: Count | None = None
    runs: Count = 0
    messages: Count = 0
    tool_calls: Count = 0
    summaries: Count = 0
    last_seq: Count = 0
    last_run_index: Count = 0
    created_at: AwareDatetime
    updated_at: AwareDatetime
    last_activity_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedTelling:
    """What one of several ways in which a run came calls it, and told of it."""

    __pydantic_config__ = _STRICT

    run_id: Id
    source: Id
    imported: bool
    metrics: Json | None = None
    upto: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """`dropped` are (position, seq before it) of messages that the run received and did not store.

    `source` is None where it is the session's. `imported` is None in archives that did not tell it.
    """

    __pydantic_config__ = _STRICT

    run_id: Id
    run_index: Place
    parent_run_id: Id | None = None
    status: RunStatus
    agent: str | None = None
    model: str | None = None
    metrics: Json | None = None
    metadata: Json | None = None
    first_seq: Count | None = None
    last_seq: Count | None = None
    dropped: tuple[tuple[Count, Count], ...] = ()
    source: Id | None = None
    imported: bool | None = None
    tellings: tuple[ArchivedTelling, ...] = ()
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    created_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedCall:
    """A call of a message, in the order it made them; or one whose message was not stored.

    `run_index` and `ordinal` belong to the latter. `called_at` is None where it is the message's time.
    """

    __pydantic_config__ = _STRICT

    run_index: Place | None = None
    ordinal: Count | None = None
    tool_call_id: str = ""
    tool_name: str
    arguments: str | None = None
    status: CallStatus
    duration_ms: Annotated[int, Field(ge=-_MOST, le=_MOST)] | None = None
    result_seq: Place | None = None
    called_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedMessage:
    """A message. `position` is its place among all that its run received; None for copies of history and
    for what Backscroll put in itself. `digest` is of the database it comes from or goes to, and not in the line.
    """

    __pydantic_config__ = _STRICT

    seq: Place
    run_index: Place
    position: Count | None = None
    role: Role
    from_history: bool = False
    text: str = ""
    reasoning: str | None = None
    media: tuple[MediaId, ...] = ()
    tool_calls: tuple[ArchivedCall, ...] = ()
    tool_call_id: str | None = None
    tool_name: str | None = None
    is_error: bool = False
    payload: Json | None = None
    created_at: AwareDatetime
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedMedia:
    """Bytes, or the URL where they were left. In a line `data` is base64."""

    __pydantic_config__ = _STRICT

    media_id: MediaId
    mime_type: str
    data: bytes | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSummary:
    __pydantic_config__ = _STRICT

    version: Place
    summary: str
    topics: tuple[str, ...] = ()
    made_by: str
    first_seq: Count
    last_seq: Count
    digest: Digest
    created_at: AwareDatetime


ArchivedRow = ArchivedSession | ArchivedRun | ArchivedMessage | ArchivedCall | ArchivedMedia | ArchivedSummary

_KINDS: Mapping[str, type[ArchivedRow]] = {
    "session": ArchivedSession,
    "run": ArchivedRun,
    "message": ArchivedMessage,
    "tool_call": ArchivedCall,
    "media": ArchivedMedia,
    "summary": ArchivedSummary,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of an archive; the counts are of what it added.

    `known`: the session is here with all that the archive holds. `extended`: it was here in part.
    `deleted`: it was deleted here, and stays so.
    """

    outcome: Literal["restored", "extended", "known", "deleted"]
    session: str = ""
    runs: int = 0
    messages: int = 0
    tool_calls: int = 0
    secrets: dict[str, int] = field(default_factory=dict, kw_only=True)
    """How many secrets of which kind were redacted on its way in."""


def line_of(row: ArchivedRow) -> str:
    """One line of JSON, newline included; fields that say nothing are left out, the order is fixed."""
    told = {"type": _NAMES[type(row)], **_told(row)}
    line = json.dumps(told, ensure_ascii=False, separators=(",", ":"), default=_plain)
    # JSON lets these stand in a string, but many a reader of lines takes them for the end of one.
    return (line if line.isascii() else _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", line)) + "\n"


def row_of(value: Json) -> ArchivedRow:
    """The value that a line tells. Raises ValueError, whose words hold nothing of the line."""
    told = dict(value)
    kind = told.pop("type", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"no known type; known are {', '.join(_KINDS)}")
    if kind == "message":
        told.pop("digest", None)
    if kind == "media" and isinstance(told.get("data"), str):
        told["data"] = _decoded(told["data"])
    try:
        row: ArchivedRow = _adapter(kind).validate_python(_clean(told))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"][:3])
        raise ValueError(f"{kind}.{place[:80]}: {first['msg'][:200]}") from None
    if isinstance(row, ArchivedMedia):
        _check_content(row)
    return row


def media_digest(data: bytes | None, url: str | None) -> bytes:
    """What a medium is known by: SHA-256 of its bytes, or of its URL where only that was given."""
    return sha256(b"url:" + (url or "").encode() if data is None else data).digest()


def _told(row: Any) -> Json:
    return {
        each.name: value
        for each in fields(row)
        if each.name != "digest" or isinstance(row, ArchivedSummary)
        if (value := getattr(row, each.name)) != each.default
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if is_dataclass(value):
        return _told(value)
    raise TypeError(f"no line can hold a {type(value).__name__}")


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[kind])


def _decoded(data: str) -> bytes:
    try:
        return b64decode(data, validate=True)
    except (Base64Error, ValueError):
        raise ValueError("media.data: not base64") from None


def _check_content(media: ArchivedMedia) -> None:
    if media.data is None and media.url is None:
        raise ValueError("media: neither data nor url")
    if media_digest(media.data, media.url).hex() != media.media_id:
        raise ValueError("media.data: not what media_id says it is")


def _clean(value: Any, depth: int = 0) -> Any:
    """Columns can hold no NUL; JSON columns keep it as an escape, so they are left as they are."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict) and depth < 2:
        json_columns = ("state", "metadata", "metrics", "payload")
        return {name: inner if name in json_columns else _clean(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner, depth + 1) for inner in value]
    return value
