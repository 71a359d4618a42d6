"""Three shapes of messages become one: OpenAI chat, Anthropic content blocks, OpenAI Responses items.

Nothing is lost on the way: what no field has room for goes to the payload. Where a content had several
parts, `payload["parts"]` tells their order: `{"text": characters}`, `{"media": index}`,
`{"tool_call": index}`, or the part itself where it could not be placed.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..errors import InvalidArgument
from ..ids import uuid7
from ..models import NewMedia, NewMessage, NewToolCall, Role
from ..text import clean_json, clean_text
from .parts import maybe_text, media_of, rest_of, rest_of_media, takes_media

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text")
_OUTPUTS = {
    "function_call_output": "output",
    "custom_tool_call_output": "output",
    "local_shell_call_output": "output",
}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
_PLACED = frozenset({"role", "content", "tool_calls", "from_history", "created_at", "type"})
_PLACED_OF_RESULT = frozenset({"tool_call_id", "tool_name", "is_error", "tool_call_error"})


def normalise(messages: Sequence[Any]) -> tuple[NewMessage, ...]:
    """All messages in the one shape. Raises InvalidArgument with the place of what it cannot read."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise InvalidArgument("messages must be a list of objects, each with a role and content.")
    found: list[NewMessage] = []
    thoughts: list[str] = []
    carriers: list[Any] = []
    for i, item in enumerate(messages):
        if isinstance(item, NewMessage):
            found.append(item)
            continue
        if not isinstance(item, Mapping):
            raise InvalidArgument(f"messages[{i}] must be an object with a role and content, not {_kind(item)}.")
        if item.get("type") == "reasoning" and "role" not in item:
            # Responses puts thought before the item that it led to.
            thoughts.append(_reasoning_of(item))
            if rest := rest_of(item, ("type", "summary", "content")):
                carriers.append(rest)
            continue
        for message in _messages_of(item, f"messages[{i}]"):
            if (thoughts or carriers) and message.role == "assistant":
                found.append(_thoughtful(message, thoughts, carriers))
                thoughts, carriers = [], []
            else:
                found.append(message)
    if thoughts or carriers:
        found.append(_thoughtful(NewMessage(role="assistant"), thoughts, carriers))
    return tuple(_with_ids(found))


def _thoughtful(message: NewMessage, thoughts: list[str], carriers: list[Any]) -> NewMessage:
    """The message with the thoughts that led to it, and what else their items carried (ids, sealed content)."""
    told = "\n".join(text for text in [*thoughts, message.reasoning] if text)
    payload = {**(message.payload or {}), **({"reasoning_items": carriers} if carriers else {})}
    return message.model_copy(update={"reasoning": told, "payload": payload or None})


