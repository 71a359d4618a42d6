"""An agent may send its context with each turn: what the session already holds is recognised, not kept twice."""

from typing import Any

import pytest

from backscroll import Memory
from builders import a_tool_turn, a_turn, assistant, call, result, system, texts, user


async def test_the_whole_context_every_turn_is_kept_once(memory: Memory) -> None:
    context: list[dict[str, Any]] = [system()]
    for n in range(1, 8):
        turn = a_tool_turn(n) if n % 2 else a_turn()
        receipt = await memory.record_run([*context, *turn], session_id="s")
        assert receipt.recorded == len(turn) + (n == 1)
        assert receipt.history == (len(context) if n > 1 else 0)
        assert receipt.scrubbed.history_messages == receipt.history
        context += turn
    assert texts(await memory.get_messages_for_session("s")) == [m["content"] for m in context]
    assert (await memory.get_session("s")).tool_calls == 4


@pytest.mark.parametrize("window", [2, 4, 5, 6])
async def test_the_last_few_turns_are_recognised(memory: Memory, window: int) -> None:
    said: list[dict[str, Any]] = []
    for n in range(6):
        turn = a_turn(f"q{n}", f"a{n}")
        receipt = await memory.record_run([*said[-window:], *turn], session_id="s")
        assert receipt.recorded == 2
        said += turn
    assert texts(await memory.get_messages_for_session("s")) == [m["content"] for m in said]


async def test_trimmed_text_new_ids_and_other_spaces_in_json_are_still_the_same(memory: Memory) -> None:
    await memory.record_run(a_tool_turn(1), session_id="s")
    again = [
        user("Please look into matter 1.\n"),
        assistant("Looking into 1. ", call("other-id", "bash", '{ "command" : "look 1" }')),
        result("other-id", "matter 1 is fine"),
        assistant("Matter 1 is fine."),
    ]
    receipt = await memory.record_run([*again, user("Good.")], session_id="s")
    assert (receipt.history, receipt.recorded) == (4, 1)


async def test_one_repeated_message_was_said_twice(memory: Memory) -> None:
    await memory.record_run([user("go on")], session_id="s")
    receipt = await memory.record_run([user("go on"), assistant("ok")], session_id="s")
    assert (receipt.history, receipt.recorded, receipt.warning) == (0, 2, None)


async def test_a_block_from_the_middle_of_the_past_is_not_history(memory: Memory) -> None:
    old, newer = a_turn(), a_turn()
    await memory.record_run(old, session_id="s")
    await memory.record_run(newer, session_id="s")
    receipt = await memory.record_run([*old, user("and now?")], session_id="s")
    assert (receipt.history, receipt.recorded) == (0, 3)


async def test_history_of_another_session_is_new_here(memory: Memory) -> None:
    past = a_turn()
    await memory.record_run(past, session_id="s")
    receipt = await memory.record_run([*past, user("go on")], session_id="t")
    assert (receipt.history, receipt.recorded) == (0, 3)


async def test_a_repeat_without_a_run_id_is_recorded_and_suspected(memory: Memory) -> None:
    sent = a_turn()
    await memory.record_run(sent, session_id="s")
    receipt = await memory.record_run(sent, session_id="s")
    assert (receipt.history, receipt.recorded, receipt.duplicate) == (0, 2, False)
    assert receipt.warning is not None
    assert "run_id" in receipt.warning
    assert (await memory.get_session("s")).messages == 4


async def test_a_repeated_system_prompt_is_history_and_a_changed_one_is_new(memory: Memory) -> None:
    first, second = a_turn(), a_turn()
    await memory.record_run([system("Be kind."), *first], session_id="s")
    same = await memory.record_run([system("Be kind."), *first, *second], session_id="s")
    assert (same.history, same.recorded) == (3, 2)
    changed = await memory.record_run([system("Be brief."), *first, *second, user("So?")], session_id="s")
    assert (changed.history, changed.recorded) == (4, 2)
    assert texts(await memory.get_messages_for_session("s"))[-2:] == ["Be brief.", "So?"]


async def test_marked_messages_are_history_wherever_they_stand(memory: Memory) -> None:
    await memory.record_run([system("Be kind."), *a_turn()], session_id="s")
    sent = [
        system("Be kind."),
        user("something the store never saw", from_history=True),
        user("new question"),
        assistant("remembered", from_history=True),
        assistant("new answer"),
    ]
    receipt = await memory.record_run(sent, session_id="s", run_id="r")
    assert (receipt.history, receipt.recorded) == (3, 2)
    assert texts(await memory.get_messages_for_session("s"))[3:] == ["new question", "new answer"]
    assert (await memory.record_run(sent, session_id="s", run_id="r")).duplicate


