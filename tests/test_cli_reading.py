"""search, list, show, calls: as text for a person, as one JSON document for a program."""

from pathlib import Path

import pytest

import backscroll
from builders import a_turn, assistant, user
from cli_doors import HOSTILE, at_prompt, ok, ok_json, recorded, with_sessions


@pytest.fixture
def sessions(database: Path) -> Path:
    with_sessions(database)
    return database


def test_list_shows_the_newest_session_first(sessions: Path) -> None:
    head, *rows = ok(sessions, "list").splitlines()
    assert head.split() == ["SESSION", "LAST", "ACTIVITY", "TITLE", "RUNS", "MESSAGES", "SOURCE", "PROJECT"]
    assert [row.split()[0] for row in rows] == ["#3", "#2", "#1"]
    assert "2026-11-20 10:03" in rows[0]
    assert "Flaky login test 3" in rows[0]
    assert rows[0].endswith("/srv/widget")


def test_list_as_json_is_every_session_or_as_many_as_the_limit(sessions: Path) -> None:
    found = ok_json(sessions, "list")
    assert found["total"] == 3
    assert [one["session_id"] for one in found["sessions"]] == ["s-3", "s-2", "s-1"]
    assert found["sessions"][0]["session"] == "#3"
    assert found["sessions"][0]["messages"] == 4
    limited = ok_json(sessions, "list", "--limit", "1")
    assert ([one["session_id"] for one in limited["sessions"]], limited["total"]) == (["s-3"], 3)


def test_json_is_complete_beyond_what_a_page_of_a_tool_holds(database: Path) -> None:
    async def record(memory: backscroll.Memory) -> None:
        for number in range(130):
            await memory.record_run(a_turn(f"Question about walruses, {number}"), session_id=f"s-{number}")

    recorded(database, record)
    assert len(ok_json(database, "list")["sessions"]) == 130
    found = ok_json(database, "search", "walruses")
    assert len(found["hits"]) == found["total"] == 130
    assert len(ok_json(database, "search", "walruses", "-n", "7")["hits"]) == 7
    assert len(ok(database, "list").splitlines()) == 21
    assert len(ok(database, "search", "walruses").splitlines()) == 11


def test_list_narrows_by_words_and_filters(sessions: Path) -> None:
    assert [one["session"] for one in ok_json(sessions, "list", "login", "test", "2")["sessions"]] == ["#2"]
    assert ok_json(sessions, "list", "--project", "/elsewhere")["sessions"] == []
    assert ok_json(sessions, "list", "--source", "claude-code")["total"] == 0
    found = ok_json(sessions, "list", "--since", "2026-11-20T10:02", "--until", "2026-11-20T10:03")
    assert [one["session"] for one in found["sessions"]] == ["#2"]


def test_search_finds_words_and_says_how_to_open_them(sessions: Path) -> None:
    done = at_prompt(sessions, "search", "wall", "clocks")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["MESSAGE", "WHEN", "WHO", "TEXT"]
    # The frozen clock is found too, after the lines that have both words.
    refs = [row.split()[0] for row in rows]
    assert (sorted(refs[:3]), sorted(refs[3:])) == (["#1.4", "#2.4", "#3.4"], ["#1.3", "#2.3", "#3.3"])
    assert "backscroll show '#" in done.stderr


def test_search_tells_how_many_more_there_are(sessions: Path) -> None:
    done = at_prompt(sessions, "search", "flaky", "-n", "1")
    assert len(done.stdout.splitlines()) == 2
    assert "3 match; -n" in done.stderr


def test_search_as_json_has_the_fields_of_the_tool(sessions: Path) -> None:
    found = ok_json(sessions, "search", '"wall clocks"', "--session", "#2")
    (hit,) = found["hits"]
    assert found["total"] == 1
    assert (hit["ref"], hit["seq"], hit["session_id"], hit["role"]) == ("#2.4", 4, "s-2", "assistant")
    assert "wall clocks" in hit["snippet"]


@pytest.mark.parametrize(
    ("filters", "refs"),
    [
        (["--role", "user"], ["#1.1", "#2.1", "#3.1"]),
        (["--tool", "bash", "--session", "s-1"], ["#1.2"]),
        (["--last", "1", "--role", "user"], ["#3.1"]),
        (["--session", "1", "--role", "user"], ["#1.1"]),
        (["--agent", "nobody"], []),
        (["--since", "2126-01-01"], []),
    ],
)
def test_search_narrows_by_filters(sessions: Path, filters: list[str], refs: list[str]) -> None:
    found = ok_json(sessions, "search", "login", "test", *filters)
    assert sorted(hit["ref"] for hit in found["hits"]) == refs


