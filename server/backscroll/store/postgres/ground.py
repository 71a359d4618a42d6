"""What every part of the write path on Postgres stands on.

What is told waits, and goes along with the next question or with COMMIT. What a run is usually asked about is
asked at once, with what waits of the run before (foreseeing.py): so a run costs one round trip, however long it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import PreparedRun
from . import index
from .database import Ask, Each, Row, Writing
from .foreseeing import Answers, Foresight


class OnServer:
    """One user's recording in one transaction."""

    def __init__(self, writing: Writing, first: Foresight) -> None:
        """`first` was asked with the beginning of the transaction."""
        self.writing = writing
        self.user_key = writing.user_key
        self._known = first.answered(writing.ahead)
        self._foreseen: PreparedRun | None = first.run
        self._entries: list[index.Entered] = []

    async def foresee(self, run: PreparedRun) -> None:
        if run is not self._foreseen:
            asked = Foresight(self.user_key, run)
            self._known = Answers()
            self._known = asked.answered(await self._together(*asked.asks))
        self._foreseen = None

    async def finish(self) -> None:
        """Nothing more is asked: what waits goes with COMMIT."""
        await self._make_entries()

    def _tell(self, statement: str, *values: Any) -> None:
        self.writing.later(Ask(statement, values))

    def _tell_each(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self.writing.later(Each(statement, rows))

    async def _ask(self, statement: str, **values: Any) -> list[Row]:
        """`%(user)s` is the user."""
        (rows,) = await self._together(Ask(statement, {"user": self.user_key, **values}))
        return rows

    async def _together(self, *asked: Ask) -> list[list[Row]]:
        await self._make_entries()
        return await self.writing.together(*asked)

    async def _make_entries(self) -> None:
        """Entries of the index follow their messages."""
        entries, self._entries = self._entries, []
        for start in range(0, len(entries), index.AT_ONCE):
            made = await index.made(self.user_key, entries[start : start + index.AT_ONCE])
            self.writing.later(index.adding(self.user_key, made))

    def _update(self, table: str, key: int, columns: Mapping[str, Any], more: str = "", *values: Any) -> None:
        """Set columns of the row whose key is `table`_key."""
        told = ", ".join(f"{name} = %s" for name in columns)
        self._tell(
            f"UPDATE {table}s SET {told}{more} WHERE user_key = %s AND {table}_key = %s",
            *columns.values(), *values, self.user_key, key,
        )  # fmt: skip
