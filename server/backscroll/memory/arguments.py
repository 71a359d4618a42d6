"""Arguments as Python callers and MCP hosts give them: both get the same words. All raise InvalidArgument."""

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidArgument
from ..recall.reading import whole
from ..text import clean_text


def text(name: str, value: Any, max_chars: int) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be text.")
    if len(value) > max_chars:
        raise InvalidArgument(f"{name} has {len(value):,} characters; at most {max_chars:,} are taken. Shorten it.")
    return clean_text(value)


def maybe_text(value: str | None) -> str | None:
    return None if value is None else clean_text(str(value)).strip() or None


def one_of(name: str, value: Any, allowed: Sequence[str]) -> Any:
    if value is not None and value not in allowed:
        raise InvalidArgument(f"{name} must be one of {', '.join(allowed)}, not {value!r:.40}.")
    return value


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(f"{name} must be true or false.")
    return value


def json_object(name: str, value: Any) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be an object.")
    return value


def page_limit(value: int) -> int:
    return whole("limit", value, 1, 100) or 1
