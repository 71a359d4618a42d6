"""Where a request is bound to who asks: from its context to an `Access`, and from that to a `Memory`.

Nothing else in the server makes a memory, and no handler runs but through `Tenancy.bound`. What a method needs
stands in one table; what a tool needs stands beside the tools.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import mcp_types as mcp
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from .access import Access, Scope
from .errors import (
    BackscrollError,
    CannotEdit,
    ConfigError,
    EmbeddingError,
    IndexDamaged,
    StoreBusy,
    StoreError,
    SummaryError,
)
from .host import host_of
from .memory import Backscroll, Host, Memory

logger = logging.getLogger(__name__)

Context = ServerRequestContext[Any]
P = TypeVar("P")
R = TypeVar("R")

NEEDS: Mapping[str, Scope | None] = {
    "ping": None,
    "server/discover": None,
    "tools/list": None,  # lists the tools that the access may call
    "tools/call": None,  # each tool has its own
    "resources/list": "read",
    "resources/templates/list": "read",
    "resources/read": "read",
    "resources/subscribe": "read",
    "resources/unsubscribe": "read",
    "subscriptions/listen": "read",
    "prompts/list": "read",
    "prompts/get": "read",
    "completion/complete": "read",
}
"""The scope of every method that is served; None where nothing of a user's is shown, or where more is asked later."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: who asks, and the memory that is theirs."""

    ctx: Context
    access: Access
    memory: Memory


class Tenancy:
    """How the requests of one server are bound to its users.

    `access_of` tells who asks. `remote`: over HTTP, where no connection outlives a request. `machine`: who asks is the
    user of this machine, whose hosts are read here and may be spoken of. `environ` and `folder` are hints of the host
    that started this process, where one did.
    """

    def __init__(
        self,
        app: Backscroll,
        access_of: Callable[[Context], Access],
        *,
        remote: bool,
        machine: bool,
        environ: Mapping[str, str] = MappingProxyType({}),
        folder: str | None = None,
    ) -> None:
        self.app = app
        self.remote = remote
        self.machine = machine
        self._access_of = access_of
        self._environ = environ
        self._folder = folder

    def bound(
        self, method: str, handler: Callable[[Asked, P], Awaitable[R]], *, without: R | None = None
    ) -> Callable[[Context, P], Awaitable[R]]:
        """`handler` for those who have the scope of `method`; others get `without`, or are refused where it is None."""
        needed = NEEDS[method]

        async def served(ctx: Context, params: P) -> R:
            asked = self._asked(ctx)
            if needed is None or needed in asked.access.scopes:
                return await handler(asked, params)
            if without is not None:
                return without
            raise MCPError(mcp.INVALID_REQUEST, lacking(method, needed), {"scope": needed})

        return served

    def names_users(self, access: Access) -> bool:
        """Whether this access names the user in each call of a tool."""
        return self.app.settings.multi_user and "act-as" in access.scopes

    def memory_of(self, asked: Asked, user_id: str) -> Memory:
        """The memory of a user that was named in a call. Raises InvalidArgument."""
        return self._memory(user_id, host_of(asked.ctx.meta, {}, None))

    def _asked(self, ctx: Context) -> Asked:
        access = self._access_of(ctx)
        # What environment and folder hint at is the one user's whose host started this, and nobody's of many.
        one = not self.names_users(access)
        host = host_of(ctx.meta, self._environ if one else {}, self._folder if one else None)
        try:
            return Asked(ctx, access, self._memory(access.user_id, host))
        except BackscrollError as error:
            raise MCPError(mcp.INVALID_REQUEST, str(error)) from error

    def _memory(self, user_id: str, host: Host) -> Memory:
        return self.app.memory(user_id, source="mcp", host=host)

    # What is told of errors

    def words_of(self, error: BackscrollError) -> str:
        """An error as who asks should read it: of the machine only its user is told."""
        if self.machine or not isinstance(error, _OF_THE_MACHINE) or isinstance(error, StoreBusy):
            return str(error)
        logger.warning("%s", error)
        if isinstance(error, IndexDamaged):
            return "The search index is damaged; nothing that was recorded is lost. Tell whoever runs this server."
        if isinstance(error, SummaryError):
            return "No summary could be made; the old one stands. Try again, or give summary yourself."
        return "This server cannot do that just now. Try again later; if it stays so, tell whoever runs it."

    def inside(self, error: Exception) -> str:
        """What is told of an error that nobody foresaw: its kind alone, for its words may quote what was recorded."""
        where = "its standard error says where" if self.machine else "whoever runs this server finds it in its log"
        return f"Backscroll failed inside ({type(error).__name__}). Try again; {where}."


_OF_THE_MACHINE = (StoreError, ConfigError, CannotEdit, SummaryError, EmbeddingError)
"""Their words name files, addresses and settings of the server's, and commands to run there."""


def lacking(what: str, scope: Scope) -> str:
    """Why `what` is refused: the same words whatever was asked for, and whether it exists or not."""
    return f"{what} needs the scope {scope}, which this token does not have. Ask whoever made it for one that has."
