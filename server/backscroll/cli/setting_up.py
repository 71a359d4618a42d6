"""The command that attaches Backscroll to the hosts on this machine: setup."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from .. import setup as setting
from ..addresses import has_password
from ..config import PREFIX, config_file, read_environment
from ..errors import InvalidArgument
from ..memory import Memory
from ..render import plural
from ..sources import HOSTS
from ..syncing import HostSynced, sync
from ..terminal import line, notes, put_json, results, safe
from . import shown
from .bars import reading
from .endings import FAILED, examples
from .layout import Column, Listing
from .opening import Chosen, as_json, chosen, store_options

if TYPE_CHECKING:
    from ..setup import Done, HostPlan, Machine, Plan, Program, Step

_INJECT = ("session", "prompt", "off")

_WORDS = {
    ("server", "add"): "attach",
    ("server", "update"): "update the server",
    ("server", "remove"): "detach",
    ("hooks", "add"): "install hooks",
    ("hooks", "update"): "update hooks",
    ("hooks", "remove"): "remove hooks",
    ("sync", "add"): "turn on sync",
    ("sync", "update"): "sync these too",
    ("sync", "remove"): "turn off sync",
}

# Settings that tell a host's server who and where; setup writes them into its entry.
_TOLD = ("db", "user")


@click.command(
    short_help="Attach Backscroll to the agents on this machine; import their past.",
    epilog=examples(
        "backscroll setup",
        "backscroll setup --dry-run",
        "backscroll setup --host codex --host gemini --yes",
        "backscroll setup --inject session",
        "backscroll setup --undo",
    ),
)
@click.option(
    "--host",
    "names",
    multiple=True,
    type=click.Choice(setting.NAMES),
    metavar="NAME",
    help=f"Only this one; repeatable. Any of {', '.join(setting.NAMES)}.",
)
@click.option(
    "--inject",
    multiple=True,
    type=click.Choice(_INJECT),
    help="What hooks also hand the agent: the last session when one starts, hits for each prompt. Repeatable; "
    "off at first, and left as it is when not given.",
)
@click.option("--no-import", "no_import", is_flag=True, help="Leave the past alone.")
@click.option("--undo", is_flag=True, help="Take everything out again. What was recorded stays.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@store_options
@chosen
def setup(
    chosen: Chosen,
    *,
    names: tuple[str, ...],
    inject: tuple[str, ...],
    no_import: bool,
    undo: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Attach Backscroll to the agents on this machine, and import what they said so far.

    Finds Claude Code, Claude Desktop, Codex, Gemini CLI, Cursor, VS Code and OpenCode, shows what it would
    change, and asks. Then it attaches the server to each, installs hooks that note what happens, turns on sync
    and imports the past. Their files keep all else that is in them, comments too, and a backup is made of each.
    """
    # Settings of ours that are amiss are told before anything changes.
    machine = setting.this_machine()
    if not undo:
        _refuse_password(chosen.flags.get("db") or machine.environment.get("BACKSCROLL_DB"))
    program = setting.this_program(machine, chosen.settings(), chosen.flags)
    wish = setting.Wish(program, _wanted_inject(inject))
    plan = setting.plan_undo(machine, wish, names) if undo else setting.plan(machine, wish, names)
    problems = [*plan.problems(), *_missing(plan, names)]
    if not as_json:
        _show(plan, program, undo=undo)
    agreed = not dry_run and _agreed(plan, program, undo=undo, yes=yes, as_json=as_json)
    done = setting.Done((), ())
    found: list[HostSynced] = []
    if agreed:
        done = setting.undo(machine, wish, names) if undo else setting.carry_out(machine, wish, names)
        problems = [*dict.fromkeys([*problems, *done.problems])]
        if not undo and plan.hosts and not program.try_out(machine.environment):
            problems.append(f"{' '.join(program.serve())} does not start here. Run it in this terminal to see why.")
        if not as_json:
            _tell_done(plan, done, machine, undo=undo)
        if not (undo or no_import):
            found = _imported(chosen, machine, plan if names else None)
    told = _notes(plan, machine, inject)
    if program.is_ephemeral and not undo:
        told.append(_ephemeral(program))
    if as_json:
        put_json(_json(plan, program, done, found, problems, told))
    else:
        _tell_found(found, asked=agreed and not (undo or no_import))
        for note in told:
            notes().print(safe(note), style="dim")
        for problem in problems:
            notes().print(f"Error: {line(problem)}")
    if problems:
        raise click.exceptions.Exit(FAILED)


