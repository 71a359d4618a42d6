"""The Python API: `Backscroll` opens a store, `Memory` is one user's door to it."""

from .app import Backscroll
from .recalling import Host
from .recording import Forks, Memory

__all__ = ["Backscroll", "Forks", "Host", "Memory"]
