"""Listings: a table on a terminal, aligned text in a pipe."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ..terminal import line


@dataclass(frozen=True, slots=True)
class Column:
    """`share` is its part of the room that is left, and lets it wrap; without, it stays whole.

    On a terminal of fewer than `needs` columns it is left out, so that the others can be read.
    """

    name: str
    share: int = 0
    right: bool = False
    style: str = ""
    needs: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows under named columns. Cells of str are made safe; a Text is taken as it is."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Text]]
    headed: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.is_terminal:
            yield self._table(options.max_width)
        else:
            yield from self._aligned()

    def _table(self, width: int) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=self.headed)
        shown = [column.needs <= width for column in self.columns]
        for column in compress(self.columns, shown):
            table.add_column(
                column.name,
                justify="right" if column.right else "left",
                style=column.style,
                no_wrap=not column.share,
                ratio=column.share or None,
                overflow="fold",
            )
        for row in self.rows:
            cells = (cell if isinstance(cell, Text) else Text(line(cell)) for cell in row)
            table.add_row(*compress(cells, shown))
        return table

    def _aligned(self) -> Iterable[Text]:
        """Every row on one line, however long; the last column is not padded."""
        rows = [[column.name.upper() for column in self.columns]] if self.headed else []
        rows += [[cell.plain if isinstance(cell, Text) else line(cell) for cell in row] for row in self.rows]
        widths = [max((cell_len(row[i]) for row in rows), default=0) for i in range(len(self.columns))]
        for row in rows:
            cells = []
            for cell, width, column in zip(row, widths, self.columns, strict=True):
                room = " " * (width - cell_len(cell))
                cells.append(room + cell if column.right else cell + room)
            yield Text("  ".join(cells).rstrip())
