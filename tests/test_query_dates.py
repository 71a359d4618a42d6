"""The dates that a query names: which stretch of time each is, where it stands, and what is left alone."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backscroll.ranking.dates import Span, spans

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 18, 15, 30, tzinfo=BERLIN)
"""A Wednesday afternoon."""


# Builders.


def found(query: str, now: datetime = NOW) -> list[Span]:
    return list(spans(query, now))


def the_span(query: str, now: datetime = NOW) -> Span:
    (span,) = spans(query, now)
    return span


def days(span: Span, zone: tzinfo = BERLIN) -> str:
    """The first and the last day of a span of whole days, by the calendar of a zone: "2026-03-01 2026-03-31"."""
    start, end = span.start.astimezone(zone), span.end.astimezone(zone)
    assert (start.hour, start.minute, end.hour, end.minute) == (0, 0, 0, 0)
    return f"{start:%Y-%m-%d} {end - timedelta(days=1):%Y-%m-%d}"


def hours(span: Span) -> str:
    return f"{span.start.astimezone(BERLIN):%d.%m. %H:%M} {span.end.astimezone(BERLIN):%d.%m. %H:%M}"


# What is said, and when that is.


@pytest.mark.parametrize(
    ("query", "first_and_last"),
    [
        ("today", "2026-11-18 2026-11-18"),
        ("yesterday", "2026-11-17 2026-11-17"),
        ("the day before yesterday", "2026-11-16 2026-11-16"),
        ("3 days ago", "2026-11-15 2026-11-15"),
        ("a few days ago", "2026-11-13 2026-11-16"),
        ("two weeks ago", "2026-11-01 2026-11-07"),
        ("a couple of weeks ago", "2026-10-25 2026-11-07"),
        ("a month ago", "2026-10-03 2026-11-02"),
        ("twelve months ago", "2025-11-03 2025-12-03"),
        ("4 years ago", "2022-05-20 2023-05-19"),
        ("last week", "2026-11-09 2026-11-15"),
        ("last week on Tuesday", "2026-11-10 2026-11-10"),
        ("Tuesday of last week", "2026-11-10 2026-11-10"),
        ("this week", "2026-11-16 2026-11-22"),
        ("past week", "2026-11-11 2026-11-18"),
        ("previous month", "2026-10-01 2026-10-31"),
        ("this month", "2026-11-01 2026-11-30"),
        ("last quarter", "2026-07-01 2026-09-30"),
        ("last year", "2025-01-01 2025-12-31"),
        ("this year", "2026-01-01 2026-12-31"),
        ("last 3 days", "2026-11-15 2026-11-18"),
        ("in the last few weeks", "2026-10-14 2026-11-18"),
        ("past two months", "2026-09-18 2026-11-18"),
        ("last weekend", "2026-11-14 2026-11-15"),
        ("this weekend", "2026-11-14 2026-11-15"),
        ("over the weekend", "2026-11-14 2026-11-15"),
        ("recently", "2026-11-04 2026-11-18"),
        ("lately", "2026-11-04 2026-11-18"),
    ],
)
def test_relative_words_are_counted_from_today(query: str, first_and_last: str) -> None:
    assert days(the_span(query)) == first_and_last


@pytest.mark.parametrize(
    ("query", "from_and_to"),
    [
        ("20 minutes ago", "18.11. 15:00 18.11. 15:20"),
        ("two hours ago", "18.11. 12:30 18.11. 14:30"),
        ("last 3 hours", "18.11. 12:30 18.11. 15:30"),
        ("this morning", "18.11. 05:00 18.11. 12:00"),
        ("yesterday afternoon", "17.11. 12:00 17.11. 18:00"),
        ("last night", "17.11. 18:00 18.11. 06:00"),
        ("Friday evening", "13.11. 17:00 14.11. 00:00"),
    ],
)
def test_hours_and_parts_of_a_day_narrow_to_the_clock(query: str, from_and_to: str) -> None:
    assert hours(the_span(query)) == from_and_to


@pytest.mark.parametrize(
    ("query", "day"),
    [
        ("on Monday", date(2026, 11, 16)),
        ("last Tuesday", date(2026, 11, 17)),
        ("this Friday", date(2026, 11, 13)),
        ("on Wednesday", date(2026, 11, 11)),
        ("last Wednesday", date(2026, 11, 11)),
        ("this Wednesday", date(2026, 11, 18)),
        ("on Sat", date(2026, 11, 14)),
    ],
)
def test_a_weekday_is_the_newest_that_is_past(query: str, day: date) -> None:
    assert days(the_span(query)) == f"{day} {day}"


@pytest.mark.parametrize(
    ("query", "first_and_last"),
    [
        ("in March", "2026-03-01 2026-03-31"),
        ("december", "2025-12-01 2025-12-31"),
        ("in November", "2026-11-01 2026-11-30"),
        ("last November", "2025-11-01 2025-11-30"),
        ("in march 2023", "2023-03-01 2023-03-31"),
        ("May last year", "2025-05-01 2025-05-31"),
        ("2025-02", "2025-02-01 2025-02-28"),
        ("early March", "2026-03-01 2026-03-10"),
        ("mid-March 2023", "2023-03-11 2023-03-20"),
        ("late March", "2026-03-21 2026-03-31"),
        ("end of June", "2026-06-21 2026-06-30"),
        ("end of last month", "2026-10-21 2026-10-31"),
        ("first half of September 2022", "2022-09-01 2022-09-15"),
        ("the second week of November", "2026-11-08 2026-11-14"),
        ("the last week of May", "2026-05-25 2026-05-31"),
        ("in 2022", "2022-01-01 2022-12-31"),
        ("beginning of 2022", "2022-01-01 2022-05-01"),
        ("Q3 2024", "2024-07-01 2024-09-30"),
        ("last summer", "2026-06-01 2026-08-31"),
        ("last autumn", "2025-09-01 2025-11-30"),
        ("this winter", "2025-12-01 2026-02-28"),
        ("in the spring", "2026-03-01 2026-05-31"),
        ("fall 2023", "2023-09-01 2023-11-30"),
        ("summer of last year", "2025-06-01 2025-08-31"),
    ],
)
def test_months_seasons_and_years_are_the_calendars(query: str, first_and_last: str) -> None:
    assert days(the_span(query)) == first_and_last


@pytest.mark.parametrize(
    ("query", "day"),
    [
        ("2025-11-20", date(2025, 11, 20)),
        ("2025-11-20T14:03:00+01:00", date(2025, 11, 20)),
        ("2025/11/20", date(2025, 11, 20)),
        ("20 Nov 2025", date(2025, 11, 20)),
        ("Nov. 20, 2025", date(2025, 11, 20)),
        ("November 20th", date(2025, 11, 20)),
        ("the 20th of November", date(2025, 11, 20)),
        ("December 1,2023", date(2023, 12, 1)),
        ("8 May, 2023", date(2023, 5, 8)),
        ("May 5th", date(2026, 5, 5)),
        ("5 May", date(2026, 5, 5)),
        ("fourth of July", date(2026, 7, 4)),
        ("on the 10th", date(2026, 11, 10)),
        ("on the 20th", date(2026, 10, 20)),
        ("Monday, 5 May 2025", date(2025, 5, 5)),
        ("29 February", date(2024, 2, 29)),
        ("20.11.2025", date(2025, 11, 20)),
        ("11/20/2025", date(2025, 11, 20)),
        ("20/11/2025", date(2025, 11, 20)),
        ("5/6/2025", date(2025, 5, 6)),
        ("5.6.2025", date(2025, 6, 5)),
        ("New Year's Eve", date(2025, 12, 31)),
        ("new year 2025", date(2025, 1, 1)),
        ("Halloween last year", date(2025, 10, 31)),
        ("Valentine's day 2024", date(2024, 2, 14)),
    ],
)
def test_a_day_that_is_named_is_that_day(query: str, day: date) -> None:
    span = the_span(query)
    assert days(span) == f"{day} {day}"
    assert span.exact


def test_on_a_sunday_last_weekend_is_the_one_before() -> None:
    sunday = datetime(2026, 11, 15, 18, tzinfo=BERLIN)
    assert days(the_span("this weekend", sunday)) == "2026-11-14 2026-11-15"
    assert days(the_span("last weekend", sunday)) == "2026-11-07 2026-11-08"


def test_christmas_is_three_days_and_the_newest_that_has_begun() -> None:
    assert days(the_span("at Christmas")) == "2025-12-24 2025-12-26"
    assert days(the_span("at Christmas", datetime(2026, 12, 25, 9, tzinfo=BERLIN))) == "2026-12-24 2026-12-26"


@pytest.mark.parametrize(
    ("query", "first_and_last"),
    [
        ("between 3 and 10 May", "2026-05-03 2026-05-10"),
        ("between May 3 and 10, 2024", "2024-05-03 2024-05-10"),
        ("between August 11 and August 15 2023", "2023-08-11 2023-08-15"),
        ("May 3-10, 2023", "2023-05-03 2023-05-10"),
        ("3–10 May 2023", "2023-05-03 2023-05-10"),
        ("from March to May 2023", "2023-03-01 2023-05-31"),
        ("from December 2022 to February", "2022-12-01 2023-02-28"),
        ("from December to February", "2025-12-01 2026-02-28"),
        ("between 2021 and 2023", "2021-01-01 2023-12-31"),
        ("from Monday to yesterday", "2026-11-16 2026-11-17"),
        ("since March", "2026-03-01 2026-11-18"),
        ("since yesterday", "2026-11-17 2026-11-18"),
        ("after June 5", "2026-06-06 2026-11-18"),
        ("before June 5", "2025-06-05 2026-06-04"),
        ("by July 10, 2022", "2021-07-11 2022-07-10"),
    ],
)
def test_ranges_hold_both_ends_and_open_sides_are_bounded(query: str, first_and_last: str) -> None:
    assert days(the_span(query)) == first_and_last


@pytest.mark.parametrize(
    ("query", "first_and_last"),
    [
        ("the week before August 3, 2023", "2023-07-27 2023-08-02"),
        ("the day after Christmas 2023", "2023-12-27 2023-12-27"),
        ("two weeks before August 11, 2023", "2023-07-25 2023-07-31"),
        ("the Sunday before October 25, 2022", "2022-10-23 2022-10-23"),
        ("last Friday on 23 January, 2022", "2022-01-21 2022-01-21"),
        ("last weekend before April 10, 2023", "2023-04-08 2023-04-09"),
    ],
)
def test_what_is_relative_to_a_date_is_measured_from_it(query: str, first_and_last: str) -> None:
    assert days(the_span(query)) == first_and_last


@pytest.mark.parametrize(
    ("german", "english"),
    [
        ("gestern Abend", "yesterday evening"),
        ("vorgestern", "the day before yesterday"),
        ("letzte Woche", "last week"),
        ("vor zwei Wochen", "two weeks ago"),
        ("im März", "in March"),
        ("am Dienstag", "on Tuesday"),
        ("am 3. Mai 2023", "on 3 May 2023"),
        ("Anfang Mai", "early May"),
        ("zwischen dem 3. und 10. Mai", "between 3 and 10 May"),
        ("seit Oktober", "since October"),
        ("Weihnachten 2024", "Christmas 2024"),
    ],
)
def test_german_means_what_english_does(german: str, english: str) -> None:
    theirs, ours = the_span(german), the_span(english)
    assert (theirs.start, theirs.end, theirs.exact) == (ours.start, ours.end, ours.exact)


# What is left alone.


@pytest.mark.parametrize(
    "query",
    [
        "march in the parade",
        "what did May say to April and June?",
        "may I deploy",
        "drafts reviewed by April",
        "the cat sat in the sun",
        "spring boot and prices that fall",
        "error in spring",
        "listen on port 2022",
        "2000 to 2024 MB",
        "between 3 and 10 items",
        "on the 2nd try",
        "the last tag",
        "a last minute change",
        "last 5 commits",
        "weekend plans",
        "deploy next Monday, every Friday and next October",
        "tomorrow",
    ],
)
def test_words_with_other_senses_are_no_dates(query: str) -> None:
    assert found(query) == []


@pytest.mark.parametrize(
    "query",
    ["logs/2026-11-10.txt", "app-2026-11-10", "today() in code", "last-week-report", "20.11.2025.4", "datetime.today",
     "2026-11-10_dump", "since=yesterday", "yesterday.md", "a3f2026-10-04", "2026-10-04a3f", "last_week",
     'said "last week" again'],
)  # fmt: skip
def test_parts_of_names_and_quoted_phrases_are_no_dates(query: str) -> None:
    assert found(query) == []


@pytest.mark.parametrize(
    "query",
    ["2027-01-05", "in 2048", "31.02.2024", "2026-13-01", "2026-00-10", "9999 years ago", "99999999999 days ago",
     "in 1950", "9999 months ago", "last 9999 years", "0 days before 1900-01-01"],
)  # fmt: skip
def test_days_that_cannot_have_been_recorded_are_no_dates(query: str) -> None:
    assert found(query) == []


# Where a date stands, and how sure it is.


def test_every_date_of_a_list_is_found() -> None:
    assert [span.text for span in found("in March in May in 2023, today")] == ["in March", "in May in 2023", "today"]


def test_a_span_says_where_it_stands_with_the_words_that_belong_to_it() -> None:
    query = "¿What broke in March 2023, and who fixed it the day before yesterday?"
    first, second = found(query)
    assert (first.text, second.text) == ("in March 2023", "the day before yesterday")
    assert [query[span.begin : span.finish] for span in (first, second)] == [first.text, second.text]


def test_the_end_of_a_sentence_parts_two_dates() -> None:
    assert [span.text for span in found("Was it yesterday? Last week. In October. 2023 was better")] == [
        "yesterday",
        "Last week",
        "In October",
    ]


@pytest.mark.parametrize("query", ["yesterday", "5 May", "march 2023", "2026-10", "between 3 and 10 May"])
def test_a_day_and_a_month_with_its_year_are_exact(query: str) -> None:
    assert the_span(query).exact


@pytest.mark.parametrize(
    "query", ["recently", "last summer", "in March", "in 2023", "early March 2023", "two weeks ago", "since 5 May"]
)
def test_what_is_vague_is_not_exact(query: str) -> None:
    assert not the_span(query).exact


# Zones.


def test_yesterday_is_the_users_day_and_as_long_as_that_was() -> None:
    after_clocks_went_back = the_span("yesterday", datetime(2026, 10, 26, 9, tzinfo=BERLIN))
    assert after_clocks_went_back.start == datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert after_clocks_went_back.end == datetime(2026, 10, 25, 23, tzinfo=UTC)


def test_the_same_instant_is_another_day_elsewhere() -> None:
    instant = datetime(2026, 11, 18, 20, tzinfo=UTC)
    assert days(the_span("today", instant.astimezone(ZoneInfo("Asia/Tokyo"))), ZoneInfo("Asia/Tokyo")) == (
        "2026-11-19 2026-11-19"
    )


def test_a_day_without_a_midnight_begins_when_its_clocks_do() -> None:
    sao_paulo = ZoneInfo("America/Sao_Paulo")
    # On 4 November 2018 midnight became one o'clock.
    span = the_span("yesterday", datetime(2018, 11, 5, 12, tzinfo=sao_paulo))
    assert span.start == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert span.end - span.start == timedelta(hours=23)


def test_a_day_that_a_zone_skipped_is_no_span() -> None:
    # Samoa crossed the date line: after 29 December 2011 came the 31st.
    assert found("2011-12-30", datetime(2012, 1, 5, tzinfo=ZoneInfo("Pacific/Apia"))) == []


def test_hours_ago_are_counted_in_hours_across_a_clock_change() -> None:
    now = datetime(2026, 3, 29, 4, 0, tzinfo=BERLIN)
    assert the_span("last 3 hours", now).start == now.astimezone(UTC) - timedelta(hours=3)


# Whatever the query.

ZONES = st.one_of(
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu"]).map(ZoneInfo),
    st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
MOMENTS = st.builds(
    lambda naive, zone: naive.replace(tzinfo=UTC).astimezone(zone),
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 12, 31)),
    ZONES,
)
# Words that make dates, in any order, so that rules meet in ways that nobody wrote down.
DATE_WORDS = """
    last past this next the a few couple of in on at since before after by from to and between - , . ? ' " /
    first second early mid end half minute hours day days weeks month quarter year ago monday sat may march june
    december summer fall winter q3 yesterday today recently weekend night morning christmas new eve 0 1 3 12 29
    30 31 31st 1900 1970 2023 2200 9999 99999 2026-11-20 2024-02-30 1/2/2023 31.12.1999
    vor zwei wochen im am mai zwischen und bis
