"""The command line. `run` is the way in; a module each for reading, changing, moving, upkeep and running."""

import sys
from typing import Any, NoReturn

import click

from .. import __version__
from ..terminal import safe
from . import (
    capturing,
    changing,
    copying,
    deleting,
    doctoring,
    moving,
    pausing,
    reading,
    redacting,
    running,
    setting_up,
    syncing,
    tokens,
    upkeep,
)
from .endings import FAILED, INTERRUPTED, Commands, examples
from .opening import Chosen, store_options

__all__ = ["commands", "run"]


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("backscroll demo", "backscroll import ~/.claude/projects", "backscroll search flaky login test"),
)
@click.version_option(__version__, "-V", "--version", message="backscroll %(version)s")
@store_options
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Session memory for AI agents: records conversations word for word, recalls them cheaply.

    Settings come from flags, then BACKSCROLL_* variables, then config.toml; `backscroll stats` shows them.
    """
    if ctx.invoked_subcommand is None:
        upkeep.status(ctx.ensure_object(Chosen))


for command in (
    running.serve,
    running.demo,
    setting_up.setup,
    moving.import_,
    syncing.sync_,
    reading.search,
    reading.list_sessions,
    reading.show,
    reading.calls,
    changing.summarize,
    moving.export,
    deleting.delete,
    redacting.redact,
    pausing.pause,
    pausing.resume,
    doctoring.doctor,
    upkeep.stats,
    upkeep.backup,
    copying.copy_,
    upkeep.migrate,
    tokens.token,
    capturing.capture,
):
    commands.add_command(command)


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run a command of `backscroll` and end the process: 0 well, 1 failed, 2 usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that cannot show a character shows another; it is no reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str] | None) -> Any:
    try:
        # Not standalone: click would call a closed pipe a failure, and print "Aborted!" at Ctrl-C.
        return commands.main(arguments, prog_name="backscroll", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except OSError as error:
        click.echo(f"Error: {safe(str(error))}", err=True)
        return FAILED
