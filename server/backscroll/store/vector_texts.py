"""What the vector of a message is made from: shared by both stores."""

from collections.abc import Iterable, Sequence
from typing import Any

from .indexing import call_text, speaker_of

SPAN = 5_000
"""So many messages are looked at in one go, where few of them need a vector."""


def text_of(payload: str | None, text: str, calls: Iterable[Sequence[Any]], max_chars: int) -> str:
    """The beginning of a message: who speaks, where that is told, its text, and its calls as the index has them."""
    name = speaker_of(payload)
    parts = [f"{name}: {text}" if name and text else text]
    if len(text) < max_chars:
        parts += [call_text(tool_name, arguments) for tool_name, arguments in calls]
    return "\n".join(parts)[:max_chars].strip()
