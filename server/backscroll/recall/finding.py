"""From a query to the lines that answer it, best first: what the tool and the command line both show."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..answers import Hit
from ..models import Message, Session
from ..ranking import Folded, Question, Reading, answering, folded, ranked, readings, snippet
from ..semantic import Semantic
from ..store import Candidate, FoundMessage, Search, SearchResult, Store, Turn
from ..store.indexing import indexed_text
from ..text import one_line
from ..tokens import estimate

if TYPE_CHECKING:
    from ..semantic.vectors import Floats

SNIPPET_CHARS = 240
"""Some 55 tokens of English."""

BEFORE_CHARS = 90
SHORT = 60
"""A shorter line may make no sense without the one before it."""

POOL = 100
SIMILAR = 60
"""Messages that are looked for by their meaning alone."""

NEAREST = 3
ALIKE_IN_MEANING = 0.12
"""Of those found by their meaning alone so many are told, from this cosine on: lines on other things reach 0.1."""

LOOKED_THROUGH = 200_000
"""So much of a message is looked through for the best stretch to show."""

LONG = 50_000
"""More text than this is looked through in a thread."""

UNKNOWN = 0.5
"""The weight of a word that no message has, against that of the rarest that some have."""

_NAMED = 3
"""Of the lines that are folded into one, and of the words that nothing has, so many are named."""

_NAME_CHARS = 40
"""A longer name, or word of a note, is cut."""

_FILTERS = ("session", "num_history_sessions", "role", "tool_name", "agent", "project", "source", "since", "until")

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A hit, and the keys of the messages that it stands for."""

    hit: Hit
    keys: tuple[int, ...]
    matches: int
    """How many of them hold a term of the query; the others stand beside such."""


@dataclass(frozen=True, slots=True)
class Found:
    """Lines, best first. `total` counts the messages that hold a term, `capped` if there are more.

    `more`: some of them were not looked at for these lines.
    """

    session: Session | None
    lines: tuple[Line, ...]
    total: int
    capped: bool
    as_of: int
    more: bool
    note: str | None = None

    @property
    def strangers(self) -> int:
        """Of the messages that the lines stand for, those that hold no term."""
        return sum(len(line.keys) - line.matches for line in self.lines)


async def find(
    store: Store,
    semantic: Semantic | None,
    user_id: str,
    question: Question,
    wanted: Search,
    lines: int,
    *,
    across: bool = True,
) -> Found:
    """The best lines. `wanted` says where to look; what to look for is the question's.

    `across`: each line names its session.
    """
    result, told, meant = await read_candidates(store, semantic, user_id, question, wanted, lines)
    loosened = None
    if result.total == 0 and any(term.required for term in question.terms):
        phrases = [term.text for term in question.terms if term.required]
        loosened = " ".join(f'"{_short(phrase)}"' for phrase in phrases[:_NAMED])
        question = question.loosened()
        result, told, meant = await read_candidates(store, semantic, user_id, question, wanted, lines)
    worth = _worth_telling(ranked(told), meant)
    kept = folded(worth, lines)
    keys = [one.first.turn.key for one in kept]
    messages = {one.key: one for one in await store.found(user_id, keys, max_chars=LOOKED_THROUGH)}
    words = dict(_telling_words(question, result))

    def told_lines() -> tuple[Line, ...]:
        return tuple(
            _line(one, messages[one.first.turn.key], words, across=across, asked_tool=wanted.tool_name)
            for one in kept
            if one.first.turn.key in messages
        )

    long = sum(len(one.message.text) for one in messages.values()) > LONG
    shown = await asyncio.to_thread(told_lines) if long else told_lines()
    more = result.more or sum(line.matches for line in shown) < sum(map(_matches, worth))
    note = _note(question, result, loosened, filtered=_is_filtered(wanted), by_meaning=bool(shown) and not result.total)
    return Found(result.session, shown, result.total, result.capped, result.as_of, more, note)


async def read_candidates(
    store: Store, semantic: Semantic | None, user_id: str, question: Question, wanted: Search, lines: int = 0
) -> tuple[SearchResult, list[Reading], frozenset[int]]:
    """What the store finds, each candidate with what it is weighed by; and the keys of those nearest in meaning."""
    wanted = replace(wanted, terms=question.terms, beside=question.natural, pool=max(POOL, lines * 2))
    meaning = None if semantic is None else await _meaning(store, semantic, user_id, question, wanted)
    if semantic is None or meaning is None:
        result = await store.search(user_id, wanted)
        return result, readings(question, result.candidates, result.weights), frozenset()
    nearest = await semantic.nearest(user_id, meaning, limit=SIMILAR)
    wanted = replace(wanted, similar=tuple(near.message_key for near in nearest))
    result = await store.search(user_id, wanted)
    turns = {turn.key for one in result.candidates for turn in (one.turn, one.before) if turn is not None}
    similar = await semantic.scores(user_id, meaning, sorted(turns))
    # To bare words belongs what holds them; only where nothing does, what means the same.
    within = [one.turn.key for one in result.candidates if similar.get(one.turn.key, 0.0) >= ALIKE_IN_MEANING]
    best = sorted(within, key=lambda key: -similar[key])[:NEAREST] if question.natural or not result.total else []
    return result, readings(question, result.candidates, result.weights, similar), frozenset(best)


