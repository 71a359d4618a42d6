"""Reads a model's answer, which is JSON when the model did as told and often is not quite."""

import json
import re
from collections.abc import Iterator
from typing import Any

from ..errors import SummaryError

MAX_TOPICS = 12
MAX_TOPIC_CHARS = 60

_THINKING = re.compile(r"\s*<(think|thinking|reasoning)>(.*?</\1>|.*\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)
_BROKEN = re.compile(r'"summary"\s*:', re.IGNORECASE)
_MAX_ATTEMPTS = 50


def parse(answer: str) -> tuple[str, tuple[str, ...]]:
    """Summary and topics out of `answer`.

    Reasoning (`<think>`) and code fences around it are dropped. JSON may stand anywhere; text without any is
    the summary, with no topics. Raises SummaryError when nothing usable is left.
    """
    text = _without_reasoning(answer).strip()
    for found in _objects(text):
        fields = {key.casefold(): value for key, value in found.items()}
        if "summary" in fields:
            summary = _prose(fields["summary"])
            if not summary:
                break
            return summary, _topics(fields.get("topics"))
    else:
        fenced = _FENCE.match(text)
        plain = (fenced[1] if fenced else text).strip()
        if plain and not _is_broken_json(plain):
            return plain, ()
    raise SummaryError(
        "The summary model gave no usable summary (empty or cut off). Try again or check BACKSCROLL_SUMMARY_MODEL."
    )


def _without_reasoning(text: str) -> str:
    while match := _THINKING.match(text):
        text = text[match.end() :]
    # Some chat templates put the opening tag into the prompt, so that only the closing one arrives.
    head, closing, tail = text.rpartition("</think>")
    return tail if closing and not head.lstrip().startswith(("{", "```")) else text


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Each JSON object that begins at a brace of `text`; few braces are tried, since text may hold many."""
    decoder = json.JSONDecoder(strict=False)
    start = text.find("{")
    for _ in range(_MAX_ATTEMPTS):
        if start < 0:
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield value
        start = text.find("{", end)


def _prose(value: Any) -> str:
    """A summary as one text: some models answer with a list of sentences."""
    lines = value if isinstance(value, list) else [value]
    return "\n".join(line.strip() for line in lines if isinstance(line, str)).strip()


def _topics(value: Any) -> tuple[str, ...]:
    """Distinct topics on one line each; a string is a list with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        return ()
    topics: dict[str, str] = {}
    for item in items:
        topic = " ".join(item.split())[:MAX_TOPIC_CHARS].strip() if isinstance(item, str) else ""
        if topic:
            topics.setdefault(topic.casefold(), topic)
    return tuple(topics.values())[:MAX_TOPICS]


def _is_broken_json(text: str) -> bool:
    """An object that was cut off before its end: it would read as noise."""
    return text.startswith(("{", "```")) and _BROKEN.search(text) is not None
