"""The command that says how everything stands: doctor."""

from collections.abc import Iterator

import click
from rich.text import Text

from .. import setup as setting
from .. import spool
from ..addresses import is_server
from ..doctor import HostReport, Report, StoreReport, examine, unopened
from ..errors import StoreError
from ..hooks.placing import place_of
from ..memory import Memory
from ..render import plural
from ..terminal import line, put_json, results, safe
from . import shown
from .bars import counting
from .endings import FAILED, examples
from .layout import Column, Listing
from .opening import Chosen, as_json, chosen, store_options

_REASONS_SHOWN = 4
_FAILURES_SHOWN = 5


@click.command(
    short_help="What was captured, what was not and why; what is wrong, and what mends it.",
    epilog=examples("backscroll doctor", "backscroll doctor --quick", "backscroll doctor --json"),
)
@click.option("--quick", is_flag=True, help="Do not check every page and index entry of the database.")
@click.option("--forget-failures", is_flag=True, help="Forget the payloads of hooks that could not be kept.")
@as_json
@store_options
@chosen
def doctor(chosen: Chosen, *, quick: bool, forget_failures: bool, as_json: bool) -> None:
    """Say how everything stands: hosts, what of them was captured, what was not and why; the store; what leaves
    this machine.

    Each problem has the command that mends it; doctor mends nothing itself. Ends with 1 if there is a problem.
    """
    settings = chosen.settings()
    machine = setting.this_machine()
    program = setting.this_program(machine, settings, chosen.flags)

    async def examined(memory: Memory) -> Report:
        if forget_failures:
            spool.forget_failures(place_of(memory))
        with counting("Checking the database") as told:
            return await examine(memory, machine, program, thorough=not quick, told=told)

    try:
        report = chosen.with_memory(examined, create=True)
    except StoreError as error:
        report = unopened(settings.database_url(), error, machine, program, settings)
    if as_json:
        put_json(report.told())
    else:
        _show(report)
    if not report.ok:
        raise click.exceptions.Exit(FAILED)


def _show(report: Report) -> None:
    out = results()
    here = [host for host in report.hosts if host.present or host.found]
    if here:
        columns = (
            Column("Host", style="bold"),
            Column("Attached"),
            Column("Hooks"),
            Column("Transcripts", share=2),
            Column("Last capture", needs=90),
        )
        rows = [(h.host, _yes(h.attached, h.outdated), _yes(h.hooks), _read(h), _captured(h)) for h in here]
        out.print(Listing(columns, rows))
        _show_lines(here)
    else:
        out.print("None of the agents that Backscroll knows is on this machine.")
    out.print()
    out.print(Listing((Column("", style="bold"), Column("", share=1)), list(_facts(report)), headed=False))
    out.print()
    if report.ok:
        out.print(Text("All is well.", style="green"))
        return
    for problem in report.problems:
        out.print(Text(f"! {line(problem.what)}", style="yellow"))
        out.print(f"  {safe(problem.fix)}")


def _yes(value: bool | None, outdated: bool = False) -> Text:
    if value is None:
        return Text("-", style="dim")
    if outdated:
        return Text("outdated", style="yellow")
    return Text("yes", style="green") if value else Text("no", style="dim")


def _read(host: HostReport) -> Text:
    if not host.found:
        return Text("none", style="dim")
    behind = f", {host.behind:,} behind ({shown.size(host.behind_bytes)})" if host.behind else ""
    return Text(f"{host.imported:,} of {host.found:,} read{behind}", style="yellow" if behind else "green")


def _captured(host: HostReport) -> str:
    return "-" if host.last_capture is None else f"{host.last_capture:%Y-%m-%d %H:%M}"


def _show_lines(hosts: list[HostReport]) -> None:
    """What of the transcripts was not kept, and why."""
    out = results()
    for host in hosts:
        if host.skipped:
            most = sorted(host.skipped, key=lambda reason: -host.skipped[reason])
            told = ", ".join(f"{host.skipped[reason]:,} {line(reason)}" for reason in most[:_REASONS_SHOWN])
            more = f" and {plural(len(most) - _REASONS_SHOWN, 'kind')} more" if len(most) > _REASONS_SHOWN else ""
            out.print(Text(f"{host.host}: lines that hold no talk: {told}{more}", style="dim"))
        if host.left_out:
            told = ", ".join(f"{count:,} {line(why)}" for why, count in sorted(host.left_out.items()))
            out.print(Text(f"{host.host}: messages left out, as you wanted: {told}", style="dim"))
        for note in host.notes:
            out.print(Text(line(note), style="dim"))
        for failure in host.failed[:_FAILURES_SHOWN]:
            where = f"{failure.file}, line {failure.line}" if failure.line else failure.file
            out.print(Text(f"{host.host}: not read: {line(where)}: {line(failure.error)}", style="yellow"))
        if len(host.failed) > _FAILURES_SHOWN:
            more = f"{len(host.failed) - _FAILURES_SHOWN:,} more lines not read; --json lists them"
            out.print(Text(f"{host.host}: {more}", style="yellow"))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    store, spooled = report.store, report.spool
    yield "database", safe(shown.from_home(store.url))
    if store.error is None:
        yield from _of_store(store)
    waiting = f"{plural(spooled.entries, 'payload')} waiting" if spooled.entries else "empty"
    aside = f", {spooled.aside:,} set aside as unreadable" if spooled.aside else ""
    yield "spool", f"{waiting}{aside}"
    yield "sync", report.sync
    leaves = "; ".join(f"{what}, to {to}" for what, to in report.sends)
    yield "leaves this machine", safe(leaves) or "nothing"


def _of_store(store: StoreReport) -> Iterator[tuple[str, str]]:
    counts = store.counts
    yield "kept by", f"{line(store.engine or '-')}, schema {store.schema_version}"
    if is_server(store.url):
        yours = "" if store.user_bytes is None else f", of it what you said and heard {shown.size(store.user_bytes)}"
        yield "size", f"{shown.size(store.size_bytes)}{yours}"
    else:
        yield "size", f"{shown.size(store.size_bytes)}, log {shown.size(store.wal_bytes)}"
    yield "holds", f"{plural(counts['sessions'], 'session')}, {plural(counts['messages'], 'message')}"
    if store.oldest and store.newest:
        yield "from, to", f"{store.oldest:%Y-%m-%d}, {store.newest:%Y-%m-%d}"
    if store.integrity is None:
        yield "integrity", "not checked (--quick)"
    else:
        yield "integrity", "; ".join(map(line, store.integrity)) or "whole, and the index agrees with it"
    if store.stale_summaries:
        yield "summaries", f"{store.stale_summaries:,} do not cover the newest messages"
    if store.redacted:
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(store.redacted.items()))
        yield "redacted", told
    if store.paused_since is not None:
        until = f" until {store.paused_until:%Y-%m-%d %H:%M}" if store.paused_until else ""
        yield "recording", f"paused since {store.paused_since:%Y-%m-%d %H:%M}{until}"
    if store.expired:
        yield "retention", f"{plural(store.expired, 'session')} past retention_days: backscroll delete --expired"
    if store.last_sync_at is not None:
        yield "last sync", f"{store.last_sync_at:%Y-%m-%d %H:%M}"
