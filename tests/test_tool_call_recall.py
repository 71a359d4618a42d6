""" "Have I tried this?": tool calls found again by their command, their file, their error; identical ones folded."""

import asyncio
import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import backscroll
from backscroll import Memory
from backscroll.answers import ToolCallLine, ToolCallPage
from backscroll.errors import BackscrollError
from backscroll.fitting import MAX_TOKENS
from backscroll.ranking import read
from backscroll.recall.tried import clues
from backscroll.render import compact, page_json, page_text
from backscroll.store import CallSearch
from backscroll.store.lock import FileLock
from backscroll.store.sqlite.attempts import find_calls
from backscroll.store.sqlite.matching import Frequencies
from backscroll.tokens import TokenCounter
from builders import assistant, call, result, user
from cli_doors import ok, ok_json
from hunting import examples
from mcp_doors import ERAS, answer_of, attached, said

BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)


def bash(command: str, cid: str = "c") -> dict[str, Any]:
    return call(cid, "bash", json.dumps({"command": command}))


async def did(
    memory: Memory,
    command: str,
    came_back: str = "done",
    *,
    session_id: str = "s",
    failed: bool = False,
    aside: str = "",
    minutes: int | None = None,
) -> None:
    """One command with its result. `aside` is what the assistant said beside it."""
    when = {} if minutes is None else {"created_at": (BEGAN + timedelta(minutes=minutes)).isoformat()}
    said = [
        user("go on", **when),
        assistant(aside, bash(command), **when),
        result("c", came_back, is_error=failed, **when),
    ]
    await memory.record_run(said, session_id=session_id)


async def tried(memory: Memory, query: str, **how: Any) -> ToolCallPage:
    return await memory.get_tool_call_history(query=query, **{"max_tokens": MAX_TOKENS, **how})


def commands(page: ToolCallPage) -> list[str]:
    return [command_of(line) for line in page.tool_calls]


def command_of(line: ToolCallLine) -> str:
    assert isinstance(line.arguments, dict)
    return str(line.arguments["command"])


# What is found


async def test_the_same_command_with_other_arguments_is_found_below_the_command_itself(memory: Memory) -> None:
    for command in (
        "ls docs",
        "pytest tests/other.py",
        "pytest -q tests/test_login.py",
        "pytest -x tests/test_login.py",
    ):
        await did(memory, command)
    await did(memory, "cargo build")
    assert commands(await tried(memory, "pytest -x tests/test_login.py")) == [
        "pytest -x tests/test_login.py", "pytest -q tests/test_login.py", "pytest tests/other.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "named",
    ["/srv/build/widget/src/kettle.py", "./src/kettle.py", "kettle.py", "src/kettle.py:42", r"C:\work\src\kettle.py"],
)
async def test_a_file_is_found_under_another_folder_or_given_relatively(memory: Memory, named: str) -> None:
    await did(memory, "cat widget/src/kettle.py")
    await did(memory, "cat widget/src/spoon.py")
    assert commands(await tried(memory, f"cat {named}"))[0] == "cat widget/src/kettle.py"
    assert commands(await tried(memory, named))[0] == "cat widget/src/kettle.py"


TRACEBACK = """\
Traceback (most recent call last):
  File "/home/{who}/{folder}/app/views.py", line {line}, in <module>
    render(page)
  File "/usr/lib/python3.{minor}/site-packages/jinja2/environment.py", line {line}9, in render
    self.environment.handle_exception()
[{time}] pid {pid}: jinja2.exceptions.UndefinedError: 'flux_capacitor' is undefined at 0x7f{pid}a0
"""


async def test_a_pasted_error_finds_the_earlier_one_though_its_figures_and_folders_differ(memory: Memory) -> None:
    earlier = TRACEBACK.format(who="ada", folder="w", line=12, minor=9, time="2026-01-03T10:00:12", pid=4711)
    await did(memory, "python manage.py check", earlier, failed=True)
    for n in range(30):
        figures = f"12 139 4711 2026-02-0{n % 9 + 1} 11:33:0{n % 6} pid {5000 + n}"
        await did(memory, f"python job{n}.py", f"Traceback of line {n} File ok, {figures}, render done")
    now = TRACEBACK.format(who="eve", folder="other", line=77, minor=12, time="2026-02-04T11:33:02", pid=5003)
    assert len(now) < 2_000
    first, *_ = (await tried(memory, now)).tool_calls
    assert command_of(first) == "python manage.py check"
    assert first.result is not None
    assert "flux_capacitor" in first.result


