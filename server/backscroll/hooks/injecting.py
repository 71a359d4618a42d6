"""Context that a hook gives its host, where the user asked for that: at session start, or with a prompt.

This loads the whole of the memory, which takes the better part of a second: hence only by a flag, and within a
time of its own. What goes wrong here is no reason to keep a host waiting: it then hears nothing.
"""

import asyncio
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ..addresses import is_server
from ..config import Settings, load_settings
from ..memory import Backscroll, Host, Memory
from ..models import Session
from ..policy import FENCE_SENTENCE
from ..ranking import read
from ..recall.finding import read_candidates
from ..render import page_text
from ..store import Search, SessionFilter
from ..store.opening import sqlite_path
from .hosts import host_of

TIMEOUT_S = 2.0
"""From the loading on. Then the host is told nothing, and goes on."""

SESSION_TOKENS = 2_000
PROMPT_TOKENS = 500

HEADING = "From Backscroll, the user's record of earlier sessions:"
_HEADING_TOKENS = 20

SESSION_EVENTS = frozenset({"SessionStart", "sessionStart"})
PROMPT_EVENTS = frozenset({"UserPromptSubmit", "BeforeAgent"})
"""Cursor's `beforeSubmitPrompt` takes no context."""

GOES_ON = frozenset({"resume", "fork"})
"""Ways to begin a session that bring its past along."""

HITS = 3
GOOD_SHARE = 0.5
MIN_TERMS = 3
"""A hit is worth telling unasked where it holds this share of what the prompt's words weigh, and so many of them.

On three conversations of LoCoMo 69 % of their own questions are told something (the right turn in 60 % of these),
1 % of another conversation's, and none of twenty everyday prompts; with two words it would be 86, 16 and 17 %.
"""

OTHER_SESSIONS = 1_000

_OWN_FORM = frozenset({"claude-code", "codex", "gemini", "vscode", "opencode"})


def injected(flags: Mapping[str, str], payload: bytes, *, empty: bytes) -> None:
    """Print the context in the host's own form, or `empty`, on standard output. Never later than TIMEOUT_S."""
    once = threading.Lock()

    def answer(text: bytes) -> None:
        if once.acquire(blocking=False) and text:
            view = memoryview(text)
            while view:
                view = view[os.write(1, view) :]

    def give_up() -> None:
        with suppress(OSError):
            answer(empty)
        # The loop, and a thread in the database, may be in the middle of something.
        os._exit(0)

    timer = threading.Timer(TIMEOUT_S, give_up)
    timer.daemon = True
    timer.start()
    told: bytes | None = None
    try:
        told = asyncio.run(_told(flags, payload))
    finally:
        answer(told or empty)


async def _told(flags: Mapping[str, str], payload: bytes) -> bytes | None:
    told = json.loads(payload.decode("utf-8", "replace"))
    host = host_of(lambda name: value if isinstance(value := told.get(name), str) else None)
    event = told.get("hook_event_name") or told.get("hookEventName")
    wanted = SESSION_EVENTS if flags["inject"] == "session" else PROMPT_EVENTS
    if event not in wanted:
        return None
    settings = load_settings({name: flags[name] for name in ("db", "user") if name in flags})
    # What only the long run needs would cost its start here.
    settings = settings.model_copy(update={"semantic": "off", "enable_session_summaries": False})
    url = settings.database_url()
    if not is_server(url) and not sqlite_path(url).exists():
        return None
    async with Backscroll(settings=settings) as app:
        text = await context(app, settings, told, flags["inject"])
    return None if text is None else form(host, event, text)


async def context(app: Backscroll, settings: Settings, told: Mapping[str, Any], kind: str) -> str | None:
    """What to tell a session that a payload is of; None where there is nothing worth it."""
    current = told.get("session_id") or told.get("sessionId") or told.get("conversation_id")
    host = Host(current if isinstance(current, str) else None, _project(told))
    memory = app.memory(settings.user, host=host)
    text = await (session_context(memory, told, host) if kind == "session" else prompt_context(memory, told, host))
    return None if text is None else f"{HEADING}\n{text}"


async def session_context(memory: Memory, told: Mapping[str, Any], host: Host) -> str | None:
    """The newest session of this project that is not the current one, or one that belongs to it."""
    if told.get("source") in GOES_ON or host.project is None:
        return None
    where = SessionFilter(project=memory.settings.project or host.project)
    found = await memory.store.sessions(memory.user_id, where, limit=20, exclude=host.session_id)
    earlier = next((one for one in found.sessions if _is_own(one, host)), None)
    if earlier is None or not earlier.messages:
        return None
    page = await memory.get_session_context(earlier.session, max_tokens=SESSION_TOKENS - _HEADING_TOKENS)
    return page_text(page)


def _is_own(session: Session, host: Host) -> bool:
    """Not the current session, and no sub-agent's."""
    return session.session_id != host.session_id and "parent_session_id" not in session.metadata


async def prompt_context(memory: Memory, told: Mapping[str, Any], host: Host) -> str | None:
    """The few lines of other sessions that hold most of what the prompt asks for."""
    prompt = _asked(told.get("prompt"))
    if not prompt.strip():
        return None
    # To name a number of sessions leaves out the current one, which the agent has before it.
    others = None if host.session_id is None else OTHER_SESSIONS
    good = await _good(memory, prompt, Search(num_history_sessions=others, current_session=host.session_id))
    if not good:
        return None
    page = await memory.search_session_history(
        prompt, num_history_sessions=others, limit=10, max_tokens=PROMPT_TOKENS - _HEADING_TOKENS
    )
    hits = [hit for hit in page.hits or () if hit.ref in good]
    if not hits:
        return None
    only = page.model_copy(
        update={"hits": tuple(hits[:HITS]), "next_cursor": None, "total": None, "total_at_least": None, "note": None}
    )
    return page_text(only)


async def _good(memory: Memory, prompt: str, where: Search) -> set[str]:
    """Handles of messages that hold most of what a prompt asks for."""
    question = read(prompt[:2_000], datetime.now(UTC).astimezone())
    if question.only_names_time or not question.terms:
        return set()
    _, told, _ = await read_candidates(memory.store, None, memory.user_id, question, where)
    return {
        one.candidate.turn.ref
        for one in told
        if one.candidate.own >= GOOD_SHARE and len(one.candidate.terms) >= MIN_TERMS
    }


def _asked(prompt: object) -> str:
    """What the user typed: Gemini hands on what hooks put before it."""
    text = prompt if isinstance(prompt, str) else ""
    before, opened, rest = text.partition("<hook_context>")
    return before + rest.partition("</hook_context>")[2] if opened else text


def form(host: str, event: str, text: str) -> bytes | None:
    """The answer as the host reads it; None for one that takes no context."""
    assert FENCE_SENTENCE in text
    if host == "cursor":
        answer: dict[str, Any] = {"additional_context": text}
    elif host in _OWN_FORM:
        answer = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}
    else:
        return None
    return json.dumps(answer).encode() + b"\n"


def _project(told: Mapping[str, Any]) -> str | None:
    roots = told.get("workspace_roots")
    if isinstance(roots, list) and roots and isinstance(roots[0], str):
        return roots[0]
    cwd = told.get("cwd")
    return cwd if isinstance(cwd, str) and cwd else None
