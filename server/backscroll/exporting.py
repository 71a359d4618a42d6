"""Sessions leave as JSON lines, which another Backscroll takes in without loss, or as Markdown to be read.

Both are written piece by piece: memory holds a page, never a session.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime

from .importers.backscroll_jsonl import HEADER
from .memory import Memory
from .models import Message, Run, Session, ToolCall
from .store import ChatWindow
from .store.archive import ArchivedRow, ArchivedSession, line_of
from .text import one_line

Write = Callable[[str], object]

PAGE_MESSAGES = 200
PAGE_CHARS = 1 << 20


async def export_jsonl(memory: Memory, sessions: Sequence[str] | None, write: Write) -> int:
    """Write the sessions named, or all, as one consistent picture; return how many there were.

    One JSON object a line, each with a `type`; the first is `{"type":"backscroll","version":1}`. A session
    begins with its own line, which tells how many runs, messages, tool calls and summaries follow. Sessions
    that a chosen one is a fork of come along, before it: a fork is not whole without them. What each line
    holds is told in `store/archive.py`. Raises SessionNotFound before anything is written.
    """
    count = 0
    async with aclosing(memory.store.archive(memory.user_id, sessions)) as pages:
        first: list[ArchivedRow] = await anext(pages, [])
        write(HEADER)
        count += _write_lines(first, write)
        async for page in pages:
            count += _write_lines(page, write)
    return count


async def export_markdown(memory: Memory, sessions: Sequence[str] | None, write: Write) -> int:
    """Write a readable transcript of each session named, or of all; return how many there were.

    Raises SessionNotFound.
    """
    refs = (
        [f"#{number}" for number in await memory.store.session_numbers(memory.user_id)]
        if sessions is None
        else list(sessions)
    )
    for count, ref in enumerate(refs):
        if count:
            write("\n\n---\n\n")
        async for piece in _transcript(memory, ref):
            write(piece)
    return len(refs)


async def transcript_markdown(memory: Memory, session_id: str) -> str:
    """One session's transcript, whole. Raises SessionNotFound."""
    return "".join([piece async for piece in _transcript(memory, session_id)])


def _write_lines(page: Sequence[ArchivedRow], write: Write) -> int:
    sessions = 0
    for row in page:
        write(line_of(row))
        sessions += isinstance(row, ArchivedSession)
    return sessions


async def _transcript(memory: Memory, session_id: str) -> AsyncIterator[str]:
    session = await memory.get_session(session_id)
    yield _head(session)
    if summary := await memory.get_summary(session.session):
        stale = ", older than the newest messages" if summary.stale else ""
        yield f"\n## Summary (by {one_line(summary.made_by)}{stale})\n\n{_closed(summary.summary)}\n"
    runs = {run.run_id: run for run in await memory.get_runs(session.session)}
    seen: set[str] = set()
    current: str | None = None
    async for message in _messages(memory, session.session):
        if message.run_id != current:
            current = message.run_id
            yield _turn(runs.get(current), runs, message.created_at, again=current in seen)
            seen.add(current)
        yield await _said(memory, session.session, message)


async def _messages(memory: Memory, session: str) -> AsyncIterator[Message]:
    start = 1
    while True:
        window = ChatWindow(start=start, max_messages=PAGE_MESSAGES, max_chars=PAGE_CHARS)
        found = await memory.store.chat(memory.user_id, session, window)
        for message in found.messages:
            yield message
        if not found.newer or not found.messages:
            return
        start = found.messages[-1].seq + 1


# Markdown


def _head(session: Session) -> str:
    facts = [
        ("Session", f"{session.session} {_code(session.session_id)}"),
        ("Project", session.project and _code(session.project)),
        ("Source", session.source),
        ("Agent", session.agent),
        ("Begun", _time(session.created_at)),
        ("Last message", _time(session.last_activity_at)),
        (
            "Forked from",
            session.forked_from
            and f"{session.forked_from} after message {session.fork_seq}; what both share is shown too",
        ),
        ("Archived", "yes" if session.archived else None),
        ("State", _code(json.dumps(session.state, ensure_ascii=False)) if session.state else None),
    ]
    told = "\n".join(f"- {name}: {one_line(value)}" for name, value in facts if value)
    return f"# {one_line(session.shown_title)}\n\n{told}\n"


