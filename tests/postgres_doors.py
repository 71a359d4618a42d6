"""Everything that Backscroll does with a database, once: for tests that ask how it does it and not what comes out."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backscroll import Memory
from backscroll.auth import keeping
from backscroll.auth.verifying import Verifier
from backscroll.exporting import export_jsonl, export_markdown
from backscroll.importing import import_paths, import_stream
from backscroll.redacting import redact_stored
from builders import a_tool_turn, a_turn, assistant, picture
from hook_doors import claude, heard

TRANSCRIPT = Path(__file__).parent / "fixtures" / "claude_code" / "every_turn.jsonl"


async def every_tool(memory: Memory) -> None:
    """What agents call: all tools, and the same again, so that what is known is met."""
    said = [
        {"role": "user", "content": [{"type": "text", "text": "where is the harbour of Bergen?"}, picture()]},
        *a_tool_turn(7),
    ]
    for _ in range(2):
        await memory.record_run(said, session_id="one", run_id="r1", title="Harbours", project="p", agent="coder")
    await memory.record_run([*said, *a_turn()], session_id="one", run_id="r2", state={"n": 1})
    for _ in range(3):
        await memory.record_run([*a_turn(), assistant("More.")], session_id="two")
    await memory.search_session_history("harbour Bergen")
    await memory.search_session_history(
        "harbour", session_id="one", role="user", project="p", agent="coder", since="7d"
    )
    await memory.search_session_history(num_history_sessions=2)
    await memory.list_sessions()
    await memory.list_sessions(query="Harbours")
    await memory.get_chat_history("one")
    await memory.get_chat_history("one", unique=False, agent="coder", num_history_runs=1)
    await memory.get_chat_history("#1.2")
    await memory.get_tool_call_history()
    await memory.get_tool_call_history("one", query="look", status="ok")
    await memory.get_session_context("one")
    await memory.get_session_context()
    await memory.summarize_session("one")
    await memory.summarize_session("two", summary="about harbours", topics=["harbours"])
    await memory.update_session("two", title="Other harbours", metadata={"a": 1}, archived=True)
    fork = await memory.fork_session("#1.3", new_session_id="fork")
    await memory.record_run(a_turn(), session_id="fork")
    await memory.get_chat_history("fork")
    await memory.get_messages_for_session("fork")
    await memory.search_session_history("harbour", session_id="fork")
    await memory.delete_session("fork")
    await memory.delete_session("two", purge=True)
    assert fork.session_id == "fork"


async def everything_else(memory: Memory) -> None:
    """What programs and people do: imports, hooks, pauses, deletions, exports, tokens, questions to the store."""
    picture_of = next(m.media[0] for m in await memory.get_messages_for_session("one") if m.media)
    await memory.get_media(picture_of.media_id)
    await memory.get_message("one", 1)
    await memory.get_runs("one")
    await memory.get_session("one")
    await memory.get_summary("one")
    await memory.sessions_like("Harb", 5)
    await memory.summarized_sessions(5)
    await import_paths(memory, [TRANSCRIPT])
    await import_paths(memory, [TRANSCRIPT])
    await heard(memory, claude("SessionStart", source="startup"), claude("UserPromptSubmit", prompt="where to?"))
    await memory.store.facts.captures(memory.user_id)
    await memory.pause(timedelta(hours=1))
    await memory.paused()
    await memory.resume()
    await memory.settle_choices()
    await memory.choices()
    pieces: list[str] = []
    await export_jsonl(memory, None, pieces.append)
    await export_markdown(memory, ["one"], lambda _: None)
    chosen = await memory.preview_deletion(source="claude-code")
    await memory.delete_sessions(chosen, forks="keep")
    await redact_stored(memory)
    await memory.delete_session("one", forks="delete")
    await import_stream(memory, io.StringIO("".join(pieces)), restore=True)
    await of_the_store(memory)


async def of_the_store(memory: Memory) -> None:
    store, user_id = memory.store, memory.user_id
    await store.counts(user_id)
    await store.extent(user_id)
    await store.about(user_id, thorough=True)
    await store.data_version(user_id)
    await store.index_is_current()
    await store.vectors.counts(user_id)
    await store.secrets.counts(user_id)
    ledger = store.ledger
    for state in await ledger.states(user_id):
        await ledger.move(user_id, state.path, f"{state.path}.moved", keep=True)
        await ledger.twin(user_id, state.file_id)
        await ledger.forget(user_id, [f"{state.path}.moved"])
    await ledger.note_sync(user_id, None)
    await ledger.last_sync(user_id)
    now = datetime.now(UTC)
    token, made = await keeping.create(store.tokens, user_id, ("read",), None, now=now)
    await Verifier(store.tokens, memory.settings).verify(token)
    await keeping.listed(store.tokens, user_id, now=now)
    await keeping.revoke(store.tokens, made.token_id, now=now)
