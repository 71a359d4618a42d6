"""What a Postgres database says of itself."""

from typing import Any

from ..about import About
from .database import Ask, user_key
from .part import Part

# What is stored, be it compressed: without reading the values that lie outside of their rows.
_SIZES = (
    ("messages", ("text", "reasoning", "payload")),
    ("tool_calls", ("arguments",)),
    ("media", ("data", "url")),
)


class Abouts(Part):
    async def about(self, user_id: str, *, thorough: bool = False) -> About:
        asked = [
            Ask(
                "SELECT current_setting('server_version'), (SELECT value FROM meta WHERE name = 'version'), "
                "pg_database_size(current_database())"
            )
        ]
        if thorough:
            asked += [_size(table, columns, user_id) for table, columns in _SIZES]
        (facts,), *sizes = await self._database.fetch(*asked)
        server, version, size_bytes = facts
        # `15.14 (Debian 15.14-0+deb12u1)`: the number is enough.
        return About(
            f"PostgreSQL {server.split()[0]}",
            int(version.decode()),
            size_bytes,
            sum(_one(rows) for rows in sizes) if thorough else None,
        )


def _size(table: str, columns: tuple[str, ...], user_id: str) -> Ask:
    told = " + ".join(f"coalesce(pg_column_size({column}), 0)" for column in columns)
    return Ask(f"SELECT coalesce(sum({told}), 0)::bigint FROM {table} WHERE user_key = %s", (user_key(user_id),))


def _one(rows: list[tuple[Any, ...]]) -> int:
    return int(rows[0][0])
