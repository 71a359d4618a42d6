"""Entries of the search index: written with the messages that they are made from, in the same transaction.

Whoever stores a message that came as none of the history makes its entry as ever (`indexing.entry`, the user's
`user_key` in its scope counts for nothing here), and hands it in:

    await index.add(writing, [Entered(key, session_key, seq, created_at, entry), ...])

all of a transaction at once, after the messages' rows. Where a text, a call or a name changes that an entry holds:
`await index.renew(writing, message_keys)`, once the rows say the new. Deleting needs nothing: entries go with their
messages.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from ..indexing import INDEX_VERSION, Entry, Scope, entry, speaker_of
from .database import Ask, Row, Transaction, Writing
from .terms import vector_of
from .words import words_of

AT_ONCE = 200
"""Messages whose entries are read and made in one go."""

_MOST_CHARS = 1 << 20
"""Of texts that are read for it."""

_BESIDE_CHARS = 50_000
"""More text than this is taken apart beside the event loop: some 10 ms."""


class Entered(NamedTuple):
    """A message that was stored just now, and its entry."""

    message_key: int
    session_key: int
    seq: int
    created_at: int
    """UTC milliseconds."""
    entry: Entry


class Made(NamedTuple):
    """An entry as its row has it; `terms` are cast to `tsvector`."""

    message_key: int
    session_key: int
    seq: int
    created_at: int
    terms: str


async def made(user_key: UUID, rows: Sequence[Entered]) -> list[Made]:
    """The work of `add` that needs no transaction."""
    if sum(len(row.entry.text) + len(row.entry.forms) for row in rows) > _BESIDE_CHARS:
        return await asyncio.to_thread(_made, user_key, rows)
    return _made(user_key, rows)


def _made(user_key: UUID, rows: Sequence[Entered]) -> list[Made]:
    words = words_of([(row.entry.text, row.entry.forms) for row in rows])
    return [
        Made(*row[:4], vector_of(user_key, places, row.entry.scope)) for row, places in zip(rows, words, strict=True)
    ]


_ADD = (
    "INSERT INTO search_entries (user_key, message_key, session_key, seq, created_at, version, terms) "
    "SELECT %s, n.message_key, n.session_key, n.seq, n.created_at, %s, n.terms::tsvector "
    "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[]) "
    "AS n (message_key, session_key, seq, created_at, terms) "
    "ON CONFLICT (user_key, message_key) DO UPDATE SET session_key = excluded.session_key, seq = excluded.seq, "
    "created_at = excluded.created_at, version = excluded.version, terms = excluded.terms"
)


def adding(user_key: UUID, rows: Sequence[Made]) -> Ask:
    """What puts entries in, to be sent together with other statements."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], [], []]
    return Ask(_ADD, (user_key, INDEX_VERSION, *columns))


async def add(writing: Writing, rows: Sequence[Entered]) -> None:
    """Put in messages, or put them in anew. One round trip."""
    for start in range(0, len(rows), AT_ONCE):
        some = await made(writing.user_key, rows[start : start + AT_ONCE])
        await writing.together(adding(writing.user_key, some))


async def remove(writing: Writing, message_keys: Sequence[int]) -> None:
    """Take out messages that stay stored."""
    await writing.run(
        "DELETE FROM search_entries WHERE user_key = %s AND message_key = ANY(%s)",
        (writing.user_key, list(message_keys)),
    )


async def renew(writing: Writing, message_keys: Sequence[int]) -> None:
    """Make the entries of messages again, from what their rows say now."""
    for start in range(0, len(message_keys), AT_ONCE):
        keys = sorted(message_keys[start : start + AT_ONCE])
        while rows := await entered(writing, writing.user_key, "m.message_key = ANY(%s::bigint[])", (keys,)):
            await add(writing, rows)
            keys = [key for key in keys if key > rows[-1].message_key]


async def entered(transaction: Transaction, user_key: UUID, where: str, values: Sequence[object]) -> list[Entered]:
    """Messages with the entries that they should have, by their keys: the first of the messages `m` that match.

    At most AT_ONCE, and no more once they have _MOST_CHARS together; none where none is left.
    """
    rows = await transaction.all(
        "SELECT m.message_key, m.session_key, m.seq, m.created_at, m.text, m.role, m.tool_name, s.source, s.project, "
        "r.agent, m.payload FROM ("
        "SELECT m.*, sum(octet_length(m.text)) OVER (ORDER BY m.message_key) - octet_length(m.text) AS ahead FROM ("
        f"SELECT * FROM messages AS m WHERE m.user_key = %s AND m.from_history = 0 AND {where} "
        "ORDER BY m.message_key LIMIT %s) AS m) AS m "
        "JOIN sessions AS s ON s.user_key = m.user_key AND s.session_key = m.session_key "
        "JOIN runs AS r ON r.user_key = m.user_key AND r.run_key = m.run_key "
        "WHERE m.ahead < %s ORDER BY m.message_key",
        (user_key, *values, AT_ONCE, _MOST_CHARS),
    )
    asking = [row[0] for row in rows if row[5] == "assistant"]
    calls: dict[int, list[tuple[str, str | None]]] = {key: [] for key in asking}
    if asking:
        for key, name, arguments in await transaction.all(
            "SELECT message_key, tool_name, arguments FROM tool_calls WHERE user_key = %s "
            "AND message_key = ANY(%s::bigint[]) ORDER BY message_key, ordinal",
            (user_key, asking),
        ):
            calls[key].append((name, arguments))
    return [_entered(row, calls.get(row[0], [])) for row in rows]


def _entered(row: Row, calls: list[tuple[str, str | None]]) -> Entered:
    key, session_key, seq, created_at, text, role, tool_name, source, project, agent, payload = row
    tools = tuple(name for name, _ in calls) if tool_name is None else (tool_name,)
    scope = Scope(0, session_key, source, role, project, agent, tools)
    return Entered(key, session_key, seq, created_at, entry(text, calls, scope, speaker_of(payload)))
