"""The commands that run something: serve and demo."""

import sys
from collections.abc import Mapping
from typing import Any, get_args

import click

from ..config import Settings, load_settings
from ..errors import ConfigError
from .endings import examples
from .opening import Chosen, chosen, store_options

_PROFILES = get_args(Settings.model_fields["profile"].annotation)


@click.command(
    short_help="Serve MCP over stdin and stdout, as a host starts it, or over HTTP.",
    epilog=examples(
        "backscroll serve",
        "backscroll serve --profile recall",
        "backscroll serve --db ~/work.db --user ada",
        "backscroll serve --http 127.0.0.1:8000 --no-auth",
        "backscroll serve --http 0.0.0.0:8000 --workers 4 --metrics 9464",
    ),
)
@click.option(
    "--profile",
    type=click.Choice(_PROFILES),
    help="The tools to offer: recall reads, full (the default) writes too.",
)
@click.option("--project", metavar="NAME", help="Project of what is recorded. Default: the folder it is started in.")
@click.option(
    "--multi-user",
    is_flag=True,
    default=None,
    help="For a back end that is trusted with all users: each tool takes user_id. Over HTTP, with the scope act-as.",
)
@click.option("--http", metavar="HOST:PORT", help="Serve streamable HTTP at /mcp there. Port 0: one that is free.")
@click.option("--no-auth", is_flag=True, help="With --http: ask for no token. Only on this machine's own addresses.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 64), help="With --http: processes on the one port.")
@click.option(
    "--metrics",
    metavar="PORT",
    type=click.IntRange(0, 65_535),
    help="With --http: serve counts in Prometheus' format on that port of 127.0.0.1. Default: nowhere.",
)
@store_options
@chosen
def serve(
    chosen: Chosen,
    profile: str | None,
    project: str | None,
    multi_user: bool | None,
    http: str | None,
    no_auth: bool,
    workers: int | None,
    metrics: int | None,
) -> None:
    """Serve MCP over standard input and output, until the client leaves. This is what a host starts.

    Without arguments and with a pipe as standard input, `backscroll` serves too.

    With --http it serves many clients until it is told to stop (SIGTERM, Ctrl-C), and then finishes what is under
    way. It asks for a token (`backscroll token create`, or a JWT), logs a line of JSON a request on standard
    error, and answers at /healthz and /readyz.
    """
    told = (
        ("profile", profile),
        ("project", project),
        ("multi_user", multi_user or None),
        ("http_workers", workers),
        ("http_metrics", metrics),
    )
    flags: dict[str, Any] = {**chosen.flags, **{name: value for name, value in told if value is not None}}
    if http is not None:
        sys.exit(_serve_http(http, flags, no_auth=no_auth))
    if no_auth or workers is not None or metrics is not None:
        raise click.UsageError("--no-auth, --workers and --metrics go with --http HOST:PORT.")
    # Plain `serve` never comes here (see __main__); what does is help, and flags in another order.
    from ..serving import serve as run_server  # noqa: PLC0415

    sys.exit(run_server(flags))


def _serve_http(http: str, flags: Mapping[str, Any], *, no_auth: bool) -> int:
    from ..http.address import address_of  # noqa: PLC0415

    try:
        address = address_of(http)
        settings = load_settings(flags)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    if no_auth and not address.loopback:
        raise click.UsageError(
            f"--no-auth lets whoever reaches the server read and delete everything, so it is for this machine's own "
            f"addresses (127.0.0.1, [::1], localhost) and not for {address.host}."
        )
    if no_auth and settings.multi_user:
        raise click.UsageError("Over HTTP, --multi-user is for tokens with the scope act-as: leave --no-auth out.")
    # The SDK and uvicorn take most of a second to import, which no mistake on the command line should wait for.
    from ..http.running import run as run_http  # noqa: PLC0415

    return run_http(settings, address, auth=not no_auth)


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
