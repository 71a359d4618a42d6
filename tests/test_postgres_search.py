"""The search index on Postgres: it finds what SQLite's finds, knows its limits, and is mended where it is wrong."""

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backscroll import Backscroll, Settings
from backscroll.ranking.question import read
from backscroll.store import CallSearch, Clue, Search, Term
from backscroll.store.indexing import INDEX_VERSION, TOKENIZER
from backscroll.store.opening import open_store
from backscroll.store.postgres.database import user_key
from backscroll.store.postgres.terms import query_of, tag_of, vector_of
from backscroll.store.postgres.words import words_of
from backscroll.tokens import TokenCounter
from builders import assistant, call, result, user
from hunting import examples
from mirror import mirror
from postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ADA = user_key("ada")
OFF = Settings(semantic="off")

# The words of both


@pytest.fixture(scope="module")
def fts() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(f"CREATE VIRTUAL TABLE one USING fts5 (text, forms, content = '', tokenize = '{TOKENIZER}')")
    yield db
    db.close()


@pytest.fixture(scope="module")
def pg(kept_postgres_url: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(kept_postgres_url, autocommit=True) as connection:
        yield connection


SAID = st.text(st.sampled_from("aábcßséxИ日本กา12_-.'\"\\: \n\0\u0301") | st.sampled_from("ing ed s"), max_size=60)
PHRASES = st.text(st.sampled_from("aábcßsxИ12_. "), max_size=12).map(lambda text: '"' + text + '"')


def _joined(parts: tuple[str, str, str]) -> str:
    return f"({parts[0]} {parts[1]} {parts[2]})"


ASKED = st.recursive(
    PHRASES | PHRASES.map(lambda phrase: f"{phrase} *"),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR", "NOT"]), inner).map(_joined),
    max_leaves=5,
)


@given(SAID, SAID, ASKED)
@settings(max_examples=examples(400))
def test_a_query_finds_a_text_where_fts5_finds_it(
    fts: sqlite3.Connection, pg: "psycopg.Connection[Any]", text: str, forms: str, asked: str
) -> None:
    cleaned = text.replace("\0", "␀"), forms.replace("\0", "␀")
    fts.execute("INSERT INTO one (one) VALUES ('delete-all')")
    fts.execute("INSERT INTO one (rowid, text, forms) VALUES (1, ?, ?)", cleaned)
    found = fts.execute("SELECT 1 FROM one WHERE one MATCH ?", (asked,)).fetchone() is not None
    (places,) = words_of([(text, forms)])
    row = pg.execute(
        "SELECT %s::tsvector @@ %s::tsquery", (vector_of(ADA, places, "xs1 xruser"), query_of(ADA, asked))
    ).fetchone()
    assert row == (found,)


def test_every_sign_is_taken_as_fts5_takes_it(fts: sqlite3.Connection) -> None:
    codes = [*range(1, 0x3000), *range(0x3000, 0xD800, 31), *range(0xE000, 0x110000, 499)]
    texts = [
        " ".join(f"{chr(code)}b{chr(code)} x{chr(code)}ing" for code in codes[at : at + 50])
        for at in range(0, len(codes), 50)
    ]
    fts.execute("CREATE VIRTUAL TABLE temp.told USING fts5vocab ('main', 'one', 'instance')")
    for text, places in zip(texts, words_of([(text, "") for text in texts]), strict=True):
        fts.execute("INSERT INTO one (one) VALUES ('delete-all')")
        fts.execute("INSERT INTO one (rowid, text) VALUES (1, ?)", (text,))
        expected = sorted(fts.execute("SELECT term, offset FROM temp.told").fetchall())
        assert sorted((word, at) for word, (ats, _) in places.items() for at in ats) == expected


# What both find

WORDS = (
    "deploy", "deployment", "Müller", "straße", "getURLFor", "v2.3.1", "数据库连接", "login", "logins", "timeout",
    "src/app/main.py", "the", "a", "failed", "token", "refresh_token", "Kündigungsfrist", "ภาษาไทย",
)  # fmt: skip
QUERIES = (
    "deploy", "deployed the login", '"login failed"', "strasse", "getUrlFor", "2.3.1", "数据库", "deploiment",
    "kundigung",
    "refresh token timeout", "main.py", "the a", "what did we say about the logins?", "nowhere", "logni Muller",
    "ภาษา", "token OR NOT (",
)  # fmt: skip


async def _furnish(app: Backscroll, people: tuple[str, ...]) -> None:
    for number, person in enumerate(people):
        memory = app.memory(person, source="api")
        for session in range(12):
            words = [WORDS[(session * 5 + number * 3 + at * at) % len(WORDS)] for at in range(30)]
            said = [" ".join(words[at : at + 5]) for at in range(0, 30, 5)]
            at = NOW - timedelta(days=session)
            await memory.record_run(
                [
                    {**user(said[0]), "created_at": at},
                    assistant(said[1], call("c1", "bash", f'{{"command": "{said[2]}"}}'), call("c2", "Read", said[3])),
                    result("c1", said[4]),
                    result("c2", f"{said[5]} {said[0]}"),
                    {**assistant(f"done: {said[5]}"), "name": "Zoe"},
                ],
                session_id=f"{person}-{session}",
                project=f"/p/{session % 3}",
                agent="coder" if session % 2 else None,
            )
        await memory.fork_session("#4.3", new_session_id=f"{person}-fork")
        await memory.record_run([user("login after the fork"), assistant("deploy")], session_id=f"{person}-fork")


def _filters() -> list[dict[str, Any]]:
    return [
        {}, {"beside": True}, {"role": "user"}, {"tool_name": "BASH"}, {"project": "/p/1"}, {"agent": "coder"},
        {"session": "#4"}, {"session": "ada-fork"}, {"num_history_sessions": 3},
        {"num_history_sessions": 3, "current_session": "#12"}, {"since": NOW - timedelta(days=4)},
        {"until": NOW - timedelta(days=4), "role": "assistant"}, {"as_of": 30}, {"source": "nowhere"},
        {"similar": (1, 7, 9), "shown": frozenset({2, 3}), "beside": True}, {"similar": (1, 4, 9), "session": "#2"},
    ]  # fmt: skip


async def test_both_stores_find_the_same_with_the_same_measures(
    tmp_path: Path, postgres_url: str, tokens: TokenCounter
) -> None:
    file = tmp_path / "one.db"
    # A file of several users would be asked for its user's words alone, but weigh them by all that is in it.
    async with Backscroll(f"sqlite:///{file}", OFF) as app:
        await _furnish(app, ("ada",))
    mirror(file, postgres_url)
    async with Backscroll(postgres_url, OFF) as app:
        await _furnish(app, ("bob",))
        await app.store.rebuild_index()
    sqlite, postgres = await open_store(f"sqlite:///{file}"), await open_store(postgres_url)
    found = 0
    for query, filters in product(QUERIES, _filters()):
        asked = Search(read(query, NOW).terms, **filters)
        expected = await sqlite.search("ada", asked)
        assert await postgres.search("ada", asked) == expected, (query, filters)
        assert await postgres.weights("ada", asked) == expected.weights
        found += len(expected.candidates)
    narrowed: list[dict[str, Any]] = [{}, {"session": "#4"}, {"session": "ada-fork"}, {"tool_name": "bash"}]
    for query, filters in product(QUERIES, narrowed):
        clues = tuple(Clue(term) for term in read(query, NOW).terms)
        sought = CallSearch(clues, **filters)
        expected_calls = await sqlite.find_calls("ada", sought)
        assert await postgres.find_calls("ada", sought) == expected_calls, (query, filters)
        found += len(expected_calls.attempts)
    assert found > 2_000
    await sqlite.close()
    await postgres.close()


async def test_users_whose_lexemes_look_alike_find_nothing_of_each_other(
    postgres_url: str, tokens: TokenCounter
) -> None:
    names: dict[str, str] = {}
    for number in count():
        name = f"user{number}"
        other = names.setdefault(tag_of(user_key(name)), name)
        if other != name:
            break
    async with Backscroll(postgres_url, OFF) as app:
        await app.memory(name).record_run([user("a violin")])
        await app.memory(other).record_run([user("a cello and a viola")])
        assert (await app.memory(name).search_session_history("cello")).total == 0
        assert (await app.memory(other).search_session_history("violin")).total == 0
        (weight,) = await app.store.weights(name, Search((Term("viola", prefix=True),)))
        assert weight == 0.0
        assert (await app.memory(other).search_session_history("cello")).total == 1


# Limits


async def test_a_text_of_megabytes_is_found_by_its_words_and_its_beginning_by_phrases(
    postgres_url: str, tokens: TokenCounter
) -> None:
    text = "first phrase here " + "filling words " * 300_000 + "last phrase there"
    async with Backscroll(postgres_url, OFF) as app:
        memory = app.memory("ada")
        await memory.record_run([user(text)])
        for query in ('"first phrase here"', "first", "there", "filling"):
            assert (await memory.search_session_history(query)).total == 1, query
        # Beyond the positions that an entry has room for, words stand in no phrase.
        assert [hit.ref for hit in (await memory.search_session_history('"last phrase there"')).hits or ()] in (
            [],
            ["#1.1"],
        )
        assert await app.store.check() == []


async def test_of_more_different_words_than_an_entry_holds_the_first_are_found(
    postgres_url: str, tokens: TokenCounter
) -> None:
    async with Backscroll(postgres_url, OFF) as app:
        memory = app.memory("ada")
        await memory.record_run([user(" ".join(f"w{number:09}q" for number in range(200_000)))])
        assert (await memory.search_session_history("w000000007q")).total == 1
        assert (await memory.search_session_history('"w000199999q"')).total == 0
        assert await app.store.check() == []


async def test_a_word_too_long_for_a_lexeme_is_found_whole_and_by_its_beginning(
    postgres_url: str, tokens: TokenCounter
) -> None:
    word = "ab12" * 1_500
    async with Backscroll(postgres_url, OFF) as app:
        memory = app.memory("ada")
        await memory.record_run([user(f"see {word} there"), user(f"{word}x")])
        assert (await app.store.search("ada", Search((Term(word),)))).total == 1
        found = await app.store.search("ada", Search((Term("ab12" * 10, prefix=True),)))
        assert found.total == 2


# Mending

DAMAGES = (
    ("DELETE FROM search_entries WHERE message_key = 2", "lacks 2 messages"),
    ("UPDATE search_entries SET terms = '''abcword'':1'::tsvector WHERE message_key = 2", "otherwise than they are"),
    ("UPDATE search_entries SET session_key = session_key + 1 WHERE message_key = 3", "otherwise than they are"),
)


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
async def test_damage_is_found_and_mended(postgres_url: str, tokens: TokenCounter, damage: str, told: str) -> None:
    async with Backscroll(postgres_url, OFF) as app:
        await _furnish(app, ("ada", "bob"))
        assert await app.store.check() == []
        with psycopg.connect(postgres_url) as db:
            db.execute(damage)
        (problem,) = await app.store.check()
        assert told in problem
        steps: list[tuple[int, int]] = []
        held = await app.store.rebuild_index(lambda done, total: steps.append((done, total)))
        assert steps[-1][0] == steps[-1][1] > 0
        with psycopg.connect(postgres_url) as db:
            assert db.execute("SELECT count(*) FROM messages WHERE from_history = 0").fetchone() == (held,)
        assert await app.store.check() == []


async def test_entries_of_an_older_version_are_made_anew_in_the_background(
    postgres_url: str, tokens: TokenCounter
) -> None:
    async with Backscroll(postgres_url, OFF) as app:
        await _furnish(app, ("ada", "bob"))
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE meta SET value = %s WHERE name = 'index_version'", (str(INDEX_VERSION - 1).encode(),))
        db.execute("DELETE FROM search_entries WHERE message_key % 2 = 0")
    store = await open_store(postgres_url)
    assert (await store.search("bob", Search((Term("login"),)))).candidates
    async with asyncio.timeout(20):
        while not await store.index_is_current():
            await asyncio.sleep(0.01)
    assert await store.check() == []
    await store.close()


async def test_a_rebuild_that_was_broken_off_goes_on_at_the_next_opening(
    postgres_url: str, tokens: TokenCounter
) -> None:
    async with Backscroll(postgres_url, OFF) as app:
        await _furnish(app, ("ada", "bob", "eve"))
    with psycopg.connect(postgres_url) as db:
        db.execute("DELETE FROM search_entries")
    store = await open_store(postgres_url)
    began = asyncio.Event()
    rebuilding = asyncio.ensure_future(store.rebuild_index(lambda done, total: began.set()))
    await began.wait()
    rebuilding.cancel()
    await asyncio.gather(rebuilding, return_exceptions=True)
    await store.close()
    again = await open_store(postgres_url)
    # What is recorded meanwhile has its entry all the same.
    async with Backscroll(postgres_url, OFF) as app:
        await app.memory("eve").record_run([user("said meanwhile")])
    async with asyncio.timeout(20):
        while await again.check():
            await asyncio.sleep(0.01)
    assert (await again.search("eve", Search((Term("meanwhile"),)))).total == 1
    await again.close()


def test_two_servers_that_rebuild_at_once_come_to_the_same(
    postgres: PostgresServer, postgres_url: str, tokens: TokenCounter
) -> None:
    async def both() -> None:
        async with Backscroll(postgres_url, OFF) as app, Backscroll(postgres_url, OFF) as other:
            await _furnish(app, ("ada", "bob"))
            held = await asyncio.gather(app.store.rebuild_index(), other.store.rebuild_index())
            assert held[0] == held[1] > 100
            assert await app.store.check() == []

    asyncio.run(both())
