"""Times as the calendar names them, or as they are measured from now, and the instants that they are."""

from abc import ABC, abstractmethod
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from .words import Unit

Period = tuple[datetime, datetime]
"""[start, end). Naive: the wall clock of the user's zone. Aware: an instant, for what is counted in hours."""

DAY = timedelta(days=1)
_LENGTHS: dict[Unit, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": DAY,
    "week": 7 * DAY,
}
_MONTHS_IN: dict[Unit, int] = {"month": 1, "quarter": 3, "year": 12}
_DAYS_AROUND: dict[Unit, int] = {"day": 0, "week": 3, "month": 15, "quarter": 45, "year": 182}


class Moment(ABC):
    """A time as it was said; when that is depends on when it was said."""

    __slots__ = ()

    @property
    @abstractmethod
    def exact(self) -> bool:
        """Whether a day, or a month with its year, was named outright."""

    @abstractmethod
    def period(self, now: datetime) -> Period:
        """Raises ValueError or OverflowError where there is no such time."""


@dataclass(frozen=True, slots=True)
class Measured(Moment):
    """A time that is counted from now, or from another date that was named."""

    measure: Callable[[datetime], Period]
    outright: bool = False

    @property
    def exact(self) -> bool:
        return self.outright

    def period(self, now: datetime) -> Period:
        return self.measure(now)


@dataclass(frozen=True, slots=True)
class Named(Moment):
    """A time that the calendar names, or as much of it as was said. Without a day it lasts `months`."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    months: int = 1
    days: int = 1
    years_ago: int | None = None  # "May last year"
    over: bool = False  # "last May": the one going on does not count

    @property
    def dated(self) -> bool:
        """Whether its year was said."""
        return self.year is not None or self.years_ago is not None

    @property
    def exact(self) -> bool:
        return self.day is not None or (self.dated and self.months == 1)

    def period(self, now: datetime) -> Period:
        today = today_of(now)
        for start in self._starts(today):
            end = back(start, "month", -self.months) if self.day is None else start + self.days * DAY
            if self.dated or (end if self.over else start) <= today:
                return start, end
        raise ValueError("no such day")

    def _starts(self, today: datetime) -> Iterator[datetime]:
        """The candidates, newest first. In any nine years is a 29 February."""
        step: Unit = "month" if self.month is None else "year"
        for count in range(9):
            base = back(today.replace(day=1), step, count + (self.years_ago or 0))
            year = base.year if self.year is None else self.year
            month = base.month if self.month is None else self.month
            day = 1 if self.day is None else self.day
            if day <= monthrange(year, month)[1]:
                yield datetime(year, month, day)


def in_utc(moment: Moment, now: datetime) -> Period | None:
    """None for what cannot be: a day that a zone skipped, a year before the first, a time to come."""
    try:
        start, end = (then(one, now).astimezone(UTC) for one in moment.period(now))
    except (ValueError, OverflowError):
        return None
    return (start, end) if start < end and start <= now and end.year >= 1970 else None


def then(moment: datetime, now: datetime) -> datetime:
    """A moment in the user's zone, so that other times can be measured from it."""
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def today_of(now: datetime) -> datetime:
    return datetime.combine(now.date(), time())


def back(day: datetime, unit: Unit, count: int) -> datetime:
    """So many units before; the 31st becomes the last of a shorter month."""
    if unit not in _MONTHS_IN:
        return day - count * _LENGTHS[unit]
    year, month = divmod(day.year * 12 + day.month - 1 - count * _MONTHS_IN[unit], 12)
    if not 1 <= year <= 9999:
        raise OverflowError("no such year")
    return day.replace(year=year, month=month + 1, day=min(day.day, monthrange(year, month + 1)[1]))


def counted(now: datetime, unit: Unit, count: tuple[int, int]) -> Period:
    """Around a number of units before now; negative ones are after it."""
    if unit in ("minute", "hour"):
        # Instants, since wall clocks jump; half as much again either way, since nobody looks at one.
        ends = sorted(now.astimezone(UTC) - many * _LENGTHS[unit] for many in (1.5 * max(count), 0.5 * min(count)))
        return ends[0], ends[1]
    first, last = sorted(back(today_of(now), unit, many) for many in count)
    around = _DAYS_AROUND[unit] * DAY
    return first - around, last + around + DAY


def rolling(now: datetime, unit: Unit, count: int) -> Period:
    """The last so many units, up to now or the end of today."""
    if unit in ("minute", "hour"):
        return now.astimezone(UTC) - count * _LENGTHS[unit], now
    return back(today_of(now), unit, count), today_of(now) + DAY


def whole(now: datetime, unit: Unit, ago: int) -> Period:
    """The calendar's week, month, quarter or year, so many before the one going on."""
    today = today_of(now)
    if unit == "week":
        first = today - today.weekday() * DAY
    else:
        months = _MONTHS_IN[unit]
        first = today.replace(day=1, month=(today.month - 1) // months * months + 1)
    start = back(first, unit, ago)
    return start, back(start, unit, -1)


def day_ago(now: datetime, ago: int) -> Period:
    day = today_of(now) - ago * DAY
    return day, day + DAY


def day_of_week(now: datetime, weekday: int, ago: int) -> Period:
    """A day of this week or of so many before; Monday is 0."""
    monday, _ = whole(now, "week", ago)
    return monday + weekday * DAY, monday + (weekday + 1) * DAY


def weekday_before(now: datetime, weekday: int, or_today: bool = False) -> Period:
    ago = (today_of(now).weekday() - weekday) % 7
    return day_ago(now, ago if ago or or_today else 7)


def weekend(now: datetime, over: bool = False) -> Period:
    """The newest weekend that has begun; or that is over."""
    since_saturday = (today_of(now).weekday() - 5) % 7
    ago = since_saturday + (7 if over and since_saturday < 2 else 0)
    saturday, sunday = day_ago(now, ago)
    return saturday, sunday + DAY
