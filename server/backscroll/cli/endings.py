"""The way every command ends: results, one line of error, an exit code; never a traceback."""

import os
import re
import sys
import traceback
from typing import Any

import click

from ..errors import BackscrollError
from ..terminal import safe

FAILED, INTERRUPTED = 1, 130
"""Exit codes beside 0 (well) and 2 (usage, which click gives)."""

# An error names tools where it says what to do next; at a prompt there are commands.
_COMMANDS = {
    "list_sessions": "backscroll list",
    "search_session_history": "backscroll search",
    "get_chat_history": "backscroll show",
    "get_session_context": "backscroll show",
    "get_tool_call_history": "backscroll calls",
    "summarize_session": "backscroll summarize",
    "delete_session": "backscroll delete",
    'forks="keep"': "--forks keep",
    'forks="delete"': "--forks delete",
    "purge=true": "--purge",
}
_TOOL = re.compile("|".join(re.escape(name) for name in _COMMANDS))


def for_people(text: str) -> str:
    """A message with the commands that stand for the tools it names."""
    return _TOOL.sub(lambda found: _COMMANDS[found[0]], text)


class Commands(click.Group):
    """Shows any error as one line on stderr. Commands are listed in the order they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            # Here, and not when the interpreter ends, where a closed pipe would be a message of its own.
            sys.stdout.flush()
            return result
        except BackscrollError as error:
            _complain(for_people(str(error)))
            raise click.exceptions.Exit(FAILED) from error
        except BrokenPipeError as error:
            # Whoever read has read enough (`| head`). Nothing may be flushed into that pipe any more.
            _drop_stdout()
            raise click.exceptions.Exit(0) from error
        except KeyboardInterrupt as error:
            raise click.exceptions.Exit(INTERRUPTED) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            _complain(f"{named}{error.strerror or type(error).__name__}.")
            raise click.exceptions.Exit(FAILED) from error
        except Exception as error:
            if os.environ.get("BACKSCROLL_TRACEBACK"):
                traceback.print_exc()
            _complain(
                f"Backscroll failed inside ({type(error).__name__}). "
                "Set BACKSCROLL_TRACEBACK=1 to see where, and report it."
            )
            raise click.exceptions.Exit(FAILED) from error


def _complain(text: str) -> None:
    click.echo(f"Error: {' '.join(safe(text).split())}", err=True)


def _drop_stdout() -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def examples(*lines: str) -> str:
    """An epilog: what a person would type."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
