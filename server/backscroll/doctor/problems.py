"""What is wrong, and what mends it: pure decisions on what was found.

A host that is here and not attached is no fault where another one is: the user chose. Nor is a transcript that has
grown a moment ago, while sync is on.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from ..addresses import is_server
from ..config import Settings
from .report import HostReport, Problem, SpoolReport, StoreReport

LATE = timedelta(hours=1)
"""While sync is on: what lies longer than this is left behind, not on its way."""

_SHOWN = 3

_REBUILD = "backscroll migrate --rebuild-index"
_FILE = "Look at the file; put back a copy that `backscroll backup` made, or move it away to begin anew."
_SERVER = "Look whether the server runs and lets this role in; BACKSCROLL_DB says which it is."
_ANEW = "backscroll export -o all.jsonl, then import it into a new database"


def problems(
    hosts: Sequence[HostReport], store: StoreReport, spool: SpoolReport, settings: Settings, now: datetime
) -> Iterator[Problem]:
    yield from _of_store(store)
    yield from _of_hosts(hosts)
    for host in hosts:
        yield from _of_host(host, store, settings, now)
    yield from _of_spool(spool, now)


def _of_store(store: StoreReport) -> Iterator[Problem]:
    if store.error:
        yield Problem(store.error, _SERVER if is_server(store.url) else _FILE)
        return
    by_fix: dict[str, list[str]] = {}
    for line in store.integrity or ():
        by_fix.setdefault(_REBUILD if "index" in line.lower() else _ANEW, []).append(line)
    for fix, lines in by_fix.items():
        more = f" (and {len(lines) - 1:,} more; --json lists them)" if len(lines) > 1 else ""
        yield Problem(f"The database is not whole: {lines[0]}{more}", fix)
    if store.index_current is False and store.integrity is None:
        yield Problem("The search index is not complete.", _REBUILD)
    for narrow, paths in _too_open(store.modes).items():
        yield Problem(f"{' and '.join(paths)} can be read by others.", f"chmod {narrow} {' '.join(paths)}")
    if failed := store.counts.get("summary_errors", 0):
        yield Problem(f"{failed:,} summaries could not be made.", "backscroll summarize SESSION shows why")
    if store.over_quota_bytes:
        over = f"{store.over_quota_bytes / 1e6:,.0f} MB"
        yield Problem(f"The database is {over} over max_db_bytes.", "backscroll delete --over-quota")
    if store.last_sync_error:
        yield Problem(f"The last sync did not get to its end: {store.last_sync_error}", "backscroll sync")


def _too_open(modes: Mapping[str, str]) -> dict[str, list[str]]:
    """The paths that others may read, by the mode that they should have."""
    found: dict[str, list[str]] = {}
    for path, mode in modes.items():
        if int(mode, 8) & 0o077:
            found.setdefault("700" if int(mode, 8) & 0o100 else "600", []).append(path)
    return found


def _of_hosts(hosts: Sequence[HostReport]) -> Iterator[Problem]:
    able = [host for host in hosts if host.present and host.attached is not None]
    if able and not any(host.attached for host in able):
        names = ", ".join(host.host for host in able)
        yield Problem(f"No agent can recall yet: Backscroll is attached to none of {names}.", "backscroll setup")


def _of_host(host: HostReport, store: StoreReport, settings: Settings, now: datetime) -> Iterator[Problem]:
    if host.outdated:
        yield Problem(f"{host.host} starts another Backscroll than this one.", f"backscroll setup --host {host.host}")
    for told in host.problems:
        yield Problem(told, f"Mend the file, then: backscroll setup --host {host.host}")
    wanted = not settings.exclusions().excludes_source(host.host)
    if host.behind and wanted and not _is_on_its_way(host, store, settings, now):
        count = f"{host.behind:,} of {host.found:,} transcripts"
        yield Problem(f"{count} of {host.host} are not read to their end.", f"backscroll sync {host.host}")
    unreadable = [failure for failure in host.failed if not failure.line]
    for failure in unreadable[:_SHOWN]:
        yield Problem(failure.error, f"backscroll import {failure.file}")
    if len(unreadable) > _SHOWN:
        more = f"{len(unreadable) - _SHOWN:,} more files of {host.host} could not be read."
        yield Problem(more, "backscroll doctor --json lists them")


def _is_on_its_way(host: HostReport, store: StoreReport, settings: Settings, now: datetime) -> bool:
    if store.paused_since is not None:
        return True
    if host.host not in settings.synced_hosts() or store.last_sync_error:
        return False
    return store.last_sync_at is not None and now - store.last_sync_at < LATE


def _of_spool(spool: SpoolReport, now: datetime) -> Iterator[Problem]:
    if spool.oldest_at is not None and now - spool.oldest_at > LATE:
        what = f"What {spool.entries:,} hooks told waits since {spool.oldest_at:%Y-%m-%d %H:%M} and was not taken in."
        yield Problem(what, "backscroll sync")
    if spool.failures:
        at, reason = spool.failures[-1]
        yield Problem(
            f"{len(spool.failures):,} payloads of hooks could not be kept, the last at {at} ({reason}).",
            "Make room or mend the folder, then: backscroll doctor --forget-failures",
        )
