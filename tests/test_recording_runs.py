"""What `record_run` makes of one run: sent once, sent again, sent grown, sent by two at once."""

import asyncio
import re
from datetime import UTC, datetime

import pytest

from backscroll import Backscroll, Memory
from backscroll.errors import Conflict, InvalidArgument, LimitExceeded, SessionNotFound
from builders import a_tool_turn, a_turn, assistant, call, result, texts, user


async def test_what_was_said_comes_back_byte_for_byte(memory: Memory) -> None:
    said = [
        "  leading and trailing \t\r\n",
        "naïve e\u0301 日本語 👩‍👩‍👧",
        "a\u2028b\u0085c",
        '{"json": "in text"}',
        "",
    ]
    for text in said:
        await memory.record_run([user(text), assistant(text)], session_id="s")
    kept = texts(await memory.get_messages_for_session("s"))
    assert kept == [text for text in said for _ in range(2)]


async def test_sessions_runs_and_messages_are_numbered_from_one(memory: Memory) -> None:
    first = await memory.record_run(a_turn(), session_id="one")
    second = await memory.record_run(a_turn(), session_id="two")
    third = await memory.record_run(a_turn(), session_id="one")
    assert [first.session, second.session, third.session] == ["#1", "#2", "#1"]
    assert [first.run_index, second.run_index, third.run_index] == [1, 1, 2]
    assert [first.created, second.created, third.created] == [True, True, False]
    assert [m.ref for m in await memory.get_messages_for_session("#1")] == ["#1.1", "#1.2", "#1.3", "#1.4"]


async def test_a_run_without_ids_gets_uuids_of_version_7_in_order(memory: Memory) -> None:
    receipts = [await memory.record_run(a_turn()) for _ in range(20)]
    assert len({r.session_id for r in receipts}) == 20
    for told in [r.session_id for r in receipts] + [r.run_id for r in receipts]:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", told)
    assert [r.run_id for r in receipts] == sorted(r.run_id for r in receipts)


async def test_any_id_comes_back_as_it_was_given(memory: Memory) -> None:
    ids = ["0198C0DE-0000-7000-8000-00000000000A", "0198c0de-0000-7000-8000-00000000000a", "é/../x", "' OR 1=1 --"]
    for given in ids:
        receipt = await memory.record_run(a_turn(), session_id=given, run_id=given)
        assert (receipt.session_id, receipt.run_id) == (given, given)
    listed = await memory.list_sessions()
    assert {line.session_id for line in listed.sessions} == set(ids)


@pytest.mark.parametrize("bad", ["", "   ", "a\0b", "x" * 513, "\ud800"])
async def test_an_id_that_cannot_be_kept_is_refused_by_name(memory: Memory, bad: str) -> None:
    for name in ("session_id", "run_id", "parent_run_id"):
        with pytest.raises(InvalidArgument, match=name):
            await memory.record_run(a_turn(), **{name: bad})  # type: ignore[arg-type]


