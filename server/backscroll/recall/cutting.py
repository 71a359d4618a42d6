"""Tool calls cut to their share of a page: each keeps its handle and how it ended, and of long texts a part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..answers import ToolCallLine
from ..fitting import SMALLEST_PART, Budget, cut_words, shares
from ..models import ToolCall
from ..ranking import stretch
from ..render import compact, tool_call_lines
from ..tokens import estimate

Field = Literal["a", "r"]
"""The arguments of a call, or its result, as cursors name them."""

MARK_TOKENS = 50
"""For a mark with a cursor that reads one text to its end."""

SMALLEST_TEXTS = 165
"""Tokens for a call's texts and their marks: for fewer, less calls are shown and not less of each."""

STRETCH_CHARS = 400
"""Of a long text around the query's words, where several calls are shown: some five lines, a hundred tokens."""

_CHARS_PER_TOKEN = 3
"""To begin with: code has three or four characters a token. What turns out too long is shortened."""

_SPARED = 1.5
"""A call that takes no more than so many shares stays whole: the marks of a cut would take what it gains."""

COUNTED_CHARS = 4_000
"""The tokens of longer texts are estimated: they will be cut in any case, or the page shows."""


class Part(NamedTuple):
    """Of a text what is shown, and from where reading on begins."""

    shown: str
    onward: int


@dataclass(frozen=True, slots=True)
class Cutter:
    """Takes parts of texts: their beginning; where there are `words`, the stretch that holds most of them."""

    budget: Budget
    words: Mapping[str, float]

    def part(self, text: str, tokens: int, chars: int | None = None) -> Part:
        """As much as `tokens` hold, and at most `chars`. What is read on after a stretch from within is the whole."""
        if not self.words:
            shown = self.budget.prefix(text, tokens)
            return Part(shown, len(shown))
        most = min(tokens * _CHARS_PER_TOKEN, chars or len(text))
        while True:
            start, end = stretch(text, self.words, max(most, 1))
            if start == 0:
                shown = self.budget.prefix(text[:end], tokens)
                return Part(shown, len(shown))
            shown = f"...{text[_line_start(text, start, end) : end]}{'...' if end < len(text) else ''}"
            if self._cost(shown) <= tokens or most <= SMALLEST_PART:
                return Part(shown, 0)
            most = most * 4 // 5

    def missing(self, part: Part, text: str, chars: int) -> int:
        """The tokens that are not shown, of a text of so many characters, of which `text` is the beginning."""
        if part.onward:
            return self.budget.missing(part.shown, chars - part.onward, text[part.onward :])
        whole = self.budget.missing(text[:COUNTED_CHARS], chars, text)
        return max(whole - self.budget.count(part.shown), 1)

    def cut(
        self, call: ToolCall, line: ToolCallLine, tokens: int, cursor_of: Callable[[Field, int], str]
    ) -> ToolCallLine:
        """The line in so many tokens, if that can be, each text whole or with a mark that says how to read on."""
        room = tokens
        while True:
            cut = self._cut(call, line, room, cursor_of)
            over = self.budget.cost_of(cut, tool_call_lines) - tokens
            if over <= 0 or room <= SMALLEST_PART:
                return cut
            room -= max(over, SMALLEST_PART)

    def _cut(
        self, call: ToolCall, line: ToolCallLine, tokens: int, cursor_of: Callable[[Field, int], str]
    ) -> ToolCallLine:
        texts = texts_of(call)
        head = line.model_copy(update={"arguments": None, "result": None})
        room = tokens - self.budget.cost_of(head, tool_call_lines)
        wanted = [self._cost(text) if is_whole(call, name) else self.budget.max_tokens for name, text in texts.items()]
        given = shares(wanted, room - MARK_TOKENS)
        given = shares(wanted, room - MARK_TOKENS * sum(have < want for have, want in zip(given, wanted, strict=True)))
        update: dict[str, object] = {}
        for (name, text), have, want in zip(texts.items(), given, wanted, strict=True):
            if have < want:
                part = self.part(text, max(have, SMALLEST_PART), STRETCH_CHARS)
                missing = self.missing(part, text, chars_of(call, name))
                field, mark = fields_of(name)
                update |= {field: part.shown, mark: cut_words(missing, f'cursor "{cursor_of(name, part.onward)}"')}
        return line.model_copy(update=update)

    def _cost(self, text: str) -> int:
        if len(text) > COUNTED_CHARS:
            return estimate(text)
        return self.budget.count(text if self.budget.form == "text" else compact(text))


def shared_out(costs: Sequence[int], available: int) -> list[int | None]:
    """How many tokens each call may take: None for one that stays whole.

    Short ones get what they cost, long ones equal shares of the rest.
    """
    spared = int(_SPARED * available / max(len(costs), 1))
    return [
        None if cost <= max(share, spared) else share
        for cost, share in zip(costs, shares(costs, available), strict=True)
    ]


def texts_of(call: ToolCall) -> dict[Field, str]:
    return {"a": call.arguments_text, "r": call.result or ""}


def chars_of(call: ToolCall, name: Field) -> int:
    return call.arguments_chars if name == "a" else call.result_chars


def is_whole(call: ToolCall, name: Field) -> bool:
    return len(texts_of(call)[name]) >= chars_of(call, name)


def fields_of(name: Field) -> tuple[str, str]:
    """The fields of a line that hold the text, and the mark of its cut."""
    return ("arguments", "cut") if name == "a" else ("result", "result_cut")


def _line_start(text: str, start: int, end: int) -> int:
    """The first line that begins soon after, so that a reader sees it whole; else where it was."""
    found = text.find("\n", start, start + (end - start) // 6)
    return start if found < 0 else found + 1