def test_search_without_words_tells_how_sessions_began_and_ended(sessions: Path) -> None:
    found = ok_json(sessions, "search", "--last", "2")
    assert [one["session"] for one in found["sessions"]] == ["#3", "#2"]
    assert found["sessions"][0]["opening"].startswith("Please look at the flaky login test")
    assert found["sessions"][0]["last_answer"].startswith("Attempt 3")
    assert "assistant: Attempt 3" in ok(sessions, "search")


def test_search_without_words_refuses_filters_that_need_them(sessions: Path) -> None:
    assert at_prompt(sessions, "search", "--role", "user").exit_code == 2


def test_no_sign_in_a_query_is_an_operator(sessions: Path) -> None:
    for query in ['"', "login AND (", "NOT", "^login*", "text:login", "--", "a OR b) --"]:
        assert at_prompt(sessions, "search", "--", query).exit_code == 0, query


def test_show_prints_a_session_word_for_word(sessions: Path) -> None:
    shown = ok(sessions, "show", "#1")
    assert shown.startswith("#1  Flaky login test 1\n")
    assert "id s-1\n" in shown
    assert "#1.1  user  " in shown
    assert "\nPlease look at the flaky login test, attempt 1.\n" in shown
    assert '→ bash {"command":"pytest -q tests/test_login.py"}' in shown
    assert "#1.3  tool:bash  error" in shown
    assert "\nAssertionError: the clock was frozen\n" in shown


def test_show_takes_an_id_a_number_and_a_number_alone(sessions: Path) -> None:
    assert ok(sessions, "show", "s-2") == ok(sessions, "show", "#2") == ok(sessions, "show", "2")


def test_a_session_whose_id_is_a_number_goes_before_a_number(sessions: Path) -> None:
    recorded(sessions, lambda memory: memory.record_run(a_turn(), session_id="1"))
    assert ok_json(sessions, "show", "1")["session_id"] == "1"
    assert ok_json(sessions, "show", "#1")["session_id"] == "s-1"


def test_show_opens_around_a_handle(sessions: Path) -> None:
    seqs = [one["seq"] for one in ok_json(sessions, "show", "#1.2", "-C", "1")["messages"]]
    assert seqs == [1, 2, 3]
    assert [one["seq"] for one in ok_json(sessions, "show", "1.4", "-C", "0")["messages"]] == [4]
    shown = ok(sessions, "show", "#1.2")
    assert "#1.2  assistant:coder  " in shown
    assert [line.split()[0] for line in shown.splitlines() if line.endswith("◀")] == ["#1.2"]
    assert not shown.startswith("#1  ")


def test_show_narrows_to_the_last_runs(sessions: Path) -> None:
    recorded(sessions, lambda memory: memory.record_run(a_turn("And now?", "Done."), session_id="s-1"))
    found = ok_json(sessions, "show", "#1", "--runs", "1")
    assert [one["text"] for one in found["messages"]] == ["And now?", "Done."]
    assert [run["run_index"] for run in found["runs"]] == [1, 2]


def test_show_as_json_is_the_whole_session(sessions: Path) -> None:
    recorded(sessions, lambda memory: memory.summarize_session("s-1", summary="Clocks.", topics=["tests"]))
    found = ok_json(sessions, "show", "s-1")
    assert (found["session_id"], found["session"], found["title"]) == ("s-1", "#1", "Flaky login test 1")
    assert (found["runs_total"], found["messages_total"]) == (1, 4)
    assert found["summary"]["summary"] == "Clocks."
    assert [one["role"] for one in found["messages"]] == ["user", "assistant", "tool", "assistant"]
    (made,) = found["messages"][1]["tool_calls"]
    assert (made["tool_name"], made["arguments"]) == ("bash", {"command": "pytest -q tests/test_login.py"})
    assert found["messages"][3]["created_at"] == "2026-11-20T10:01:00.000Z"


