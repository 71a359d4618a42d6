"""A Postgres database is brought to the newest version, or refused."""

from contextlib import suppress
from os import urandom
from typing import Any

import psycopg

from ...errors import StoreUnusable
from .. import migrate
from .database import Connection, Transaction

DIALECT = "postgres"

_LOCK = 0x42534352  # "BSCR"
"""Held while migrating: of several servers that start at once, one does it."""


async def migrated(connection: Connection, *, lock_timeout_s: float = 10.0) -> None:
    """Bring a database to the newest version, in one transaction under an advisory lock. Raises StoreUnusable.

    A table that somebody holds is waited for no longer than that: whoever wants the table next waits behind us. A
    role that may not change tables can use a database that is up to date.
    """
    transaction = Transaction(connection)
    await _refuse_other_encodings(transaction)
    if await _version(transaction) == migrate.newest(DIALECT):
        return
    await transaction.run("BEGIN")
    try:
        # The transaction's own, since a pooler may give the next one another connection.
        await transaction.run("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        # From here on: another server's migration takes as long as it takes.
        await transaction.run("SELECT set_config('lock_timeout', %s, true)", (f"{int(lock_timeout_s * 1000)}ms",))
        version = await _version(transaction)
        migrate.refuse_newer(version, DIALECT)
        for number, _, script in migrate.migrations(DIALECT):
            if number > version:
                for statement in migrate.statements(script):
                    await transaction.run(statement)
                await _note(transaction, number)
        await transaction.run(
            "INSERT INTO meta (name, value) VALUES ('digest_key', %s) ON CONFLICT DO NOTHING", (urandom(32),)
        )
        await transaction.run("COMMIT")
    except BaseException:
        with suppress(psycopg.Error):
            await connection.rollback()
        raise


async def _version(transaction: Transaction) -> int:
    """0 for an empty database."""
    found: Any = await transaction.one("SELECT to_regclass('meta') IS NOT NULL")
    if not found[0]:
        return 0
    row = await transaction.one("SELECT value FROM meta WHERE name = 'version'")
    return 0 if row is None else int(row[0].decode())


async def _note(transaction: Transaction, version: int) -> None:
    await transaction.run(
        "INSERT INTO meta (name, value) VALUES ('version', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (str(version).encode(),),
    )


async def _refuse_other_encodings(transaction: Transaction) -> None:
    found: Any = await transaction.one("SHOW server_encoding")
    if found[0] != "UTF8":
        raise StoreUnusable(
            f"The database has the encoding {found[0]}, which cannot hold every text. Create one with ENCODING 'UTF8'."
        )
