"""What the search index holds of a message: a pure, versioned function of its row.

A contentless index forgets a row only when it is handed the same text again, to the letter. So
whatever changes here changes INDEX_VERSION, and the store rebuilds.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple
from unicodedata import combining, normalize

from ..text import clean_text

INDEX_VERSION = 2

TOKENIZER = "porter unicode61 remove_diacritics 2"
"""How SQLite's FTS5 makes words of it: porter takes English endings off, after case and diacritics."""

_ESCAPED = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})')
_SIGNS = {'"': '"', "\\": "\\", "/": "/", "b": " ", "f": " ", "n": "\n", "r": "\n", "t": "\t"}

LONGEST_NAME = 64
"""A longer word of mixed case is data, not a name: its parts would only fill the index."""

_CAMEL = re.compile(r"[^\W\d_]+\d*(?:[^\W\d_]+\d*)*")
# Every ASCII word that is neither lower, upper nor title case has one of these: a capital after a small
# letter, two capitals before one, or a digit before a letter.
# They are looked for in the kinds of the letters, which takes a fifth of what a pattern over the text takes.
_KINDS = (
    bytes(
        ord("a")
        if chr(sign).islower()
        else ord("A")
        if chr(sign).isupper()
        else ord("0")
        if chr(sign).isdigit()
        else 32
        for sign in range(128)
    )
    + bytes([32]) * 128
)
_HUMPS = ((b"aA", 1), (b"AAa", 0), (b"0a", 0), (b"0A", 0))
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
# The tokenizer makes `v2`, `3`, `1` of v2.3.1, so that 2.3.1 would not find it. What must come before is
# looked at last: a pattern that begins with a set of letters is searched for five times as fast.
_VERSION = re.compile(r"[vV](?<![^\W_][vV])(\d+(?:\.\d+)+)")
# A v, then a figure or what is not ASCII: only then there may be one.
_MAYBE_VERSION = bytes(
    ord("v") if chr(sign) in "vV" else ord("0") if chr(sign) in "0123456789?" else 32 for sign in range(256)
)
# Scripts written without spaces: the tokenizer would make one token of a whole run, or break it
# at vowel signs. Han, kana, hangul; Thai, Lao, Myanmar, Khmer.
_UNSPACED = re.compile(
    "[\u1100-\u11ff\u3040-\u30ff\u3131-\u318e\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)
# Letters that the tokenizer leaves as they are though people type them otherwise: sharp s and its like,
# ligatures, small and circled figures, accents of Greek, points of Hebrew, vowel signs and presentation forms of
# Arabic, full width, mathematical.
_FOLDABLE = re.compile(
    "[\u00aa\u00b2\u00b3\u00b9\u00ba\u00bc-\u00be\u00c6\u00d0\u00d8\u00de\u00df\u00e6\u00f0\u00f8\u00fe"
    "\u0110\u0111\u0126\u0127\u0131-\u0133\u013f-\u0142\u0149\u0152\u0153\u01c4-\u01cc\u01f1-\u01f3"
    "\u0401\u0451\u0622-\u0626\u0386-\u0390\u03aa-\u03b0\u03ca-\u03ce\u1e9e\u1f00-\u1fff\u2070-\u209c\u2100-\u217f\u2460-\u249b"
    "\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\ufb00-\ufb06\ufb50-\ufdff\ufe70-\ufefc\uff10-\uff5a\U0001d400-\U0001d7ff]"
)
_ASCII = bytes(range(128))
# What no decomposition of Unicode's takes apart.
_PLAIN = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ŉ": "n"}
)


class Entry(NamedTuple):
    """The three columns of the index."""

    text: str
    forms: str
    scope: str


class Scope(NamedTuple):
    """What a filter can narrow to before ranking."""

    user_key: Any
    """SQLite's; Postgres keeps users apart by itself."""
    session_key: int
    source: str
    role: str
    project: str | None = None
    agent: str | None = None
    tools: tuple[str, ...] = ()


def entry(
    text: str,
    calls: Iterable[tuple[str, str | None]],
    scope: Scope,
    speaker: str | None = None,
    forms: str | None = None,
) -> Entry:
    """The index entry of a message: its text and its calls' names and arguments, reasoning left out.

    The name of who speaks, where the message tells one, is among the forms. `forms` are the others, where they
    were made before.
    """
    indexed = indexed_text(text, calls)
    made = forms_of(indexed) if forms is None else forms
    if speaker:
        made = f"{made} {speaker}" if made else speaker
    return Entry(indexed, made, scope_text(scope))


def forms_of(indexed: str) -> str:
    """The extra forms of an indexed text, in a row."""
    return " ".join(extra_forms(indexed))


def speaker_of(payload: str | None) -> str | None:
    """The name that a message tells of who speaks, out of its payload."""
    if payload is None or '"name"' not in payload:
        return None
    name = json.loads(payload).get("name")
    return name if isinstance(name, str) else None


def indexed_text(text: str, calls: Iterable[tuple[str, str | None]]) -> str:
    """A message's text and its calls, as they are searched."""
    return "\n".join([text, *(call_text(name, arguments) for name, arguments in calls)]) if calls else text


def call_text(tool_name: str, arguments: str | None) -> str:
    """What the index holds of a call."""
    return f"{tool_name} {unescaped(arguments or '')}"


