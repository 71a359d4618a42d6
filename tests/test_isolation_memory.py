"""Two users with the same ids in one file: neither sees, counts, changes or deletes what is the other's."""

from typing import Any

import pytest

from backscroll import Backscroll, Host, Memory
from backscroll.errors import BackscrollError, InvalidArgument, MediaNotFound, NotFound, SessionNotFound
from backscroll.models import NewMessage, NewRun
from builders import a_turn, assistant, call, picture, result, texts, user


async def furnish(memory: Memory, word: str) -> None:
    """The same ids, numbers and shapes for each user; only the words differ."""
    await memory.record_run(
        [
            {"role": "user", "content": [{"type": "text", "text": f"{word} asks"}, picture(word.encode())]},
            assistant(f"{word} thinks", call("c1", "bash", f'{{"q":"{word}"}}')),
            result("c1", f"{word} found"),
            assistant(f"{word} answers"),
        ],
        session_id="shared", run_id="run-1", title=f"{word} title", project="p", agent="coder",
        metrics={"total_tokens": 7}, state={"who": word}, metadata={"who": word},
    )  # fmt: skip
    await memory.summarize_session("shared", summary=f"{word} summed up", topics=[word])
    await memory.record_run(a_turn(f"{word} second", f"{word} reply"), session_id="second", project="p")


@pytest.fixture
async def ada(app: Backscroll) -> Memory:
    memory = app.memory("ada", source="api")
    await furnish(memory, "adaword")
    return memory


@pytest.fixture
async def bob(app: Backscroll, ada: Memory) -> Memory:
    memory = app.memory("bob", source="api")
    await furnish(memory, "bobword")
    return memory


async def everything(memory: Memory) -> list[Any]:
    """All that one user can see, through every method that reads."""
    seen: list[Any] = []
    for session in ("shared", "#1", "second", "#2"):
        seen += [
            await memory.get_session(session),
            await memory.get_runs(session),
            await memory.get_summary(session),
            await memory.get_messages_for_session(session),
            (await memory.get_chat_history(session)).messages,
            (await memory.get_tool_call_history(session)).tool_calls,
            (await memory.get_session_context(session)).model_copy(update={"nonce": ""}),
        ]
    seen += [
        (await memory.list_sessions()).sessions,
        (await memory.search_session_history()).sessions,
        (await memory.get_tool_call_history()).tool_calls,
        (await memory.get_chat_history()).messages,
        (await memory.get_session_context()).model_copy(update={"nonce": ""}),
        await memory.store.counts(memory.user_id),
        await memory.store.titles(memory.user_id, "", 10),
        await memory.store.newest_session(memory.user_id, "p"),
    ]
    for word in ("adaword", "bobword"):
        seen.append((await memory.search_session_history(word)).hits)
        seen.append((await memory.list_sessions(query=word)).sessions)
        seen.append((await memory.get_tool_call_history(query=word)).tool_calls)
    return seen


async def test_each_user_sees_what_is_theirs_and_nothing_else(ada: Memory, bob: Memory) -> None:
    for memory, own, other in ((ada, "adaword", "bobword"), (bob, "bobword", "adaword")):
        shown = repr(await everything(memory))
        assert own in shown
        assert other not in shown
        assert (await memory.search_session_history(other)).total == 0
        assert (await memory.search_session_history(f"{own} {other}")).total == 6
        assert (await memory.list_sessions()).total == 2
        assert (await memory.get_session("shared")).session == "#1"


async def test_nobody_else_sees_anything(app: Backscroll, ada: Memory) -> None:
    for stranger in ("eve", "ADA", "ada ", "Ada", "%", "ada' OR '1'='1"):
        memory = app.memory(stranger)
        assert (await memory.list_sessions()).total == 0
        assert (await memory.search_session_history("adaword")).total == 0
        assert (await memory.get_tool_call_history()).total == 0
        for session in ("shared", "#1"):
            with pytest.raises(SessionNotFound):
                await memory.get_session(session)
        with pytest.raises(NotFound):
            await memory.get_chat_history()