async def test_an_error_at_the_end_of_a_long_paste_is_what_finds_it(memory: Memory) -> None:
    await did(memory, "make all", "lots of words\nerror: undefined reference to `vorbis_encode`", failed=True)
    await did(memory, "make docs", "compiling alpha beta gamma delta")
    paste = "\n".join(f"compiling module{n} with option{n}" for n in range(40))
    pasted = f"{paste}\nerror: undefined reference to `vorbis_encode`"
    assert commands(await tried(memory, pasted[-2_000:]))[0] == "make all"


async def test_words_of_other_endings_and_in_camel_case_are_found(memory: Memory) -> None:
    await did(memory, "npx migrate --databases", "renamed getUserName")
    await did(memory, "ls")
    for query in ("migrating database", "get_user_name", "renaming"):
        assert commands(await tried(memory, query)) == ["npx migrate --databases"], query


async def test_a_call_is_found_by_what_it_says_itself_not_by_what_was_said_beside_it(memory: Memory) -> None:
    await did(memory, "ls", "notes.txt", aside="Let me look whether pytest is there.")
    parallel = [bash("pytest -q", "a"), bash("ruff check", "b")]
    await memory.record_run([user("both"), assistant("", *parallel), result("a", "1 failed"), result("b", "fine")])
    page = await tried(memory, "pytest")
    assert (commands(page), page.total) == (["pytest -q"], 1)


async def test_words_of_a_call_and_of_its_result_add_up(memory: Memory) -> None:
    await did(memory, "pytest tests/a.py", "all good")
    await did(memory, "pytest tests/a.py -v", "KeyError: token", failed=True)
    await did(memory, "python b.py", "KeyError: token", failed=True)
    page = await tried(memory, "pytest KeyError")
    assert commands(page) == ["pytest tests/a.py -v"]


async def test_a_call_with_arguments_longer_than_a_page_is_found_by_their_end(memory: Memory) -> None:
    long = "echo " + "word " * 4_000
    await did(memory, f"{long} marmalade")
    await did(memory, f"{long} marmalade")
    await did(memory, f"{long} mustard")
    page = await tried(memory, "marmalade", limit=5)
    assert (page.total, len(page.tool_calls), page.tool_calls[0].times) == (2, 1, 2)


async def test_a_phrase_in_quotes_is_required(memory: Memory) -> None:
    await did(memory, "git push origin main")
    await did(memory, "git origin push main")
    page = await tried(memory, '"push origin"')
    assert commands(page) == ["git push origin main"]
    assert page.note is None


async def test_a_phrase_that_no_call_has_is_looked_for_as_words_and_the_answer_says_so(memory: Memory) -> None:
    await did(memory, "git push origin main")
    page = await tried(memory, '"origin push"')
    assert commands(page) == ["git push origin main"]
    assert page.note is not None
    assert '"origin push"' in page.note


async def test_quotes_inside_a_command_are_the_commands_own(memory: Memory) -> None:
    await did(memory, 'curl -d {"name":"kettle","hot":true} api/kettles')
    assert len((await tried(memory, '{"name":"spoon","hot":true} api/kettles')).tool_calls) == 1


async def test_a_misspelled_word_is_mended_and_the_answer_says_so(memory: Memory) -> None:
    await did(memory, "terraform apply")
    page = await tried(memory, "terrafrom")
    assert commands(page) == ["terraform apply"]
    assert page.note == "No call has 'terrafrom'; searched for terraform."
    assert page.note in page_text(page)


async def test_a_word_that_no_call_has_is_named(memory: Memory) -> None:
    await did(memory, "terraform apply")
    page = await tried(memory, "terraform quokka")
    assert commands(page) == ["terraform apply"]
    assert page.note == "No call has 'quokka'."


@pytest.mark.parametrize("query", ["git AND status", "NOT status", "status OR *", "text:status", "status NEAR/3 git"])
async def test_nothing_in_a_query_is_an_operator(memory: Memory, query: str) -> None:
    await did(memory, "git status")
    assert commands(await tried(memory, query)) == ["git status"]


