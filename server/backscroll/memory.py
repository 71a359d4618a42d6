"""`Memory`: one user's sessions, a method for each tool. `Backscroll` opens the store and gives them out."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from . import recall
from .answers import (
    ChatPage,
    DeleteReceipt,
    ForkReceipt,
    Format,
    RecordReceipt,
    Scrubbed,
    SearchPage,
    SessionContext,
    SessionPage,
    SessionReceipt,
    SummaryReceipt,
    ToolCallPage,
)
from .config import Settings, load_settings
from .cursors import Cursors
from .errors import BackscrollError, InvalidArgument, NotFound, StoreUnusable, SummaryError
from .models import CallStatus, Message, NewRun, Role, Run, RunStatus, Session, StoredMedia, Summary
from .recall.calls import TOOL as CALLS
from .recall.calls import Calls
from .recall.chat import TOOL as CHAT
from .recall.chat import Chat
from .recall.listing import TOOL as LIST
from .recall.listing import Listing
from .recall.reading import asked, at_ms, handle, moment, now_ms, whole
from .recall.searching import MAX_QUERY_CHARS, Searching
from .recall.searching import TOOL as SEARCH
from .policy import without_private, without_private_in
from .recording import Recording, check_id, moment_of, normalise, prepare, size_of
from .store import Recorded, SessionFilter, Store
from .store.opening import open_store
from .text import clean_json, clean_text
from .tokens import counter

if TYPE_CHECKING:
    from .summaries import SessionSummaryManager

logger = logging.getLogger(__name__)

Forks = Literal["refuse", "keep", "delete"]
OFF_LOOP_BYTES = 100_000
"""Preparing more than this takes milliseconds, which the event loop should not wait for."""
CLOSING_SECONDS = 5.0

NOT_REACHED = ("transcripts that the host itself keeps", "backups and exports made before")


@dataclass(frozen=True, slots=True)
class Host:
    """What the caller's host says of itself: hints, never identity."""

    session_id: str | None = None
    project: str | None = None


Listener = Callable[[str, str], None]
"""Told (user_id, session_id) of every change that this process makes."""


class Backscroll:
    """An open store, for any number of users. Use as an async context manager."""

    def __init__(
        self,
        url: str | None = None,
        settings: Settings | None = None,
        *,
        summary_manager: "SessionSummaryManager | None" = None,
    ) -> None:
        self.settings = settings if settings is not None else load_settings()
        self.url = url or self.settings.database_url()
        self._summary_manager = summary_manager
        self._store: Store | None = None
        self._digest_key = b""
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._listeners: list[Listener] = []

    async def __aenter__(self) -> Self:
        """Raises StoreUnusable, StoreBusy, InvalidArgument."""
        self._store = await open_store(
            self.url, synchronous=self.settings.synchronous, busy_timeout_s=self.settings.busy_timeout_s
        )
        self._digest_key = await self._store.digest_key()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=CLOSING_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    def memory(self, user_id: str, *, source: str = "api", host: Host | None = None) -> "Memory":
        """The sessions of one user. `source` marks what this memory records."""
        return Memory(self, user_id, source=source, host=host or Host())

    @property
    def store(self) -> Store:
        if self._store is None:
            raise StoreUnusable("The store is not open. Use `async with backscroll.Backscroll(url) as app`.")
        return self._store

    @property
    def recording(self) -> Recording:
        chosen = self.settings
        return Recording(
            digest_key=self._digest_key,
            store_media=chosen.store_media,
            store_tool_messages=chosen.store_tool_messages,
            store_history_messages=chosen.store_history_messages,
            max_message_bytes=chosen.max_message_bytes,
            max_run_bytes=chosen.max_run_bytes,
            max_run_messages=chosen.max_run_messages,
            max_media_bytes=chosen.max_media_bytes,
        )

    @property
    def summaries(self) -> "SessionSummaryManager":
        if self._summary_manager is None:
            self._summary_manager = _summary_manager(self.settings)
        return self._summary_manager

    def cursors(self, user_id: str) -> Cursors:
        return Cursors(self._digest_key, user_id)

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every change made through this object; return how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def changed(self, user_id: str, session_id: str) -> None:
        for listener in list(self._listeners):
            listener(user_id, session_id)

    async def draft_summary(self, user_id: str, session_id: str) -> tuple[Session, Summary]:
        """Sum up what came since the last summary. Raises SummaryError; the old summary then stands."""
        previous = await self.store.summary(user_id, session_id)
        covered = previous.last_seq if previous else 0
        messages = await self.store.messages(user_id, session_id, after=covered)
        session = await self.store.session(user_id, session_id)
        told = [message for message in messages if not message.from_history]
        draft = await self.summaries.draft(told, previous=previous, title=session.title)
        return await self.store.save_summary(
            user_id,
            session_id,
            summary=draft.summary,
            topics=draft.topics,
            made_by=draft.made_by,
            last_seq=max((message.seq for message in messages), default=covered),
        )

    def summarize_later(self, user_id: str, session_id: str) -> None:
        """Sum a session up in the background, once at a time. A failure is kept with the session, not raised."""
        key = (user_id, session_id)
        if key in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(self._summarize_quietly(user_id, session_id))
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _summarize_quietly(self, user_id: str, session_id: str) -> None:
        try:
            await self.draft_summary(user_id, session_id)
            self.changed(user_id, session_id)
        except NotFound:
            return
        except BackscrollError as error:
            logger.warning("summary of a session failed: %s", error)
            with suppress(BackscrollError):
                await self.store.save_summary_error(user_id, session_id, str(error))


