"""The store on SQLite: one file, no daemon, several processes."""

import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from ...errors import IndexDamaged, InvalidArgument
from ...models import Message, Run, Session, StoredMedia, Summary, ToolCall
from .. import (
    CallMatches,
    CallSearch,
    CallsFound,
    CallWindow,
    ChatSlice,
    ChatWindow,
    ContextSlice,
    Deleted,
    Extent,
    Forked,
    FoundMessage,
    PreparedRun,
    Recorded,
    Search,
    SearchResult,
    SessionFilter,
    SessionsFound,
)
from ..about import About
from ..archive import ArchivedRow, ArchivedSession, Restored
from ..purging import FILE, Purged, Purging
from ..rows import SessionRow, to_ms, unpack_id
from . import (
    archiving,
    attempts,
    calls,
    changing,
    chats,
    checking,
    deleting,
    index,
    messages,
    purging,
    recording,
    restoring,
    searching,
    sessions,
)
from .choices import SqliteChoices, refuse_while_paused
from .copying import SqliteLeaving
from .database import Database
from .emptying import Emptier
from .facts import SqliteFacts
from .keeping import IndexKeeper, Told
from .ledger import SqliteLedger
from .matching import Frequencies
from .migrating import migrated
from .purging import rare_words
from .redacting import SqliteSecrets
from .rows import find_session, find_user
from .tokens import SqliteTokens
from .vectors import SqliteVectors


