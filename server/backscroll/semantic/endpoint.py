"""Vectors from an OpenAI-compatible endpoint: POST {base_url}/embeddings.

The text of messages and questions leaves the machine here. No error holds the key, the text or what the
endpoint said: an endpoint may quote any of them.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
import numpy as np

from ..endpoints import encodable, endpoint_url, fits_a_header
from ..errors import EmbeddingError
from .embedding import Weights
from .vectors import Floats, unit

MAX_TEXTS = 64
"""Texts in one request; the least that a known endpoint takes is 96."""

_PATH = "/embeddings"
_PROBE = "dimensions"
_CONNECT_TIMEOUT_S = 5.0
_HINTS = {
    400: "Check BACKSCROLL_SEMANTIC_MODEL.",
    401: "Check BACKSCROLL_SEMANTIC_API_KEY.",
    402: "Check the credit of the account behind BACKSCROLL_SEMANTIC_API_KEY.",
    403: "Check BACKSCROLL_SEMANTIC_API_KEY and what it may use.",
    404: "Check BACKSCROLL_SEMANTIC_BASE_URL (most end in /v1) and BACKSCROLL_SEMANTIC_MODEL.",
    429: "Its limit is reached.",
}


class EndpointEmbedder:
    """Asks one model at one endpoint; no attempt is repeated here, since whoever fills the store tries again later.

    Raises EmbeddingError. Redirects are not followed, as they could carry the key elsewhere.
    """

    def __init__(self, base_url: str, model: str, api_key: str | None = None, *, timeout_s: float = 30.0) -> None:
        """Sends nothing; takes a moment, for the certificates. `measure` must come first then."""
        self._url, self._shown_url = endpoint_url(base_url, _PATH)
        self._model = model
        self._timeout_s = timeout_s
        self._client = httpx2.AsyncClient(
            headers=_headers((api_key or "").strip()),
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
        )
        self.dims = 0

    @property
    def name(self) -> str:
        return f"{self._model}@{self._shown_url}/{self.dims}"

    async def measure(self) -> None:
        """Learn how many dimensions the model has, by a first request of one word."""
        self.dims = (await self._ask([_PROBE])).shape[1]

    async def embed(self, texts: Sequence[str]) -> Floats:
        parts = [await self._ask(texts[at : at + MAX_TEXTS]) for at in range(0, len(texts), MAX_TEXTS)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dims), np.float32)

    async def embed_question(self, text: str, weights: Weights) -> Floats:
        """The weights are not used: such a model reads the question as a whole."""
        row: Floats = (await self._ask([text]))[0]
        return row

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, texts: Sequence[str]) -> Floats:
        body = {"model": self._model, "input": [encodable(text) for text in texts], "encoding_format": "float"}
        if self._client.is_closed:
            raise self._failed("is asked no more", "Open the database again.")
        try:
            response = await self._client.post(self._url, json=body)
        except httpx2.TimeoutException as error:
            raise self._failed(f"did not answer within {self._timeout_s:g} s", "Check that it is well.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._failed("cannot be reached", "Check that it runs and BACKSCROLL_SEMANTIC_BASE_URL.") from error
        if response.status_code != 200:
            hint = _HINTS.get(response.status_code, "Try again later, or check BACKSCROLL_SEMANTIC_BASE_URL.")
            raise self._failed(f"answered with status {response.status_code}", hint)
        return await asyncio.to_thread(self._vectors, response, len(texts))

    def _vectors(self, response: httpx2.Response, count: int) -> Floats:
        try:
            told: list[dict[str, Any]] = sorted(response.json()["data"], key=lambda one: int(one["index"]))
            rows = np.array([one["embedding"] for one in told], np.float32)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise self._unreadable() from error
        if rows.ndim != 2 or rows.shape[0] != count or not rows.shape[1] or not np.isfinite(rows).all():
            raise self._unreadable()
        if self.dims and rows.shape[1] != self.dims:
            raise self._failed("answered with vectors of another size than before", "Start Backscroll again.")
        return unit(rows)

    def _unreadable(self) -> EmbeddingError:
        return self._failed(
            "answered with something other than embeddings", "Check BACKSCROLL_SEMANTIC_BASE_URL (most end in /v1)."
        )

    def _failed(self, what: str, hint: str) -> EmbeddingError:
        return EmbeddingError(f"The embeddings endpoint {self._shown_url} {what}. {hint}")


def _headers(api_key: str) -> dict[str, str]:
    if not api_key:
        return {}
    if not fits_a_header(api_key):
        raise EmbeddingError("BACKSCROLL_SEMANTIC_API_KEY holds characters that no header can carry. Set it again.")
    return {"Authorization": f"Bearer {api_key}"}