class Memory:
    """One user's sessions. Each public method is a tool of the same name and arguments.

    Reading methods answer with pages that already fit `max_tokens` o200k tokens in the given format.
    Every `session_id` takes the full id or the number (`#12`).
    """

    def __init__(self, app: Backscroll, user_id: str, *, source: str, host: Host) -> None:
        check_id("user_id", user_id)
        self._app = app
        self.user_id = user_id
        self._source = source
        self._host = host
        self._cursors = app.cursors(user_id)

    def at(self, host: Host) -> "Memory":
        """The same memory, as seen from what a host says of itself."""
        return Memory(self._app, self.user_id, source=self._source, host=host)

    @property
    def store(self) -> Store:
        return self._app.store

    @property
    def _reader(self) -> recall.Reader:
        return recall.Reader(self._app.store, self.user_id, self._cursors, counter)

    # Reading

    async def search_session_history(
        self,
        query: str = "",
        *,
        num_history_sessions: int | None = None,
        session_id: str | None = None,
        role: Role | None = None,
        tool_name: str | None = None,
        agent: str | None = None,
        project: str | None = None,
        source: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 10,
        max_tokens: int = 2000,
        cursor: str | None = None,
        format: Format = "text",
    ) -> SearchPage:
        """Find what was said in past sessions.

        Plain words and "phrases", best match first, one line a hit; or, without a query, the opening and
        last answer of each of the last sessions. `num_history_sessions` narrows to the last N sessions by
        activity, the current one excluded. Raises InvalidArgument, SessionNotFound.
        """
        reader = self._reader
        budget = reader.budget(max_tokens, format)
        given = {
            "query": _text("query", query, MAX_QUERY_CHARS),
            "num_history_sessions": whole("num_history_sessions", num_history_sessions, 1, 1_000),
            "session_id": await self._number(session_id),
            "role": _one_of("role", role, get_args(Role)),
            "tool_name": _maybe(tool_name),
            "agent": _maybe(agent),
            "project": _maybe(project),
            "source": _maybe(source),
            "since": since,
            "until": until,
        }
        call = asked(reader, SEARCH, cursor, given, {"query": ""})
        now = (call.position or {}).get("t") or now_ms()
        told = {name: call.arguments.get(name) for name in given}
        since_at, until_at = (
            moment("since", told.pop("since"), at_ms(now)),
            moment("until", told.pop("until"), at_ms(now)),
        )
        searching = Searching(
            arguments=call.arguments,
            query=told.pop("query") or "",
            session=told.pop("session_id"),
            since=since_at,
            until=until_at,
            limit=_limit(limit),
            position=call.position,
            current_session=self._host.session_id,
            now_ms=now,
            **told,
        )
        return await recall.search_page(reader, searching, budget)

    async def list_sessions(
        self,
        *,
        query: str | None = None,
        project: str | None = None,
        source: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 20,
        max_tokens: int = 2000,
        cursor: str | None = None,
        format: Format = "text",
    ) -> SessionPage:
        """List sessions, newest activity first. Archived ones only when `query` names them."""
        reader = self._reader
        budget = reader.budget(max_tokens, format)
        given = {
            "query": _text("query", query or "", MAX_QUERY_CHARS) or None,
            "project": _maybe(project),
            "source": _maybe(source),
            "since": since,
            "until": until,
        }
        call = asked(reader, LIST, cursor, given, {})
        now = (call.position or {}).get("t") or now_ms()
        told = {name: call.arguments.get(name) for name in given}
        where = SessionFilter(
            query=told["query"],
            project=told["project"],
            source=told["source"],
            since=moment("since", told["since"], at_ms(now)),
            until=moment("until", told["until"], at_ms(now)),
        )
        listing = Listing(call.arguments, where, _limit(limit), call.position, now)
        return await recall.session_page(reader, listing, budget)

    async def get_chat_history(
        self,
        session_id: str | None = None,
        *,
        num_history_runs: int | None = None,
        agent: str | None = None,
        include_tool_messages: bool = True,
        unique: bool = True,
        max_tokens: int = 4000,
        cursor: str | None = None,
        format: Format = "text",
    ) -> ChatPage:
        """Read a session's messages word for word, in reading order: the newest that fit.

        A message handle (`#12.48`) opens around that message. `unique=False` shows stored history messages
        too. Cursors lead to older and newer messages, and on from where a text was cut.
        """
        reader = self._reader
        budget = reader.budget(max_tokens, format)
        resolved = around = None
        ref = session_id
        if ref is None and cursor is None:
            ref, resolved = await self._default_session()
        if ref is not None:
            ref, around = handle(ref)
            ref = await self._number(ref)
        given = {
            "session_id": ref,
            "num_history_runs": whole("num_history_runs", num_history_runs, 1, 10_000),
            "agent": _maybe(agent),
            "include_tool_messages": _flag("include_tool_messages", include_tool_messages),
            "unique": _flag("unique", unique),
        }
        call = asked(reader, CHAT, cursor, given, {"include_tool_messages": True, "unique": True})
        told = call.arguments
        chat = Chat(
            session=told["session_id"],
            arguments=told,
            num_history_runs=told.get("num_history_runs"),
            agent=told.get("agent"),
            include_tool_messages=told.get("include_tool_messages", True),
            unique=told.get("unique", True),
            around=around,
            position=call.position,
            resolved=resolved,
        )
        return await recall.chat_page(reader, chat, budget)

    async def get_tool_call_history(
        self,
        session_id: str | None = None,
        *,
        tool_name: str | None = None,
        query: str | None = None,
        status: CallStatus | None = None,
        limit: int = 10,
        max_tokens: int = 2000,
        cursor: str | None = None,
        format: Format = "text",
    ) -> ToolCallPage:
        """Tool calls with arguments and results, newest first. `query` words all stand in the call or its result."""
        reader = self._reader
        budget = reader.budget(max_tokens, format)
        given = {
            "session_id": await self._number(session_id),
            "tool_name": _maybe(tool_name),
            "query": _text("query", query or "", MAX_QUERY_CHARS) or None,
            "status": _one_of("status", status, get_args(CallStatus)),
        }
        call = asked(reader, CALLS, cursor, given, {})
        told = call.arguments
        calls = Calls(
            arguments=told,
            session=told.get("session_id"),
            tool_name=told.get("tool_name"),
            query=told.get("query"),
            status=told.get("status"),
            limit=_limit(limit),
            position=call.position,
        )
        return await recall.tool_call_page(reader, calls, budget)

    async def get_session_context(
        self,
        session_id: str | None = None,
        *,
        num_history_runs: int = 3,
        agent: str | None = None,
        include_tool_messages: bool = True,
        max_tokens: int = 3000,
        format: Format = "text",
    ) -> SessionContext:
        """What is needed to go on with a session: title, state, totals, summary, the last runs word for word."""
        reader = self._reader
        budget = reader.budget(max_tokens, format)
        runs = whole("num_history_runs", num_history_runs, 0, 10_000)
        resolved = None
        if session_id is None:
            session_id, resolved = await self._default_session()
        return await recall.session_context(
            reader,
            handle(session_id)[0],
            num_history_runs=runs or 0,
            agent=_maybe(agent),
            include_tool_messages=_flag("include_tool_messages", include_tool_messages),
            budget=budget,
            resolved=resolved,
        )

    async def get_messages_for_session(self, session_id: str, *, agent: str | None = None) -> list[Message]:
        """All messages of a session that were stored, history messages included, whole and in order."""
        return await self.store.messages(self.user_id, handle(session_id)[0], agent=_maybe(agent))

    async def get_session(self, session_id: str) -> Session:
        return await self.store.session(self.user_id, handle(session_id)[0])

    async def get_runs(self, session_id: str) -> list[Run]:
        return await self.store.runs(self.user_id, handle(session_id)[0])

    async def get_summary(self, session_id: str) -> Summary | None:
        return await self.store.summary(self.user_id, handle(session_id)[0])

    async def get_message(self, session_id: str, seq: int) -> Message:
        """One message, whole. Raises MessageNotFound."""
        return await self.store.message(self.user_id, handle(session_id)[0], seq)

    async def summarized_sessions(self, limit: int) -> list[Session]:
        """Sessions that have a summary, newest activity first."""
        return await self.store.summarized_sessions(self.user_id, limit)

    async def sessions_like(self, typed: str, limit: int) -> list[Session]:
        """Sessions whose id, number or title matches what somebody began to type, newest activity first."""
        return await self.store.titles(self.user_id, clean_text(typed), limit)

    async def get_media(self, media_id: str) -> StoredMedia:
        return await self.store.media(self.user_id, media_id)

    # Writing

    async def record_run(
        self,
        messages: Sequence[Any],
        *,
        session_id: str | None = None,
        run_id: str | None = None,
        parent_run_id: str | None = None,
        status: RunStatus = "completed",
        agent: str | None = None,
        model: str | None = None,
        title: str | None = None,
        project: str | None = None,
        metrics: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        started_at: str | datetime | None = None,
        ended_at: str | datetime | None = None,
        store_media: bool | None = None,
        store_tool_messages: bool | None = None,
        store_history_messages: bool | None = None,
    ) -> RecordReceipt:
        """Record one run, all of it or nothing.

        `messages` are OpenAI chat messages, Anthropic content blocks or OpenAI Responses items. Recording a
        known `run_id` again changes nothing; with more messages, the rest is appended. Messages that only
        repeat the session's past are recognised as history. Raises InvalidArgument, LimitExceeded, Conflict.
        """
        _one_of("status", status, get_args(RunStatus))
        run = NewRun(
            messages=normalise(messages),
            session_id=session_id if session_id is not None else self._host.session_id,
            run_id=run_id,
            parent_run_id=parent_run_id,
            status=status,
            agent=agent,
            model=model,
            title=title,
            project=project or self._app.settings.project or self._host.project,
            source=self._source,
            metrics=_object("metrics", metrics),
            metadata=_object("metadata", metadata),
            state=_object("state", state),
            started_at=moment_of(started_at, "started_at"),
            ended_at=moment_of(ended_at, "ended_at"),
        )
        how = self._app.recording
        flags = {
            "store_media": store_media,
            "store_tool_messages": store_tool_messages,
            "store_history_messages": store_history_messages,
        }
        how = replace(how, **{name: _flag(name, value) for name, value in flags.items() if value is not None})
        (recorded,) = await self.record([run], how=how)
        return _receipt(recorded)

    async def record(
        self,
        runs: Sequence[NewRun],
        *,
        imported: bool = False,
        restore: bool = False,
        how: Recording | None = None,
    ) -> list[Recorded]:
        """Record normalised runs in one transaction. Imported ones leave deleted sessions deleted, unless `restore`."""
        how = how or self._app.recording
        now = datetime.now(UTC)

        def prepared() -> list[Any]:
            if not imported:
                counter.load()
            return [prepare(run, how, now=now, imported=imported) for run in runs]

        if counter.ready and sum(map(size_of, runs)) < OFF_LOOP_BYTES:
            ready = prepared()
        else:
            ready = await asyncio.to_thread(prepared)
        if imported:
            ready = [await self._with_tombstone(run, restore=restore) for run in ready]
        recorded = await self.store.record(self.user_id, ready)
        chosen = self._app.settings
        for session_id, uncovered in {one.session_id: one.uncovered for one in recorded}.items():
            self._app.changed(self.user_id, session_id)
            if (
                chosen.enable_session_summaries
                and not imported
                and uncovered >= chosen.summary_after_messages
            ):
                self._app.summarize_later(self.user_id, session_id)
        return recorded

    async def _with_tombstone(self, run: Any, *, restore: bool) -> Any:
        if run.session_id is None:
            return run
        digest = self.store.tombstone_digest(run.source, run.session_id)
        if restore:
            await self.store.lift_tombstone(self.user_id, run.source, digest)
            return run
        return replace(run, tombstone=digest)

    async def summarize_session(
        self,
        session_id: str | None = None,
        *,
        summary: str | None = None,
        topics: Sequence[str] | None = None,
    ) -> SummaryReceipt:
        """Store your own summary of a session, or have one made. Raises SummaryError; the old one then stands."""
        resolved = None
        if session_id is None:
            session_id, resolved = await self._default_session()
        ref = handle(session_id)[0]
        if summary is None:
            try:
                session, made = await self._app.draft_summary(self.user_id, ref)
            except SummaryError as error:
                await self.store.save_summary_error(self.user_id, ref, str(error))
                raise
        else:
            text = without_private(_text("summary", summary, 100_000)).strip()
            if not text:
                raise InvalidArgument("summary is empty. Write one, or leave it out to have one made.")
            session, made = await self.store.save_summary(
                self.user_id,
                ref,
                summary=text,
                topics=[without_private(clean_text(str(topic))) for topic in topics or ()],
                made_by="agent",
                last_seq=None,
            )
        self._app.changed(self.user_id, session.session_id)
        return SummaryReceipt(
            session_id=session.session_id, session=session.session, summary=made, resolved=resolved
        )

    async def update_session(
        self,
        session_id: str,
        *,
        title: str | None = None,
        state: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        archived: bool | None = None,
    ) -> SessionReceipt:
        """Change a session's title, state, metadata (both merge, RFC 7396) or whether it is archived."""
        if title is None and state is None and metadata is None and archived is None:
            raise InvalidArgument("Nothing to change. Give title, state, metadata or archived.")
        session = await self.store.update_session(
            self.user_id,
            handle(session_id)[0],
            title=None if title is None else without_private(_text("title", title, 1_000)).strip() or None,
            state=without_private_in(clean_json(_object("state", state))),
            metadata=without_private_in(clean_json(_object("metadata", metadata))),
            archived=None if archived is None else _flag("archived", archived),
        )
        self._app.changed(self.user_id, session.session_id)
        return SessionReceipt.of(session)

    async def fork_session(
        self, session_id: str, *, new_session_id: str | None = None, title: str | None = None
    ) -> ForkReceipt:
        """Continue a session under another id from its end, or from a message (`#12.48`) on. Nothing is copied."""
        check_id("new_session_id", new_session_id)
        if new_session_id is not None and new_session_id.startswith("#"):
            raise InvalidArgument("new_session_id must not begin with #: that names a session by its number.")
        ref, seq = handle(session_id)
        forked = await self.store.fork_session(
            self.user_id,
            ref,
            seq,
            new_session_id=new_session_id,
            title=None if title is None else without_private(_text("title", title, 1_000)).strip() or None,
        )
        self._app.changed(self.user_id, forked.session.session_id)
        return ForkReceipt(
            session_id=forked.session.session_id,
            session=forked.session.session,
            forked_from=forked.forked_from.session,
            fork_seq=forked.fork_seq,
            title=forked.session.shown_title,
        )

    async def delete_session(
        self, session_id: str, *, forks: Forks = "refuse", purge: bool = False
    ) -> DeleteReceipt:
        """Delete a session and all that hangs on it. `purge` also rewrites the file, and says what it found after."""
        _one_of("forks", forks, get_args(Forks))
        ref, seq = handle(session_id)
        if seq is not None:
            raise InvalidArgument(
                f"{session_id} names a message. delete_session takes a session, such as {ref}."
            )
        deleted = await self.store.delete_session(self.user_id, ref, forks=forks)
        self._app.changed(self.user_id, deleted.session.session_id)
        told = "purge pending: deleted text may stay in the file's free pages and index until purge=true"
        if _flag("purge", purge):
            found = await self.store.purge(deleted.rare_words)
            told = (
                f"purged: none of {len(deleted.rare_words)} words that only this session held is in the file"
                if not found
                else f"purged, but the file's bytes still hold {len(found)} of {len(deleted.rare_words)} words"
            )
        return DeleteReceipt(
            session_id=deleted.session.session_id,
            session=deleted.session.session,
            deleted=deleted.rows,
            forks=forks,
            purge=told,
            not_reached=NOT_REACHED,
        )

    # Which session

    async def _number(self, session_id: str | None) -> str | None:
        """The session's short number, which is what cursors hold. Raises SessionNotFound."""
        if session_id is None:
            return None
        ref, _ = handle(session_id)
        return (await self.store.session(self.user_id, ref)).session

    async def _default_session(self) -> tuple[str, str]:
        """The session that is meant where none is named, and a sentence that says which. Raises NotFound."""
        if self._host.session_id is not None:
            with suppress(NotFound):
                session = await self.store.session(self.user_id, self._host.session_id)
                return session.session, "No session_id given: this is the session that your host is in."
        project = self._app.settings.project or self._host.project
        if project is not None and (newest := await self.store.newest_session(self.user_id, project)):
            return newest.session, "No session_id given: this is the newest session of this project."
        if newest := await self.store.newest_session(self.user_id, None):
            return newest.session, "No session_id given: this is the newest session."
        raise NotFound("Nothing is recorded yet. Record a run with record_run, or import transcripts.")


