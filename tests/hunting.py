"""How many examples a property test tries: few and the same ones in the plain run, many new ones on a hunt."""

import os

HUNTING = os.environ.get("HYPOTHESIS_PROFILE") == "hunt"


def examples(count: int) -> int:
    """A fourth of them in the plain run, ten at least."""
    return count if HUNTING else min(count, max(count // 4, 10))
