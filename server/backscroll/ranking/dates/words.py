"""The words that dates are said in: each table maps words to what they mean. And a query cut into words."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Unit = Literal["minute", "hour", "day", "week", "month", "quarter", "year"]
Evidence = Literal["month", "day", "both", "none"]
"""What the words before speak for: "in" for a month or a year, "on" for a day."""

V = TypeVar("V")


def _table(rows: Mapping[V, str]) -> dict[str, V]:
    return {word: meaning for meaning, words in rows.items() for word in words.split()}


MONTHS = _table(
    {
        1: "january jan januar", 2: "february feb februar", 3: "march mar märz", 4: "april apr", 5: "may mai",
        6: "june jun juni", 7: "july jul juli", 8: "august aug", 9: "september sept sep", 10: "october oct oktober okt",
        11: "november nov", 12: "december dec dezember dez",
    }
)  # fmt: skip
WEEKDAYS = _table(
    {
        0: "monday mon montag", 1: "tuesday tues tue dienstag", 2: "wednesday wed mittwoch",
        3: "thursday thurs thu donnerstag", 4: "friday fri freitag", 5: "saturday sat samstag", 6: "sunday sun sonntag",
    }
)  # fmt: skip
# Verbs, names and short forms. Every month and weekday of three letters is one of them too.
OTHER_SENSES = {"march", "april", "june", "spring", "fall"}
SEASONS = _table({3: "spring frühling", 6: "summer sommer", 9: "autumn fall herbst", 12: "winter"})
QUARTERS = {"q1": 1, "q2": 4, "q3": 7, "q4": 10}
# (month, day, number of days).
HOLIDAYS = {
    "new year eve": (12, 31, 1), "silvester": (12, 31, 1), "new year": (1, 1, 1), "new year day": (1, 1, 1),
    "neujahr": (1, 1, 1), "christmas": (12, 24, 3), "xmas": (12, 24, 3), "weihnachten": (12, 24, 3),
    "christmas eve": (12, 24, 1), "heiligabend": (12, 24, 1), "christmas day": (12, 25, 1), "boxing day": (12, 26, 1),
    "halloween": (10, 31, 1), "valentine day": (2, 14, 1), "valentines day": (2, 14, 1), "valentinstag": (2, 14, 1),
    "independence day": (7, 4, 1), "juneteenth": (6, 19, 1),
}  # fmt: skip
# "Tag" is missing: "the last tag" is git's.
UNITS: dict[str, Unit] = _table(
    {
        "minute": "minute minutes min mins minuten", "hour": "hour hours hr hrs stunde stunden",
        "day": "day days tage tagen", "week": "week weeks woche wochen", "month": "month months monat monate monaten",
        "quarter": "quarter quarters quartal quartale quartalen", "year": "year years jahr jahre jahren",
    }
)  # fmt: skip
# From, to: "a few days ago" is two to five.
COUNTS = _table(
    {
        (1, 1): "a an one ein einem einer", (2, 2): "two zwei", (3, 3): "three drei", (4, 4): "four vier",
        (5, 5): "five fünf", (6, 6): "six sechs", (7, 7): "seven sieben", (8, 8): "eight acht", (9, 9): "nine neun",
        (10, 10): "ten zehn", (11, 11): "eleven elf", (12, 12): "twelve zwölf",
        (2, 3): "couple paar", (2, 5): "few einigen", (3, 8): "several mehreren",
    }
)  # fmt: skip
DAYS_AGO = _table({0: "today tonight heute", 1: "yesterday gestern", 2: "vorgestern"})
HOURS = _table(
    {
        (5, 12): "morning morgen vormittag", (12, 18): "afternoon nachmittag", (17, 24): "evening abend",
        (18, 30): "night nacht",
    }
)  # fmt: skip
# Parts of a month, season or year, in sixths of it.
PARTS = _table({(0, 2): "early anfang", (2, 4): "mid mitte", (4, 6): "late ende"})
PARTS_OF = _table({(0, 2): "beginning start", (2, 4): "middle", (4, 6): "end"})
NTH = _table({0: "first 1st", 1: "second 2nd", 2: "third 3rd", 3: "fourth 4th", -1: "last"})
DAYS = {f"{day}{ending}": day for day in range(1, 32) for ending in ("", "st", "nd", "rd", "th")}
DAYS |= {f"0{day}": day for day in range(1, 10)}
DAYS |= {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
YEARS = {str(year): year for year in range(1900, 2201)}
LAST: dict[str, Literal["last", "past", "this"]] = _table(
    {
        "last": "last previous letzte letzten letzter letztes letztem", "past": "past vergangenen",
        "this": "this diese diesen dieser dieses diesem",
    }
)  # fmt: skip
PREPOSITIONS: dict[str, Evidence] = _table(
    {"month": "in during within im", "day": "on am", "none": "at around over about zu an"}
)
SIDES = _table({"since": "since seit", "after": "after nach", "before": "before vor", "by": "by until till bis"})
NOT_PAST = {"next", "coming", "every", "each", "nächste", "nächsten", "nächster", "nächstes", "jede", "jeden"}
THE = ("the", "der", "die", "das", "den", "dem", "des")
FROM = ("between", "from", "zwischen", "von", "vom")
TO = ("to", "until", "till", "through", "bis", "-", "–")
AND = ("and", "und")
WEEKEND = ("weekend", "wochenende")
RECENTLY = ("recently", "lately", "kürzlich", "neulich")
NUMERIC = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<year>\d{4})-(?P<month>\d\d?)-(?P<day>\d\d?)(?:t.*)?",
        r"(?P<year>\d{4})/(?P<month>\d\d?)/(?P<day>\d\d?)",
        r"(?P<year>\d{4})-(?P<month>\d\d)",
        r"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{4})",
        r"(?P<month>0?\d|1[0-2])/(?P<day>\d\d?)/(?P<year>\d{4})",
        r"(?P<day>\d\d?)/(?P<month>\d\d?)/(?P<year>\d{4})",
    )
)
# A date in figures, a word with its 's, or a dash.
_WORD = re.compile(
    r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?!\d)(?:T\d+(?:[:.]\d+)*(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|\d{4}-\d\d(?![\d-])|\w+(?:['’]s\b)?|[-–]"
)
_QUOTED = re.compile(r'"[^"]*"')
_MAX_SHORT = 4
"""Letters of the longest short form, "Sept", and digits of a number that counts."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the query: folded and without its 's, and its offsets."""

    text: str
    begin: int
    finish: int


