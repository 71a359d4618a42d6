"""What a query asks for, however it is put: questions, keywords, names of code, dates, speakers, slips."""

from typing import Any

import pytest

from backscroll import Backscroll, Memory
from backscroll.answers import SearchPage
from backscroll.errors import InvalidArgument
from backscroll.recall.reading import MAX_QUERY_CHARS
from backscroll.recall.searching import MAX_PASTED_CHARS
from builders import assistant, user
from mcp_doors import attached
from mcp_doors import said as text_of_call


async def said(memory: Memory, *lines: str, **run: Any) -> None:
    await memory.record_run([user(line) for line in lines], **{"session_id": "s", **run})


async def search(memory: Memory, query: str, **where: Any) -> SearchPage:
    return await memory.search_session_history(query, **{"limit": 100, "max_tokens": 20_000, **where})


async def lines(memory: Memory, query: str, **where: Any) -> list[str]:
    return [hit.snippet for hit in (await search(memory, query, **where)).hits or ()]


async def refs(memory: Memory, query: str, **where: Any) -> set[str]:
    """All that is found, lines that were folded into others too."""
    return {ref for hit in (await search(memory, query, **where)).hits or () for ref in (hit.ref, *hit.also)}


async def found(memory: Memory, *queries: str) -> dict[str, set[str]]:
    return {query: {ref.partition(".")[2] for ref in await refs(memory, query)} for query in queries}


# Code


async def test_a_name_is_found_however_it_is_joined(memory: Memory) -> None:
    names = ("getUserName", "get_user_name", "get-user-name", "get.user.name")
    await said(memory, *(f"then call {name} once" for name in names), "get the name of a user")
    assert await found(memory, *names) == {name: {"1", "2", "3", "4"} for name in names}


async def test_a_path_is_found_whole_in_part_and_by_its_last_part(memory: Memory) -> None:
    await said(
        memory,
        "see /usr/local/bin/notes.txt",
        "the entry is src/app/main.py:17",
        r"on Windows C:\Users\ada\main.rs",
        "a local user, usr, may share it",
    )
    assert await found(
        memory, "/usr/local/bin/notes.txt", "usr/local", "bin/notes.txt", "notes.txt", "./src/app/main.py",
        "main.py", "main.py:17", r"Users\ada", "C:/Users/ada", "/usr/share/local",
    ) == {
        "/usr/local/bin/notes.txt": {"1"}, "usr/local": {"1"}, "bin/notes.txt": {"1"}, "notes.txt": {"1"},
        "./src/app/main.py": {"2"}, "main.py": {"2"}, "main.py:17": {"2"}, r"Users\ada": {"3"}, "C:/Users/ada": {"3"},
        "/usr/share/local": {"4"},
    }  # fmt: skip
    assert (await search(memory, "/usr/share/local")).note == (
        "No message has 'usr/share/local'; searched for 'usr', 'share', 'local'."
    )


async def test_flags_versions_and_digests_are_found_as_they_are_written(memory: Memory) -> None:
    await said(
        memory,
        "docker build --no-cache .",
        "the cache is no help",
        "released v2.3.1 today",
        "pinned to 2.3.1",
        "pinned to 2.3.10",
        "reverted 3f2a9b1c77d0e4 at last",
        "ticket 1234567 is open",
    )
    assert await found(memory, "--no-cache", "no-cache", "2.3.1", "v2.3.1", "3f2a9b1c", "3F2A9B1", "12345") == {
        "--no-cache": {"1"},
        "no-cache": {"1"},
        "2.3.1": {"3", "4"},
        "v2.3.1": {"3", "4"},
        "3f2a9b1c": {"6"},
        "3F2A9B1": {"6"},
        "12345": set(),
    }


ERROR = """error[E0308]: mismatched types
  --> src/main.rs:10:5
   |
10 |     serve(port)
   |           ^^^^ expected `u16`, found `&str`
For more information about this error, try `rustc --explain E0308`."""


async def test_a_pasted_error_message_finds_where_it_was_seen(memory: Memory) -> None:
    for line in (
        "error[E0277]: the trait bound is not satisfied in src/main.rs, try `rustc --explain E0277`",
        f"I get this:\n{ERROR}\nwhat now?",
        "expected more information about types, found an error",
    ):
        await said(memory, line, session_id=line[:9])
    assert (await lines(memory, ERROR))[0].startswith("I get this:")
    assert (await lines(memory, "error[E0308]: mismatched types expected `u16`, found `&str`"))[0].startswith("I get")


# Words


