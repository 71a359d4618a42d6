"""Search by meaning: a vector for each message, made in the background, and the messages nearest to a question.

Needs the extra `semantic`. Nothing heavy is imported until the first vector is wanted; without the extra,
or with the setting `semantic = off`, nothing at all.
"""

from .embedding import Embedder, Weights, is_installed, is_on, load_embedder
from .service import Near, Semantic

__all__ = ["Embedder", "Near", "Semantic", "Weights", "is_installed", "is_on", "load_embedder"]
