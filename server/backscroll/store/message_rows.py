"""Messages and tool calls out of rows: columns and values that both stores share."""

import json
from collections.abc import Sequence
from typing import Any

from ..models import Media, Message, ToolCall
from ..text import clean_json
from .rows import from_ms, load, unpack_id

message_columns = (
    "m.message_key, m.seq, r.run_id, m.role, substr(m.text, 1, {chars}), m.reasoning, m.tool_call_id, m.tool_name, "
    "m.is_error, r.agent, m.created_at, m.from_history, m.payload, {length}"
).format
"""Of messages `m` with their runs `r`. `chars` is the placeholder of the most characters of a text, `length` tells how
many it has."""


def message_of(row: Sequence[Any], number: int, calls: Sequence[ToolCall], media: Sequence[Media]) -> Message:
    """A row of `message_columns` of the session with this number, and what hangs on the message."""
    (
        _, seq, run_id, role, text, reasoning, tool_call_id, tool_name, is_error, agent, created_at, from_history,
        payload, text_chars,
    ) = row  # fmt: skip
    return Message(
        ref=f"#{number}.{seq}",
        session=f"#{number}",
        seq=seq,
        run_id=unpack_id(run_id),
        role=role,
        text=text,
        reasoning=reasoning,
        media=tuple(media),
        tool_calls=tuple(calls),
        tool_call_id=tool_call_id,
        tool_name=tool_name,
        is_error=bool(is_error),
        agent=agent,
        created_at=from_ms(created_at),
        from_history=bool(from_history),
        payload=load(payload),
        text_chars=text_chars,
    )


def listed_call(row: Sequence[Any]) -> ToolCall:
    """A call as its message lists it: id, name, arguments (their first part), their length, status, duration."""
    call_id, name, arguments, chars, status, duration_ms = row
    return ToolCall(
        tool_call_id=call_id,
        tool_name=name,
        arguments=arguments_of(arguments),
        status=status,
        duration_ms=duration_ms,
        arguments_text=arguments or "",
        arguments_chars=chars or 0,
    )


call_columns = (
    "c.call_key, c.called_at, s.number, c.tool_call_id, c.tool_name, substr(c.arguments, 1, {chars}), "
    "length(c.arguments), substr(f.text, 1, {chars}), length(f.text), {status}, c.duration_ms, r.run_id, r.agent, "
    "coalesce(m.seq, f.seq)"
).format
"""Of calls `c` in sessions `s` and runs `r`, with the messages `m` that made them and their results `f`."""


def call_of(row: Sequence[Any]) -> ToolCall:
    """A row of `call_columns`: a call that stands by itself, with its result."""
    (
        _, called_at, number, call_id, name, arguments, chars, result, result_chars, status, duration_ms, run_id, agent,
        seq,
    ) = row  # fmt: skip
    return ToolCall(
        tool_call_id=call_id,
        tool_name=name,
        arguments=arguments_of(arguments),
        result=result,
        status=status,
        session=f"#{number}",
        ref=None if seq is None else f"#{number}.{seq}",
        seq=seq,
        run_id=unpack_id(run_id),
        agent=agent,
        created_at=from_ms(called_at),
        duration_ms=duration_ms,
        arguments_text=arguments or "",
        arguments_chars=chars or 0,
        result_chars=result_chars or 0,
    )


def arguments_of(text: str | None) -> dict[str, Any] | str | None:
    """An object where the text is a JSON object, else the text itself."""
    if text is not None and text.lstrip().startswith("{"):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return text
        # Escapes may spell what no wire can carry, and parsers along the way give up on deep nesting.
        if isinstance(parsed, dict) and clean_json(parsed) == parsed:
            return parsed
    return text
