"""`Backscroll`: an open store, its summaries in the background, and a `Memory` for each user."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from ..answers import Behind
from ..config import Settings, load_settings
from ..cursors import Cursors
from ..errors import BackscrollError, NotFound, StoreUnusable
from ..models import Session, Summary
from ..recording import Recording
from ..semantic import Semantic, is_on
from ..store import Store
from ..store.opening import StoreOptions, open_store
from .recalling import Host
from .recording import Memory

if TYPE_CHECKING:
    from ..redaction import Redactor
    from ..summaries import SessionSummaryManager

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 5.0

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
        self.semantic: Semantic | None = None
        """Search by meaning; None where it is off or its extra is not installed."""
        self.catch_up: Callable[[str], Awaitable[Behind | None]] | None = None
        """Before a user's sessions are read: wait a little for what their hosts wrote a moment ago, and tell what is
        still missing then. None where nobody keeps up with them: whoever does sets it."""
        self.is_shared = False
        """Whether whoever asks is one of many and no operator: then nothing is done here that concerns the others."""
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._listeners: list[Listener] = []

    async def __aenter__(self) -> Self:
        """Raises StoreUnusable, StoreBusy, InvalidArgument."""
        self._store = await open_store(self.url, _store_options(self.settings))
        try:
            self._digest_key = await self._store.digest_key()
            if is_on(self.settings):
                self.semantic = Semantic(self._store.vectors, self.settings)
                self.semantic.start()
        except BaseException:
            # Whatever it is: connections of a pool that is left open keep the loop from ending.
            await self._store.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await self._end_summaries()
        finally:
            store, self._store = self._store, None
            try:
                if self.semantic is not None:
                    await self.semantic.close()
            finally:
                if store is not None:
                    await store.close()

    async def _end_summaries(self) -> None:
        """Those that are soon through come to their end, the others are given up."""
        tasks = list(self._tasks.values())
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSING_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def memory(self, user_id: str, *, source: str = "api", host: Host | None = None) -> Memory:
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
            redact=chosen.redact,
        )

    def redactor(self, *, imported: bool = False) -> "Redactor | None":
        """What takes secrets out of texts that come in beside a run; None where they are stored as they are."""
        if not self.recording.redacts(imported=imported):
            return None
        # Its many patterns take a while to compile, which a server's start need not wait for.
        from ..redaction import Redactor  # noqa: PLC0415

        return Redactor(self._digest_key)

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
        if self.semantic is not None:
            self.semantic.wake(user_id)
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


def _store_options(settings: Settings) -> StoreOptions:
    return StoreOptions(
        busy_timeout_s=settings.busy_timeout_s,
        statement_timeout_s=settings.postgres_statement_timeout_s,
        pool_size=settings.postgres_pool_size,
        synchronous=settings.synchronous,
    )


def _summary_manager(settings: Settings) -> "SessionSummaryManager":
    """Imported when a summary is first wanted: the start of a server should not wait for it."""
    from ..summaries import OpenAICompatibleModel, SessionSummaryManager  # noqa: PLC0415

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