async def _meaning(
    store: Store, semantic: Semantic, user_id: str, question: Question, wanted: Search
) -> "Floats | None":
    """The question's vector, each word weighed as in the store; None where search goes by words alone."""
    if any(term.required for term in question.terms):
        return None
    weights = await store.weights(user_id, wanted)
    told = [(term.text, weight) for term, weight in zip(question.terms, weights, strict=True) if not term.common]
    usual = max((weight for _, weight in told), default=0.0) * UNKNOWN
    return await semantic.question(question.text, [(word, weight or usual) for word, weight in told])


def _worth_telling(candidates: list[Candidate], meant: frozenset[int]) -> list[Candidate]:
    """What only stands beside a match is told where a match follows; after the last, only what answers one.

    The few that are nearest in meaning are told wherever they stand.
    """
    last = max((at for at, one in enumerate(candidates) if _matches(one)), default=-1)
    return [
        one
        for at, one in enumerate(candidates)
        if at <= last or one.turn.key in meant or (last >= 0 and answering(one) > 0)
    ]


def _matches(candidate: Candidate) -> bool:
    return bool(candidate.terms or candidate.near)


def _is_filtered(wanted: Search) -> bool:
    return any(value is not None for value in (getattr(wanted, name) for name in _FILTERS))


def _note(
    question: Question, result: SearchResult, loosened: str | None, *, filtered: bool, by_meaning: bool
) -> str | None:
    """What was tried other than the words as given, and what was not found: one short line, or nothing."""
    no_message = "No message within these filters has" if filtered else "No message has"
    told = []
    if not question.terms:
        told.append("The query holds no word.")
    if loosened:
        told.append(f"{no_message} {loosened} together; searched for the words.")
    for at, spelled in sorted(result.spelled.items()):
        told.append(f"{no_message} {_listed([question.terms[at].text])}; searched for {_listed(spelled)}.")
    only_common = all(term.common for term in question.terms)
    missing = [
        term.text
        for at, (term, weight) in enumerate(zip(question.terms, result.weights, strict=True))
        if not weight and (only_common or not (term.common or term.literal)) and at not in result.spelled
    ]
    if missing:
        told.append(f"{no_message} {_listed(missing)}.")
    if by_meaning:
        told.append("These are nearest in meaning.")
    return " ".join(told) or None


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(repr(_short(word)) for word in words[:_NAMED]) + more


def _short(text: str) -> str:
    """On one line, and not for long."""
    told = one_line(text)
    return told if len(told) <= _NAME_CHARS else f"{told[:_NAME_CHARS]}..."


def _telling_words(question: Question, result: SearchResult) -> Iterator[tuple[str, float]]:
    """The words that a snippet is to show, in lower case, by their weight: terms as said, and the words in them."""
    for at, (term, weight) in enumerate(zip(question.terms, result.weights, strict=True)):
        parts = {word for text in (term.text, *term.forms) for word in _WORD.findall(text.casefold())}
        near = {word for spelled in result.spelled.get(at, ()) for word in _WORD.findall(spelled.casefold())}
        if weight:
            yield from ((word, weight / len(parts)) for word in sorted(parts))
            yield from ((word, weight) for word in sorted(near))
            yield term.text.casefold(), weight


def _line(
    one: Folded, found: FoundMessage, words: Mapping[str, float], *, across: bool, asked_tool: str | None
) -> Line:
    """A match as a line. Of several calls, the one that was asked for names the line, else the first."""
    message = found.message
    text = searched_text(message)
    speaker = one.first.turn.speaker
    tool_name = message.tool_name
    if message.tool_calls and not message.text:
        names = [call.tool_name for call in message.tool_calls]
        tool_name = next((name for name in names if asked_tool and name.casefold() == asked_tool.casefold()), names[0])
    hit = Hit(
        ref=message.ref,
        seq=message.seq,
        session_id=found.session_id if across else None,
        run_id=message.run_id,
        role=message.role,
        name=None if speaker is None or message.role == "tool" or speaker == message.agent else _short(speaker),
        snippet=snippet(text, words, _room(text)),
        before=_before(one.first, words),
        also=tuple(other.turn.ref for other in one.alike[:_NAMED]),
        alike=len(one.alike),
        tool_name=tool_name,
        agent=message.agent,
        created_at=message.created_at,
        tokens=_estimate(message, text),
    )
    members = (one.first, *one.alike)
    return Line(hit, tuple(member.turn.key for member in members), sum(map(_matches, members)))


def _before(candidate: Candidate, words: Mapping[str, float]) -> str | None:
    """The line before, where this one alone makes no sense: it is short, or holds none of the words itself."""
    before: Turn | None = candidate.before
    if before is None or not before.text or before.role == "system":
        return None
    if candidate.turn.chars >= SHORT and _matches(candidate):
        return None
    return snippet(before.text, words, BEFORE_CHARS)


def _room(text: str) -> int:
    """How many signs a snippet may have: those of most scripts but the Latin take a token or more each."""
    head = text[:2_000]
    return SNIPPET_CHARS if sum(map(str.isascii, head)) >= len(head) / 2 else SNIPPET_CHARS * 2 // 5


def _estimate(message: Message, text: str) -> int:
    """Tokens of the whole message, of which the text may be a part."""
    unread = max(message.text_chars - len(message.text), 0)
    return estimate(text) * (len(text) + unread) // max(len(text), 1)


def searched_text(message: Message) -> str:
    """What the index holds of a message: its text, and its calls' names and arguments."""
    return indexed_text(message.text, ((call.tool_name, call.arguments_text) for call in message.tool_calls)).strip()
