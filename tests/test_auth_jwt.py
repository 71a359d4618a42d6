"""JWTs: those of the configured issuer for this server are taken, and nothing else that looks like one."""

import asyncio
import hashlib
import hmac
import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth_doors import AUDIENCE, ISSUER, NOW, Clock, b64, claims, jwk, jwks, pem, private_key, signed, written
from backscroll.access import Access
from backscroll.auth.jwts import MAX_CHARS
from backscroll.auth.refusal import Refusal
from backscroll.auth.verifying import Verifier
from backscroll.config import Settings, load_settings
from backscroll.errors import ConfigError
from backscroll.store import Store
from backscroll.store.opening import open_store
from hunting import examples

KEYS = ("k1", "k2", "e1")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(*KEYS))
    return path


@pytest.fixture
def chosen(keys_file: Path) -> Settings:
    return Settings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwks=str(keys_file))


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def verifier(store: Store, chosen: Settings, clock: Clock) -> Verifier:
    return Verifier(store.tokens, chosen, now=clock)


def with_settings(store: Store, chosen: Settings, **more: Any) -> Verifier:
    return Verifier(store.tokens, Settings.model_validate({**chosen.model_dump(), **more}), now=Clock(NOW))


@pytest.mark.parametrize(("key", "algorithm"), [("k1", "RS256"), ("k2", "RS256"), ("e1", "ES256")])
async def test_a_token_of_the_issuer_lets_its_user_in(verifier: Verifier, key: str, algorithm: str) -> None:
    found = await verifier.verify(signed(key, algorithm, scope="read write openid"))
    assert found is not None
    assert (found.user_id, set(found.scopes)) == ("ada", {"read", "write"})
    assert found.token_id is not None
    assert found.token_id.startswith("jwt-")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        ("k1", "RS384"),
        ("k1", "RS512"),
        ("k1", "PS256"),
        ("k1", "PS384"),
        ("k1", "PS512"),
        ("f1", "ES384"),
        ("o1", "EdDSA"),
    ],
)
async def test_other_algorithms_are_taken_where_they_are_allowed(
    store: Store, chosen: Settings, keys_file: Path, key: str, algorithm: str
) -> None:
    keys_file.write_bytes(jwks(key))
    token = signed(key, algorithm)
    assert await with_settings(store, chosen).examine(token) is Refusal.ALGORITHM
    assert await with_settings(store, chosen, jwt_algorithms=algorithm).verify(token) is not None


async def test_opaque_tokens_and_jwts_come_through_one_door(store: Store, verifier: Verifier) -> None:
    assert await verifier.examine("bks_" + "A" * 64) is Refusal.UNKNOWN
    assert isinstance(await verifier.examine(signed()), Access)
    assert await Verifier(store.tokens, Settings()).examine(signed()) is Refusal.NOT_CONFIGURED


# Who signed it


async def test_a_changed_token_is_refused(verifier: Verifier) -> None:
    header, payload, signature = signed().split(".")
    forged = b64(json.dumps(claims(sub="eve")).encode())
    assert await verifier.examine(f"{header}.{forged}.{signature}") is Refusal.SIGNATURE
    assert await verifier.examine(f"{header}.{payload}.{'A' * len(signature)}") is Refusal.SIGNATURE
    assert await verifier.verify(f"{header}.{payload}.") is None
    assert await verifier.verify(f"{header}.{payload}") is None


async def test_a_token_signed_by_a_stranger_in_the_name_of_a_key_is_refused(verifier: Verifier) -> None:
    assert await verifier.examine(signed("k9", header={"kid": "k1"})) is Refusal.SIGNATURE
    assert await verifier.examine(signed("k2", header={"kid": "k1"})) is Refusal.SIGNATURE
    assert await verifier.examine(signed("k9")) is Refusal.KEY


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, ["RS256"], {"RS256": 1}, True])
async def test_a_token_without_a_signature_is_refused(verifier: Verifier, name: object) -> None:
    for header in ({"alg": name, "kid": "k1"}, {"alg": name}, {"kid": "k1"}):
        for signature in (b"", b"x"):
            assert await verifier.examine(written(header, claims(), signature)) is Refusal.ALGORITHM


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_no_shared_secret(verifier: Verifier, algorithm: str) -> None:
    body = written({"alg": algorithm, "typ": "JWT", "kid": "k1"}, claims()).rpartition(".")[0]
    for secret in (pem(), pem().strip(), json.dumps(jwk()).encode()):
        signature = hmac.digest(secret, body.encode(), getattr(hashlib, f"sha{algorithm[2:]}"))
        assert await verifier.examine(f"{body}.{b64(signature)}") is Refusal.ALGORITHM