def _refuse_password(url: str | None) -> None:
    """Raises InvalidArgument: a password must not be copied into the settings of every host."""
    if url is not None and has_password(url):
        raise InvalidArgument(
            f"BACKSCROLL_DB holds a password, which setup does not write into the settings of hosts. Put `db` into "
            f"{config_file()}, which every Backscroll of yours reads, and unset BACKSCROLL_DB; or keep the password "
            "in ~/.pgpass (HOST:PORT:DATABASE:ROLE:PASSWORD, mode 600) and leave it out of the address."
        )


def _wanted_inject(inject: Sequence[str]) -> frozenset[str] | None:
    if not inject:
        return None
    if "off" in inject and len(set(inject)) > 1:
        raise InvalidArgument("--inject off goes with no other --inject.")
    return frozenset(inject) - {"off"}


def _missing(plan: Plan, names: Sequence[str]) -> list[str]:
    return [
        f"{planned.host.title} was asked for and is not on this machine."
        for planned in plan.hosts
        if names and planned.host.where is None and not planned.steps
    ]


def _agreed(plan: Plan, program: Program, *, undo: bool, yes: bool, as_json: bool) -> bool:
    """Whether to go on. Raises InvalidArgument where nobody can be asked, or where it would not last."""
    if program.is_ephemeral and not undo:
        raise InvalidArgument(_ephemeral(program))
    if yes or not plan.changes:
        return True
    if as_json or not sys.stdin.isatty():
        raise InvalidArgument(
            "Setup asks before it changes anything, and nobody is here to ask. "
            "Give --yes to go on, or --dry-run to look."
        )
    question = "Take these out?" if undo else "Make these changes, and import the past?"
    # What is another's goes only by a word of its own.
    if click.confirm(question, default=not any(step.action == "replace" for step in _steps(plan)), err=True):
        return True
    results().print("Nothing was changed.")
    return False


def _steps(plan: Plan) -> Iterator[Step]:
    for planned in (*plan.hosts, plan.sync):
        yield from planned.steps


def _ephemeral(program: Program) -> str:
    return (
        f"This Backscroll runs from a cache ({program.argv[0]}) that is cleaned at times, and hosts could not "
        "start it then. Install it with `uv tool install backscroll`, and run `backscroll setup` again."
    )


def _show(plan: Plan, program: Program, *, undo: bool) -> None:
    out = results()
    rows: list[tuple[str | Text, ...]] = []
    for planned in (*plan.hosts, plan.sync):
        if undo and not planned.steps:
            continue
        where = shown.from_home(str(planned.host.where)) if planned.host.where else "-"
        files = dict.fromkeys(shown.from_home(str(step.path)) for step in planned.steps if step.action != "none")
        rows.append((planned.host.title, where, _change(planned), ", ".join(files)))
    if rows:
        columns = (
            Column("Host", style="bold"),
            Column("Found", share=3),
            Column("Change", share=3),
            Column("Files", share=4, style="dim", needs=110),
        )
        out.print(Listing(columns, rows))
    if not plan.changes:
        out.print("Nothing to do." if not undo else "Nothing of Backscroll's is there.")
    elif not undo:
        out.print()
        out.print(f"Hosts will start {safe(' '.join(program.serve()))}")
        for name, value in program.environment.items():
            out.print(f"  with {name}={safe(value)}")


def _change(planned: HostPlan) -> Text:
    if not planned.steps:
        return Text("not found", style="dim")
    changes = [_in_words(step) for step in planned.steps if step.action != "none"]
    if not changes:
        return Text("nothing to do", style="green")
    refused = any(step.action in ("refuse", "replace") for step in planned.steps)
    return Text(", ".join(dict.fromkeys(changes)), style="yellow" if refused else "")


