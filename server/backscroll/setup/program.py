"""How a host starts Backscroll: the absolute path of the program that is running now, not a name on a PATH.

A host started from a desktop has another PATH than a shell, and a hook that goes through `uvx` would take a
second, and the network, at each call.
"""

import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Literal

from ..addresses import is_server, without_password
from ..store.opening import sqlite_path

NAME = "backscroll"

Shell = Literal["posix", "bash", "cmd", "powershell"]
"""What a host gives a hook's command to; all but the first on Windows."""

# What uv and pipx keep for one run of a program, and clean away when they please.
_EPHEMERAL = re.compile(r"[\\/](archive-v\d+|environments-v\d+|builds-v\d+|\.?cache[\\/]pipx)[\\/]", re.IGNORECASE)

_TRIAL_S = 60

_RUNNERS = ("uvx", "uv", "pipx")
_COMMANDS = ("serve", "capture")
_PYTHON = re.compile(r"py(thon)?[\d.]*w?")
_PLAIN = re.compile(r"[\w+:./\\~-]+")


@dataclass(frozen=True, slots=True)
class Program:
    """What comes before the command's name: a path, or a Python with `-m backscroll`.

    `environment` is what has to be told to a host that starts its servers and hooks without the user's own.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def is_ephemeral(self) -> bool:
        """Whether it lies where `uvx` or `pipx run` keep a program for a while."""
        return any(_EPHEMERAL.search(part) for part in self.argv[:1])

    def serve(self) -> list[str]:
        return [*self.argv, "serve"]

    def try_out(self, environment: Mapping[str, str]) -> bool:
        """Start the server once, as a host will, with nothing to do; whether that went well.

        It also leaves what lets the next start answer before it has loaded: two hosts do not wait for their first.
        """
        kept = {name: value for name, value in environment.items() if not name.startswith("BACKSCROLL_")}
        try:
            done = subprocess.run(
                self.serve(),
                env={**kept, **self.environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TRIAL_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def capture(self, inject: str | None = None) -> list[str]:
        """The hook's command. What it needs of the environment goes as flags, since hooks have no other way."""
        flags = {"--db": "BACKSCROLL_DB", "--user": "BACKSCROLL_USER"}
        told = [
            part for flag, name in flags.items() if name in self.environment for part in (flag, self.environment[name])
        ]
        return [*self.argv, "capture", *(("--inject", inject) if inject else ()), *told]


def running(
    argv0: str | None = None, executable: str | None = None, scripts: Path | None = None, platform: str | None = None
) -> tuple[str, ...]:
    """The program that runs now: as it was called, else as it was installed, else this Python with `-m`.

    A link stays a link (`~/.local/bin/backscroll`): what it points to moves when a tool is upgraded.
    """
    argv0 = sys.argv[0] if argv0 is None else argv0
    scripts = Path(sysconfig.get_path("scripts")) if scripts is None else scripts
    names = [f"{NAME}.exe", NAME] if (platform or sys.platform) == "win32" else [NAME]
    called = Path(argv0)
    places = [called.parent / name for name in names] if called.stem == NAME and called.name != argv0 else []
    for path in [*places, *(scripts / name for name in names)]:
        if path.is_file():
            return (str(path.absolute()),)
    return (executable or sys.executable, "-m", NAME)


def needed(environment: Mapping[str, str], flags: Mapping[str, str], home: Path, database: str) -> dict[str, str]:
    """What a host has to be told, so that its Backscroll opens the same store under the same settings as this one.

    Codex hands on eight names and no others, a program started from a desktop has what its desktop had.
    `database` is the one in use, by whatever it was set.
    """
    told: dict[str, str] = {}
    given = flags.get("db") or environment.get("BACKSCROLL_DB")
    # Where the config file names a server, the host's Backscroll reads that too.
    moved = not is_server(database) and _moved(environment, "XDG_DATA_HOME", home / ".local/share")
    if given or moved:
        told["BACKSCROLL_DB"] = _absolute(given or database)
    user = flags.get("user") or environment.get("BACKSCROLL_USER")
    if user:
        told["BACKSCROLL_USER"] = user
    if _moved(environment, "XDG_CONFIG_HOME", home / ".config"):
        told["XDG_CONFIG_HOME"] = environment["XDG_CONFIG_HOME"]
    return told


def _moved(environment: Mapping[str, str], name: str, usual: Path) -> bool:
    return bool(environment.get(name)) and Path(environment[name]) != usual


def arguments_of(argv: Sequence[str]) -> list[str] | None:
    """What follows the program in a command line that starts Backscroll; None for one that starts something else.

    However it was started: by path, by name, by a Python's `-m`, by `uvx` or `uv tool run`.
    """
    if not argv:
        return None
    if _stem(argv[0]) == NAME:
        return list(argv[1:])
    rest = list(argv[1:])
    if _PYTHON.fullmatch(_stem(argv[0])) and rest[:2] == ["-m", NAME]:
        return rest[2:]
    if _stem(argv[0]) in _RUNNERS:
        for place, part in enumerate(rest):
            # `--from backscroll backscroll serve` names it twice: the command is the one that a command follows.
            after = rest[place + 1 :]
            if _stem(part) == NAME and (not after or after[0] in _COMMANDS or after[0].startswith("-")):
                return after
    return None


def captures(command: str) -> bool:
    """Whether a hook's command line is Backscroll's capture, by whatever path, written for whatever shell."""
    # What PowerShell adds: a sign to call, and quotes that are doubled within quotes.
    bare = command.strip().removeprefix("& ").replace("''", "")
    for posix in (True, False):
        try:
            argv = [part.strip("\"'") for part in shlex.split(bare, posix=posix)]
        except ValueError:
            continue
        if (arguments_of(argv) or [])[:1] == ["capture"]:
            return True
    return False


def command_line(argv: Sequence[str], shell: Shell) -> str:
    """The words as one line for a shell.

    Words without spaces or signs go unquoted on Windows, since its three shells agree on nothing else; bash
    there takes a backslash for an escape, and all of them a slash for a separator but cmd.
    """
    if shell == "posix":
        return shlex.join(argv)
    program, *rest = [part.replace("\\", "/") for part in argv] if shell == "bash" else argv
    if shell == "bash":
        return shlex.join([program, *rest])
    if all(_PLAIN.fullmatch(part) for part in argv):
        return " ".join(argv)
    if shell == "cmd":
        return " ".join(part if _PLAIN.fullmatch(part) else f'"{part}"' for part in argv)
    quoted = [part if _PLAIN.fullmatch(part) else "'" + part.replace("'", "''") + "'" for part in argv]
    return ("& " if quoted[0] != argv[0] else "") + " ".join(quoted)


def _stem(word: str) -> str:
    """`backscroll` of `C:\\bin\\Backscroll.EXE`, and of `backscroll==1.2` or `backscroll[semantic]`, as uvx has it."""
    name = PureWindowsPath(word).name if "\\" in word else PurePath(word).name
    bare = re.split(r"[\[=@<>~ ]", name, maxsplit=1)[0].lower()
    return bare.removesuffix(".exe")


def _absolute(database: str) -> str:
    """A path that means the same in whatever folder a host works; a server's address without its password, which
    would lie in the settings of every host, and on the command lines of hooks."""
    if is_server(database):
        return without_password(database)
    return str(sqlite_path(database).expanduser().absolute())
