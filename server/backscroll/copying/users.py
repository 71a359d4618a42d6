"""A copy, user by user: sessions that are gone, new or newer, what is kept beside them, then the proof."""

from collections.abc import Sequence

from ..errors import InvalidArgument
from ..ids import user_tag
from ..store.copying import KEPT
from .ends import Ends
from .report import CopyReport, Told
from .sessions import SessionsOfUser


async def copy(
    ends: Ends, *, user_id: str | None = None, replace: bool = False, told: Told | None = None
) -> CopyReport:
    """Copy one user, or all there are, and compare what is there then.

    With `replace`, a session that is another in the target gives way to the source's. Sessions that are not the
    same at the end are the report's `trouble`. Raises InvalidArgument for a user who is not there.
    """
    users = await _chosen(ends, user_id)
    same_key = await ends.target.arriving.adopt_key(await ends.source.digest_key())
    report = CopyReport(users=len(users))
    key = None if same_key else await ends.target.digest_key()
    several = [SessionsOfUser(ends, user, report, key=key, replace=replace, told=told or _nobody) for user in users]
    for one in several:
        await one.copy()
        await _copy_kept(ends, one.user_id, report, same_key=same_key)
    report.tokens = await _copy_tokens(ends, user_id)
    for one in several:
        await one.compare()
    return report


async def _chosen(ends: Ends, user_id: str | None) -> Sequence[str]:
    users = await ends.source.leaving.users()
    if user_id is None:
        return users
    if user_id not in users:
        raise InvalidArgument(f"There is nothing of the user {user_id!r:.80} in this database.")
    return [user_id]


async def _copy_kept(ends: Ends, user_id: str, report: CopyReport, *, same_key: bool) -> None:
    async for rows in ends.source.leaving.kept(user_id):
        if KEPT[rows.table].is_keyed and not same_key:
            report.left_behind[rows.table] += len(rows.rows)
        else:
            await ends.target.arriving.keep(user_id, rows)
    await ends.target.arriving.take_number(user_id, await ends.source.leaving.last_number(user_id))


async def _copy_tokens(ends: Ends, user_id: str | None) -> int:
    """Access tokens open the target as they did the source: what is kept of a secret is the same digest everywhere.

    One that was revoked in either stays revoked. How many were not there yet.
    """
    new = 0
    for token in reversed(await ends.source.tokens.listed(user_id)):
        there = await ends.target.tokens.named(token.token_id)
        if there is None:
            await ends.target.tokens.add(token)
            new += 1
        elif token.revoked_at is not None and there.revoked_at is None:
            await ends.target.tokens.revoke(user_tag(token.user_id), token.token_id, token.revoked_at)
    return new


def _nobody(what: str, done: int, total: int) -> None:
    """Nobody is told."""