"""
WORDS = st.sampled_from(DATE_WORDS.split())
QUERIES = st.one_of(st.text(), st.lists(WORDS, max_size=30).map(" ".join), st.lists(WORDS, max_size=30).map("".join))


@given(QUERIES, MOMENTS)
def test_spans_of_any_query_are_sound(query: str, now: datetime) -> None:
    places = [0]
    for span in spans(query, now):
        assert span.start < span.end
        assert span.start <= now
        assert span.start.tzinfo is span.end.tzinfo is UTC
        assert span.begin < span.finish
        assert query[span.begin : span.finish] == span.text
        places += [span.begin, span.finish]
    assert places == sorted(places)
    assert len(query) >= places[-1]


@given(st.sampled_from(["today", "last week", "in may", "on monday", "3 months ago", "christmas eve"]), MOMENTS)
def test_plain_dates_are_found_at_any_time_since_1972(query: str, now: datetime) -> None:
    # The 30th that Samoa skipped in 2011 was a Friday: no Monday, no Christmas, nobody's today.
    assert len(spans(f"what about {query} then", max(now, datetime(1972, 6, 1, tzinfo=now.tzinfo)))) == 1


@pytest.mark.parametrize(
    "piece",
    ["last ", "1", "1-", "1/1/", "2026-", "2026-11-20T1:", ".", '"', "'s", " ", "a few ", "between 3 and ", "from ",
     "may ", "the ", "new year's ", "mid-", "5 may to ", "q1 in ", "vor zwei ", "\u0660", "on monday before "],
)  # fmt: skip
def test_time_grows_no_faster_than_the_query(piece: str) -> None:
    def seconds(chars: int) -> float:
        query = (piece * chars)[:chars]
        times = []
        for _ in range(5):
            began = process_time()
            spans(query, NOW)
            times.append(process_time() - began)
        return min(times)

    # Sixteen times the text; a quadratic reading would take 256 times as long.
    assert seconds(32_000) < 64 * max(seconds(2_000), 50e-6)