async def test_a_run_sent_again_with_its_history_is_the_same_run(memory: Memory) -> None:
    past, now = a_tool_turn(), a_tool_turn()
    await memory.record_run([system(), *past], session_id="s")
    for end in range(1, 5):
        await memory.record_run([system(), *past, *now[:end]], session_id="s", run_id="r", status="running")
        await memory.record_run(a_turn(), session_id="s")
    again = await memory.record_run([system(), *past, *now], session_id="s", run_id="r", status="running")
    assert (again.duplicate, again.recorded, again.history) == (True, 0, 5)
    shorter = await memory.record_run([*now, user("more")], session_id="s", run_id="r")
    assert (shorter.recorded, shorter.history) == (1, 0)
    mine = [m.text for m in await memory.get_messages_for_session("s") if m.run_id == "r"]
    assert mine == [*(m["content"] for m in now), "more"]


async def test_what_ran_inside_another_run_does_not_hide_the_past(memory: Memory) -> None:
    first = a_tool_turn(1)
    await memory.record_run(first, session_id="s", run_id="top")
    await memory.record_run(a_turn(), session_id="s", run_id="inner", parent_run_id="top")
    receipt = await memory.record_run([*first, *a_turn()], session_id="s")
    assert (receipt.history, receipt.recorded) == (4, 2)


async def test_history_may_be_stored_and_is_told_apart(memory: Memory) -> None:
    first, second = a_tool_turn(1), a_turn()
    await memory.record_run(first, session_id="s")
    receipt = await memory.record_run([*first, *second], session_id="s", store_history_messages=True)
    assert (receipt.history, receipt.recorded, receipt.scrubbed.history_messages) == (4, 2, 0)
    told = await memory.get_messages_for_session("s")
    assert [m.from_history for m in told] == [False] * 4 + [True] * 4 + [False] * 2
    assert [c.tool_name for m in told[4:8] for c in m.tool_calls] == ["bash"]
    session = await memory.get_session("s")
    assert (session.messages, session.history_messages, session.tool_calls) == (10, 4, 1)
    unique = await memory.get_chat_history("s")
    assert [line.seq for line in unique.messages] == [1, 2, 3, 4, 9, 10]
    assert (unique.total, (await memory.get_chat_history("s", unique=False)).total) == (6, 10)
    assert (await memory.get_tool_call_history("s")).total == 1
    assert (await memory.search_session_history("matter")).total == 3
    assert await memory.store.check() == []


async def test_stored_history_does_not_become_the_past_of_the_next_run(memory: Memory) -> None:
    context: list[dict[str, Any]] = []
    for n in range(5):
        turn = a_turn()
        receipt = await memory.record_run([*context, *turn], session_id="s", store_history_messages=True)
        assert (receipt.history, receipt.recorded) == (2 * n, 2)
        context += turn


async def test_what_was_not_stored_is_still_recognised(memory: Memory) -> None:
    first = a_tool_turn()
    await memory.record_run(first, session_id="s", store_tool_messages=False)
    receipt = await memory.record_run([*first, *a_turn()], session_id="s", store_tool_messages=False)
    assert (receipt.history, receipt.recorded) == (4, 2)


async def test_private_and_media_do_not_change_what_is_recognised(memory: Memory) -> None:
    first = [user("my pin is <private>1234</private>, keep it"), assistant("Kept.")]
    await memory.record_run(first, session_id="s", store_media=False)
    receipt = await memory.record_run([*first, *a_turn()], session_id="s")
    assert (receipt.history, receipt.recorded) == (2, 2)


async def test_history_is_recognised_within_forks(memory: Memory) -> None:
    first, second = a_turn(), a_turn()
    await memory.record_run(first, session_id="s")
    await memory.record_run([*first, *second], session_id="s")
    fork = (await memory.fork_session("#1.2", new_session_id="f")).session_id
    right = await memory.record_run([*first, *a_turn()], session_id=fork)
    assert (right.history, right.recorded) == (2, 2)
    below = (await memory.fork_session("f", new_session_id="g")).session_id
    whole = texts(await memory.get_messages_for_session(below))
    sent = [user(text) if n % 2 == 0 else assistant(text) for n, text in enumerate(whole)]
    deeper = await memory.record_run([*sent, *a_turn()], session_id=below)
    assert (deeper.history, deeper.recorded) == (4, 2)
    wrong = await memory.record_run([*first, *second, *a_turn()], session_id="f")
    assert wrong.history == 0
