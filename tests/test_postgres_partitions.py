"""Tables in parts by user: the schema that the script makes, and all that Backscroll does on it.

The whole suite runs on it too: BACKSCROLL_TEST_STORES=partitioned.
"""

import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import backscroll
from builders import a_tool_turn
from postgres_doors import every_tool, everything_else
from postgres_server import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SCRIPT = Path(__file__).parents[1] / "scripts" / "partitioned_schema.py"


async def test_all_works_on_tables_in_parts_and_a_users_rows_lie_in_one_of_them(partitioned_url: str) -> None:
    async with backscroll.Backscroll(partitioned_url) as app:
        await every_tool(app.memory("ada"))
        await everything_else(app.memory("ada"))
        for n in range(20):
            await app.memory(f"user {n}").record_run(a_tool_turn(n), session_id="s")
    with psycopg.connect(partitioned_url) as connection:
        spread = connection.execute(
            "SELECT user_key, count(DISTINCT tableoid) FROM messages GROUP BY user_key"
        ).fetchall()
        (parts,) = connection.execute("SELECT count(DISTINCT tableoid) FROM messages").fetchone() or (0,)
    assert len(spread) == 21
    assert {count for _, count in spread} == {1}
    assert parts == 4


def test_both_schemas_have_the_same_columns_keys_and_indexes(
    postgres: PostgresServer, partitioned_url: str, postgres_url: str
) -> None:
    def told(url: str) -> tuple[list[object], list[object]]:
        with psycopg.connect(url) as connection:
            columns = connection.execute(
                "SELECT table_name, column_name, data_type, is_nullable, column_default "
                "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
            ).fetchall()
            keys = connection.execute(
                "SELECT conrelid::regclass::text, contype, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE connamespace = 'public'::regnamespace AND conparentid = 0 ORDER BY 1, 2, 3"
            ).fetchall()
        return [row for row in columns if not _is_part(row[0])], [row for row in keys if not _is_part(row[0])]

    assert told(partitioned_url) == told(postgres_url)


def _is_part(table: str) -> bool:
    return re.search(r"_[0-3]$", table) is not None


@pytest.mark.parametrize("parts", ["1", "0", "2000", "many"])
def test_a_number_of_parts_that_makes_no_sense_is_refused(parts: str) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), parts], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "16 | psql" in done.stderr or "from 2 to 1,024" in done.stderr


def test_the_page_on_scaling_distributes_every_table(postgres_url: str) -> None:
    page = (SCRIPT.parents[1] / "docs" / "scaling.md").read_text(encoding="utf-8")
    sql = re.search(r"```sql\n(.*?)```", page, re.DOTALL)
    assert sql is not None
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        ).fetchall()
    told = re.findall(r"'(\w+)'", sql[1].replace("'user_key'", "").replace("colocate_with => 'users'", ""))
    assert sorted(told) == [name for (name,) in tables]
