"""What was asked, and which of the candidates answer it best. Pure: the store finds the candidates."""

from .features import Reading, answering
from .folding import Folded, folded
from .question import Question, read
from .scoring import ranked, readings
from .snippets import snippet, stretch

__all__ = ["Folded", "Question", "Reading", "answering", "folded", "ranked", "read", "readings", "snippet", "stretch"]
