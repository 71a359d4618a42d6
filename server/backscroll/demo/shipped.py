"""The demo on the conversation that ships: recorded, recalled through every reading tool, reopened."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..tokens import counter
from .conversation import conversation
from .server import Agent, Stage, text_of
from .verifying import all_messages


async def tell_shipped(stage: Stage) -> None:
    """Raises DemoError."""
    runs = conversation(datetime.now().astimezone())
    teller = stage.teller
    teller.say("Backscroll at work: a throw-away store, the real server over stdio, an agent.", "bold")

    async def first(agent: Agent) -> None:
        await _record(stage, agent, runs)
        await _recall(stage, agent)
        for session_id in dict.fromkeys(run["session_id"] for run in runs):
            await _came_back(stage, agent, session_id, runs)

    async def second(agent: Agent) -> None:
        teller.step("That server is gone. Another process opens the file: the memory is still there.")
        summary = await agent.read("session://%232/summary")
        teller.check("SKIP LOCKED" in summary, "the summary that the first server stored is there")
        text = await agent.show(
            "search_session_history",
            query="which queue did we decide on",
            since="10d",
            role="assistant",
            limit=1,
        )
        teller.check("Decision: the job queue stays in Postgres" in text, "last week's decision is found")

    await stage.with_server(first)
    await stage.with_server(second)
    messages = [message for run in runs for message in run["messages"]]
    whole = sum(counter.count(_all_of(message)) for message in messages)
    teller.say("")
    teller.say(
        f"All {teller.checks} checks passed: {len(messages)} messages came back word for word. "
        f"The answers above cost {teller.tokens_read:,} tokens; all of the talk costs {whole:,}, and grows.",
        "bold green",
    )
    teller.say("Now yours: backscroll import ~/.claude/projects, or first backscroll demo PATH.")


async def _record(stage: Stage, agent: Agent, runs: Sequence[dict[str, Any]]) -> None:
    teller = stage.teller
    tools = len(await agent.tools())
    teller.step(f"The host records what was said, a run at a time. ({agent.server}, {tools} tools)")
    for i, run in enumerate(runs):
        result = await agent.call("record_run", **run)
        receipt = result.structured_content or {}
        teller.check(receipt.get("recorded") == len(run["messages"]), f"run {run['run_id']} was recorded whole")
        if i == 0:
            shown = {name: run[name] for name in ("session_id", "run_id", "messages")}
            teller.called("record_run", shown, text_of(result))
    sessions = len({run["session_id"] for run in runs})
    count = sum(len(run["messages"]) for run in runs)
    again = await agent.call("record_run", **runs[0])
    teller.check(bool((again.structured_content or {}).get("duplicate")), "a run sent twice is recorded once")
    told = f"{sessions} sessions, {len(runs)} runs, {count} messages"
    teller.say(f"  ... and so on: {told}. Sent again, a run is known.")


async def _recall(stage: Stage, agent: Agent) -> None:
    teller = stage.teller
    teller.step("Today the agent starts with an empty context. What was there?")
    text = await agent.show("list_sessions", limit=6)
    teller.check("Which queue for mailing tickets" in text, "the sessions are listed")

    teller.step('The user pastes an error: "certificate verify failed". Seen before?')
    text = await agent.show("search_session_history", query="certificate verify failed", role="assistant", limit=2)
    teller.check("#1.7 " in text, "the message that explains the error is found")

    teller.step("One line a hit is enough to choose; the agent opens that message.")
    text = await agent.show("get_chat_history", session_id="#1.7", max_tokens=400)
    teller.check("Point ca_file to /etc/harbor/ca-2.pem" in text, "the message reads as it was written")

    teller.step("Which tests were run for the fares, and what did they say?")
    text = await agent.show("get_tool_call_history", query="pytest fares", limit=1)
    teller.check("11 passed in 0.38s" in text, "the newest call comes with its result")

    teller.step("Last week's talk about the queue goes on: its summary, and its last turn word for word.")
    receipt = await agent.call(
        "summarize_session",
        session_id="#2",
        summary="Jobs stay in Postgres (FOR UPDATE SKIP LOCKED), not Redis. Next: the worker.",
        topics=["queue", "decision"],
    )
    stored = receipt.structured_content or {}
    teller.check(stored.get("session") == "#2", "the summary is stored with its session")
    text = await agent.show("get_session_context", session_id="#2", num_history_runs=1)
    teller.check("Rejected: Redis" in text and "SKIP LOCKED" in text, "summary and last turn are there")


async def _came_back(stage: Stage, agent: Agent, session_id: str, runs: Sequence[dict[str, Any]]) -> None:
    """Every message of a session, against what was sent."""
    sent = [message for run in runs if run["session_id"] == session_id for message in run["messages"]]
    found = await all_messages(agent, session_id)
    stage.teller.check(len(found) == len(sent), f"session {session_id} has {len(sent)} messages")
    for message, line in zip(sent, found, strict=True):
        ref = line["ref"]
        stage.teller.check(line["role"] == message["role"], f"{ref} has the role it was sent with")
        stage.teller.check(line.get("text", "") == message["content"], f"{ref} is word for word what was sent")
        calls = [call["tool_call_id"] for call in line.get("tool_calls", [])]
        made = [call["id"] for call in message.get("tool_calls", [])]
        stage.teller.check(calls == made, f"{ref} has the tool calls it was sent with")


def _all_of(message: dict[str, Any]) -> str:
    calls = [f"{call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls", [])]
    return "\n".join([message["content"], *calls])
