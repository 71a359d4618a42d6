"""What is really said to the server: the log of a server that writes down each statement, and what was bound to it."""

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import psycopg
import pytest

import backscroll
from backscroll.store.postgres.database import user_key
from postgres_doors import every_tool, everything_else
from postgres_server import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NAMES_NOBODY = (
    r"BEGIN ISOLATION LEVEL [A-Z ]+|BEGIN|COMMIT|ROLLBACK|SELECT set_config\(.*|SHOW server_encoding",
    r"SELECT to_regclass.*|SELECT value FROM meta WHERE name = '\w+'",
    r"SELECT convert_from\(value, 'UTF8'\)::integer FROM meta WHERE name = 'index_version'",
    # Sizes and versions of the whole database: sums, over samples where tables are large.
    r"SELECT current_setting\('server_version'\).*pg_database_size.*|SELECT pg_relation_size\(.*",
    r"SELECT \([^;]*(sum\(size_bytes\)|octet_length)[^;]*\)::float8 FROM (media|messages|tool_calls)( TABLESAMPLE .*)?",
    # Whether an index is being made anew, of anybody; what a purge asks the server to do, and whether it may.
    r"SELECT 1 FROM search_rebuilds LIMIT 1",
    r"SELECT coalesce\(bool_and\(pg_has_role\(.*|VACUUM .*",
    # People name a token by its id alone; it opens nothing.
    r"SELECT .* FROM access_tokens WHERE token_id = \$1",
)
"""The statements, whole, that may name no user: none of them gives back or changes anything that anybody said."""


class Said(NamedTuple):
    statement: str
    bound: str

    def names_nobody(self) -> bool:
        return any(re.fullmatch(known, self.statement) for known in NAMES_NOBODY)


class Log:
    """The server's log of one database, from now on."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._file = server.folder / "log"
        self._begin = self._file.stat().st_size
        self.url = url

    def said(self) -> list[Said]:
        found: list[Said] = []
        text = self._file.read_bytes()[self._begin :].decode()
        for entry in re.split(r"^(?=\d{4}-\d\d-\d\d .* (?:LOG|DETAIL|ERROR|STATEMENT): )", text, flags=re.MULTILINE):
            line = " ".join(entry.split())
            if told := re.search(r" LOG: (?:statement|execute [^:]*): (.*)$", line):
                found.append(Said(told[1], ""))
            elif told := re.search(r" DETAIL: parameters: (.*)$", line):
                found[-1] = found[-1]._replace(bound=told[1])
        return found


@pytest.fixture
async def log(postgres: PostgresServer) -> AsyncIterator[Log]:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("log_statement = 'all'", "log_min_messages = 'log'"):
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting}")
    yield Log(postgres, url)
    postgres.drop(url)


async def test_every_statement_names_its_user_and_no_other(log: Log) -> None:
    async with backscroll.Backscroll(log.url) as app:
        memory = app.memory("ada")
        await every_tool(memory)
        await everything_else(memory)
    said = log.said()
    ada = str(user_key("ada"))
    # The log tells what was bound, so this is no matter of how a statement is written.
    nameless = {one.statement for one in said if ada not in one.bound and not one.names_nobody()}
    assert nameless == set()
    # Of each table that a statement touches the user's rows alone: it says so as often as it names a table.
    loose = {one.statement for one in said if not one.names_nobody() and _tables(one.statement) > _keys(one.statement)}
    assert loose == set()
    assert len({one.statement for one in said}) > 60


async def test_nothing_that_a_pooler_would_lose_is_said(log: Log) -> None:
    async with backscroll.Backscroll(log.url) as app:
        await every_tool(app.memory("ada"))
        await everything_else(app.memory("ada"))
    lost = re.compile(
        r"SET (?!LOCAL)|PREPARE|LISTEN|DECLARE .*WITH HOLD|CREATE TEMP|SELECT pg_(try_)?advisory_lock|execute [^<]",
        re.I,
    )
    assert [one.statement for one in log.said() if lost.match(one.statement)] == []
    assert "execute <unnamed>" in log._file.read_bytes()[log._begin :].decode()
    assert not re.search(r"LOG: +execute [^<]", log._file.read_bytes()[log._begin :].decode())


_TABLES = (
    "users|sessions|runs|messages|tool_calls|digests|media|message_media|summaries|session_ways|tellings|tombstones|"
    "redactions|imports|syncs|facts|captures|named_transcripts|pauses|paused_files|left_out|access_tokens|"
    "search_entries|search_words|vectors"
)


def _tables(statement: str) -> int:
    return len(re.findall(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:{_TABLES})\b(?!\()", statement))


def _keys(statement: str) -> int:
    return len(re.findall(r"\buser_key\b", statement))
