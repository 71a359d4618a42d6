"""What a host tells of the session and project it is in: hints for defaults, never identity.

MCP forbids inferring a session from the connection; these are what the programs really send.
Request metadata tells more than the environment, which may be older than the request.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .memory import Host

# Codex; VS Code. Codex also nests ids in its turn metadata.
_META_SESSION = ("threadId", "sessionId", "vscode.conversationId")
_CODEX_TURN = "x-codex-turn-metadata"
_CLAUDE_SESSION, _CLAUDE_PROJECT = "CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR"


def host_of(meta: Mapping[str, Any] | None, environ: Mapping[str, str], cwd: str | None) -> Host:
    """Session and project from a request's `_meta`, else from the environment, else from the working folder."""
    turn = _mapping((meta or {}).get(_CODEX_TURN))
    told = [(meta or {}).get(name) for name in _META_SESSION]
    told += [turn.get("thread_id"), turn.get("session_id"), environ.get(_CLAUDE_SESSION)]
    workspaces = list(_mapping(turn.get("workspaces")))
    projects = [workspaces[0] if len(workspaces) == 1 else None, environ.get(_CLAUDE_PROJECT), cwd]
    return Host(
        session_id=next((one for one in told if isinstance(one, str) and one and not one.startswith("#")), None),
        project=next((one for one in projects if isinstance(one, str) and one), None),
    )


def working_folder() -> str | None:
    """The folder that a host started us in, where that says something: not the root, not the home folder."""
    try:
        cwd = Path.cwd()
    except OSError:
        return None
    return None if cwd in (Path(cwd.anchor), Path.home()) else str(cwd)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