async def test_a_published_shared_secret_proves_nothing(store: Store, chosen: Settings, keys_file: Path) -> None:
    secret = b"s" * 32
    keys_file.write_bytes(jwks({"kty": "oct", "kid": "k1", "k": b64(secret), "alg": "HS256"}))
    verifier = with_settings(store, chosen)
    token = jwt.encode(claims(), secret, "HS256", headers={"kid": "k1"})
    assert await verifier.examine(token) is Refusal.ALGORITHM
    body = written({"alg": "RS256", "kid": "k1"}, claims()).rpartition(".")[0]
    assert await verifier.examine(f"{body}.{b64(hmac.digest(secret, body.encode(), 'sha256'))}") is Refusal.KEY


@pytest.mark.parametrize(
    "more",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"alg": "RSA-OAEP"},
        {"alg": ["RS256"]},
        {"kty": "EC"},
        {"kty": "oct"},
        {"kty": None},
        {"n": None},
        {"n": 5},
        {"e": "AQ"},
        {"kid": 7},
        {"kid": None},
    ],
    ids=str,
)
async def test_a_key_of_another_kind_or_use_proves_nothing(
    store: Store, chosen: Settings, keys_file: Path, more: dict[str, Any]
) -> None:
    keys_file.write_bytes(jwks(jwk("k1", **more), "k2"))
    assert await with_settings(store, chosen).examine(signed("k1")) is Refusal.KEY


async def test_a_key_may_say_what_it_is_for(store: Store, chosen: Settings, keys_file: Path) -> None:
    keys_file.write_bytes(jwks(jwk("k1", alg="RS256", key_ops=["verify"], use=None)))
    assert await with_settings(store, chosen).verify(signed("k1")) is not None


async def test_a_short_key_proves_nothing(store: Store, chosen: Settings, keys_file: Path) -> None:
    keys_file.write_bytes(jwks("small1"))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = signed("small1")
    assert await with_settings(store, chosen).examine(token) is Refusal.KEY


async def test_a_token_that_names_no_key_is_taken_where_but_one_fits(
    store: Store, chosen: Settings, keys_file: Path
) -> None:
    nameless = signed("k1", header={"kid": None})
    assert await with_settings(store, chosen).examine(nameless) is Refusal.KEY
    assert await with_settings(store, chosen).verify(signed("e1", "ES256", header={"kid": None})) is not None
    keys_file.write_bytes(jwks(jwk("k1", kid=None), "e1"))
    assert await with_settings(store, chosen).verify(nameless) is not None


async def test_two_keys_of_one_name_are_none(store: Store, chosen: Settings, keys_file: Path) -> None:
    keys_file.write_bytes(jwks("k1", jwk("k2", kid="k1"), jwk("e1", kid="k1")))
    assert await with_settings(store, chosen).examine(signed("k1")) is Refusal.KEY
    # Of one name, but of another type (RFC 7517, 4.5).
    assert await with_settings(store, chosen).verify(signed("e1", "ES256", header={"kid": "k1"})) is not None


