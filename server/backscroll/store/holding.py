"""Which tool calls hold which terms.

The index holds messages, not calls: a message may make several calls and talk besides, and what came back is
another message. So the index tells which messages to look at, and what the calls say themselves tells an index
of their own, in memory, made and asked in the same way.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from ..models import CallStatus
from .indexing import TOKENIZER, call_text, extra_forms
from .matching import Wanted
from .shortlist import Match, Scale
from .wishes import Among, CallsOf, Newest, Steps, Wish, one

TIERS = 10
"""By the share of the terms' weight that a call holds: within a tier, newer ones come first."""

OWN_CHARS = 8_000
"""Of a call with longer arguments the index is believed, though it tells of the whole message."""

RANKED, _AT_ONCE = 100, 120
"""So many calls are ranked and counted, and so many are looked into at a time. Each takes some 20 µs."""

ENOUGH = 20
"""Fewer calls than this, and the next older messages with a frequent term are read."""

_LOOKED_UP = 300
"""Messages whose calls are looked up at a time."""

_OLDER = (1_000, 4_000, 16_000)
"""So many older messages with a frequent term are read, step by step, where the newer ones lead to few calls: they
hold it in what was said beside them, or no filter lets them in. All of it takes a tenth of a second."""

_TOGETHER = 4
"""Frequent terms that are looked for together, rarest first."""

_CLOSELY, _REFINED = 40, 4
"""So many of the first calls have their results looked up for so many of the frequent terms, 20 µs each."""


class Postings(NamedTuple):
    """The newest messages that hold a term; `whole` if these are all."""

    keys: Sequence[int]
    whole: bool


@dataclass(frozen=True, slots=True)
class Looking:
    """What is looked for. `required`: terms, as bits, that no call may lack; `also`: tokens of what calls must be."""

    asked: Sequence[Wanted]
    postings: Mapping[int, Postings]
    near: Mapping[int, Postings]
    scale: Scale
    required: int
    also: tuple[str, ...]
    ranked: int = RANKED

    def share(self, terms: int, near: int) -> float:
        return self.scale.own(Match(0, terms, near)) if near else self.scale.share(terms)

    def rank(self, call: "Call") -> tuple[int, int, int]:
        """A call's tier, time and key: the highest comes first."""
        return round(TIERS * self.share(call.terms, call.near)), call.called_at, call.key


def newest(terms: str, most: int, upto: int | None = None, also: tuple[str, ...] = ()) -> Newest:
    """Wishes for one more than `most`, for `postings` to see whether these are all."""
    return Newest(terms, most + 1, upto, inside=False, also=also)


def postings(keys: Sequence[int], most: int) -> Postings:
    return Postings(keys[:most], len(keys) <= most)


@dataclass(slots=True)
class Call:
    """A call, and the terms that it or its result holds: exactly, and nearly."""

    key: int
    called_at: int
    message_key: int | None
    result_key: int | None
    tool_name: str
    arguments: str | None
    """The first OWN_CHARS of them."""
    chars: int
    status: CallStatus
    terms: int = 0
    near: int = 0


@dataclass(slots=True)
class Found:
    """`whole`: the terms whose every message was looked at. `partial`: there may be more calls."""

    calls: list[Call] = field(default_factory=list)
    whole: int = 0
    partial: bool = False


def holding(looking: Looking) -> Steps[Found]:
    """Calls that hold some of the terms, and all that are required: of many, those that hold most."""
    return _Finding(looking).found()