async def test_a_query_of_signs_finds_them_in_the_newest_calls(memory: Memory) -> None:
    await did(memory, "make && make install")
    await did(memory, "make")
    page = await tried(memory, "&&")
    assert (commands(page), page.total) == (["make && make install"], 1)
    assert page.note == "Signs without words are looked for in the newest 2,000 calls."


async def test_a_tool_is_found_by_its_name(memory: Memory) -> None:
    await memory.record_run([user("go"), assistant("", call("c", "web_search", "{}")), result("c", "nothing")])
    await did(memory, "ls")
    assert [line.tool_name for line in (await tried(memory, "web_search")).tool_calls] == ["web_search"]


# In which order, and as how many lines


async def test_equally_good_matches_come_newest_first(memory: Memory) -> None:
    for n in (2, 0, 3, 1):
        await did(memory, f"kubectl get pods {n}", minutes=n)
    assert commands(await tried(memory, "kubectl")) == [f"kubectl get pods {n}" for n in (3, 2, 1, 0)]


async def test_identical_calls_are_one_line_with_a_count_and_the_outcome_of_each(memory: Memory) -> None:
    for n, failed in enumerate([False, True, False]):
        await did(memory, "make test", f"time {n}", failed=failed)
    await did(memory, "make test -k")
    page = await tried(memory, "make test")
    again, other = sorted(page.tool_calls, key=lambda line: line.times is None)
    assert (again.times, again.result, other.times, other.outcomes) == (3, "time 2", None, ())
    assert [(one.ref, one.status) for one in again.outcomes] == [("#1.8", "ok"), ("#1.5", "error"), ("#1.2", "ok")]
    assert page.total == 4
    assert "3 times: ok #1.8, error #1.5, ok #1.2\n" in page_text(page)
    (told,) = [line for line in page_json(page)["tool_calls"] if "times" in line]
    assert (told["times"], told["outcomes"][1]) == (3, {"ref": "#1.5", "status": "error"})


async def test_of_many_identical_calls_the_newest_five_are_named(memory: Memory) -> None:
    for _ in range(8):
        await did(memory, "make test")
    page = await tried(memory, "make")
    assert "8 times: ok #1.23, ok #1.20, ok #1.17, ok #1.14, ok #1.11 and 3 more\n" in page_text(page)


async def test_arguments_are_compared_as_values_and_those_that_were_not_kept_are_not(memory: Memory) -> None:
    for arguments in ('{"a":1,"b":"x  y"}', '{ "b": "x  y", "a": 1 }', '{"a":1,"b":"x y"}'):
        await memory.record_run([user("go"), assistant("", call("c", "stir", arguments)), result("c", "done")])
    page = await tried(memory, "stir")
    assert sorted(line.times or 1 for line in page.tool_calls) == [1, 2]
    for n in range(2):
        await memory.record_run([result(f"lost{n}", "quokka", name="shake")])
    page = await tried(memory, "quokka")
    assert [(line.tool_name, line.times) for line in page.tool_calls] == [("shake", None)] * 2


async def test_the_call_that_matched_stands_for_its_line_though_it_ended_otherwise_since(memory: Memory) -> None:
    await did(memory, "make wheel", "error: gcc was not found", failed=True)
    await did(memory, "make wheel", "built the wheel")
    (line,) = (await tried(memory, "make wheel gcc was not found")).tool_calls
    assert (line.ref, line.status, line.result) == ("#1.2", "error", "error: gcc was not found")
    assert [one.status for one in line.outcomes] == ["ok", "error"]


async def test_without_a_query_every_call_stands_alone_newest_first(memory: Memory) -> None:
    for _ in range(3):
        await did(memory, "make test")
    page = await memory.get_tool_call_history()
    assert [(line.ref, line.times) for line in page.tool_calls] == [("#1.8", None), ("#1.5", None), ("#1.2", None)]


# What matches too little, and what is nowhere


async def test_a_call_that_shares_one_word_of_two_is_no_match_where_another_holds_both(memory: Memory) -> None:
    for command in ("cargo build", "docker build .", "cargo test", "cat Cargo.toml", "cargo build --release"):
        await did(memory, command)
    page = await tried(memory, "cargo build")
    assert (commands(page), page.total) == (["cargo build --release", "cargo build"], 2)
    assert commands(await tried(memory, "have I tried cargo build --locked?")) == [
        "cargo build --release", "cargo build",
    ]  # fmt: skip


