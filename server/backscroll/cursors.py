"""Cursors: opaque, self-contained, bound to a user and a tool.

A cursor is compact JSON, deflated where that is shorter, under a short keyed MAC, as base64url. It
holds the arguments of the first call and a position, so that it can be passed alone.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from .errors import InvalidArgument

# A cursor is read in tokens, and base64 takes one for every two characters: every byte counts. The MAC
# tells a cursor from noise; what it opens is the caller's own anyway, since every query names its user.
_MAC_BYTES = 4
_PLAIN, _DEFLATED = b"j", b"z"
MAX_CURSOR_CHARS = 8_000

_LETTERS = {
    "session_id": "s", "query": "q", "num_history_sessions": "S", "num_history_runs": "R", "role": "r",
    "tool_name": "t", "agent": "a", "project": "p", "source": "o", "since": "f", "until": "u", "status": "x",
    "include_tool_messages": "i", "unique": "h",
}  # fmt: skip
_NAMES = {letter: name for name, letter in _LETTERS.items()}


class Cursors:
    """Makes and reads the cursors of one user of one database."""

    def __init__(self, key: bytes, user_id: str) -> None:
        self._key = key
        self._user_id = user_id

    def make(self, tool: str, arguments: Mapping[str, Any], position: Mapping[str, Any]) -> str:
        """A cursor. Arguments that are None are left out."""
        content = [{_LETTERS[name]: value for name, value in arguments.items() if value is not None}, position]
        plain = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        deflated = zlib.compress(plain, 9, -15)
        body = _DEFLATED + deflated if len(deflated) < len(plain) else _PLAIN + plain
        return _spelled(self._mac(tool, body) + body)

    def read(self, tool: str, cursor: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments and position. Raises InvalidArgument for a cursor that is not one of this user's for this tool."""
        refused = InvalidArgument(
            f"This cursor is not one that {tool} gave to this user, or it was changed. "
            "Pass a cursor exactly as it was returned, or call again without it."
        )
        if not isinstance(cursor, str) or not cursor.isascii() or len(cursor) > MAX_CURSOR_CHARS:
            raise refused
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise refused from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        # The last letter has bits to spare: only one spelling of a cursor is the one that was given.
        if _spelled(raw) != cursor or not body or mac != self._mac(tool, body):
            raise refused
        # The MAC vouches for what follows: it was written by `make`.
        plain = zlib.decompress(body[1:], -15) if body[:1] == _DEFLATED else body[1:]
        arguments, position = json.loads(plain)
        return {_NAMES[letter]: value for letter, value in arguments.items()}, position

    def _mac(self, tool: str, body: bytes) -> bytes:
        bound = f"{tool}\0{self._user_id}\0".encode("utf-8", "replace")
        return blake2b(bound + body, key=self._key, digest_size=_MAC_BYTES).digest()


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
