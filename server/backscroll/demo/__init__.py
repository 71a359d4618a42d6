"""Backscroll shown at work: the real server in a throw-away store, asked as an agent asks it, and checked."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from .own import tell_own
from .server import Stage
from .shipped import tell_shipped
from .telling import DemoError, Teller

__all__ = ["DemoError", "run"]


def run(paths: Sequence[str], console: Console) -> None:
    """Tell the demo on `console`: on the conversation that ships, or on transcripts at `paths`.

    Raises DemoError where anything comes back other than it was recorded, TranscriptError for paths without
    transcripts.
    """
    # Absolute before anything else: the server runs in another folder.
    found = [Path(path).expanduser().absolute() for path in paths]
    with tempfile.TemporaryDirectory(prefix="backscroll-demo-", ignore_cleanup_errors=os.name == "nt") as folder:
        stage = Stage(Path(folder), Teller(console))
        asyncio.run(tell_own(stage, found) if found else tell_shipped(stage))
