"""Messages and runs with sound defaults; a test states what matters to it. And ways to look at what is stored."""

import base64
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from backscroll.models import Message

_fresh = itertools.count(1)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""The smallest honest picture."""


def user(text: str = "What is the capital of Norway?", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def system(text: str = "You are a careful assistant.", **more: Any) -> dict[str, Any]:
    return {"role": "system", "content": text, **more}


def assistant(text: str | None = "Oslo.", *calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {}), **more}


def call(tool_call_id: str | None = "c1", name: str = "bash", arguments: Any = '{"command":"ls"}') -> dict[str, Any]:
    named = {} if tool_call_id is None else {"id": tool_call_id}
    return {**named, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(tool_call_id: str | None = "c1", text: str = "notes.txt", **more: Any) -> dict[str, Any]:
    named = {} if tool_call_id is None else {"tool_call_id": tool_call_id}
    return {"role": "tool", **named, "content": text, **more}


def a_turn(question: str | None = None, answer: str | None = None) -> list[dict[str, Any]]:
    """A question and its answer, said nowhere else unless given."""
    n = next(_fresh)
    return [user(question or f"Question number {n}?"), assistant(answer or f"Answer number {n}.")]


def a_tool_turn(n: int | None = None) -> list[dict[str, Any]]:
    n = next(_fresh) if n is None else n
    return [
        user(f"Please look into matter {n}."),
        assistant(f"Looking into {n}.", call(f"c{n}", "bash", f'{{"command":"look {n}"}}')),
        result(f"c{n}", f"matter {n} is fine"),
        assistant(f"Matter {n} is fine."),
    ]


def texts(messages: Iterable[Message]) -> list[str]:
    return [message.text for message in messages]


def picture_url(data: bytes = PNG) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def picture(data: bytes = PNG) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": picture_url(data)}}


def bytes_of(database: Path) -> bytes:
    """Everything that the database keeps on disk: the file and its write-ahead log."""
    log = database.with_name(f"{database.name}-wal")
    return database.read_bytes() + (log.read_bytes() if log.exists() else b"")


def faults_of_sequence(messages: Sequence[Message]) -> list[str]:
    """What makes a stored conversation one that no model would take back; nothing when it is valid.

    Each result has a call of its own before it, and each call that says it was answered has its result.
    """
    open_calls: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    faults = []
    for message in messages:
        for made in message.tool_calls:
            open_calls[made.tool_call_id] += 1
            answered[made.tool_call_id] += made.status != "pending"
        if message.role == "tool":
            call_id = message.tool_call_id or ""
            if open_calls[call_id] == 0:
                faults.append(f"{message.ref}: a result of {call_id!r} without its call")
            open_calls[call_id] -= 1
            answered[call_id] -= 1
    faults += [f"{call_id!r}: {count:+} calls say they were answered" for call_id, count in answered.items() if count]
    return faults
