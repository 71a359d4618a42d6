"""Where keys come from: a file or a URL that changes, fails, comes back, and that strangers cannot wear out."""

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_doors import AUDIENCE, ISSUER, NOW, Clock, Publisher, jwk, jwks, publishing, signed
from backscroll.auth.key_sources import FRESH_S, MAX_BYTES, RETRY_S, STALE_S, KeyUrl
from backscroll.auth.keys import MAX_KEYS, parsed_keys
from backscroll.auth.refusal import Refusal
from backscroll.auth.verifying import Verifier
from backscroll.config import Settings
from backscroll.errors import ConfigError
from backscroll.store import Store

FILE = "keys.json"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setenv("NO_PROXY", "*")
    with publishing() as server:
        yield server


def a_verifier(store: Store, jwks_place: str, clock: Clock) -> Verifier:
    chosen = Settings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwks=jwks_place)
    return Verifier(store.tokens, chosen, now=lambda: NOW, clock=clock)


@pytest.fixture
def asking(store: Store, publisher: Publisher, clock: Clock) -> Verifier:
    """A verifier whose keys come from the publisher."""
    return a_verifier(store, publisher.url, clock)


@pytest.fixture
def reading(store: Store, tmp_path: Path, clock: Clock) -> Verifier:
    """A verifier whose keys come from a file."""
    (tmp_path / FILE).write_bytes(jwks("k1"))
    return a_verifier(store, str(tmp_path / FILE), clock)


async def is_let_in(verifier: Verifier, key: str) -> bool:
    return await verifier.verify(signed(key)) is not None


# A URL


async def test_the_url_is_asked_once_for_many_requests(asking: Verifier, publisher: Publisher) -> None:
    assert all(await asyncio.gather(*(is_let_in(asking, "k1") for _ in range(20))))
    assert len(publisher.asked) == 1


async def test_a_key_that_the_issuer_adds_is_had_when_it_is_first_named(
    asking: Verifier, publisher: Publisher, clock: Clock
) -> None:
    assert await is_let_in(asking, "k1")
    publisher.body = jwks("k1", "k2")
    clock.at += RETRY_S
    assert await is_let_in(asking, "k2")
    assert await is_let_in(asking, "k1")
    assert len(publisher.asked) == 2


async def test_a_key_that_the_issuer_withdraws_proves_nothing_once_the_keys_are_old(
    asking: Verifier, publisher: Publisher, clock: Clock
) -> None:
    assert await is_let_in(asking, "k1")
    publisher.body = jwks("k2")
    clock.at += FRESH_S - 1
    assert await is_let_in(asking, "k1")
    clock.at += 1
    assert await asking.examine(signed("k1")) is Refusal.KEY
    assert await is_let_in(asking, "k2")


async def test_an_issuer_can_withdraw_all_keys(
    asking: Verifier, publisher: Publisher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert await is_let_in(asking, "k1")
    publisher.body = jwks()
    clock.at += FRESH_S
    assert await asking.examine(signed("k1")) is Refusal.KEY
    assert "every JWT is refused" in caplog.text


async def test_keys_of_strangers_make_the_url_be_asked_now_and_then_at_most(
    asking: Verifier, publisher: Publisher, clock: Clock
) -> None:
    forged = [signed("k9", header={"kid": f"forged-{number}"}) for number in range(50)]
    assert await is_let_in(asking, "k1")
    for _ in range(3):
        clock.at += RETRY_S
        assert {await asking.examine(token) for token in forged} == {Refusal.KEY}
        assert await is_let_in(asking, "k1")
    assert len(publisher.asked) == 1 + 3


async def test_many_who_name_an_unknown_key_at_once_share_one_question(
    asking: Verifier, publisher: Publisher, clock: Clock
) -> None:
    assert await is_let_in(asking, "k1")
    publisher.body = jwks("k1", "k2")
    clock.at += RETRY_S
    assert all(await asyncio.gather(*(is_let_in(asking, "k2") for _ in range(20))))
    assert len(publisher.asked) == 2


async def test_what_is_no_jwt_makes_nobody_ask(asking: Verifier, publisher: Publisher) -> None:
    for text in ("", "x", "a.b.c", "bks_" + "A" * 64, signed("e1", "ES256").replace("eyJ", "eyK", 1)):
        assert await asking.verify(text) is None
    assert publisher.asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"oops"),
        (404, b""),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"keys": {}}'),
        (200, b'{"keys": ' + b"[" * 5000),
        (200, b"\xff\xfe\x00"),
        (200, b'{"keys": []}' + b" " * MAX_BYTES),
        (200, json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode()),
        (304, b""),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_fault_of_the_url_leaves_the_keys_for_an_hour(
    asking: Verifier,
    publisher: Publisher,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
) -> None:
    assert await is_let_in(asking, "k1")
    sound = publisher.body
    publisher.status, publisher.body = status, body
    clock.at += STALE_S - 1
    assert await is_let_in(asking, "k1")
    assert "used for an hour at most" in caplog.text
    clock.at += 1
    assert await asking.examine(signed("k1")) is Refusal.UNAVAILABLE
    publisher.status, publisher.body = 200, sound
    assert await asking.examine(signed("k1")) is Refusal.UNAVAILABLE  # not so soon again
    clock.at += RETRY_S
    assert await is_let_in(asking, "k1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(store: Store, publisher: Publisher, clock: Clock, status: int) -> None:
    with publishing() as elsewhere:
        publisher.status, publisher.headers = status, {"Location": elsewhere.url}
        assert await a_verifier(store, publisher.url, clock).examine(signed("k1")) is Refusal.UNAVAILABLE
        assert elsewhere.asked == []
    assert len(publisher.asked) == 1


async def test_a_url_that_does_not_answer_is_left(
    publisher: Publisher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.silent = True
    # Long enough for the request to be sent: the first one loads what speaks HTTP.
    source = KeyUrl(publisher.url, clock=clock, timeout_s=1.5)
    assert await source.keys("k1") is None
    assert await asyncio.to_thread(publisher.left.wait, 5)
    assert "did not answer within 1.5 s" in caplog.text
    assert await source.keys("k1") is None
    assert len(publisher.asked) == 1


async def test_a_caller_who_leaves_has_asked_too(publisher: Publisher, clock: Clock) -> None:
    publisher.silent = True
    source = KeyUrl(publisher.url, clock=clock)
    leaving = await kept_waiting(publisher, source.keys("k1"))
    leaving.cancel()
    await asyncio.wait([leaving])
    assert await source.keys("k1") is None
    assert len(publisher.asked) == 1


async def test_those_who_have_keys_do_not_wait_for_newer_ones(
    asking: Verifier, publisher: Publisher, clock: Clock
) -> None:
    assert await is_let_in(asking, "k1")
    publisher.silent = True
    clock.at += FRESH_S
    slow = await kept_waiting(publisher, is_let_in(asking, "k1"))
    assert await is_let_in(asking, "k1")
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])


