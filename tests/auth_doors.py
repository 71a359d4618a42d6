"""An issuer of JWTs: its keys, the tokens that it signs, and where it publishes the keys."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example/"
AUDIENCE = "https://memory.example/mcp"
NOW = 1_790_000_000.0
"""Unix time of the tests."""

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private_key(name: str = "k1") -> Private:
    """One for each name: `k...` of RSA, `small...` of 1024 bits, `e...` on P-256, `f...` on P-384, `o...` Ed25519."""
    if name.startswith("e"):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith("f"):
        return ec.generate_private_key(ec.SECP384R1())
    if name.startswith("o"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 1024 if name.startswith("small") else 2048)


def jwk(name: str = "k1", **more: Any) -> dict[str, Any]:
    """The public key as an issuer publishes it; what is None is left out."""
    public = private_key(name).public_key()
    if isinstance(public, rsa.RSAPublicKey):
        made = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        made = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        made = OKPAlgorithm.to_jwk(public, as_dict=True)
    made.pop("key_ops", None)
    whole = {**made, "kid": name, "use": "sig", **more}
    return {field: value for field, value in whole.items() if value is not None}


def jwks(*keys: str | dict[str, Any]) -> bytes:
    return json.dumps({"keys": [jwk(key) if isinstance(key, str) else key for key in keys]}).encode()


def pem(name: str = "k1") -> bytes:
    return private_key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**more: Any) -> dict[str, Any]:
    """Ada may read, for an hour; what is None is left out."""
    sound = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "scope": "read", "iat": NOW, "exp": NOW + 3600}
    return {name: value for name, value in {**sound, **more}.items() if value is not None}


def signed(key: str = "k1", algorithm: str = "RS256", *, header: dict[str, Any] | None = None, **changed: Any) -> str:
    """A JWT of the issuer. Its header names the key, unless `header` says otherwise (None leaves out)."""
    names = {"kid": key, **(header or {})}
    names = {name: value for name, value in names.items() if value is not None}
    return jwt.encode(claims(**changed), private_key(key), algorithm, headers=names)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def written(header: object, payload: object, signature: bytes = b"") -> str:
    """A token put together by hand: whatever header, whatever signature."""
    return ".".join([*(b64(json.dumps(part).encode()) for part in (header, payload)), b64(signature)])


class Publisher(ThreadingHTTPServer):
    """Where the issuer publishes its keys. It answers what it is told to, and counts who asks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.body = jwks("k1")
        self.headers: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []
        self.silent = False
        self.keeps_waiting = threading.Event()
        """Somebody asked and gets no answer."""
        self.left = threading.Event()
        """Somebody who got no answer waits for none any more."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/jwks.json"


class _Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        told = self.server
        told.asked.append({name.lower(): value for name, value in self.headers.items()})
        if told.silent:
            told.keeps_waiting.set()
            with suppress(ConnectionResetError):
                self.connection.recv(1)
            told.left.set()
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response_only(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def publishing() -> Iterator[Publisher]:
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Clock:
    """Time as the tests say it is, in seconds."""

    def __init__(self, at: float = 1_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at
