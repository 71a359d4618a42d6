"""What Backscroll asks of a database whose texts are redacted: all that a user's rows say, and to say it otherwise.

What is a secret is not the store's business. It keeps how many of which kind were taken out, before storing and
since, and never which.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

Table = Literal["messages", "tool_calls", "summaries", "runs", "sessions", "media", "facts"]

TABLES: tuple[Table, ...] = get_args(Table)
"""In the order in which they are best gone through: a session's opening follows its first message."""

JSON_COLUMNS = frozenset({"payload", "arguments", "topics", "metadata", "metrics", "state"})
"""Columns of JSON, which must stay so. What came as a call's arguments may be any text."""

Place = tuple[int, ...]


class Columns(NamedTuple):
    """The columns that name a row of a table, and those of its texts."""

    place: tuple[str, ...]
    texts: tuple[str, ...]


COLUMNS: Mapping[Table, Columns] = {
    "messages": Columns(("message_key",), ("text", "reasoning", "tool_name", "payload")),
    "tool_calls": Columns(("call_key",), ("tool_name", "arguments")),
    "summaries": Columns(("session_key", "version"), ("summary", "topics")),
    "runs": Columns(("run_key",), ("metadata", "metrics")),
    "sessions": Columns(
        ("session_key",), ("title", "opening", "project", "state", "metadata", "metrics", "summary_error")
    ),
    "media": Columns(("media_key",), ("url",)),
    # What hooks told and no run tells yet.
    "facts": Columns(("fact_key",), ("text", "arguments", "tool_name", "project")),
}


class Piece(NamedTuple):
    """The texts of one row by their columns, those that are null left out. `session` is the number of its session."""

    table: Table
    place: Place
    session: int | None
    texts: Mapping[str, str]


class Change(NamedTuple):
    """What a row is to say instead, and the kinds of the secrets that it said, one for each."""

    piece: Piece
    texts: Mapping[str, str]
    kinds: tuple[str, ...]


def piece_of(table: Table, row: Sequence[int | str | None]) -> Piece:
    """Out of a row of its place, the number of its session, and its texts."""
    place, columns = COLUMNS[table]
    length = len(place)
    texts = {name: text for name, text in zip(columns, row[length + 1 :], strict=True) if isinstance(text, str)}
    session = row[length]
    return Piece(
        table,
        tuple(key for key in row[:length] if isinstance(key, int)),
        session if isinstance(session, int) else None,
        texts,
    )


def says(piece: Piece, row: Sequence[str | None] | None) -> bool:
    """Whether a row, its texts alone, is there and says what was read of it."""
    texts = COLUMNS[piece.table].texts
    return row is not None and {name: text for name, text in zip(texts, row, strict=True) if text is not None} == dict(
        piece.texts
    )


class SecretStore(Protocol):
    """Each method is one transaction."""

    async def counts(self, user_id: str) -> dict[str, int]:
        """How many secrets were redacted in all, by kind."""
        ...

    async def note(self, user_id: str, kinds: Mapping[str, int]) -> None:
        """Count secrets that were redacted in what was stored by itself."""
        ...

    async def pieces(self, user_id: str, table: Table, *, after: Place, limit: int, max_chars: int) -> list[Piece]:
        """The next rows of a table that say anything, in order of their places; none at the end.

        At most `limit`, and no more once they have `max_chars` together.
        """
        ...

    async def replace(self, user_id: str, changes: Sequence[Change]) -> list[Change]:
        """Change rows, what is searched and counted by with them; return the changes that were not made.

        Those are of rows that say something else by now, or are gone. Vectors of a changed message go with it.
        """
        ...