async def kept_waiting(publisher: Publisher, request: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A request that has asked the publisher, and waits for its answer."""
    task = asyncio.create_task(request)
    assert await asyncio.to_thread(publisher.keeps_waiting.wait, 5)
    return task


async def test_nobody_answers_at_the_url(store: Store, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with publishing() as gone:
        url = gone.url
    verifier = a_verifier(store, f"{url}?key=hunter2", clock)
    await verifier.check()
    assert await verifier.examine(signed("k1")) is Refusal.UNAVAILABLE
    assert "could not be asked" in caplog.text
    assert "hunter2" not in caplog.text


async def test_the_same_keys_need_not_be_sent_again(asking: Verifier, publisher: Publisher, clock: Clock) -> None:
    publisher.headers = {"ETag": '"1"'}
    assert await is_let_in(asking, "k1")
    publisher.status, publisher.body = 304, b""
    clock.at += STALE_S - 1
    assert await is_let_in(asking, "k1")
    assert [asked.get("if-none-match") for asked in publisher.asked] == [None, '"1"']
    # Had anew: they are as fresh as if they had been sent.
    publisher.status = 500
    clock.at += STALE_S - 1
    assert await is_let_in(asking, "k1")


async def test_the_keys_are_had_before_the_first_request(asking: Verifier, publisher: Publisher) -> None:
    await asking.check()
    assert len(publisher.asked) == 1
    assert await is_let_in(asking, "k1")
    assert len(publisher.asked) == 1


async def test_a_packed_answer_is_not_asked_for_and_not_unpacked(asking: Verifier, publisher: Publisher) -> None:
    publisher.headers = {"Content-Encoding": "gzip"}
    await asking.check()
    assert publisher.asked[0]["accept-encoding"] == "identity"


# A file


async def test_a_file_is_read_again_when_it_changes(reading: Verifier, tmp_path: Path) -> None:
    assert await is_let_in(reading, "k1")
    new = tmp_path / "new.json"
    new.write_bytes(jwks("k2"))
    new.replace(tmp_path / FILE)
    assert await is_let_in(reading, "k2")
    assert await reading.examine(signed("k1")) is Refusal.KEY


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"x" * (MAX_BYTES + 1), None], ids=lambda c: str(c)[:8])
async def test_a_fault_of_the_file_leaves_the_keys_for_an_hour(
    reading: Verifier, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    assert await is_let_in(reading, "k1")
    if content is None:
        (tmp_path / FILE).unlink()
    else:
        (tmp_path / FILE).write_bytes(content)
    clock.at += STALE_S - 1
    assert await is_let_in(reading, "k1")
    assert len(caplog.records) == 1
    clock.at += 1
    assert await reading.examine(signed("k1")) is Refusal.UNAVAILABLE
    (tmp_path / FILE).write_bytes(jwks("k1", "k2"))
    assert await is_let_in(reading, "k1")


@pytest.mark.parametrize(("content", "told"), [(None, "cannot be read"), (b"{", "no JSON"), (b"[]", "no JWK Set")])
async def test_a_file_that_cannot_be_used_is_told_at_start(
    store: Store, tmp_path: Path, clock: Clock, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigError, match=f"BACKSCROLL_JWKS: .*{told}"):
        await a_verifier(store, str(tmp_path / FILE), clock).check()


async def test_a_sound_file_is_checked_in_silence(reading: Verifier, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    await reading.check()
    assert caplog.records == []


# What is published

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y", "d", "k"])
broken = st.dictionaries(fields, anything, min_size=1)


@given(st.binary() | anything.map(lambda value: json.dumps(value).encode()))
def test_any_document_gives_keys_or_a_value_error(document: bytes) -> None:
    try:
        found = parsed_keys(document)
    except ValueError:
        return
    assert found.keys == ()


@given(st.sampled_from(["k1", "e1", "o1"]), broken)
def test_a_broken_key_leaves_the_others(name: str, changed: dict[str, object]) -> None:
    found = parsed_keys(jwks({**jwk(name), **changed}, jwk("k2")))
    assert found.find("k2", "RS256") is not None


def test_a_private_key_that_was_published_serves_as_the_public_one() -> None:
    whole = {**jwk("e1"), "d": "AAAA"}
    (key,) = parsed_keys(jwks(whole)).keys
    assert not hasattr(key.public, "private_bytes")
