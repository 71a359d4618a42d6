"""Transcripts of several hosts, read into messages that know which place of which file they came from.

A place is a path below the folder, a colon, and the line's number, or the host's own id where the file has no
lines: `pi/.../x.jsonl:4`, `opencode/opencode.db:prt_20`. It names a message whatever an importer makes of the
file. One line may hold both a call and its result; the result's place then ends in `/result`.

The readers keep what was said and done: text, calls, arguments, results and times. They leave out what the
hosts write in between, thoughts, forks and branches, and what comes twice; real importers do more. Left out
too are VS Code's log of mutations and LangGraph's msgpack: in the samples both hold two lines that others
hold as well.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

Line = dict[str, Any]

CLAUDE_CODE = "claude-code"


class Said(NamedTuple):
    """A message in the shape of OpenAI's chat, `created_at` included where the file tells it."""

    place: str
    message: dict[str, Any]


@dataclass(slots=True)
class Transcript:
    """One session of a file. `session_id` is unique over all files, except Claude Code's, which is the host's."""

    source: str
    session_id: str
    path: Path
    project: str | None = None
    said: list[Said] = field(default_factory=list)

    def runs(self) -> Iterator[list[dict[str, Any]]]:
        """The messages, cut before each that a user said."""
        run: list[dict[str, Any]] = []
        for said in self.said:
            if said.message["role"] == "user" and run:
                yield run
                run = []
            run.append(said.message)
        if run:
            yield run


def transcripts(folder: Path) -> Iterator[Transcript]:
    """Every transcript below the folder that we have a reader for, in a fixed order."""
    for pattern, read in READERS.items():
        for path in sorted(folder.glob(pattern)):
            place = path.relative_to(folder).as_posix()
            yield from (transcript for transcript in read(path, f"{place}:") if transcript.said)


