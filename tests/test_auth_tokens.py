"""Opaque access tokens: who holds one is let in as its user, and nobody else."""

import asyncio
import base64
import os
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth_doors import NOW, Clock
from backscroll.access import SCOPES, Access, Scope
from backscroll.auth import keeping, opaque
from backscroll.auth.grants import chosen_scopes, lifetime
from backscroll.auth.metadata import metadata_path, metadata_url, protected_resource
from backscroll.auth.refusal import Refusal
from backscroll.auth.verifying import Verifier
from backscroll.config import Settings
from backscroll.errors import Conflict, InvalidArgument, NotFound
from backscroll.redaction.finding import secrets_in
from backscroll.store import Store
from backscroll.store.opening import open_store
from backscroll.store.tokens import StoredToken
from builders import bytes_of
from cli_doors import ok, ok_json, program

THEN = datetime.fromtimestamp(NOW, UTC)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def verifier(store: Store, clock: Clock) -> Verifier:
    return Verifier(store.tokens, Settings(), now=clock)


@pytest.fixture
def open_verifier(url: str, loop: asyncio.Runner) -> Iterator[Verifier]:
    """On `loop`, for property tests."""
    opened = loop.run(open_store(url))
    yield Verifier(opened.tokens, Settings(), now=Clock(NOW))
    loop.run(opened.close())


async def a_token(
    store: Store, user: str = "ada", scopes: str = "read,write", lasting: timedelta | None = DAY
) -> tuple[str, str]:
    token, its = await keeping.create(store.tokens, user, chosen_scopes(scopes), lasting, now=THEN)
    return token, its.token_id


async def test_a_token_lets_its_user_in_with_its_scopes(store: Store, verifier: Verifier) -> None:
    token, token_id = await a_token(store)
    assert await verifier.verify(token) == Access("ada", frozenset({"read", "write"}), token_id)


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_token_has_no_scope_but_those_it_was_given(store: Store, verifier: Verifier, scope: Scope) -> None:
    token, _ = await a_token(store, scopes=scope)
    found = await verifier.verify(token)
    assert found is not None
    assert found.scopes == {scope}


@pytest.mark.parametrize("user", ["ada", "Åda Lövelace", "ada@example.org", "日本 🙂", "auth0|1234", "x" * 256])
async def test_any_name_that_can_be_printed_may_have_a_token(store: Store, verifier: Verifier, user: str) -> None:
    token, _ = await a_token(store, user)
    found = await verifier.verify(token)
    assert found is not None
    assert found.user_id == user


@pytest.mark.parametrize("user", ["", "  ", "a\nb", "a\0b", "\ud800", "a\u202eb", "x" * 257])
async def test_what_can_be_no_name_gets_no_token(store: Store, user: str) -> None:
    with pytest.raises(InvalidArgument, match="user's name"):
        await a_token(store, user)
    assert await keeping.listed(store.tokens, None, now=THEN) == []


async def test_tokens_are_of_one_length_and_never_the_same(store: Store) -> None:
    tokens = {(await a_token(store))[0] for _ in range(50)}
    assert len(tokens) == 50
    assert {len(token) for token in tokens} == {68}
    assert all(set(token) <= set(string.ascii_letters + string.digits + "-_") for token in tokens)


async def test_the_database_does_not_hold_what_opens_it(url: str, database: Path) -> None:
    opened = await open_store(url)
    token, token_id = await a_token(opened)
    await opened.close()
    held = bytes_of(database)
    assert token_id.encode() in held
    secret = base64.urlsafe_b64decode(token.removeprefix("bks_"))[-24:]
    for form in (token.encode(), token[-32:].encode(), secret, secret.hex().encode()):
        assert form not in held


async def test_a_wrong_secret_is_refused_wherever_it_differs(store: Store, verifier: Verifier) -> None:
    token, _ = await a_token(store)
    for at in range(4, len(token)):
        other = "A" if token[at] != "A" else "B"
        assert await verifier.examine(token[:at] + other + token[at + 1 :]) is Refusal.UNKNOWN, at
    assert await verifier.verify(token) is not None


