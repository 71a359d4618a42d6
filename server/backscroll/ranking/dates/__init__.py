"""The dates that a query names: "last Tuesday", "in March 2023", "two weeks ago", "between 3 and 10 May".

`words` holds the words and what each means, `grammar` puts them together, `times` counts them out from now. Each rule
looks at a handful of words, so the time is linear in the query. English and German stand side by side in the tables.
Why not dateparser: too heavy a dependency for a hint, and too eager where a false date takes words from the query.

How the open questions are answered:

- What lacks a year is the most recent that has begun; with "last", the most recent that is over.
- "on Monday" and "last Monday" are before today; "this Monday" may be today.
- Last week, month and year are the calendar's, from Monday or the first; "past week" and "last 7 days" end today.
- "two weeks ago" is the week around that day, "two months ago" the month around it; "recently" is the last 14 days.
- 5/6/2023 is 6 May, as in the US, unless its first number cannot be a month; 5.6.2023 is 5 June.
- Seasons are the north's, by whole months; a winter bears the year of its December.
- "since" and "after" reach to the end of today, "before" and "by" a year back.
- A relative time right before a date is measured from it: "the week before 3 August", "last Friday on 23 January".
- Words with other senses (may, march, April, sat, fall) need a neighbour that makes them a date.
- What is still to come, or ended before 1970, is no place to look in: its words stay ordinary terms.
- Clock times are left out. What stands in "double quotes" is asked for word by word, and names no date.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from .grammar import read_stretch
from .times import Moment, in_utc
from .words import NOT_PAST, Reader, Word, may_start, phrases


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time that a query names: [start, end) as aware datetimes in UTC, and where in the query it stands.

    `text` is as said, with the words that belong to it ("in the last", "since"); `begin` and `finish` are its offsets.
    `exact` when a day, or a month with its year, was named outright; not for "recently", "last Tuesday", "two weeks
    ago" or an open side.
    """

    start: datetime
    end: datetime
    text: str
    begin: int
    finish: int
    exact: bool


def spans(query: str, now: datetime) -> tuple[Span, ...]:
    """The times that a query names, in its order, none overlapping. `now` is aware; its zone is the user's.

    What is not surely a time, or is none (31.02.2024), is left out. Raises nothing.
    """
    return tuple(span for words in phrases(query) for span in _spans_of(query, words, now))


def _spans_of(query: str, words: Sequence[Word], now: datetime) -> Iterator[Span]:
    reader = Reader(words)
    while reader.next:
        first = reader.at
        moment = read_stretch(reader) if may_start(reader.next) else None
        span = _span(query, words[first].begin, words[reader.at - 1].finish, moment, now) if moment else None
        if span:
            yield span
            continue
        reader.go_to(first)
        # The Monday of "next Monday" is not the last one: both words are passed over.
        reader.says(*NOT_PAST)
        if reader.next:
            reader.go_to(reader.at + 1)


def _span(query: str, begin: int, finish: int, moment: Moment, now: datetime) -> Span | None:
    times = in_utc(moment, now) if _stands_alone(query, begin, finish) else None
    return Span(*times, query[begin:finish], begin, finish, moment.exact) if times else None


def _stands_alone(query: str, begin: int, finish: int) -> bool:
    """Whether the words are no part of a name: `logs/2026-11-20.txt`, `--since`, `today()`, `last-week`."""
    before = query[max(0, begin - 1) : begin]
    after, further = query[finish : finish + 1], query[finish + 1 : finish + 2]
    if before in _BINDS_BEFORE or after in _BINDS_AFTER or after.isalnum():
        return False
    return not (after in _BINDS_WITH_MORE and further.isalnum())


_BINDS_BEFORE = frozenset("/\\_@#$=.-–~+:")
_BINDS_AFTER = frozenset("/\\_@=(")
_BINDS_WITH_MORE = frozenset(".-–:")