async def test_an_id_that_begins_with_a_hash_only_names_a_number(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s")
    assert (await memory.record_run(a_turn(), session_id="#1")).session_id == "s"
    for unknown in ("#2", "#", "#one", "#1.1", "#٣"):
        with pytest.raises(SessionNotFound):
            await memory.record_run(a_turn(), session_id=unknown)


async def test_the_same_run_again_changes_nothing(memory: Memory) -> None:
    sent = a_tool_turn()
    first = await memory.record_run(sent, session_id="s", run_id="r", metrics={"input_tokens": 10})
    before = (await memory.get_session("s"), await memory.get_messages_for_session("s"), await memory.get_runs("s"))
    again = await memory.record_run(sent, session_id="s", run_id="r", metrics={"input_tokens": 10})
    assert (first.duplicate, first.recorded) == (False, 4)
    assert (again.duplicate, again.recorded, again.run_index) == (True, 0, 1)
    after = (await memory.get_session("s"), await memory.get_messages_for_session("s"), await memory.get_runs("s"))
    assert after == before


async def test_a_known_run_finds_its_session_by_itself(memory: Memory) -> None:
    sent = a_turn()
    await memory.record_run(sent, session_id="s", run_id="r")
    await memory.record_run(a_turn(), session_id="newer")
    assert (await memory.record_run([*sent, user("And Sweden?")], run_id="r")).session_id == "s"


async def test_a_grown_run_takes_in_what_is_new(memory: Memory) -> None:
    sent = a_tool_turn()
    for end in range(1, len(sent) + 1):
        receipt = await memory.record_run(sent[:end], session_id="s", run_id="r", status="running")
        assert receipt.recorded == 1
    last = await memory.record_run(sent, session_id="s", run_id="r")
    assert (last.recorded, last.duplicate) == (0, False)
    session = await memory.get_session("s")
    assert (session.messages, session.runs, session.tool_calls) == (4, 1, 1)
    assert [m.role for m in await memory.get_messages_for_session("s")] == ["user", "assistant", "tool", "assistant"]
    assert [r.status for r in await memory.get_runs("s")] == ["completed"]


async def test_a_shorter_sending_of_a_known_run_takes_nothing_back(memory: Memory) -> None:
    sent = a_tool_turn()
    await memory.record_run(sent, session_id="s", run_id="r")
    late = await memory.record_run(sent[:2], session_id="s", run_id="r", status="running")
    assert (late.recorded, late.duplicate) == (0, True)
    assert (await memory.get_session("s")).messages == 4
    assert [r.status for r in await memory.get_runs("s")] == ["completed"]


async def test_the_last_answer_of_a_running_run_may_grow(memory: Memory) -> None:
    await memory.record_run([user(), assistant("The capital")], session_id="s", run_id="r", status="running")
    grown = [user(), assistant("The capital of Norway is Oslo.")]
    receipt = await memory.record_run(grown, session_id="s", run_id="r", status="running")
    assert (receipt.recorded, receipt.duplicate) == (1, False)
    assert texts(await memory.get_messages_for_session("s"))[1] == "The capital of Norway is Oslo."
    assert [hit.ref for hit in (await memory.search_session_history("Oslo")).hits or ()] == ["#1.2"]
    finished = await memory.record_run([*grown, user("Thanks")], session_id="s", run_id="r")
    assert finished.recorded == 1
    assert await memory.store.check() == []


async def test_an_answer_may_grow_calls_while_it_runs(memory: Memory) -> None:
    await memory.record_run([user(), assistant("Let me see", call("a"))], session_id="s", run_id="r", status="running")
    grown = [user(), assistant("Let me see it.", call("a"), call("b", "grep")), result("b"), result("a")]
    await memory.record_run(grown, session_id="s", run_id="r", status="running")
    calls = (await memory.get_tool_call_history("s")).tool_calls
    assert {(c.tool_call_id, c.tool_name, c.status) for c in calls} == {("a", "bash", "ok"), ("b", "grep", "ok")}
    assert await memory.store.check() == []


@pytest.mark.parametrize("status", ["completed", "error", "cancelled"])
async def test_a_finished_run_is_not_rewritten(memory: Memory, status: str) -> None:
    await memory.record_run([user(), assistant("Oslo")], session_id="s", run_id="r", status=status)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="running"):
        await memory.record_run([user(), assistant("Oslo, I think")], session_id="s", run_id="r")


@pytest.mark.parametrize(
    "sent",
    [
        [user("What is the capital of Sweden?"), assistant("Oslo")],
        [user(), assistant("Bergen")],
        [assistant("Oslo"), user()],
        [user(), user("Oslo")],
    ],
)
async def test_other_messages_under_a_known_run_are_refused(memory: Memory, sent: list[dict[str, object]]) -> None:
    await memory.record_run([user(), assistant("Oslo")], session_id="s", run_id="r", status="running")
    before = await memory.get_messages_for_session("s")
    with pytest.raises(Conflict, match="'r'"):
        await memory.record_run(sent, session_id="s", run_id="r", status="running")
    assert await memory.get_messages_for_session("s") == before


