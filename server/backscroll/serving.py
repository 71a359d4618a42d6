"""Starting the stdio server: the front answers from the first millisecond, the rest loads behind it.

Imports nothing heavy until the front runs.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, front

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


def serve(flags: Mapping[str, str]) -> int:
    """Serve MCP over stdin and stdout until the client leaves; return the exit code."""

    def open_server() -> "AbstractAsyncContextManager[Server[Any]]":
        from .config import load_settings  # noqa: PLC0415
        from .server import opened  # noqa: PLC0415

        return opened(load_settings(flags))

    _log_to_stderr()
    key = snapshot_key(flags)
    return front.run(open_server, snapshot=front.snapshot_path(_cache_folder(), key), key=key)


def snapshot_key(flags: Mapping[str, str]) -> str:
    """Names all that the lists depend on: the program, the flags, the environment, the config file."""
    told = {name: value for name, value in os.environ.items() if name.startswith("BACKSCROLL_") and "KEY" not in name}
    try:
        config = _config_file().read_bytes()
    except OSError:
        config = b""
    content = repr((__version__, sys.version, sorted(flags.items()), sorted(told.items()), config))
    return blake2b(content.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _cache_folder() -> Path:
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_cache_dir("backscroll", appauthor=False))


def _config_file() -> Path:
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_config_dir("backscroll", appauthor=False)) / "config.toml"


def _log_to_stderr() -> None:
    """Warnings go to stderr; the SDK's loggers too, and none of them carries message text."""
    import logging  # noqa: PLC0415

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="backscroll: %(levelname)s %(message)s")
