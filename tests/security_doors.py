"""The server as strangers reach it: a process of its own, asking for tokens of both kinds, with two users' sessions.

async with the_guarded_server(home) as guarded:
    for way, answer in await every_way(guarded, call_of("list_sessions"), guarded.token["ada"]): ...
"""

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

import backscroll
from auth_doors import AUDIENCE, ISSUER, jwks, signed
from backscroll.auth import keeping
from backscroll.auth.grants import chosen_scopes
from backscroll.config import Settings
from builders import a_turn
from http_doors import HttpServer, call_of, folders, modern, the_http_server

SECRET = "the crown lies under the seventh willow"
"""What Ada said, and nobody else may read."""

SCOPES = {
    "ada": "read,write,delete",
    "bob": "read,write,delete",
    "reader": "read",
    "writer": "write",
    "deleter": "delete",
    "back end": "read,write,delete,act-as",
}
"""The tokens, by who has them: those that are named for what they may do are Ada's."""

Message = Mapping[str, Any]
STREAM = {"accept": "application/json;q=0.1, text/event-stream"}
OLD_WAYS = ("old, JSON", "old, stream")
WAYS = (*OLD_WAYS, "new, JSON", "new, stream")


class Guarded(NamedTuple):
    server: HttpServer
    token: dict[str, str]
    home: Path

    def jwt(self, **changed: Any) -> str:
        """Of the issuer that the server knows: Ada may do all, for an hour."""
        now = time.time()
        sound = {"iat": now, "exp": now + 3600, "sub": "ada", "scope": "read write delete"}
        return signed(**{**sound, **changed})

    async def sessions_of(self, user: str) -> str:
        """What the user's sessions are, to see whether something changed."""
        answer = await self.server.post(call_of("list_sessions", format="json"), token=self.token[user])
        assert answer.status_code == 200, answer.text
        return told(answer)


@asynccontextmanager
async def the_guarded_server(home: Path, *flags: str, **more: str) -> AsyncIterator[Guarded]:
    (home / "jwks.json").write_bytes(jwks("k1"))
    env = {
        **folders(home),
        "BACKSCROLL_JWT_ISSUER": ISSUER,
        "BACKSCROLL_JWT_AUDIENCE": AUDIENCE,
        "BACKSCROLL_JWKS": str(home / "jwks.json"),
        "BACKSCROLL_JWT_ALGORITHMS": "RS256",
        "BACKSCROLL_HTTP_RATE_PER_MINUTE": "0",
        **more,
    }
    database = home / "sessions.db"
    token = {}
    # The one way in that is not the program's own: six tokens by the command take as many processes.
    async with backscroll.Backscroll(str(database), Settings(semantic="off")) as app:
        for name, scope in SCOPES.items():
            user = name if name in ("bob", "back end") else "ada"
            given, now = chosen_scopes(scope), datetime.now(UTC)
            token[name], _ = await keeping.create(app.store.tokens, user, given, None, now=now)
        for user, text in (("ada", SECRET), ("bob", "nothing much")):
            await app.memory(user).record_run(a_turn(f"Where? {text}.", f"I know: {text}."), session_id=f"{user}-own")
    async with the_http_server(database, *flags, env=env) as server:
        yield Guarded(server, token, home)


async def every_way(
    guarded: Guarded,
    message: Message,
    token: str | None,
    headers: Mapping[str, str] | None = None,
    *,
    ways: Sequence[str] = WAYS,
) -> list[tuple[str, httpx2.Response]]:
    """The answers to one message in both eras, as JSON and as a stream."""
    found = []
    for way in ways:
        sent, added = (dict(message), {}) if way.startswith("old") else _modern(dict(message))
        kind = STREAM if way.endswith("stream") else {}
        answer = await guarded.server.post(sent, {**added, **kind, **(headers or {})}, token=token)
        found.append((way, answer))
    return found


def _modern(message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """With the header that names what is read, too; a name that no header can hold is encoded (SEP-2243)."""
    sent, headers = modern(message)
    for name in ("uri", "name"):
        if isinstance(value := sent["params"].get(name), str):
            plain = value.isascii() and value.isprintable() and value == value.strip()
            headers["mcp-name"] = value if plain else f"=?base64?{base64.b64encode(value.encode()).decode()}?="
    return sent, headers


def told(answer: httpx2.Response) -> str:
    """All that a body says, streamed or not, as JSON without the escapes of the stream."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = answer.text.splitlines()
        return "\n".join(line.removeprefix("data: ") for line in lines if line.startswith("data: "))
    return answer.text


def outcome(answer: httpx2.Response) -> dict[str, Any]:
    """The one JSON-RPC answer. Fails where there is none."""
    found = [json.loads(line) for line in told(answer).splitlines() if line]
    (one,) = [message for message in found if "result" in message or "error" in message]
    whole: dict[str, Any] = one
    return whole


def refused(answer: httpx2.Response) -> bool:
    """Whether what was asked was not done: an error of HTTP, of JSON-RPC, or of a tool."""
    if answer.status_code != 200:
        return True
    whole = outcome(answer)
    return "error" in whole or bool(whole["result"].get("isError"))
