"""Sessions out and in again: nothing lost, nothing twice, nothing of anybody else."""

import asyncio
import io
import json
import re
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import backscroll
from backscroll import Memory
from backscroll.errors import SessionNotFound
from backscroll.exporting import export_jsonl, export_markdown, transcript_markdown
from backscroll.importing import ImportReport, import_paths, import_stream
from backscroll.models import Message
from backscroll.store.archive import ArchivedCall, ArchivedMessage, ArchivedRun, line_of, row_of
from builders import PNG, a_tool_turn, a_turn, assistant, call, picture, result, system, texts, user

AT = datetime(2026, 3, 1, 9, 30, 15, 250_000, tzinfo=UTC)


@pytest.fixture
async def other(tmp_path: Path) -> Any:
    """An empty database to import into."""
    async with backscroll.Backscroll(str(tmp_path / "other.db")) as app:
        yield app.memory("grace")


def shown(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


async def exported(memory: Memory, *sessions: str) -> str:
    lines: list[str] = []
    await export_jsonl(memory, sessions or None, lines.append)
    return "".join(lines)


async def imported(memory: Memory, text: str, **more: Any) -> ImportReport:
    return await import_stream(memory, io.StringIO(text), name="export.jsonl", **more)


def rows_of(text: str, kind: str) -> list[dict[str, Any]]:
    return [row for line in text.splitlines() if (row := json.loads(line))["type"] == kind]


async def fill(memory: Memory) -> None:
    """One of everything."""
    await memory.record_run(
        [system(), user("Look: \u2028 ünïcödé 🎈 \"quoted\" \\ \u202e", more={"kept": [1, 2.5, None, "x"]}),
         assistant("Seeing.", call("c1", arguments='{"b": 1, "a": [true]}'), reasoning_content="Hm."),
         result("c1", "no such file", is_error=True, duration_ms=12), assistant("It is not there.")],
        session_id="plain", run_id="r-1", title="Plain [one]", project="/srv/plain", agent="Ada's",
        model="m-1", metrics={"input_tokens": 10, "cost": 0.1}, metadata={"ticket": "T-1"}, state={"step": 1},
        started_at=AT, ended_at=AT + timedelta(seconds=3),
    )  # fmt: skip
    await memory.record_run(
        [shown({"type": "text", "text": "And this?"}, picture(), picture(b"\x89PNG other"))],
        session_id="plain", run_id="r-2", status="running", metrics={"input_tokens": 3, "cost": 0.2},
    )  # fmt: skip
    await memory.record_run([user("inner"), assistant("inside")], session_id="plain", parent_run_id="r-2", agent="sub")
    await memory.record_run([user("gave up")], session_id="plain", status="error")
    await memory.summarize_session("plain", summary="First words.", topics=["files", "pictures"])
    await memory.summarize_session("plain", summary="Second words.")
    await memory.update_session("plain", metadata={"starred": True})

    turn = a_tool_turn(7)
    await memory.record_run(turn, session_id="0197b3c0-0000-7000-8000-00000000000a", store_tool_messages=False)
    await memory.record_run(
        [user("again"), assistant(None, call("d1"), call("d1")), result("d1"), assistant("half done")],
        session_id="0197b3c0-0000-7000-8000-00000000000a", run_id="scrubbed", status="running",
        store_tool_messages=False,
    )  # fmt: skip
    await memory.record_run(
        [user("private <private>secret</private>", media=None), assistant("ok")],
        session_id="0197b3c0-0000-7000-8000-00000000000a",
    )

    await memory.record_run(a_turn("One?", "1"), session_id="history")
    await memory.record_run(
        [user("One?"), assistant("1"), *a_tool_turn(9)], session_id="history", store_history_messages=True
    )
    await memory.record_run([result("lost", "of a call never sent"), assistant("odd")], session_id="history")
    await memory.record_run([shown(picture())], session_id="history", run_id="r-pictures")
    await memory.update_session("history", archived=True)

    # Two calls at one time, the older of which left no message.
    ties: dict[str, Any] = {"session_id": "ties", "started_at": AT, "ended_at": AT}
    await memory.record_run(a_tool_turn(11), store_tool_messages=False, **ties)
    await memory.record_run(a_tool_turn(12), **ties)

    for name in ("root", "doomed"):
        for n in range(3):
            await memory.record_run([user(f"{name} {n}"), assistant(f"yes {n}")], session_id=name)
    await memory.fork_session("#5.2", new_session_id="root/a", title="Fork A")
    await memory.record_run([user("a goes on"), assistant("so it does")], session_id="root/a")
    await memory.fork_session("root/a", new_session_id="root/a/b")
    await memory.fork_session("#6.4", new_session_id="heir?")
    await memory.record_run([user("heir goes on"), assistant("on")], session_id="heir?")
    await memory.fork_session("#6.6", new_session_id="the heir")
    await memory.delete_session("doomed", forks="keep")


async def all_seen(memory: Memory) -> dict[str, Any]:
    """What every public read shows, whole."""
    seen: dict[str, Any] = {"numbers": await memory.store.session_numbers(memory.user_id)}
    for number in seen["numbers"]:
        ref = f"#{number}"
        session = await memory.get_session(ref)
        messages = await memory.get_messages_for_session(ref)
        seen[ref] = {
            "session": session,
            "by id": await memory.get_session(session.session_id),
            "runs": await memory.get_runs(ref),
            "messages": messages,
            "summary": await memory.get_summary(ref),
            "media": [await media_of(memory, message) for message in messages],
            "chat": (await memory.get_chat_history(ref, max_tokens=20_000, format="json")).messages,
            "calls": (await memory.get_tool_call_history(ref, limit=100, max_tokens=20_000)).tool_calls,
            "context": (await memory.get_session_context(ref, max_tokens=20_000)).runs,
            "transcript": await transcript_markdown(memory, ref),
        }
    for words in ("goes", "look", "inside", "ünïcödé", "capital", "bash"):
        page = await memory.search_session_history(words, limit=100, max_tokens=20_000)
        seen[f"search {words}"] = sorted((hit.ref, hit.snippet) for hit in page.hits or ())
    listed = await memory.list_sessions(max_tokens=20_000, limit=100)
    seen["list"] = [(line.session, line.title, line.last_activity_at) for line in listed.sessions]
    seen["all calls"] = (await memory.get_tool_call_history(limit=100, max_tokens=20_000)).tool_calls
    counts = await memory.store.counts(memory.user_id)
    return seen | {"counts": {name: counts[name] for name in ("sessions", "runs", "messages", "tool_calls", "media")}}


async def media_of(memory: Memory, message: Message) -> list[Any]:
    return [await memory.get_media(one.media_id) for one in message.media]


async def test_an_export_taken_into_an_empty_database_gives_an_equal_one(memory: Memory, other: Memory) -> None:
    await fill(memory)
    text = await exported(memory)
    report = await imported(other, text)
    counts = await memory.store.counts(memory.user_id)
    assert report.failed == ()
    assert (report.sessions, report.runs, report.messages) == (
        counts["sessions"],
        counts["runs"],
        counts["messages"],
    )
    assert await exported(other) == text
    ours, theirs = await all_seen(memory), await all_seen(other)
    for name, shown in ours.items():
        assert theirs[name] == shown, name
    assert await other.store.check() == []


async def test_what_fill_makes_has_one_of_everything(memory: Memory) -> None:
    """Or the round trip above would prove less than it says."""
    await fill(memory)
    text = await exported(memory)
    messages, sessions, runs = (rows_of(text, kind) for kind in ("message", "session", "run"))
    assert any(message.get("from_history") for message in messages)
    assert any("synthesized" in (message.get("payload") or {}) for message in messages)
    assert any(message.get("reasoning") for message in messages)
    assert any(session.get("archived") for session in sessions)
    assert any(run.get("dropped") for run in runs)
    assert any(run.get("parent_run_id") for run in runs)
    assert {run["status"] for run in runs} >= {"running", "error", "completed"}
    assert len(rows_of(text, "tool_call")) == 4
    assert len(rows_of(text, "summary")) == 2
    # Three messages show pictures; each picture is there once.
    assert len(rows_of(text, "media")) == 2
    heir, younger = (next(one for one in sessions if one["session_id"] == name) for name in ("the heir", "heir?"))
    assert "forked_from" not in heir
    assert younger["forked_from"] == "the heir"
    assert younger["number"] < heir["number"]
    assert sessions.index(heir) < sessions.index(younger)
    assert "doomed" not in {session["session_id"] for session in sessions}


async def test_importing_again_adds_nothing(memory: Memory, other: Memory) -> None:
    await fill(memory)
    text = await exported(memory)
    first = await imported(other, text)
    again = await imported(other, text)
    assert (again.sessions, again.runs, again.messages, again.tool_calls, again.failed) == (0, 0, 0, 0, ())
    assert again.duplicates == first.runs
    assert await exported(other) == text
    home = await imported(memory, text)
    assert (home.runs, home.failed) == (0, ())
    assert await exported(memory) == text


async def test_a_file_of_an_export_is_known_by_the_ledger(memory: Memory, other: Memory, tmp_path: Path) -> None:
    await fill(memory)
    path = tmp_path / "out" / "all.jsonl"
    path.parent.mkdir()
    path.write_text(await exported(memory), encoding="utf-8")
    first = await import_paths(other, [tmp_path / "out"])
    again = await import_paths(other, [path])
    assert (first.files, first.unchanged, first.failed) == (1, 0, ())
    assert first.runs > 0
    assert (again.unchanged, again.duplicates) == (1, 0)


async def test_an_import_that_ended_half_way_is_made_good(memory: Memory, other: Memory) -> None:
    await fill(memory)
    text = await exported(memory)
    half = text[: text.index('{"type":"session","session_id":"root/a"')]
    assert (await imported(other, half)).failed == ()
    assert (await imported(other, text)).failed == ()
    assert await exported(other) == text


async def test_nothing_of_another_user_leaves(app: backscroll.Backscroll) -> None:
    ada, bob = app.memory("ada"), app.memory("bob")
    await ada.record_run([user("mine"), shown(picture())], session_id="s")
    await bob.record_run([user("a stranger's words"), shown(picture(b"\x89PNG stranger"))], session_id="s")
    text = await exported(ada)
    assert "stranger" not in text
    assert len(rows_of(text, "session")) == len(rows_of(text, "media")) == 1
    with pytest.raises(SessionNotFound):
        await exported(bob, "#2")
    assert await exported(app.memory("nobody")) == '{"type":"backscroll","version":1}\n'


async def test_a_chosen_fork_brings_what_it_hangs_on(memory: Memory, other: Memory) -> None:
    await fill(memory)
    text = await exported(memory, "root/a/b")
    assert [row["session_id"] for row in rows_of(text, "session")] == ["root", "root/a", "root/a/b"]
    assert (await imported(other, text)).failed == ()
    assert texts(await other.get_messages_for_session("root/a/b")) == texts(
        await memory.get_messages_for_session("root/a/b")
    )


async def test_a_fork_without_its_parent_is_refused_and_the_rest_taken(memory: Memory, other: Memory) -> None:
    await fill(memory)
    lines = (await exported(memory, "root/a", "plain")).splitlines(keepends=True)
    parent = next(n for n, line in enumerate(lines) if '"session_id":"root"' in line)
    fork = next(n for n, line in enumerate(lines) if '"session_id":"root/a"' in line)
    report = await imported(other, "".join(lines[:parent] + lines[fork:]))
    assert report.sessions == 1
    assert [(failure.line, "fork" in failure.error) for failure in report.failed] == [(parent + 1, True)]


async def test_an_unknown_session_is_told_before_anything_is_written(memory: Memory) -> None:
    written: list[str] = []
    with pytest.raises(SessionNotFound):
        await export_jsonl(memory, ["nope"], written.append)
    assert written == []


# Numbers


async def test_numbers_are_kept_where_they_were_never_given(memory: Memory, other: Memory) -> None:
    await fill(memory)
    text = await exported(memory)
    await other.record_run(a_turn(), session_id="mine")
    await other.record_run(a_turn(), session_id="gone")
    await other.delete_session("gone")
    await imported(other, text)
    numbers = {row["session_id"]: row["number"] for row in rows_of(text, "session")}
    there = {row["session_id"]: row["number"] for row in rows_of(await exported(other), "session")}
    # 1 is taken and 2 was a deleted session's: neither names another session now.
    assert there["mine"] == 1
    assert 2 not in there.values()
    assert len(set(there.values())) == len(there) == len(numbers) + 1
    assert {name: there[name] for name in numbers if numbers[name] > 2} == {
        name: number for name, number in numbers.items() if number > 2
    }
    fresh = await other.record_run(a_turn())
    assert int(fresh.session[1:]) == max(there.values()) + 1


# Tombstones


async def test_what_was_deleted_stays_so_until_it_is_restored(memory: Memory) -> None:
    await fill(memory)
    text = await exported(memory)
    await memory.delete_session("plain")
    await memory.delete_session("root", forks="delete")
    report = await imported(memory, text)
    assert (report.sessions, report.failed) == (0, ())
    assert report.deleted == 4 + 3 + 1
    restored = await imported(memory, text, restore=True)
    assert (restored.sessions, restored.deleted, restored.failed) == (4, 0, ())
    assert texts(await memory.get_messages_for_session("root/a/b"))[-1] == "so it does"
    # They are other sessions to whoever remembers their numbers.
    assert min([(await memory.get_session(name)).number for name in ("plain", "root")]) > 10
    assert (await imported(memory, text)).failed == ()


# A session that is here already


async def test_a_later_export_adds_what_came_since(memory: Memory, other: Memory) -> None:
    await fill(memory)
    await imported(other, await exported(memory))
    await memory.record_run(
        [user("later"), assistant("yes", call("e1"))], session_id="plain", run_id="r-3", status="running"
    )
    await imported(other, await exported(memory))
    await memory.record_run(
        [user("later"), assistant("yes, and more", call("e1")), result("e1", "fine")],
        session_id="plain",
        run_id="r-3",
    )
    await memory.record_run(
        [user("again"), assistant(None, call("d1"), call("d1")), result("d1"), assistant("half done"),
         result("d1")],
        run_id="scrubbed", store_tool_messages=False,
    )  # fmt: skip
    await memory.summarize_session("history", summary="Of ones.")
    text = await exported(memory)
    report = await imported(other, text)
    assert report.failed == ()
    assert (report.sessions, report.runs, report.messages, report.tool_calls) == (3, 0, 1, 0)
    assert await exported(other) == text
    assert await other.store.check() == []


async def test_an_earlier_export_takes_nothing_back(memory: Memory, other: Memory) -> None:
    await fill(memory)
    early = await exported(memory)
    await memory.record_run(a_turn(), session_id="plain")
    await memory.update_session("root", title="Renamed")
    late = await exported(memory)
    assert (await imported(memory, early)).failed == ()
    assert await exported(memory) == late
    await imported(other, late)
    await imported(other, early)
    assert await exported(other) == late


async def test_a_title_given_here_outlives_an_older_one(memory: Memory, other: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s", title="Theirs")
    await imported(other, await exported(memory))
    await memory.record_run(a_turn(), session_id="s")
    text = await exported(memory)
    await other.update_session("s", title="Mine")
    await other.summarize_session("s", summary="My words.")
    report = await imported(other, text)
    assert (report.messages, report.failed) == (2, ())
    session, summary = await other.get_session("s"), await other.get_summary("s")
    assert (session.title, session.messages) == ("Mine", 4)
    assert summary is not None
    assert (summary.summary, summary.stale) == ("My words.", True)
    assert (await imported(other, text)).runs == 0


async def test_what_is_here_and_not_in_the_file_is_not_lost(memory: Memory, other: Memory) -> None:
    await fill(memory)
    await imported(other, await exported(memory))
    await memory.update_session("history", title="Newer")
    before = await exported(other)
    header, head, *lines = (await exported(memory, "history")).splitlines(keepends=True)
    gone = next(n for n, line in enumerate(lines) if '"from_history":true' in line)
    told = json.loads(head)
    shorter = json.dumps(told | {"messages": told["messages"] - 1}) + "\n"
    report = await imported(other, header + shorter + "".join(lines[:gone] + lines[gone + 1 :]))
    assert [failure.line for failure in report.failed] == [2]
    assert await exported(other) == before


async def test_a_fork_goes_with_its_parent_unless_it_is_here(memory: Memory, other: Memory) -> None:
    await fill(memory)
    text = await exported(memory)
    await imported(other, await exported(memory, "root"))
    await other.delete_session("root")
    report = await imported(other, text)
    assert (report.deleted, report.failed) == (3 + 1, ())
    assert "root/a" not in {row["session_id"] for row in rows_of(await exported(other), "session")}
    await memory.delete_session("root", forks="keep")
    kept = await exported(memory)
    report = await imported(memory, text)
    assert (report.deleted, report.sessions, report.failed) == (3, 0, ())
    assert await exported(memory) == kept


async def test_a_fork_of_another_place_is_another_session(memory: Memory, other: Memory) -> None:
    await fill(memory)
    await imported(other, await exported(memory, "root/a"))
    await memory.update_session("root/a", title="Newer")
    before = await exported(other)
    text = await exported(memory, "root/a")
    assert '"fork_seq":2' in text
    report = await imported(other, text.replace('"fork_seq":2', '"fork_seq":1'))
    assert len(report.failed) == 1
    assert await exported(other) == before


async def test_a_session_that_went_on_differently_is_left_as_it_is(memory: Memory, other: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s")
    await memory.record_run(a_turn(), session_id="t")
    await imported(other, await exported(memory))
    await memory.record_run(a_turn(), session_id="s")
    await memory.record_run(a_turn(), session_id="t")
    await other.record_run(a_turn("other?", "other secret"), session_id="s")
    before = await exported(other, "s")
    report = await imported(other, await exported(memory))
    assert [failure.error for failure in report.failed] == [report.failed[0].error]
    assert "'s'" in report.failed[0].error
    assert "secret" not in report.failed[0].error
    assert report.messages == 2
    assert await exported(other, "s") == before


async def test_another_conversation_under_the_same_ids_is_refused(memory: Memory, other: Memory) -> None:
    await memory.record_run([user("one"), assistant("two"), user("three")], session_id="s", run_id="r")
    await other.record_run([user("uno"), assistant("dos")], session_id="s", run_id="r")
    await other.record_run(a_turn(), session_id="elsewhere", run_id="r-2")
    await memory.record_run(a_turn(), session_id="mine", run_id="r-2")
    before = await exported(other)
    report = await imported(other, await exported(memory))
    assert len(report.failed) == 2
    assert "Message 1" in report.failed[0].error
    assert "'r-2'" in report.failed[1].error
    assert await exported(other) == before
    assert await other.store.check() == []


# Recording goes on where an archive ends


async def test_runs_are_known_again_after_a_restore(memory: Memory, other: Memory) -> None:
    kept = a_tool_turn(1)
    dropped = [user("again"), assistant("so", call("x1")), result("x1"), assistant("done")]
    private = [user("tell <private>nobody</private>"), assistant("I will not.")]
    await memory.record_run(kept, session_id="s", run_id="kept", status="running")
    await memory.record_run(dropped, session_id="s", run_id="dropped", status="running", store_tool_messages=False)
    await memory.record_run(private, session_id="s", run_id="private")
    await imported(other, await exported(memory))
    assert (await other.record_run(kept, run_id="kept", status="running", metrics={"input_tokens": 1})).recorded == 0
    assert (await other.record_run(private, run_id="private", metrics=None)).recorded == 0
    grown = await other.record_run([*dropped, user("more")], run_id="dropped", store_tool_messages=False)
    assert (grown.recorded, grown.duplicate) == (1, False)
    assert texts(await other.get_messages_for_session("s"))[-1] == "more"
    assert await other.store.check() == []


async def test_history_is_recognised_after_a_restore(memory: Memory, other: Memory) -> None:
    past = [system(), *a_turn(), *a_turn()]
    await memory.record_run(past, session_id="s")
    await imported(other, await exported(memory))
    receipt = await other.record_run([*past, *a_turn()], session_id="s")
    assert (receipt.recorded, receipt.history) == (2, 5)
    receipt = await other.record_run([system(), *a_turn()], session_id="fresh")
    assert receipt.recorded == 3


async def test_a_pending_call_is_answered_after_a_restore(memory: Memory, other: Memory) -> None:
    await memory.record_run([user("go"), assistant(None, call("p1"))], session_id="s", run_id="r", status="running")
    await imported(other, await exported(memory))
    await other.record_run([user("go"), assistant(None, call("p1")), result("p1", "gone")], run_id="r")
    (answered,) = (await other.get_tool_call_history("s")).tool_calls
    assert (answered.status, answered.result) == ("ok", "gone")


# Broken files

Change = Callable[[list[str]], list[str]]


def cut_short(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1][:20]]


def without_last(lines: list[str]) -> list[str]:
    return lines[:-1]


def with_rubbish(lines: list[str]) -> list[str]:
    return [*lines[:-1], '{"type":"message","seq":"a secret"}\n', lines[-1]]


def swapped(lines: list[str]) -> list[str]:
    return [*lines[:-2], lines[-1], lines[-2]]


def without_run(lines: list[str]) -> list[str]:
    return [line for line in lines if '"type":"run"' not in line]


@pytest.mark.parametrize("change", [cut_short, without_last, with_rubbish, swapped, without_run])
@pytest.mark.parametrize("place", ["first", "last"])
async def test_a_broken_session_costs_no_other(memory: Memory, other: Memory, change: Change, place: str) -> None:
    for name in ("s-1", "s-2", "s-3"):
        await memory.record_run(a_tool_turn(), session_id=name)
    header, *lines = (await exported(memory)).splitlines(keepends=True)
    heads = [n for n, line in enumerate(lines) if '"type":"session"' in line] + [len(lines)]
    parts = [lines[start:end] for start, end in pairwise(heads)]
    broken = 0 if place == "first" else 2
    parts[broken] = change(parts[broken])
    if change is cut_short and place == "first":
        parts[broken][-1] += "\n"
    report = await imported(other, header + "".join("".join(part) for part in parts))
    assert report.sessions == 2
    assert len(report.failed) == 1
    assert report.failed[0].line > 1
    assert "secret" not in str(report.failed)
    whole = sorted({"s-1", "s-2", "s-3"} - {f"s-{broken + 1}"})
    assert sorted(row["session_id"] for row in rows_of(await exported(other), "session")) == whole
    assert await other.store.check() == []


async def test_a_broken_first_line_of_a_session_costs_that_session_alone(memory: Memory, other: Memory) -> None:
    for name in ("s-1", "s-2", "s-3"):
        await memory.record_run(a_turn(), session_id=name)
    text = (await exported(memory)).replace('"session_id":"s-2"', '"session_id":""')
    report = await imported(other, text)
    assert (report.sessions, len(report.failed), report.skipped) == (2, 1, {"unreadable": 3})
    assert "session.session_id" in report.failed[0].error


async def test_what_follows_a_whole_session_is_told_and_costs_nothing(memory: Memory, other: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s")
    text = await exported(memory)
    *_, last = text.splitlines(keepends=True)
    report = await imported(other, text + last)
    assert [failure.line for failure in report.failed] == [len(text.splitlines()) + 1]
    assert await exported(other) == text


async def test_a_medium_is_what_its_id_says(memory: Memory, other: Memory) -> None:
    await memory.record_run([shown(picture())], session_id="s")
    text = await exported(memory)
    assert (await imported(other, text.replace("iVBORw0", "AAAARw0"))).sessions == 0
    missing = "".join(line for line in text.splitlines(keepends=True) if '"type":"media"' not in line)
    assert (await imported(other, missing)).sessions == 0
    assert (await imported(other, text)).sessions == 1
    (message,) = await other.get_messages_for_session("s")
    assert [one.data for one in await media_of(other, message)] == [PNG]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "does not begin"),
        ('{"type":"session"}\n', "does not begin"),
        ('{"type":"backscroll","version":2}\n', "version 2"),
        ("\x00\xff\n", "does not begin"),
    ],
)
async def test_what_is_no_export_is_told(other: Memory, text: str, told: str) -> None:
    report = await imported(other, text)
    assert told in report.failed[0].error
    assert (report.files, report.sessions) == (1, 0)