async def test_one_users_token_under_another_users_tag_is_unknown(store: Store, verifier: Verifier) -> None:
    adas, _ = await a_token(store, "ada")
    bobs, _ = await a_token(store, "bob")
    # The tag is 16 bytes: cut where signs and bytes meet.
    mixed = bytes(base64.urlsafe_b64decode(bobs[4:])[:16]) + base64.urlsafe_b64decode(adas[4:])[16:]
    assert await verifier.examine("bks_" + base64.urlsafe_b64encode(mixed).decode()) is Refusal.UNKNOWN


async def test_a_token_of_another_database_is_unknown(store: Store, verifier: Verifier, tmp_path: Path) -> None:
    other = await open_store(f"sqlite:///{tmp_path}/other.db")
    token, _ = await a_token(other)
    assert await Verifier(other.tokens, Settings(), now=Clock(NOW)).verify(token) is not None
    assert await verifier.examine(token) is Refusal.UNKNOWN
    await other.close()


async def test_a_token_ends_to_the_millisecond(store: Store, verifier: Verifier, clock: Clock) -> None:
    token, _ = await a_token(store, lasting=timedelta(seconds=90))
    clock.at = NOW + 89.999
    assert await verifier.verify(token) is not None
    clock.at = NOW + 90
    assert await verifier.examine(token) is Refusal.EXPIRED
    assert await verifier.verify(token) is None


async def test_a_token_that_never_expires_does_not(store: Store, verifier: Verifier, clock: Clock) -> None:
    token, _ = await a_token(store, lasting=None)
    clock.at = NOW + 1e9
    assert await verifier.verify(token) is not None


async def test_a_revoked_token_is_refused_and_others_are_not(store: Store, verifier: Verifier) -> None:
    token, token_id = await a_token(store)
    other, _ = await a_token(store)
    its, first = await keeping.revoke(store.tokens, token_id, now=THEN)
    assert (its.state, its.revoked_at, first) == ("revoked", THEN, True)
    assert await verifier.examine(token) is Refusal.REVOKED
    assert await verifier.verify(other) is not None


async def test_to_revoke_again_leaves_the_first_time_standing(store: Store) -> None:
    _, token_id = await a_token(store)
    await keeping.revoke(store.tokens, token_id, now=THEN)
    its, first = await keeping.revoke(store.tokens, token_id, now=THEN + DAY)
    assert (its.revoked_at, first) == (THEN, False)


async def test_only_who_has_the_secret_learns_that_a_token_ended(store: Store, verifier: Verifier) -> None:
    token, token_id = await a_token(store)
    await keeping.revoke(store.tokens, token_id, now=THEN)
    assert await verifier.examine(token[:-1] + ("A" if token[-1] != "A" else "B")) is Refusal.UNKNOWN


async def test_what_no_token_has_cannot_be_revoked(store: Store) -> None:
    with pytest.raises(NotFound, match="token list"):
        await keeping.revoke(store.tokens, "nix", now=THEN)


async def test_another_process_refuses_a_token_from_the_request_after_it_was_revoked(
    store: Store, verifier: Verifier, database: Path
) -> None:
    token, token_id = await a_token(store)
    assert await verifier.verify(token) is not None
    done = await asyncio.to_thread(program, "--db", str(database), "token", "revoke", token_id)
    assert done.returncode == 0, done.stderr
    assert await verifier.examine(token) is Refusal.REVOKED


async def test_a_token_that_another_process_makes_is_good_at_once(
    store: Store, verifier: Verifier, database: Path, clock: Clock
) -> None:
    made = await asyncio.to_thread(ok_json, database, "token", "create", "--user", "ada", "--scope", "read")
    clock.at = datetime.fromisoformat(made["expires_at"]).timestamp() - 1
    assert await verifier.verify(made["token"]) == Access("ada", frozenset({"read"}), made["token_id"])
    await asyncio.to_thread(ok, database, "token", "revoke", made["token_id"])
    assert await verifier.verify(made["token"]) is None


async def test_tokens_are_listed_newest_first_for_one_user_or_all(store: Store) -> None:
    for number, user in enumerate(["ada", "bob", "ada"]):
        lasting = timedelta(hours=1) if number == 0 else None
        await keeping.create(store.tokens, user, chosen_scopes("read"), lasting, now=THEN + number * DAY)
    every = await keeping.listed(store.tokens, None, now=THEN + 5 * DAY)
    assert [(its.user, its.state) for its in every] == [("ada", "valid"), ("bob", "valid"), ("ada", "expired")]
    assert await keeping.listed(store.tokens, "bob", now=THEN + 5 * DAY) == [every[1]]
    assert await keeping.listed(store.tokens, "eve", now=THEN) == []


