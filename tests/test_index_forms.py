"""What the index holds beside the words that the tokenizer makes, and how it spells what is no word."""

import re
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backscroll.store.indexing import (
    LONGEST_NAME,
    TOKENIZER,
    Scope,
    bigrams,
    entry,
    extra_forms,
    query_forms,
    scope_tokens,
    unspaced_runs,
)

WORD = re.compile(r"[^\W\d_]+\d*(?:[^\W\d_]+\d*)*")
PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
ROLES = ("system", "user", "assistant", "tool")


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[sqlite3.Connection]:
    """An index in memory that takes one text at a time, and tells which tokens it made of it."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(f"CREATE VIRTUAL TABLE one USING fts5 (text, forms, scope, content = '', tokenize = '{TOKENIZER}')")
    db.execute("CREATE VIRTUAL TABLE tokens USING fts5vocab (one, instance)")
    yield db
    db.close()


def tokens(db: sqlite3.Connection, text: str) -> list[str]:
    db.execute("INSERT INTO one (one) VALUES ('delete-all')")
    db.execute("INSERT INTO one (rowid, text) VALUES (1, ?)", (text,))
    return [term for (term,) in db.execute("SELECT term FROM tokens ORDER BY offset")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (r'{"code":"x = 1\nimport os"}', ["code", "x", "1", "import", "os"]),
        (r'{"q":"caf\u00e9 \ud83d\ude00 cr\u00e8me"}', ["q", "cafe", "creme"]),
        (r'{"path":"C:\\new\\table"}', ["path", "c", "new", "tabl"]),
        (r'{"broken":"\ud83d and \u12"}', ["broken", "and", "u12"]),
    ],
)
def test_arguments_are_indexed_as_they_were_meant(
    tokenizer: sqlite3.Connection, arguments: str, words: list[str]
) -> None:
    made = entry("", [("run", arguments)], Scope(1, 1, "api", "assistant"))
    assert [word for word in tokens(tokenizer, made.text) if word != "\ufffd"] == ["run", *words]


def finds(db: sqlite3.Connection, query: str, text: str) -> bool:
    """Whether any form of a query's word finds the message."""
    db.execute("INSERT INTO one (one) VALUES ('delete-all')")
    db.execute("INSERT INTO one (rowid, text, forms, scope) VALUES (1, ?, ?, ?)", entry(text, (), Scope(1, 1, "", "")))
    match = " OR ".join(f'"{form}"' for form in query_forms(query))
    return db.execute("SELECT 1 FROM one WHERE one MATCH ?", (match,)).fetchone() is not None


def plainly(text: str) -> list[str]:
    """The parts of camelCase words, every word looked at in turn."""
    mixed = (
        word
        for word in WORD.findall(text)
        if word.isascii() and len(word) <= LONGEST_NAME and not (word.islower() or word.isupper() or word.istitle())
    )
    return [part for word in mixed for part in PART.findall(word)]


@given(st.text(st.sampled_from("aBcD1 2_.-"), max_size=16) | st.text(st.sampled_from("xYz1 "), max_size=200))
@example("parseHTTPResponse")
@example("3dPrinter x2Y A1b Ab1Cd")
@example("ABc_dEf")
@example("aB" * 32 + " " + "aB" * 33)
def test_the_quick_way_finds_the_parts_that_the_plain_way_finds(text: str) -> None:
    assert list(extra_forms(text)) == plainly(text)


def test_camel_case_is_taken_apart() -> None:
    assert list(extra_forms("call parseHTTPResponse now")) == ["parse", "HTTP", "Response"]
    assert list(extra_forms("HTTPServer2 getURLFor")) == ["HTTP", "Server", "2", "get", "URL", "For"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("strasse", "Sie wohnt in der Großen Straße 7"),
        ("Straße", "HAUPTSTRASSE strasse"),
        ("straße", "DIE STRASSE"),
        ("gross", "groß"),
        ("grosse", "gro\u0308ße"),
        ("find", "ﬁnd the ligature"),
        ("ABC12", "ＡＢＣ１２"),
        ("ＡＢＣ", "abc"),
        ("coeur", "le cœur"),
        ("lodz", "Łódź"),
        ("kobenhavn", "København"),
        ("Αθηνα", "στην Αθήνα"),
        ("m2", "80 m²"),
        ("iphone", "昨日iPhoneを買った"),
        ("getURLFor", "def get_url_for(self):"),
        ("get_url_for", "self.getURLFor(x)"),
        ("HTTPServer", "class HTTPServer2:"),
        ("2.3.1", "released v2.3.1 today"),
        ("v2.3.1", "released 2.3.1 today"),
        ("compiled", "the compiler is compiling"),
    ],
)
def test_a_word_is_found_in_another_spelling(tokenizer: sqlite3.Connection, query: str, text: str) -> None:
    assert finds(tokenizer, query, text)


def test_a_word_is_not_found_where_only_others_stand(tokenizer: sqlite3.Connection) -> None:
    assert not finds(tokenizer, "strasse", "Straßburg")
    assert not finds(tokenizer, "2.3.1", "released dev2.3.1 today")


def test_composed_and_loose_letters_make_the_same_pairs() -> None:
    assert bigrams("한글") == bigrams("\u1112\u1161\u11ab\u1100\u1173\u11af")
    assert bigrams("ｶﾞｷﾞ") == bigrams("ガギ")


UNSPACED = st.text(
    st.characters(min_codepoint=0x1100, max_codepoint=0x2FFFF).filter(lambda sign: bool(unspaced_runs(sign))),
    min_size=1,
    max_size=8,
)
NAMES = st.text(max_size=40)


@given(UNSPACED)
def test_pairs_come_through_the_tokenizer_as_they_are_spelled(tokenizer: sqlite3.Connection, run: str) -> None:
    assert tokens(tokenizer, bigrams(run)) == bigrams(run).split(" ")


@given(st.integers(1, 10**12), st.integers(1, 10**12), NAMES, NAMES, NAMES, st.lists(NAMES, max_size=3))
def test_scope_tokens_come_through_the_tokenizer_as_they_are_spelled(
    tokenizer: sqlite3.Connection, user: int, session: int, source: str, project: str, agent: str, tools: list[str]
) -> None:
    spelled = list(scope_tokens(Scope(user, session, source, "user", project, agent, tuple(tools))))
    assert tokens(tokenizer, " ".join(spelled)) == spelled


def test_roles_stay_apart_in_the_tokenizer(tokenizer: sqlite3.Connection) -> None:
    made = [
        tokens(tokenizer, next(t for t in scope_tokens(Scope(1, 1, "", role)) if t.startswith("xr"))) for role in ROLES
    ]
    assert [len(one) for one in made] == [1] * len(ROLES)
    assert len({one[0] for one in made}) == len(ROLES)


@given(st.text(max_size=200))
def test_any_text_has_forms_and_any_word_can_be_asked_for(text: str) -> None:
    for form in extra_forms(text):
        assert form.strip()
    assert query_forms(text)[0] == text
