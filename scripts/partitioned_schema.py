#!/usr/bin/env python3
"""Backscroll's tables on Postgres, each in N parts by user: `python scripts/partitioned_schema.py 16 | psql DATABASE`.

For an empty database, in one transaction. The statements are those of the migrations: every table whose key begins
with the user is declared PARTITION BY HASH (user_key) and gets its parts, so that upkeep (VACUUM, REINDEX) and disks
(a tablespace for each part) deal with small tables, and a user's rows lie in one part. Backscroll works on the result
as on any other: no statement of it knows of parts. Tables of later migrations come as plain ones.
"""

import re
import sys
from collections.abc import Iterator

from backscroll.store import migrate

DIALECT = "postgres"
MOST_PARTS = 1_024

_TABLE = re.compile(r"CREATE TABLE (\w+) \(.*\buser_key\b", re.DOTALL)


def partitioned(parts: int) -> Iterator[str]:
    """Each statement, in order. Raises ValueError."""
    if not 2 <= parts <= MOST_PARTS:
        raise ValueError(f"{parts} parts: give a number from 2 to {MOST_PARTS:,}")
    yield "BEGIN;"
    for _, _, script in migrate.migrations(DIALECT):
        for statement in migrate.statements(script):
            table = _TABLE.match(statement)
            if table is None:
                yield statement.strip()
                continue
            yield f"{statement.strip().removesuffix(';')} PARTITION BY HASH (user_key);"
            for part in range(parts):
                yield (
                    f"CREATE TABLE {table[1]}_{part} PARTITION OF {table[1]} "
                    f"FOR VALUES WITH (MODULUS {parts}, REMAINDER {part});"
                )
    yield f"INSERT INTO meta (name, value) VALUES ('version', '{migrate.newest(DIALECT)}');"
    # 32 bytes of the server's own strong randomness.
    yield (
        "INSERT INTO meta (name, value) VALUES "
        "('digest_key', uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));"
    )
    yield "COMMIT;"


def main() -> None:
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        sys.exit(__doc__)
    try:
        print("\n".join(partitioned(int(sys.argv[1]))))
    except ValueError as error:
        sys.exit(f"{error}.")


if __name__ == "__main__":
    main()