async def test_an_id_is_given_once(store: Store) -> None:
    _, stored = opaque.made("ada", ("read",), None, now=THEN)
    await store.tokens.add(stored)
    with pytest.raises(Conflict):
        await store.tokens.add(stored)
    with pytest.raises(Conflict):
        await store.tokens.add(stored._replace(user_id="bob"))


async def test_scopes_of_a_later_version_grant_nothing_here(store: Store, verifier: Verifier) -> None:
    for scopes, seen in (("read shred", frozenset[Scope]({"read"})), ("shred", None)):
        token, stored = opaque.made("ada", (), None, now=THEN)
        await store.tokens.add(StoredToken(*stored)._replace(scopes=scopes))
        found = await verifier.verify(token)
        assert (found and found.scopes) == seen


def test_every_token_is_redacted_where_it_is_recorded() -> None:
    for number in range(300):
        token, _ = opaque.made(f"user-{number}", ("read",), None, now=THEN)
        for place in ("{}", "Authorization: Bearer {}", '{{"BACKSCROLL_TOKEN": "{}"}}', "curl -H 'x: {}'"):
            assert token in {secret.value for secret in secrets_in(place.format(token))}, place


def test_a_token_that_looks_like_an_example_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([bytes(range(8)), base64.urlsafe_b64decode("your" * 8)])
    real = os.urandom
    monkeypatch.setattr(os, "urandom", lambda size: next(drawn, None) or real(size))
    token, _ = opaque.made("ada", ("read",), None, now=THEN)
    assert next(drawn, None) is None
    assert "your" not in token
    assert [found.value for found in secrets_in(token)] == [token]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.text(alphabet="bks_-AZ09.\0é\ud800"), st.binary().map(lambda b: b.decode("latin-1"))))
def test_whatever_else_is_sent_is_refused(loop: asyncio.Runner, open_verifier: Verifier, text: str) -> None:
    for sent in (text, f"bks_{text}"):
        assert loop.run(open_verifier.verify(sent)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=string.ascii_letters + string.digits + "-_", min_size=64, max_size=64))
def test_whatever_has_the_form_of_a_token_is_unknown(loop: asyncio.Runner, open_verifier: Verifier, text: str) -> None:
    assert loop.run(open_verifier.examine(f"bks_{text}")) is Refusal.UNKNOWN


@pytest.mark.parametrize("size", [10**6, 10**7])
async def test_a_huge_text_is_refused(verifier: Verifier, size: int) -> None:
    for text in ("a" * size, "bks_" + "a" * size, "." * size, "a." * (size // 2), "\0" * size):
        assert await verifier.verify(text) is None


@pytest.mark.parametrize(
    ("text", "length"), [("90d", 90 * DAY), ("12h", DAY / 2), ("30m", DAY / 48), ("45s", DAY / 1920), ("never", None)]
)
def test_a_life_is_told_in_seconds_minutes_hours_or_days(text: str, length: timedelta | None) -> None:
    assert lifetime(text) == length


@pytest.mark.parametrize("text", ["", "90", "0d", "-1d", "1w", "1.5d", "d", "36501d", "999999999999d", "Never", "٣d"])
def test_any_other_life_is_refused_with_what_it_may_be(text: str) -> None:
    with pytest.raises(InvalidArgument, match="90d"):
        lifetime(text)


def test_clients_learn_who_gives_tokens() -> None:
    resource = "https://memory.example/mcp"
    with_issuer = Settings(jwt_issuer="https://issuer.example/", jwt_audience=resource, jwks="keys.json")
    assert protected_resource(resource, with_issuer) == {
        "resource": resource,
        "authorization_servers": ["https://issuer.example/"],
        "scopes_supported": ["read", "write", "delete", "act-as"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Backscroll",
    }
    assert "authorization_servers" not in protected_resource(resource, Settings())
    assert metadata_path(resource) == "/.well-known/oauth-protected-resource/mcp"
    assert metadata_url("https://memory.example:8443/") == (
        "https://memory.example:8443/.well-known/oauth-protected-resource"
    )
