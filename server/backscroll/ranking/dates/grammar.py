"""How words make a time. Each rule reads on from where the reader stands, and answers None where it does not fit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from . import words
from .named import has_other_senses, in_year, read_named
from .times import (
    DAY,
    Measured,
    Moment,
    Named,
    Period,
    back,
    counted,
    day_ago,
    day_of_week,
    rolling,
    then,
    today_of,
    weekday_before,
    weekend,
    whole,
)
from .words import Evidence, Reader, Unit

_LONGEST_START = 7
"""Words before the "to" of a range, at most: "from the 3rd of May last year to"."""


def read_stretch(reader: Reader) -> Moment | None:
    """A time, with the preposition before it, a side of one, or all between two."""
    if reader.next in words.SIDES:
        return reader.first(_side, _said)
    if reader.next in words.FROM or reader.soon(_LONGEST_START, *words.TO):
        return reader.first(_between, _said)
    return reader.first(_said)


def _between(reader: Reader) -> Moment | None:
    """ "between 3 and 10 May", "from March to May 2023", "May 3-10". Either end may lack what the other has."""
    opened = reader.says(*words.FROM)
    start = reader.first(_end_of_range)
    if start is None or not (reader.says(*words.TO) or (opened and reader.says(*words.AND))):
        return None
    end = reader.first(_end_of_range)
    if end is None:
        return None
    if isinstance(start, Named) and isinstance(end, Named):
        start, end = replace(start, month=start.month or end.month), replace(end, month=end.month or start.month)
        years_only = start.months == end.months == 12
        if start.month is None or (years_only and not opened):
            return None
    return Measured(partial(_from_to, start, end), start.exact and end.exact)


def _end_of_range(reader: Reader) -> Moment | None:
    reader.says(*words.THE)
    return reader.first(partial(_moment, evidence="both"), _day_alone)


def _day_alone(reader: Reader) -> Named | None:
    day = reader.take(words.DAYS)
    return in_year(reader, Named(day=day)) if day else None


def _from_to(start: Moment, end: Moment, now: datetime) -> Period:
    """From the beginning of one to the end of the other."""
    if isinstance(start, Named) and isinstance(end, Named) and start.year and not end.year:
        # "from December 2022 to February" ends in the February after it.
        begins, _ = start.period(now)
        _, ends = replace(end, year=start.year).period(now)
        return begins, ends if ends > begins else back(ends, "year", -1)
    starts, ends = end.period(now)
    if isinstance(start, Named):
        # Without its year, the last one before the end.
        now = then(starts, now)
    return start.period(now)[0], ends


def _side(reader: Reader) -> Moment | None:
    """ "since March", "before 5 June"."""
    side = reader.take(words.SIDES)
    reader.says(*words.THE)
    # What was done by April, May or June was done by a person.
    moment = _moment(reader, "none" if side == "by" else "both") if side else None
    if moment is None:
        return None

    def period(now: datetime) -> Period:
        start, end = moment.period(now)
        if side in ("since", "after"):
            return start if side == "since" else end, today_of(now) + DAY
        limit = start if side == "before" else end
        return back(limit, "year", 1), limit

    return Measured(period)


def _said(reader: Reader) -> Moment | None:
    evidence = reader.take(words.PREPOSITIONS)
    reader.says(*words.THE)
    return _moment(reader, evidence or "none")


def _moment(reader: Reader, evidence: Evidence) -> Moment | None:
    named = reader.first(partial(read_named, evidence=evidence), _part)
    if named:
        return named
    found = reader.first(
        _beside,
        _counted_back,
        _day_back,
        _last_or_this,
        partial(_weekday, evidence=evidence),
        _weekend,
        _recently,
    )
    return (reader.first(partial(_measured_from_date, found=found)) if isinstance(found, Measured) else None) or found


def _part(reader: Reader) -> Measured | None:
    """ "early March", "end of last year", "the first half of May", "second week of November"."""
    cut = reader.first(_sixths, _nth)
    reader.says(*words.THE)
    whole = reader.first(_last_or_this, partial(read_named, evidence="both")) if cut else None
    if cut is None or whole is None:
        return None

    def period(now: datetime) -> Period:
        start, end = whole.period(now)
        first, last = cut((end - start).days)
        return start + first * DAY, start + last * DAY

    return Measured(period)


Cut = Callable[[int], tuple[int, int]]
"""From a number of days to the first of a part of them and the one after its last."""


def _sixths(reader: Reader) -> Cut | None:
    part = reader.take(words.PARTS)
    if part:
        # The dash of "mid-March".
        reader.says("of", "-")
    else:
        part = reader.take(words.PARTS_OF)
        if part is None or not reader.says("of"):
            return None
    first, last = part
    return lambda days: (days * first // 6, days * last // 6)


def _nth(reader: Reader) -> Cut | None:
    nth = reader.take(words.NTH)
    if nth is None:
        return None
    half = reader.says("half", "hälfte")
    if not (half or reader.says("week", "woche")) or not reader.says("of"):
        return None
    if half:
        return lambda days: (0, days // 2) if nth == 0 else (days // 2, days)
    return lambda days: (days - 7, days) if nth < 0 else (7 * nth, 7 * nth + 7)


# What is measured from now.


def _beside(reader: Reader) -> Measured | None:
    """ "the week before 3 August", "two days after Christmas": measured from the date."""
    count = _count(reader)
    unit = reader.take(words.UNITS)
    after = reader.says("after", "nach")
    if unit is None or not (after or reader.says("before", "vor")):
        return None
    reader.says(*words.THE)
    date = read_named(reader, "both")
    if date is None:
        return None

    def period(now: datetime) -> Period:
        start, end = date.period(now)
        if count:
            return counted(then(start, now), unit, (-count[0], -count[1]) if after else count)
        return (end, back(end, unit, -1)) if after else (back(start, unit, 1), start)

    return Measured(period)


def _counted_back(reader: Reader) -> Measured | None:
    """ "two weeks ago", "vor zwei Wochen"."""
    german = reader.says("vor")
    count = _count(reader)
    unit = reader.take(words.UNITS)
    if count is None or unit is None or not (german or reader.says("ago", "back")):
        return None
    return Measured(partial(counted, unit=unit, count=count))


def _count(reader: Reader) -> tuple[int, int] | None:
    if reader.next.isdecimal() and len(reader.next) <= 4:
        number = int(reader.next)
        reader.says(reader.next)
        return number, number
    count = reader.take(words.COUNTS)
    # "a few", "a couple of"
    count = (reader.take(words.COUNTS) or count) if count == (1, 1) else count
    reader.says("of")
    return count


def _day_back(reader: Reader) -> Measured | None:
    days = reader.take(words.DAYS_AGO)
    if days is None and reader.says("day") and reader.says("before") and reader.says("yesterday"):
        days = 2
    return None if days is None else _at_hours(reader, Measured(partial(day_ago, ago=days), outright=True))


def _last_or_this(reader: Reader) -> Moment | None:
    how = reader.take(words.LAST)
    if how is None:
        return None
    count = _count(reader)
    unit = reader.take(words.UNITS)
    if count or unit:
        return _units(reader, how, count, unit) if unit else None
    this = how == "this"
    if reader.next in words.HOURS:
        # This morning is today's, last night began yesterday.
        return _at_hours(reader, Measured(partial(day_ago, ago=0 if this else 1)))
    if reader.says(*words.WEEKEND):
        return Measured(partial(weekend, over=not this))
    weekday = reader.take(words.WEEKDAYS)
    if weekday is not None:
        return _at_hours(reader, Measured(partial(weekday_before, weekday=weekday, or_today=this)))
    named = read_named(reader, "both")
    return replace(named, over=not this) if named else None


def _units(reader: Reader, how: str, count: tuple[int, int] | None, unit: Unit) -> Measured | None:
    """The rest of "last two weeks", "past month", "this year", "last week on Tuesday"."""
    if count or how == "past" or unit == "hour":
        return Measured(partial(rolling, unit=unit, count=max(count or (1, 1))))
    if unit in ("minute", "day"):
        # "last minute" is said of changes, "last day" of a school year.
        return None
    ago = 0 if how == "this" else 1
    return (reader.first(partial(_day_of_week, weeks_ago=ago)) if unit == "week" else None) or Measured(
        partial(whole, unit=unit, ago=ago)
    )


def _day_of_week(reader: Reader, weeks_ago: int) -> Measured | None:
    reader.says("on", "am")
    weekday = reader.take(words.WEEKDAYS)
    if weekday is None:
        return None
    return _at_hours(reader, Measured(partial(day_of_week, weekday=weekday, ago=weeks_ago)))


def _weekday(reader: Reader, evidence: Evidence) -> Moment | None:
    """ "on Monday", "Friday night", "Tuesday of last week", "Friday, 5 May"."""
    name = reader.next
    weekday = reader.take(words.WEEKDAYS)
    if weekday is None:
        return None
    date = reader.first(partial(read_named, evidence="none"), partial(_week, weekday=weekday))
    if date:
        return date
    if has_other_senses(name) and evidence not in ("day", "both"):
        return None
    return _at_hours(reader, Measured(partial(weekday_before, weekday=weekday)))


def _week(reader: Reader, weekday: int) -> Measured | None:
    reader.says("of")
    how = reader.take(words.LAST)
    if how is None or not reader.says("week", "woche"):
        return None
    return Measured(partial(day_of_week, weekday=weekday, ago=0 if how == "this" else 1))


def _weekend(reader: Reader) -> Measured | None:
    """ "over the weekend"; bare, it is a subject."""
    said = reader.before in (*words.THE, *words.PREPOSITIONS)
    return Measured(weekend) if said and reader.says(*words.WEEKEND) else None


def _recently(reader: Reader) -> Measured | None:
    return Measured(partial(rolling, unit="day", count=14)) if reader.says(*words.RECENTLY) else None


def _at_hours(reader: Reader, day: Measured) -> Measured:
    """The day, or the part of it that is named next."""
    hours = reader.take(words.HOURS)
    if hours is None:
        return day

    def period(now: datetime) -> Period:
        midnight, _ = day.period(now)
        return midnight + timedelta(hours=hours[0]), midnight + timedelta(hours=hours[1])

    return Measured(period, day.exact)


def _measured_from_date(reader: Reader, found: Measured) -> Measured | None:
    """ "last weekend before 10 April", "last Friday on 23 January": the time, had it been said then."""
    if not reader.says("before", "on", "vor", "am"):
        return None
    reader.says(*words.THE)
    date = read_named(reader, "none")
    return Measured(lambda now: found.period(then(date.period(now)[0], now))) if date else None