async def test_keywords_find_every_line_with_any_of_them_and_those_with_all_first(memory: Memory) -> None:
    await said(memory, "the kettle boils", "the pantry", "the kettle is in the pantry", "the garden")
    assert (await lines(memory, "kettle pantry"))[0] == "the kettle is in the pantry"
    assert await found(memory, "kettle pantry", "KETTLE", "kettles") == {
        "kettle pantry": {"1", "2", "3"},
        "KETTLE": {"1", "3"},
        "kettles": {"1", "3"},
    }


async def test_a_question_finds_the_line_that_answers_it(memory: Memory) -> None:
    await said(memory, "The garden needs water.", session_id="other")
    await memory.record_run(
        [
            user("Where do we keep the big copper kettle?"),
            assistant("In the pantry, on the upper shelf."),
            user("And the small kettle goes with the camping things."),
        ],
        session_id="s",
    )
    assert "In the pantry, on the upper shelf." in (await lines(memory, "Where is the copper kettle?"))[:2]


async def test_possessives_and_contractions_are_the_words_that_they_are_made_of(memory: Memory) -> None:
    await said(
        memory,
        "ada has a kettle",
        "O'Brien has a garden",
        "ca wo sha ai re ve ll",
        "it didn't rain",
        "the developers met",
    )
    assert await found(
        memory, "ada's kettle", "Ada’s", "O'Brien's garden", "why can't, won't and shan't ada's kettle?",
        "we're they've", "didn't", "the developers' kettle",
    ) == {
        "ada's kettle": {"1"}, "Ada’s": {"1"}, "O'Brien's garden": {"2"},
        "why can't, won't and shan't ada's kettle?": {"1"}, "we're they've": set(), "didn't": {"4"},
        "the developers' kettle": {"1", "5"},
    }  # fmt: skip


async def test_stop_words_alone_find_the_lines_that_hold_them(memory: Memory) -> None:
    await said(memory, "to be or not to be", "kettles boil", "who are you then")
    page = await search(memory, "to be or not to be")
    assert [hit.snippet for hit in page.hits or ()] == ["to be or not to be"]
    assert page.note is None


@pytest.mark.parametrize(
    ("query", "tried"),
    [
        ("who are they", "'who', 'are', 'they'"),
        ("where did the walrus go?", "'walrus', 'go'"),
        ("walrus zebra lynx otter heron", "'walrus', 'zebra', 'lynx' and 2 more"),
        ("?!", "The query holds no word."),
        ('"copper walrus"', "\"copper walrus\" together; searched for the words. No message has 'copper', 'walrus'"),
    ],
)
async def test_where_nothing_is_found_the_answer_says_what_was_tried(memory: Memory, query: str, tried: str) -> None:
    await said(memory, "kettles boil")
    page = await search(memory, query)
    assert (page.hits, page.total) == ((), 0)
    assert tried in (page.note or "")


async def test_where_nothing_is_found_the_text_says_what_was_tried_and_what_would_widen_it(app: Backscroll) -> None:
    await said(app.memory("ada"), "kettles boil")
    async with attached(app, "auto") as client:
        told = text_of_call(await client.call_tool("search_session_history", {"query": "walrus"}))
    assert told.startswith("No message has 'walrus'. Nothing matches. Try other words, fewer filters")


async def test_a_word_that_is_nowhere_is_told_beside_what_the_others_find(memory: Memory) -> None:
    await said(memory, "kettles boil")
    page = await search(memory, "kettles walrus")
    assert len(page.hits or ()) == 1
    assert page.note == "No message has 'walrus'."


async def test_a_note_stays_short_and_on_one_line(memory: Memory) -> None:
    await said(memory, "kettles boil")
    for query in ("x" * 2_000, " ".join(f"nowhere{n}" * 8 for n in range(25)), f'"{"walrus " * 280}"'):
        page = await memory.search_session_history(query, max_tokens=200)
        assert page.hits == ()
        assert page.note is not None
        assert len(page.note) < 400
        assert "\n" not in page.note


# Phrases


async def test_a_phrase_is_required_and_the_other_words_only_order(memory: Memory) -> None:
    await said(memory, "the flaky test failed", "the test was flaky, said ada", "a flaky test, said ada", "ada alone")
    assert (await lines(memory, '"flaky test" ada'))[0] == "a flaky test, said ada"
    assert await found(memory, '"flaky test" ada', '"FLAKY  Test"', '"flaky test" "said ada"', '"test" flaky') == {
        '"flaky test" ada': {"1", "3"},
        '"FLAKY  Test"': {"1", "3"},
        '"flaky test" "said ada"': {"3"},
        '"test" flaky': {"1", "2", "3"},
    }


async def test_a_phrase_holds_behind_more_words_than_are_looked_for(memory: Memory) -> None:
    many = " ".join(f"word{n}" for n in range(100))
    await said(memory, many, "the flaky test failed")
    assert await refs(memory, f'{many} "flaky test"') == {"#1.2"}


