"""What a search asks of a database, in bundles of what can be asked at once; and who goes on with the answers.

The decisions of a search are the same for every database, and so are their questions. They are written as
generators that yield wishes and are sent the answers: a database in this process answers them one by one, one
behind a network all those of a bundle in one round trip.

Terms are in the words of FTS5: a phrase in quotes, `*` behind it where it may go on; AND, OR, brackets.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

T = TypeVar("T")


class Frequency(NamedTuple):
    """In how many of all messages terms are, counted up to COMMON_FROM. Filters aside: what a term weighs."""

    terms: str


class Count(NamedTuple):
    """How many messages hold the terms, counted up to `most`: within the scope, or of all the user's."""

    terms: str
    most: int
    within: Literal["scope", "user"] = "scope"


class Newest(NamedTuple):
    """The keys of the newest messages that hold the terms, `most` at most, with keys up to `upto`.

    Within the tokens of the scope, and of `also`; `inside`: also within what only rows tell.
    """

    terms: str
    most: int
    upto: int | None = None
    inside: bool = True
    also: tuple[str, ...] = ()


class Said(NamedTuple):
    """Those of these words that somebody said as they are, within the scope: a tuple."""

    words: tuple[str, ...]


class Places(NamedTuple):
    """(session key, seq) by key of those messages that rows confirm to be the user's and within the scope.

    `unsure`: the index has not told yet that they are within its tokens.
    """

    keys: tuple[int, ...]
    unsure: bool = False


class Turns(NamedTuple):
    """Rows of the messages at these (session key, seq), as candidates.py reads them."""

    spots: tuple[tuple[int, int], ...]


class CallsOf(NamedTuple):
    """The calls that these messages make or answer, within the filters: `holding.Call`s."""

    message_keys: tuple[int, ...]


class Among(NamedTuple):
    """The set of those of these messages that hold the terms."""

    terms: str
    keys: tuple[int, ...]


class ArgumentsOf(NamedTuple):
    """A call's arguments, whole."""

    call_key: int


class CallValues(NamedTuple):
    """Calls as values, by key; texts are cut to `max_chars`."""

    keys: tuple[int, ...]
    max_chars: int


Wish = Frequency | Count | Newest | Said | Places | Turns | CallsOf | Among | ArgumentsOf | CallValues

Steps = Generator[Sequence[Wish], list[Any], T]
"""Yields wishes, is sent their answers in the same order, returns a result."""


def one(wish: Wish) -> Steps[Any]:
    """The answer to a wish that stands alone."""
    (answer,) = yield [wish]
    return answer


def together(parts: Sequence[Steps[T]]) -> Steps[list[T]]:
    """The results of several, side by side: what all of them wish at a time is one bundle."""
    results: dict[int, T] = {}
    waiting: dict[int, Sequence[Wish]] = {}

    def go_on(at: int, answers: list[Any] | None) -> None:
        waiting.pop(at, None)
        try:
            waiting[at] = next(parts[at]) if answers is None else parts[at].send(answers)
        except StopIteration as done:
            results[at] = done.value

    for at in range(len(parts)):
        go_on(at, None)
    while waiting:
        order = sorted(waiting)
        answers = yield [wish for at in order for wish in waiting[at]]
        start = 0
        for at in order:
            end = start + len(waiting[at])
            go_on(at, answers[start:end])
            start = end
    return [results[at] for at in range(len(parts))]


def run(steps: Steps[T], answer: Callable[[Wish], Any]) -> T:
    """The result, each wish answered at once."""
    answers: list[Any] | None = None
    try:
        while True:
            wishes = next(steps) if answers is None else steps.send(answers)
            answers = [answer(wish) for wish in wishes]
    except StopIteration as done:
        result: T = done.value
        return result