def test_history_messages_are_shown_when_asked_for(database: Path) -> None:
    first, second = a_turn(), a_turn()

    async def record(memory: backscroll.Memory) -> None:
        await memory.record_run(first, session_id="s")
        await memory.record_run([*first, *second], session_id="s", store_history_messages=True)

    recorded(database, record)
    assert len(ok_json(database, "show", "s")["messages"]) == 4
    assert len(ok_json(database, "show", "s", "--history")["messages"]) == 6
    assert ok(database, "show", "s", "--history").count("(history)") == 2


def test_calls_are_listed_newest_first(sessions: Path) -> None:
    head, *rows = ok(sessions, "calls").splitlines()
    assert head.split() == ["MESSAGE", "WHEN", "TOOL", "STATUS", "ARGUMENTS", "RESULT"]
    assert [row.split()[0] for row in rows] == ["#3.2", "#2.2", "#1.2"]
    assert "AssertionError: the clock was frozen" in rows[0]


def test_calls_narrow_and_come_whole(sessions: Path) -> None:
    found = ok_json(sessions, "calls", "--session", "s-2", "--status", "error", "--tool", "bash", "--query", "clock")
    (made,) = found["tool_calls"]
    assert (made["ref"], made["tool_call_id"], made["status"]) == ("#2.2", "c2", "error")
    assert made["arguments"] == {"command": "pytest -q tests/test_login.py"}
    assert ok_json(sessions, "calls", "--status", "ok")["total"] == 0
    assert len(ok_json(sessions, "calls", "-n", "2")["tool_calls"]) == 2
    full = ok(sessions, "calls", "--full", "-n", "1")
    assert "← AssertionError: the clock was frozen" in full


def test_nothing_found_is_said_on_standard_error_and_is_no_failure(database: Path) -> None:
    with_sessions(database, 1)
    for arguments in (["search", "walrus"], ["list", "walrus"], ["calls", "--tool", "walrus"]):
        done = at_prompt(database, *arguments)
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr.strip()


@pytest.mark.parametrize("command", ["show", "summarize", "delete", "export"])
def test_an_unknown_session_is_one_line(sessions: Path, command: str) -> None:
    done = at_prompt(sessions, command, "s-99")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert (
        done.stderr == "Error: No session 's-99' for this user. Find one with backscroll list or backscroll search.\n"
    )


def test_another_users_sessions_are_not_there(sessions: Path) -> None:
    assert ok_json(sessions, "list", "--user", "eve")["sessions"] == []
    assert ok_json(sessions, "search", "clock", "--user", "eve")["hits"] == []
    assert at_prompt(sessions, "show", "s-1", "--user", "eve").exit_code == 1


def test_an_option_after_the_command_counts_more_than_one_before_it(sessions: Path, tmp_path: Path) -> None:
    assert ok_json(tmp_path / "none.db", "list", "--db", str(sessions))["total"] == 3


def test_reading_makes_no_database(tmp_path: Path) -> None:
    missing = tmp_path / "folder" / "missing.db"
    for arguments in (["list"], ["search", "x"], ["calls"], ["stats"], ["export"]):
        done = at_prompt(missing, *arguments)
        assert done.exit_code == 0, done.output
        assert f"no database at {missing}" in done.stderr.replace("\n", " ")
    assert ok_json(missing, "list") == {"sessions": [], "total": 0}
    assert not missing.parent.exists()


def test_hostile_text_reaches_the_terminal_as_signs_and_json_whole(database: Path) -> None:
    async def record(memory: backscroll.Memory) -> None:
        await memory.record_run(
            [user(f"{HOSTILE} walrus"), assistant("Said.")], session_id=f"s{HOSTILE}", title=HOSTILE, project=HOSTILE
        )
        await memory.summarize_session("#1", summary=HOSTILE, topics=[HOSTILE])

    recorded(database, record)
    for arguments in (["list"], ["search", "walrus"], ["search"], ["show", "#1"], ["show", "#1.1"], ["stats"]):
        done = at_prompt(database, *arguments)
        assert not set(done.output) & set("\x1b\x07\x9b\u202e\u202c"), arguments
        if arguments != ["stats"]:
            assert "␛" in done.stdout
            assert "[red]markup[/red] :smile:" in done.stdout
        assert not set(ok(database, *arguments, "--json")) & set("\x1b\x07\x9b\u202e\u202c")
    assert ok_json(database, "show", "#1")["messages"][0]["text"] == f"{HOSTILE} walrus"


def test_a_bad_time_names_the_option(sessions: Path) -> None:
    done = at_prompt(sessions, "list", "--since", "yesterday")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: --since must be an ISO date")
