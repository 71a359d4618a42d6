"""The ten tools: a method of Memory each, with the words that a model reads about it.

Arguments, types and defaults come from the methods' own signatures, so a tool cannot drift from its
method. Schemas are written out small: every host's model pays for them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as mcp

from .access import Scope
from .answers import (
    DeleteReceipt,
    ForkReceipt,
    Page,
    RecordReceipt,
    SessionReceipt,
    SummaryReceipt,
)
from .errors import InvalidArgument
from .fitting import MAX_TOKENS, nonce
from .memory import Memory
from .models import Value
from .render import compact, fenced, page_json, page_text
from .tool_arguments import input_schema, read_arguments

INSTRUCTIONS = """\
Backscroll keeps this user's past sessions with any agent, word for word: requests, answers, tool calls, results. \
Recall before asking the user to repeat themselves, before redoing work, and before guessing what was decided: \
when they refer to earlier work, when a task resumes, when an error looks familiar. \
Start with search_session_history (plain words); each hit is one line with a handle such as #12.48. \
Open it with get_chat_history(session_id="#12.48"). get_session_context resumes a session, \
get_tool_call_history shows what was tried. #12 names a session wherever a session_id is taken."""

_SESSION = "Id or #12"


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model reads of a tool, and how it behaves. `said` makes a writing tool's sentence."""

    name: str
    title: str
    description: str
    arguments: Mapping[str, str]
    answer: type[Value] | None = None
    said: Callable[[Any], str] | None = None
    destructive: bool = False
    idempotent: bool = False

    @property
    def reads(self) -> bool:
        return self.answer is None


def _recorded(receipt: RecordReceipt) -> str:
    counted = "1 message" if receipt.recorded == 1 else f"{receipt.recorded} messages"
    said = [f"Recorded {counted} as run {receipt.run_index} of session {receipt.session}."]
    if receipt.duplicate:
        said = [f"Nothing new: run {receipt.run_index} of session {receipt.session} is recorded already."]
    if receipt.history:
        said.append(f"{receipt.history} were history of the session.")
    dropped = receipt.scrubbed
    left_out = [(dropped.media, "media"), (dropped.tool_messages, "tool messages")]
    if any(count for count, _ in left_out):
        said.append(f"Not stored, by policy: {', '.join(f'{count} {what}' for count, what in left_out if count)}.")
    if receipt.warning:
        said.append(receipt.warning)
    return " ".join(said)


def _summarized(receipt: SummaryReceipt) -> str:
    made = receipt.summary
    said = f"{receipt.resolved} " if receipt.resolved else ""
    said += f"Session {receipt.session} has summary version {made.version}, made by {made.made_by}."
    # Its own words the caller knows. Another's quote what was said, and so stand as a record.
    return said if made.made_by == "agent" else "\n".join([said, *fenced(nonce(), iter([made.summary]))])


def _updated(receipt: SessionReceipt) -> str:
    title = f': "{receipt.title}"' if receipt.title else ""
    return f"Session {receipt.session} is updated{title}{', archived' if receipt.archived else ''}."


def _forked(receipt: ForkReceipt) -> str:
    shared = (
        f"it shares messages up to {receipt.forked_from}.{receipt.fork_seq}" if receipt.fork_seq else "it shares none"
    )
    return f"Session {receipt.session} is a fork of {receipt.forked_from}: {shared} and goes on by itself."


def _deleted(receipt: DeleteReceipt) -> str:
    rows = ", ".join(
        f"{count:,} {table.replace('_', ' ')}"
        for table in ("sessions", "runs", "messages", "tool_calls", "media", "summaries")
        if (count := receipt.deleted.get(table))
    )
    purge = receipt.purge[:1].upper() + receipt.purge[1:]
    return f"Deleted session {receipt.session} (rows: {rows}). {purge}. Not reached: {'; '.join(receipt.not_reached)}."