async def test_keys_that_a_token_brings_along_are_not_used(verifier: Verifier) -> None:
    for header in (
        {"kid": "k9", "jwk": jwk("k9")},
        {"kid": "k1", "jwk": jwk("k9")},
        {"kid": "k9", "jku": "http://127.0.0.1:1/jwks.json"},
        {"kid": "k9", "x5u": "http://127.0.0.1:1/x.pem"},
        {"kid": "k9", "x5c": ["MIIB"]},
        {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"kid": "x" * 1000},
    ):
        assert await verifier.verify(signed("k9", header=header)) is None
    # They do no harm where the key is the issuer's.
    assert await verifier.verify(signed("k1", header={"jku": "http://127.0.0.1:1/", "x5c": []})) is not None


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"typ": "dpop+jwt"},
        {"typ": "logout+jwt"},
    ],
    ids=str,
)
async def test_a_header_that_asks_for_what_is_not_understood_is_refused(
    verifier: Verifier, header: dict[str, Any]
) -> None:
    token = written({"alg": "RS256", "kid": "k1", **header}, claims())
    body = token.rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("RS256").sign(body.encode(), private_key("k1"))
    assert await verifier.examine(f"{body}.{b64(signature)}") is Refusal.MALFORMED


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+JWT", None])
async def test_access_tokens_may_say_that_they_are_such(verifier: Verifier, kind: str | None) -> None:
    assert await verifier.verify(signed(header={"typ": kind or ""})) is not None


# What it says

WRONG: list[tuple[dict[str, Any], Refusal]] = [
    ({"iss": "https://issuer.example"}, Refusal.ISSUER),
    ({"iss": "https://evil.example/"}, Refusal.ISSUER),
    ({"iss": ISSUER.upper()}, Refusal.ISSUER),
    ({"iss": None}, Refusal.ISSUER),
    ({"aud": "https://other.example/mcp"}, Refusal.AUDIENCE),
    ({"aud": f"{AUDIENCE}/"}, Refusal.AUDIENCE),
    ({"aud": [f"{AUDIENCE}x", "https://other.example"]}, Refusal.AUDIENCE),
    ({"aud": []}, Refusal.AUDIENCE),
    ({"aud": {AUDIENCE: 1}}, Refusal.AUDIENCE),
    ({"aud": None}, Refusal.AUDIENCE),
    ({"exp": None}, Refusal.CLAIMS),
    ({"exp": "tomorrow"}, Refusal.CLAIMS),
    ({"exp": True}, Refusal.CLAIMS),
    ({"exp": [NOW + 60]}, Refusal.CLAIMS),
    ({"exp": float("nan")}, Refusal.CLAIMS),
    ({"exp": float("inf")}, Refusal.CLAIMS),
    ({"exp": 10**400}, Refusal.CLAIMS),
    ({"exp": NOW - 30}, Refusal.EXPIRED),
    ({"exp": -(2**40)}, Refusal.EXPIRED),
    ({"nbf": NOW + 31}, Refusal.NOT_YET),
    ({"nbf": "now"}, Refusal.CLAIMS),
    ({"iat": NOW + 31}, Refusal.NOT_YET),
    ({"iat": False}, Refusal.CLAIMS),
    ({"sub": None}, Refusal.CLAIMS),
    ({"sub": ""}, Refusal.CLAIMS),
    ({"sub": " \t"}, Refusal.CLAIMS),
    ({"sub": "a\nb"}, Refusal.CLAIMS),
    ({"sub": "a\0"}, Refusal.CLAIMS),
    ({"sub": "\ud800"}, Refusal.CLAIMS),
    ({"sub": "x" * 257}, Refusal.CLAIMS),
    ({"scope": None}, Refusal.SCOPE),
    ({"scope": ""}, Refusal.SCOPE),
    ({"scope": "openid profile"}, Refusal.SCOPE),
    ({"scope": "READ"}, Refusal.SCOPE),
    ({"scope": "read,write"}, Refusal.SCOPE),
    ({"scope": {"read": True}}, Refusal.SCOPE),
    ({"scope": [["read"]]}, Refusal.SCOPE),
    ({"scope": 7}, Refusal.SCOPE),
]


@pytest.mark.parametrize(("changed", "refusal"), WRONG, ids=[str(changed)[:40] for changed, _ in WRONG])
async def test_a_claim_that_is_not_as_it_must_be_refuses_the_token(
    verifier: Verifier, changed: dict[str, Any], refusal: Refusal
) -> None:
    token = signed(**changed)
    assert await verifier.examine(token) is refusal
    assert await verifier.verify(token) is None


