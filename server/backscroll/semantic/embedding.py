"""What makes vectors out of text: the seam behind which a model sits."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..config import Settings
    from .vectors import Floats

Weights = Sequence[tuple[str, float]]
"""Words of a question and how much each tells, 0 for nothing at all: the rarer among the messages, the more."""


class Embedder(Protocol):
    """A model. Its methods may take long and are called in a thread. They raise EmbeddingError."""

    @property
    def name(self) -> str:
        """Model, version and dimensions: vectors of different names are never compared."""
        ...

    @property
    def dims(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> "Floats":
        """A row of length 1 for each text; of zeros where a text holds nothing that the model knows."""
        ...

    def embed_question(self, text: str, weights: Weights) -> "Floats":
        """The vector of a question, of length 1 or 0. A model that reads whole sentences may ignore the weights."""
        ...


def is_on(settings: "Settings") -> bool:
    """Whether there is search by meaning: wanted, and the extra is here. Nothing is imported to find out."""
    return settings.semantic == "auto" and is_installed(settings)


def is_installed(settings: "Settings") -> bool:
    needed = ("numpy",) if settings.semantic_endpoint() else ("numpy", "tokenizers", "safetensors", "wordllama")
    return all(find_spec(name) is not None for name in needed)


def load_embedder(settings: "Settings") -> Embedder:
    """The endpoint from the settings, else the model that ships inside wordllama. Takes a moment; call it in a thread.

    Raises EmbeddingError.
    """
    if settings.semantic_base_url and settings.semantic_model:
        from .endpoint import EndpointEmbedder  # noqa: PLC0415

        key = settings.semantic_api_key
        return EndpointEmbedder(
            settings.semantic_base_url,
            settings.semantic_model,
            None if key is None else key.get_secret_value(),
            timeout_s=settings.semantic_timeout_s,
        )
    # numpy takes 0.1 s to import, and the model as long to load.
    from .static import StaticEmbedder  # noqa: PLC0415

    return StaticEmbedder()