def _claude_code(path: Path, place: str) -> Iterator[Transcript]:
    """Each block of a line by itself. Only to name places: these files are read by our own importer."""
    sessions: dict[str, Transcript] = {}
    for number, line in _lines(path):
        if line.get("type") not in ("user", "assistant") or not isinstance(line.get("message"), dict):
            continue
        agent = f"/agent-{line['agentId']}" if line.get("isSidechain") else ""
        session_id = f"{line['sessionId']}{agent}"
        session = sessions.setdefault(session_id, Transcript(CLAUDE_CODE, session_id, path, line.get("cwd")))
        content = line["message"]["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            message: dict[str, Any] | None = None
            match block.get("type"):
                case "text":
                    message = {"role": line["type"], "content": block["text"]}
                case "tool_use":
                    message = _calling(_call(block["id"], block["name"], block["input"]))
                case "tool_result":
                    message = _result(block["tool_use_id"], _text(block["content"]), failed=block.get("is_error"))
            if message is not None:
                session.said.append(Said(f"{place}{number}", {**message, "created_at": line["timestamp"]}))
    yield from sessions.values()


def _codex(path: Path, place: str) -> Iterator[Transcript]:
    session = Transcript("codex", place, path)
    for number, line in _lines(path):
        item = line["payload"]
        if line["type"] == "session_meta":
            session.project = item["cwd"]
        if line["type"] != "response_item" or (item.get("role") == "user" and not _typed(item)):
            continue
        if (message := _message_of_item(item)) is not None:
            session.said.append(Said(f"{place}{number}", {**message, "created_at": line["timestamp"]}))
    yield session


def _typed(item: Line) -> bool:
    """Codex's other user messages are what it tells of its surroundings, and what hooks add."""
    told = item.get("internal_chat_message_metadata_passthrough") or {}
    return "user.text" in told.get("content_item_kinds", ())


def _message_of_item(item: Line) -> dict[str, Any] | None:
    """An item of OpenAI's Responses, where a user or the assistant said it, or a tool was called."""
    match item.get("type", "message"):
        case "message" if item["role"] in ("user", "assistant"):
            return {"role": item["role"], "content": _text(item["content"])}
        case "function_call":
            name = "__".join(filter(None, (item.get("namespace"), item["name"])))
            return _calling(_call(item["call_id"], name, item["arguments"]))
        case "function_call_output":
            return _result(item["call_id"], _text(item["output"]))
    return None


def _gemini(path: Path, place: str) -> Iterator[Transcript]:
    """A message written again under its id replaces the first; `$set` repeats what was said, with loss."""
    session = Transcript("gemini", place, path)
    found: dict[str, list[Said]] = {}
    for number, line in _lines(path):
        if line.get("type") not in ("user", "gemini"):
            continue
        at = {"created_at": line["timestamp"]}
        text = _text(line["content"])
        if line["type"] == "user":
            text = re.sub(r"<(session_context|hook_context)>.*?</\1>", "", text, flags=re.DOTALL).strip()
            said = [Said(f"{place}{number}", {"role": "user", "content": text, **at})] if text else []
        else:
            calls = line.get("toolCalls", [])
            calling = _calling(*(_call(call["id"], call["name"], call["args"]) for call in calls))
            said = [Said(f"{place}{number}", {**calling, "content": text, **at})] if text or calls else []
            for call in calls:
                output = call["result"][0]["functionResponse"]["response"]["output"]
                result = _result(call["id"], output, failed=call["status"] != "success")
                said.append(Said(f"{place}{number}/result", {**result, "created_at": call["timestamp"]}))
        found[line["id"]] = said
    session.said = [one for said in found.values() for one in said]
    yield session


def _pi(path: Path, place: str) -> Iterator[Transcript]:
    session = Transcript("pi", place, path)
    for number, line in _lines(path):
        session.project = line.get("cwd", session.project)
        if line["type"] != "message":
            continue
        told = line["message"]
        if told["role"] == "toolResult":
            message = _result(told["toolCallId"], _text(told["content"]), failed=told["isError"])
        else:
            calls = [_call(part["id"], part["name"], part["arguments"]) for part in _parts(told, "toolCall")]
            message = {**_calling(*calls), "role": told["role"], "content": _text(told["content"])}
        session.said.append(Said(f"{place}{number}", {**message, "created_at": line["timestamp"]}))
    yield session


def _copilot(path: Path, place: str) -> Iterator[Transcript]:
    session = Transcript("copilot", place, path)
    for number, line in _lines(path):
        data = line["data"]
        message: dict[str, Any] | None = None
        match line["type"]:
            case "user.message":
                message = {"role": "user", "content": data["content"]}
            case "assistant.message":
                calls = [_call(one["toolCallId"], one["name"], one["arguments"]) for one in data["toolRequests"]]
                message = {**_calling(*calls), "content": data["content"]}
            case "tool.execution_complete":
                message = _result(data["toolCallId"], data["result"]["content"], failed=not data["success"])
        if message is not None:
            session.said.append(Said(f"{place}{number}", {**message, "created_at": line["timestamp"]}))
    yield session


def _cursor(path: Path, place: str) -> Iterator[Transcript]:
    """No times, and calls without ids or results."""
    session = Transcript("cursor", place, path)
    for number, line in _lines(path):
        if "role" in line:
            calls = [_call(None, part["name"], part["input"]) for part in _parts(line["message"], "tool_use")]
            text = re.sub(r"</?user_query>", "", _text(line["message"]["content"])).strip()
            session.said.append(Said(f"{place}{number}", {**_calling(*calls), "role": line["role"], "content": text}))
    yield session


def _chatgpt(path: Path, place: str) -> Iterator[Transcript]:
    """All branches, one after another."""
    for chat in json.loads(path.read_bytes()):
        session = Transcript("chatgpt", f"{place}{chat['id']}", path)
        for node, told in ((node, one["message"]) for node, one in chat["mapping"].items()):
            if told is not None:
                text = "\n".join(part for part in told["content"]["parts"] if isinstance(part, str))
                message = {"role": told["author"]["role"], "content": text, "created_at": told["create_time"]}
                session.said.append(Said(f"{place}{node}", message))
        yield session


def _claude_ai(path: Path, place: str) -> Iterator[Transcript]:
    roles = {"human": "user", "assistant": "assistant"}
    for chat in json.loads(path.read_bytes()):
        session = Transcript("claude-ai", f"{place}{chat['uuid']}", path)
        for told in chat["chat_messages"]:
            message = {"role": roles[told["sender"]], "content": told["text"], "created_at": told["created_at"]}
            session.said.append(Said(f"{place}{told['uuid']}", message))
        yield session


def _opencode(path: Path, place: str) -> Iterator[Transcript]:
    for session_id, directory in _rows(path, "SELECT id, directory FROM session ORDER BY id"):
        session = Transcript("opencode", f"{place}{session_id}", path, directory)
        for part_id, created_ms, message_data, part_data in _rows(
            path,
            "SELECT p.id, p.time_created, m.data, p.data FROM part p JOIN message m ON m.id = p.message_id"
            " WHERE p.session_id = ? ORDER BY p.id",
            session_id,
        ):
            part, at = json.loads(part_data), {"created_at": _at_ms(created_ms)}
            if part["type"] == "text" and not part.get("synthetic"):
                message = {"role": json.loads(message_data)["role"], "content": part["text"], **at}
                session.said.append(Said(f"{place}{part_id}", message))
            elif part["type"] == "tool":
                state = part["state"]
                calling = _calling(_call(part["callID"], part["tool"], state["input"]))
                result = _result(part["callID"], state["output"], failed=state["status"] == "error")
                session.said.append(Said(f"{place}{part_id}", {**calling, **at}))
                session.said.append(Said(f"{place}{part_id}/result", {**result, **at}))
        yield session


def _agno(path: Path, place: str) -> Iterator[Transcript]:
    """Both layouts: runs as JSON in JSON in the session's row, and a row for each run."""
    if _rows(path, "SELECT 1 FROM pragma_table_info('agno_sessions') WHERE name = 'runs'"):
        stored = _rows(path, "SELECT session_id, runs FROM agno_sessions ORDER BY session_id")
        runs = [(session_id, run) for session_id, told in stored for run in json.loads(json.loads(told))]
    else:
        stored = _rows(path, "SELECT session_id, run_data FROM agno_runs ORDER BY session_id, run_index")
        runs = [(session_id, json.loads(told)) for session_id, told in stored]
    sessions: dict[str, Transcript] = {}
    for session_id, run in runs:
        session = sessions.setdefault(session_id, Transcript("agno", f"{place}{session_id}", path))
        for told in run["messages"]:
            if not told["from_history"] and told["role"] != "system":
                wanted = ("role", "content", "tool_calls", "tool_call_id", "created_at")
                message = {name: told[name] for name in wanted if told.get(name) is not None}
                session.said.append(Said(f"{place}{told['id']}", message))
    yield from sessions.values()


def _openai_agents(path: Path, place: str) -> Iterator[Transcript]:
    sessions: dict[str, Transcript] = {}
    told = _rows(path, "SELECT id, session_id, message_data, created_at FROM agent_messages ORDER BY id")
    for number, session_id, data, created_at in told:
        session = sessions.setdefault(session_id, Transcript("openai-agents", f"{place}{session_id}", path))
        if (message := _message_of_item(json.loads(data))) is not None:
            session.said.append(Said(f"{place}{number}", {**message, "created_at": created_at}))
    yield from sessions.values()


Reader = Callable[[Path, str], Iterator[Transcript]]

READERS: Mapping[str, Reader] = {
    "claude_code/**/*.jsonl": _claude_code,
    "codex/**/*.jsonl": _codex,
    "gemini/**/*.jsonl": _gemini,
    "opencode/*.db": _opencode,
    "pi/**/*.jsonl": _pi,
    "frameworks/agno*.db": _agno,
    "frameworks/oai*.db": _openai_agents,
    "synthetic/claude_code.jsonl": _claude_code,
    "synthetic/codex.jsonl": _codex,
    "synthetic/gemini.jsonl": _gemini,
    "synthetic/pi.jsonl": _pi,
    "synthetic/copilot*.jsonl": _copilot,
    "synthetic/cursor*.jsonl": _cursor,
    "synthetic/chatgpt*.json": _chatgpt,
    "synthetic/claude_ai*.json": _claude_ai,
}
"""Where each host's files are, below the folder, and how they are read."""


# What the readers share


def _lines(path: Path) -> Iterator[tuple[int, Line]]:
    """The objects of a file of JSON lines, numbered from 1."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            yield number, json.loads(line)


def _rows(path: Path, statement: str, *given: Any) -> list[tuple[Any, ...]]:
    """Read only, and leaving no file behind, as a plain connection would beside a database in WAL."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        return db.execute(statement, given).fetchall()


def _parts(message: Line, kind: str) -> list[Line]:
    return [part for part in message["content"] if part["type"] == kind]


def _text(content: Any) -> str:
    """The texts of a content, which is one itself or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _call(call_id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    told = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": told}}


def _calling(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", **({"tool_calls": list(calls)} if calls else {})}


def _result(call_id: str, text: str, *, failed: Any = False) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text, "is_error": failed is True}


def _at_ms(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