async def test_figures_alone_make_no_match_where_the_query_has_words(memory: Memory) -> None:
    await did(memory, "pytest", "1 passed")
    assert (await tried(memory, "exit code: 1")).tool_calls == ()
    await did(memory, "make", "exit code: 2", failed=True)
    assert commands(await tried(memory, "exit code: 1")) == ["make"]
    assert commands(await tried(memory, "1")) == ["pytest"]


async def test_identical_calls_of_a_match_are_told_though_they_alone_would_match_too_little(memory: Memory) -> None:
    await did(memory, "make wheel", "error: gcc was not found", failed=True)
    await did(memory, "make wheel", "built it")
    (line,) = (await tried(memory, "gcc not found error")).tool_calls
    assert line.times is None
    (line,) = (await tried(memory, "make wheel error: gcc was not found")).tool_calls
    assert line.times == 2


@pytest.mark.parametrize("query", ["terraform apply", "have we ever used terraform apply?", "did we apply terraform"])
async def test_a_word_that_is_nowhere_is_told_of_a_question_too(memory: Memory, query: str) -> None:
    await did(memory, "git apply fix.patch", "used 3 hunks")
    page = await tried(memory, query)
    assert page.note == "No call has 'terraform'."
    assert page.note in page_text(page)


async def test_of_a_pasted_text_up_to_three_missing_words_are_told_and_no_figures(memory: Memory) -> None:
    await did(memory, "make", "undefined reference to symbol")
    pasted = "0x7f21 alpha 12:44:10 undefined bravo reference /usr/lib/x charlie to symbol delta 77 echo foxtrot"
    note = (await tried(memory, pasted)).note
    assert note == "No call has 'alpha', 'bravo', 'charlie'."


async def test_nothing_is_said_to_be_nowhere_while_the_index_is_being_made_anew(url: str, database: Path) -> None:
    async with backscroll.open(url, user_id="ada") as memory:
        await did(memory, "terraform plan")
        db = sqlite3.connect(database, isolation_level=None)
        db.execute("UPDATE meta SET value = '0' WHERE name = 'index_version'")
        db.close()
    with FileLock(database.with_name(f"{database.name}.rebuild.lock")).held(0.0):
        # Nobody else may rebuild now.
        async with backscroll.open(url, user_id="ada") as memory:
            page = await tried(memory, "terraform quokka")
            assert page.note is None
            assert "index is being made anew" in (page.coverage or "")
    async with backscroll.open(url, user_id="ada") as memory:
        await memory.store.rebuild_index()
        page = await tried(memory, "terraform quokka")
        assert (page.note, page.coverage) == ("No call has 'quokka'.", None)


# Long results


def a_test_run(n: int, error: str) -> str:
    lines = "\n".join(f"test_{k} (tests.test_{n}.Suite.test_{k}) ... ok" for k in range(100))
    return f"{lines}\nE   {error}\n1 failed, 100 passed"


REFUSED = "ConnectionRefusedError: Connection refused"


@pytest.mark.parametrize("form", ["text", "json"])
async def test_every_attempt_is_told_with_the_lines_that_match(memory: Memory, tokens: TokenCounter, form: Any) -> None:
    for n in range(6):
        await did(memory, f"pytest tests/test_{n}.py", a_test_run(n, f"{REFUSED} by host{n}"), failed=True)
    page = await memory.get_tool_call_history(query=REFUSED, format=form)
    told = page_text(page) if form == "text" else compact(page_json(page))
    assert tokens.count(told) <= 2_000
    assert commands(page) == [f"pytest tests/test_{n}.py" for n in reversed(range(6))]
    assert page.total == 6
    assert "6 calls match, best first." in page_text(page)
    for n, line in enumerate(reversed(page.tool_calls)):
        assert line.result is not None
        assert f"\nE   {REFUSED} by host{n}\n1 failed" in line.result
        assert len(line.result) < 500
        assert line.result_cut is not None
        assert await read_on(memory, line.result_cut, form) == a_test_run(n, f"{REFUSED} by host{n}")


