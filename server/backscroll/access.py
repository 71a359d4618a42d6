"""Who asks, and what they may: the one value that every door makes and every request is bound to."""

from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["read", "write", "delete", "act-as"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
"""`read` recalls, `write` records and changes, `delete` deletes; `act-as` names the user in each call."""


@dataclass(frozen=True, slots=True)
class Access:
    """A user and the scopes granted for this request.

    `token_id` names the credential in logs and rate limits; None where nobody was asked for one.
    """

    user_id: str
    scopes: frozenset[Scope]
    token_id: str | None = None


def local(user_id: str, *, multi_user: bool = False) -> Access:
    """What whoever starts a server on their own machine may do: everything, as the user they named."""
    return Access(user_id, frozenset(SCOPES if multi_user else SCOPES[:3]))
