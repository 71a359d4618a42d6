"""Dates as the calendar names them: "5 May 2023", "in March", "Q3 2024", "summer of last year", "Christmas"."""

from dataclasses import replace
from functools import partial

from . import words
from .times import Named
from .words import Evidence, Reader


def read_named(reader: Reader, evidence: Evidence) -> Named | None:
    """The longest that the calendar names: a day, a month, a season, a year."""
    return reader.first(
        _numeric,
        _holiday,
        _day_and_month,
        partial(_month, evidence=evidence),
        partial(_season, evidence=evidence),
        _quarter,
        partial(_year, evidence=evidence),
        partial(_day_of_month, evidence=evidence),
    )


def _numeric(reader: Reader) -> Named | None:
    for pattern in words.NUMERIC if reader.next[-1:].isalnum() and not reader.next.isalnum() else ():
        figures = pattern.fullmatch(reader.next)
        if figures:
            reader.says(reader.next)
            parts = {name: int(value) for name, value in figures.groupdict().items()}
            return Named(parts["year"], parts["month"], parts.get("day"))
    return None


def _holiday(reader: Reader) -> Named | None:
    holiday = reader.take_longest(words.HOLIDAYS)
    return in_year(reader, Named(month=holiday[0], day=holiday[1], days=holiday[2])) if holiday else None


def _day_and_month(reader: Reader) -> Named | None:
    day = reader.take(words.DAYS)
    reader.says("of")
    month = reader.take(words.MONTHS)
    return in_year(reader, Named(month=month, day=day)) if day and month else None


def _month(reader: Reader, evidence: Evidence) -> Named | None:
    name = reader.next
    month = reader.take(words.MONTHS)
    if month is None:
        return None
    bare = Named(month=month, day=reader.take(words.DAYS))
    named = in_year(reader, bare)
    sure = named != Named(month=month) or evidence in ("month", "both") or not has_other_senses(name)
    return named if sure else None


def _season(reader: Reader, evidence: Evidence) -> Named | None:
    name, the = reader.next, reader.before in words.THE
    month = reader.take(words.SEASONS)
    if month is None:
        return None
    bare = Named(month=month, months=3)
    named = in_year(reader, bare)
    # "in spring" may be the framework; "in the spring" is not.
    sure = named != bare or evidence == "both" or (evidence == "month" and (the or not has_other_senses(name)))
    return named if sure else None


def _quarter(reader: Reader) -> Named | None:
    month = reader.take(words.QUARTERS)
    return in_year(reader, Named(month=month, months=3)) if month else None


def _year(reader: Reader, evidence: Evidence) -> Named | None:
    year = reader.take(words.YEARS) if evidence in ("month", "both") else None
    return Named(year=year, month=1, months=12) if year else None


def _day_of_month(reader: Reader, evidence: Evidence) -> Named | None:
    """ "on the 20th". Below the fifth, an ordinal mostly counts something else: "on the 2nd try"."""
    ordinal = evidence in ("day", "both") and reader.before in words.THE and not reader.next.isdecimal()
    day = reader.take(words.DAYS) if ordinal else None
    return Named(day=day) if day and (day > 4 or not reader.next) else None


def in_year(reader: Reader, named: Named) -> Named:
    """The same, of the year that may follow."""
    start = reader.at
    reader.says("of", "in")
    year = reader.take(words.YEARS)
    if year:
        return replace(named, year=year)
    how = reader.take(words.LAST)
    if how and reader.says("year", "jahr"):
        return replace(named, years_ago=0 if how == "this" else 1)
    reader.go_to(start)
    return named


def has_other_senses(word: str) -> bool:
    return len(word) <= 3 or word in words.OTHER_SENSES
