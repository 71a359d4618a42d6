"""Users by the thousand, each with sessions of its own, put into a database past the server."""

import asyncio
from collections.abc import Sequence
from typing import Any

from backscroll import Backscroll, Settings
from backscroll.models import NewRun
from backscroll.recording import normalise
from backscroll.store.postgres.database import user_key
from backscroll.store.postgres.terms import tag_of

from .talk import Sizes, Talk

RECORDED_AT_ONCE = 4
"""Users at a time, for the round trips to a database that is elsewhere."""
RECORDED_ON_POSTGRES = 20
"""So many are recorded there, which takes milliseconds a run; all others get the rows of the last of them."""

TURN = Sizes(80, 40, 120, 120)


async def fill(url: str, users: range, sessions: int, on_postgres: int = RECORDED_ON_POSTGRES) -> None:
    """So many sessions, of a short turn each, for each of `user-0`, `user-1`, ... in this range."""
    recorded = users
    if url.startswith("postgres"):
        recorded = range(users.start, min(users.stop, max(users.start + 1, on_postgres)))
    talk = Talk(5)
    waiting = iter(recorded)

    async def record(app: Backscroll) -> None:
        for user in waiting:
            runs = [NewRun(messages=normalise(talk.run(TURN)), session_id=f"s-{number}") for number in range(sessions)]
            await app.memory(f"user-{user}").record(runs)

    async with Backscroll(url, Settings(semantic="off")) as app:
        await asyncio.gather(*(record(app) for _ in range(RECORDED_AT_ONCE)))
    if recorded.stop < users.stop:
        same = [f"user-{user}" for user in range(recorded.stop, users.stop)]
        await asyncio.to_thread(_multiply, url, f"user-{recorded.stop - 1}", same)


def _multiply(url: str, model: str, users: Sequence[str]) -> None:
    """Give users the rows of `model`.

    They differ in the key that all of a user's rows begin with, and in the tag of each word in the index.
    """
    import psycopg
    from psycopg import sql

    def columns(table: str) -> list[str]:
        found = database.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s "
            "AND is_generated = 'NEVER' AND column_name <> 'user_key' ORDER BY ordinal_position",
            (table,),
        )
        return [row[0] for row in found]

    with psycopg.connect(url) as database:
        # References are not looked at: tables are filled in any order.
        database.execute("SET session_replication_role = replica")
        database.execute("CREATE TEMPORARY TABLE others (user_key uuid, user_id text, tag text)")
        with database.cursor().copy("COPY others FROM STDIN") as copied:
            for user in users:
                copied.write_row((user_key(user), user, tag_of(user_key(user))))
        tables: list[Any] = database.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' "
            "AND column_name = 'user_key' AND table_name <> 'access_tokens'"
        ).fetchall()
        otherwise: dict[str, sql.Composable] = {
            "user_id": sql.SQL("u.user_id"),
            "terms": sql.SQL("replace(t.terms::text, {}, chr(39) || u.tag)::tsvector").format(
                sql.Literal(f"'{tag_of(user_key(model))}")
            ),
        }
        for (table,) in tables:
            names = columns(table)
            taken = [otherwise.get(name, sql.Identifier("t", name)) for name in names]
            database.execute(
                sql.SQL(
                    "INSERT INTO {table} (user_key, {names}) SELECT u.user_key, {taken} FROM {table} AS t, others AS u "
                    "WHERE t.user_key = %s ON CONFLICT DO NOTHING"
                ).format(
                    table=sql.Identifier(table),
                    names=sql.SQL(", ").join(map(sql.Identifier, names)),
                    taken=sql.SQL(", ").join(taken),
                ),
                (user_key(model),),
            )
    with psycopg.connect(url, autocommit=True) as database:
        # What a server does by itself some time after.
        database.execute("VACUUM ANALYZE")
