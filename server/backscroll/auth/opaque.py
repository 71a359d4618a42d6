"""Opaque tokens: `bks_` and 64 signs, which are 16 bytes of the user's tag, 8 of the token's id and 24 of a secret.

The tag lets a database that is spread by user ask one place only. Tag and id open nothing: they are what the row is
found by, and the secret is what is compared.
"""

import base64
import hmac
import os
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from ..access import Scope
from ..store.tokens import TAG_BYTES, StoredToken, user_tag
from .grants import checked_user, scope_text

PREFIX = "bks_"
ID_BYTES = 8
SECRET_BYTES = 24

# 48 bytes are 64 signs with no bit to spare: a token is written in one way only.
_FORM = re.compile(r"bks_([A-Za-z0-9_-]{64})", re.ASCII)


class Opaque(NamedTuple):
    """A token that was taken apart; whether it is one of ours is not said yet."""

    tag: bytes
    token_id: str
    secret: bytes


def parsed(token: str) -> Opaque | None:
    """None where the text has not the form."""
    found = _FORM.fullmatch(token)
    if found is None:
        return None
    data = base64.urlsafe_b64decode(found[1])
    end = TAG_BYTES + ID_BYTES
    return Opaque(data[:TAG_BYTES], data[TAG_BYTES:end].hex(), data[end:])


def hashed(secret: bytes) -> bytes:
    """What the database keeps of a secret.

    One round of SHA-256 is enough: a slow or salted hash protects what a person chose and others may guess. These are
    192 bits drawn at random, of which no table can hold a part worth having, and each request pays for the hash.
    """
    return sha256(secret).digest()


# What the secret of an unknown token is compared with, so that it takes the same steps as a known one.
_NOBODYS = hashed(os.urandom(SECRET_BYTES))


def proves(secret: bytes, known: StoredToken | None) -> bool:
    """Whether it is the secret of this token; in the same time wherever they differ, and if there is none."""
    same = hmac.compare_digest(hashed(secret), _NOBODYS if known is None else known.secret_hash)
    return same and known is not None


def made(user_id: str, scopes: Iterable[Scope], lasting: timedelta | None, *, now: datetime) -> tuple[str, StoredToken]:
    """A new token, and what to store of it. The token is nowhere but in what this returns.

    Raises InvalidArgument for what cannot be a user's name.
    """
    # Its tables take 40 ms to build, which no other command and no request should pay.
    from ..redaction.finding import secrets_in  # noqa: PLC0415

    tag = user_tag(checked_user(user_id))
    token, token_id, secret = _drawn(tag)
    # One in some ten thousand holds by chance what marks an example (`your`): it would be recorded unredacted.
    while [found.value for found in secrets_in(token)] != [token]:
        token, token_id, secret = _drawn(tag)
    created_at = milliseconds(now)
    expires_at = None if lasting is None else created_at + lasting // timedelta(milliseconds=1)
    return token, StoredToken(user_id, token_id, hashed(secret), scope_text(scopes), created_at, expires_at)


def milliseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    return int(moment.timestamp() * 1000)


def _drawn(tag: bytes) -> tuple[str, str, bytes]:
    token_id, secret = os.urandom(ID_BYTES), os.urandom(SECRET_BYTES)
    return PREFIX + base64.urlsafe_b64encode(tag + token_id + secret).decode(), token_id.hex(), secret
