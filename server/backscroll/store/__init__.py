"""What Backscroll asks of a database. SqliteStore and PostgresStore answer it.

Each method is one transaction and names the user first: another user's rows are not found. Text
comes back as it was handed in: a store never scrubs. Where a method takes `max_chars`, text longer
than that comes back as its first part, and `text_chars` tells the whole length.

What both decide alike stands here once, in two forms. A search only asks, and what it can ask at once depends on
nothing else: it is a generator that yields bundles of wishes (wishes.py). Recording mostly tells, and asks in
between what hangs on what it was told: it is a coroutine with a database's side at hand (recording/ground.py).
Either way SQLite answers on the spot, and Postgres in as few round trips as there are steps.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, Protocol

from ..models import Message, Run, Session, StoredMedia, Summary, ToolCall
from .about import About
from .archive import ArchivedRow, ArchivedSession, Restored
from .calling import Attempts, CallMatches, CallSearch, CallsFound, CallWindow, Clue, Reading
from .choices import ChoiceStore
from .facts import FactStore
from .ledger import ImportLedger, ImportMark, LastSync, Lease
from .purging import Purged, Purging
from .redacting import SecretStore
from .tokens import TokenStore
from .values import (
    Candidate,
    ChatSlice,
    ChatWindow,
    ContextSlice,
    Deleted,
    Extent,
    Forked,
    FoundMessage,
    ImportState,
    PreparedCall,
    PreparedMedia,
    PreparedMessage,
    PreparedRun,
    Recorded,
    Search,
    SearchResult,
    SessionFilter,
    SessionRef,
    SessionsFound,
    Term,
    Turn,
)
from .vectors import VectorStore

__all__ = [
    "About",
    "Attempts",
    "CallMatches",
    "CallSearch",
    "CallWindow",
    "CallsFound",
    "Candidate",
    "ChatSlice",
    "ChatWindow",
    "ChoiceStore",
    "Clue",
    "ContextSlice",
    "Deleted",
    "Extent",
    "Forked",
    "FoundMessage",
    "ImportLedger",
    "ImportMark",
    "ImportState",
    "LastSync",
    "Lease",
    "PreparedCall",
    "PreparedMedia",
    "PreparedMessage",
    "PreparedRun",
    "Reading",
    "Recorded",
    "Search",
    "SearchResult",
    "SecretStore",
    "SessionFilter",
    "SessionRef",
    "SessionsFound",
    "Store",
    "Term",
    "TokenStore",
    "Turn",
    "VectorStore",
]


class Store(Protocol):
    @property
    def vectors(self) -> VectorStore:
        """Vectors of messages, made in the background out of what was said."""
        ...

    @property
    def facts(self) -> FactStore:
        """What hooks told, to be merged into what transcripts tell."""
        ...

    @property
    def choices(self) -> ChoiceStore:
        """What the user decided: pauses, what is left out, what is deleted."""
        ...

    @property
    def ledger(self) -> ImportLedger:
        """Which files were read into this store, how far, and who reads now."""
        ...

    @property
    def secrets(self) -> SecretStore:
        """Texts to be redacted, and counts of what was."""
        ...

    @property
    def tokens(self) -> TokenStore:
        """Access tokens: who may call over HTTP."""
        ...

    async def close(self) -> None: ...

    # Writing

    async def record(self, user_id: str, runs: Sequence[PreparedRun]) -> list[Recorded]:
        """Store whole runs, all of them or none, and tell what was new in each.

        A run that is here already because it came another way (recorded, or told by a transcript: `meeting.py`) is
        the same run, under either id. An import whose session id is that of another source's session, with other
        content, goes into the session `source:id`.

        Raises Conflict (a known run with other messages or another session), SessionNotFound (`#12`),
        RecordingPaused.
        """
        ...

    async def update_session(
        self,
        user_id: str,
        session: SessionRef,
        *,
        title: str | None,
        state: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        archived: bool | None,
    ) -> Session:
        """Merge `state` and `metadata` (RFC 7396), set what is not None."""
        ...

    async def fork_session(
        self,
        user_id: str,
        session: SessionRef,
        seq: int | None,
        *,
        new_session_id: str | None,
        title: str | None,
    ) -> Forked:
        """Continue a session from `seq` (its end by default) under another id; nothing is copied."""
        ...

    async def delete_session(
        self, user_id: str, session: SessionRef, *, forks: str, with_words: bool = True
    ) -> Deleted:
        """Delete with all that hangs on it and with the sessions of its sub-agents; leave a tombstone of each.

        Gone whole in one transaction; its rows follow step by step. Raises Conflict if forks are in the way.
        Unless `with_words`, no rare words are looked for.
        """
        ...

    @property
    def purging(self) -> Purging:
        """What receipts may promise of deleted text."""
        ...

    async def purge(self, words: Sequence[str]) -> Purged:
        """Rewrite index and file so that deleted text is in no page, and tell which `words` their bytes still hold;
        or as near to that as the database can come."""
        ...

    async def lift_tombstone(self, user_id: str, source: str, digest: bytes) -> bool: ...

    async def save_summary(
        self,
        user_id: str,
        session: SessionRef,
        *,
        summary: str,
        topics: Sequence[str],
        made_by: str,
        last_seq: int | None,
    ) -> tuple[Session, Summary]:
        """Add a version that covers messages 1 to `last_seq` (the newest by default)."""
        ...

    async def save_summary_error(self, user_id: str, session: SessionRef, error: str | None) -> None: ...

    async def restore_session(
        self,
        user_id: str,
        session: ArchivedSession,
        rows: Iterable[ArchivedRow],
        *,
        keep_number: bool,
        lift_tombstone: bool,
    ) -> Restored:
        """Take in an archived session with its rows as they are: its runs, then all else; all of it or nothing.

        Where the session is here already as an earlier state of the archive, what is new is added, and the
        title, state and metadata that were changed last stand. `keep_number`: under its own number if none
        here has it. A deleted one stays deleted unless `lift_tombstone`. `rows` are taken from the
        database's thread. Raises Conflict (it went on differently here, or its parent is not here), and
        RecordingPaused, and whatever `rows` raise; nothing is changed then.
        """
        ...

    async def take_numbers(self, user_id: str, upto: int) -> int:
        """Move the counter of session numbers to `upto` at least; return where it stood: above that, all are free."""
        ...

    # Reading

    async def session(self, user_id: str, session: SessionRef) -> Session:
        """Raises SessionNotFound."""
        ...

    async def newest_session(self, user_id: str, project: str | None) -> Session | None: ...

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
        """Newest activity first. `after` is the (activity, number) of the last one shown."""
        ...

    async def previews(self, user_id: str, of: Sequence[Session]) -> list[tuple[str | None, str | None]]:
        """The opening and the last answer of each session."""
        ...

    async def chat(self, user_id: str, session: SessionRef, window: ChatWindow) -> ChatSlice: ...

    async def messages(
        self, user_id: str, session: SessionRef, *, agent: str | None = None, after: int = 0
    ) -> list[Message]:
        """All messages beyond seq `after` that were stored, history included, in order, whole."""
        ...

    async def text_of(
        self, user_id: str, session: SessionRef, seq: int, *, call: int | None, offset: int, max_chars: int
    ) -> tuple[Message, str, int]:
        """A message (its own text left out); `max_chars` from `offset` on of its text, or of a call's arguments;
        and the whole length of that. Raises MessageNotFound."""
        ...

    async def call_text(
        self, user_id: str, call_key: int, *, field: str, offset: int, max_chars: int
    ) -> tuple[ToolCall, str, int]:
        """A call, and a part of its `arguments` or `result`, and the length of the whole."""
        ...

    async def tool_calls(self, user_id: str, window: CallWindow) -> CallsFound: ...

    async def find_calls(self, user_id: str, search: CallSearch) -> CallMatches:
        """Calls by what they, their arguments or their results hold; identical ones are one line."""
        ...

    async def context(
        self, user_id: str, session: SessionRef, *, num_history_runs: int, agent: str | None, max_chars: int
    ) -> ContextSlice: ...

    async def runs(self, user_id: str, session: SessionRef) -> list[Run]: ...

    async def search(self, user_id: str, search: Search) -> SearchResult:
        """The messages that may be what is asked for, with what ranking needs of each."""
        ...

    async def weights(self, user_id: str, search: Search) -> tuple[float, ...]:
        """What each term says about a message that holds it: more, the fewer do; 0 where none does."""
        ...

    async def found(self, user_id: str, keys: Sequence[int], *, max_chars: int) -> list[FoundMessage]:
        """Messages by their keys, in that order; those that are gone or another user's are left out."""
        ...

    async def summary(self, user_id: str, session: SessionRef) -> Summary | None: ...

    async def session_numbers(self, user_id: str) -> list[int]:
        """Of all the user's sessions, archived ones too, in order."""
        ...

    def archive(self, user_id: str, sessions: Sequence[SessionRef] | None) -> AsyncGenerator[list[ArchivedRow], None]:
        """Pages of rows of these sessions and of those they are forks of, or of all; as of one point in time.

        Each session is its head, its runs, its messages with media before them, its summaries; parents
        come before forks. Close the generator when you leave it early. Raises SessionNotFound.
        """
        ...

    async def media(self, user_id: str, media_id: str) -> StoredMedia:
        """Raises MediaNotFound."""
        ...

    async def summarized_sessions(self, user_id: str, limit: int) -> list[Session]:
        """Sessions that have a summary, newest activity first."""
        ...

    async def message(self, user_id: str, session: SessionRef, seq: int) -> Message:
        """One message, whole. Raises MessageNotFound."""
        ...

    async def titles(self, user_id: str, prefix: str, limit: int) -> list[Session]:
        """Sessions whose id, number or title matches what somebody began to type."""
        ...

    # The store itself

    def tombstone_digest(self, source: str, session_id: str) -> bytes:
        """The keyed digest under which a deleted session is remembered."""
        ...

    async def digest_key(self) -> bytes:
        """The database's own key for digests and cursors."""
        ...

    async def data_version(self, user_id: str) -> int:
        """Changes whenever anything of this user's was committed, by any process; and it may when another's was."""
        ...

    async def users(self) -> list[str]:
        """All of whom anything is or was here, in order: of a store, and not of a user."""
        ...

    async def counts(self, user_id: str) -> dict[str, int]: ...

    async def extent(self, user_id: str) -> Extent: ...

    async def about(self, user_id: str, *, thorough: bool = False) -> About:
        """The database itself. `thorough` also measures what the user has in it, which reads all of that's sizes."""
        ...

    async def check(self, told: Callable[[int, int], None] | None = None) -> list[str]:
        """What is wrong with the file, its tables or its index, a line each; nothing when all is well.

        Nobody waits for it. `told` (what is done, and what that will be at the end) comes from another thread.
        """
        ...

    async def index_is_current(self) -> bool:
        """Whether a search finds all that was recorded: not while an old or damaged index is made anew."""
        ...

    async def rebuild_index(self, told: Callable[[int, int], None] | None = None) -> int:
        """Make the search index anew, while everybody reads and writes; return how many messages it holds.

        Goes on where a rebuild of this version was broken off. Raises StoreBusy; what was done stays done.
        """
        ...

    async def backup(self, target: str) -> None: ...