@pytest.mark.parametrize("subject", [7, ["ada"], {"id": "ada"}, True], ids=str)
async def test_a_user_is_text(verifier: Verifier, subject: object) -> None:
    header, _, _ = signed().split(".")
    body = f"{header}.{b64(json.dumps(claims(sub=subject)).encode())}"
    signature = jwt.get_algorithm_by_name("RS256").sign(body.encode(), private_key("k1"))
    assert await verifier.examine(f"{body}.{b64(signature)}") is Refusal.CLAIMS


@pytest.mark.parametrize(
    "payload", [b"[]", b"7", b"null", b"{", b"\xff", b'"x"', b"[" * 5000], ids=lambda b: str(b[:6])
)
async def test_claims_that_are_no_object_are_refused(verifier: Verifier, payload: bytes) -> None:
    body = f"{signed().split('.')[0]}.{b64(payload)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(body.encode(), private_key("k1"))
    assert await verifier.examine(f"{body}.{b64(signature)}") is Refusal.MALFORMED


async def test_clocks_may_differ_by_the_leeway(store: Store, chosen: Settings, verifier: Verifier) -> None:
    late, early = signed(exp=NOW - 29.9), signed(nbf=NOW + 29.9, iat=NOW + 29.9)
    assert await verifier.verify(late) is not None
    assert await verifier.verify(early) is not None
    strict = with_settings(store, chosen, jwt_leeway_s=0)
    assert await strict.examine(late) is Refusal.EXPIRED
    assert await strict.examine(early) is Refusal.NOT_YET
    assert await strict.examine(signed(exp=NOW)) is Refusal.EXPIRED


async def test_a_token_ends_while_the_server_runs(verifier: Verifier, clock: Clock) -> None:
    token = signed(exp=NOW + 60)
    assert await verifier.verify(token) is not None
    clock.at = NOW + 90
    assert await verifier.examine(token) is Refusal.EXPIRED


async def test_of_several_audiences_one_must_be_this_server(verifier: Verifier) -> None:
    assert await verifier.verify(signed(aud=[AUDIENCE, "https://issuer.example/userinfo"])) is not None


@pytest.mark.parametrize("scope", ["read act-as", ["read", "act-as", 7, None, "x"], "  read  act-as "], ids=str)
async def test_scopes_are_words_or_a_list(verifier: Verifier, scope: object) -> None:
    found = await verifier.verify(signed(scope=scope))
    assert found is not None
    assert found.scopes == {"read", "act-as"}


async def test_user_and_scopes_are_read_from_the_claims_that_are_set(store: Store, chosen: Settings) -> None:
    verifier = with_settings(store, chosen, jwt_user_claim="email", jwt_scope_claim="scp")
    found = await verifier.verify(signed(email="ada@example.org", scp=["write"], scope="act-as"))
    assert found is not None
    assert (found.user_id, set(found.scopes)) == ("ada@example.org", {"write"})
    assert await verifier.examine(signed(scp="read")) is Refusal.CLAIMS


async def test_a_token_has_one_name_in_logs_however_its_signature_is_written(verifier: Verifier) -> None:
    first, second = signed("e1", "ES256"), signed("e1", "ES256")
    assert first != second  # ECDSA draws at random
    names = [access.token_id for access in (await verifier.verify(first), await verifier.verify(second)) if access]
    assert len(names) == 2
    assert len(set(names)) == 1
    other = await verifier.verify(signed("e1", "ES256", jti="2"))
    assert other is not None
    assert other.token_id not in names
    assert all(name is not None and name.removeprefix("jwt-") not in first for name in names)


# Whatever a stranger sends


@pytest.fixture
def open_verifier(url: str, loop: asyncio.Runner, chosen: Settings) -> Iterator[Verifier]:
    """On `loop`, for property tests."""
    opened = loop.run(open_store(url))
    yield Verifier(opened.tokens, chosen, now=Clock(NOW))
    loop.run(opened.close())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "cty", "zip", "enc", "x5c"])
