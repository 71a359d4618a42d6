"""Recording: messages of any shape become runs that a store can keep."""

from .prepare import Recording, check_id, prepare, size_of
from .shapes import moment_of, normalise

__all__ = ["Recording", "check_id", "moment_of", "normalise", "prepare", "size_of"]