def unescaped(arguments: str) -> str:
    """Arguments as they were meant: in JSON, `\\n` would stick to the word after it, and `\\u00e9` split its word."""
    if "\\" not in arguments:
        return arguments
    return clean_text(_ESCAPED.sub(lambda found: _SIGNS.get(found[1]) or chr(int(found[1][1:], 16)), arguments))


def extra_forms(text: str) -> Iterator[str]:
    """Forms that the tokenizer does not make.

    The parts of camelCase words, the figures of v2.3.1, pairs of unspaced script, words that stand in such
    script, and the plain spelling of words with letters such as sharp s.
    """
    spaced = text
    if not text.isascii():
        # Quotes, dashes and the like are all that most texts have beyond ASCII.
        beyond = text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")
        if _UNSPACED.search(beyond) or _FOLDABLE.search(beyond):
            yield from _forms_beyond_ascii(text)
            spaced = without_unspaced(text)
    signs = spaced.encode("ascii", "replace")
    for word in _humped(spaced, signs):
        yield from camel_parts(word)
    if b"v0" in signs.translate(_MAYBE_VERSION):
        yield from _VERSION.findall(spaced)


def _forms_beyond_ascii(text: str) -> Iterator[str]:
    for run in unspaced_runs(text):
        yield bigrams(run)
    for word in _words_with(_UNSPACED, text):
        yield from without_unspaced(word).split()
    for word in _words_with(_FOLDABLE, text):
        yield from (folded(part) for part in without_unspaced(word).split() if _FOLDABLE.search(part))


def _words_with(sign: re.Pattern[str], text: str) -> Iterator[str]:
    """The words that hold such a sign, each once, without looking at the others."""
    end = 0
    for found in sign.finditer(text):
        start = found.start()
        if start < end:
            continue
        while start > end and _in_word(text[start - 1]):
            start -= 1
        end = found.end()
        while end < len(text) and _in_word(text[end]):
            end += 1
        yield text[start:end]


def _in_word(sign: str) -> bool:
    # A loose accent does not end a word for the tokenizer; what joins the parts of a name does, but the name is one.
    return sign.isalnum() or sign in "_-./:" or combining(sign) != 0


def query_forms(word: str) -> list[str]:
    """What finds a word of a query, unspaced script aside: itself, then its other spellings.

    Each is a word or a phrase, to be quoted; any of them will do: "straße" and "strasse"; "getURL" and
    "get URL", which also finds get_url; "v2.3.1" and "2.3.1".
    """
    forms = [word]
    if _FOLDABLE.search(word):
        forms.append(folded(word))
    for name in _humped(word, word.encode("ascii", "replace")):
        if parts := camel_parts(name):
            forms.append(word.replace(name, " ".join(parts), 1))
    forms.extend(_VERSION.findall(word))
    return list(dict.fromkeys(forms))


def folded(word: str) -> str:
    """The word as plain letters: "Straße" as "strasse", "ﬁnd" as "find", full width as half, no diacritics."""
    apart = normalize("NFKD", normalize("NFKD", word).casefold().translate(_PLAIN))
    return normalize("NFC", "".join(sign for sign in apart if not combining(sign)))


def camel_parts(word: str) -> list[str]:
    """The parts of a camelCase name; none of a word that is lower, upper or title case, or too long for a name."""
    if word.islower() or word.isupper() or word.istitle() or not word.isascii() or len(word) > LONGEST_NAME:
        return []
    return _PARTS.findall(word)


def _humped(text: str, signs: bytes) -> Iterator[str]:
    """The words that may be camelCase: going through all words takes much longer.

    `signs` is the text with `?` for each sign beyond ASCII.
    """
    end = 0
    for start in _humps(signs):
        if start < end:
            continue
        while start > end and text[start - 1].isalnum():
            start -= 1
        word = _CAMEL.search(text, start)
        assert word is not None
        end = word.end()
        yield word.group()


def _humps(signs: bytes) -> list[int]:
    """Where a word that is neither lower, upper nor title case shows it, in order."""
    kinds = signs.translate(_KINDS)
    found: list[int] = []
    for hump, place in _HUMPS:
        start = kinds.find(hump)
        while start >= 0:
            found.append(start + place)
            start = kinds.find(hump, start + 1)
    return sorted(found)


def bigrams(run: str) -> str:
    """A run of unspaced script as overlapping pairs, each one token: one sign alone stays alone.

    Half-width kana, loose jamo and the like are composed first. The pairs are spelled in figures, since the
    tokenizer would break Thai at its vowel signs.
    """
    signs = [_spelled(sign.encode("utf-16-be")) for sign in normalize("NFKC", run)]
    pairs = map("x{}{}".format, signs, signs[1:])
    return " ".join(pairs) or f"x{signs[0]}"


# Hexadecimal without vowels: every ending that porter takes off holds one, or an s, l or y.
_SIXTEEN = str.maketrans("abcdef", "bcdfgh")


@lru_cache(maxsize=8192)
def _spelled(data: bytes) -> str:
    return data.hex().translate(_SIXTEEN)


def unspaced_runs(text: str) -> list[str]:
    return _UNSPACED.findall(text)


def without_unspaced(text: str) -> str:
    return _UNSPACED.sub(" ", text)


@lru_cache(maxsize=1024)
def scope_text(scope: Scope) -> str:
    return " ".join(scope_tokens(scope))


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


def is_user_token(token: str) -> bool:
    # In brackets where it is the user's but for some sessions.
    return token.lstrip("(").startswith("xu")


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
    return _spelled(blake2b(name.encode(), digest_size=6).digest())