def _summary_manager(settings: Settings) -> "SessionSummaryManager":
    """Imported when a summary is first wanted: the start of a server should not wait for it."""
    from .summaries import OpenAICompatibleModel, SessionSummaryManager  # noqa: PLC0415

    model = None
    if settings.summary_base_url is not None and settings.summary_model is not None:
        key = settings.summary_api_key
        model = OpenAICompatibleModel(
            settings.summary_base_url,
            settings.summary_model,
            None if key is None else key.get_secret_value(),
            timeout_s=settings.summary_timeout_s,
            retries=settings.summary_retries,
        )
    return SessionSummaryManager(model=model, session_summary_prompt=settings.session_summary_prompt)


def _receipt(recorded: Recorded) -> RecordReceipt:
    warning = None
    if recorded.suspected_repeat:
        warning = (
            "These messages repeat the session's newest ones and were recorded again. "
            "Give each run a run_id, and a repeated sending is recognised."
        )
    return RecordReceipt(
        session_id=recorded.session_id,
        session=recorded.session,
        run_id=recorded.run_id,
        run_index=recorded.run_index,
        created=recorded.created,
        duplicate=recorded.duplicate,
        recorded=recorded.recorded,
        history=recorded.history,
        scrubbed=Scrubbed(
            media=recorded.scrubbed_media,
            tool_messages=recorded.scrubbed_tool_messages,
            history_messages=recorded.scrubbed_history,
        ),
        metrics={"estimated": False, **recorded.metrics},
        warning=warning,
    )


# Arguments. Python callers and MCP hosts get the same words.


def _text(name: str, value: Any, max_chars: int) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be text.")
    if len(value) > max_chars:
        raise InvalidArgument(
            f"{name} has {len(value):,} characters; at most {max_chars:,} are taken. Shorten it."
        )
    return clean_text(value)


def _maybe(value: str | None) -> str | None:
    return None if value is None else clean_text(str(value)).strip() or None


def _one_of(name: str, value: Any, allowed: Sequence[str]) -> Any:
    if value is not None and value not in allowed:
        raise InvalidArgument(f"{name} must be one of {', '.join(allowed)}, not {value!r:.40}.")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(f"{name} must be true or false.")
    return value


def _object(name: str, value: Any) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be an object.")
    return value


def _limit(value: int) -> int:
    return whole("limit", value, 1, 100) or 1
