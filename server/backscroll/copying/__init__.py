"""Everything of a database goes into another one: sessions as they are, and what is kept beside them.

Each session goes in one transaction, with a digest of all that came. So a copy that is broken off goes on where it
was, one that is run again brings what is newer, and a session that was changed on the other side is seen and left
alone. At the end every session is read from the target and compared.
"""

from .ends import Ends, opened
from .report import CopyReport, Trouble
from .users import copy

__all__ = ["CopyReport", "Ends", "Trouble", "copy", "opened"]
