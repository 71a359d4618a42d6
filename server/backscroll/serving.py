"""Starting the stdio server: the front answers from the first millisecond, the rest loads behind it.

Imports nothing heavy until the front runs.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, front
from .snapshot import snapshot_path

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


def serve(flags: Mapping[str, str]) -> int:
    """Serve MCP over stdin and stdout until the client leaves; return the exit code."""

    def open_server() -> "AbstractAsyncContextManager[Server[Any]]":
        _log_to_stderr()
        from .config import load_settings  # noqa: PLC0415
        from .server import opened  # noqa: PLC0415

        return opened(load_settings(flags))

    key = snapshot_key(flags)
    return front.run(open_server, snapshot=snapshot_path(_cache_folder(), key), key=key)


def snapshot_key(flags: Mapping[str, str]) -> str:
    """Names all that the lists depend on: the program, the flags, the environment, the config file."""
    told = {name: value for name, value in os.environ.items() if name.startswith("BACKSCROLL_")}
    # No list hangs on these, and the key is kept in a file: it must hold no key of others, and no password.
    for name in ("BACKSCROLL_DB", "BACKSCROLL_SUMMARY_API_KEY", "BACKSCROLL_SEMANTIC_API_KEY"):
        told.pop(name, None)
    given = sorted((name, value) for name, value in flags.items() if name != "db")
    return repr((__version__, sys.version, given, sorted(told.items()), _config_digest()))


def _config_digest() -> str:
    """Of the config file, which may hold passwords; empty where there is none."""
    try:
        config = (_config_folder() / "config.toml").read_bytes()
    except OSError:
        return ""
    from hashlib import sha256  # noqa: PLC0415 - 2 ms, for those who have such a file

    return sha256(config).hexdigest()


def _cache_folder() -> Path:
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_cache_dir("backscroll", appauthor=False))


def _config_folder() -> Path:
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_config_dir("backscroll", appauthor=False))


def _log_to_stderr() -> None:
    """Warnings go to stderr; the SDK's loggers too, and none of them carries message text."""
    import logging  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    class Formatter(logging.Formatter):
        def formatException(self, ei: Any) -> str:  # noqa: N802
            # Where it happened and its kind: what an error says may quote what was recorded.
            return f"{''.join(traceback.format_tb(ei[2]))}{ei[0].__name__}"

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("backscroll: %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