async def read_on(memory: Memory, mark: str, form: Any) -> str:
    """What the cursor of a cut leads to, to its end."""
    (cursor,) = re.findall(r'tokens cut: cursor "([^"]+)" reads on', mark)
    text, following = "", cursor
    while following is not None:
        page = await memory.get_tool_call_history(cursor=following, max_tokens=700, format=form)
        (line,) = page.tool_calls
        text, following = text + (line.result or ""), page.next_cursor
    return text


@pytest.mark.parametrize("form", ["text", "json"])
async def test_without_a_query_long_results_leave_room_for_others(memory: Memory, form: Any) -> None:
    for n in range(6):
        await did(memory, f"pytest tests/test_{n}.py", a_test_run(n, REFUSED), failed=True)
    page = await memory.get_tool_call_history(status="error", format=form)
    assert len(page.tool_calls) >= 5
    for n, line in zip(reversed(range(6)), page.tool_calls, strict=False):
        assert line.result is not None
        assert line.result_cut is not None
        assert line.result + await read_on(memory, line.result_cut, form) == a_test_run(n, REFUSED)


async def test_pages_with_cuts_go_on_after_their_last_call_and_tell_how_many_there_are(memory: Memory) -> None:
    for n in range(8):
        await did(memory, f"pytest tests/test_{n}.py", a_test_run(n, REFUSED), failed=True)
    told: list[str] = []
    how: dict[str, Any] = {"query": REFUSED, "limit": 4}
    while True:
        page = await memory.get_tool_call_history(**how, max_tokens=1_200)
        told += commands(page)
        if page.next_cursor is None:
            break
        assert f'8 calls match, best first. More: cursor "{page.next_cursor}".' in page_text(page)
        how = {"cursor": page.next_cursor, "limit": 4}
    assert told == [f"pytest tests/test_{n}.py" for n in reversed(range(8))]


async def test_the_matching_line_is_shown_of_a_result_longer_than_a_page_and_of_long_arguments(memory: Memory) -> None:
    noise = "".join(f"line {n} of the log\n" for n in range(3_000))
    await did(memory, "make", f"{noise}fatal: marmalade\n")
    await did(memory, f"cat > notes <<EOF\n{noise}about marmalade\nEOF")
    for limit in (10, 1):
        page = await memory.get_tool_call_history(query="marmalade", limit=limit)
        assert len(page.tool_calls) == min(limit, 2)
        assert all("marmalade" in f"{line.arguments}{line.result}" for line in page.tool_calls)


# Filters


async def test_failed_before_is_answered_by_the_status_filter(memory: Memory) -> None:
    await did(memory, "make test", "1 failed", failed=True)
    await did(memory, "make test", "ok")
    page = await tried(memory, "make test", status="error")
    assert [(line.ref, line.times) for line in page.tool_calls] == [("#1.2", None)]
    assert (await tried(memory, "make test", status="pending")).tool_calls == ()


async def test_filters_narrow_before_the_cut(memory: Memory) -> None:
    await did(memory, "make needle", "broken", session_id="early", failed=True)
    await memory.record_run([user("x"), assistant("", call("c", "Grep", '{"p":"make"}')), result("c", "m")])
    messages: list[dict[str, Any]] = [user("many")]
    for n in range(3_000):
        messages += [assistant("make", bash(f"make part{n}", f"c{n}")), result(f"c{n}", "make fine")]
    await memory.record_run(messages, session_id="late")
    assert commands(await tried(memory, "make", status="error")) == ["make needle"]
    assert commands(await tried(memory, "make", session_id="early")) == ["make needle"]
    assert [line.tool_name for line in (await tried(memory, "make", tool_name="grep")).tool_calls] == ["Grep"]
    assert (await tried(memory, '"make needle" fine')).total == 1
    page = await tried(memory, "make")
    assert page.total is None
    assert page.total_at_least is not None
    assert f"At least {page.total_at_least:,} calls match" in page_text(page)


async def test_calls_are_found_behind_much_talk_that_holds_the_same_word(memory: Memory) -> None:
    await did(memory, "make needle")
    for start in range(0, 1_200, 300):
        await memory.record_run([user(f"do make it, please, {n}") for n in range(start, start + 300)])
    assert commands(await tried(memory, "make")) == ["make needle"]