async def test_a_run_keeps_to_its_session(memory: Memory) -> None:
    sent = a_turn()
    await memory.record_run(sent, session_id="s", run_id="r")
    await memory.record_run(a_turn(), session_id="t")
    for other in ("t", "new", "#2"):
        with pytest.raises(Conflict, match="another session"):
            await memory.record_run(sent, session_id=other, run_id="r")
    assert (await memory.list_sessions()).total == 2


async def test_a_refused_run_of_a_new_session_leaves_no_session(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s", run_id="r")
    with pytest.raises(Conflict):
        await memory.record_run(a_turn(), session_id="other", run_id="r")
    assert (await memory.record_run(a_turn(), session_id="third")).session == "#2"


async def test_session_metrics_count_each_run_once_however_often_it_was_saved(memory: Memory) -> None:
    sent = a_tool_turn()
    for end, told in ((1, 5), (2, 15), (4, 30)):
        await memory.record_run(
            sent[:end], session_id="s", run_id="r", status="running", metrics={"total_tokens": told, "cost": told / 100}
        )
    await memory.record_run(sent, session_id="s", run_id="r", metrics={"total_tokens": 30, "cost": 0.3})
    await memory.record_run(a_turn(), session_id="s", metrics={"total_tokens": 12})
    metrics = (await memory.get_session("s")).metrics
    assert metrics == {"total_tokens": 42, "cost": pytest.approx(0.3)}


async def test_a_paused_run_that_goes_on_counts_once(memory: Memory) -> None:
    sent = a_turn()
    await memory.record_run(sent[:1], session_id="s", run_id="r", status="paused", metrics={"total_tokens": 15})
    await memory.record_run(sent, session_id="s", run_id="r", status="completed", metrics={"total_tokens": 30})
    assert (await memory.get_session("s")).metrics["total_tokens"] == 30
    assert [r.status for r in await memory.get_runs("s")] == ["completed"]


async def test_tokens_that_nobody_told_are_counted_and_said_to_be(memory: Memory) -> None:
    sent = [user("one two three"), assistant("four five")]
    counted = await memory.record_run(sent, session_id="s")
    assert counted.metrics == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "estimated": True}
    told = await memory.record_run(a_turn(), session_id="s", metrics={"input_tokens": 7, "output_tokens": 1})
    assert told.metrics == {"input_tokens": 7, "output_tokens": 1, "estimated": False}
    metrics = (await memory.get_session("s")).metrics
    assert (metrics["input_tokens"], metrics["output_tokens"], metrics["estimated_runs"]) == (10, 3, 1)


@pytest.mark.parametrize("flags", [{}, {"store_tool_messages": False}, {"store_media": False}])
async def test_metrics_count_what_policy_leaves_out(memory: Memory, flags: dict[str, bool]) -> None:
    receipt = await memory.record_run(a_tool_turn(1), session_id="s", **flags)  # type: ignore[arg-type]
    whole = await memory.record_run(a_tool_turn(1), session_id="t")
    assert receipt.metrics == whole.metrics
    assert receipt.metrics["total_tokens"] > 20


async def test_status_and_metrics_of_a_running_run_are_brought_up_to_date(memory: Memory) -> None:
    sent = a_turn()
    await memory.record_run(sent, session_id="s", run_id="r", status="running")
    updated = await memory.record_run(
        sent,
        session_id="s",
        run_id="r",
        status="error",
        model="m2",
        metrics={"total_tokens": 9},
        metadata={"why": "time"},
    )
    assert (updated.recorded, updated.duplicate) == (0, False)
    (run,) = await memory.get_runs("s")
    assert (run.status, run.model, run.metadata, run.metrics) == ("error", "m2", {"why": "time"}, {"total_tokens": 9})


