"""The command that moves a whole database: copy."""

import asyncio
from typing import Any

import click

from ..copying import CopyReport, copy, opened
from ..render import plural
from ..terminal import line, notes, put_json, results
from .bars import stages
from .endings import FAILED, examples
from .opening import as_json

_SHOWN = 20


@click.command(
    "copy",
    short_help="Copy a SQLite database into Postgres, and compare.",
    epilog=examples(
        "backscroll copy backscroll.db postgresql://db.example.com/backscroll",
        "backscroll copy backscroll.db postgresql://localhost/backscroll --user ada",
    ),
)
@click.argument("source", metavar="SQLITE_URL")
@click.argument("target", metavar="POSTGRES_URL")
@click.option("--user", "user_id", metavar="NAME", help="This user's alone; by default those of all.")
@click.option("--replace", is_flag=True, help="Sessions that are others in the target give way to the source's.")
@as_json
def copy_(source: str, target: str, *, user_id: str | None, replace: bool, as_json: bool) -> None:
    """Copy a SQLite database into a Postgres database, and prove that both give back the same.

    Sessions keep their ids and numbers. Broken off, it goes on where it was when it is run again; run again later, it
    brings what is newer. Search vectors do not come: the target makes its own. Copy before servers use the target.
    """

    async def copied() -> CopyReport:
        async with opened(source, target) as ends:
            with stages() as told:
                return await copy(ends, user_id=user_id, replace=replace, told=told)

    report = asyncio.run(copied())
    if as_json:
        put_json(_json(report))
    else:
        _tell(report)
    for trouble in report.trouble[:_SHOWN]:
        notes().print(f"Error: session {line(trouble.session_id)} of {line(trouble.user_id)}: {line(trouble.why)}")
    if len(report.trouble) > _SHOWN:
        notes().print(f"{len(report.trouble) - _SHOWN:,} more; --json lists them.")
    if report.trouble:
        raise click.exceptions.Exit(FAILED)


def _tell(report: CopyReport) -> None:
    out = results()
    out.print(
        f"Copied {plural(report.copied, 'session')} with {plural(report.messages, 'message')} "
        f"of {plural(report.users, 'user')}; {report.unchanged:,} were there already."
    )
    if report.tokens:
        out.print(f"Copied {plural(report.tokens, 'access token')}.")
    if report.removed:
        out.print(f"Deleted there, as in the source since: {plural(report.removed, 'session')}.")
    if report.deleted:
        out.print(f"Left out: {plural(report.deleted, 'session')} that were deleted in the target.")
    for table, rows in report.left_behind.items():
        out.print(
            f"Left behind: {plural(rows, 'row')} of {table}, which only the source's own key for digests can read. "
            "The target has another one, since it was in use before."
        )
    out.print(f"The same on both sides, by digest: {plural(report.compared, 'session')}.")


def _json(report: CopyReport) -> dict[str, Any]:
    names = ("users", "copied", "messages", "unchanged", "removed", "deleted", "compared", "tokens")
    return {
        **{name: getattr(report, name) for name in names},
        "left_behind": dict(report.left_behind),
        "trouble": [trouble._asdict() for trouble in report.trouble],
    }
