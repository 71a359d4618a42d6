"""Where the database is, said as `config.py` says it, for a tenth of the time.

Flag, then environment, then `config.toml`, then the platform's data folder. A test holds the two together.
"""

from __future__ import annotations

import os

from ..addresses import platform_folder
from ..spool import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SETTINGS = ("db", "user", "exclude_sources")
"""All that capturing needs to know."""


class Located:
    """`problems` are lines for `doctor`."""

    __slots__ = ("excluded_sources", "place", "problems")

    def __init__(self, place: Place, excluded_sources: frozenset[str], problems: list[str]) -> None:
        self.place, self.excluded_sources, self.problems = place, excluded_sources, problems


def located(flags: Mapping[str, str]) -> Located:
    problems: list[str] = []
    settings = {
        **_configured(problems),
        **_environment(),
        **{name: flags[name] for name in _SETTINGS if flags.get(name)},
    }
    place = Place(settings.get("db") or None, settings.get("user", "local"), platform_folder("data"))
    # Names as people write them: `Claude_Code` is claude-code.
    excluded = settings.get("exclude_sources", "").casefold().replace("_", "-").split(",")
    return Located(place, frozenset(one.strip() for one in excluded if one.strip()), problems)


def _environment() -> dict[str, str]:
    """An empty value counts as not set."""
    found = ((name, os.environ.get(f"BACKSCROLL_{name.upper()}")) for name in _SETTINGS)
    return {name: value for name, value in found if value}


def _configured(problems: list[str]) -> dict[str, str]:
    """What `config.toml` sets of it. It is parsed only where it must be: that takes as long as all else together."""
    try:
        with open(os.path.join(platform_folder("config"), "config.toml"), "rb") as file:
            content = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems.append(f"config.toml: {error.strerror}")
        return {}
    plain = _plain(content)
    if plain is not None:
        return plain
    import tomllib  # noqa: PLC0415

    try:
        told = tomllib.loads(content)
    except ValueError:
        problems.append("config.toml cannot be read")
        return {}
    return {name: told[name] for name in _SETTINGS if isinstance(told.get(name), str)}


def _plain(content: str) -> dict[str, str] | None:
    """The same of a file of lines `name = "value"`, as nearly all are; None where it takes a parser to tell."""
    found: dict[str, str] = {}
    if '"""' in content or "'''" in content:
        return None
    for line in map(str.strip, content.split("\n")):
        if not line or line[0] == "#":
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name.isidentifier() or name in found or not _ends_here(value):
            return None
        if name in _SETTINGS and value[0] in "\"'":
            found[name] = value[1 : value.index(value[0], 1)]
    return found


def _ends_here(value: str) -> bool:
    """Whether it is one value and no more: a string without escapes, or a single word."""
    if value[:1] not in ("'", '"'):
        return value.isalnum()
    end = value.find(value[0], 1)
    rest = value[end + 1 :].lstrip()
    return end > 0 and "\\" not in value[:end] and value[:end].isprintable() and (not rest or rest[0] == "#")
