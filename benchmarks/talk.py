"""Conversations to record: real words, the same on every machine with the same Python.

What people and models say is cut from Python's own documentation, what tools print from the standard
library's source, each time from another place.
"""

import itertools
import json
import random
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

Chat = list[dict[str, Any]]


class Sizes(NamedTuple):
    """Characters on average: the user's message, the words beside the tool call, the result, the answer."""

    asked: int = 250
    said: int = 120
    result: int = 1000
    answer: int = 450

    @classmethod
    def even(cls, chars: int) -> "Sizes":
        return cls(chars, chars, chars, chars)


USUAL = Sizes()


@cache
def _prose() -> str:
    from pydoc_data.topics import topics

    return " ".join(" ".join(topics.values()).split())


@cache
def _source() -> str:
    folder = Path(sysconfig.get_path("stdlib"))
    return "\n".join(path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.py")))


class Talk:
    """An endless conversation; the same `seed` gives the same one."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)

    def run(self, sizes: Sizes = USUAL) -> Chat:
        """A question, a tool call, its result, an answer, in the OpenAI chat shape."""
        number = next(self._numbers)
        path = f"src/module_{self._random.randrange(400)}.py"
        call_id = f"call_{self._random.getrandbits(96):024x}"
        arguments = json.dumps({"command": f"sed -n '{number},{number + 40}p' {path}"})
        call = {"id": call_id, "type": "function", "function": {"name": "bash", "arguments": arguments}}
        return [
            {"role": "user", "content": self._cut(_prose(), sizes.asked)},
            {"role": "assistant", "content": self._cut(_prose(), sizes.said), "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": self._cut(_source(), sizes.result)},
            {"role": "assistant", "content": self._cut(_prose(), sizes.answer)},
        ]

    def chat(self, chars: int) -> Chat:
        """A question and an answer, no tools."""
        roles = ("user", "assistant")
        return [{"role": role, "content": self._cut(_prose(), chars)} for role in roles]

    def _cut(self, text: str, average: int) -> str:
        """A passage of half to one and a half the length: equal ones would fill pages oddly well or badly."""
        chars = self._random.randint(average // 2, average * 3 // 2)
        start = text.index(" ", self._random.randrange(len(text) - 2 * chars - 200)) + 1
        return text[start : start + chars]


def text_bytes(chat: Chat) -> int:
    """What was said: the bytes of all texts and of the calls' arguments."""
    texts = [message["content"] for message in chat]
    texts += [call["function"]["arguments"] for message in chat for call in message.get("tool_calls", ())]
    return sum(len(text.encode()) for text in texts)