async def test_a_fork_finds_what_it_shares_and_not_what_came_after_the_cut(memory: Memory) -> None:
    await did(memory, "make shared")
    begun = [user("go"), assistant("", bash("make slow", "slow"))]
    await memory.record_run(begun, session_id="s", run_id="r", status="running")
    await memory.fork_session("s", new_session_id="f")
    await memory.record_run([*begun, result("slow", "marmalade at last")], session_id="s", run_id="r")
    await did(memory, "make late")
    await did(memory, "make own", session_id="f")
    assert set(commands(await tried(memory, "make", session_id="f"))) == {"make shared", "make slow", "make own"}
    assert (await tried(memory, "marmalade", session_id="f")).tool_calls == ()
    assert commands(await tried(memory, "make", session_id="f", status="pending")) == ["make slow"]
    assert len((await tried(memory, "marmalade", session_id="s")).tool_calls) == 1


async def test_one_users_calls_are_never_found_by_another(app: backscroll.Backscroll) -> None:
    ada, eve = app.memory("ada", source="api"), app.memory("eve", source="api")
    await did(ada, "vault read secret/kettle", "the kettle is hot")
    await did(eve, "ls kettle")
    for query in ("vault kettle", '"secret kettle"', "vualt", "hot", "&&"):
        page = await tried(eve, query)
        assert all(command_of(line) == "ls kettle" for line in page.tool_calls), query
        assert "read secret" not in page_text(page)
    assert commands(await tried(ada, "kettle")) == ["vault read secret/kettle"]
    assert (await tried(app.memory("nobody", source="api"), "kettle")).total == 0


# Pages


async def test_pages_of_a_query_neither_skip_nor_repeat_while_more_is_recorded(memory: Memory) -> None:
    for n in range(40):
        await did(memory, f"make part{n % 25} {'kettle' if n % 3 else 'spoon'}", "broke" if n % 4 else "kettle broke")
    whole = await tried(memory, "make kettle broke", limit=100)
    assert whole.next_cursor is None
    seen: list[ToolCallLine] = []
    how: dict[str, Any] = {"query": "make kettle broke", "limit": 4}
    for n in range(100):
        page = await memory.get_tool_call_history(**how, max_tokens=MAX_TOKENS)
        assert page.total == whole.total
        seen += page.tool_calls
        if page.next_cursor is None:
            break
        await did(memory, f"make part{n} kettle", "kettle broke", failed=True)
        how = {"cursor": page.next_cursor, "limit": 3 + n % 3}
    assert [(line.ref, line.times) for line in seen] == [(line.ref, line.times) for line in whole.tool_calls]
    assert sum(line.times or 1 for line in seen) == whole.total == 40


async def test_pages_of_near_misses_go_on_though_the_word_itself_comes_up(memory: Memory) -> None:
    for n in range(6):
        await did(memory, f"terraform apply {n}")
    first = await tried(memory, "terrafrom", limit=4)
    await did(memory, "terrafrom")
    rest = await memory.get_tool_call_history(cursor=first.next_cursor, max_tokens=MAX_TOKENS)
    assert commands(first) + commands(rest) == [f"terraform apply {n}" for n in reversed(range(6))]


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_long_result_of_a_match_can_be_read_to_its_end(memory: Memory, form: Any) -> None:
    text = " ".join(f"word{n}" for n in range(3_000))
    await did(memory, "make report", text)
    await did(memory, "make report", "short")
    await did(memory, "make other report")
    read_on, seen = "", []
    how: dict[str, Any] = {"query": "make report word7"}
    for _ in range(100):
        page = await memory.get_tool_call_history(**how, limit=1, max_tokens=1_000, format=form)
        (line,) = page.tool_calls
        seen.append(line.ref)
        if line.ref == "#1.2":
            read_on += line.result or ""
        if page.next_cursor is None:
            break
        how = {"cursor": page.next_cursor}
        if line.result_cut is None and line.ref != "#1.2":
            break
    assert text in read_on
    assert list(dict.fromkeys(seen)) == ["#1.2", "#1.8"]


# Through other doors


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_asks_whether_it_was_tried(app: backscroll.Backscroll, era: str) -> None:
    for failed in (True, False):
        await did(app.memory("ada", source="api"), "pytest -q tests/test_login.py", "KeyError: token", failed=failed)
    async with attached(app, era) as client:
        asked = {"query": "pytest -x tests/test_login.py"}
        assert "2 times: ok #1.5, error #1.2" in said(await client.call_tool("get_tool_call_history", asked))
        page = answer_of(await client.call_tool("get_tool_call_history", {**asked, "format": "json"}))
        (line,) = page["tool_calls"]
        assert line["arguments"] == {"command": "pytest -q tests/test_login.py"}
        assert (line["times"], page["total"], page["note"]) == (2, 2, "No call has 'x'.")


