"""A file is brought to the newest version, or refused."""

import sqlite3
from contextlib import suppress
from os import urandom
from pathlib import Path

from ...errors import StoreUnusable
from .. import migrate
from ..indexing import INDEX_VERSION
from . import index
from .database import APPLICATION_ID

DIALECT = "sqlite"


def migrated(db: sqlite3.Connection) -> None:
    """Bring a database to the newest version, in one transaction. Raises StoreUnusable.

    The version is read after the lock was taken: another process may have migrated meanwhile.
    """
    try:
        db.execute("CREATE VIRTUAL TABLE temp.probe USING fts5 (text)")
        db.execute("DROP TABLE temp.probe")
    except sqlite3.OperationalError as error:
        raise StoreUnusable("This Python's SQLite lacks FTS5. Use a Python whose SQLite has it.") from error
    _back_up_before_rewriting(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        migrate.refuse_newer(version, DIALECT)
        for number, _, script in migrate.migrations(DIALECT):
            if number > version:
                for statement in migrate.statements(script):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
        if not tables:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("INSERT INTO meta (name, value) VALUES ('digest_key', ?)", (urandom(32),))
            # The migrations made the index as it was at first; an older file gets today's by rebuilding it.
            db.execute("DROP TABLE search_index")
            index.create(db)
            db.execute("INSERT INTO meta (name, value) VALUES ('index_version', ?)", (INDEX_VERSION,))
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _back_up_before_rewriting(db: sqlite3.Connection) -> None:
    """Copy the database beside itself where a pending migration rewrites data, not only adds to it.

    Our lock is held, so no other process migrates meanwhile. A copy that is there already is left alone.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    pending = [script for number, _, script in migrate.migrations(DIALECT) if number > version]
    if not version or not any(map(migrate.rewrites_data, pending)):
        return
    (_, _, file) = db.execute("PRAGMA database_list").fetchone()
    copy = Path(f"{file}.v{version}.backup")
    if not copy.exists():
        db.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
