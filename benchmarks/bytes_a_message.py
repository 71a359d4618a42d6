"""What a message takes on disk, here and there: `python -m benchmarks.bytes_a_message POSTGRES_URL`.

The same talk is recorded, run by run, into a new SQLite file and into an empty Postgres database, by as many users as
there are sessions; then both are left to merge and vacuum. On Postgres it also tells each table's share, its indexes
and TOAST with it.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import psycopg

from backscroll import Backscroll
from backscroll.config import Settings
from backscroll.tokens import counter

from .contenders import record
from .talk import Chat, Sizes, Talk, text_bytes

RUNS_A_SESSION = 50
QUIET_SECONDS = 1.0


def cases() -> list[tuple[str, list[Chat]]]:
    """As `size` has them."""
    talk = Talk(5)
    return [
        ("1 kB a message", [talk.run(Sizes.even(1_000)) for _ in range(1_000)]),
        ("130 B a message", [talk.run(Sizes.even(130)) for _ in range(2_000)]),
    ]


async def recorded(url: str, chats: list[Chat]) -> None:
    async with Backscroll(url, Settings(semantic="off")) as app:
        for start in range(0, len(chats), RUNS_A_SESSION):
            memory = app.memory(f"user {start}")
            for chat in chats[start : start + RUNS_A_SESSION]:
                await record(memory, "session", chat)
        await asyncio.sleep(QUIET_SECONDS)


def of_postgres(url: str) -> dict[str, int]:
    """Bytes of each table, its indexes and TOAST with it, after a VACUUM."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM")
        rows = connection.execute(
            "SELECT relname, pg_total_relation_size(oid)::bigint FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 0 ORDER BY 2 DESC"
        ).fetchall()
    return dict(rows)


def emptied(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE users CASCADE")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    url = sys.argv[1]
    counter.load()
    for what, chats in cases():
        messages, said = sum(map(len, chats)), sum(map(text_bytes, chats))
        with tempfile.TemporaryDirectory(prefix="backscroll-bench-") as folder:
            asyncio.run(recorded(str(Path(folder, "talk.db")), chats))
            sqlite = sum(path.stat().st_size for path in Path(folder).iterdir())
        asyncio.run(recorded(url, chats))
        tables = of_postgres(url)
        emptied(url)
        postgres = sum(tables.values())
        print(f"{what}: {messages:,} messages, {said / messages:,.0f} bytes of text each")
        for name, size in (("SQLite", sqlite), ("Postgres", postgres)):
            print(f"  {name}: {size / messages:,.0f} bytes a message, {size / said:.2f} bytes a byte")
        most = ", ".join(f"{table} {size / messages:,.0f}" for table, size in list(tables.items())[:7])
        print(f"  of that on Postgres, bytes a message: {most}")


if __name__ == "__main__":
    main()
