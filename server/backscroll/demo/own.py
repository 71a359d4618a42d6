"""The demo on the reader's own transcripts: imported, recalled with words from them, reopened."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Settings
from ..errors import TranscriptError
from ..importing import Failure, import_paths
from ..memory import Backscroll, Memory
from ..models import Message, Session
from ..render import plural
from ..store import CallWindow, Search, SessionFilter, Term
from ..terminal import safe
from .server import Agent, Stage
from .telling import DemoError
from .verifying import all_messages

_USER = "local"
_SESSIONS_LOOKED_AT = 20
_WORDS_TRIED = 40
_PAGES_COMPARED = 20
_FAILURES_SHOWN = 3
_WORD = re.compile(r"[^\W\d_]{4,24}")
_HANDLE = re.compile(r"^(#\d+\.\d+)  ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was imported, as the store holds it: totals, a session, and words that lead to it."""

    sessions: int
    recorded: int
    calls: int
    session: Session
    messages: tuple[Message, ...]
    sought: Message
    words: tuple[str, ...]


async def tell_own(stage: Stage, paths: Sequence[Path]) -> None:
    """Raises TranscriptError where there is nothing to import, DemoError."""
    teller = stage.teller
    teller.say("Backscroll at work on your transcripts, in a throw-away store; yours stays as it is.", "bold")
    teller.step(f"Import {', '.join(safe(str(path)) for path in paths)}")
    sample = await _imported(stage, paths)

    async def first(agent: Agent) -> None:
        await _recall(stage, agent, sample)
        await _came_back(stage, agent, sample)

    async def second(agent: Agent) -> None:
        teller.step("That server is gone. Another process opens the file: the memory is still there.")
        listed = await agent.json("list_sessions", limit=1)
        teller.check(listed["total"] == sample.sessions, f"all {sample.sessions} sessions are still there")
        summary = await agent.read(f"session://%23{sample.session.number}/summary")
        teller.check(sample.session.messages == 0 or "Version 1" in summary, "the summary is still there")

    await stage.with_server(first)
    await stage.with_server(second)
    teller.say("")
    teller.say(
        f"All {teller.checks} checks passed: {plural(sample.sessions, 'session')}, "
        f"{plural(sample.recorded, 'message')}, "
        f"each recorded once. The answers above cost {teller.tokens_read:,} tokens.",
        "bold green",
    )
    teller.say("Nothing of yours was changed. To keep what was read: backscroll import with the same paths.")


async def _imported(stage: Stage, paths: Sequence[Path]) -> Sample:
    teller = stage.teller
    # The defaults: the user's own environment and config file are not read.
    async with Backscroll(str(stage.database), Settings()) as app:
        memory = app.memory(_USER)
        report = await import_paths(memory, paths)
        if report.failed and not report.runs:
            raise TranscriptError(_words(report.failed[0]))
        if not report.runs:
            raise TranscriptError(f"No transcripts of a known host in {', '.join(map(str, paths))}.")
        teller.say(
            f"  {plural(report.sessions, 'session')}, {plural(report.runs, 'run')}, "
            f"{plural(report.messages, 'message')}, {plural(report.tool_calls, 'tool call')} "
            f"from {plural(report.files, 'file')}"
        )
        for failure in report.failed[:_FAILURES_SHOWN]:
            teller.say(f"  left out: {safe(_words(failure))}")
        counts = await app.store.counts(_USER)
        teller.check(counts["sessions"] == report.sessions, "each session in the files is in the store")
        teller.check(counts["messages"] == report.messages, "each message in the files is in the store, once")
        again = await import_paths(memory, paths)
        teller.check(again.messages == 0, "importing again records nothing twice")
        teller.say("  imported again: nothing new, nothing twice")
        return await _sample(memory, counts["messages"])


def _words(failure: Failure) -> str:
    return f"{failure.file}, line {failure.line}: {failure.error}" if failure.line else failure.error


