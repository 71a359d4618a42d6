"""Published keys (RFC 7517): which of them may prove a signature, and which one a token means."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from ..signing import ALGORITHMS

MAX_KEYS = 100
MIN_RSA_BITS = 2048
"""RFC 7518, 3.3: smaller ones must not be used."""

# What of a key is public. A private part that was published by mistake is left out, not used.
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")


@dataclass(frozen=True, slots=True)
class Key:
    kid: str | None
    algorithms: frozenset[str]
    """Those it may be used with: its own `alg`, or all that its type fits."""
    public: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    keys: tuple[Key, ...]

    def knows(self, kid: str) -> bool:
        return any(key.kid == kid for key in self.keys)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key that is meant; None where there is none, or where more than one could be.

        A token that names no key is taken where but one fits its algorithm: to try each would let whoever sends
        tokens choose among the keys.
        """
        fitting = [key for key in self.keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        return fitting[0] if len(fitting) == 1 else None


def parsed_keys(document: bytes) -> KeySet:
    """A JWK Set's usable keys; others in it are passed over. Raises ValueError for what is no JWK Set."""
    try:
        content = json.loads(document)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list):
        raise ValueError('no JWK Set: {"keys": [...]}')
    if len(keys) > MAX_KEYS:
        raise ValueError(f"more than {MAX_KEYS} keys")
    return KeySet(tuple(_usable(keys)))


def _usable(keys: Iterable[object]) -> Iterable[Key]:
    for one in keys:
        if not isinstance(one, dict):
            continue
        algorithms = _algorithms(one)
        public = _public(one, algorithms) if algorithms else None
        if public is not None:
            kid = one.get("kid")
            yield Key(kid if isinstance(kid, str) else None, algorithms, public)


def _algorithms(key: Mapping[str, Any]) -> frozenset[str]:
    """What a key may prove: nothing where it is for encrypting, is a shared secret, or says otherwise."""
    if key.get("use", "sig") != "sig":
        return frozenset()
    operations = key.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return frozenset()
    fitting = {
        name
        for name, (kind, curve) in ALGORITHMS.items()
        if key.get("kty") == kind and (curve is None or key.get("crv") == curve)
    }
    return frozenset(fitting if key.get("alg") is None else {name for name in fitting if name == key["alg"]})


def _public(key: Mapping[str, Any], algorithms: frozenset[str]) -> Any:
    """The key as the library has it; None where it is broken or too weak."""
    parts = {name: key[name] for name in _PUBLIC if name in key}
    try:
        public = jwt.PyJWK(parts, min(algorithms)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        # The library looks at the types of some members only.
        return None
    bits: int | None = getattr(public, "key_size", None)
    return None if parts["kty"] == "RSA" and (bits or 0) < MIN_RSA_BITS else public
