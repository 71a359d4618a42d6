"""Transcripts of other programs, read into runs: the table of importers, and which one a path needs.

`IMPORTERS` lists them by host. The order matters to a guess: the first that recognises a file
reads it, so one that asks for more stands before one that is content with less.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from backscroll.errors import TranscriptError
from backscroll.importers import claude_code
from backscroll.importers.batches import Batch, FailedLine, Importer, Tally

__all__ = ["IMPORTERS", "Batch", "FailedLine", "Importer", "Tally", "importer_for", "transcripts"]

IMPORTERS: Mapping[str, Importer] = {importer.host: importer for importer in (claude_code.IMPORTER,)}


def importer_for(path: Path) -> Importer:
    """The importer that recognises this file. Raises TranscriptError where none does."""
    for importer in IMPORTERS.values():
        if importer.recognises(path):
            return importer
    known = ", ".join(sorted(IMPORTERS))
    raise TranscriptError(
        f"{path} is no transcript of a known host ({known}), or has no whole line yet."
        if path.exists()
        else f"{path} does not exist. Check the path."
    )


def transcripts(path: Path) -> Iterator[tuple[Importer, Path]]:
    """The file itself, or every transcript below the folder. Raises TranscriptError as above."""
    if not path.is_dir():
        yield importer_for(path), path
        return
    for importer in IMPORTERS.values():
        for found in importer.find(path):
            yield importer, found
