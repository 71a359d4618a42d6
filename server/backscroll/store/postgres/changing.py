"""Sessions changed, forked and summed up, each in one transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from ...errors import Conflict, MessageNotFound
from ...ids import uuid7
from ...merge import merge_patch
from ...models import Session, Summary
from .. import Forked
from ..rows import SUMMARY_COLUMNS, SessionRow, dump, load, summary_of, to_ms
from .database import Ask, Transaction, Writing
from .part import Part
from .rows import find_session, lineage, lineage_of, look_up_session, session_by_key


class Changing(Part):
    async def update_session(
        self,
        user_id: str,
        session: str,
        *,
        title: str | None,
        state: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        archived: bool | None,
    ) -> Session:
        async def update(writing: Writing) -> Session:
            row = await find_session(writing, writing.user_key, session)
            await writing.run(
                "UPDATE sessions SET title = coalesce(%s, title), renamed = greatest(renamed, %s), "
                "state = coalesce(%s, state), metadata = coalesce(%s, metadata), archived = coalesce(%s, archived), "
                "updated_at = %s WHERE user_key = %s AND session_key = %s",
                (
                    title,
                    int(title is not None),
                    None if state is None else dump(merge_patch(load(row.state), state)),
                    None if metadata is None else dump(merge_patch(load(row.metadata), metadata)),
                    None if archived is None else int(archived),
                    _now(),
                    writing.user_key,
                    row.session_key,
                ),
            )
            return (await session_by_key(writing, writing.user_key, row.session_key)).value()

        return await self._database.write(user_id, update)

    async def fork_session(
        self, user_id: str, session: str, seq: int | None, *, new_session_id: str | None, title: str | None
    ) -> Forked:
        async def fork(writing: Writing) -> Forked:
            parent = await find_session(writing, writing.user_key, session)
            if new_session_id is not None and await look_up_session(writing, writing.user_key, new_session_id):
                raise Conflict(
                    f"A session {new_session_id!r} exists already. Choose another new_session_id, or leave it out."
                )
            if seq is not None and not 1 <= seq <= parent.last_seq:
                raise MessageNotFound(f"{parent.handle}.{seq}")
            cut = await _end_of_tool_pair(writing, parent, parent.last_seq if seq is None else seq)
            key = await _forked(writing, parent, cut, new_session_id, title)
            return Forked((await session_by_key(writing, writing.user_key, key)).value(), parent.value(), cut)

        return await self._database.write(user_id, fork)

    async def save_summary(
        self,
        user_id: str,
        session: str,
        *,
        summary: str,
        topics: Sequence[str],
        made_by: str,
        last_seq: int | None,
    ) -> tuple[Session, Summary]:
        async def save(writing: Writing) -> tuple[Session, Summary]:
            row = await find_session(writing, writing.user_key, session)
            covered = row.last_seq if last_seq is None else min(last_seq, row.last_seq)
            key = (writing.user_key, row.session_key)
            digest = await _digest_of_range(writing, row, covered)
            (saved,), _ = await writing.together(
                Ask(
                    "INSERT INTO summaries (user_key, session_key, version, summary, topics, made_by, first_seq, "
                    "last_seq, digest, created_at) VALUES (%s, %s, "
                    "(SELECT coalesce(max(version), 0) + 1 FROM summaries WHERE user_key = %s AND session_key = %s), "
                    "%s, %s, %s, %s, %s, %s, %s) "
                    f"RETURNING {SUMMARY_COLUMNS}",
                    (*key, *key, summary, dump(list(topics)), made_by, min(1, covered), covered, digest, _now()),
                ),
                _error_noted(key, None),
            )
            return row.value(), summary_of(saved, row.last_seq)

        return await self._database.write(user_id, save)

    async def save_summary_error(self, user_id: str, session: str, error: str | None) -> None:
        async def save(writing: Writing) -> None:
            row = await find_session(writing, writing.user_key, session)
            await writing.together(_error_noted((writing.user_key, row.session_key), error))

        await self._database.write(user_id, save)


def _error_noted(session: tuple[Any, int], error: str | None) -> Ask:
    return Ask("UPDATE sessions SET summary_error = %s WHERE user_key = %s AND session_key = %s", (error, *session))


async def _forked(writing: Writing, parent: SessionRow, cut: int, session_id: str | None, title: str | None) -> int:
    """The key of the new session."""
    # A cut within the shared part hangs the fork on the row that holds the message.
    owner = next(s for s in await lineage(writing, parent) if s.low < cut or s.low == 0)
    held_by = await session_by_key(writing, writing.user_key, owner.session_key)
    key, now = writing.next_key("session"), _now()
    await writing.run(
        "INSERT INTO sessions (user_key, session_key, session_id, number, title, opening, project, source, agent, "
        "state, metadata, parent_key, fork_seq, last_seq, last_run_index, system_digest, created_at, updated_at, "
        "last_activity_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
        "(SELECT coalesce(max(run_index), %s) FROM runs WHERE user_key = %s AND session_key = %s AND first_seq <= %s), "
        "%s, %s, %s, %s)",
        (
            writing.user_key, key, session_id or uuid7(), writing.next_key("number"), title, parent.opening,
            parent.project, parent.source, parent.agent, parent.state, parent.metadata, held_by.session_key, cut, cut,
            held_by.last_run_index if not held_by.runs else 0, writing.user_key, held_by.session_key, cut,
            parent.system_digest, now, now, now,
        ),
    )  # fmt: skip
    return key


async def _end_of_tool_pair(transaction: Transaction, session: SessionRow, seq: int) -> int:
    """`seq`, or the last result of the calls made up to it: a cut never parts a call from its result."""
    cut = seq
    while True:
        row = await transaction.one(
            f"WITH RECURSIVE {lineage_of('s.user_key = %(user)s AND s.session_key = %(session)s')} "
            "SELECT max(f.seq) FROM line AS l JOIN messages AS m ON m.user_key = %(user)s "
            "AND m.session_key = l.session_key AND m.seq > greatest(l.low, %(cut)s - 1000) "
            "AND m.seq <= least(l.high, %(cut)s) AND m.role = 'assistant' "
            "JOIN tool_calls AS c ON c.user_key = %(user)s AND c.message_key = m.message_key "
            "JOIN messages AS f ON f.user_key = %(user)s AND f.message_key = c.result_key "
            "AND f.session_key = m.session_key WHERE f.seq > %(cut)s",
            {"user": session.user_key, "session": session.session_key, "cut": cut},
        )
        end = None if row is None else row[0]
        if end is None:
            return cut
        cut = end


async def _digest_of_range(transaction: Transaction, session: SessionRow, last_seq: int) -> bytes:
    """One digest over the digests of messages 1 to `last_seq`: it tells what the summary was made from."""
    rows = await transaction.all(
        f"WITH RECURSIVE {lineage_of('s.user_key = %(user)s AND s.session_key = %(session)s')} "
        "SELECT d.digest FROM line AS l "
        "JOIN runs AS r ON r.user_key = %(user)s AND r.session_key = l.session_key "
        "JOIN digests AS d ON d.user_key = %(user)s AND d.run_key = r.run_key AND d.stored = 1 "
        "AND d.seq > l.low AND d.seq <= least(l.high, %(last)s) ORDER BY d.seq",
        {"user": session.user_key, "session": session.session_key, "last": last_seq},
    )
    chained = blake2b(digest_size=16)
    for (digest,) in rows:
        chained.update(digest)
    return chained.digest()


def _now() -> int:
    return to_ms(datetime.now(UTC))
