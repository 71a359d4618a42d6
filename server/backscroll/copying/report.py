"""What became of a copy."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

Told = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much that will be."""


class Trouble(NamedTuple):
    """A session that is not the same on both sides, and why. It is named by its id, never by its words."""

    user_id: str
    session_id: str
    why: str


@dataclass(slots=True)
class CopyReport:
    """Counts of sessions, but for `messages`. `unchanged` were here before, as they are."""

    users: int = 0
    copied: int = 0
    messages: int = 0
    unchanged: int = 0
    removed: int = 0
    """That a copy had brought, and that were deleted in the source since."""
    deleted: int = 0
    """That were deleted in the target, and stay so."""
    compared: int = 0
    tokens: int = 0
    left_behind: Counter[str] = field(default_factory=Counter)
    """Rows of tables that mean nothing in the target, since it has a key for digests of its own."""
    trouble: list[Trouble] = field(default_factory=list)
