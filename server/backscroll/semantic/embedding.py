"""What makes vectors out of text: the seam behind which a model sits."""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from ..errors import EmbeddingError

if TYPE_CHECKING:
    from ..config import Settings
    from .endpoint import EndpointEmbedder
    from .static import StaticEmbedder
    from .vectors import Floats

Weights = Sequence[tuple[str, float]]
"""Words of a question and how much each tells, 0 for nothing at all: the rarer among the messages, the more."""


class Embedder(Protocol):
    """A model. What takes long it does beside the event loop, and a caller that is cancelled ends it."""

    @property
    def name(self) -> str:
        """Model, version and dimensions: vectors of different names are never compared."""
        ...

    @property
    def dims(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> "Floats":
        """A row of length 1 for each text; of zeros where a text holds nothing that the model knows.

        Raises EmbeddingError.
        """
        ...

    async def embed_question(self, text: str, weights: Weights) -> "Floats":
        """The vector of a question, of length 1 or 0. A model that reads whole sentences may ignore the weights.

        Raises EmbeddingError.
        """
        ...

    async def close(self) -> None:
        """What is still being asked for fails at once with EmbeddingError, as does what is asked for later."""
        ...


def is_on(settings: "Settings") -> bool:
    """Whether there is search by meaning: wanted, and the extra is here. Nothing is imported to find out."""
    return settings.semantic == "auto" and is_installed(settings)


def is_installed(settings: "Settings") -> bool:
    needed = ("numpy",) if settings.semantic_endpoint() else ("numpy", "tokenizers", "safetensors", "wordllama")
    return all(find_spec(name) is not None for name in needed)


async def load_embedder(settings: "Settings") -> Embedder:
    """The endpoint from the settings, else the model that ships inside wordllama. Raises EmbeddingError."""
    try:
        if not (settings.semantic_base_url and settings.semantic_model):
            return await asyncio.to_thread(_static)
        endpoint = await asyncio.to_thread(_endpoint, settings.semantic_base_url, settings.semantic_model, settings)
    except EmbeddingError:
        raise
    except Exception as error:
        # The edge to packages that are not ours, and optional: one that is broken, half installed or too old raises
        # whatever it likes as it is imported (ImportError, AttributeError, numpy a ValueError) or reads its files
        # (tokenizers a plain Exception). None of that may break a search.
        raise EmbeddingError(
            f"Search by meaning cannot be loaded ({type(error).__name__}). Install its packages again: pip install "
            "--force-reinstall 'backscroll[semantic]'; or turn it off with BACKSCROLL_SEMANTIC=off."
        ) from error
    try:
        await endpoint.measure()
    except BaseException:
        await endpoint.close()
        raise
    return endpoint


# Both run in a thread: numpy takes 0.1 s to import, an HTTP client or the model as long to make.


def _endpoint(base_url: str, model: str, settings: "Settings") -> "EndpointEmbedder":
    from .endpoint import EndpointEmbedder  # noqa: PLC0415

    key = settings.semantic_api_key
    return EndpointEmbedder(
        base_url, model, None if key is None else key.get_secret_value(), timeout_s=settings.semantic_timeout_s
    )


def _static() -> "StaticEmbedder":
    from .static import StaticEmbedder  # noqa: PLC0415

    return StaticEmbedder()
