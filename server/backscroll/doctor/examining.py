"""Looks at all of it, and mends nothing."""

import asyncio
import stat
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import spool as spooling
from ..addresses import companions, is_server, platform_folder, shown
from ..answers import ChoicesState
from ..config import Settings
from ..errors import BackscrollError
from ..hooks.placing import place_of
from ..memory import Memory
from ..setup import HostStatus, Machine, Program, inspect, this_machine, this_program
from ..store.facts import Capture
from ..store.opening import sqlite_path
from ..syncing import HostCoverage, coverage
from .problems import problems
from .report import HostReport, Report, SpoolReport, StoreReport

Told = Callable[[int, int], None]


async def examine(
    memory: Memory, machine: Machine, program: Program, *, thorough: bool = True, told: Told | None = None
) -> Report:
    """How everything stands. `thorough` also checks the whole database, which takes a while (`told` says how far)."""
    settings = memory.settings
    chosen = await memory.choices()
    hosts = await look_at_hosts(memory, machine, program, chosen.left_out)
    store = await _store(memory, chosen, thorough=thorough, told=told)
    spool = await asyncio.to_thread(_spool, memory)
    return _report(hosts, store, spool, settings)


def unopened(url: str, error: BackscrollError, machine: Machine, program: Program, settings: Settings) -> Report:
    """What can be said where the database cannot be opened."""
    hosts = [_host(status.host, status, None, None, {}) for status in inspect(machine, program)]
    file = None if is_server(url) else sqlite_path(url)
    exists = file is not None and file.exists()
    store = StoreReport(url=shown(url), exists=exists, error=str(error), **_files(url))
    return _report(hosts, store, SpoolReport(), settings)


def _report(hosts: Sequence[HostReport], store: StoreReport, spool: SpoolReport, settings: Settings) -> Report:
    wrong = tuple(problems(hosts, store, spool, settings, datetime.now(UTC)))
    return Report(tuple(hosts), store, spool, settings.sync, tuple(settings.sends()), wrong)


async def covered(memory: Memory) -> dict[str, Any]:
    """What of each host was captured, and what is wrong, as JSON has it; without a check of the whole database."""
    machine = this_machine()
    report = await examine(memory, machine, this_program(machine, memory.settings, {}), thorough=False)
    told = report.told()
    return {name: told[name] for name in ("ok", "hosts", "spool", "sync", "problems")}


async def look_at_hosts(
    memory: Memory, machine: Machine, program: Program, left_out: Mapping[str, Mapping[str, int]]
) -> list[HostReport]:
    """Every host that can be attached or has something here, the attachable ones first."""
    statuses = await asyncio.to_thread(inspect, machine, program)
    covered = {one.host: one for one in await coverage(memory, machine.environment, machine.home)}
    heard = {one.host: one for one in await memory.store.facts.captures(memory.user_id)}
    by_name = {status.host: status for status in statuses}
    rest = [name for name, one in covered.items() if name not in by_name and (one.present or one.found)]
    return [
        _host(name, by_name.get(name), covered.get(name), heard.get(name), left_out.get(name, {}))
        for name in (*by_name, *rest)
    ]


def _host(
    name: str,
    status: HostStatus | None,
    covered: HostCoverage | None,
    heard: Capture | None,
    left_out: Mapping[str, int],
) -> HostReport:
    """What three rooms know of one host."""
    read: dict[str, Any] = {}
    if covered is not None:
        fields = ("found", "imported", "behind", "behind_bytes", "skipped", "failed")
        read = {field: getattr(covered, field) for field in fields}
    if left_out:
        read["left_out"] = left_out
    if status is not None:
        # What is outdated is told once, by its remedy.
        read |= {"attached": status.attached or bool(status.outdated), "hooks": status.hooks}
        read |= {"outdated": bool(status.outdated), "problems": status.problems, "notes": status.notes}
    if heard is not None:
        read |= {"last_capture": heard.captured_at, "captures": heard.payloads}
    present = (status is not None and status.present) or (covered is not None and covered.present)
    return HostReport(name, present, **read)


async def _store(memory: Memory, chosen: ChoicesState, *, thorough: bool, told: Told | None) -> StoreReport:
    store, user = memory.store, memory.user_id
    about = await store.about(user, thorough=thorough)
    counts = await store.counts(user)
    extent = await store.extent(user)
    last = await store.ledger.last_sync(user)
    return StoreReport(
        url=shown(memory.url),
        exists=True,
        engine=about.engine,
        schema_version=about.schema_version,
        user_bytes=about.user_bytes,
        integrity=tuple(await store.check(told)) if thorough else None,
        index_current=await store.index_is_current(),
        counts=counts,
        oldest=extent.oldest,
        newest=extent.newest,
        stale_summaries=extent.stale_summaries,
        redacted=await store.secrets.counts(user),
        paused_since=None if chosen.paused is None else chosen.paused.since,
        paused_until=None if chosen.paused is None else chosen.paused.until,
        expired=chosen.expired,
        over_quota_bytes=chosen.over_quota_by,
        last_sync_at=None if last is None else last.ended_at,
        last_sync_error=None if last is None else last.error,
        **{"size_bytes": about.size_bytes, **await asyncio.to_thread(_files, memory.url)},
    )


def _files(url: str) -> Mapping[str, Any]:
    """Sizes of a database's file and its log, and the modes of what should be private, as far as they are there.

    Of a server's database the spool alone is here.
    """
    if is_server(url):
        return {"modes": _modes(Path(companions(url, platform_folder("data"))[0], spooling.FOLDER))}
    path = sqlite_path(url)
    log = path.with_name(f"{path.name}-wal")
    # The log is not among them: it has the mode of its database, and comes and goes.
    modes = _modes(path, path.parent / spooling.FOLDER)
    return {"size_bytes": _size(path), "wal_bytes": _size(log), "modes": modes}


def _modes(*paths: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        try:
            found[str(path)] = format(stat.S_IMODE(path.stat().st_mode), "04o")
        except OSError:
            continue
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _spool(memory: Memory) -> SpoolReport:
    place = place_of(memory)
    length = spooling.length(place)
    oldest = None if length.oldest_at_ms is None else datetime.fromtimestamp(length.oldest_at_ms / 1000, UTC)
    failures = tuple(spooling.failures(place))
    return SpoolReport(length.entries, length.size_bytes, oldest, length.aside, failures)
