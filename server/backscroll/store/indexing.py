"""What the search index holds of a message: a pure, versioned function of its row.

A contentless index forgets a row only when it is handed the same text again, to the letter. So
whatever changes here changes INDEX_VERSION, and the store rebuilds.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

INDEX_VERSION = 1

_CAMEL = re.compile(r"[^\W\d_]+\d*(?:[^\W\d_]+\d*)*")
# Every ASCII word that is neither lower, upper nor title case has one of these: a capital after a small
# letter, two capitals before one, or a digit before a letter.
_HUMP = re.compile(r"[A-Z0-9](?:(?<=[a-z][A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Za-z]))")
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
# Scripts written without spaces: the tokenizer would make one token of a whole run, or break it
# at vowel signs. Han, kana, hangul; Thai, Lao, Myanmar, Khmer.
_UNSPACED = re.compile(
    "[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0002fa1f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)


class Entry(NamedTuple):
    """The three columns of the index."""

    text: str
    forms: str
    scope: str


class Scope(NamedTuple):
    """What a filter can narrow to before ranking."""

    user_key: int
    session_key: int
    source: str
    role: str
    project: str | None = None
    agent: str | None = None
    tools: tuple[str, ...] = ()


def entry(text: str, calls: Iterable[tuple[str, str | None]], scope: Scope) -> Entry:
    """The index entry of a message: its text and its calls' names and arguments, reasoning left out."""
    indexed = "\n".join([text, *(f"{name} {arguments or ''}" for name, arguments in calls)])
    return Entry(indexed, " ".join(extra_forms(indexed)), " ".join(scope_tokens(scope)))


def extra_forms(text: str) -> Iterator[str]:
    """Forms that the tokenizer does not make: the parts of camelCase words, pairs of unspaced script."""
    for word in _humped(text):
        if not (word.islower() or word.isupper() or word.istitle()) and word.isascii():
            yield from _PARTS.findall(word)
    if not text.isascii():
        for run in _UNSPACED.findall(text):
            yield bigrams(run)


def _humped(text: str) -> Iterator[str]:
    """The words that may be camelCase: going through all words takes four times as long."""
    end = 0
    for hump in _HUMP.finditer(text):
        start = hump.start()
        if start < end:
            continue
        while start > end and text[start - 1].isalnum():
            start -= 1
        word = _CAMEL.search(text, start)
        assert word is not None
        end = word.end()
        yield word.group()


def bigrams(run: str) -> str:
    """A run of unspaced script as overlapping pairs, each one token: one sign alone stays alone.

    The pairs are spelled in hexadecimal, since the tokenizer would break Thai at its vowel signs.
    """
    pairs = [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]
    return " ".join("x" + pair.encode("utf-16-be").hex() for pair in pairs)


def unspaced_runs(text: str) -> list[str]:
    return _UNSPACED.findall(text)


def without_unspaced(text: str) -> str:
    return _UNSPACED.sub(" ", text)


def scope_tokens(scope: Scope) -> Iterator[str]:
    yield user_token(scope.user_key)
    yield session_token(scope.session_key)
    yield role_token(scope.role)
    yield source_token(scope.source)
    if scope.project:
        yield project_token(scope.project)
    if scope.agent:
        yield agent_token(scope.agent)
    for tool in sorted(set(scope.tools)):
        yield tool_token(tool)


def user_token(user_key: int) -> str:
    return f"xu{user_key}"


def session_token(session_key: int) -> str:
    return f"xs{session_key}"


def role_token(role: str) -> str:
    return f"xr{role}"


def source_token(source: str) -> str:
    return f"xo{_short_hash(source)}"


def project_token(project: str) -> str:
    return f"xp{_short_hash(project)}"


def agent_token(agent: str) -> str:
    return f"xa{_short_hash(agent)}"


def tool_token(tool_name: str) -> str:
    return f"xt{_short_hash(tool_name.casefold())}"


@lru_cache(maxsize=1024)
def _short_hash(name: str) -> str:
    return blake2b(name.encode(), digest_size=6).hexdigest()
