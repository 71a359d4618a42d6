"""What was measured, as a table on the terminal and as RESULTS.md."""

import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from .measure import Times

RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("mcp", "pydantic", "aiosqlite", "agno", "sqlalchemy", "openai-agents")


class Row(NamedTuple):
    """One comparison. `ratio` is ours to theirs, so less is better, and `target` is the most it may be."""

    what: str
    ours: str
    theirs: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None
    missed_by: str = ""
    """Why a missed target was missed, where that is known."""


COLUMNS = ("what", "ours", "theirs", "ratio", "target")


class Section(NamedTuple):
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    columns: Sequence[str] = COLUMNS
    """What stands above the fields of the rows; the last fields may be without."""


def timed(
    what: str,
    ours: Times,
    other: str | None = None,
    theirs: Times | None = None,
    *,
    at_most: float | None = None,
    why: str = "",
) -> Row:
    """A row of times, `at_most` being the target for ours over theirs."""
    if theirs is None:
        return Row(what, shown(ours))
    ratio = ours.against(theirs)
    return Row(
        what,
        shown(ours),
        f"{other}: {shown(theirs)}",
        f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        "" if at_most is None else f"{at_most:.2f}",
        None if at_most is None else ratio.median <= at_most,
        why,
    )


def shown(times: Times) -> str:
    return f"{times.median * 1000:.2f} ms ({times.low * 1000:.2f} to {times.high * 1000:.2f})"


def under(what: str, ours: Times, most_ms: float) -> Row:
    """A row whose target is a time."""
    return Row(what, shown(ours), target=f"{most_ms:g} ms", met=ours.median * 1000 <= most_ms)


def as_table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left", show_lines=False)
    for name in section.columns:
        table.add_column(name, overflow="fold")
    for row in section.rows:
        table.add_row(*_cells(section, row))
    return table


def _cells(section: Section, row: Row) -> Sequence[str]:
    return (row.what, row.ours, row.theirs, row.ratio, _target(row))[: len(section.columns)]


def write(sections: Sequence[Section], command: str, path: Path = RESULTS) -> None:
    lines = [
        "# Results",
        "",
        "Made by one command, from the repository's root:",
        "",
        "```sh",
        command,
        "```",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {', '.join(versions())}.",
        "",
        "Every pair was measured in turns, round by round, in this one run. Times are the median, and in",
        "brackets the fastest and the slowest. A ratio is ours to theirs (less is better): the median of the",
        "rounds' ratios, and in brackets their middle half. Ratios are firm; times are one machine's.",
    ]
    for section in sections:
        lines += [
            "",
            f"## {section.title}",
            "",
            f"| {' | '.join(section.columns)} |",
            f"|{'---|' * len(section.columns)}",
        ]
        lines += [f"| {' | '.join(_cells(section, row))} |" for row in section.rows]
        notes = [
            *section.notes,
            *(f"Missed: {row.what}. {row.missed_by}" for row in section.rows if row.met is False),
        ]
        if notes:
            lines += ["", *(f"- {note.strip()}" for note in notes)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def versions() -> list[str]:
    found = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _target(row: Row) -> str:
    if row.met is None:
        return row.target
    return f"{row.target}, {'met' if row.met else 'missed'}"
