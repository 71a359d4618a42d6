"""Questions about a large database, each made from a message that is in it, so that the right line is known.

The words are the message's own, rare ones more often than common ones; a quarter of them in another English
form, as somebody asks who does not have the line before his eyes.
"""

import random
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .english import PER_MILLION, STOP_WORDS

LAST_SESSIONS = 20
AROUND = timedelta(days=15)
"""A question that names a time allows so much before and after."""

_WORD = re.compile(r"[a-z]+")
_IDENTIFIER = re.compile(r"\w+(?:[./_]\w+)+|[a-z]*[A-Z]?[a-z]+[A-Z]\w*|[0-9a-f]{40}")
_ENDING = re.compile(r"(?:ing|ed|s)$")
_ENDINGS = ("", "s", "ed", "ing")
_FRAMES: Mapping[int, Sequence[str]] = {
    2: (
        "what did we say about {} and the {}",
        "why does the {} not work after the {}",
        "where did you put the {} that was in {}",
        "did I ask you to change {} before the {}",
    ),
    3: (
        "how did you fix the {} in {} when it was {}",
        "what was the reason that {} and {} had no {}",
        "which of the two did we take for {}, the {} or {}",
    ),
    4: (
        "what happened to the {} of {} when you had {} in the {}",
        "was it {} or {} that made the {} so {}",
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """`right` is the handle of the message it was made from; None where nothing tells that line from others."""

    kind: str
    query: str
    right: str | None
    message_key: int | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Line:
    key: int
    text: str
    role: str
    tool_name: str | None
    created_at: datetime
    session_id: str
    number: int
    seq: int
    project: str


class Asking:
    """Draws messages of a file and asks for them; the same file and seed give the same questions."""

    def __init__(self, db: sqlite3.Connection, seed: int = 1) -> None:
        self._db = db
        self._rng = random.Random(f"questions {seed}")
        (self._last_key,) = db.execute("SELECT max(message_key) FROM messages").fetchone()
        self._newest = [
            key
            for (key,) in db.execute(
                "SELECT session_key FROM sessions ORDER BY last_activity_at DESC, session_key DESC LIMIT ?",
                (LAST_SESSIONS,),
            )
        ]

    def questions(self, each: int) -> list[Question]:
        """So many of each kind, in an order in which the kinds take turns."""
        kinds: dict[str, Callable[[], Question | None]] = {
            "natural": lambda: self._natural("natural", self._line("user", "assistant")),
            "keywords": self._keywords,
            "phrase": self._phrase,
            "common words": self._common,
            "identifiers": self._identifiers,
            "in a session": lambda: self._filtered("in a session", lambda line: {"session_id": line.session_id}),
            "of a project": lambda: self._filtered("of a project", lambda line: {"project": line.project}),
            "of a role": lambda: self._filtered("of a role", lambda line: {"role": line.role}),
            "of a tool": self._of_a_tool,
            "of a time": lambda: self._filtered("of a time", _around),
            "last sessions": self._of_last_sessions,
        }
        return [question for _ in range(each) for make in kinds.values() for question in _first(make)]

    def _line(self, *roles: str) -> _Line:
        """A message with enough in it to be asked for."""
        while True:
            line = self._read("m.message_key = ?", self._rng.randint(1, self._last_key))
            if line is not None and line.role in roles and len(line.text) >= 80:
                return line

    def _read(self, where: str, *values: Any) -> _Line | None:
        row = self._db.execute(
            "SELECT m.message_key, m.text, m.role, m.tool_name, m.created_at, s.session_id, s.number, m.seq, s.project "
            f"FROM messages AS m JOIN sessions AS s ON s.session_key = m.session_key WHERE {where}",
            values,
        ).fetchone()
        if row is None:
            return None
        key, text, role, tool_name, at, session_id, number, seq, project = row
        moment = datetime.fromtimestamp(at / 1000, UTC)
        return _Line(key, text, role, tool_name, moment, session_id, number, seq, project)

    def _natural(self, kind: str, line: _Line, filters: Mapping[str, Any] | None = None) -> Question | None:
        words = self._content(line.text, self._rng.choice((2, 3, 3, 4)))
        if len(words) not in _FRAMES:
            return None
        query = self._rng.choice(_FRAMES[len(words)]).format(*map(self._inflected, words))
        return _asked(kind, query, line, filters)

    def _filtered(self, kind: str, filters: Callable[[_Line], Mapping[str, Any]]) -> Question | None:
        line = self._line("user", "assistant")
        return self._natural(kind, line, filters(line))

    def _of_a_tool(self) -> Question | None:
        line = self._line("tool")
        return self._natural("of a tool", line, {"tool_name": line.tool_name})

    def _of_last_sessions(self) -> Question | None:
        session = self._rng.choice(self._newest)
        (last,) = self._db.execute("SELECT last_seq FROM sessions WHERE session_key = ?", (session,)).fetchone()
        line = self._read("m.session_key = ? AND m.seq = ?", session, self._rng.randint(1, last))
        if line is None or line.role == "tool":
            return None
        return self._natural("last sessions", line, {"num_history_sessions": LAST_SESSIONS})

    def _keywords(self) -> Question | None:
        line = self._line("user", "assistant")
        words = self._content(line.text, self._rng.choice((1, 2, 2, 3)))
        return _asked("keywords", " ".join(words), line) if words else None

    def _phrase(self) -> Question | None:
        """Words that follow one another, at least one of them not a stop word."""
        line = self._line("user", "assistant")
        words = _WORD.findall(line.text)
        count = self._rng.choice((2, 3, 4))
        start = self._rng.randrange(max(1, len(words) - count))
        taken = words[start : start + count]
        phrase = " ".join(taken)
        if phrase not in line.text or all(word in STOP_WORDS for word in taken):
            return None
        return _asked("phrase", f'"{phrase}"', line)

    def _common(self) -> Question:
        """Nothing but words that are everywhere: there is no right line, only time to be lost."""
        words = self._rng.choices(list(PER_MILLION), list(PER_MILLION.values()), k=self._rng.randint(4, 7))
        return Question("common words", " ".join(words), None)

    def _identifiers(self) -> Question | None:
        line = self._line("tool", "assistant")
        names = sorted(set(_IDENTIFIER.findall(line.text)))
        if not names:
            return None
        count = min(len(names), self._rng.choice((1, 2, 2)))
        return _asked("identifiers", " ".join(self._rng.sample(names, count)), line)

    def _content(self, text: str, count: int) -> list[str]:
        """Words of the text that say something, drawn without putting back."""
        words = sorted({word for word in _WORD.findall(text.lower()) if word not in PER_MILLION and len(word) > 2})
        return self._rng.sample(words, min(count, len(words)))

    def _inflected(self, word: str) -> str:
        if self._rng.random() >= 0.25:
            return word
        return _ENDING.sub("", word) + self._rng.choice(_ENDINGS)


def _first(make: Callable[[], Question | None]) -> Iterator[Question]:
    while (question := make()) is None:
        pass
    yield question


def _asked(kind: str, query: str, line: _Line, filters: Mapping[str, Any] | None = None) -> Question:
    return Question(kind, query, f"#{line.number}.{line.seq}", line.key, filters or {})


def _around(line: _Line) -> Mapping[str, Any]:
    return {"since": (line.created_at - AROUND).isoformat(), "until": (line.created_at + AROUND).isoformat()}
