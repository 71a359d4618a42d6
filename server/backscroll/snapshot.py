"""A snapshot of the real server's answers, kept between starts for the front to answer from."""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING, Any

from backscroll.wire import (
    CAPABILITIES_KEY,
    DISCOVER,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    UNSUPPORTED_VERSION,
    VERSION_KEY,
    error_body,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Json = dict[str, Any]
    Results = dict[str, dict[str, Json]]  # protocol version -> method -> result

SNAPSHOTS_KEPT = 16


class Snapshot:
    """What the real server answers, where the answer depends on the protocol version alone.

    `handshake` and `modern` hold, per protocol version, oldest first, results by method, as the wire carries
    them: ``initialize``, ``ping`` and the static lists; ``server/discover`` and the static lists.
    """

    __slots__ = ("handshake", "modern")

    def __init__(self, handshake: Results, modern: Results) -> None:
        self.handshake = handshake
        self.modern = modern

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return self.handshake == other.handshake and self.modern == other.modern

    __hash__ = None  # type: ignore[assignment]  # a mutable value

    @classmethod
    def read(cls, path: Path, key: str) -> Snapshot | None:
        """The snapshot kept at `path` under `key`; None when it is missing, another's, or not whole."""
        try:
            kept = json.loads(path.read_bytes())
            if kept["key"] != key:
                return None
            handshake, modern = kept["handshake"], kept["modern"]
            whole = [isinstance(by_method["initialize"], dict) for by_method in handshake.values()]
            whole += [isinstance(by_method[DISCOVER], dict) for by_method in modern.values()]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return cls(handshake, modern) if handshake and modern and all(whole) else None

    def write(self, path: Path, key: str) -> None:
        """Keep it at `path`, whole or not at all, readable by its owner. Raises OSError."""
        text = json.dumps({"key": key, "handshake": self.handshake, "modern": self.modern})
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)

    def discover(self, params: Any) -> Json:
        """The body of the answer to ``server/discover``: a result, or the error that the SDK would give."""
        meta = params.get("_meta") if isinstance(params, dict) else None
        if not isinstance(meta, dict) or VERSION_KEY not in meta:
            # A request of the handshake era, which has no such method; clients then send `initialize`.
            return error_body(METHOD_NOT_FOUND, "Method not found", DISCOVER)
        version = meta[VERSION_KEY]
        if not isinstance(version, str) or not isinstance(meta.get(CAPABILITIES_KEY), dict):
            return error_body(
                INVALID_PARAMS,
                f"params._meta must carry the envelope keys {VERSION_KEY!r} and {CAPABILITIES_KEY!r}",
            )
        if version not in self.modern:
            data = {"supported": list(self.modern), "requested": version}
            return error_body(UNSUPPORTED_VERSION, "Unsupported protocol version", data)
        return {"result": self.modern[version][DISCOVER]}

    def initialize(self, params: Mapping[str, Any]) -> tuple[str, Json] | None:
        """The negotiated version and the result; None when the SDK might refuse these params."""
        requested, client = params.get("protocolVersion"), params.get("clientInfo")
        if not isinstance(requested, str) or not isinstance(params.get("capabilities"), dict):
            return None
        if not isinstance(client, dict) or not all(isinstance(client.get(key), str) for key in ("name", "version")):
            return None
        version = requested if requested in self.handshake else list(self.handshake)[-1]
        return version, self.handshake[version]["initialize"]


def snapshot_path(cache_dir: Path, key: str) -> Path:
    """Where the snapshot of `key` is kept. The file holds the key, so two that share a name do no harm."""
    return cache_dir / f"front-{zlib.crc32(key.encode()):08x}.json"


def keep_snapshot(snapshot: Snapshot, path: Path, key: str) -> None:
    """Write `snapshot`, and remove the oldest beside it beyond `SNAPSHOTS_KEPT`. Raises OSError."""
    snapshot.write(path, key)
    kept = sorted(path.parent.glob("front-*.json*"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in kept[SNAPSHOTS_KEPT:]:
        file.unlink(missing_ok=True)