@pytest.mark.parametrize("nobody", ["", "  ", "a\0b"])
async def test_nobody_is_no_user(app: Backscroll, nobody: str) -> None:
    with pytest.raises(InvalidArgument, match="user_id"):
        app.memory(nobody)


async def test_writing_under_the_same_ids_leaves_the_other_alone(ada: Memory, bob: Memory) -> None:
    before = await everything(ada)
    again = await bob.record_run(
        [user("bobword asks"), assistant("other")], session_id="shared", run_id="run-2", status="running"
    )
    assert again.run_index == 2
    await bob.record_run([user("bobword asks"), assistant("other"), user("more")], run_id="run-2")
    with pytest.raises(BackscrollError):
        await bob.record_run([user("not the same")], run_id="run-1")
    await bob.update_session("shared", title="bobword", state={"x": 1}, metadata={"y": 2}, archived=True)
    await bob.summarize_session("shared", summary="bobword anew")
    await bob.fork_session("#1.4", new_session_id="fork")
    await bob.record(
        [NewRun(messages=(NewMessage(role="user", text="hi"),), session_id="shared", source="x")], imported=True
    )
    assert await everything(ada) == before


async def test_deleting_and_purging_leave_the_other_whole(ada: Memory, bob: Memory) -> None:
    before = await everything(ada)
    await bob.delete_session("shared", purge=True)
    await bob.delete_session("#2")
    assert await everything(ada) == before
    assert (await bob.list_sessions()).total == 0
    assert await ada.store.check() == []
    (skipped,) = await bob.record([NewRun(messages=(), session_id="shared", source="api")], imported=True)
    (taken,) = await ada.record([NewRun(messages=(), session_id="shared", source="api")], imported=True)
    assert (skipped.skipped_deleted, taken.skipped_deleted) == (True, False)


async def test_each_user_owns_media_even_where_the_bytes_are_the_same(ada: Memory, bob: Memory) -> None:
    for memory in (ada, bob):
        await memory.record_run([{"role": "user", "content": [picture(b"both have it")]}], session_id="pictures")
    media_id = (await ada.get_messages_for_session("pictures"))[0].media[0].media_id
    assert (await ada.store.counts("ada"))["media"] == 2
    await bob.delete_session("pictures")
    with pytest.raises(MediaNotFound):
        await bob.get_media(media_id)
    assert (await ada.get_media(media_id)).data == b"both have it"
    (own,) = (await ada.get_messages_for_session("shared"))[0].media
    with pytest.raises(MediaNotFound):
        await bob.get_media(own.media_id)


async def test_media_are_stored_once_for_a_user(memory: Memory) -> None:
    one = {"role": "user", "content": [picture(b"same"), picture(b"same")]}
    await memory.record_run([one, one], session_id="s")
    await memory.record_run([one], session_id="t")
    assert (await memory.store.counts("ada"))["media"] == 1
    assert [len(m.media) for m in await memory.get_messages_for_session("s")] == [2, 2]


async def test_what_a_host_says_is_a_hint_within_the_user(app: Backscroll, ada: Memory, bob: Memory) -> None:
    await ada.record_run([user("adaword alone")], session_id="only-adas")
    seen = bob.at(Host(session_id="only-adas", project="p"))
    page = await seen.get_chat_history()
    assert page.session_id == "second"
    assert "adaword" not in repr(page)
    receipt = await seen.record_run([user("bobword here")])
    assert (receipt.session_id, receipt.created, receipt.session) == ("only-adas", True, "#3")
    assert texts(await ada.get_messages_for_session("only-adas")) == ["adaword alone"]


async def test_history_and_forks_do_not_cross_the_line(ada: Memory, bob: Memory) -> None:
    past = a_turn()
    await ada.record_run(past, session_id="talk")
    receipt = await bob.record_run([*past, user("go on")], session_id="talk")
    assert (receipt.history, receipt.recorded) == (0, 3)
    await ada.fork_session("talk", new_session_id="mine")
    with pytest.raises(SessionNotFound):
        await bob.fork_session("mine")
    assert (await bob.fork_session("talk", new_session_id="mine")).session == "#4"
