"""`backscroll token`: made once, shown once, listed without what opens, revoked by its id."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backscroll.auth.opaque import parsed
from builders import bytes_of
from cli_doors import HOSTILE, at_prompt, ok, ok_json, program


def created(database: Path, *arguments: str) -> dict[str, object]:
    found: dict[str, object] = ok_json(database, "token", "create", *arguments)
    return found


def test_the_token_alone_goes_to_standard_output(database: Path) -> None:
    done = at_prompt(database, "token", "create", "--user", "ada", "--scope", "read,write", "--expires", "90d")
    assert done.exit_code == 0
    token = done.stdout.removesuffix("\n")
    found = parsed(token)
    assert found is not None
    assert token not in done.stderr
    for told in (found.token_id, "ada", "read, write", "not shown again", f"token revoke {found.token_id}"):
        assert told in done.stderr


def test_json_tells_what_the_token_is(database: Path) -> None:
    before = datetime.now(UTC)
    made = created(database, "--user", "ada", "--scope", "delete read", "--expires", "12h")
    assert list(made) == ["token", "token_id", "user", "scopes", "expires_at"]
    found = parsed(str(made["token"]))
    assert found is not None
    assert (made["token_id"], made["user"], made["scopes"]) == (found.token_id, "ada", ["read", "delete"])
    lasts = datetime.fromisoformat(str(made["expires_at"])) - before
    assert timedelta(hours=12) - timedelta(seconds=1) <= lasts <= timedelta(hours=12, minutes=5)


def test_it_may_read_and_write_for_90_days_unless_told_otherwise(database: Path) -> None:
    made = created(database)
    assert (made["user"], made["scopes"]) == ("local", ["read", "write"])
    lasts = datetime.fromisoformat(str(made["expires_at"])) - datetime.now(UTC)
    assert timedelta(days=89) < lasts <= timedelta(days=90)
    assert created(database, "--expires", "never")["expires_at"] is None


def test_the_token_is_shown_once(database: Path) -> None:
    made = created(database, "--user", "ada")
    secret = str(made["token"])[-32:]
    for arguments in (["token", "list"], ["token", "list", "--json"], ["token", "revoke", str(made["token_id"])]):
        done = at_prompt(database, *arguments)
        assert str(made["token_id"]) in done.stdout
        assert secret not in done.output
    assert secret.encode() not in bytes_of(database)


def test_tokens_are_listed_for_every_user_or_one(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adas, bobs = created(database, "--user", "ada"), created(database, "--user", "bob", "--scope", "act-as")
    # Whose sessions are meant says nothing of whose tokens.
    monkeypatch.setenv("BACKSCROLL_USER", "ada")
    listed = ok_json(database, "token", "list")["tokens"]
    assert {(one["token_id"], one["user"]) for one in listed} == {(adas["token_id"], "ada"), (bobs["token_id"], "bob")}
    (only,) = ok_json(database, "token", "list", "--user", "bob")["tokens"]
    assert only == {
        "token_id": bobs["token_id"],
        "user": "bob",
        "scopes": ["act-as"],
        "expires_at": bobs["expires_at"],
        "state": "valid",
        "created_at": only["created_at"],
        "revoked_at": None,
    }
    assert f"{bobs['token_id']}  bob   act-as" in ok(database, "token", "list")


def test_revoked_tokens_are_listed_when_asked_for(database: Path) -> None:
    made = created(database)
    ok(database, "token", "revoke", str(made["token_id"]))
    assert ok(database, "token", "list") == "No valid tokens; 1 ended: --all shows them.\n"
    (row,) = ok(database, "token", "list", "--all").splitlines()[1:]
    assert row.startswith(str(made["token_id"]))
    assert row.endswith("revoked")
    assert ok_json(database, "token", "list")["tokens"] == []


def test_to_revoke_twice_says_when_it_was(database: Path) -> None:
    token_id = str(created(database, "--user", "ada")["token_id"])
    assert ok(database, "token", "revoke", token_id) == f"Token {token_id} of ada is revoked.\n"
    assert ok(database, "token", "revoke", token_id).startswith(f"Token {token_id} of ada was revoked 20")
    assert ok_json(database, "token", "revoke", token_id)["state"] == "revoked"


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_unknown_token_cannot_be_revoked(database: Path, arguments: tuple[str, ...]) -> None:
    created(database)
    done = at_prompt(database, "token", "revoke", "0123456789abcdef", *arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: No token '0123456789abcdef'.")


def test_a_whole_token_given_to_revoke_is_not_echoed(database: Path) -> None:
    secret = str(created(database)["token"])
    done = at_prompt(database, "token", "revoke", secret)
    assert done.exit_code == 0
    assert ok_json(database, "token", "list")["tokens"] == []
    assert secret[-32:] not in done.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scope", "raed"], "raed"),
        (["--scope", ""], "one at least"),
        (["--expires", "soon"], "90d"),
        (["--expires", "0d"], "90d"),
        (["--user", " "], "name a user"),
        (["--user", "a\nb"], "user's name"),
        (["--user", HOSTILE], "user's name"),
    ],
)
def test_what_cannot_be_granted_makes_no_token(database: Path, arguments: list[str], told: str) -> None:
    done = at_prompt(database, "token", "create", *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert told in done.stderr
    assert "\x1b" not in done.output
    assert ok_json(database, "token", "list", "--all")["tokens"] == []


@pytest.mark.parametrize("arguments", [["token", "revoke"], ["token", "burn"], ["token", "create", "extra"]])
def test_a_wrong_use_is_a_matter_of_usage(database: Path, arguments: list[str]) -> None:
    assert at_prompt(database, *arguments).exit_code == 2


def test_nothing_is_listed_where_there_is_no_database(database: Path) -> None:
    assert ok(database, "token", "list") == "No tokens.\n"
    assert at_prompt(database, "token", "revoke", "x").exit_code == 1
    assert not database.exists()


def test_a_script_can_take_the_token_from_the_program(database: Path) -> None:
    done = program("token", "create", "--user", "ci", env={"BACKSCROLL_DB": str(database)})
    assert done.returncode == 0
    assert parsed(done.stdout.rstrip("\n")) is not None
    listed = program("token", "list", "--db", str(database), "--json")
    assert [one["user"] for one in json.loads(listed.stdout)["tokens"]] == ["ci"]


@pytest.mark.parametrize("command", ["create", "list", "revoke"])
def test_each_explains_itself_with_an_example(database: Path, command: str) -> None:
    told = ok(database, "token", command, "--help")
    assert f"backscroll token {command}" in told.split("Examples:")[1]