async def _sample(memory: Memory, recorded: int) -> Sample:
    found = await memory.store.sessions(_USER, SessionFilter(), limit=_SESSIONS_LOOKED_AT)
    calls = await memory.store.tool_calls(_USER, CallWindow(limit=1))
    for session in found.sessions:
        messages = await memory.get_messages_for_session(session.session)
        told = [message for message in messages if message.role == "user" and _WORD.search(message.text)]
        if told:
            words = await _rare_words(memory, told[0])
            return Sample(found.total, recorded, calls.total, session, tuple(messages), told[0], words)
    raise DemoError("None of these transcripts holds a message of a user. Name others.")


async def _rare_words(memory: Memory, message: Message) -> tuple[str, ...]:
    """The two words of a message that the fewest messages hold."""
    counted = []
    for word in list(dict.fromkeys(_WORD.findall(message.text)))[:_WORDS_TRIED]:
        result = await memory.store.search(_USER, Search(terms=(Term(word),), pool=1))
        counted.append((result.total, word))
    return tuple(word for _, word in sorted(counted)[:2])


async def _recall(stage: Stage, agent: Agent, sample: Sample) -> None:
    teller, session = stage.teller, sample.session
    teller.step(f"An agent starts with an empty context. What was there? ({agent.server})")
    await agent.show("list_sessions", limit=3)
    listed = await agent.json("list_sessions", limit=1)
    teller.check(listed["total"] == sample.sessions, f"all {sample.sessions} sessions are listed")

    query = " ".join(sample.words)
    teller.step(f'Words of a request in session {session.session}: "{query}". Where was that?')
    text = await agent.show("search_session_history", query=query, limit=2)
    handles = _HANDLE.findall(text)
    teller.check(bool(handles), "the words are found")
    found = await agent.json("search_session_history", query=query, limit=100, max_tokens=20_000)
    refs = {hit["ref"] for hit in found["hits"]}
    there = sample.sought.ref in refs or "next_cursor" in found
    teller.check(there, f"{sample.sought.ref}, which holds the words, is among what is found")
    for ref in handles:
        held = await agent.json("get_chat_history", session_id=ref, max_tokens=20_000)
        opened = next((one for one in held["messages"] if one["ref"] == ref), None)
        teller.check(opened is not None, f"{ref} opens")
        teller.check(_holds(opened or {}, sample.words), f"{ref} holds a word that was searched for")

    teller.step("One line a hit is enough to choose; the agent opens that message.")
    await agent.show("get_chat_history", session_id=handles[0], max_tokens=400)
    if sample.calls:
        teller.step("What was tried last, and what came of it?")
        await agent.show("get_tool_call_history", limit=1, max_tokens=300)
    teller.step("The session goes on: its summary, and its last turn word for word.")
    await agent.call("summarize_session", session_id=session.session)
    await agent.show("get_session_context", session_id=session.session, num_history_runs=1, max_tokens=600)


def _holds(message: dict[str, Any], words: Sequence[str]) -> bool:
    calls = " ".join(f"{call['tool_name']} {call.get('arguments')}" for call in message.get("tool_calls", []))
    text = _folded(f"{message.get('text', '')} {calls}")
    return bool(message.get("cut")) or any(_folded(word) in text for word in words)


def _folded(text: str) -> str:
    """Case and accents aside, as the index has it."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


async def _came_back(stage: Stage, agent: Agent, sample: Sample) -> None:
    """The newest messages of the session as the tools tell them, against what the store holds."""
    stored = {message.ref: message for message in sample.messages if not message.from_history}
    lines = await all_messages(agent, sample.session.session, max_pages=_PAGES_COMPARED)
    stage.teller.check(bool(lines), f"session {sample.session.session} can be read")
    for line in lines:
        ref, text = line["ref"], line.get("text", "")
        stage.teller.check(ref in stored, f"{ref} is a message of its session")
        rest = stored[ref].text[line.get("offset", 0) :]
        whole = rest.startswith(text) if "cut" in line else rest == text
        stage.teller.check(whole, f"{ref} is word for word what was imported")