async def test_runs_that_interleave_each_grow_by_themselves(memory: Memory) -> None:
    left, right = a_tool_turn(1), a_tool_turn(2)
    for end in range(1, 5):
        for name, sent in (("left", left), ("right", right)):
            receipt = await memory.record_run(sent[:end], session_id="s", run_id=name, status="running")
            assert (receipt.recorded, receipt.history) == (1, 0)
    told = await memory.get_messages_for_session("s")
    for name, sent in (("left", left), ("right", right)):
        assert [m.text for m in told if m.run_id == name] == [m["content"] for m in sent]
    context = await memory.get_session_context("s")
    assert [[m.text for m in run.messages] for run in context.runs] == [
        [m["content"] for m in left],
        [m["content"] for m in right],
    ]
    assert await memory.store.check() == []


async def test_the_same_run_sent_by_two_at_once_is_kept_once(url: str, memory: Memory) -> None:
    sent = a_tool_turn()
    async with Backscroll(url) as other:
        rival = other.memory("ada")
        for n in range(10):
            receipts = await asyncio.gather(
                *(who.record_run(sent, session_id=f"s{n}", run_id=f"r{n}") for who in (memory, rival, memory, rival))
            )
            assert sorted(r.duplicate for r in receipts) == [False, True, True, True]
            assert (await memory.get_session(f"s{n}")).messages == 4


async def test_titles_projects_agents_and_times_are_kept(memory: Memory) -> None:
    started = datetime(2026, 11, 20, 14, 3, 0, 123000, UTC)
    await memory.record_run(
        [user("hi"), assistant("yo", created_at="2026-11-20T15:00:00+01:00"), user("again", created_at=1763650000)],
        session_id="s", title=" Flaky tests ", project="/srv/app", agent="coder", model="m1", started_at=started,
        ended_at="2026-11-20T14:05:00Z", metadata={"k": [1, {"z": None}]}, parent_run_id="above",
    )  # fmt: skip
    session = await memory.get_session("s")
    assert (session.title, session.project, session.agent) == ("Flaky tests", "/srv/app", "coder")
    (run,) = await memory.get_runs("s")
    assert (run.agent, run.model, run.parent_run_id, run.metadata) == ("coder", "m1", "above", {"k": [1, {"z": None}]})
    assert run.started_at == started
    assert run.ended_at == datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
    told = await memory.get_messages_for_session("s")
    assert [m.created_at for m in told] == [
        started, datetime(2026, 11, 20, 14, 0, tzinfo=UTC), datetime.fromtimestamp(1763650000, UTC),
    ]  # fmt: skip
    assert session.last_activity_at == max(m.created_at for m in told)


async def test_activity_never_goes_back(memory: Memory) -> None:
    await memory.record_run([user("new", created_at="2026-11-20T10:00:00Z")], session_id="s")
    await memory.record_run([user("old", created_at="2020-01-01T10:00:00Z")], session_id="s")
    assert (await memory.get_session("s")).last_activity_at == datetime(2026, 11, 20, 10, tzinfo=UTC)


async def test_limits_are_told_with_their_setting(url: str, tokens: object) -> None:
    from backscroll import Settings

    small = Settings(max_message_bytes=1000, max_run_bytes=3000, max_run_messages=5, max_media_bytes=500)
    async with Backscroll(url, small) as app:
        memory = app.memory("ada")
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 800}}
        for sent, setting in (
            ([user("x" * 1001)], "max_message_bytes"),
            ([user("ж" * 600)], "max_message_bytes"),
            ([user("x" * 900) for _ in range(4)], "max_run_bytes"),
            ([user(str(n)) for n in range(6)], "max_run_messages"),
            ([{"role": "user", "content": [picture]}], "max_media_bytes"),
        ):
            with pytest.raises(LimitExceeded, match=setting):
                await memory.record_run(sent, session_id="s")
        assert (await memory.list_sessions()).total == 0
        await memory.record_run([user("x" * 1000)], session_id="s")
