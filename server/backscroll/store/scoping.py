"""The filters of a search as tokens of the index: shared by both stores."""

from collections.abc import Iterable, Iterator

from .indexing import agent_token, project_token, role_token, source_token, tool_token
from .values import Search


def any_of(tokens: Iterable[str]) -> str:
    return f"({' OR '.join(tokens)})"


def filter_tokens(wanted: Search) -> Iterator[str]:
    if wanted.role is not None:
        yield role_token(wanted.role)
    if wanted.tool_name is not None:
        yield tool_token(wanted.tool_name)
    if wanted.agent is not None:
        yield agent_token(wanted.agent)
    if wanted.project is not None:
        yield project_token(wanted.project)
    if wanted.source is not None:
        yield source_token(wanted.source)