async def test_where_nothing_has_a_phrase_its_words_are_searched_and_the_note_says_so(memory: Memory) -> None:
    await said(memory, "the test was flaky", "of the garden", "flaky paint")
    page = await search(memory, '"flaky test of the code"')
    assert {hit.ref for hit in page.hits or ()} == {"#1.1", "#1.3"}
    assert (page.hits or ())[0].ref == "#1.1"
    assert page.note is not None
    assert page.note.startswith('No message has "flaky test of the code" together; searched for the words.')


async def test_unbalanced_and_curly_quotes_are_no_part_of_a_word(memory: Memory) -> None:
    await said(memory, "the flaky test failed", "nothing of the kind")
    for query in ('"flaky', 'flaky"', '"', '""', "“flaky”", "„flaky“", "«flaky»", '"flaky" "'):
        page = await search(memory, query)
        assert [hit.ref for hit in page.hits or ()] == (["#1.1"] if "flaky" in query else []), query
        assert page.note is None or "flaky" not in page.note


# Slips


@pytest.mark.parametrize("query", ["ketle", "kettlle", "kattle", "ketlte", "KETLE", "ketle's"])
async def test_one_edit_is_forgiven_and_told(memory: Memory, query: str) -> None:
    await said(memory, "the kettle boils", "nothing of the kind")
    page = await search(memory, query)
    assert [hit.ref for hit in page.hits or ()] == ["#1.1"]
    assert page.note == f"No message has {query.removesuffix(chr(39) + 's')!r}; searched for 'kettle'."


async def test_a_slip_in_a_name_of_several_words_is_forgiven(memory: Memory) -> None:
    await said(memory, "call get_user_name once", "call get_group_name once")
    page = await search(memory, "get_usr_name")
    assert [hit.ref for hit in page.hits or ()] == ["#1.1"]
    assert page.note is not None
    assert "'user'" in page.note or "user_name" in page.note


async def test_the_beginning_of_a_word_finds_longer_ones_and_the_note_says_so(memory: Memory) -> None:
    await said(memory, "die Datenbankverbindung ist weg", "die Bank ist zu")
    page = await search(memory, "Datenbank")
    assert [hit.ref for hit in page.hits or ()] == ["#1.1"]
    assert page.note is not None
    assert page.note.startswith("No message has 'Datenbank'; searched for 'Datenbank...'")


async def test_the_beginning_of_a_word_finds_however_many_longer_ones(memory: Memory) -> None:
    await said(memory, *(f"Datenbank{chr(97 + n % 26)}{chr(97 + n // 26)}q ist weg" for n in range(400)))
    page = await search(memory, "Datenbank")
    assert page.total == 400
    assert page.note == "No message has 'Datenbank'; searched for 'Datenbank...'."


async def test_two_edits_and_slips_in_short_words_are_not_forgiven(memory: Memory) -> None:
    await said(memory, "the kettle boils in a pot")
    assert await found(memory, "katlle", "pit", "kettl") == {"katlle": set(), "pit": set(), "kettl": {"1"}}


# Times and speakers


SAID_AT = ("2024-01-10", "2024-03-12", "2024-05-01", "2024-08-20", "2025-03-12")


async def the_same_line_on_several_days(memory: Memory) -> None:
    for day in SAID_AT:
        await memory.record_run(
            [user("The budget of the garden is settled.", created_at=f"{day}T12:00:00Z")], session_id=day
        )


@pytest.mark.parametrize(
    ("query", "until", "day"),
    [
        ("What did we say about the budget in March 2024?", None, "2024-03-12"),
        ("What did we say about the budget in March?", "2024-09-01", "2024-03-12"),
        ("budget 10 January 2024", None, "2024-01-10"),
        ("budget 2024-08-20", None, "2024-08-20"),
        ("what about the budget yesterday", "2024-05-02", "2024-05-01"),
        ("what did we say about the budget last month?", "2024-09-15", "2024-08-20"),
        ("what did we say about the budget two months ago?", "2024-03-15", "2024-01-10"),
    ],
)
async def test_what_was_said_in_the_time_that_is_named_comes_first(
    memory: Memory, query: str, until: str | None, day: str
) -> None:
    await the_same_line_on_several_days(memory)
    page = await search(memory, query, until=until)
    assert page.hits is not None
    assert page.hits[0].session_id == day
    assert {hit.session_id for hit in page.hits} == {one for one in SAID_AT if until is None or one < until}


async def test_a_question_that_names_nothing_but_a_time_shows_the_sessions_of_it(memory: Memory) -> None:
    await the_same_line_on_several_days(memory)
    page = await search(memory, "What did we do on 12 March 2024?")
    assert [line.session_id for line in page.sessions or ()] == ["2024-03-12"]