class _Finding:
    """From the messages that hold the terms to their calls, best first."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking
        self._terms: dict[int, int] = {}
        self._near: dict[int, int] = {}
        self._seen: set[int] = set()
        self._into = Found()

    def found(self) -> Steps[Found]:
        looking, into = self._looking, self._into
        if looking.required & ~sum(1 << at for at in looking.postings):
            return into
        for at, postings in looking.postings.items():
            _note(self._terms, 1 << at, postings.keys)
            into.whole |= postings.whole << at
        for at, postings in looking.near.items():
            _note(self._near, 1 << at, postings.keys)
            into.partial |= not postings.whole
        frequent = self._frequent()
        # All calls hold each term that is required: where one was read whole, none is left out.
        is_open = bool(frequent) and not looking.required & into.whole
        into.partial |= is_open
        yield from self._read_together(frequent)
        yield from self._rank_calls((yield from self._calls_of_messages()))
        if is_open:
            yield from self._read_on(frequent[0])
        first = sorted(into.calls, key=looking.rank, reverse=True)[:_CLOSELY]
        yield from self._look_into_results(frequent[:_REFINED], first)
        return into

    def _frequent(self) -> list[int]:
        """The terms that were not read whole: those that are required, then the rarest first."""
        looking = self._looking
        cut = [at for at, postings in looking.postings.items() if not postings.whole]
        return sorted(cut, key=lambda at: (not looking.required >> at & 1, looking.asked[at].frequency))

    def _exact(self, at: int) -> str:
        terms = self._looking.asked[at].exact
        assert terms is not None
        return terms

    def _read_together(self, frequent: Sequence[int]) -> Steps[None]:
        """The newest messages that hold several of the frequent terms, all of them first, where no rare ones decide."""
        looking, several = self._looking, min(len(frequent), _TOGETHER)
        rare = [postings for postings in looking.postings.values() if postings.whole]
        if sum(len(postings.keys) for postings in rare) >= looking.ranked:
            return
        groups: list[Sequence[int]] = []
        while several > 1:
            groups.append(frequent[:several])
            several //= 2
        told = yield [newest(" AND ".join(map(self._exact, some)), _LOOKED_UP, also=looking.also) for some in groups]
        for some, keys in zip(groups, told, strict=True):
            _note(self._terms, sum(1 << at for at in some), keys[:_LOOKED_UP])

    def _read_on(self, at: int) -> Steps[None]:
        """Older messages with a frequent term, if there are few calls among the newer ones."""
        looking = self._looking
        read = looking.postings[at]
        for most in _OLDER:
            if read.whole or len(self._into.calls) >= ENOUGH:
                return
            wish = newest(self._exact(at), most, read.keys[-1] - 1, looking.also)
            read = postings((yield from one(wish)), most)
            _note(self._terms, 1 << at, read.keys)
            yield from self._rank_calls((yield from self._new_calls(read.keys)))

    def _calls_of_messages(self) -> Steps[list[Call]]:
        """Calls of the messages that were read, best first, until there are enough to rank."""
        looking, terms, near = self._looking, self._terms, self._near
        for key in near:
            terms.setdefault(key, 0)
        # A call that holds all that is required has one of it in a message of its own.
        shares = {held: looking.share(*held) for held in {(terms[key], near.get(key, 0)) for key in terms}}
        ranked = [
            (shares[held, near.get(key, 0)], key)
            for key, held in terms.items()
            if not looking.required or held & looking.required
        ]
        messages = [key for _, key in sorted(ranked, reverse=True)]
        calls: list[Call] = []
        for start in range(0, len(messages), _LOOKED_UP):
            if len(calls) >= looking.ranked:
                self._leave_out()
                break
            calls += yield from self._new_calls(messages[start : start + _LOOKED_UP])
        return calls

    def _new_calls(self, message_keys: Sequence[int]) -> Steps[list[Call]]:
        """Calls that were not seen yet, with all that the index says of their messages."""
        told: list[Call] = yield from one(CallsOf(tuple(message_keys)))
        calls = [call for call in told if call.key not in self._seen]
        self._seen.update(call.key for call in calls)
        for call in calls:
            self._believe(call, call.message_key)
            self._believe(call, call.result_key)
        return calls

    def _believe(self, call: Call, message_key: int | None) -> None:
        if message_key is not None:
            call.terms |= self._terms.get(message_key, 0)
            call.near |= self._near.get(message_key, 0)

    def _rank_calls(self, calls: list[Call]) -> Steps[None]:
        """Keep those that hold some of the terms themselves, until there are enough."""
        looking, into = self._looking, self._into
        calls.sort(key=looking.rank, reverse=True)
        for start in range(0, len(calls), _AT_ONCE):
            if len(into.calls) >= looking.ranked:
                self._leave_out()
                return
            some = calls[start : start + _AT_ONCE]
            yield from self._hold(some)
            into.calls += [call for call in some if call.terms | call.near and not looking.required & ~call.terms]

    def _leave_out(self) -> None:
        self._into.partial, self._into.whole = True, 0

    def _hold(self, calls: Sequence[Call]) -> Steps[None]:
        """Give each call the terms that it, or its result, holds, and no others."""
        short = [call for call in calls if call.chars <= OWN_CHARS]
        for call in short:
            call.terms = call.near = 0
            self._believe(call, call.result_key)
        _hold_own(short, self._looking.asked)
        cut = [at for at, postings in self._looking.postings.items() if not postings.whole]
        yield from self._look_into_results([at for at in cut if self._looking.required >> at & 1], calls)

    def _look_into_results(self, terms: Iterable[int], calls: Iterable[Call]) -> Steps[None]:
        results = [(call.result_key, call) for call in calls if call.result_key is not None]
        lacking = {at: [(key, call) for key, call in results if not call.terms >> at & 1] for at in terms}
        wishes: list[Wish] = [Among(self._exact(at), tuple(key for key, _ in some)) for at, some in lacking.items()]
        told = yield wishes
        for (at, some), matching in zip(lacking.items(), told, strict=True):
            for key, call in some:
                call.terms |= 1 << at if key in matching else 0


def _note(into: dict[int, int], bit: int, keys: Iterable[int]) -> None:
    for key in keys:
        into[key] = into.get(key, 0) | bit


def _hold_own(calls: Sequence[Call], asked: Sequence[Wanted]) -> None:
    """Give each call the terms of its name and arguments, by an index of just these."""
    alike: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        alike[call_text(call.tool_name, call.arguments)].append(call)
    said = list(alike.values())
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as own:
        own.execute(
            f"CREATE VIRTUAL TABLE search_index USING fts5 (text, forms, content = '', tokenize = '{TOKENIZER}')"
        )
        own.execute("BEGIN")
        own.executemany(
            "INSERT INTO search_index (rowid, text, forms) VALUES (?, ?, ?)",
            ((key, text, " ".join(extra_forms(text))) for key, text in enumerate(alike)),
        )
        for at, one in enumerate(asked):
            for call in _matching(own, one.exact, said):
                call.terms |= 1 << at
            for call in _matching(own, one.near, said):
                call.near |= 1 << at


def _matching(own: sqlite3.Connection, terms: str | None, said: Sequence[Sequence[Call]]) -> Iterator[Call]:
    if terms is not None:
        for (key,) in own.execute("SELECT rowid FROM search_index WHERE search_index MATCH ?", (terms,)):
            yield from said[key]
