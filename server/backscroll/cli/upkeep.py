"""The commands about the store itself: status, stats, backup, migrate."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..answers import ChoicesState, PauseState
from ..config import PREFIX, Settings, config_file, effective, read_config, read_environment, without_secrets
from ..errors import InvalidArgument, StoreUnusable
from ..memory import Memory
from ..render import plural
from ..semantic import is_installed, is_on
from ..store import About
from ..store.vectors import Counts
from ..terminal import line, notes, put_json, results, safe
from . import pausing, shown
from .bars import counting
from .endings import FAILED, examples
from .layout import Column, Listing
from .opening import Chosen, as_json, chosen, database_of, store_options


def status(chosen: Chosen) -> None:
    """What plain `backscroll` says on a terminal: what is there, and what to do next."""
    settings = chosen.settings()
    database = database_of(settings)
    out = results()
    out.print(f"Backscroll {__version__}: session memory for agents.", style="bold")
    counts: dict[str, int] = {}
    if database.exists():
        counts, state = chosen.with_memory(_counts_and_pause)
        out.print(f"{_counted(counts)} in {safe(shown.from_home(database.name))}")
        if state is not None:
            out.print(f"Recording is {pausing.paused(state)}: backscroll resume", style="yellow")
    else:
        out.print(f"Nothing is recorded yet. The database will be {safe(shown.from_home(database.name))}")
    out.print()
    fresh = [
        ("backscroll setup", "find your agents, attach them, and import what they said so far"),
        ("backscroll demo", "see it work, in a throw-away store"),
        ("backscroll import FILE", "record an export, or another program's transcripts"),
    ]
    used = [
        ("backscroll list", "the newest sessions"),
        ("backscroll search WORDS", "find what was said"),
        ("backscroll show '#1'", "read a session"),
        ("backscroll doctor", "what was captured, what was not, and what mends it"),
    ]
    rows = [*(used if counts.get("sessions") else fresh), ("backscroll -h", "all commands")]
    out.print(Listing((Column("", style="cyan"), Column("")), rows, headed=False))


async def _counts_and_pause(memory: Memory) -> tuple[dict[str, int], PauseState | None]:
    return await memory.store.counts(memory.user_id), await memory.paused()


def _counted(counts: dict[str, int]) -> str:
    return f"{plural(counts['sessions'], 'session')}, {plural(counts['messages'], 'message')}"


@click.command(
    short_help="What is stored, where, and what leaves this machine.",
    epilog=examples("backscroll stats", "backscroll stats --json"),
)
@as_json
@store_options
@chosen
def stats(chosen: Chosen, as_json: bool) -> None:
    """Show what is stored, where, under which settings, and what leaves this machine."""
    settings = chosen.settings()
    counts, vectors, choices, about = chosen.with_memory(_all_counts)
    database = _database(settings, about)
    values = effective(settings)
    for name in ("summary_base_url", "semantic_base_url"):
        if values[name]:
            values[name] = without_secrets(values[name])
    told = origins(chosen.flags)
    sends = [{"what": what, "to": to} for what, to in settings.sends()]
    if as_json:
        put_json(
            {
                "version": __version__,
                "user": settings.user,
                "database": database,
                "counts": counts,
                "settings": {name: {"value": value, "from": told[name]} for name, value in values.items()},
                "semantic": {"on": is_on(settings), "installed": is_installed(settings), **vectors._asdict()},
                "choices": choices.model_dump(mode="json"),
                "leaves_this_machine": sends,
            }
        )
        return
    out = results()
    facts = [
        ("database", safe(str(database["path"] or database["url"]))),
        ("kept by", f"{line(database['engine'])}, schema {database['schema_version']}"),
        *_of_file(database),
        ("user", settings.user),
        ("sessions", f"{counts['sessions']:,}"),
        ("runs", f"{counts['runs']:,}"),
        ("messages", f"{counts['messages']:,}"),
        ("tool calls", f"{counts['tool_calls']:,}"),
        ("media", f"{counts['media']:,} ({shown.size(counts['media_bytes'])})"),
        ("failed summaries", f"{counts['summary_errors']:,}"),
        ("search by meaning", _by_meaning(settings, vectors)),
        *pausing.facts(choices),
        ("leaves this machine", "; ".join(f"{one['what']}, to {safe(one['to'])}" for one in sends) or "nothing"),
    ]
    out.print(Listing((Column("", style="bold"), Column("", share=1)), facts, headed=False))
    out.print()
    rows = [(name, "-" if value is None else line(str(value)), told[name]) for name, value in values.items()]
    out.print(Listing((Column("Setting"), Column("Value", share=2), Column("From", style="dim", share=1)), rows))


async def _all_counts(memory: Memory) -> tuple[dict[str, int], Counts, ChoicesState, About]:
    store, user_id = memory.store, memory.user_id
    return (
        await store.counts(user_id),
        await store.vectors.counts(user_id),
        await memory.choices(),
        await store.about(user_id),
    )


def _by_meaning(settings: Settings, vectors: Counts) -> str:
    if settings.semantic == "off":
        return "off"
    if not is_installed(settings):
        return "not installed: pip install 'backscroll[semantic]'"
    waiting = f", {vectors.waiting:,} messages to look at" if vectors.waiting else ""
    return f"on: {vectors.made:,} vectors{waiting}"


def _database(settings: Settings, about: About) -> dict[str, Any]:
    """A file has a path, a log and modes; a server an address, and the size of its whole database."""
    name, path = database_of(settings)
    told = {"engine": about.engine, "schema_version": about.schema_version}
    if path is None:
        return {"path": None, "url": name, "exists": True, "size_bytes": about.size_bytes, **told}
    return {
        "path": str(path.absolute()),
        "exists": path.exists(),
        **told,
        "size_bytes": _size(path),
        "wal_bytes": _size(path.with_name(f"{path.name}-wal")),
        "mode": _mode(path),
        "folder_mode": _mode(path.absolute().parent),
    }


def _of_file(database: Mapping[str, Any]) -> list[tuple[str, str]]:
    size = shown.size(database["size_bytes"])
    if database["path"] is None:
        return [("size", f"{size}, everybody's")]
    mode, folder_mode = database["mode"] or "-", database["folder_mode"] or "-"
    return [
        ("size", f"{size}, log {shown.size(database['wal_bytes'])}"),
        ("modes", f"file {mode}, folder {folder_mode}{_too_open(mode)}"),
    ]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mode(path: Path) -> str | None:
    try:
        return f"{stat.S_IMODE(path.stat().st_mode):04o}"
    except OSError:
        return None


def _too_open(mode: str) -> str:
    """A warning where others on this machine can read the file."""
    open_to_others = os.name == "posix" and mode != "-" and mode[-2:] != "00"
    return "; others can read it: chmod 600" if open_to_others else ""


def origins(flags: Mapping[str, str]) -> dict[str, str]:
    """Where each setting was set: a flag, a variable, the config file, or nowhere."""
    file, environment = read_config(config_file()), read_environment(os.environ)
    told = {}
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        if name in flags:
            told[name] = f"--{name}"
        elif name in environment:
            # A setting may have a second name there.
            told[name] = variable if variable in os.environ else "environment"
        else:
            told[name] = str(config_file()) if name in file else "default"
    return told


@click.command(epilog=examples("backscroll backup backscroll-$(date +%F).db"))
@click.argument("file", type=click.Path(dir_okay=False))
@store_options
@chosen
def backup(chosen: Chosen, file: str) -> None:
    """Copy the whole database to FILE, while it is in use.

    The copy is a database like the one it came from: `--db FILE` opens it.
    """
    existing(chosen)
    if not Path(file).absolute().parent.is_dir():
        raise InvalidArgument(f"There is no folder {Path(file).absolute().parent}. Make it first.")
    chosen.with_memory(lambda memory: memory.store.backup(file))
    results().print(f"{safe(file)}: {shown.size(_size(Path(file)))}.")


@click.command(
    short_help="Say the database's version; check or rebuild its index.",
    epilog=examples("backscroll migrate", "backscroll migrate --check-index", "backscroll migrate --rebuild-index"),
)
@click.option("--check-index", "check", is_flag=True, help="Compare index and counters with the rows.")
@click.option("--rebuild-index", "rebuild", is_flag=True, help="Make the search index anew from the rows.")
@store_options
@chosen
def migrate(chosen: Chosen, check: bool, rebuild: bool) -> None:
    """Bring the database to this program's version, and say which that is.

    Opening a database always does that; here a search index of an older version is also waited for. Others may
    read and write meanwhile, and a rebuild that is broken off goes on when the database is opened again.
    """

    async def migrated(memory: Memory) -> None:
        out = results()
        version = (await memory.store.about(memory.user_id)).schema_version
        out.print(f"{safe(name)} has version {version}, the newest that this Backscroll knows.")
        if rebuild or not await memory.store.index_is_current():
            with counting("Rebuilding the index") as told:
                count = await memory.store.rebuild_index(told)
            out.print(f"Index rebuilt: {plural(count, 'message')}.")
        if check:
            with counting("Checking") as told:
                problems = await memory.store.check(told)
            for problem in problems:
                out.print(safe(problem))
            if problems:
                notes().print("Make the index anew with backscroll migrate --rebuild-index.")
                raise click.exceptions.Exit(FAILED)
            out.print("Tables, counters and index agree.")

    name = existing(chosen)
    chosen.with_memory(migrated)


def existing(chosen: Chosen) -> str:
    """The chosen database, as it may be shown. Raises StoreUnusable where there is none."""
    database = database_of(chosen.settings())
    if not database.exists():
        raise StoreUnusable(f"There is no database at {database.name}. Name another with --db.")
    return database.name
