"""JWTs that are not good open nothing over real HTTP, and all are told the same, whatever is wrong with them."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from auth_doors import AUDIENCE, ISSUER, b64, claims, jwk, jwks, pem, publishing, signed, written
from http_doors import call_of
from security_doors import SECRET, Guarded, every_way, refused, the_guarded_server, told


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with the_guarded_server(tmp_path_factory.mktemp("jwt")) as running:
        yield running


def sound(**more: Any) -> dict[str, Any]:
    now = time.time()
    return claims(**{"iat": now, "exp": now + 3600, "sub": "ada", "scope": "read write delete", **more})


def keyed_with_the_public_key(algorithm: str = "HS256") -> str:
    """The old confusion: a shared secret that is no secret, the published key."""
    signing = (
        f"{b64(json.dumps({'alg': algorithm, 'kid': 'k1', 'typ': 'JWT'}).encode())}.{b64(json.dumps(sound()).encode())}"
    )
    return f"{signing}.{b64(hmac.new(pem('k1'), signing.encode(), hashlib.sha256).digest())}"


def without_signature(algorithm: object) -> str:
    return written({"alg": algorithm, "typ": "JWT", "kid": "k1"}, sound())


def altered(good: str) -> str:
    """Another user's claims under a good signature."""
    header, _, signature = good.split(".")
    return f"{header}.{b64(json.dumps(sound(sub='bob')).encode())}.{signature}"


BAD: dict[str, Callable[[Guarded], str]] = {
    "expired": lambda to: to.jwt(exp=time.time() - 3600),
    "expired long ago": lambda to: to.jwt(exp=1),
    "not yet valid": lambda to: to.jwt(nbf=time.time() + 3600),
    "issued in the future": lambda to: to.jwt(iat=time.time() + 3600),
    "without an end": lambda to: to.jwt(exp=None),
    "with an end that is text": lambda to: to.jwt(exp="9999999999"),
    "for another audience": lambda to: to.jwt(aud="https://other.example/mcp"),
    "for a longer audience": lambda to: to.jwt(aud=AUDIENCE + "/"),
    "for others too, but not for us": lambda to: to.jwt(aud=["https://other.example/mcp", "https://memory.example"]),
    "for no audience": lambda to: to.jwt(aud=None),
    "of another issuer": lambda to: to.jwt(iss="https://evil.example/"),
    "of nearly the issuer": lambda to: to.jwt(iss=ISSUER.rstrip("/")),
    "of no issuer": lambda to: to.jwt(iss=None),
    "for nobody": lambda to: to.jwt(sub=None),
    "for an empty name": lambda to: to.jwt(sub=""),
    "for a name that is none": lambda to: to.jwt(sub=["ada"]),
    "without a scope": lambda to: to.jwt(scope=None),
    "with scopes that are none of ours": lambda to: to.jwt(scope="admin * READ"),
    "signed by a stranger under our key's id": lambda _: signed("k2", header={"kid": "k1"}, **sound()),
    "signed by a stranger": lambda _: signed("k2", **sound()),
    "with another algorithm": lambda _: signed("e1", "ES256", **sound()),
    "alg=none": lambda _: without_signature("none"),
    "alg=None": lambda _: without_signature("None"),
    "alg=nOnE": lambda _: without_signature("nOnE"),
    "alg empty": lambda _: without_signature(""),
    "alg null": lambda _: without_signature(None),
    "alg a list": lambda _: without_signature(["RS256"]),
    "alg=none with the signature kept": lambda to: without_signature("none") + to.jwt().split(".")[2],
    "a shared secret that is the public key": lambda _: keyed_with_the_public_key(),
    "without its signature": lambda to: to.jwt().rpartition(".")[0] + ".",
    "with half its signature": lambda to: to.jwt()[:-40],
    "with another's claims": lambda to: altered(to.jwt()),
    "that brings its key": lambda _: signed("k2", header={"kid": None, "jwk": jwk("k2")}, **sound()),
    "whose key's id is a path": lambda _: signed("k2", header={"kid": "../../../../dev/null"}, **sound()),
    "whose key's id is SQL": lambda _: signed("k2", header={"kid": "k1' OR '1'='1"}, **sound()),
    "that is another kind of JWT": lambda _: signed(header={"typ": "dpop+jwt"}, **sound()),
    "that must be understood": lambda _: signed(header={"crit": ["exp"], "exp": 1}, **sound()),
    "with five parts": lambda to: to.jwt() + ".x.y",
    "that is too long": lambda to: to.jwt(name="x" * 20_000),
    "whose claims are no object": lambda _: written({"alg": "RS256", "kid": "k1"}, ["ada"], b"x" * 256),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_jwt_that_is_not_good_opens_nothing(guarded: Guarded, name: str) -> None:
    for way, answer in await every_way(guarded, call_of("list_sessions"), BAD[name](guarded)):
        assert answer.status_code == 401, (way, answer.text)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert SECRET not in answer.text and "ada-own" not in answer.text


async def test_all_of_them_are_told_the_same(guarded: Guarded) -> None:
    """And the same as a token that never was: nobody learns how near they came."""
    made_up = "bks_" + "A" * 64
    answers = [await guarded.server.post(call_of("list_sessions"), token=bad(guarded)) for bad in BAD.values()]
    answers.append(await guarded.server.post(call_of("list_sessions"), token=made_up))
    assert len({(answer.status_code, answer.text, answer.headers["www-authenticate"]) for answer in answers}) == 1


async def test_a_good_one_is_its_users_and_opens_no_more_than_its_scope(guarded: Guarded) -> None:
    for way, answer in await every_way(guarded, call_of("list_sessions"), guarded.jwt()):
        assert SECRET in told(answer) or "ada-own" in told(answer), (way, answer.text)
    for way, answer in await every_way(guarded, call_of("list_sessions"), guarded.jwt(sub="bob")):
        assert not refused(answer) and SECRET not in told(answer), way
    before = await guarded.sessions_of("ada")
    for way, answer in await every_way(
        guarded, call_of("delete_session", session_id="ada-own"), guarded.jwt(scope="read")
    ):
        assert refused(answer), (way, answer.text)
    assert await guarded.sessions_of("ada") == before


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_a_key_that_a_jwt_points_to_is_not_even_fetched(guarded: Guarded, header: str) -> None:
    with publishing() as stranger:
        stranger.body = jwks("k2")
        token = signed("k2", header={header: stranger.url}, **sound())
        assert (await guarded.server.post(call_of("list_sessions"), token=token)).status_code == 401
        assert stranger.asked == []
