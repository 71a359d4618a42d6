"""`get_chat_history`: the newest messages that fit, around a message, or on from where a page was cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..answers import CallLine, ChatPage, MessageLine
from ..fitting import NO_ROOM, Budget, cut_words, leading, nonce, shares, squeezed
from ..models import Message
from ..policy import FENCE_SENTENCE
from ..render import message_lines
from ..store import ChatSlice, ChatWindow
from .reading import Reader

TOOL = "get_chat_history"
MARK_TOKENS = 60
"""Room for the words that stand where a text was cut, its cursor included."""


@dataclass(frozen=True, slots=True)
class Chat:
    """What was asked: `arguments` are those that a cursor has to hold, `session` among them."""

    session: str
    arguments: dict[str, Any]
    num_history_runs: int | None
    agent: str | None
    include_tool_messages: bool
    unique: bool
    around: int | None
    position: dict[str, Any] | None
    resolved: str | None = None


async def chat_page(reader: Reader, chat: Chat, budget: Budget) -> ChatPage:
    position = chat.position or {}
    if "o" in position:
        return await _inside(reader, chat, budget, position)
    window = ChatWindow(
        num_history_runs=chat.num_history_runs,
        agent=chat.agent,
        include_tool_messages=chat.include_tool_messages,
        unique=chat.unique,
        before=position.get("b"),
        start=position.get("s"),
        around=chat.around if not position else None,
        as_of=position.get("n"),
        max_messages=budget.max_tokens // 8,
        max_chars=budget.max_chars,
    )
    found = await reader.store.chat(reader.user_id, chat.session, window)
    return _Composer(reader, chat, budget, found).page(window)


Group = tuple[Message, ...]


def grouped(messages: Sequence[Message]) -> list[Group]:
    """Messages that stay together: an assistant message that called tools, and the results right behind it."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.role == "tool" and groups and (groups[-1][0].tool_calls or groups[-1][0].role == "tool"):
            groups[-1].append(message)
        else:
            groups.append([message])
    return [tuple(group) for group in groups]


