"""What may reach a terminal, and how listings are laid out on one and in a pipe."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from backscroll.cli.endings import for_people
from backscroll.cli.layout import Column, Listing
from backscroll.cli.shown import size
from backscroll.terminal import json_text, line, put, safe

CONTROLS = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {0x09, 0x0A}


@given(st.text())
def test_no_control_character_is_left_in_safe_text(text: str) -> None:
    assert not CONTROLS & {ord(character) for character in safe(text)}
    safe(text).encode()


@given(st.text())
def test_safe_text_is_safe_already(text: str) -> None:
    assert safe(safe(text)) == safe(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text\n\tstays: naïve, 日本語, 👩‍💻", "plain text\n\tstays: naïve, 日本語, 👩‍💻"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("over\rwritten", "over␍written"),
        ("a\r\nb", "a\nb"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("\x7f", "␡"),
        ("user\u202egnp.exe", "user⟨U+202E⟩gnp.exe"),
        ("\ud800", "\ufffd"),
    ],
)
def test_control_characters_become_signs_that_can_be_seen(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_a_line_has_no_newline() -> None:
    assert line(" a\n\tb\x1b ") == "a b␛"


@given(st.text())
def test_json_means_the_text_itself_and_holds_no_control_character(text: str) -> None:
    written = json_text({"text": text})
    assert json.loads(written) == {"text": text}
    assert not CONTROLS & {ord(character) for character in written}
    written.encode()


def listing() -> Listing:
    rows: list[tuple[str | Text, ...]] = [
        ("#1", Text("a title"), "9"),
        ("#12", "two\nlines\x1b[2J [red]x[/red]", "1,234"),
    ]
    return Listing((Column("Session"), Column("Title", share=1), Column("Runs", right=True)), rows)


def test_a_pipe_gets_one_aligned_line_a_row_without_control_characters() -> None:
    file = io.StringIO()
    Console(file=file, width=20, soft_wrap=True, markup=False).print(listing())
    assert file.getvalue().splitlines() == [
        "SESSION  TITLE                        RUNS",
        "#1       a title                         9",
        "#12      two lines␛[2J [red]x[/red]  1,234",
    ]


def test_a_terminal_gets_a_table_that_keeps_to_its_width() -> None:
    file = io.StringIO()
    Console(file=file, width=30, force_terminal=True, color_system=None).print(listing())
    assert [row.rstrip() for row in file.getvalue().splitlines()] == [
        "Session  Title            Runs",
        "#1       a title             9",
        "#12      two lines␛[2J   1,234",
        "         [red]x[/red]",
    ]


def test_a_narrow_terminal_does_without_the_columns_that_matter_least() -> None:
    columns = (Column("Session"), Column("Title", share=1), Column("Source", needs=60))
    shown = Listing(columns, [("#1", "a title", "api")])
    for width, head in ((59, ["Session", "Title"]), (60, ["Session", "Title", "Source"])):
        file = io.StringIO()
        Console(file=file, width=width, force_terminal=True, color_system=None).print(shown)
        assert file.getvalue().splitlines()[0].split() == head


def test_talk_in_a_pipe_keeps_its_tabs_and_its_long_lines() -> None:
    file = io.StringIO()
    put(Console(file=file, width=20), Text(f"a\tb {'x' * 50}"))
    assert file.getvalue() == f"a\tb {'x' * 50}\n"


def test_an_error_names_commands_where_it_named_tools() -> None:
    assert for_people("Find one with list_sessions or search_session_history.") == (
        "Find one with backscroll list or backscroll search."
    )


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (5 * 10**12, "5,000.0 GB")]
)
def test_sizes_read_as_a_person_writes_them(count: int, shown: str) -> None:
    assert size(count) == shown
