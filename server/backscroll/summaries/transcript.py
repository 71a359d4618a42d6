"""A conversation as a summary model reads it: compact, within a token budget, and fenced.

System messages are left out, since they are not what was said, and so is history that a run only carried.
A day is named where it begins, so that "yesterday" can be resolved. Every cut says how much it left out.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..models import Message, ToolCall
from ..tokens import estimate


class Limits(NamedTuple):
    """Characters that stay of a text, of a call's arguments and of its result; longer ones are cut."""

    text: int
    arguments: int
    result: int


LEVELS = (
    Limits(8_000, 600, 1_500),
    Limits(8_000, 300, 300),
    Limits(3_000, 160, 120),
    Limits(800, 80, 0),
)
"""Tried in order until the conversation fits: results are shortened first, what was said last."""

_HEAD_SHARE = 0.3
_GAP_TOKENS = 40
_BLOCK_TOKENS = 4  # a line break, and a day's line now and then


class Block(NamedTuple):
    day: str
    text: str

    @property
    def tokens(self) -> int:
        return estimate(self.text) + _BLOCK_TOKENS


def render(messages: Sequence[Message], *, max_tokens: int) -> str:
    """The messages in about `max_tokens` at most, by `tokens.estimate`.

    Where even the tightest level is too long, the middle is left out and its place says so.
    """
    spoken = [message for message in messages if message.role != "system" and not message.from_history]
    blocks: list[Block] = []
    for limits in LEVELS:
        blocks = _blocks(spoken, limits)
        if sum(block.tokens for block in blocks) <= max_tokens:
            return "\n".join(_with_days(blocks))
    return _ends(blocks, max_tokens)


def fence(name: str, text: str, nonce: str) -> str:
    """`text` between markers that it cannot contain, as the nonce was drawn after it was written."""
    return f"<{name}-{nonce}>\n{text}\n</{name}-{nonce}>"


def shorten(text: str, max_chars: int) -> str:
    """Beginning and end of `text` with a note of what is missing; the end of a log matters most."""
    text = text.strip()
    if len(text) <= max_chars:
        return text
    omitted = f"[{len(text) - max_chars:,} characters omitted]"
    if max_chars == 0:
        return omitted
    head = max_chars // 2
    return f"{text[:head]} {omitted} {text[len(text) - (max_chars - head) :]}"


def _blocks(messages: Sequence[Message], limits: Limits) -> list[Block]:
    """One block a message, empty ones left out; a result stands under its call."""
    results = {message.tool_call_id: message for message in messages if message.role == "tool"}
    called = {call.tool_call_id for message in messages for call in message.tool_calls}
    several_agents = len({message.agent for message in messages if message.role == "assistant"}) > 1
    blocks: list[Block] = []
    for message in messages:
        lines: list[str] = []
        if message.role == "tool":
            if message.tool_call_id in called:
                continue
            status = "error" if message.is_error else "ok"
            lines.append(f"tool {message.tool_name or 'unnamed'} {status}: {shorten(message.text, limits.result)}")
        else:
            speaker: str = message.role
            if several_agents and speaker == "assistant" and message.agent:
                speaker = f"assistant {message.agent}"
            said = [shorten(message.text, limits.text)] if message.text.strip() else []
            said += [f"[{media.mime_type}, {media.size_bytes:,} bytes]" for media in message.media]
            if said:
                lines.append(f"{speaker}: {' '.join(said)}")
            for call in message.tool_calls:
                lines += _call_lines(call, results.get(call.tool_call_id), limits)
        if lines:
            blocks.append(Block(message.created_at.date().isoformat(), "\n".join(lines)))
    return blocks


def _call_lines(call: ToolCall, answer: Message | None, limits: Limits) -> list[str]:
    arguments = call.arguments
    if not isinstance(arguments, str):
        arguments = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    lines = [f"call {call.tool_name} {shorten(arguments, limits.arguments)}".rstrip()]
    result = answer.text if answer is not None else call.result
    if result is None:
        return lines
    failed = call.status == "error" or (answer is not None and answer.is_error)
    return [*lines, f"  {'error' if failed else 'ok'}: {shorten(result, limits.result)}".rstrip()]


def _with_days(blocks: Iterable[Block]) -> Iterator[str]:
    shown = None
    for block in blocks:
        if block.day != shown:
            yield f"[{block.day}]"
        shown = block.day
        yield block.text


def _ends(blocks: Sequence[Block], max_tokens: int) -> str:
    """Beginning and end of the blocks. The end gets the larger share: it says how things stand."""
    left = max(max_tokens - _GAP_TOKENS, 0)
    head, used = _fitting(blocks, int(left * _HEAD_SHARE))
    tail, _ = _fitting(blocks[::-1], left - used)
    if head + tail == 0:
        # One message larger than the room: a character never takes more than a token here.
        return shorten(blocks[-1].text, left)
    gap = f"[{len(blocks) - head - tail:,} of {len(blocks):,} messages omitted here, for lack of room]"
    return "\n".join([*_with_days(blocks[:head]), gap, *_with_days(blocks[len(blocks) - tail :])])


def _fitting(blocks: Sequence[Block], max_tokens: int) -> tuple[int, int]:
    """How many leading blocks fit, and what they take."""
    used = 0
    for count, block in enumerate(blocks):
        if used + block.tokens > max_tokens:
            return count, used
        used += block.tokens
    return len(blocks), used