async def test_a_dry_run_of_an_export_writes_nothing(memory: Memory, other: Memory) -> None:
    await memory.record_run(a_tool_turn(), session_id="s")
    report = await imported(other, await exported(memory), dry_run=True)
    assert (report.sessions, report.runs, report.messages, report.tool_calls) == (1, 1, 4, 1)
    assert await other.store.session_numbers(other.user_id) == []


# One picture, and little memory


async def test_an_export_is_of_one_point_in_time(memory: Memory, other: Memory) -> None:
    await memory.record_run([user(f"word {n}") for n in range(1_500)], session_id="long", run_id="r", status="running")
    lines: list[str] = ['{"type":"backscroll","version":1}\n']
    async with aclosing(memory.store.archive(memory.user_id, None)) as pages:
        lines += map(line_of, await anext(pages))
        await memory.record_run([*(user(f"word {n}") for n in range(1_500)), user("late")], run_id="r")
        await memory.record_run([user("late too")], session_id="late")
        async for page in pages:
            lines += map(line_of, page)
    assert "late" not in "".join(lines)
    assert (await imported(other, "".join(lines))).messages == 1_500


async def cancelled_at_its_second_page(memory: Memory) -> None:
    task = asyncio.current_task()
    assert task is not None
    await export_jsonl(memory, None, lambda _: task.cancel())


