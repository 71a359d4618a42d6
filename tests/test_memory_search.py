"""What is found, under which filters, and in which scripts."""

from typing import Any

import pytest

from backscroll import Host, Memory
from backscroll.answers import SearchPage
from builders import a_turn, assistant, call, result, user


async def said(memory: Memory, *lines: str, **run: Any) -> None:
    await memory.record_run([user(line) for line in lines], **{"session_id": "s", **run})


async def refs(memory: Memory, query: str, **where: Any) -> set[str]:
    page: SearchPage = await memory.search_session_history(query, limit=100, max_tokens=20_000, **where)
    assert page.hits is not None
    found = {ref for hit in page.hits for ref in (hit.ref, *hit.also)}
    assert page.total == len(found)
    return found


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("看看这个数据库的结构", "数据库"),
        ("看看这个数据库的结构", "库"),
        ("東京タワーへ行きましょう", "タワー"),
        ("한국어 문장을 검색합니다", "검색"),
        ("ก็ต้องลองดูก่อน", "ลองดู"),
        ("ខ្ញុំចង់ស្វែងរក", "ស្វែងរក"),
        ("the useEffectHook failed", "effect"),
        ("the useEffectHook failed", "useEffectHook"),
        ("the useEffectHook failed", "useeffecthook"),
        ("parseHTTPResponse", "http"),
        ("parseHTTPResponse", "response"),
        ("the snake_case_name", "case"),
        ("the kebab-case-name", "kebab"),
        ("see /usr/local/share/notes.txt", "local"),
        ("see /usr/local/share/notes.txt", "/usr/local/share"),
        ("Ça coûte très cher à Zürich", "zurich coute"),
        ("zurich", "ZÜRICH"),
        ("naïve e\u0301lan", "élan"),
        ("error E0308: mismatched types", "E0308"),
        ("ticket ABC-1234", "abc-1234"),
        ("Привет, мир", "привет"),
        ("a\0b", "a␀b"),
    ],
)
async def test_what_was_said_is_found(memory: Memory, text: str, query: str) -> None:
    await said(memory, "nothing of the kind", text, "something else entirely")
    assert await refs(memory, query) == {"#1.2"}


@pytest.mark.parametrize("query", ["数学", "ต้มยำ", "infects", "useHook", "snake_camel_name", "lo"])
async def test_what_was_not_said_is_not_found(memory: Memory, query: str) -> None:
    await said(
        memory, "看看这个数据库的结构", "ก็ต้องลองดู", "the useEffectHook failed", "the snake_case_name", "/usr/local"
    )
    assert await refs(memory, query) == set()


async def test_a_phrase_keeps_its_words_together(memory: Memory) -> None:
    await said(memory, "the flaky test failed", "the test was flaky", "flaky")
    assert await refs(memory, '"flaky test"') == {"#1.1"}
    assert await refs(memory, "flaky test") == {"#1.1", "#1.2", "#1.3"}


async def test_tool_names_and_arguments_are_found_but_reasoning_is_not(memory: Memory) -> None:
    await memory.record_run(
        [
            assistant("", call("c", "run_migrations", '{"target":"staging"}'), reasoning_content="secretthought"),
            result("c", "applied 7 migrations"),
        ],
        session_id="s",
    )
    assert await refs(memory, "staging") == {"#1.1"}
    assert await refs(memory, "run_migrations") == {"#1.1"}
    assert await refs(memory, "applied") == {"#1.2"}
    assert await refs(memory, "secretthought") == set()


async def furnished(memory: Memory) -> None:
    for n, (session, project, agent, day) in enumerate(
        [
            ("a", "/srv/app", "coder", 1),
            ("a", "/srv/app", "writer", 2),
            ("b", "/srv/web", "coder", 3),
            ("c", None, None, 4),
        ]
    ):
        await memory.record_run(
            [
                user("fox asks", created_at=f"2026-03-0{day}T10:00:00Z"),
                assistant("fox calls", call(f"c{n}", ("bash", "Grep")[n % 2]), created_at=f"2026-03-0{day}T10:00:01Z"),
                result(f"c{n}", "fox result", created_at=f"2026-03-0{day}T10:00:02Z"),
            ],
            session_id=session,
            project=project,
            agent=agent,
        )


