"""Numbered SQL files, applied in order, each with its number in one transaction.

Statements run one by one: `executescript` would commit behind our back.
"""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from ..errors import StoreUnusable


def migrations(dialect: str) -> list[tuple[int, str, str]]:
    """(number, name, SQL) of every migration of a dialect, in order."""
    folder = files("backscroll.store") / "migrations" / dialect
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted((int(entry.name[:4]), entry.name, entry.read_text(encoding="utf-8")) for entry in found)


def statements(script: str) -> Iterator[str]:
    """The statements of a script, comments aside."""
    pending = ""
    for line in script.splitlines(keepends=True):
        if not pending and (not line.strip() or line.lstrip().startswith("--")):
            continue
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def rewrites_data(script: str) -> bool:
    """Whether a migration changes rows that were recorded: its first line then says so."""
    return script.startswith("-- Rewrites data.")


def newest(dialect: str) -> int:
    return migrations(dialect)[-1][0]


def refuse_newer(found: int, dialect: str) -> None:
    """Raises StoreUnusable for a database that a newer Backscroll has written."""
    known = newest(dialect)
    if found > known:
        raise StoreUnusable(
            f"The database has version {found}; this Backscroll knows versions up to {known}. "
            "Upgrade Backscroll, or name another database with BACKSCROLL_DB."
        )
