"""Which sessions go along with one that is deleted, and in which order: pure, shared by both stores."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple


class Named(NamedTuple):
    """A session's own row, as far as its name goes. `metadata` is its JSON."""

    key: int
    session_id: str
    source: str


class Started(NamedTuple):
    """A session of an agent that another session started. `parent` is what its host calls that one."""

    key: int
    source: str
    parent: str | None


def started_of(key: int, source: str, metadata: str) -> Started:
    """Which session started this one, as its metadata tell."""
    parent = json.loads(metadata).get("parent_session_id")
    return Started(key, source, parent if isinstance(parent, str) else None)


def names_of(source: str, session_id: str) -> list[tuple[str, str | None]]:
    """What sub-agents may call a session that started them, and which source they must be of, if any one: where it
    is kept beside another source's session, its host calls it by less."""
    beside = f"{source}:"
    own = session_id.removeprefix(beside) if session_id.startswith(beside) else None
    return [(session_id, None), *([(own, source)] if own else [])]


def children_of(started: Sequence[Started], mine: Iterable[Named]) -> dict[int, list[int]]:
    """The sessions of agents by the session that started them."""
    if not started:
        return {}
    keys: dict[tuple[str, str | None], list[int]] = {}
    for one in mine:
        for name in names_of(one.source, one.session_id):
            keys.setdefault(name, []).append(one.key)
    children: dict[int, list[int]] = {}
    for key, source, parent in started:
        if parent is None:
            continue
        for above in (*keys.get((parent, None), ()), *keys.get((parent, source), ())):
            children.setdefault(above, []).append(key)
    return children


def below(key: int, children: Mapping[int, Sequence[int]]) -> Iterable[int]:
    """The session and all that were started from it."""
    found: dict[int, None] = {}
    waiting = [key]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            waiting += children.get(one, ())
    return found


def forks_first(keys: Collection[int], forks: Mapping[int, Sequence[int]]) -> list[int]:
    """Each after those of its forks that are chosen too, so that each can go by itself."""
    ordered: dict[int, None] = {}
    for key in keys:
        line, waiting = [], [key]
        while waiting:
            one = waiting.pop()
            line.append(one)
            waiting += [fork for fork in forks.get(one, ()) if fork in keys and fork not in ordered]
        ordered.update(dict.fromkeys(one for one in reversed(line) if one not in ordered))
    return list(ordered)


def taken_from(
    by_age: Iterable[int],
    children: Mapping[int, Sequence[int]],
    room: int | None,
    size_of: Callable[[int], int] | None,
) -> dict[int, int]:
    """The chosen ones of `by_age` with their sub-agents, and the size of each (0 without `size_of`): all of them, or
    as many as `room` bytes ask for."""
    taken: dict[int, int] = {}
    for key in by_age:
        if room is not None and room <= 0:
            break
        for one in below(key, children):
            if one in taken:
                continue
            taken[one] = 0 if size_of is None else size_of(one)
            room = None if room is None else room - taken[one]
    return taken