async def test_an_export_left_early_holds_nothing_up(memory: Memory, database: Path) -> None:
    await memory.record_run([user(f"word {n}") for n in range(1_500)], session_id="long")

    def full(text: str) -> None:
        if '"seq":3' in text:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await export_jsonl(memory, None, full)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled_at_its_second_page(memory))
    # Only a reader that is still there keeps the log from being emptied.
    await memory.store.purge([])
    log = database.with_name(f"{database.name}-wal")
    assert not log.exists() or log.stat().st_size == 0
    with sqlite3.connect(database) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
    db.close()


async def test_memory_does_not_grow_with_what_is_moved(memory: Memory, other: Memory, tmp_path: Path) -> None:
    for n in range(12):
        await memory.record_run([user(f"{n}.{i} " + "words " * 15_000) for i in range(20)], session_id=f"s-{n % 2}")
    path = tmp_path / "big.jsonl"
    tracemalloc.start()
    try:
        with path.open("w", encoding="utf-8") as file:
            await export_jsonl(memory, None, file.write)
        _, exporting = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        report = await import_paths(other, [path])
        _, importing = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.messages == 240
    assert path.stat().st_size > 20 << 20
    assert exporting < 6 << 20
    assert importing < 6 << 20


# The form of a line

NAMES = st.text(min_size=1, max_size=20).filter(lambda text: "\x00" not in text)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=80)
TIMES = st.datetimes(
    datetime(1970, 1, 2),
    datetime(9990, 1, 1),
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CALLS = st.builds(
    ArchivedCall,
    run_index=st.none(), ordinal=st.none(), tool_call_id=TEXT, tool_name=TEXT, arguments=st.none() | TEXT,
    status=st.sampled_from(["ok", "error", "pending"]), duration_ms=st.none() | st.integers(0, 1 << 40),
    result_seq=st.none() | st.integers(1, 1 << 40), called_at=st.none() | TIMES,
)  # fmt: skip
MESSAGES = st.builds(
    ArchivedMessage,
    seq=st.integers(1, 1 << 40), run_index=st.integers(1, 9), position=st.none() | st.integers(0, 1 << 40),
    role=st.sampled_from(["system", "user", "assistant", "tool"]), from_history=st.booleans(), text=TEXT,
    reasoning=st.none() | TEXT, media=st.lists(st.just("0" * 64), max_size=2).map(tuple),
    tool_calls=st.lists(CALLS, max_size=2).map(tuple), tool_call_id=st.none() | TEXT,
    tool_name=st.none() | TEXT, is_error=st.booleans(),
    payload=st.none() | st.dictionaries(TEXT, JSON, max_size=3), created_at=TIMES,
)  # fmt: skip


@given(MESSAGES)
def test_a_line_tells_a_message_without_loss(message: ArchivedMessage) -> None:
    line = line_of(message)
    assert line.splitlines(keepends=True) == [line]
    assert row_of(json.loads(line)) == message


@given(
    st.dictionaries(st.sampled_from(["type", "seq", "role", "text", "run_id", "media_id", "data", "tool_calls"]), JSON)
)
def test_any_object_is_a_row_or_is_refused_in_words(value: dict[str, Any]) -> None:
    try:
        row = row_of(value)
    except ValueError as error:
        assert len(str(error)) < 400
    else:
        assert row_of(json.loads(line_of(row))) == row


def test_lines_leave_out_what_says_nothing() -> None:
    run = ArchivedRun(run_id="r", run_index=1, status="completed", metrics={}, created_at=AT)
    assert line_of(run) == (
        '{"type":"run","run_id":"r","run_index":1,"status":"completed","metrics":{},'
        '"created_at":"2026-03-01T09:30:15.250Z"}\n'
    )


def test_digests_are_not_taken_from_a_line() -> None:
    line = {"type": "message", "seq": 1, "run_index": 1, "role": "user", "created_at": "2026-03-01T09:30:15Z"}
    row = row_of({**line, "digest": "00"})
    assert isinstance(row, ArchivedMessage)
    assert row.digest == b""


# Markdown


async def test_a_transcript_reads_as_it_was_said(memory: Memory) -> None:
    await memory.record_run(
        [user("Look at it."), assistant("Looking.", call("c1", "bash", '{"command": "ls"}')),
         result("c1", "a\nb", is_error=True), assistant("Two files.")],
        session_id="s-1", title="Two\nfiles", project="/srv/x", agent="helper", model="m-1", state={"n": 1},
        started_at=AT, ended_at=AT,
    )  # fmt: skip
    await memory.summarize_session("s-1", summary="There are two.")
    assert await transcript_markdown(memory, "s-1") == (
        "# Two files\n"
        "\n"
        "- Session: #1 `s-1`\n"
        "- Project: `/srv/x`\n"
        "- Source: api\n"
        "- Agent: helper\n"
        "- Begun: 2026-03-01 09:30 UTC\n"
        "- Last message: 2026-03-01 09:30 UTC\n"
        '- State: `{"n": 1}`\n'
        "\n"
        "## Summary (by agent)\n"
        "\n"
        "There are two.\n"
        "\n"
        "## Turn 1 · 2026-03-01 09:30 UTC · helper · m-1\n"
        "\n"
        "### User · #1.1 · 2026-03-01 09:30 UTC\n"
        "\n"
        "Look at it.\n"
        "\n"
        "### Assistant · #1.2 · 2026-03-01 09:30 UTC\n"
        "\n"
        "Looking.\n"
        "\n"
        "Calls `bash`:\n"
        "\n"
        "```json\n"
        '{"command": "ls"}\n'
        "```\n"
        "\n"
        "### Result of `bash`, failed · #1.3 · 2026-03-01 09:30 UTC\n"
        "\n"
        "```\n"
        "a\n"
        "b\n"
        "```\n"
        "\n"
        "### Assistant · #1.4 · 2026-03-01 09:30 UTC\n"
        "\n"
        "Two files.\n"
    )


def blocks(markdown: str) -> Iterator[str]:
    """The code blocks of a text, read as CommonMark reads them."""
    fence, inside = "", list[str]()
    for line in markdown.split("\n"):
        found = re.match(r" {0,3}(`{3,})(.*)", line)
        if not fence and found and "`" not in found[2]:
            fence, inside = found[1], []
        elif fence and found and len(found[1]) >= len(fence) and not found[2].strip():
            yield "\n".join(inside)
            fence = ""
        elif fence:
            inside.append(line)
    assert fence == "", "a block is open at the end"


async def test_no_text_breaks_out_of_its_block(memory: Memory) -> None:
    nasty = "```\n````\n``` ```\n# not a heading"
    await memory.record_run(
        [user("open: ```python\nx = 1"), assistant(None, call("c", "odd`name", nasty)), result("c", nasty),
         assistant("~~~\nalso open"), user("```\nopen too"), user("after")],
        session_id="s",
    )  # fmt: skip
    markdown = await transcript_markdown(memory, "s")
    found = list(blocks(markdown.replace("~~~", "```")))
    assert found.count(nasty) == 2
    assert "also open" in found
    assert "open too" in found
    assert "``odd`name``" in markdown
    assert markdown.count("\n### ") == 6


async def test_texts_longer_than_a_page_are_whole(memory: Memory) -> None:
    text = "".join(f"line {n}\n" for n in range(200_000))
    arguments = json.dumps({"content": text})
    await memory.record_run(
        [user(text), assistant(None, call("c", "write", arguments)), result("c", text)], session_id="s"
    )
    markdown = await transcript_markdown(memory, "s")
    assert markdown.count(text.rstrip("\n")) == 2
    assert arguments in markdown


async def test_a_fork_shows_what_it_shares_and_media_are_links(memory: Memory) -> None:
    await memory.record_run([user("shared"), shown(picture())], session_id="s")
    await memory.fork_session("s", new_session_id="f", title="Fork")
    await memory.record_run([user("its own")], session_id="f", status="error")
    markdown = await transcript_markdown(memory, "f")
    (_, pictured, own) = await memory.get_messages_for_session("f")
    assert f"[image/png, {len(PNG)} bytes](<media://{pictured.media[0].media_id}>)" in markdown
    assert "- Forked from: #1 after message 2" in markdown
    assert f"### User · {own.ref} ·" in markdown
    assert "## Turn 2 · " in markdown
    assert " · error" in markdown


async def test_markdown_of_all_sessions_holds_each_transcript(memory: Memory) -> None:
    await fill(memory)
    written: list[str] = []
    count = await export_markdown(memory, None, written.append)
    numbers = await memory.store.session_numbers(memory.user_id)
    whole = [await transcript_markdown(memory, f"#{number}") for number in numbers]
    assert count == len(numbers)
    assert "".join(written) == "\n\n---\n\n".join(whole)
    with pytest.raises(SessionNotFound):
        await export_markdown(memory, ["nope"], written.append)
