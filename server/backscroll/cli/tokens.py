"""The commands about access tokens, with which other machines call the HTTP server."""

from datetime import UTC, datetime
from typing import Any

import click

from ..auth import keeping
from ..auth.grants import chosen_scopes, lifetime, scope_text
from ..auth.keeping import AccessToken
from ..memory import Memory
from ..render import clock
from ..terminal import line, notes, put_json, results
from .endings import examples
from .layout import Column, Listing
from .opening import Chosen, as_json, chosen, store_options

_COLUMNS = (
    Column("token id"),
    Column("user", share=1),
    Column("scopes"),
    Column("created", needs=100),
    Column("expires"),
    Column("state"),
)


@click.group(
    short_help="Make, list and revoke access tokens for HTTP.",
    epilog=examples(
        "backscroll token create --user ada --scope read,write --expires 90d",
        "backscroll token list",
        "backscroll token revoke TOKEN_ID",
    ),
)
@store_options
def token() -> None:
    """Who may call `backscroll serve --http`, as whom, and what for.

    A token is its user's: no call made with it sees or changes another user's sessions. Only a digest of it is kept.
    """


@token.command(
    epilog=examples(
        "backscroll token create --user ada", "backscroll token create --user ci --scope write --expires 12h --json"
    )
)
@click.option(
    "--scope",
    "scopes",
    default="read,write",
    show_default=True,
    metavar="SCOPES",
    help="By commas: read, write, delete; act-as names the user in each call (--multi-user).",
)
@click.option(
    "--expires", default="90d", show_default=True, metavar="TIME", help="After 45s, 30m, 12h or 90d; or never."
)
@as_json
@store_options
@chosen
def create(chosen: Chosen, scopes: str, expires: str, as_json: bool) -> None:
    """Make an access token for --user and print it. It is shown this once."""
    granted, lasting = chosen_scopes(scopes), lifetime(expires)

    async def made(memory: Memory) -> tuple[str, AccessToken]:
        return await keeping.create(memory.store.tokens, memory.user_id, granted, lasting, now=datetime.now(UTC))

    secret, its = chosen.with_memory(made, create=True)
    if its.scopes == {"act-as"}:
        notes().print("act-as alone allows nothing: it names the user of calls. Give read, write or delete beside it.")
    if as_json:
        put_json({"token": secret, **_document(its)})
        return
    click.echo(secret)
    until = "never expires" if its.expires_at is None else f"expires {clock(its.expires_at)}"
    notes().print(
        f"Token {its.token_id} of {line(its.user)} may {scope_text(its.scopes, ', ')}, and {until}. "
        f"It is not shown again. Revoke it with backscroll token revoke {its.token_id}."
    )


@token.command(name="list", epilog=examples("backscroll token list", "backscroll token list --user ada --all --json"))
@click.option("--all", "with_ended", is_flag=True, help="Those too that are expired or revoked.")
@as_json
@store_options
@chosen
def list_(chosen: Chosen, with_ended: bool, as_json: bool) -> None:
    """List access tokens: of every user, or of --user alone. None can be shown again."""

    async def listed(memory: Memory) -> list[AccessToken]:
        # Only a flag: a setting says whose sessions are meant, and tokens are an administrator's.
        return await keeping.listed(memory.store.tokens, chosen.flags.get("user"), now=datetime.now(UTC))

    every = chosen.with_memory(listed)
    shown = [its for its in every if with_ended or its.state == "valid"]
    if as_json:
        put_json({"tokens": [{**_document(its), **_ends(its)} for its in shown]})
    elif shown:
        results().print(Listing(_COLUMNS, [_row(its) for its in shown]))
    else:
        ended = len(every) - len(shown)
        results().print(f"No valid tokens; {ended:,} ended: --all shows them." if ended else "No tokens.")


@token.command(epilog=examples("backscroll token revoke TOKEN_ID"))
@click.argument("token_id")
@as_json
@store_options
@chosen
def revoke(chosen: Chosen, token_id: str, as_json: bool) -> None:
    """Refuse a token from now on, in every process that serves."""

    async def revoked(memory: Memory) -> tuple[AccessToken, bool]:
        return await keeping.revoke(memory.store.tokens, token_id, now=datetime.now(UTC))

    its, first = chosen.with_memory(revoked)
    if as_json:
        put_json({**_document(its), **_ends(its)})
        return
    assert its.revoked_at is not None
    results().print(
        f"Token {its.token_id} of {line(its.user)} is revoked."
        if first
        else f"Token {its.token_id} of {line(its.user)} was revoked {clock(its.revoked_at)}."
    )


def _document(its: AccessToken) -> dict[str, Any]:
    return {
        "token_id": its.token_id,
        "user": its.user,
        "scopes": scope_text(its.scopes).split(),
        "expires_at": None if its.expires_at is None else its.expires_at.isoformat(),
    }


def _ends(its: AccessToken) -> dict[str, Any]:
    return {
        "state": its.state,
        "created_at": its.created_at.isoformat(),
        "revoked_at": None if its.revoked_at is None else its.revoked_at.isoformat(),
    }


def _row(its: AccessToken) -> list[str]:
    expires = "never" if its.expires_at is None else clock(its.expires_at)
    return [its.token_id, its.user, scope_text(its.scopes, ","), clock(its.created_at), expires, its.state]
