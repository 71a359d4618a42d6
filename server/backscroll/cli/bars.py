"""Progress bars on a terminal; elsewhere none, for logs are not for bars."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from ..importing import Progress
from ..terminal import line, notes


@contextmanager
def counting(description: str, *, shown: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """Tell it what is done, and what that will be at the end. `shown`: in numbers, not as a share."""
    console = notes()
    if not console.is_terminal:
        yield None
        return
    with Bar(
        *_columns(MofNCompleteColumn() if shown else TaskProgressColumn()), console=console, transient=True
    ) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None] | None]:
    """The same for work of several kinds, one after the other: what is done is told each time."""
    console = notes()
    if not console.is_terminal:
        yield None
        return
    with Bar(*_columns(TaskProgressColumn()), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=max(total, 1))


@contextmanager
def reading(description: str) -> Iterator[Callable[[Progress], None] | None]:
    """Tell it how far an import has come: it shows files and bytes."""
    console = notes()
    if not console.is_terminal:
        yield None
        return
    with Bar(*_columns(DownloadColumn()), console=console, transient=True) as bar:
        task = bar.add_task(line(description), total=None)

        def moved(progress: Progress) -> None:
            described = f"{line(description)}: {progress.files_done:,}/{progress.files:,} files"
            bar.update(task, completed=progress.bytes_done, total=progress.bytes_total, description=described)

        yield moved


def _columns(amount: ProgressColumn) -> tuple[ProgressColumn, ...]:
    return (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