def _turn(run: Run | None, runs: dict[str, Run], moment: datetime, *, again: bool) -> str:
    if run is None:
        return f"\n## {_time(moment)}\n"
    parts = [f"Turn {run.run_index}", _time(run.started_at or moment)]
    if again:
        parts.append("continued")
    elif run.status != "completed":
        parts.append(run.status)
    if run.parent_run_id is not None:
        outer = runs.get(run.parent_run_id)
        parts.append(f"inside turn {outer.run_index}" if outer else "inside another turn")
    parts += [one_line(name) for name in (run.agent, run.model) if name and not again]
    return f"\n## {' · '.join(parts)}\n"


async def _said(memory: Memory, session: str, message: Message) -> str:
    text = await _whole_text(memory, session, message)
    parts = [_heading(message)]
    if message.role == "tool":
        parts.append(_fenced(text))
    elif text.strip():
        parts.append(_closed(text))
    parts += [f"[{one_line(m.mime_type)}, {m.size_bytes:,} bytes](<{_target(m.uri)}>)" for m in message.media]
    for place, call in enumerate(message.tool_calls):
        parts += await _called(memory, session, message, place, call)
    return "\n" + "\n\n".join(parts) + "\n"


def _heading(message: Message) -> str:
    who = message.role.capitalize()
    if message.role == "tool":
        failed = ", failed" if message.is_error else ""
        who = f"Result of {_code(message.tool_name or 'unknown')}{failed}"
    return f"### {who} · {message.ref} · {_time(message.created_at)}"


async def _called(memory: Memory, session: str, message: Message, place: int, call: ToolCall) -> list[str]:
    arguments = call.arguments_text
    if call.arguments_chars > len(arguments):
        _, arguments, _ = await memory.store.text_of(
            memory.user_id, session, message.seq, call=place, offset=0, max_chars=call.arguments_chars
        )
    pending = " (no result)" if call.status == "pending" else ""
    told = [f"Calls {_code(call.tool_name)}{pending}:"]
    return [*told, _fenced(arguments, "json" if isinstance(call.arguments, dict) else "")] if arguments else told


async def _whole_text(memory: Memory, session: str, message: Message) -> str:
    """The message's text, of which a page holds only the beginning where it is very long."""
    if message.text_chars <= len(message.text):
        return message.text
    _, text, _ = await memory.store.text_of(
        memory.user_id, session, message.seq, call=None, offset=0, max_chars=message.text_chars
    )
    return text


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
_BACKTICKS = re.compile("`+")


def _fenced(text: str, language: str = "") -> str:
    """Text as a code block, its fence longer than any run of backticks inside (CommonMark 0.31, 4.5)."""
    fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}" if not text.endswith("\n") else f"{fence}{language}\n{text}{fence}"


def _closed(text: str) -> str:
    """Text as it was said; a code block that it left open is closed, or it would take in all that follows."""
    fence = ""
    for line in re.split("\r\n|\r|\n", text):
        found = _FENCE.match(line)
        if found is None:
            continue
        mark, rest = found[1], found[2]
        if fence:
            if mark[0] == fence[0] and len(mark) >= len(fence) and not rest.strip():
                fence = ""
        elif mark[0] == "~" or "`" not in rest:
            fence = mark
    return f"{text}\n{fence}" if fence else text


def _code(text: str) -> str:
    """A code span, its marks longer than any run of backticks inside."""
    line = one_line(text)
    mark = "`" * (1 + max(map(len, _BACKTICKS.findall(line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{mark}{padding}{line}{padding}{mark}"


def _target(uri: str) -> str:
    """What may stand between < and > of a link."""
    return re.sub(r"[<>\s]", lambda found: f"%{ord(found[0]):02X}", uri)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