TOOLS: tuple[Tool, ...] = (
    Tool(
        "search_session_history",
        "Search past sessions",
        "Find what was said or done in past sessions; one line a hit, best first. Without query: how each of the "
        "last sessions began and ended. Start here.",
        {
            "query": 'Plain words, "exact phrase"',
            "num_history_sessions": "Only the last N, this one excluded",
            "session_id": _SESSION,
        },
    ),
    Tool(
        "list_sessions",
        "List sessions",
        "Past sessions, newest activity first.",
        {"query": "Words of title, project or id; finds archived ones too"},
    ),
    Tool(
        "get_chat_history",
        "Read a session",
        "Read a session word for word, in order: its newest messages, or around a handle such as #12.48. "
        "Without session_id: the current or newest session.",
        {
            "session_id": "Id, #12 or handle #12.48",
            "num_history_runs": "Only the last N turns",
            "unique": "false: repeated context too",
        },
    ),
    Tool(
        "get_tool_call_history",
        "Past tool calls",
        "Have I tried this? Past tool calls with arguments and results, newest first; with query, best match first.",
        {"session_id": f"{_SESSION}; all by default", "query": "Command, file or error text"},
    ),
    Tool(
        "get_session_context",
        "Resume a session",
        "What is needed to go on with a session: title, state, summary, and its last turns word for word.",
        {"session_id": _SESSION, "num_history_runs": "Turns to show"},
    ),
    Tool(
        "record_run",
        "Record a run",
        "Record one turn: the user's message and all that followed. For hosts whose transcripts are not captured. "
        "Sending the same run_id again is safe; messages that repeat the session are recognised.",
        {
            "messages": 'In order, e.g. {"role":"user","content":"..."}: OpenAI chat, Anthropic or Responses items',
            "session_id": "Omitted: the host's session, else a new one",
            "run_id": "Makes sending again safe",
            "parent_run_id": "The run that this one ran inside",
            "title": "Names the session",
            "metadata": "Of this run",
            "started_at": "ISO 8601",
            "metrics": "e.g. input_tokens, output_tokens",
            "state": "Merges into session state",
            "store_media": "Keep media",
            "store_tool_messages": "Keep tool calls and results",
            "store_history_messages": "Keep repeated context",
        },
        RecordReceipt,
        _recorded,
    ),
    Tool(
        "summarize_session",
        "Summarize a session",
        "Store your summary of a session, or omit summary to have one made.",
        {"session_id": f"{_SESSION}; omitted: the current or newest"},
        SummaryReceipt,
        _summarized,
    ),
    Tool(
        "update_session",
        "Update a session",
        "Change a session's title, state or metadata (both merge; null deletes a key), or archive it.",
        {"session_id": _SESSION},
        SessionReceipt,
        _updated,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "fork_session",
        "Fork a session",
        "Continue a session under a new id, from its end or from a message.",
        {"session_id": "Id, #12, or #12.48 to cut there"},
        ForkReceipt,
        _forked,
    ),
    Tool(
        "delete_session",
        "Delete a session",
        "Delete a session for good. Only when the user asks for it.",
        {
            "session_id": _SESSION,
            "forks": "What to do with its forks",
            "purge": "Also wipe it from the file's free space",
        },
        DeleteReceipt,
        _deleted,
        destructive=True,
        idempotent=True,
    ),
)  # fmt: skip

RECALL = tuple(tool for tool in TOOLS if tool.reads)

NEEDS: Mapping[str, Scope] = {
    "search_session_history": "read",
    "list_sessions": "read",
    "get_chat_history": "read",
    "get_tool_call_history": "read",
    "get_session_context": "read",
    "record_run": "write",
    "summarize_session": "write",
    "update_session": "write",
    "fork_session": "write",
    "delete_session": "delete",
}
"""The scope that each tool needs."""


def tools_of(profile: str) -> tuple[Tool, ...]:
    """The tools of a profile: `recall` reads, `full` writes too."""
    return RECALL if profile == "recall" else TOOLS


def definition(tool: Tool, *, open_world: bool = False, names_user: bool = False) -> mcp.Tool:
    """The tool as MCP lists it. `open_world`: it sends text off this machine, to an endpoint from the settings."""
    return mcp.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool, names_user=names_user),
        output_schema=None
        if tool.answer is None
        else _plain_schema(tool.answer.model_json_schema(mode="serialization")),
        annotations=mcp.ToolAnnotations(
            read_only_hint=tool.reads,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.reads or tool.idempotent,
            open_world_hint=open_world,
        ),
        # Claude Code spills results of more than 50,000 characters to a file unless a tool asks for more.
        _meta={"anthropic/maxResultSizeChars": MAX_TOKENS * 5} if tool.reads else None,
    )


def _plain_schema(schema: Any) -> Any:
    """A generated schema without the titles and descriptions that only cost tokens."""
    if isinstance(schema, dict):
        return {
            name: {key: _plain_schema(one) for key, one in value.items()}
            if name == "properties"
            else _plain_schema(value)
            for name, value in schema.items()
            if name not in ("title", "description")
        }
    return [_plain_schema(one) for one in schema] if isinstance(schema, list) else schema


# Calls


async def call(tool: Tool, memory: Memory, given: Mapping[str, Any], *, may_read: bool = True) -> mcp.CallToolResult:
    """Run a tool. Unless `may_read`, the answer of one that writes tells nothing of what was there before.

    Raises BackscrollError.
    """
    arguments = read_arguments(tool, given)
    if not may_read and tool.name == "summarize_session" and not arguments.get("summary"):
        raise InvalidArgument(
            "Without summary, one is made of what was said, for which this token lacks the scope read."
        )
    method: Callable[..., Awaitable[Any]] = getattr(memory, tool.name)
    answer = await method(**arguments)
    if isinstance(answer, Page):
        if arguments.get("format") == "json":
            found = page_json(answer)
            return _result(compact(found), found)
        return _result(page_text(answer), None)
    assert tool.said is not None
    if not may_read:
        answer = _unread(answer)
    return _result(tool.said(answer), answer.model_dump(mode="json", exclude_none=True))


def _unread(receipt: Any) -> Any:
    """A receipt without what the session held before, which the caller may not read."""
    if isinstance(receipt, SessionReceipt):
        return receipt.model_copy(update={"title": None, "state": {}, "metadata": {}})
    return receipt.model_copy(update={"title": ""}) if isinstance(receipt, ForkReceipt) else receipt


def _result(text: str, structured: dict[str, Any] | None) -> mcp.CallToolResult:
    content: list[mcp.ContentBlock] = [mcp.TextContent(type="text", text=text)]
    return mcp.CallToolResult(content=content, structured_content=structured)


def failed(text: str) -> mcp.CallToolResult:
    return mcp.CallToolResult(content=[mcp.TextContent(type="text", text=text)], is_error=True)