class _Composer:
    """Makes one page from what was fetched."""

    def __init__(self, reader: Reader, chat: Chat, budget: Budget, found: ChatSlice) -> None:
        self._reader = reader
        self._chat = chat
        self._budget = budget
        self._found = found
        self._nonce = nonce()
        groups = grouped(found.messages)
        # At the rim of what was fetched a group may be torn: its other half comes with the next page.
        position = chat.position or {}
        # Not where a cursor says to begin, though: there the page before left off.
        if len(groups) > 1 and "s" not in position and found.older and groups[0][0].role == "tool":
            groups = groups if self._is_asked_for(groups[0]) else groups[1:]
        torn = chat.include_tool_messages and "b" not in position and found.newer
        if torn and len(groups) > 1 and groups[-1][0].tool_calls and window_is_torn(groups[-1]):
            groups = groups if self._is_asked_for(groups[-1]) else groups[:-1]
        self._groups = groups

    def _is_asked_for(self, group: Group) -> bool:
        """Whether a group holds the message whose handle was given: that one is shown, its group torn or not."""
        return not self._chat.position and any(message.seq == self._chat.around for message in group)

    def page(self, window: ChatWindow) -> ChatPage:
        groups = self._groups
        if not groups:
            return self._page((), None, None)
        anchor = len(groups) - 1
        if window.start is not None:
            anchor = 0
        elif window.around is not None:
            anchor = next((i for i, group in enumerate(groups) if group[-1].seq >= window.around), anchor)
        if self._surely_fits():
            page = self._pages(0, len(groups))
            if self._budget.holds(page):
                return page
        low, high = self._widest(anchor, both=window.around is not None)
        while True:
            if high - low == 1 and not self._whole(groups[low]):
                return self._cut(low, window.around)
            page = self._pages(low, high)
            if self._budget.holds(page):
                return page
            if high - low == 1:
                return self._cut(low, window.around)
            # Drop what lies farthest from where the reader looks.
            if high - 1 - anchor >= anchor - low:
                high -= 1
            else:
                low += 1

    def _surely_fits(self) -> bool:
        """Whether all that was fetched is so little that one look at the whole page costs less than counting."""
        chars = sum(
            message.text_chars + sum(call.arguments_chars for call in message.tool_calls)
            for group in self._groups
            for message in group
        )
        return chars < self._budget.max_tokens * 2 and all(map(self._whole, self._groups))

    def _widest(self, anchor: int, *, both: bool) -> tuple[int, int]:
        """The range of groups around the anchor that should fit, by the sum of their costs."""
        available = self._budget.max_tokens - self._frame()
        low, high = anchor, anchor + 1
        available -= self._cost(anchor)
        newer, older = high < len(self._groups), low > 0
        while available > 0 and (newer or older):
            if newer:
                available -= self._cost(high)
                if available < 0:
                    break
                high += 1
            if older and (both or anchor == len(self._groups) - 1):
                available -= self._cost(low - 1)
                if available < 0:
                    break
                low -= 1
            newer = high < len(self._groups)
            older = low > 0 and (both or anchor == len(self._groups) - 1)
        return low, high

    def _cost(self, i: int) -> int:
        group = self._groups[i]
        if not self._whole(group):
            return self._budget.max_tokens
        return sum(self._budget.cost_of(line_of(message), message_lines) for message in group)

    def _frame(self) -> int:
        first, last = self._groups[0][0], self._groups[-1][-1]
        return self._budget.cost(self._page((), self._before(first.seq), self._from(last.seq)))

    @staticmethod
    def _whole(group: Group) -> bool:
        return all(
            message.text_chars <= len(message.text)
            and all(call.arguments_chars <= len(call.arguments_text) for call in message.tool_calls)
            for message in group
        )

    def _pages(self, low: int, high: int) -> ChatPage:
        messages = [message for group in self._groups[low:high] for message in group]
        return self._page(tuple(map(line_of, messages)), *self._ends(messages[0], messages[-1]))

    def _ends(self, first: Message, last: Message) -> tuple[str | None, str | None]:
        told = self._found.messages
        older = self._found.older or told[0].seq < first.seq
        newer = self._found.newer or told[-1].seq > last.seq
        return self._before(first.seq) if older else None, self._from(last.seq + 1) if newer else None

    def _page(self, lines: tuple[MessageLine, ...], previous: str | None, following: str | None) -> ChatPage:
        session = self._found.session
        return ChatPage(
            notice=FENCE_SENTENCE,
            nonce=self._nonce,
            session_id=session.session_id,
            session=session.session,
            messages=lines,
            previous_cursor=previous,
            next_cursor=following,
            total=self._found.total,
            resolved=self._chat.resolved,
            coverage=self._reader.coverage,
        )

    def _before(self, seq: int) -> str:
        return self._cursor({"b": seq})

    def _from(self, seq: int) -> str:
        return self._cursor({"s": seq})

    def _cursor(self, position: dict[str, Any]) -> str:
        return _cursor(self._reader, self._chat, position, self._found.as_of)

    # A group that does not fit by itself

    def _cut(self, i: int, around: int | None) -> ChatPage:
        group = self._groups[i]
        asked_for = next((n for n, message in enumerate(group) if message.seq == around), 0)
        heads = [self._budget.cost_of(_emptied(line_of(message)), message_lines) for message in group]
        if sum(heads[: asked_for + 1]) + 3 * MARK_TOKENS > self._budget.max_tokens - self._frame():
            # The message that was named comes first; the call that it answers is one cursor back.
            return self._shrunk(group[asked_for:])
        page = self._shrunk(group)
        if all(line.seq != group[asked_for].seq for line in page.messages):
            page = self._shrunk(group[asked_for:])
        return page

    def _shrunk(self, group: Group) -> ChatPage:
        available = self._budget.max_tokens - self._frame()
        return squeezed(
            lambda tokens: self._cut_to(group, tokens), available, self._budget, lambda page: lean(page, self._budget)
        )

    def _cut_to(self, group: Group, available: int) -> ChatPage:
        """Each message's texts shortened to their share; the last messages go where even the heads are too many."""
        lines = [line_of(message) for message in group]
        heads = [self._budget.cost_of(_emptied(line), message_lines) for line in lines]
        kept = max(1, leading(heads, available - MARK_TOKENS))
        texts = [_Text(group[n], None) for n in range(kept)]
        texts += [_Text(group[n], c) for n in range(kept) for c in range(len(group[n].tool_calls))]
        texts = [text for text in texts if text.shown]
        wanted = [self._wanted(text) for text in texts]
        room = available - sum(heads[:kept])
        given = shares(wanted, room)
        cut = sum(have < want for have, want in zip(given, wanted, strict=True))
        given = shares(wanted, room - MARK_TOKENS * cut)
        first_cut: str | None = None
        for text, have, want in zip(texts, given, wanted, strict=True):
            if have >= want:
                continue
            n = next(n for n, message in enumerate(group) if message is text.message)
            shown = self._budget.prefix(text.shown, have)
            rest_chars = text.chars - len(shown)
            cursor = self._cursor({"s": text.message.seq, "o": len(shown), **text.field})
            first_cut = first_cut or cursor
            words = cut_words(
                self._budget.missing(shown, rest_chars, text.shown[len(shown) :]),
                "next_cursor" if self._budget.form == "json" and first_cut == cursor else f'cursor "{cursor}"',
            )
            lines[n] = _with_cut(lines[n], text.call, shown, words)
        previous, following = self._ends(group[0], group[kept - 1])
        return self._page(tuple(lines[:kept]), previous, first_cut or following)

    def _wanted(self, text: "_Text") -> int:
        counted = self._budget.count(text.shown)
        return counted if text.chars <= len(text.shown) else counted + self._budget.max_tokens