A1, A2, B, C = ({f"#{s}.{n}" for n in range(low, low + 3)} for s, low in ((1, 1), (1, 4), (2, 1), (3, 1)))
ALL = A1 | A2 | B | C


def third(seqs: set[str], n: int) -> set[str]:
    return {sorted(part, key=lambda ref: int(ref.split(".")[1]))[n] for part in (A1, A2, B, C) if part & seqs}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, ALL),
        ({"role": "user"}, third(ALL, 0)),
        ({"role": "assistant"}, third(ALL, 1)),
        ({"role": "tool"}, third(ALL, 2)),
        ({"role": "system"}, set()),
        ({"tool_name": "bash"}, third(A1 | B, 1) | third(A1 | B, 2)),
        ({"tool_name": "BASH", "role": "tool"}, third(A1 | B, 2)),
        ({"tool_name": "grep"}, third(A2 | C, 1) | third(A2 | C, 2)),
        ({"tool_name": "ba"}, set()),
        ({"agent": "coder"}, A1 | B),
        ({"agent": "Coder"}, set()),
        ({"project": "/srv/app"}, A1 | A2),
        ({"project": "/work"}, set()),
        ({"source": "api"}, ALL),
        ({"source": "codex"}, set()),
        ({"session_id": "a"}, A1 | A2),
        ({"session_id": "#2"}, B),
        ({"since": "2026-03-02"}, A2 | B | C),
        ({"since": "2026-03-02T10:00:01Z"}, (A2 | B | C) - {"#1.4"}),
        ({"until": "2026-03-02T10:00:01Z"}, A1 | {"#1.4"}),
        ({"since": "2026-03-02", "until": "2026-03-04"}, A2 | B),
        ({"since": "2026-03-01T11:00:00+01:00"}, ALL),
        ({"since": "1h"}, set()),
        ({"num_history_sessions": 1}, C),
        ({"num_history_sessions": 2}, B | C),
        ({"num_history_sessions": 9}, ALL),
        ({"num_history_sessions": 2, "agent": "coder", "role": "user"}, {"#2.1"}),
        (
            {"agent": "coder", "project": "/srv/app", "tool_name": "bash", "role": "assistant", "since": "2026-03-01"},
            {"#1.2"},
        ),
    ],
)
async def test_filters_narrow(memory: Memory, where: dict[str, Any], found: set[str]) -> None:
    await furnished(memory)
    assert await refs(memory, "fox", **where) == found


async def test_the_last_sessions_leave_the_current_one_out(memory: Memory) -> None:
    await furnished(memory)
    here = memory.at(Host(session_id="c"))
    assert await refs(here, "fox", num_history_sessions=1) == B
    assert await refs(here, "fox", num_history_sessions=2) == A1 | A2 | B
    assert await refs(here, "fox") == ALL
    page = await here.search_session_history(num_history_sessions=2)
    assert [(s.session_id, s.opening, s.last_answer) for s in page.sessions or ()] == [
        ("b", "fox asks", "fox calls"),
        ("a", "fox asks", "fox calls"),
    ]


async def test_filters_without_a_query_narrow_the_previews(memory: Memory) -> None:
    await furnished(memory)

    async def shown(**where: Any) -> list[str]:
        return [line.session_id for line in (await memory.search_session_history(**where)).sessions or ()]

    assert await shown() == ["c", "b", "a"]
    assert await shown(num_history_sessions=2) == ["c", "b"]
    assert await shown(project="/srv/app") == ["a"]
    assert await shown(since="2026-03-03", until="2026-03-04") == ["b"]


