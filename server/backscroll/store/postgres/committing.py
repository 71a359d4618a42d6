"""Whether a transaction was committed whose connection broke while that was under way: the server still knows."""

from typing import Any, Literal, NamedTuple

from psycopg import errors as pg

from .errors import CommitUnknown
from .transactions import Ask, Connection, Transaction

# What the transaction is called, and how often the user was written for before it.
BEFORE = "pg_current_xact_id()::text, changes"

Outcome = Literal["committed", "aborted", "in progress"]


class Attempt(NamedTuple):
    """A write transaction, named so that another connection can ask what became of it."""

    transaction_id: str
    changes: int
    user_key: Any


class CommitBroken(CommitUnknown):
    """`done` is what the work gave, which holds if the attempt was committed after all."""

    def __init__(self, attempt: Attempt, done: Any) -> None:
        super().__init__()
        self.attempt = attempt
        self.done = done


async def outcome(connection: Connection, attempt: Attempt) -> Outcome | None:
    """None where the server cannot tell any more."""
    asked = Ask(
        "SELECT pg_xact_status(%s::text::xid8), coalesce((SELECT changes FROM users WHERE user_key = %s), 0)",
        (attempt.transaction_id, attempt.user_key),
    )
    try:
        ((told, changes),) = (await Transaction(connection).together(asked))[0]
    except pg.InvalidParameterValue:
        # A number that is still to come: this server took over from the one we wrote to, and never heard of it.
        return "aborted"
    if told == "committed" and changes <= attempt.changes:
        # The number is another's by now: as above, but later.
        return "aborted"
    outcomes: dict[str | None, Outcome] = {
        "committed": "committed", "aborted": "aborted", "in progress": "in progress"
    }  # fmt: skip
    return outcomes.get(told)