@dataclass(frozen=True, slots=True)
class _Text:
    """One text of a message that may be cut: its own (call None), or a call's arguments."""

    message: Message
    call: int | None

    @property
    def shown(self) -> str:
        if self.call is None:
            return self.message.text
        return self.message.tool_calls[self.call].arguments_text

    @property
    def chars(self) -> int:
        return self.message.text_chars if self.call is None else self.message.tool_calls[self.call].arguments_chars

    @property
    def field(self) -> dict[str, Any]:
        return {} if self.call is None else {"c": self.call}


def window_is_torn(group: Group) -> bool:
    """Whether a group lacks results of its calls that may lie beyond what was fetched."""
    answered = {message.tool_call_id for message in group[1:]}
    return any(call.status != "pending" and call.tool_call_id not in answered for call in group[0].tool_calls)


def line_of(message: Message) -> MessageLine:
    status = None
    if message.role == "tool":
        status = "error" if message.is_error else "ok"
    return MessageLine(
        ref=message.ref,
        seq=message.seq,
        run_id=message.run_id,
        role=message.role,
        text=message.text,
        tool_name=message.tool_name,
        tool_call_id=message.tool_call_id,
        status=status,
        tool_calls=tuple(
            CallLine(tool_call_id=call.tool_call_id, tool_name=call.tool_name, arguments=call.arguments)
            for call in message.tool_calls
        ),
        media=message.media,
        agent=message.agent,
        from_history=message.from_history,
        created_at=message.created_at,
    )


def _emptied(line: MessageLine) -> MessageLine:
    calls = tuple(call.model_copy(update={"arguments": None}) for call in line.tool_calls)
    return line.model_copy(update={"text": "", "tool_calls": calls})


def _with_cut(line: MessageLine, call: int | None, shown: str, words: str) -> MessageLine:
    if call is None:
        return line.model_copy(update={"text": shown, "cut": words})
    calls = list(line.tool_calls)
    calls[call] = calls[call].model_copy(update={"arguments": shown, "cut": words})
    return line.model_copy(update={"tool_calls": tuple(calls)})