async def test_words_that_name_a_time_are_neither_mended_nor_missed(memory: Memory) -> None:
    await said(memory, "a list of kettles", "there is marchpane at the wedding")
    for query in ("kettles last week", "kettles in March 2025", "kettles yesterday", "yesterday's kettles"):
        page = await search(memory, query)
        assert ([hit.ref for hit in page.hits or ()], page.note) == (["#1.1"], None)


@pytest.mark.parametrize("as_name", [True, False])
async def test_the_words_of_the_speaker_that_is_named_come_first(memory: Memory, as_name: bool) -> None:
    for name in ("Melanie", "Caroline", "Joe"):
        text = "I adopted a grey cat from the shelter in town."
        message = user(text, name=name) if as_name else user(f"{name}: {text}")
        await memory.record_run([message], session_id=name)
    for name in ("Melanie", "Caroline", "Joe"):
        page = await search(memory, f"Which cat did {name} adopt?")
        assert page.hits is not None
        assert page.hits[0].session_id == name


# Nothing is an operator


OPERATORS: dict[str, set[str]] = {
    "fox AND dog": {"1", "2", "3"},
    "fox OR dog": {"1", "2", "3"},
    "fox NOT dog": {"1", "2", "3"},
    "NOT fox": {"1", "3"},
    "fox NEAR dog": {"1", "2", "3", "4"},
    "NEAR(fox dog, 2)": {"1", "2", "3", "4"},
    "near": {"4"},
    "fo*": set(),
    "fox*": {"1", "3"},
    "^fox": {"1", "3"},
    "^ fox": {"1", "3"},
    "- fox": {"1", "3"},
    "-fox": {"1", "3"},
    "+fox": {"1", "3"},
    "fox + dog": {"1", "2", "3"},
    "{fox}": {"1", "3"},
    "{text forms} : fox": {"1", "3", "5"},
    "text : fox": {"1", "3", "5"},
    "forms: fox": {"1", "3", "5"},
    "rank": {"6"},
    "rank : fox": {"1", "3", "6"},
    "scope : fox": {"1", "3"},
    "search_index": set(),
    "(fox": {"1", "3"},
    "fox)": {"1", "3"},
    "((fox) AND (dog))": {"1", "2", "3"},
    "fox ' dog": {"1", "2", "3"},
    "fox\\": {"1", "3"},
    "%": set(),
    "f_x": set(),
    "fox; DROP TABLE messages": {"1", "3"},
    "fox'--": {"1", "3"},
    "(* fox *)": {"1", "3"},
    "? ?1 :match $1 @x fox": {"1", "3"},
}


async def test_the_operators_of_the_engine_are_plain_words(memory: Memory) -> None:
    await said(memory, "the fox", "a dog", "the fox met a dog", "stay near", "forms of text", "of high rank")
    assert await found(memory, *OPERATORS) == OPERATORS


async def test_tokens_of_the_scope_are_words_like_any_other(app: Backscroll) -> None:
    ada, bob = app.memory("ada"), app.memory("bob")
    await said(ada, "ada keeps kettles", "the token xu1 was typed", project="p", agent="a")
    await said(bob, "bob keeps foxes", session_id="t")
    tokens = ("xu1", "xu2", "xs1", "xs2", "xruser", "scope : xu2", "scope:xs1", '"xu2"', "(scope : xu1)", "xu1 OR xu2")
    assert await found(bob, *tokens) == {token: set() for token in tokens}
    assert await found(ada, *tokens) == {token: {"2"} if "xu1" in token else set() for token in tokens}
    for token in tokens:
        assert await refs(bob, f"{token} foxes") == {"#1.1"}
        assert "#1.1" not in await refs(ada, f"{token} foxes")


async def test_of_a_long_query_both_ends_are_asked_and_one_beyond_reason_is_refused(memory: Memory) -> None:
    await said(memory, "the fox", "a dog")
    longest = ("fox " * MAX_QUERY_CHARS)[:MAX_QUERY_CHARS]
    assert await refs(memory, longest) == {"#1.1"}
    assert await refs(memory, f"fox {'x ' * 20_000} dog") == {"#1.1", "#1.2"}
    with pytest.raises(InvalidArgument, match="query"):
        await memory.search_session_history("x" * (MAX_PASTED_CHARS + 1))


# What is not reached yet


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("我们昨天讨论了数据库的结构和索引的设计", "数据库的设计是什么?"),
        ("مُحَمَّد وصل أمس", "محمد"),
        ("Bob was first, he won it by a mile", "who won the chariot race?"),
    ],
)
async def test_a_question_in_any_words_finds_its_line(memory: Memory, text: str, query: str) -> None:
    await said(memory, text)
    await said(memory, "the race is on a sunny day", session_id="t")
    assert "#1.1" in await refs(memory, query)