headers = st.dictionaries(names, json_values | st.sampled_from(["RS256", "ES256", "k1", "none", "JWT"]), max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.text(alphabet=string.ascii_letters + ".-_=\0é\ud800")))
def test_any_text_is_refused(loop: asyncio.Runner, open_verifier: Verifier, text: str) -> None:
    for sent in (text, f"eyJhbGciOiJSUzI1NiJ9.{text}", f"{text}.{text}.{text}"):
        assert loop.run(open_verifier.verify(sent)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers | json_values, json_values, st.binary(max_size=300))
def test_any_header_and_any_claims_are_refused(
    loop: asyncio.Runner, open_verifier: Verifier, header: object, payload: object, signature: bytes
) -> None:
    for given_header in (header, {"alg": "RS256", "kid": "k1"}, {"alg": "ES256", "kid": "e1"}):
        assert isinstance(loop.run(open_verifier.examine(written(given_header, payload, signature))), Refusal)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50))
@given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "scope"]), json_values))
def test_any_claims_that_the_issuer_signs_raise_nothing(
    loop: asyncio.Runner, open_verifier: Verifier, changed: dict[str, Any]
) -> None:
    body = written({"alg": "ES256", "kid": "e1"}, {**claims(), **changed}).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("ES256").sign(body.encode(), private_key("e1"))
    assert isinstance(loop.run(open_verifier.examine(f"{body}.{b64(signature)}")), Access | Refusal)


async def test_a_token_has_a_longest_length(verifier: Verifier) -> None:
    room = MAX_CHARS * 3 // 4 - 1_000
    fitting, too_long = signed(groups="g" * room), signed(groups="g" * (room + 1_000))
    assert len(fitting) <= MAX_CHARS < len(too_long)
    assert await verifier.verify(fitting) is not None
    assert await verifier.examine(too_long) is Refusal.MALFORMED
    for huge in ("a." * 10**6, "a" * 10**7, f"{'a' * 10**6}.{'b' * 10**6}.{'c' * 10**6}"):
        assert await verifier.examine(huge) is Refusal.MALFORMED


# Settings


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("jwt_algorithms", "none", "proves nothing"),
        ("jwt_algorithms", "RS256,NONE", "proves nothing"),
        ("jwt_algorithms", "HS256", "can make one"),
        ("jwt_algorithms", "RS256, hs512", "can make one"),
        ("jwt_algorithms", "RS1", "unknown"),
        ("jwt_algorithms", ",", "one algorithm"),
        ("jwks", "http://issuer.example/jwks.json", "https"),
        ("jwks", "http://localhost.evil.example/", "https"),
        ("jwks", "http://127.0.0.1@evil.example/", "https"),
        ("jwks", "ftp://issuer.example/jwks.json", "https"),
        ("jwks", "https://", "https"),
        ("jwks", "http://[::1", "https"),
        ("jwt_leeway_s", "301", "300"),
    ],
)
def test_a_setting_that_would_prove_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"BACKSCROLL_{name.upper()}", value)
    with pytest.raises(ConfigError, match=f"BACKSCROLL_{name.upper()}.*{told}"):
        load_settings()


@pytest.mark.parametrize(
    "place", ["https://issuer.example/jwks", "http://127.0.0.1:1/jwks", "http://[::1]:80/", "keys.json"]
)
def test_keys_may_come_from_a_file_https_or_this_machine(place: str) -> None:
    assert Settings(jwks=place).jwks == place


def test_algorithms_may_be_a_list() -> None:
    assert Settings.model_validate({"jwt_algorithms": ["ES256", "EdDSA"]}).jwt_algorithms == "ES256,EdDSA"


@pytest.mark.parametrize("missing", ["jwt_issuer", "jwt_audience", "jwks"])
async def test_half_of_the_settings_is_a_clear_error(store: Store, chosen: Settings, missing: str) -> None:
    with pytest.raises(ConfigError, match=f"BACKSCROLL_{missing.upper()} must be set too"):
        with_settings(store, chosen, **{missing: None})