def lean(page: ChatPage, budget: Budget) -> ChatPage:
    """The last resort of a very small budget: the fields that a handle can bring back go first, then text."""
    for leave_out in ({"run_id": None, "agent": None}, {"created_at": None, "tool_call_id": None}, {"media": ()}):
        page = page.model_copy(update={"messages": tuple(m.model_copy(update=leave_out) for m in page.messages)})
        if budget.holds(page):
            return page
    for update in ({"resolved": None, "coverage": None}, {"session_id": None}):
        page = page.model_copy(update=update)
        if budget.holds(page):
            return page
    page = page.model_copy(update={"messages": tuple(map(_without_calls, page.messages[:1]))})
    if budget.holds(page):
        return page
    marked = tuple(m.model_copy(update={"cut": m.cut and NO_ROOM}) for m in page.messages)
    return page.model_copy(update={"messages": marked, "next_cursor": None, "previous_cursor": None})


def _without_calls(line: MessageLine) -> MessageLine:
    """The line with its calls left out, and words in their place where no other cut says how to read on."""
    if not line.tool_calls:
        return line.model_copy(update={"tool_name": None})
    told = f'[{len(line.tool_calls)} calls cut: get_tool_call_history(session_id="{line.ref}") reads on]'
    return line.model_copy(update={"tool_calls": (), "tool_name": None, "cut": line.cut or told})


def _continued(line: MessageLine, call: int | None, shown: str, offset: int, words: str | None) -> MessageLine:
    """A message of which only the rest of one text is shown: its own, or a call's arguments."""
    if call is None:
        told: dict[str, Any] = {"text": shown, "cut": words, "tool_calls": ()}
    else:
        part = line.tool_calls[call].model_copy(update={"arguments": shown, "cut": words})
        told = {"text": "", "tool_calls": (part,)}
    return line.model_copy(update={**told, "offset": offset, "media": ()})


def _cursor(reader: Reader, chat: Chat, position: dict[str, Any], as_of: int) -> str:
    return reader.cursors.make(TOOL, chat.arguments, {**position, "n": as_of})


async def _inside(reader: Reader, chat: Chat, budget: Budget, position: dict[str, Any]) -> ChatPage:
    """On from where a text was cut; at its end the cursor goes on to the message behind it."""
    seq, offset, call = position["s"], position["o"], position.get("c")
    message, rest, chars = await reader.store.text_of(
        reader.user_id, chat.session, seq, call=call, offset=offset, max_chars=budget.max_chars
    )
    session = await reader.store.session(reader.user_id, chat.session)
    more = min(position["n"], session.last_seq) > seq

    # One for all attempts: another nonce may take a token more.
    fence = nonce()

    def page(shown: str) -> ChatPage:
        rest_chars = chars - offset - len(shown)
        words = None
        following = _cursor(reader, chat, {"s": seq + 1}, position["n"]) if more else None
        if rest_chars > 0:
            again = {"s": seq, "o": offset + len(shown)} | ({} if call is None else {"c": call})
            following = _cursor(reader, chat, again, position["n"])
            how = "next_cursor" if budget.form == "json" else f'cursor "{following}"'
            words = cut_words(budget.missing(shown, rest_chars, rest[len(shown) :]), how)
        line = _continued(line_of(message), call, shown, offset, words)
        return ChatPage(
            notice=FENCE_SENTENCE,
            nonce=fence,
            session_id=session.session_id,
            session=session.session,
            messages=(line,),
            next_cursor=following,
            resolved=chat.resolved,
        )

    whole = page(rest)
    if chars - offset <= len(rest) and budget.holds(whole):
        return whole
    available = budget.max_tokens - budget.cost(page(""))
    return squeezed(lambda tokens: page(budget.prefix(rest, tokens)), available, budget, lambda cut: lean(cut, budget))
