"""What tools did in a session: which were used, on which files, and which errors were overcome."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..models import Message
from .sentences import clip

# The argument that says what a call was about, by the names that hosts and frameworks use.
_SUBJECT_KEYS = ("command", "cmd", "file_path", "path", "filename", "url", "query", "pattern")
_PATH_KEYS = frozenset({"file_path", "path", "filename", "file", "notebook_path", "absolute_path", "filepath", "paths"})
# In a patch (Codex) and in shell commands: a word with a folder or with an ending that files have.
_PATCHED = re.compile(r"^\*\*\* (?:Add|Update|Delete) File: (.+)$", re.MULTILINE)
_PATH = re.compile(
    r"(?<![\w/.:@-])(?:\.{0,2}/)?(?:[\w.@-]+/)*[\w@-][\w.@-]*"
    r"\.(?:py|pyi|js|mjs|jsx|ts|tsx|go|rs|c|h|cc|cpp|hpp|java|kt|rb|php|cs|swift|sh|sql|md|rst|txt|toml|ya?ml|json|jsonl|csv"
    r"|html|css|vue|svelte|ipynb|lock|cfg|ini|env|xml|proto|tf|pdf|docx|xlsx)(?![\w/-])"
)
# What says most of an error: the exception that ended a program, then the first complaint of a compiler.
_RAISED = re.compile(r"^(?:E\s+)?[\w.]*(?:Error|Exception)\b")
_COMPLAINT = re.compile(r"\berror(?:\[\w+\])?:", re.IGNORECASE)
_TROUBLE = re.compile(r"error|failed|fatal|denied|not found|panic|no such|cannot|timed out", re.IGNORECASE)
_TRACE = re.compile(r"^(?:Traceback|\s*(?:at |File \"|=+|-+\s*$|\^+))", re.IGNORECASE)
_SCAN_CHARS = 4_000


class Call(NamedTuple):
    """One call with its outcome. `failed` is None while no result is known; `error` is what it said."""

    ref: str
    seq: int
    tool_name: str
    subject: str
    failed: bool | None
    error: str


class Failure(NamedTuple):
    """A call that failed and, where the same was tried again and went well, the handle of that call."""

    call: Call
    solved_ref: str | None


def calls_of(messages: Sequence[Message]) -> list[Call]:
    """Every call in order. A tool message whose call is not among the messages counts as one."""
    answers = {message.tool_call_id: message for message in messages if message.role == "tool"}
    made: set[str | None] = set()
    found: list[Call] = []
    for message in messages:
        for call in message.tool_calls:
            made.add(call.tool_call_id)
            answer = answers.get(call.tool_call_id)
            failed = call.status == "error" or (answer is not None and answer.is_error)
            known = failed or answer is not None or call.status == "ok"
            told = (answer.text if answer is not None else call.result) or ""
            found.append(
                Call(
                    message.ref,
                    message.seq,
                    call.tool_name,
                    _subject(call.arguments),
                    failed if known else None,
                    error_line(told) if failed else "",
                )
            )
        if message.role == "tool" and message.tool_call_id not in made:
            error = error_line(message.text) if message.is_error else ""
            found.append(Call(message.ref, message.seq, message.tool_name or "tool", "", message.is_error, error))
    return found


def failures(calls: Sequence[Call]) -> list[Failure]:
    """Failed calls in order, one for each thing tried: the last time that it failed.

    Solved by the next call of the same tool with the same beginning of what it was about.
    """
    last: dict[tuple[str, str], Failure] = {}
    for call in calls:
        key = (call.tool_name, call.subject[:60])
        if call.failed:
            last[key] = Failure(call, None)
        elif call.failed is False and call.subject and key in last and last[key].solved_ref is None:
            last[key] = Failure(last[key].call, call.ref)
    return sorted(last.values(), key=lambda failure: failure.call.seq)


def files_of(messages: Sequence[Message]) -> Counter[str]:
    """Paths in the arguments of calls, with how many calls named each; no folder of another path."""
    files: Counter[str] = Counter()
    for message in messages:
        for call in message.tool_calls:
            files.update(set(_paths(call.arguments)))
    folders = {path[:at] for path in files for at, mark in enumerate(path) if mark == "/"}
    return Counter({path: count for path, count in files.items() if path.rstrip("/") not in folders})


def error_line(text: str) -> str:
    """The line of an error that says most, else its last line."""
    lines = [line for line in text[-_SCAN_CHARS:].splitlines() if line.strip() and not _TRACE.match(line)]
    raised = [line for line in lines if _RAISED.search(line)][-1:]
    complaint = [line for line in lines if _COMPLAINT.search(line)][:1]
    trouble = [line for line in lines if _TROUBLE.search(line)][-1:]
    return clip((raised or complaint or trouble or lines[-1:] or [""])[0], 100)


def _subject(arguments: Mapping[str, Any] | str | None) -> str:
    if isinstance(arguments, str):
        return clip(arguments, 120)
    for key in _SUBJECT_KEYS:
        value = (arguments or {}).get(key)
        if isinstance(value, list):
            value = " ".join(item for item in value if isinstance(item, str))
        if isinstance(value, str) and value.strip():
            return clip(value, 120)
    return ""


def _paths(arguments: Mapping[str, Any] | str | None) -> Iterator[str]:
    if isinstance(arguments, str):
        arguments = {"": arguments}
    for key, value in (arguments or {}).items():
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                continue
            if key in _PATH_KEYS and 0 < len(text) <= 200 and "\n" not in text:
                yield text
            elif key not in ("content", "old_string", "new_string", "new_str", "old_str", "file_text"):
                yield from (path.strip() for path in _PATCHED.findall(text[:_SCAN_CHARS]))
                yield from _PATH.findall(text[:_SCAN_CHARS])