def test_the_command_line_counts_identical_calls(database: Path) -> None:
    async def record() -> None:
        async with backscroll.open(f"sqlite:///{database}", user_id="local") as memory:
            await did(memory, "make test -k")
            for n in range(7):
                await did(memory, "make test", failed=n == 5)

    asyncio.run(record())
    found = ok_json(database, "calls", "--query", "make test")
    assert [line.get("times") for line in found["tool_calls"]] == [7, None]
    assert [one["status"] for one in found["tool_calls"][0]["outcomes"]] == ["ok", "error", *["ok"] * 5]
    assert found["total"] == 8
    full = ok(database, "calls", "--query", "make test", "--full", "-n", "1")
    assert "7 times: ok #1.23, error #1.20, ok #1.17, ok #1.14, ok #1.11 and 2 more" in full
    head, *rows = ok(database, "calls", "--query", "make test").splitlines()
    assert [row[head.index("STATUS") : head.index("ARGUMENTS")].strip() for row in rows] == ["6 ok, 1 error", "ok"]
    assert len(ok_json(database, "calls")["tool_calls"]) == 8


def test_the_command_line_tells_every_match_as_json_and_as_many_as_were_asked_for(database: Path) -> None:
    async def record() -> None:
        messages: list[dict[str, Any]] = [user("go")]
        for n in range(650):
            messages += [assistant("", bash(f"make part{n}", f"c{n}")), result(f"c{n}", "built")]
        async with backscroll.open(f"sqlite:///{database}", user_id="local") as memory:
            await memory.record_run(messages)

    asyncio.run(record())
    found = ok_json(database, "calls", "--query", "make")
    assert (len(found["tool_calls"]), found["total"]) == (650, 650)
    assert len(ok_json(database, "calls", "--query", "make", "-n", "300")["tool_calls"]) == 300
    few = ok_json(database, "calls", "--query", "make", "-n", "5")
    assert len(few["tool_calls"]) == 5
    assert 5 < few["total_at_least"] <= 650


# Faults and cost


@given(st.text(st.characters(), max_size=60) | st.text('"\\/.-_:=%*(){}[]^~+ab1\n', max_size=60))
@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
def test_any_query_gets_pages_or_our_own_error(kept_memory: Memory, loop: Any, text: str) -> None:
    async def ask() -> None:
        await did(kept_memory, text, text[::-1])
        how: dict[str, Any] = {"query": text, "limit": 1}
        for _ in range(3):
            try:
                page = await kept_memory.get_tool_call_history(**how, max_tokens=600)
            except BackscrollError:
                return
            assert page_text(page)
            if page.next_cursor is None:
                return
            how = {"cursor": page.next_cursor}

    loop.run(ask())


async def test_no_statement_of_a_query_reads_a_table_from_end_to_end(memory: Memory, database: Path) -> None:
    await did(memory, "pytest -q tests/test_login.py", "KeyError: token", failed=True)
    await memory.fork_session("s", new_session_id="f")
    db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    question = read('pytest tests/test_login.py keyerorr "key error"', BEGAN)
    filters: list[dict[str, Any]] = [{}, {"session": "f"}, {"tool_name": "bash", "status": "error"}]
    for narrowed in filters:
        find_calls(db, "ada", CallSearch(clues(question), **narrowed), Frequencies())
        find_calls(db, "ada", CallSearch(clues(read("pytest token", BEGAN)), **narrowed), Frequencies())
    db.set_trace_callback(None)
    plans = {
        step
        for statement in statements
        if statement.lstrip().startswith("SELECT")
        for *_, step in db.execute(f"EXPLAIN QUERY PLAN {statement}")
    }
    assert any(step.startswith("SEARCH c USING INTEGER PRIMARY KEY") for step in plans), plans
    tables = {"c", "t", "m", "f", "r", "s", "tool_calls", "messages", "runs", "sessions"}
    assert not tables & {step.split()[1] for step in plans if step.startswith("SCAN")}, plans
    assert not any("AUTOMATIC" in step for step in plans), plans
