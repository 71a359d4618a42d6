"""The way in. Serving starts before anything slow is imported; every other command goes to click."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # a hook has no time for typing, nor for collections
    from collections.abc import Sequence

# Flags of `serve` that take a value, and the setting that each one sets.
_FLAGS = {"--db": "db", "--user": "user", "--profile": "profile", "--project": "project"}
# And those that take none.
_SWITCHES = {"--multi-user": "multi_user"}


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["capture"] and not {"-h", "--help"} & set(arguments):
        from .capture import main as capture  # noqa: PLC0415

        capture(arguments[1:])
    piped = not arguments and not _on_terminal()
    if piped or arguments[:1] == ["serve"]:
        flags = serve_flags(arguments[1:])
        if flags is not None:
            from .serving import serve  # noqa: PLC0415

            sys.exit(serve(flags))
    from .cli import run  # noqa: PLC0415

    run()


def serve_flags(arguments: Sequence[str]) -> dict[str, str] | None:
    """The flags of a plain `serve` over stdio; None for all else (help, --http, a mistake), which click handles."""
    flags: dict[str, str] = {}
    waiting = list(arguments)
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if name in _SWITCHES and not equals:
            flags[_SWITCHES[name]] = "true"
            continue
        if name not in _FLAGS:
            return None
        if not equals:
            if not waiting:
                return None
            value = waiting.pop(0)
        flags[_FLAGS[name]] = value
    return flags


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


if __name__ == "__main__":
    main()