class SqliteStore:
    """A Store on one SQLite file. `opened` makes one; methods are those of the protocol."""

    def __init__(self, database: Database, digest_key: bytes) -> None:
        self._database = database
        self._digest_key = digest_key
        self.vectors = SqliteVectors(database)
        self.ledger = SqliteLedger(database)
        self._index = IndexKeeper(database)
        self.secrets = SqliteSecrets(database, self._index)
        self.tokens = SqliteTokens(database)
        self.facts = SqliteFacts(database, self._index, self.tombstone_digest)
        self._frequencies = Frequencies()
        self._emptier = Emptier(database, self._index)
        self.leaving = SqliteLeaving(database)
        self.choices = SqliteChoices(database, self._index, self._emptier, self._tombstone)

    @classmethod
    async def opened(cls, path: Path, *, synchronous: str = "FULL", busy_timeout_s: float = 10.0) -> Self:
        """Open or create the file and bring it to the newest version. Raises StoreUnusable, StoreBusy."""
        database = Database(path, synchronous=synchronous, busy_timeout_s=busy_timeout_s)
        await database.open(migrated)
        try:
            ((digest_key,),) = await database.read(
                lambda db: db.execute("SELECT value FROM meta WHERE name = 'digest_key'").fetchall()
            )
            store = cls(database, digest_key)
            await store._index.open()
            await store._emptier.open()
        except BaseException:
            await database.close()
            raise
        return store

    @property
    def path(self) -> Path:
        return self._database.path

    async def close(self) -> None:
        try:
            await self._emptier.close()
        finally:
            try:
                await self._index.close()
            finally:
                await self._database.close()

    # Writing

    async def record(self, user_id: str, runs: Sequence[PreparedRun]) -> list[Recorded]:
        now = _now()

        def stored(db: sqlite3.Connection) -> list[Recorded]:
            refuse_while_paused(db, user_id, now)
            return recording.record(db, user_id, runs)

        return await self._index.write(stored)

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
        now = _now()
        return await self._database.write(
            lambda db: changing.update_session(
                db, user_id, session, title=title, state=state, metadata=metadata, archived=archived, now=now
            )
        )

    async def fork_session(
        self, user_id: str, session: str, seq: int | None, *, new_session_id: str | None, title: str | None
    ) -> Forked:
        now = _now()
        return await self._database.write(
            lambda db: changing.fork_session(
                db, user_id, session, seq, new_session_id=new_session_id, title=title, now=now
            )
        )

    async def delete_session(self, user_id: str, session: str, *, forks: str, with_words: bool = True) -> Deleted:
        burial = deleting.Burial(forks, self._tombstone, _now())

        def bury(db: sqlite3.Connection) -> Session:
            # Done again where the index is found damaged.
            burial.keys.clear()
            burial.rows.clear()
            return deleting.bury(db, user_id, session, burial)

        def words(db: sqlite3.Connection) -> set[str]:
            keys = deleting.doomed(db, user_id, session, forks) if with_words else []
            return {word for key in keys for word in rare_words(db, key)}

        try:
            rare = await self._database.read(words)
        except IndexDamaged:
            rare = await self._index.write(words)
        told = await self._index.write(bury)
        rows = await self._emptier.empty(burial.keys) + Counter(burial.rows)
        return Deleted(told, {table: count for table, count in rows.items() if count}, tuple(sorted(rare)))

    def _tombstone(self, row: SessionRow) -> bytes:
        return self.tombstone_digest(row.source, unpack_id(row.session_id))

    def tombstone_digest(self, source: str, session_id: str) -> bytes:
        """The keyed digest under which a deleted session is remembered."""
        return blake2b(f"{source}\0{session_id}".encode(), key=self._digest_key, digest_size=16).digest()

    @property
    def purging(self) -> Purging:
        return FILE

    async def purge(self, words: Sequence[str]) -> Purged:
        def rewrite_file(db: sqlite3.Connection) -> dict[str, int]:
            purging.purge(db)
            return purging.left_over(db, self.path, words)

        await self._index.merge_all()
        return Purged(await self._database.alone(rewrite_file))

    async def lift_tombstone(self, user_id: str, source: str, digest: bytes) -> bool:
        return await self._database.write(
            lambda db: (
                db.execute(
                    "DELETE FROM tombstones WHERE user_key = ? AND source = ? AND digest = ?",
                    (find_user(db, user_id), source, digest),
                ).rowcount
                > 0
            )
        )

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
        now = _now()
        return await self._database.write(
            lambda db: changing.save_summary(
                db,
                user_id,
                session,
                summary=summary,
                topics=topics,
                made_by=made_by,
                last_seq=last_seq,
                now=now,
            )
        )

    async def save_summary_error(self, user_id: str, session: str, error: str | None) -> None:
        def save(db: sqlite3.Connection) -> None:
            key = find_session(db, user_id, session).session_key
            db.execute("UPDATE sessions SET summary_error = ? WHERE session_key = ?", (error, key))

        await self._database.write(save)

    async def restore_session(
        self,
        user_id: str,
        session: ArchivedSession,
        rows: Iterable[ArchivedRow],
        *,
        keep_number: bool,
        lift_tombstone: bool,
    ) -> Restored:
        tombstone = self.tombstone_digest(session.source, session.session_id)
        now = _now()

        def restored(db: sqlite3.Connection) -> Restored:
            refuse_while_paused(db, user_id, now)
            return restoring.restore(
                db,
                user_id,
                session,
                rows,
                keep_number=keep_number,
                tombstone=tombstone,
                lift_tombstone=lift_tombstone,
            )

        # The rows are taken as they come.
        return await self._index.write(restored, repeatable=False)

    async def take_numbers(self, user_id: str, upto: int) -> int:
        return await self._database.write(lambda db: restoring.take_numbers(db, user_id, upto))

    # Reading

    async def session(self, user_id: str, session: str) -> Session:
        return await self._database.look_up(lambda db: sessions.session(db, user_id, session))

    async def newest_session(self, user_id: str, project: str | None) -> Session | None:
        return await self._database.read(lambda db: sessions.newest_session(db, user_id, project))

    async def sessions(
        self,
        user_id: str,
        where: SessionFilter,
        *,
        limit: int,
        after: tuple[int, int] | None = None,
        as_of: int | None = None,
        exclude: str | None = None,
    ) -> SessionsFound:
        return await self._database.read(lambda db: sessions.sessions(db, user_id, where, limit, after, as_of, exclude))

    async def previews(self, user_id: str, of: Sequence[Session]) -> list[tuple[str | None, str | None]]:
        return await self._database.read(lambda db: sessions.previews(db, user_id, of))

    async def chat(self, user_id: str, session: str, window: ChatWindow) -> ChatSlice:
        return await self._database.read(lambda db: chats.chat(db, user_id, session, window))

    async def messages(self, user_id: str, session: str, *, agent: str | None = None, after: int = 0) -> list[Message]:
        return await self._database.read(lambda db: messages.messages(db, user_id, session, agent, after))

    async def text_of(
        self, user_id: str, session: str, seq: int, *, call: int | None, offset: int, max_chars: int
    ) -> tuple[Message, str, int]:
        return await self._database.read(
            lambda db: messages.text_of(db, user_id, session, seq, call, offset, max_chars)
        )

    async def call_text(
        self, user_id: str, call_key: int, *, field: str, offset: int, max_chars: int
    ) -> tuple[ToolCall, str, int]:
        return await self._database.read(lambda db: calls.call_text(db, user_id, call_key, field, offset, max_chars))

    async def tool_calls(self, user_id: str, window: CallWindow) -> CallsFound:
        return await self._database.read(lambda db: calls.tool_calls(db, user_id, window))

    async def find_calls(self, user_id: str, search: CallSearch) -> CallMatches:
        return await self._database.read(lambda db: attempts.find_calls(db, user_id, search, self._frequencies))

    async def context(
        self, user_id: str, session: str, *, num_history_runs: int, agent: str | None, max_chars: int
    ) -> ContextSlice:
        return await self._database.read(
            lambda db: chats.context(db, user_id, session, num_history_runs, agent, max_chars)
        )

    async def runs(self, user_id: str, session: str) -> list[Run]:
        return await self._database.read(lambda db: chats.runs(db, user_id, session))

    async def search(self, user_id: str, search: Search) -> SearchResult:
        return await self._database.read(lambda db: searching.search(db, user_id, search, self._frequencies))

    async def weights(self, user_id: str, search: Search) -> tuple[float, ...]:
        return await self._database.read(lambda db: searching.weights(db, user_id, search, self._frequencies))

    async def found(self, user_id: str, keys: Sequence[int], *, max_chars: int) -> list[FoundMessage]:
        return await self._database.read(lambda db: searching.found(db, user_id, keys, max_chars))

    async def summary(self, user_id: str, session: str) -> Summary | None:
        return await self._database.read(lambda db: sessions.summary(db, user_id, session))

    async def session_numbers(self, user_id: str) -> list[int]:
        return await self._database.read(lambda db: archiving.numbers(db, user_id))

    async def archive(self, user_id: str, sessions: Sequence[str] | None) -> AsyncGenerator[list[ArchivedRow], None]:
        async with self._database.snapshot() as read:
            rows = await read(lambda db: archiving.rows(db, user_id, sessions))
            try:
                while page := await read(lambda _: archiving.page(rows)):
                    yield page
            finally:
                await read(lambda _: rows.close())

    async def media(self, user_id: str, media_id: str) -> StoredMedia:
        return await self._database.read(lambda db: messages.media(db, user_id, media_id))

    async def summarized_sessions(self, user_id: str, limit: int) -> list[Session]:
        return await self._database.read(lambda db: sessions.summarized_sessions(db, user_id, limit))

    async def message(self, user_id: str, session: str, seq: int) -> Message:
        return await self._database.read(lambda db: messages.message(db, user_id, session, seq))

    async def titles(self, user_id: str, prefix: str, limit: int) -> list[Session]:
        return await self._database.read(lambda db: sessions.titles(db, user_id, prefix, limit))

    # The store itself

    async def digest_key(self) -> bytes:
        return self._digest_key

    async def data_version(self, user_id: str) -> int:
        # One for the whole file: the user makes no difference.
        return await self._database.read(lambda db: int(db.execute("PRAGMA data_version").fetchone()[0]))

    async def users(self) -> list[str]:
        asked = "SELECT user_id FROM users WHERE user_id <> ? ORDER BY user_id"
        return await self._database.read(lambda db: [row[0] for row in db.execute(asked, (deleting.NOBODY,))])

    async def counts(self, user_id: str) -> dict[str, int]:
        def count(db: sqlite3.Connection) -> dict[str, int]:
            user_key = find_user(db, user_id)
            rows = db.execute(
                "SELECT count(*), coalesce(sum(runs), 0), coalesce(sum(messages), 0), coalesce(sum(tool_calls), 0), "
                "count(summary_error) FROM sessions WHERE user_key = ?",
                (user_key,),
            ).fetchone()
            found = dict(zip(("sessions", "runs", "messages", "tool_calls", "summary_errors"), rows, strict=True))
            found["media"], found["media_bytes"] = db.execute(
                "SELECT count(*), coalesce(sum(length(data)), 0) FROM media WHERE user_key = ?", (user_key,)
            ).fetchone()
            return found

        return await self._database.read(count)

    async def extent(self, user_id: str) -> Extent:
        return await self._database.read(lambda db: sessions.extent(db, user_id))

    async def about(self, user_id: str, *, thorough: bool = False) -> About:
        def asked(db: sqlite3.Connection) -> tuple[int, int]:
            version, pages, size = (
                int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("user_version", "page_count", "page_size")
            )
            return version, pages * size

        version, size_bytes = await self._database.read(asked)
        return About(f"SQLite {sqlite3.sqlite_version}", version, size_bytes)

    async def check(self, told: Told | None = None) -> list[str]:
        async with self._database.snapshot() as read:
            return await read(lambda db: checking.check(db, told))

    async def index_is_current(self) -> bool:
        return (await self._database.read(index.state)).is_current

    async def rebuild_index(self, told: Told | None = None) -> int:
        return await self._index.rebuild(told)

    async def backup(self, target: str) -> None:
        path = Path(target)

        def copy(db: sqlite3.Connection) -> None:
            if path.exists():
                raise InvalidArgument(f"{target} exists already. Name a file that does not.")
            db.execute("VACUUM INTO ?", (str(path),))
            path.chmod(0o600)

        await self._database.alone(copy)


def _now() -> int:
    return to_ms(datetime.now(UTC))
