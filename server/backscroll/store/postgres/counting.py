"""Who is here, how much of each, and whether anything was written since."""

from ..rows import maybe_from_ms
from ..values import Extent
from .database import Ask, user_key
from .part import Part


class Counting(Part):
    async def counts(self, user_id: str) -> dict[str, int]:
        key = (user_key(user_id),)
        ((sums,), (media,)) = await self._database.fetch(
            Ask(
                "SELECT count(*), coalesce(sum(runs), 0)::bigint, coalesce(sum(messages), 0)::bigint, "
                "coalesce(sum(tool_calls), 0)::bigint, count(summary_error) FROM sessions WHERE user_key = %s",
                key,
            ),
            Ask("SELECT count(*), coalesce(sum(octet_length(data)), 0)::bigint FROM media WHERE user_key = %s", key),
        )
        names = ("sessions", "runs", "messages", "tool_calls", "summary_errors", "media", "media_bytes")
        return dict(zip(names, (*sums, *media), strict=True))

    async def extent(self, user_id: str) -> Extent:
        key = (user_key(user_id),)
        ((ends,), (stale,)) = await self._database.fetch(
            Ask("SELECT min(created_at), max(last_activity_at) FROM sessions WHERE user_key = %s", key),
            Ask(
                "SELECT count(*) FROM sessions AS s WHERE s.user_key = %s AND s.last_seq > (SELECT max(u.last_seq) "
                "FROM summaries AS u WHERE u.user_key = s.user_key AND u.session_key = s.session_key)",
                key,
            ),
        )
        return Extent(maybe_from_ms(ends[0]), maybe_from_ms(ends[1]), stale[0])

    async def session_numbers(self, user_id: str) -> list[int]:
        (rows,) = await self._database.fetch(
            Ask("SELECT number FROM sessions WHERE user_key = %s ORDER BY number", (user_key(user_id),))
        )
        return [row[0] for row in rows]

    async def data_version(self, user_id: str) -> int:
        """The user's own: what others write does not change it."""
        (rows,) = await self._database.fetch(Ask("SELECT changes FROM users WHERE user_key = %s", (user_key(user_id),)))
        return int(rows[0][0]) if rows else 0

    async def users(self) -> list[str]:
        """The ids of all users who have anything here, in order."""
        (rows,) = await self._database.fetch(Ask('SELECT user_id FROM users ORDER BY user_id COLLATE "C"'))
        return [row[0] for row in rows]
