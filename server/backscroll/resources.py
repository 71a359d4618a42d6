"""Resources: sessions, summaries, transcripts, single messages and media, by URI.

Ids in URIs are percent-encoded: `session://%2312/summary`.
"""

import base64
import re
from urllib.parse import quote, unquote

import mcp_types as mcp

from .errors import NotFound
from .exporting import transcript_markdown
from .memory import Memory
from .models import Session
from .render import compact, page_json
from .text import one_line

RECENT = "sessions://recent"
COVERAGE = "sessions://coverage"
LISTED_SUMMARIES = 20
MARKDOWN, JSON = "text/markdown", "application/json"

_SESSION = re.compile(r"session://([^/?#]+)(?:/(summary|transcript|messages/(\d{1,15})))?")
_MEDIA = re.compile(r"media://([0-9A-Fa-f]{64})")


class ResourceNotFound(NotFound):
    """No resource under this URI, for this user."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"No resource {uri[:200]!r}. See resources/templates/list for the forms that URIs take.")


def session_uri(session_id: str, part: str = "") -> str:
    return f"session://{quote(session_id, safe='')}" + (f"/{part}" if part else "")


def templates() -> list[mcp.ResourceTemplate]:
    return [
        _template("session://{session_id}", "session", "A session's state, metadata, metrics and runs", JSON),
        _template("session://{session_id}/summary", "summary", "A session's summary", MARKDOWN),
        _template("session://{session_id}/transcript", "transcript", "A whole session, word for word", MARKDOWN),
        _template("session://{session_id}/messages/{seq}", "message", "One message, whole", JSON),
        _template("media://{media_id}", "media", "An image, sound or file of a message", None),
    ]


def _template(uri: str, name: str, description: str, mime_type: str | None) -> mcp.ResourceTemplate:
    return mcp.ResourceTemplate(uri_template=uri, name=name, description=description, mime_type=mime_type)


async def listed(memory: Memory, *, machine: bool) -> list[mcp.Resource]:
    """The recent sessions, what was captured, and the summaries of sessions that have one, newest activity first.

    What was captured is told where `machine`: to the user of this machine.
    """
    found = [
        mcp.Resource(
            uri=RECENT, name="recent", title="Recent sessions", mime_type=JSON, description="Newest activity first"
        )
    ]
    if machine:
        found.append(
            mcp.Resource(
                uri=COVERAGE,
                name="coverage",
                title="What was captured",
                mime_type=JSON,
                description="Per host: transcripts found, read, behind, skipped, failed; what is wrong, and its remedy",
            )
        )
    for session in await memory.summarized_sessions(LISTED_SUMMARIES):
        found.append(
            mcp.Resource(
                uri=session_uri(session.session, "summary"),
                name=f"{session.session} summary",
                title=one_line(session.shown_title),
                mime_type=MARKDOWN,
                annotations=mcp.Annotations(last_modified=session.last_activity_at.isoformat(timespec="seconds")),
            )
        )
    return found


async def read(memory: Memory, uri: str, *, machine: bool) -> mcp.TextResourceContents | mcp.BlobResourceContents:
    """The content of a resource; that of coverage where `machine`, as in `listed`.

    Raises ResourceNotFound and the NotFound errors of sessions and media.
    """
    if uri == RECENT:
        page = await memory.list_sessions(max_tokens=20_000, limit=20, format="json")
        return _text(uri, compact(page_json(page)), JSON)
    if machine and uri == COVERAGE:
        # Imported when it is asked for: nothing else of serving needs to know how hosts are set up.
        from .doctor import covered  # noqa: PLC0415

        return _text(uri, compact(await covered(memory)), JSON)
    if found := _MEDIA.fullmatch(uri):
        return await _media(memory, uri, found[1])
    if not (found := _SESSION.fullmatch(uri)):
        raise ResourceNotFound(uri)
    session_id, part, seq = unquote(found[1]), found[2], found[3]
    if part is None:
        return _text(uri, await _session(memory, session_id), JSON)
    if part == "summary":
        return _text(uri, await _summary(memory, session_id), MARKDOWN)
    if part == "transcript":
        return _text(uri, await transcript_markdown(memory, session_id), MARKDOWN)
    message = await memory.get_message(session_id, int(seq))
    return _text(uri, compact(message.model_dump(mode="json", exclude_none=True)), JSON)


async def _session(memory: Memory, session_id: str) -> str:
    session = await memory.get_session(session_id)
    runs = await memory.get_runs(session_id)
    told = session.model_dump(mode="json", exclude_none=True)
    told |= {"title": session.shown_title, "run_count": told.pop("runs")}
    told["runs"] = [run.model_dump(mode="json", exclude_none=True) for run in runs]
    return compact(told)


async def _summary(memory: Memory, session_id: str) -> str:
    session = await memory.get_session(session_id)
    summary = await memory.get_summary(session_id)
    if summary is None:
        raise NotFound(f"Session {session.session} has no summary yet. Make one with summarize_session.")
    stale = "; newer messages exist" if summary.stale else ""
    topics = f"\n\nTopics: {', '.join(summary.topics)}" if summary.topics else ""
    return (
        f"# {_heading(session)}\n\n{summary.summary}{topics}\n\n"
        f"Version {summary.version}, by {summary.made_by}, "
        f"of messages {summary.first_seq} to {summary.last_seq}{stale}."
    )


def _heading(session: Session) -> str:
    return one_line(session.shown_title)


async def _media(memory: Memory, uri: str, media_id: str) -> mcp.TextResourceContents | mcp.BlobResourceContents:
    medium = await memory.get_media(media_id)
    if medium.data is None:
        return _text(uri, medium.url or "", "text/uri-list")
    return mcp.BlobResourceContents(uri=uri, mime_type=medium.mime_type, blob=base64.b64encode(medium.data).decode())


def _text(uri: str, text: str, mime_type: str) -> mcp.TextResourceContents:
    return mcp.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
