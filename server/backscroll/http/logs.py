"""Logs as JSON, a line each, on standard error: what happened to which request, and never what it said.

Of our own messages and uvicorn's the words are kept; both are constants. So are those of the pool of connections,
which say why a database cannot be reached, in libpq's words without a password. Of any other library only the place
is, for its words may quote what a client sent.
"""

import json
import logging
import os
import re
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str | None] = ContextVar("backscroll_request_id", default=None)
"""Of the request that is being served."""

_SANE = re.compile(rb"[A-Za-z0-9._~:=+/@-]{1,128}")
_PLAIN = ("backscroll", "uvicorn")
_POOL = "psycopg.pool"


def id_of(given: bytes | None) -> str:
    """The client's own id, if it is a plain word; else a new one."""
    return given.decode() if given is not None and _SANE.fullmatch(given) else os.urandom(8).hex()


def put(level: str, event: str, **fields: Any) -> None:
    """One line, written at once. What is None is left out."""
    line: dict[str, Any] = {"time": _now(), "level": level, "event": event, "worker": os.getpid()}
    line.update((name, value) for name, value in fields.items() if value is not None)
    try:
        os.write(sys.stderr.fileno(), json.dumps(line).encode() + b"\n")
    except (OSError, ValueError, AttributeError):
        # Whoever read our standard error is gone; that is no reason to stop serving.
        return


def configure() -> None:
    """All that is logged in this process goes to standard error as JSON, from warnings on."""
    root = logging.getLogger()
    root.handlers[:] = [Lines()]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)


class Lines(logging.Handler):
    """Log records as lines of the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            put(
                record.levelname.lower(),
                "log",
                logger=record.name,
                message=_words(record),
                at=f"{record.module}:{record.lineno}",
                request_id=request_id.get(),
                **_error(record),
            )
        except Exception:
            # The edge: a record that cannot be shown must not take the request with it.
            self.handleError(record)


def _words(record: logging.LogRecord) -> str | None:
    if record.name.partition(".")[0] not in _PLAIN and record.name != _POOL:
        return None
    return " ".join(record.getMessage().split())


def _error(record: logging.LogRecord) -> dict[str, Any]:
    """Its kind and where it happened: what an error says may quote what was recorded."""
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    kind, _, trace = record.exc_info
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(trace)]
    return {"error": kind.__name__, "trace": places}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
