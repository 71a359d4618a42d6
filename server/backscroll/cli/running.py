"""The commands that run something: serve and demo."""

import sys
from typing import get_args

import click

from ..config import Settings
from .endings import examples
from .opening import Chosen, chosen, store_options

_PROFILES = get_args(Settings.model_fields["profile"].annotation)


@click.command(
    short_help="Serve MCP over stdin and stdout, as a host starts it.",
    epilog=examples(
        "backscroll serve",
        "backscroll serve --profile recall",
        "backscroll serve --db ~/work.db --user ada",
    ),
)
@click.option(
    "--profile",
    type=click.Choice(_PROFILES),
    help="The tools to offer: recall reads, full (the default) writes too.",
)
@click.option("--project", metavar="NAME", help="Project of what is recorded. Default: the folder it is started in.")
@store_options
@chosen
def serve(chosen: Chosen, profile: str | None, project: str | None) -> None:
    """Serve MCP over standard input and output, until the client leaves. This is what a host starts.

    Without arguments and with a pipe as standard input, `backscroll` serves too.
    """
    # Plain `serve` never comes here (see __main__); what does is help, and flags in another order.
    from ..serving import serve as run_server  # noqa: PLC0415

    flags = {**chosen.flags}
    flags |= {name: value for name, value in (("profile", profile), ("project", project)) if value is not None}
    sys.exit(run_server(flags))


@click.command(
    short_help="See it at work, in a throw-away store.",
    epilog=examples(
        "backscroll demo",
        "backscroll demo ~/.claude/projects/-home-me-widget",
        "backscroll demo session.jsonl",
    ),
)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
def demo(paths: tuple[str, ...]) -> None:
    """Show Backscroll at work, in a throw-away store: your own database and settings are not touched.

    Starts the real server, records a conversation that ships with it, and recalls it as an agent would: each
    call, what the agent reads, and what that costs in tokens. With PATHs, transcripts of yours take the
    place of that conversation. Checks all that comes back, and fails if anything differs.
    """
    # The MCP client takes half a second to import, which no other command should wait for.
    from .. import demo as demonstration  # noqa: PLC0415
    from ..terminal import results  # noqa: PLC0415

    demonstration.run(paths, results())
