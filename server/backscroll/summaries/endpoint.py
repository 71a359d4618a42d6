"""A summary model behind an OpenAI-compatible endpoint: POST {base_url}/chat/completions.

The conversation leaves the machine here, and only here. No error holds the key, the conversation or
what the endpoint said: an endpoint may quote any of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ..endpoints import encodable, endpoint_url, fits_a_header
from ..errors import SummaryError

if TYPE_CHECKING:
    import httpx2

MAX_WAIT_S = 30.0
"""The longest wait between two attempts, whatever Retry-After asks for."""

_PATH = "/chat/completions"
_CONNECT_TIMEOUT_S = 10.0
_HINTS: Mapping[int, str] = {
    400: "Check BACKSCROLL_SUMMARY_MODEL and that this model takes an input of this length.",
    401: "Check BACKSCROLL_SUMMARY_API_KEY.",
    402: "Check the credit of the account behind BACKSCROLL_SUMMARY_API_KEY.",
    403: "Check BACKSCROLL_SUMMARY_API_KEY and what it may use.",
    404: "Check BACKSCROLL_SUMMARY_BASE_URL (most end in /v1) and BACKSCROLL_SUMMARY_MODEL.",
    405: "Check BACKSCROLL_SUMMARY_BASE_URL (most end in /v1).",
    413: "The input is too long for it; choose a BACKSCROLL_SUMMARY_MODEL that takes more.",
    422: "Check BACKSCROLL_SUMMARY_MODEL.",
    429: "Its limit is reached; try again later or check the quota behind BACKSCROLL_SUMMARY_API_KEY.",
}


class OpenAICompatibleModel:
    """Asks one model at one endpoint. `base_url` is what precedes `/chat/completions`; a query stays.

    `timeout_s` bounds one attempt as a whole, `retries` counts the attempts after the first one. Tried
    again: 429, 5xx, and a connection that failed or broke; not a time-out, which would only cost its
    length once more. `wait` is how to wait that many seconds. Redirects are not followed, as they
    could carry the key elsewhere.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 2,
        max_output_tokens: int = 4_000,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = model
        self._url, self._shown_url = endpoint_url(base_url, _PATH)
        self._api_key = (api_key or "").strip()
        self._timeout_s = timeout_s
        self._retries = retries
        self._max_output_tokens = max_output_tokens
        self._wait = wait

    async def complete(self, prompt: str, conversation: str) -> str:
        # httpx2 comes with mcp; a store that makes its summaries without a model never needs it.
        import httpx2  # noqa: PLC0415

        body = {
            "model": self.name,
            "messages": [
                {"role": "system", "content": encodable(prompt)},
                {"role": "user", "content": encodable(conversation)},
            ],
            "max_tokens": self._max_output_tokens,
            "stream": False,
        }
        limits = httpx2.Timeout(self._timeout_s, connect=min(self._timeout_s, _CONNECT_TIMEOUT_S))
        try:
            async with httpx2.AsyncClient(headers=self._headers(), timeout=limits) as client:
                response = await self._answer(client, body)
        except httpx2.InvalidURL as error:
            raise self._unusable_url() from error
        if response.status_code != 200:
            raise self._refused(response.status_code)
        return self._text_of(response)

    async def _answer(self, client: "httpx2.AsyncClient", body: dict[str, Any]) -> "httpx2.Response":
        """The first answer that is not worth another attempt, or the last one."""
        attempt = 0
        while True:
            response = await self._post(client, body, last=attempt >= self._retries)
            if response is None:
                pause_s = _backoff_s(attempt)
            elif _wants_max_completion_tokens(response, body):
                # OpenAI's reasoning models refuse the field that other servers know. Each call
                # finds this out anew; it costs one refused request and no attempt.
                body = {key: value for key, value in body.items() if key != "max_tokens"}
                body["max_completion_tokens"] = self._max_output_tokens
                continue
            elif (response.status_code == 429 or response.status_code >= 500) and attempt < self._retries:
                asked_s = _retry_after_s(response.headers)
                pause_s = _backoff_s(attempt) if asked_s is None else asked_s
            else:
                return response
            await self._wait(min(pause_s, MAX_WAIT_S))
            attempt += 1

    async def _post(
        self, client: "httpx2.AsyncClient", body: dict[str, Any], *, last: bool
    ) -> "httpx2.Response | None":
        """One attempt; None when the connection failed and another attempt is left."""
        import httpx2  # noqa: PLC0415

        try:
            # httpx2 limits each read; a server that trickles would never run into it.
            async with asyncio.timeout(self._timeout_s):
                return await client.post(self._url, json=body)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ConnectTimeout) as error:
            if not last:
                return None
            raise SummaryError(
                f"The summary endpoint {self._shown_url} cannot be reached. Check that it runs and "
                "BACKSCROLL_SUMMARY_BASE_URL."
            ) from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise SummaryError(
                f"The summary model did not answer within {self._timeout_s:g} s. Check that "
                f"{self._shown_url} (BACKSCROLL_SUMMARY_BASE_URL) is well, or choose a faster "
                "BACKSCROLL_SUMMARY_MODEL."
            ) from error
        except httpx2.UnsupportedProtocol as error:
            raise self._unusable_url() from error
        except httpx2.HTTPError as error:
            raise SummaryError(
                f"The summary endpoint {self._shown_url} could not be asked ({type(error).__name__}). Check "
                "BACKSCROLL_SUMMARY_BASE_URL."
            ) from error

    def _headers(self) -> dict[str, str]:
        if not self._api_key:
            return {}
        if not fits_a_header(self._api_key):
            raise SummaryError("BACKSCROLL_SUMMARY_API_KEY holds characters that no header can carry. Set it again.")
        return {"Authorization": f"Bearer {self._api_key}"}

    def _text_of(self, response: "httpx2.Response") -> str:
        """The text of the first choice. A list of parts, as some servers send it, is joined."""
        try:
            choice = response.json()["choices"][0]
            content = choice["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise SummaryError(
                f"The summary endpoint {self._shown_url} answered with something other than a chat "
                "completion. Check BACKSCROLL_SUMMARY_BASE_URL (most end in /v1)."
            ) from error
        if isinstance(content, list):
            content = "".join(
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        if isinstance(content, str) and content.strip():
            return content
        if choice.get("finish_reason") == "length":
            raise SummaryError(
                f"The summary model used up its {self._max_output_tokens:,} output tokens before its answer. "
                "Choose a BACKSCROLL_SUMMARY_MODEL that reasons less."
            )
        raise SummaryError("The summary model gave an empty answer. Try again or check BACKSCROLL_SUMMARY_MODEL.")

    def _refused(self, status: int) -> SummaryError:
        hint = _HINTS.get(status)
        if hint is None and status >= 500:
            hint = "Try again later, or check BACKSCROLL_SUMMARY_BASE_URL."
        return SummaryError(
            f"The summary endpoint {self._shown_url} answered with status {status}. "
            f"{hint or 'Check BACKSCROLL_SUMMARY_BASE_URL.'}"
        )

    def _unusable_url(self) -> SummaryError:
        return SummaryError(
            "BACKSCROLL_SUMMARY_BASE_URL is no http or https URL. It looks like https://host/v1 or "
            "http://localhost:11434/v1."
        )


def _backoff_s(attempt: int) -> float:
    return 0.5 * 2.0**attempt


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110, 10.2.3); None where it is missing or unreadable.

    A date is measured against the answer's own Date, so that the two clocks need not agree.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment, now = (parsedate_to_datetime(text) for text in (value, headers.get("date", "")))
        return max((moment - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _wants_max_completion_tokens(response: "httpx2.Response", body: Mapping[str, Any]) -> bool:
    return response.status_code == 400 and "max_tokens" in body and "max_completion_tokens" in response.text
