"""Whatever is recorded, in whatever pieces, what is stored is a valid sequence, and all tables agree."""

import asyncio
import copy
import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backscroll import Memory
from backscroll.errors import Conflict
from builders import faults_of_sequence
from hunting import examples

IDS = st.sampled_from(["a", "b", "c", "", None])
TEXTS = st.sampled_from(["", "yes", "no", "look at it", "  "])
STATUSES = st.sampled_from(["running", "completed", "error", "cancelled", "paused"])
_names = itertools.count(1)


def calls() -> st.SearchStrategy[dict[str, Any]]:
    def made(call_id: str | None, name: str) -> dict[str, Any]:
        return {"id": call_id, "function": {"name": name, "arguments": '{"secret":"argument"}'}}

    return st.builds(made, IDS, st.sampled_from(["bash", "grep"]))


MESSAGES = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, TEXTS),
    st.builds(lambda text: {"role": "system", "content": text}, TEXTS),
    st.builds(
        lambda text, made: {"role": "assistant", "content": text, "tool_calls": made},
        TEXTS,
        st.lists(calls(), max_size=3),
    ),
    st.builds(
        lambda text, call_id, failed: {"role": "tool", "content": text, "tool_call_id": call_id, "is_error": failed},
        st.sampled_from(["", "secret result", "ok"]),
        IDS,
        st.booleans(),
    ),
)


def marked(message: dict[str, Any], from_history: bool) -> dict[str, Any]:
    return {**message, "from_history": True} if from_history else message


RUNS = st.lists(st.builds(marked, MESSAGES, st.sampled_from([False, False, False, True])), max_size=9)
FLAGS = st.fixed_dictionaries(
    {name: st.booleans() for name in ("store_media", "store_tool_messages", "store_history_messages")}
)
EXAMPLES = settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def settled(memory: Memory, session_id: str, *, tools: bool) -> None:
    """Look at a session from every side."""
    told = await memory.get_messages_for_session(session_id)
    assert faults_of_sequence(told) == []
    assert [m.seq for m in told] == sorted({m.seq for m in told})
    if not tools:
        assert not [m for m in told if m.role == "tool" or m.tool_calls]
    session = await memory.get_session(session_id)
    assert session.messages == len(told)
    assert session.history_messages == sum(m.from_history for m in told)
    page = await memory.get_tool_call_history(session_id, limit=100, max_tokens=20_000)
    assert page.total == session.tool_calls
    assert await memory.store.check() == []


@given(pieces=st.data(), sent=RUNS, flags=FLAGS, status=STATUSES)
@EXAMPLES
def test_a_run_in_any_pieces_leaves_a_valid_sequence(
    kept_memory: Memory,
    loop: asyncio.Runner,
    pieces: st.DataObject,
    sent: list[dict[str, Any]],
    flags: Any,
    status: Any,
) -> None:
    session_id = f"s{next(_names)}"
    ends = [*sorted(pieces.draw(st.sets(st.integers(0, len(sent)), max_size=4), label="pieces")), len(sent)]
    before = copy.deepcopy(sent)

    async def record() -> None:
        for n, end in enumerate(ends):
            await kept_memory.record_run(
                sent[:end],
                session_id=session_id,
                run_id=session_id,
                status=status if n == len(ends) - 1 else "running",
                **flags,
            )
        again = await kept_memory.record_run(sent, session_id=session_id, run_id=session_id, status=status, **flags)
        assert again.recorded == 0
        await settled(kept_memory, session_id, tools=flags["store_tool_messages"])

    loop.run(record())
    assert sent == before


@given(runs=st.lists(st.tuples(RUNS, FLAGS), min_size=1, max_size=4), whole=st.booleans())
@EXAMPLES
def test_any_runs_one_after_another_leave_a_valid_sequence(
    kept_memory: Memory, loop: asyncio.Runner, runs: list[tuple[list[dict[str, Any]], Any]], whole: bool
) -> None:
    """Each run alone, or with all that was said before it."""
    session_id = f"s{next(_names)}"

    async def record() -> None:
        context: list[dict[str, Any]] = []
        for sent, flags in runs:
            await kept_memory.record_run([*context, *sent] if whole else sent, session_id=session_id, **flags)
            context += [message for message in sent if not message.get("from_history")]
        await settled(kept_memory, session_id, tools=any(flags["store_tool_messages"] for _, flags in runs))

    loop.run(record())


@given(sent=RUNS, grown=RUNS, flags=FLAGS, cut=st.integers(0, 9))
@EXAMPLES
def test_a_run_sent_otherwise_is_taken_whole_or_refused_whole(
    kept_memory: Memory,
    loop: asyncio.Runner,
    sent: list[dict[str, Any]],
    grown: list[dict[str, Any]],
    flags: Any,
    cut: int,
) -> None:
    session_id = f"s{next(_names)}"

    async def record() -> None:
        await kept_memory.record_run(sent, session_id=session_id, run_id=session_id, status="running", **flags)
        before = await kept_memory.get_messages_for_session(session_id)
        try:
            await kept_memory.record_run(
                [*sent[:cut], *grown], session_id=session_id, run_id=session_id, status="running", **flags
            )
        except Conflict:
            assert await kept_memory.get_messages_for_session(session_id) == before
        await settled(kept_memory, session_id, tools=flags["store_tool_messages"])

    loop.run(record())


@given(sent=RUNS, cut=st.integers(1, 20), later=RUNS)
@EXAMPLES
def test_a_fork_anywhere_continues_a_valid_sequence(
    kept_memory: Memory, loop: asyncio.Runner, sent: list[dict[str, Any]], cut: int, later: list[dict[str, Any]]
) -> None:
    session_id = f"s{next(_names)}"

    async def record() -> None:
        await kept_memory.record_run(sent, session_id=session_id)
        session = await kept_memory.get_session(session_id)
        if cut > session.last_seq:
            return
        fork = await kept_memory.fork_session(f"{session.session}.{cut}")
        assert fork.fork_seq >= cut
        shared = await kept_memory.get_messages_for_session(fork.session_id)
        assert faults_of_sequence(shared) == []
        await kept_memory.record_run(later, session_id=fork.session_id)
        await kept_memory.record_run(later, session_id=session_id)
        told = await kept_memory.get_messages_for_session(fork.session_id)
        assert told[: len(shared)] == shared
        assert faults_of_sequence(told) == []
        await kept_memory.delete_session(session_id, forks="keep")
        kept = await kept_memory.get_messages_for_session(fork.session_id)
        assert [m.text for m in kept] == [m.text for m in told]
        assert faults_of_sequence(kept) == []
        assert await kept_memory.store.check() == []

    loop.run(record())
