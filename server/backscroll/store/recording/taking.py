"""Messages of one run become rows: messages, tool calls, media, index entries, each result after its call."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import PreparedMedia, PreparedMessage, PreparedRun
from ..arrangement import arranged
from ..indexing import Scope, entry, speaker_of
from ..rows import dump, to_ms
from .ground import Ground, Rows, RunRow
from .sessions import OpenSession

if TYPE_CHECKING:
    from .hooked import Hooked

OPENING_CHARS = 120

_MESSAGE_KEY, _STATUS, _RESULT_KEY, _DURATION = 3, 10, 11, 12
"""Places in the row of a call, as Rows has it."""


@dataclass(slots=True)
class Tally:
    """What this sending adds to the session's counters."""

    seq: int
    messages: int = 0
    history: int = 0
    tool_calls: int = 0
    last_message_key: int = 0
    newest_at: int = 0
    system_digest: bytes | None = None
    opening: str | None = None
    recorded: int = 0
    scrubbed_media: int = 0
    scrubbed_tool_messages: int = 0
    scrubbed_history: int = 0
    secrets: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class OpenCall:
    """A call that waits for its result: stored before, under `call_key`, or a row that waits to be.

    `message_key` is None where policy dropped the message that made it.
    """

    tool_name: str
    message_key: int | None
    call_key: int = 0
    row: list[Any] | None = None


