"""The command that redacts what is stored: redact."""

from typing import TYPE_CHECKING

import click

from ..memory import Memory
from ..render import plural
from ..terminal import notes, put_json, results
from .bars import counting
from .endings import FAILED, examples
from .layout import Column, Listing
from .opening import Chosen, as_json, chosen, store_options
from .upkeep import existing

if TYPE_CHECKING:
    from ..redacting import Purged, RedactionReport

_SESSIONS_SHOWN = 10


@click.command(
    short_help="Take secrets out of what is stored.",
    epilog=examples("backscroll redact --dry-run", "backscroll redact", "backscroll redact --purge"),
)
@click.option("--dry-run", is_flag=True, help="Look and count, change nothing.")
@click.option("--purge", is_flag=True, help="Also rewrite the file, so that none of its pages holds a secret.")
@as_json
@store_options
@chosen
def redact(chosen: Chosen, *, dry_run: bool, purge: bool, as_json: bool) -> None:
    """Put [redacted:kind:fingerprint] in the place of secrets in what is stored already.

    Secrets of well-known forms: keys of clouds and services, tokens, private keys, passwords in addresses. Imports
    are redacted on their way in (setting redact: imports, all or off); this is for what was stored before or
    otherwise, and for forms that were not known then. It cannot be taken back. The search index, summaries and
    vectors follow; others may read and write meanwhile, and what is broken off can be run again.
    """
    if dry_run and purge:
        raise click.UsageError("--purge does not go with --dry-run, which changes nothing.")

    # Its many patterns take a while to compile, which no other command should wait for.
    from ..redacting import redact_stored  # noqa: PLC0415

    async def redacted(memory: Memory) -> "RedactionReport":
        with counting("Looking for secrets") as told:
            return await redact_stored(memory, dry_run=dry_run, purge=purge, told=told)

    existing(chosen)
    report = chosen.with_memory(redacted)
    if as_json:
        put_json(_as_json(report, dry_run=dry_run))
    else:
        _tell(report, dry_run=dry_run)
    if report.busy:
        notes().print(f"{plural(report.busy, 'row')} changed each time. Run backscroll redact again.")
        raise click.exceptions.Exit(FAILED)
    if report.purged is not None and report.purged.left:
        raise click.exceptions.Exit(FAILED)


def _tell(report: "RedactionReport", *, dry_run: bool) -> None:
    out = results()
    count = sum(report.secrets.values())
    if count:
        rows = [(kind, f"{found:,}") for kind, found in report.secrets.items()]
        out.print(Listing((Column("Kind"), Column("Secrets", right=True)), rows))
        out.print()
        did = "Found" if dry_run else "Redacted"
        out.print(f"{did} {plural(count, 'secret')} in {_where(report)}.")
    else:
        out.print(f"No secrets of known forms in {plural(report.looked_at, 'row')}.")
    if dry_run:
        if count:
            out.print("Nothing was changed.")
        return
    if report.purged is not None:
        out.print(_told_of_purge(report.purged))
    elif count:
        out.print("Their words may stay in the file's free pages and index: backscroll redact --purge rewrites it.")
    if count:
        out.print(f"Not reached: {'; '.join(report.not_reached)}. Change these secrets where they are valid.")


def _where(report: "RedactionReport") -> str:
    names = [f"#{number}" for number in report.sessions[:_SESSIONS_SHOWN]]
    if len(report.sessions) > _SESSIONS_SHOWN:
        names.append("...")
    rows = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in report.rows.items())
    return f"{plural(len(report.sessions), 'session')} ({', '.join(names)}): {rows}" if names else rows


def _told_of_purge(purged: "Purged") -> str:
    if purged.left is None:
        return f"{purged.told[:1].upper()}{purged.told[1:]}."
    if not purged.words:
        return "Purged: the file was rewritten. There was no secret to search its bytes for."
    if not purged.left:
        return f"Purged: none of {plural(purged.words, 'word')} of these secrets is in the file."
    return f"Purged, but the file's bytes still hold {purged.left} of {plural(purged.words, 'word')} of these secrets."


def _as_json(report: "RedactionReport", *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "secrets": report.secrets,
        "rows": report.rows,
        "sessions": [f"#{number}" for number in report.sessions],
        "looked_at": report.looked_at,
        "busy": report.busy,
        "purge": None if report.purged is None else {"words": report.purged.words, "left": report.purged.left},
        "not_reached": [] if dry_run else list(report.not_reached),
    }
