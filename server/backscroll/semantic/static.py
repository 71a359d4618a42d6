"""wordllama's static vectors: each token has one, and a text's is their mean.

Of the package only its two data files are read. Its own loader looks for the tokenizer where 0.4.0 does not
put it and then asks the network, and importing the package sets up logging for the whole process.
"""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Encoding, Tokenizer

from ..endpoints import encodable
from ..errors import EmbeddingError
from .embedding import Weights
from .vectors import Floats, unit

_AT_ONCE = 16
"""Texts: a millisecond's work, after which others may want to run."""

_PACKAGE = "wordllama"
_TABLE = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class StaticEmbedder:
    """Loads in 0.1 s; 0.06 ms a text of 200 characters. Raises EmbeddingError where the package lacks its files."""

    def __init__(self) -> None:
        folder = _folder()
        self._version = version(_PACKAGE)
        try:
            # Kept as it is stored, in 16 bits: 16 MB instead of 33.
            self._table = load_file(folder / _TABLE)["embedding.weight"]
            tokenizer = (folder / _TOKENIZER).read_text(encoding="utf-8")
        except (OSError, SafetensorError, KeyError) as error:
            raise _unusable() from error
        self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def name(self) -> str:
        return f"{_PACKAGE}-{self._version}/l2_supercat/{self.dims}"

    @property
    def dims(self) -> int:
        return int(self._table.shape[1])

    async def embed(self, texts: Sequence[str]) -> Floats:
        return await asyncio.to_thread(self._rows, texts)

    async def embed_question(self, text: str, weights: Weights) -> Floats:
        """Words weighed by how much they tell, when any does; messages are not weighed, so they need no rework.

        On LoCoMo that finds a right turn among ten for 67 of 100 questions instead of 45.
        """
        return await asyncio.to_thread(self._weighed, text, weights)

    async def close(self) -> None:
        """There is nothing to wait for: a batch takes some milliseconds."""

    def _rows(self, texts: Sequence[str]) -> Floats:
        rows = np.zeros((len(texts), self.dims), np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            for row, tokens in enumerate(self._tokens(texts[start : start + _AT_ONCE]), start=start):
                rows[row] = self._sum(tokens.ids)
        return unit(rows)

    def _weighed(self, text: str, weights: Weights) -> Floats:
        total = np.zeros(self.dims, np.float32)
        for word, weight in weights:
            total += np.float32(weight) * self._sum(self._ids(word))
        return unit(total if total.any() else self._sum(self._ids(text)))

    def _tokens(self, texts: Sequence[str]) -> Sequence[Encoding]:
        """A batch lets other threads run meanwhile; a text alone would hold them all up."""
        found: list[Encoding] = self._tokenizer.encode_batch(
            [encodable(text) for text in texts], add_special_tokens=False
        )
        return found

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(encodable(text), add_special_tokens=False).ids
        return ids

    def _sum(self, ids: Sequence[int]) -> Floats:
        total: Floats = self._table[ids].sum(axis=0, dtype=np.float32)
        return total


def _folder() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise _unusable()
    return Path(found.submodule_search_locations[0])


def _unusable() -> EmbeddingError:
    return EmbeddingError(
        "The vectors that ship with wordllama cannot be read. Install it again: pip install --force-reinstall "
        "'backscroll[semantic]'."
    )