@dataclass
class _Content:
    """What a content was made of, while it is read."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    media: list[NewMedia] = field(default_factory=list)
    calls: list[NewToolCall] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)
    results: list[NewMessage] = field(default_factory=list)


def _messages_of(item: Mapping[str, Any], where: str) -> Iterator[NewMessage]:
    kind = item.get("type") if isinstance(item.get("type"), str) else None
    if kind in _CALLS and "role" not in item:
        yield _call_item(item, where)
        return
    if kind in _OUTPUTS and "role" not in item:
        yield _output_item(item, where)
        return
    if "role" not in item:
        if isinstance(kind, str) and kind != "message":
            # Another Responses item (web_search_call, ...): kept whole, as the assistant's doing.
            yield NewMessage(role="assistant", payload={"item": clean_json(item)}, created_at=_time(item, where))
            return
        raise InvalidArgument(f"{where} has no role. Use system, user, assistant or tool.")
    role = _role(item["role"], where)
    content = _read_content(item.get("content"), where)
    content.calls.extend(_chat_calls(item, where))
    placed = set(_PLACED)
    for name in ("reasoning_content", "reasoning"):
        if isinstance(item.get(name), str):
            if item[name] and item[name] not in content.thoughts:
                content.thoughts.append(clean_text(item[name]))
            placed.add(name)
    if role == "tool":
        placed |= _PLACED_OF_RESULT
        if not item.get("tool_name"):
            placed.add("name")
    if _duration(item) is not None:
        placed.add("duration_ms")
    payload = {
        clean_text(str(name)): clean_json(value)
        for name, value in item.items()
        if name not in placed and value is not None and not takes_media(name, value, content.media)
    }
    shared = {"created_at": _time(item, where), "from_history": item.get("from_history") is True}
    bare = not (content.texts or content.media or content.calls or content.thoughts or content.parts)
    for n, answered in enumerate(content.results):
        kept = {**payload, **(answered.payload or {})} if bare and n == 0 else answered.payload
        yield answered.model_copy(update={**shared, "payload": kept or None})
    if content.results and bare:
        return
    if extras := _extras_of_calls(item):
        payload["calls"] = extras
    if len(content.parts) > 1 or any(not _is_placed(part) for part in content.parts):
        payload["parts"] = content.parts
    yield NewMessage(
        role=role,
        text="\n".join(content.texts),
        reasoning="\n".join(content.thoughts),
        media=tuple(content.media),
        tool_calls=tuple(content.calls),
        tool_call_id=maybe_text(item.get("tool_call_id")) if role == "tool" else None,
        tool_name=maybe_text(item.get("tool_name") or item.get("name")) if role == "tool" else None,
        is_error=role == "tool"
        and bool(item.get("is_error") or item.get("tool_call_error") or item.get("status") == "error"),
        duration_ms=_duration(item),
        payload=payload or None,
        **shared,
    )


def _role(role: Any, where: str) -> Role:
    known = _ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise InvalidArgument(f"{where} has role {role!r:.40}. Use system, user, assistant or tool.")
    return known


def _read_content(value: Any, where: str) -> _Content:
    content = _Content()
    if value is None:
        return content
    if isinstance(value, str):
        if value:
            content.texts.append(clean_text(value))
        return content
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise InvalidArgument(f"{where}.content must be text or a list of parts, not {_kind(value)}.")
    for n, part in enumerate(value):
        _read_part(part, content, f"{where}.content[{n}]")
    return content


def _read_part(part: Any, content: _Content, where: str) -> None:
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise InvalidArgument(f"{where} must be a part with a type, not {_kind(part)}.")
    kind = part.get("type")
    text = part.get("text", part.get("refusal"))
    if kind in _TEXT_PARTS and isinstance(text, str):
        text = clean_text(text)
        content.texts.append(text)
        rest = {"type": kind} if kind == "refusal" else {}
        content.parts.append({"text": len(text), **rest, **rest_of(part, ("type", "text", "refusal"))})
    elif kind == "thinking" and isinstance(part.get("thinking"), str):
        content.thoughts.append(clean_text(part["thinking"]))
        content.parts.append({"thinking": len(content.thoughts[-1]), **rest_of(part, ("type", "thinking"))})
    elif kind == "tool_use" and isinstance(part.get("name"), str):
        content.parts.append({"tool_call": len(content.calls), **rest_of(part, ("type", "id", "name", "input"))})
        content.calls.append(
            NewToolCall(
                tool_call_id=maybe_text(part.get("id")),
                tool_name=clean_text(part["name"]),
                arguments=_arguments(part.get("input")),
            )
        )
    elif kind == "tool_result":
        content.results.append(_tool_result(part, where))
    elif (media := media_of(part)) is not None:
        content.parts.append({"media": len(content.media), **rest_of_media(part, media)})
        content.media.append(media)
    else:
        content.parts.append(clean_json(part))


def _is_placed(part: Mapping[str, Any]) -> bool:
    return len(part) == 1 and next(iter(part)) in ("text", "media", "tool_call", "thinking")


def _tool_result(part: Mapping[str, Any], where: str) -> NewMessage:
    inner = _read_content(part.get("content"), where)
    return NewMessage(
        role="tool",
        text="\n".join(inner.texts),
        media=tuple(inner.media),
        tool_call_id=maybe_text(part.get("tool_use_id")),
        is_error=part.get("is_error") is True,
        payload=_payload_of_result(inner, rest_of(part, ("type", "tool_use_id", "content", "is_error"))),
    )


def _payload_of_result(inner: _Content, rest: dict[str, Any]) -> dict[str, Any] | None:
    told = len(inner.parts) > 1 or any(not _is_placed(one) for one in inner.parts)
    return {**rest, **({"parts": inner.parts} if told else {})} or None


def _chat_calls(item: Mapping[str, Any], where: str) -> Iterator[NewToolCall]:
    calls = item.get("tool_calls")
    if calls is None:
        return
    if not isinstance(calls, list | tuple):
        raise InvalidArgument(f"{where}.tool_calls must be a list, not {_kind(calls)}.")
    for n, call in enumerate(calls):
        function = call.get("function", call.get("custom")) if isinstance(call, Mapping) else None
        told = function if isinstance(function, Mapping) else call
        name = told.get("name", told.get("tool_name")) if isinstance(told, Mapping) else None
        if not isinstance(name, str) or not name:
            raise InvalidArgument(f"{where}.tool_calls[{n}] has no function name.")
        call_id = call.get("id", call.get("tool_call_id"))
        yield NewToolCall(
            tool_call_id=maybe_text(call_id),
            tool_name=clean_text(name),
            arguments=_arguments(told.get("arguments", told.get("args", told.get("input")))),
        )


def _extras_of_calls(item: Mapping[str, Any]) -> dict[str, Any]:
    """What chat calls carry beside id, name and arguments (a sealed thought, an index), by their place."""
    found = {}
    for n, call in enumerate(item.get("tool_calls") or ()):
        rest = rest_of(
            call,
            ("id", "tool_call_id", "function", "custom", "name", "tool_name", "arguments", "args", "input"),
        )
        if rest.get("type") == "function":
            del rest["type"]
        if rest:
            found[str(n)] = rest
    return found


def _call_item(item: Mapping[str, Any], where: str) -> NewMessage:
    name = item.get("name", "local_shell" if item["type"] == "local_shell_call" else None)
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"{where} is a {item['type']} without a name.")
    call = NewToolCall(
        tool_call_id=maybe_text(item.get("call_id") or item.get("id")),
        tool_name=clean_text(name),
        arguments=_arguments(item.get(_CALLS[item["type"]])),
    )
    rest = rest_of(item, ("type", "name", "call_id", _CALLS[item["type"]], "created_at", "from_history"))
    if not item.get("call_id"):
        rest.pop("id", None)
    if item["type"] != "function_call":
        rest["type"] = item["type"]
    return NewMessage(
        role="assistant",
        tool_calls=(call,),
        created_at=_time(item, where),
        from_history=item.get("from_history") is True,
        payload=rest or None,
    )


def _output_item(item: Mapping[str, Any], where: str) -> NewMessage:
    output = item.get(_OUTPUTS[item["type"]])
    rest = rest_of(item, ("type", "call_id", _OUTPUTS[item["type"]], "is_error", "created_at", "from_history"))
    if not item.get("call_id"):
        rest.pop("id", None)
    inner = (
        _read_content(output, where) if isinstance(output, str | list | tuple) else _Content(texts=[_arguments(output)])
    )
    return NewMessage(
        role="tool",
        text="\n".join(inner.texts),
        media=tuple(inner.media),
        tool_call_id=maybe_text(item.get("call_id") or item.get("id")),
        is_error=item.get("status") == "failed" or item.get("is_error") is True,
        created_at=_time(item, where),
        from_history=item.get("from_history") is True,
        payload=_payload_of_result(inner, rest),
    )


def _reasoning_of(item: Mapping[str, Any]) -> str:
    told = [
        part["text"]
        for name in ("content", "summary")
        for part in item.get(name) or ()
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    ]
    return clean_text("\n".join(told))


def _arguments(value: Any) -> str:
    """Arguments as text: as it came where it was text, else compact JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean_text(value)
    return json.dumps(clean_json(value), ensure_ascii=False, separators=(",", ":"))