@dataclass(slots=True)
class Intake:
    """One sending of one run, on its way into one session. What it adds waits in `rows`."""

    ground: Ground
    session: OpenSession
    row: RunRow
    run: PreparedRun
    tally: Tally
    rows: Rows = field(default_factory=Rows)
    _open: dict[str, deque[OpenCall]] = field(default_factory=dict)
    _copies: dict[str, deque[OpenCall]] = field(default_factory=dict)

    async def take_new(self, new: Sequence[int], there: Mapping[int, int], hooked: "Hooked | None") -> None:
        """Take what is new of the sending, and note the digest of each message, stored or not.

        `there` are the seqs of those that hooks told already; `hooked` takes what they tell between the others.
        """
        messages, tally = self.run.messages, self.tally
        stored_seq = {i: (seq, 1) for i, seq in there.items()}
        to_take = [i for i in new if i not in there] if there else new
        opened = await self._open_before([messages[i] for i in to_take])
        if hooked is not None:
            await self._open_before(hooked.messages)
            hooked.before(to_take)
        for i, orphan in arranged(messages, to_take, opened):
            message = messages[i]
            tally.scrubbed_media += message.media_scrubbed
            if orphan:
                self._add_missing_call(message)
            elif message.role == "tool" and message.kept:
                self._restore_dropped_call(message)
            if message.kept:
                self._add_message(message)
            else:
                self._note_dropped(message)
            stored_seq[i] = (tally.seq, int(message.kept))
            if hooked is not None:
                hooked.after(i)
        for position, i in enumerate(new, start=self.row.received):
            arrived = messages[i].arrived
            seq, stored = stored_seq[i]
            self.rows.digests.append((self.row.run_key, position, arrived.digest, seq, stored, int(arrived.is_system)))
            if arrived.is_system:
                tally.system_digest = arrived.digest

    def take_history(self, history: Sequence[int]) -> None:
        """Take copies of messages that came only as context. They have no digests and are not in the index.

        Where the window of a caller opens on a result, its call is made up as for any orphan.
        """
        messages, tally = self.run.messages, self.tally
        for i, orphan in arranged(messages, history, {}):
            if not messages[i].kept:
                tally.scrubbed_tool_messages += 1
                continue
            if orphan:
                self._add_missing_call(messages[i], from_history=True)
            self._add_message(messages[i], from_history=True)

    def store(self) -> None:
        """Insert what waits."""
        self.ground.insert(self.rows)
        self._open.clear()
        self._copies.clear()

    def add_calls(self, message: PreparedMessage, key: int | None, start: int, at: int) -> None:
        """The calls of a message from the one in place `start` on, without arguments where policy drops it."""
        for ordinal, call in enumerate(message.tool_calls[start:], start=start):
            arguments = call.arguments if message.kept else None
            self._add_call(key, ordinal, call.tool_call_id, call.tool_name, arguments, at)

    def add_media(self, message_key: int, ordinal: int, media: PreparedMedia) -> None:
        user_key = self.session.user_key
        self.rows.media.append((user_key, media.sha256, media.mime_type, media.size_bytes, media.data, media.url))
        self.rows.shown.append((message_key, ordinal, user_key, media.sha256))

    def time_of(self, message: PreparedMessage) -> int:
        """The message's own time, else the run's: what was asked at its start, what was answered at its end."""
        run = self.run
        asked = message.role in ("system", "user")
        run_time = run.started_at if asked else run.ended_at or run.started_at
        return to_ms(message.created_at or run_time or run.recorded_at)

    # What hooks told

    def take_hooked(self, message: PreparedMessage) -> int | None:
        """Take a message of which no digest is kept; return its key, None where policy drops it."""
        if not message.kept:
            self._note_dropped(message)
            return None
        self._add_message(message)
        return self.tally.last_message_key

    def waits_for(self, tool_call_id: str | None) -> bool:
        """Whether a call of this id has no result yet."""
        return self._open_call(tool_call_id) is not None

    async def _open_before(self, new: Sequence[PreparedMessage]) -> dict[str, int]:
        """Pending calls of the session that a result among these may answer.

        The oldest first: where ids repeat, results come in the order of their calls.
        """
        if self.session.is_new and not self.session.tool_calls:
            return {}
        wanted: dict[str, int] = {}
        for message in new:
            if message.role == "tool":
                wanted[message.tool_call_id or ""] = wanted.get(message.tool_call_id or "", 0) + 1
        if wanted:
            for call_id, found in (await self.ground.pending(self.session.session_key, wanted)).items():
                self._open[call_id] = deque(OpenCall(*call) for call in found)
        return {call_id: len(self._open.get(call_id, ())) for call_id in wanted}

    def _add_message(self, message: PreparedMessage, *, from_history: bool = False) -> None:
        tally = self.tally
        at = self.time_of(message)
        answered = None
        tool_name = message.tool_name
        if message.role == "tool":
            answered = self._open_call(message.tool_call_id, from_history=from_history)
            tool_name = tool_name or (answered.tool_name if answered else None)
        key = self._add_row(
            message.role, message.text, message.payload, at, from_history, message.reasoning, message.tool_call_id,
            tool_name, message.is_error,
        )  # fmt: skip
        for ordinal, media in enumerate(message.media):
            self.add_media(key, ordinal, media)
        if answered is not None:
            self._answer(answered, key, message)
        for ordinal, call in enumerate(message.tool_calls):
            self._add_call(
                key, ordinal, call.tool_call_id, call.tool_name, call.arguments, at, from_history=from_history
            )
        if message.secrets:
            tally.secrets.update(message.secrets)
        if from_history:
            return
        calls = [(call.tool_name, call.arguments) for call in message.tool_calls]
        tools = tuple(name for name, _ in calls) if tool_name is None else (tool_name,)
        self._index(key, at, message.role, message.text, calls, tools, message.payload, message.forms)
        tally.recorded += 1
        tally.newest_at = max(tally.newest_at, at)
        if message.role == "user" and self.session.opening is None and tally.opening is None and message.text.strip():
            tally.opening = opening_of(message.text)

    def _add_row(
        self,
        role: str,
        text: str,
        payload: str | None,
        at: int,
        from_history: bool,
        reasoning: str = "",
        tool_call_id: str | None = None,
        tool_name: str | None = None,
        is_error: bool = False,
    ) -> int:
        tally, key = self.tally, self.ground.next_message_key()
        tally.seq += 1
        self.rows.messages.append(
            (
                key, self.session.session_key, self.row.run_key, tally.seq, role, int(from_history), text,
                reasoning or None, tool_call_id, tool_name, int(is_error), payload, at,
            )
        )  # fmt: skip
        tally.messages += 1
        tally.history += from_history
        tally.last_message_key = key
        return key

    def _index(
        self,
        key: int,
        at: int,
        role: str,
        text: str,
        calls: list[tuple[str, str]] | list[tuple[str, None]],
        tools: tuple[str, ...],
        payload: str | None = None,
        forms: str | None = None,
    ) -> None:
        session = self.session
        scope = Scope(
            session.user_key, session.session_key, session.source, role, session.row.project, self.row.agent, tools
        )
        made = entry(text, calls, scope, speaker_of(payload), forms)
        self.rows.entries.append((key, session.session_key, self.tally.seq, at, made))

    def _note_dropped(self, message: PreparedMessage) -> None:
        """A message that policy drops leaves its calls' names and outcomes, no arguments and no result."""
        tally = self.tally
        tally.scrubbed_tool_messages += 1
        at = self.time_of(message)
        tally.newest_at = max(tally.newest_at, at)
        if message.role == "tool":
            answered = self._open_call(message.tool_call_id)
            # A call that was kept, under another policy, stays pending: its result is not there.
            if answered is not None and answered.message_key is None:
                self._answer(answered, None, message)
        self.add_calls(message, None, 0, at)

    def _restore_dropped_call(self, result: PreparedMessage) -> None:
        """A result that is kept needs its call before it, though policy dropped that when it came."""
        found = self._open_call(result.tool_call_id)
        if found is not None and found.message_key is None:
            found.message_key = key = self._add_call_message(found.tool_name, result)
            if found.row is not None:
                found.row[_MESSAGE_KEY], found.row[_MESSAGE_KEY + 1] = key, 0
            else:
                self.ground.give_message(found.call_key, key)
            self._index(key, self.time_of(result), "assistant", "", [(found.tool_name, None)], (found.tool_name,))

    def _add_missing_call(self, result: PreparedMessage, *, from_history: bool = False) -> None:
        """A call for a result whose call was never sent."""
        key, at = None, self.time_of(result)
        name = result.tool_name or "unknown"
        if result.kept:
            key = self._add_call_message(name, result, from_history=from_history)
            if not from_history:
                self._index(key, at, "assistant", "", [(name, None)], (name,))
        self._add_call(key, 0, result.tool_call_id, name, None, at, from_history=from_history)

    def _add_call_message(self, tool_name: str, result: PreparedMessage, *, from_history: bool = False) -> int:
        """An assistant message that only calls; its payload says that it was made up here."""
        payload = dump({"synthesized": f"the message that called {tool_name} was not stored"})
        return self._add_row("assistant", "", payload, self.time_of(result), from_history)

    def _add_call(
        self,
        message_key: int | None,
        ordinal: int,
        tool_call_id: str | None,
        tool_name: str,
        arguments: str | None,
        at: int,
        *,
        from_history: bool = False,
    ) -> None:
        session, call_id = self.session, tool_call_id or ""
        row = [
            session.user_key, session.session_key, self.row.run_key, message_key, ordinal, call_id, tool_name,
            arguments, at, int(from_history), "pending", None, None,
        ]  # fmt: skip
        self.rows.calls.append(row)
        waiting = self._copies if from_history else self._open
        waiting.setdefault(call_id, deque()).append(OpenCall(tool_name, message_key, row=row))
        self.tally.tool_calls += not from_history

    def _open_call(self, tool_call_id: str | None, *, from_history: bool = False) -> OpenCall | None:
        """The oldest pending call with this id. A copy in a run's history answers a copy in the same run."""
        waiting = (self._copies if from_history else self._open).get(tool_call_id or "")
        return waiting[0] if waiting else None

    def _answer(self, call: OpenCall, result_key: int | None, result: PreparedMessage) -> None:
        status = "error" if result.is_error else "ok"
        if call.row is not None:
            call.row[_STATUS], call.row[_RESULT_KEY], call.row[_DURATION] = status, result_key, result.duration_ms
        else:
            self.ground.answer(call.call_key, status, result_key, result.duration_ms)
        for waiting in (self._open, self._copies):
            calls = waiting.get(result.tool_call_id or "")
            if calls and calls[0] is call:
                calls.popleft()


def opening_of(text: str) -> str:
    """The first words of a text, on one line."""
    line = " ".join(text[: OPENING_CHARS * 4].split())
    return line if len(line) <= OPENING_CHARS else f"{line[: OPENING_CHARS - 1]}…"