def _in_words(step: Step) -> str:
    if step.action == "refuse":
        return f"{step.part}: {step.note}"
    if step.action == "replace":
        return f"REPLACE another {step.part} named backscroll ({line(step.note)})"
    said = _WORDS[step.part, step.action]
    return f"{said} (now {line(step.note)})" if step.note and step.part != "hooks" and step.action == "update" else said


def _tell_done(plan: Plan, done: Done, machine: Machine, *, undo: bool) -> None:
    out = results()
    if not done.changed:
        return
    backups = shown.from_home(str(machine.data_folder / "setup" / "backups"))
    kept = "" if undo else f" What was in them before is in {safe(backups)}; --undo takes it all back."
    out.print(f"Changed {plural(len(done.changed), 'file')}.{kept}")
    for planned in plan.hosts:
        if planned.changes and planned.host.hint and not undo:
            out.print(safe(planned.host.hint))
    if undo:
        out.print("What was recorded stays: backscroll delete removes it.")


def _imported(chosen: Chosen, machine: Machine, narrowed: Plan | None) -> list[HostSynced]:
    sources: tuple[str, ...] = HOSTS
    if narrowed is not None:
        chosen_ones = {source for planned in narrowed.hosts if planned.host.where for source in planned.host.sources}
        sources = tuple(source for source in HOSTS if source in chosen_ones)

    async def work(memory: Memory) -> list[HostSynced]:
        with reading("Importing") as moved:
            return await sync(memory, sources, machine.environment, machine.home, progress=moved)

    return [one for one in chosen.with_memory(work, create=True) if one.found]


def _tell_found(found: Sequence[HostSynced], *, asked: bool) -> None:
    out = results()
    for one in found:
        report = one.read
        told = f"{plural(report.sessions, 'session')}, {plural(report.messages, 'message')}"
        new = told if report.messages or report.runs else "nothing new"
        failed = f"; {len(report.failed):,} could not be read" if report.failed else ""
        out.print(f"{safe(one.host)}: {new} ({plural(one.found, 'file')}{failed}).")
    if asked and not found:
        out.print("No talk from before was found to import.")
    elif any(one.read.messages for one in found):
        out.print("Try: backscroll search WORDS, or ask your agent what you did last time.")


def _notes(plan: Plan, machine: Machine, inject: Sequence[str]) -> list[str]:
    """What a person should know, and nothing is wrong with."""
    told = []
    if inject and "off" not in inject:
        deaf = [one.host.title for one in plan.hosts if one.host.where and one.host.has_hooks and not one.host.injects]
        if deaf:
            told.append(f"{' and '.join(deaf)} take no context from hooks: --inject changes nothing there.")
    narrow = [step.note for step in plan.sync.steps if step.action == "none" and step.note not in ("", "all")]
    if narrow:
        told.append(
            f"Sync stays at {narrow[0]}, as {shown.from_home(str(machine.config_file))} has it; all reads every host."
        )
    for name in read_environment(machine.environment):
        variable = f"{PREFIX}{name.upper()}"
        if name not in _TOLD and variable in machine.environment:
            told.append(
                f"{variable} is set in this shell; a host started elsewhere does not see it. "
                f"{shown.from_home(str(machine.config_file))} holds for all."
            )
    return told


def _json(
    plan: Plan, program: Program, done: Done, found: Sequence[HostSynced], problems: Sequence[str], told: Sequence[str]
) -> dict[str, Any]:
    def planned(one: HostPlan) -> dict[str, Any]:
        steps = [{**step._asdict(), "path": str(step.path)} for step in one.steps]
        where = None if one.host.where is None else str(one.host.where)
        return {"host": one.host.name, "present": where is not None, "where": where, "steps": steps}

    return {
        "ok": not problems,
        "program": program.serve(),
        "environment": dict(program.environment),
        "hosts": [planned(one) for one in plan.hosts],
        "sync": [{**step._asdict(), "path": str(step.path)} for step in plan.sync.steps],
        "changed": [str(path) for path in done.changed],
        "imported": [
            {
                "source": one.host,
                "files": one.read.files,
                "sessions": one.read.sessions,
                "runs": one.read.runs,
                "messages": one.read.messages,
                "failed": len(one.read.failed),
            }
            for one in found
        ],
        "notes": list(told),
        "problems": list(problems),
    }
