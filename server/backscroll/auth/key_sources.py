"""Where published keys are had from: a file that is read again when it changes, or a URL that is asked now and then.

What changed shows soon, and one fault does not lock everybody out: keys that were had before are used on for a
bounded time. A stranger who names unknown keys can make the URL be asked now and then, and not more often.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx2

from ..config import without_secrets
from ..errors import ConfigError
from ..signing import is_url
from .keys import KeySet, parsed_keys

logger = logging.getLogger(__name__)

FRESH_S = 300.0
"""For so long keys are used without asking: a key that an issuer withdraws proves nothing after that."""

RETRY_S = 10.0
"""Between two questions to a URL at least, whatever for."""

STALE_S = 3600.0
"""For so long, from when they were had, keys are used while no new ones can be had."""

TIMEOUT_S = 5.0
MAX_BYTES = 512 << 10


class KeySource(Protocol):
    async def keys(self, kid: str | None) -> KeySet | None:
        """The keys of now; None where none can be had, which the log tells.

        One that is not among them (`kid`) is a reason to look for newer ones.
        """
        ...

    async def check(self) -> None:
        """Get them for the first time. Raises ConfigError where they will not come by themselves."""
        ...


def source_of(place: str, *, clock: Callable[[], float] = time.monotonic) -> KeySource:
    """`place` is a path or a URL that the settings have let pass. `clock` is in seconds, and never goes back."""
    return KeyUrl(place, clock=clock) if is_url(place) else KeyFile(Path(place).expanduser(), clock=clock)


class KeyFile:
    """A JWK Set in a file. Replace it whole (write another, rename it): a half-written one is a fault."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._keys: KeySet | None = None
        self._good_at = 0.0
        self._fault: str | None = None

    async def keys(self, kid: str | None) -> KeySet | None:
        # Not on a thread: a microsecond of each request, and what changed is small and read once. So no two requests
        # meet here halfway.
        self._look()
        now = self._clock()
        if self._fault is None:
            self._good_at = now
        return self._keys if now - self._good_at < STALE_S else None

    async def check(self) -> None:
        self._look()
        if self._fault is not None:
            raise ConfigError(f"BACKSCROLL_JWKS: {self._path} {self._fault}. Put the issuer's JWK Set there.")

    def _look(self) -> None:
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen == self._seen:
                return
            # Noted before it is read: what is written meanwhile is another change.
            self._seen = seen
            with self._path.open("rb") as file:
                self._keys = parsed_keys(_within_bounds(file.read(MAX_BYTES + 1)))
        except OSError as error:
            self._seen = None
            self._note(f"cannot be read ({error.strerror or type(error).__name__})")
        except ValueError as error:
            self._note(f"holds no keys ({_words(error)})")
        else:
            self._note(None)
            _tell_of(self._keys, str(self._path))

    def _note(self, fault: str | None) -> None:
        if fault is not None and fault != self._fault:
            kept = "; its keys of before are used for an hour at most" if self._keys is not None else ""
            logger.warning("%s %s%s", self._path, fault, kept)
        self._fault = fault


class KeyUrl:
    """A JWK Set behind a URL: the `jwks_uri` of an issuer. Redirects are not followed: they could lead anywhere."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._shown = without_secrets(url)
        self._clock = clock
        self._timeout_s = timeout_s
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._keys: KeySet | None = None
        self._had_at = 0.0
        self._etag: str | None = None

    async def keys(self, kid: str | None) -> KeySet | None:
        known = self._within(STALE_S)
        suits = known is not None and (kid is None or known.knows(kid))
        if suits and self._within(FRESH_S) is not None:
            return known
        # While somebody asks already, only those wait for the answer who have nothing to go by.
        if not (suits and self._asking.locked()):
            async with self._asking:
                if self._asked_at is None or self._clock() - self._asked_at >= RETRY_S:
                    await self._ask()
        return self._within(STALE_S)

    async def check(self) -> None:
        await self.keys(None)

    def _within(self, seconds: float) -> KeySet | None:
        return self._keys if self._clock() - self._had_at < seconds else None

    async def _ask(self) -> None:
        """Take what the URL has; where it has nothing usable, say so and leave what is there."""
        try:
            async with asyncio.timeout(self._timeout_s):
                changed = await self._get()
        except TimeoutError:
            self._warn(f"did not answer within {self._timeout_s:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            self._warn(f"could not be asked ({type(error).__name__})")
        except ValueError as error:
            self._warn(f"gave no keys ({_words(error)})")
        else:
            self._had_at = self._clock()
            if changed is not None:
                self._keys = changed
                _tell_of(changed, self._shown)
        finally:
            # A caller who leaves halfway has asked too: nobody makes it be asked more often by that.
            self._asked_at = self._clock()

    async def _get(self) -> KeySet | None:
        """The keys; None where they are the same as before. Raises ValueError for any other answer."""
        # Not packed: a small answer could unpack to a huge one.
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        if self._etag is not None and self._keys is not None:
            headers["If-None-Match"] = self._etag
        async with (
            httpx2.AsyncClient(timeout=self._timeout_s, follow_redirects=False) as client,
            client.stream("GET", self._url, headers=headers) as response,
        ):
            if response.status_code == 304 and "If-None-Match" in headers:
                return None
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            body = b""
            async for part in response.aiter_raw():
                body = _within_bounds(body + part)
            keys = parsed_keys(body)
            self._etag = response.headers.get("etag")
            return keys

    def _warn(self, fault: str) -> None:
        logger.warning("%s %s; keys that were had before are used for an hour at most", self._shown, fault)


def _within_bounds(document: bytes) -> bytes:
    if len(document) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    return document


def _words(error: ValueError) -> str:
    """What is ours to say: what a parser says may quote the document."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "no JSON"
    return str(error)


def _tell_of(keys: KeySet | None, place: str) -> None:
    if keys is not None and not keys.keys:
        logger.warning("%s holds no key that can prove a signature: every JWT is refused", place)
