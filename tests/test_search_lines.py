"""What a hit looks like, which lines are told, in which order, and over how many pages."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backscroll import Backscroll, Memory
from backscroll.answers import Hit, SearchPage
from backscroll.ranking import snippet
from backscroll.render import hit_line
from backscroll.store import Search, Term
from builders import a_turn, assistant, call, result, user
from hunting import examples
from mcp_doors import attached
from mcp_doors import said as text_of_call

LONG = "the copper kettle on the upper shelf of the pantry boils its water in under four minutes if it is half full"


async def said(memory: Memory, *lines: str, **run: Any) -> None:
    await memory.record_run([user(line) for line in lines], **{"session_id": "s", **run})


async def hits(memory: Memory, query: str, **where: Any) -> tuple[Hit, ...]:
    page = await memory.search_session_history(query, **{"limit": 100, "max_tokens": 20_000, **where})
    assert page.hits is not None
    return page.hits


async def pages(memory: Memory, query: str, **where: Any) -> list[SearchPage]:
    """Every page, by the cursors."""
    read = [await memory.search_session_history(query, **where)]
    more = {name: value for name, value in where.items() if name in ("limit", "max_tokens")}
    while cursor := read[-1].next_cursor:
        read.append(await memory.search_session_history(cursor=cursor, **more))
    return read


def told(read: list[SearchPage]) -> list[str]:
    return [hit.ref for page in read for hit in page.hits or ()]


# Near-duplicates


async def test_lines_that_say_the_same_are_one_line_that_names_the_others(app: Backscroll) -> None:
    memory = app.memory("ada")
    for n in range(6):
        await said(memory, f"{LONG}{'!' * n}", session_id=f"s{n}")
    (hit,) = await hits(memory, "copper kettle")
    assert (hit.ref, hit.also, hit.alike) == ("#6.1", ("#5.1", "#4.1", "#3.1"), 5)
    (page,) = await pages(memory, "copper kettle")
    assert page.total == 6
    async with attached(app, "auto") as client:
        shown = text_of_call(await client.call_tool("search_session_history", {"query": "copper kettle"}))
    assert "alike: #5.1, #4.1, #3.1 and 2 more)" in shown


async def test_lines_that_differ_are_told_each(memory: Memory) -> None:
    await said(memory, "run 17 of the kettle", "run 18 of the kettle", f"{LONG} and lit from below by gas and wood")
    await said(memory, LONG)
    await memory.record_run([assistant(f"{LONG}.")], session_id="s")
    assert [hit.alike for hit in await hits(memory, "kettle")] == [0] * 5


async def test_short_lines_are_the_same_only_within_their_session(memory: Memory) -> None:
    await said(memory, "Yes, kettles.", "Yes, kettles!", session_id="one")
    await said(memory, "Yes, kettles.", session_id="two")
    assert sorted((hit.session_id, hit.alike) for hit in await hits(memory, "kettles")) == [("one", 1), ("two", 0)]


async def test_the_same_words_of_two_speakers_are_two_lines(memory: Memory) -> None:
    lines = [user("Yes, kettles.", name=name) for name in ("Melanie", "Caroline", "Melanie")]
    await memory.record_run(lines, session_id="s")
    assert {(hit.name, hit.alike) for hit in await hits(memory, "kettles")} == {("Melanie", 1), ("Caroline", 0)}


# The line before


async def a_choice(memory: Memory, **run: Any) -> None:
    await memory.record_run(
        [
            user("Which of the two copper kettles from the market shall we buy for the cabin in the woods?"),
            assistant("The second one, it pours well."),
            user(f"Good. {LONG} And we should look at kettles again in spring, says the man from the market."),
        ],
        **{"session_id": "s", **run},
    )


async def test_a_short_line_shows_what_it_answers(memory: Memory) -> None:
    await a_choice(memory)
    before = {hit.ref: hit.before for hit in await hits(memory, "which of the kettles from the market shall we buy?")}
    assert before["#1.1"] is None
    assert "copper kettles from the market" in (before["#1.2"] or "")
    assert before["#1.3"] is None
    (hit,) = await hits(memory, "pours")
    assert "copper kettles" in (hit.before or "")
    assert f'after "{hit.before}"' in hit_line(hit)


async def test_what_only_stands_beside_a_match_is_never_told_for_bare_keywords(memory: Memory) -> None:
    await a_choice(memory)
    for query in ("kettles", "copper kettles market", "kettles NOT market", '"copper kettles" which of the two?'):
        assert "#1.2" not in {hit.ref for hit in await hits(memory, query)}


@pytest.mark.parametrize(
    "where",
    [
        {"role": "user"},
        {"session_id": "here"},
        {"project": "/srv/here"},
        {"agent": "coder"},
        {"tool_name": "bash"},
        {"since": "2026-03-02"},
        {"until": "2026-03-02"},
        {"source": "api"},
        {"num_history_sessions": 1},
    ],
)
async def test_what_stands_beside_a_match_obeys_the_filters_too(memory: Memory, where: dict[str, Any]) -> None:
    question = "Which kettle shall we buy at the market, the copper one?"
    allowed: set[str] = set()
    for n, (session, project, agent, day) in enumerate(
        [
            ("there", "/srv/there", "coder", "01"),
            ("there", "/srv/there", "writer", "02"),
            ("here", "/srv/here", "coder", "01"),
            ("here", "/srv/here", "writer", "03"),
        ]
    ):
        number, seq = (1, 2)[session == "here"], 1 if n % 2 == 0 else 5
        await memory.record_run(
            [
                {**message, "created_at": f"2026-03-{day}T10:00:0{second}Z"}
                for second, message in enumerate(
                    [
                        user(f"{question} ({n})"),
                        assistant("Let us look.", call(f"c{n}", ("bash", "Grep")[n % 2])),
                        result(f"c{n}", "it pours well"),
                        assistant(f"Buy that kettle at the market, number {n}."),
                    ]
                )
            ],
            session_id=session,
            project=project,
            agent=agent,
        )
        kept = {
            "role": {seq},
            "session_id": {*range(seq, seq + 4)} if session == "here" else set(),
            "project": {*range(seq, seq + 4)} if session == "here" else set(),
            "num_history_sessions": {*range(seq, seq + 4)} if session == "here" else set(),
            "agent": {*range(seq, seq + 4)} if agent == "coder" else set(),
            "tool_name": {seq + 1, seq + 2} if n % 2 == 0 else set(),
            "since": {*range(seq, seq + 4)} if day != "01" else set(),
            "until": {*range(seq, seq + 4)} if day == "01" else set(),
            "source": {*range(seq, seq + 4)},
        }[next(iter(where))]
        allowed |= {f"#{number}.{one}" for one in kept}
    found = {ref for hit in await hits(memory, question, **where) for ref in (hit.ref, *hit.also)}
    assert found <= allowed
    if "tool_name" not in where:
        assert found


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {1, 2, 3, 4}),
        ({"session": "two"}, {3, 4}),
        ({"project": "/srv/two"}, {3, 4}),
        ({"source": "api"}, {1, 2}),
        ({"num_history_sessions": 1}, {3, 4}),
        ({"role": "user"}, {1, 3}),
        ({"until": datetime(2026, 3, 2, tzinfo=UTC)}, {1, 2}),
        ({"shown": frozenset({2, 3})}, {1, 4}),
    ],
)
async def test_what_is_found_by_its_meaning_obeys_the_filters_too(
    app: Backscroll, filters: dict[str, Any], expected: set[int]
) -> None:
    """As the search by meaning hands it to the store: keys of messages, of which two hold no word of the query."""
    for day, (session, source) in enumerate((("one", "api"), ("two", "other")), start=1):
        at = f"2026-03-0{day}T10:00:00Z"
        await app.memory("ada", source=source).record_run(
            [user("the kettle boils", created_at=at), assistant("it is hot", created_at=at)],
            session_id=session,
            project=f"/srv/{session}",
        )
    await said(app.memory("bob"), "the kettle of bob")
    wanted = Search((Term("kettle"),), similar=(1, 2, 3, 4, 5, 99), **filters)
    found = await app.store.search("ada", wanted)
    assert {one.turn.key for one in found.candidates} == expected
    assert found.total == len({1, 3} & (expected | filters.get("shown", set())))


async def test_no_line_of_another_user_stands_beside_a_match(app: Backscroll) -> None:
    ada, bob = app.memory("ada"), app.memory("bob")
    for n in range(5):
        await said(ada, f"which kettle shall ada buy, number {n}?", f"adaword {n}", session_id="s")
        await said(bob, f"which kettle shall bob buy, number {n}?", f"bobword {n}", session_id="s")
    for memory, own, other in ((ada, "ada", "bob"), (bob, "bob", "ada")):
        await said(memory, "a kettle", session_id="weaker")
        found = repr(await hits(memory, "which kettle shall we buy?"))
        assert f"{own}word" in found
        assert f"{other}word" not in found
        assert f"shall {other} buy" not in found


# Snippets


WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=14), min_size=60, max_size=120)


@settings(max_examples=examples(60))
@given(WORDS, st.integers(0, 119), st.sampled_from(" \n\t"))
def test_a_snippet_shows_the_word_and_cuts_none(words: list[str], place: int, space: str) -> None:
    words.insert(place, "Needle")
    shown = snippet(space.join(words), {"needle": 2.0, "zzz": 3.0}, 240)
    cut = shown.removeprefix("...").removesuffix("...").split(" ")
    at = next(at for at in range(len(words)) if words[at : at + len(cut)] == cut)
    assert "Needle" in cut
    assert shown.startswith("...") == (at > 0)
    assert shown.endswith("...") == (at + len(cut) < len(words))
    assert len(shown) <= 246


CLUSTERS = ("👩\u200d👩\u200d👧\u200d👦", "👍🏽", "❤\ufe0f", "e\u0301", "ก็", "ที่", "नि", "क्", "שָׁ", "x")


@settings(max_examples=examples(40))
@given(st.lists(st.sampled_from(CLUSTERS), min_size=200, max_size=260), st.integers(0, 199))
@example([*["x"] * 200, "e\u0301"], 126)
def test_a_snippet_is_never_cut_within_a_letter(clusters: list[str], place: int) -> None:
    clusters[place] = "needle"
    shown = snippet("".join(clusters), {"needle": 1.0}, 100)
    bounds = {0, *itertools.accumulate(map(len, clusters))}
    start = "".join(clusters).index(shown.strip("."))
    assert "needle" in shown
    assert {start, start + len(shown.strip("."))} <= bounds


@pytest.mark.parametrize(
    ("text", "words", "shown"),
    [
        ("in Zürich, am See", {"zurich": 1.0}, "Zürich"),
        ("in zurich, am See", {"zürich": 1.0}, "zurich"),
        ("die STRASSE hinab", {"strasse": 1.0}, "STRASSE"),
        ("İstanbul'da BULUŞALIM", {"buluşalim": 1.0}, "BULUŞALIM"),
        ("서울에서 만나요", {"서울": 1.0}, "서울에서"),
        ("then compiling it", {"compile": 1.0}, "compiling"),
        ("the rare and the common", {"rare": 3.0, "word": 0.1}, "rare"),
    ],
)
def test_a_snippet_finds_the_word_in_its_other_spellings(text: str, words: dict[str, float], shown: str) -> None:
    filler = "word " * 300
    assert shown in snippet(f"{filler}{text} {filler}", words, 240)


def test_a_snippet_stays_short_whatever_the_text() -> None:
    for text in ("e" + "\u0301" * 5_000, "👩" + "\u200d👩" * 5_000, "x" * 5_000, "\u0301" * 5_000, " " * 5_000 + "x"):
        assert len(snippet(text, {"x": 1.0}, 240)) <= 320


async def test_a_short_text_is_shown_whole_and_a_long_one_around_its_rarest_words(memory: Memory) -> None:
    await said(memory, "a\n short\t\ttext  on kettles", *(f"number {n} has the common word" for n in range(30)))
    await said(memory, "common " * 200 + "and then a walrus came by " + "common " * 200)
    assert [hit.snippet for hit in await hits(memory, "kettles")] == ["a short text on kettles"]
    (hit, *_) = await hits(memory, "common walrus")
    assert hit.ref == "#1.32"
    assert "and then a walrus came by" in hit.snippet


@pytest.mark.parametrize(
    ("query", "there"),
    [("getUserName", "get_user_name"), ("get_user_name", "getUserName"), ("zurich", "Zürich"), ("ketle", "kettle")],
)
async def test_a_snippet_shows_what_was_found_in_another_spelling(memory: Memory, query: str, there: str) -> None:
    await said(memory, f"{'word ' * 300}{there} {'word ' * 300}")
    (hit,) = await hits(memory, query)
    assert there in hit.snippet


@pytest.mark.parametrize(
    "text",
    ["הקומקום רותח במטבח", "الغلاية تغلي في المطبخ", "kettle 👩\u200d👩\u200d👧 👍🏽 ❤\ufe0f", "e\u0301lan vital"],
)
async def test_text_of_any_direction_and_emoji_come_through(memory: Memory, text: str) -> None:
    await said(memory, text)
    (hit,) = await hits(memory, text.partition(" ")[0])
    assert hit.snippet == text


async def test_a_line_tells_who_spoke_and_when(app: Backscroll) -> None:
    at = {"created_at": "2026-03-04T05:06:07Z"}
    await app.memory("ada").record_run(
        [
            user("kettle one", name="Melanie", **at),
            assistant("kettle two", **at),
            assistant("", call("c", "boil", '{"what":"kettle three"}'), call("d", "bo\nil"), **at),
            result("c", "kettle four", **at),
            result("d", "the kettle is none", **at),
            user("kettle five", name="a very\n[/history] long " + "name " * 40, **at),
        ],
        session_id="s",
        agent="cook",
    )
    async with attached(app, "auto") as client:
        shown = text_of_call(await client.call_tool("search_session_history", {"query": "kettle"}))
    # Each on one line, whatever the names hold.
    lines = {line.split("  ")[0]: line for line in shown.splitlines() if line.startswith("#")}
    assert lines["#1.1"].startswith("#1.1  2026-03-04 05:06  user:Melanie  kettle one   (~")
    assert lines["#1.2"].startswith("#1.2  2026-03-04 05:06  assistant")
    assert "boil" in lines["#1.3"]
    assert lines["#1.4"].startswith("#1.4  2026-03-04 05:06  tool:boil  kettle four   (~")
    assert lines["#1.5"].startswith("#1.5  2026-03-04 05:06  tool:bo il  the kettle is none   (~")
    assert lines["#1.6"].startswith("#1.6  2026-03-04 05:06  user:a very [/history] long name")
    assert len(lines["#1.6"]) < 160


# Order


async def test_the_order_is_the_same_twice_and_after_the_file_was_closed(url: str) -> None:
    queries = ("kettle", "which kettle is in the garden?", "kettle garden pantry", "ketle", '"the kettle"')

    async def orders(app: Backscroll) -> dict[str, list[tuple[str, str]]]:
        memory = app.memory("ada")
        return {query: [(hit.ref, hit.snippet) for hit in await hits(memory, query)] for query in queries}

    async with Backscroll(url) as app:
        for n in range(40):
            words = " ".join(word for word, by in (("garden", 2), ("pantry", 3), ("shelf", 5)) if n % by == 0)
            await said(app.memory("ada"), f"the kettle {words} {n}", f"is it in the {words}?", session_id=f"s{n % 4}")
        first = await orders(app)
        assert await orders(app) == first
    async with Backscroll(url) as app:
        assert await orders(app) == first
    assert all(len(found) >= 20 for found in first.values())


# Filters and pages over more matches than are looked at


MANY = 5_000


async def test_a_filter_that_leaves_one_of_thousands_finds_it(app: Backscroll) -> None:
    memory = app.memory("ada", source="api")
    at = "2026-01-01T00:00:00Z"
    await said(
        app.memory("ada", source="elsewhere"), "fox the first", session_id="first", project="/srv/first", agent="hunter"
    )
    await memory.record_run([user("fox long ago", created_at="2020-01-01T00:00:00Z")], session_id="old")
    await memory.record_run([user("fox ahead", created_at="2036-01-01T00:00:00Z")], session_id="ahead")
    for n in range(5):
        block = [user(f"fox {n} {one}", created_at=at) for one in range(MANY // 5)]
        await memory.record_run(block, session_id=f"s{n}")
    await memory.record_run([assistant("", call("c", "bash", '{"q":"fox"}')), result("c", "none")], session_id="s0")
    await memory.record_run([user("fox late", created_at="2026-01-02T00:00:00Z")], session_id="s4")

    async def found(query: str, **where: Any) -> tuple[list[str], int | None]:
        page = await memory.search_session_history(query, **where)
        return [hit.ref for hit in page.hits or ()], page.total

    # A word in all of them, and beside it one that nothing holds which passes the filter.
    for query in ("fox", "fox 999", "what about the fox?"):
        assert {
            "source": await found(query, source="elsewhere"),
            "session": await found(query, session_id="old"),
            "project": await found(query, project="/srv/first"),
            "agent": await found(query, agent="hunter"),
            "role": await found(query, role="assistant"),
            "tool": await found(query, tool_name="bash", role="assistant"),
            "until": await found(query, until="2021-01-01"),
            "since": await found(query, since="2030-01-01"),
            "both": await found(query, since="2026-01-01T12:00:00Z", until="2026-01-03"),
            "last": await found(query, num_history_sessions=1),
        } == {
            "source": (["#1.1"], 1),
            "session": (["#2.1"], 1),
            "project": (["#1.1"], 1),
            "agent": (["#1.1"], 1),
            "role": (["#4.1001"], 1),
            "tool": (["#4.1001"], 1),
            "until": (["#2.1"], 1),
            "since": (["#3.1"], 1),
            "both": (["#8.1001"], 1),
            "last": (["#3.1"], 1),
        }


async def test_a_fork_finds_what_it_shares_and_nothing_that_its_parent_said_since(memory: Memory) -> None:
    await said(memory, "fox the first")
    fork = (await memory.fork_session("#1.1")).session_id
    for n in range(3):
        await said(memory, *(f"fox {n} {one}" for one in range(1_000)))
    page = await memory.search_session_history("fox", session_id=fork)
    assert ([hit.ref for hit in page.hits or ()], page.total) == (["#1.1"], 1)


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_the_pages_of_keywords_hold_every_match_once(memory: Memory, limit: int) -> None:
    lines = 12 if limit == 1 else 420
    for n in range(4):
        await said(memory, *(f"fox {n} {one}" for one in range(lines // 4)), session_id=f"s{n}")
        await said(memory, "dog", "cat", session_id=f"s{n}")
    read = await pages(memory, "fox terrier", limit=limit, max_tokens=20_000)
    assert len(told(read)) == len(set(told(read))) == lines
    assert {page.total for page in read} == {lines}
    assert all(page.hits for page in read)


async def test_many_lines_that_say_the_same_do_not_hide_the_others(memory: Memory) -> None:
    await said(memory, *(f"the fox and the hound {n}" for n in range(3)), session_id="others")
    for n in range(5):
        await said(memory, *([f"{LONG} says the fox to the fox"] * 60), session_id=f"s{n}")
    read = await pages(memory, "fox")
    assert {f"#1.{n}" for n in (1, 2, 3)} <= set(told(read))
    assert sum(1 + hit.alike for page in read for hit in page.hits or ()) == 303
    assert {page.total for page in read} == {303}


async def test_neighbours_that_a_filter_forbids_do_not_hide_matches(memory: Memory) -> None:
    for n in range(70):
        answers = [assistant(f"{word} {n}.") for word in ("Hm", "Ha", "Oh", "Well", "So")]
        await memory.record_run([user(f"which copper kettle for the cabin, {n}?"), *answers], session_id="strong")
    for n in range(80):
        await memory.record_run([user(f"the cabin {n}"), assistant("Fine."), assistant("So.")], session_id="weak")
    read = await pages(memory, "which copper kettle for the cabin?", role="user", limit=100, max_tokens=20_000)
    found = set(told(read))
    assert {f"#1.{1 + 6 * n}" for n in range(70)} | {f"#2.{1 + 3 * n}" for n in range(80)} <= found
    assert len(told(read)) == len(found)


async def test_the_pages_of_a_question_repeat_nothing_and_end(memory: Memory) -> None:
    for n in range(60):
        await memory.record_run(a_turn(f"Where is the kettle of room {n}?", f"On shelf {n}."), session_id=f"s{n % 3}")
    read = await pages(memory, "where is the kettle of the room?", limit=9)
    assert len(told(read)) == len(set(told(read)))
    questions = {f"#{1 + n % 3}.{1 + 2 * (n // 3)}" for n in range(60)}
    assert questions <= set(told(read))
    assert all((page.total or 0) >= 60 for page in read)


@pytest.mark.parametrize("query", ["ketle", '"kettle fox"', "kettl", "where is the ketle?"])
async def test_what_is_said_between_two_pages_changes_nothing(memory: Memory, query: str) -> None:
    for n in range(6):
        await said(memory, f"fox kettle {n}", session_id=f"s{n}")
    first = await memory.search_session_history(query, limit=2)
    await said(memory, "ketle, kettl, kettle fox", session_id="late")
    second = await memory.search_session_history(cursor=first.next_cursor)
    assert sorted(told([first, second])) == [f"#{n}.1" for n in range(1, 7)]
    assert second.note == first.note


async def test_what_was_deleted_is_on_no_page(memory: Memory) -> None:
    for n in range(6):
        await said(memory, f"fox {n}", f"vixen {n}", session_id=f"s{n}")
    first = await memory.search_session_history("fox", limit=2)
    shown = {hit.session_id for hit in first.hits or ()}
    gone = next(f"s{n}" for n in range(6) if f"s{n}" not in shown)
    await memory.delete_session(gone)
    rest = await memory.search_session_history(cursor=first.next_cursor)
    assert {hit.session_id for hit in rest.hits or ()} == {f"s{n}" for n in range(6)} - shown - {gone}
    assert (await memory.search_session_history("fox")).total == 5
    page = await memory.search_session_history(f"vixen {gone[1:]}")
    assert gone not in {hit.session_id for hit in page.hits or ()}