async def test_archived_sessions_are_listed_only_when_they_are_named(memory: Memory) -> None:
    await said(memory, "fox one", session_id="one", title="Foxes of the north")
    await said(memory, "fox two", session_id="two")
    await memory.update_session("one", archived=True)
    assert [line.session_id for line in (await memory.list_sessions()).sessions] == ["two"]
    for query in ("north", "FOXES", "#1", "one"):
        assert [line.session_id for line in (await memory.list_sessions(query=query)).sessions] == ["one"]
    await memory.update_session("one", archived=False)
    assert (await memory.list_sessions()).total == 2


@pytest.mark.parametrize("query", ["Élan", "École 日本", "%", "_", "100%"])
async def test_titles_beyond_ascii_and_with_wildcards_are_found_as_they_are(memory: Memory, query: str) -> None:
    await said(memory, "x", session_id="plain", title="nothing special")
    await said(memory, "y", session_id="titled", title=f"about {query} here")
    assert [line.session_id for line in (await memory.list_sessions(query=query)).sessions] == ["titled"]
    await memory.record_run([assistant("", call("c", "f", f'{{"q":"{query}"}}'))], session_id="plain")
    assert (await memory.get_tool_call_history(query=query)).total == 1


async def test_the_best_match_comes_first(memory: Memory) -> None:
    await said(memory, "the fox " + "walks and walks " * 60, "fox", "quick fox", "a dog " * 30, session_id="s")
    page = await memory.search_session_history("quick fox")
    assert page.hits is not None
    assert page.hits[0].ref == "#1.3"
    assert [hit.ref for hit in page.hits][-1] == "#1.1"


async def test_a_hit_shows_the_words_that_matched(memory: Memory) -> None:
    await said(memory, "word " * 3_000 + "needle in the middle " + "word " * 3_000)
    page = await memory.search_session_history("needle")
    assert page.hits is not None
    assert "needle in the middle" in page.hits[0].snippet
    assert page.hits[0].snippet.startswith("...")
    assert len(page.hits[0].snippet) <= 260


async def test_more_matches_than_are_counted_are_told_as_at_least(memory: Memory) -> None:
    await said(memory, *(f"fox {n}" for n in range(1_100)))
    page = await memory.search_session_history("fox")
    assert (page.total, page.total_at_least) == (None, 1_000)


async def test_what_was_changed_or_deleted_is_no_longer_found(memory: Memory) -> None:
    await memory.record_run([user("q"), assistant("half an")], session_id="s", run_id="r", status="running")
    assert await refs(memory, "half") == {"#1.2"}
    await memory.record_run([user("q"), assistant("half an answer")], session_id="s", run_id="r", status="running")
    assert await refs(memory, "answer") == {"#1.2"}
    await memory.delete_session("s")
    assert await refs(memory, "half answer q") == set()


async def test_failed_runs_do_not_count_among_the_last(memory: Memory) -> None:
    """Agno's faults: calls of failed runs, `num_chats` that counts messages, runs inside runs."""
    statuses = ["completed", "error", "completed", "cancelled", "running", "paused"]
    for n, status in enumerate(statuses):
        await memory.record_run([user(f"q{n}"), assistant(f"a{n}")], session_id="s", run_id=f"r{n}", status=status)  # type: ignore[arg-type]
    await memory.record_run(a_turn("inside", "inside"), session_id="s", parent_run_id="r4")
    context = await memory.get_session_context("s", num_history_runs=2)
    assert [run.run_id for run in context.runs] == ["r2", "r4"]
    page = await memory.get_chat_history("s", num_history_runs=3)
    assert [line.text for line in page.messages] == ["q0", "a0", "q2", "a2", "q4", "a4"]
    assert page.total == 6
    assert (await memory.get_chat_history("s")).total == 14
    assert (await memory.get_session_context("s", num_history_runs=0)).runs == ()


async def test_parallel_calls_are_told_newest_first(memory: Memory) -> None:
    """Agno told runs newest first, but the calls within a run oldest first."""
    made = [call(f"c{n}", "bash", f"{n}") for n in range(3)]
    await memory.record_run([user("go"), assistant("", *made), *(result(f"c{n}") for n in range(3))], session_id="s")
    page = await memory.get_tool_call_history("s", limit=1)
    assert [c.tool_call_id for c in page.tool_calls] == ["c2"]