def phrases(query: str) -> list[list[Word]]:
    """The query's words, in runs that nothing but space, a comma or the dot of a short form parts."""
    query = _QUOTED.sub(lambda quoted: '"' * len(quoted[0]), query)
    found: list[list[Word]] = []
    finish = None
    for match in _WORD.finditer(query):
        if finish is None or not _joined(found[-1][-1].text, query[finish : match.start()].strip()):
            found.append([])
        text = match[0].casefold().removesuffix("'s").removesuffix("’s")
        found[-1].append(Word(text, match.start(), match.end()))
        finish = match.end()
    return found


_STARTS = frozenset().union(
    *(MONTHS, WEEKDAYS, SEASONS, QUARTERS, UNITS, COUNTS, DAYS_AGO, PARTS, PARTS_OF, NTH, DAYS, LAST, PREPOSITIONS),
    *(SIDES, THE, FROM, RECENTLY, (name.split()[0] for name in HOLIDAYS)),
)


def may_start(word: str) -> bool:
    """Whether a time can begin with this word. Most words of a query are passed over for its answer."""
    return word in _STARTS or word[0].isdecimal()


def _joined(before: str, gap: str) -> bool:
    return gap in ("", ",") or (gap in (".", ".,") and len(before) <= _MAX_SHORT)


class Reader:
    """Goes through a run of words. What does not fit is not taken."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = [*(word.text for word in words), ""]
        self.at = 0
        self.next = self._words[0]
        """The word to come; empty at the end."""

    @property
    def before(self) -> str:
        return self._words[self.at - 1] if self.at else ""

    def go_to(self, at: int) -> None:
        self.at = at
        self.next = self._words[at]

    def take(self, table: Mapping[str, V]) -> V | None:
        """What the next word means by a table."""
        found = table.get(self.next)
        if found is not None:
            self.go_to(self.at + 1)
        return found

    def take_longest(self, table: Mapping[str, V]) -> V | None:
        """What the next three, two or one words mean by a table."""
        for count in (3, 2, 1):
            found = table.get(" ".join(self._words[self.at : self.at + count]))
            if found is not None:
                self.go_to(self.at + count)
                return found
        return None

    def says(self, *words: str) -> bool:
        """Takes the next word if it is one of these."""
        fits = self.next in words
        if fits:
            self.go_to(self.at + 1)
        return fits

    def soon(self, count: int, *words: str) -> bool:
        """Whether one of these is among the next so many words."""
        return not set(words).isdisjoint(self._words[self.at : self.at + count])

    def first(self, *rules: Callable[["Reader"], V | None]) -> V | None:
        """What the first rule that fits makes of the next words."""
        start = self.at
        for rule in rules:
            found = rule(self)
            if found is not None:
                return found
            if self.at != start:
                self.go_to(start)
        return None