# Small things


def _with_ids(messages: list[NewMessage]) -> Iterator[NewMessage]:
    """Calls and results that came without an id get one; such results answer such calls in their order."""
    unnamed: deque[str] = deque()
    names: dict[str, str] = {}
    for message in messages:
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                call_id = call.tool_call_id
                if call_id is None:
                    call_id = f"call_{uuid7()}"
                    unnamed.append(call_id)
                    call = call.model_copy(update={"tool_call_id": call_id})
                names[call_id] = call.tool_name
                calls.append(call)
            message = message.model_copy(update={"tool_calls": tuple(calls)})
        if message.role == "tool":
            result_id = message.tool_call_id or (unnamed.popleft() if unnamed else f"call_{uuid7()}")
            name = message.tool_name or names.get(result_id)
            message = message.model_copy(update={"tool_call_id": result_id, "tool_name": name})
        yield message


def _time(item: Mapping[str, Any], where: str) -> datetime | None:
    return moment_of(item.get("created_at"), f"{where}.created_at")


def moment_of(value: Any, where: str) -> datetime | None:
    """A time given as ISO 8601 (UTC unless it says otherwise) or as seconds since 1970."""
    if value is None:
        return None
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value, UTC)
        else:
            raise ValueError
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidArgument(
            f"{where} must be an ISO 8601 time such as 2026-11-20T14:03:00Z, or seconds since 1970, not {value!r:.40}."
        ) from None


def _duration(item: Mapping[str, Any]) -> int | None:
    value = item.get("duration_ms")
    return (
        int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None
    )


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}.get(
        type(value), "a number" if isinstance(value, int | float) else type(value).__name__
    )
