"""The MCP server: tools, resources, prompts and notices on the SDK's low-level Server.

The low-level one, because it lets the lists be made per request, schemas be written small, and unknown
names be refused as the protocol says; the friendlier MCPServer has private parts in the way of each.
"""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import mcp_types as mcp
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from . import __version__, access, prompts, resources, tools
from .access import Access
from .config import Settings
from .errors import BackscrollError, Conflict, InvalidArgument, NotFound
from .host import working_folder
from .memory import Backscroll, Memory
from .notices import Notices
from .retaining import retaining
from .syncing import attached
from .tenancy import Asked, Context, Tenancy, lacking
from .tokens import counter
from .tool_arguments import read_user

logger = logging.getLogger(__name__)

T = TypeVar("T")

_HOUR_MS = 3_600_000
_HINTS: dict[CacheableMethod, CacheHint] = {
    "tools/list": CacheHint(_HOUR_MS, "private"),
    "prompts/list": CacheHint(_HOUR_MS, "private"),
    "resources/templates/list": CacheHint(_HOUR_MS, "private"),
    "resources/list": CacheHint(0, "private"),
    "resources/read": CacheHint(0, "private"),
    "server/discover": CacheHint(_HOUR_MS, "private"),
}


class BackscrollServer(Server[Any]):
    """The low-level Server, which tells old clients too that the list of resources may change, where it can."""

    def __init__(self, name: str, *, tenancy: Tenancy, notices: Notices, **options: Any) -> None:
        super().__init__(name, **options)
        self._remote = tenancy.remote
        self.app = tenancy.app
        self.end_streams = notices.end_streams
        """Ends what clients listen on, as the protocol wants it before a server stops."""
        self.on_failure: Callable[[Exception], None] = lambda _: None
        """Told of each error that a tool's answer tells a model of: whoever serves may count them."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        options = notification_options or NotificationOptions(resources_changed=not self._remote)
        return super().create_initialization_options(options, experimental_capabilities, extensions)

    def get_capabilities(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
        *,
        protocol_version: str | None = None,
    ) -> mcp.ServerCapabilities:
        found = super().get_capabilities(
            notification_options, experimental_capabilities, extensions, protocol_version=protocol_version
        )
        if self._remote and protocol_version not in MODERN_PROTOCOL_VERSIONS and found.resources is not None:
            # The handler is there to say why not.
            return found.model_copy(update={"resources": found.resources.model_copy(update={"subscribe": False})})
        return found


@asynccontextmanager
async def opened(
    settings: Settings, access_of: Callable[[Context], Access] | None = None, *, machine: bool = False
) -> AsyncIterator[BackscrollServer]:
    """The server over the configured database. Raises what opening the database raises.

    `access_of` tells who asks in a request, and what they may. None: stdio, where that is `settings.user`, who may
    all, on their own machine, and whose host's environment and folder give hints. With it the server is a remote
    one: a request is all there is, so no old-era subscriptions, and no hints but the request's own.

    `machine` (always so over stdio): whoever asks is the user of this machine, as over HTTP without authentication.
    Then hosts are kept up with as `sync` says, what hooks told is drained, and there is a `sessions://coverage`.
    Without it none of these is there, for they tell of the machine, and only one user's sessions are on it.
    """
    local = partial(_local, access.local(settings.user, multi_user=settings.multi_user))
    async with Backscroll(settings=settings) as app:
        if access_of is None:
            tenancy = Tenancy(app, local, remote=False, machine=True, environ=os.environ, folder=working_folder())
        else:
            tenancy = Tenancy(app, access_of, remote=True, machine=machine)
        notices = Notices(app)
        one_user = tenancy.machine and not settings.multi_user
        app.is_shared = not one_user
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(notices.running())
            if tenancy.machine:
                await stack.enter_async_context(attached(app, background=True))
            await stack.enter_async_context(retaining(app, settings.user if one_user else None))
            yield build_server(tenancy, notices, profile=settings.profile, senders=_senders(settings))


def _local(whole: Access, _: Context) -> Access:
    return whole


def _senders(settings: Settings) -> frozenset[str]:
    """The tools by which text leaves this machine: to be summed up, or to get its vector."""
    told = {"summarize_session"} if settings.sends_text_to() else set()
    if settings.semantic == "auto" and settings.semantic_endpoint():
        told |= {"search_session_history", "record_run"}
    return frozenset(told)


def build_server(
    tenancy: Tenancy, notices: Notices, *, profile: str = "full", senders: frozenset[str] = frozenset()
) -> BackscrollServer:
    """A server for all users that `tenancy` tells of. `senders` are the tools that send text to an endpoint."""
    offered = {tool.name: tool for tool in tools.tools_of(profile)}
    own = {name: tools.definition(tool, open_world=name in senders) for name, tool in offered.items()}
    naming = own
    if tenancy.app.settings.multi_user:
        naming = {
            name: tools.definition(tool, open_world=name in senders, names_user=True) for name, tool in offered.items()
        }
    templates = resources.templates()

    async def or_refuse(work: Awaitable[T], *, uri: str | None = None) -> T:
        """Our errors as the protocol's: what is not found or wrongly asked is the caller's to mend (SEP-2164)."""
        try:
            return await work
        except BackscrollError as error:
            theirs = isinstance(error, NotFound | InvalidArgument | Conflict)
            code = mcp.INVALID_PARAMS if theirs else mcp.INTERNAL_ERROR
            raise MCPError(code, tenancy.words_of(error), None if uri is None else {"uri": uri}) from error
        except Exception as error:
            # The SDK would hand the error's own words to the client, and those may quote what was recorded.
            logger.exception("a request failed")
            raise MCPError(mcp.INTERNAL_ERROR, tenancy.inside(error)) from None

    async def met(asked: Asked) -> Memory:
        # Where a request is all there is, no connection of the old era is there to be told of changes.
        if not tenancy.remote and asked.ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            await notices.meet(asked.memory, asked.ctx.session)
        return asked.memory

    async def list_tools(asked: Asked, params: mcp.PaginatedRequestParams | None) -> mcp.ListToolsResult:
        _first_page(params)
        shown = naming if tenancy.names_users(asked.access) else own
        may = asked.access.scopes
        return mcp.ListToolsResult(tools=[one for name, one in shown.items() if tools.NEEDS[name] in may])

    async def call_tool(asked: Asked, params: mcp.CallToolRequestParams) -> mcp.CallToolResult:
        may = asked.access.scopes
        tool = offered.get(params.name)
        if tool is None:
            listed = ", ".join(name for name in offered if tools.NEEDS[name] in may) or "none for this token"
            raise MCPError(mcp.INVALID_PARAMS, f"No tool {params.name!r:.80}. There are {listed}.")
        if (needed := tools.NEEDS[tool.name]) not in may:
            # Before anything is looked at: the answer hangs on the tool alone.
            return tools.failed(lacking(tool.name, needed))
        try:
            memory, given = await met(asked), params.arguments or {}
            if tenancy.names_users(asked.access):
                user_id, given = read_user(tool, given)
                memory = tenancy.memory_of(asked, user_id)
            return await tools.call(tool, memory, given, may_read="read" in may)
        except BackscrollError as error:
            logger.info("%s refused: %s", tool.name, type(error).__name__)
            server.on_failure(error)
            return tools.failed(tenancy.words_of(error))
        except Exception as error:
            logger.exception("%s failed", tool.name)
            server.on_failure(error)
            return tools.failed(tenancy.inside(error))
        finally:
            # Not before the first answer: building the encoding holds the interpreter for a tenth of a second.
            if not counter.ready:
                counter.load_in_background()

    async def list_resources(asked: Asked, params: mcp.PaginatedRequestParams | None) -> mcp.ListResourcesResult:
        _first_page(params)
        return mcp.ListResourcesResult(
            resources=await or_refuse(resources.listed(await met(asked), machine=tenancy.machine))
        )

    async def list_templates(
        asked: Asked, params: mcp.PaginatedRequestParams | None
    ) -> mcp.ListResourceTemplatesResult:
        _first_page(params)
        return mcp.ListResourceTemplatesResult(resource_templates=templates)

    async def read_resource(asked: Asked, params: mcp.ReadResourceRequestParams) -> mcp.ReadResourceResult:
        uri = str(params.uri)
        reading = resources.read(await met(asked), uri, machine=tenancy.machine)
        return mcp.ReadResourceResult(contents=[await or_refuse(reading, uri=uri)])

    def lasting() -> None:
        if tenancy.remote:
            raise MCPError(
                mcp.METHOD_NOT_FOUND,
                "Over HTTP no connection stays on which changes could be told. Listen for them with "
                "subscriptions/listen (MCP 2026-07-28), or read the resource again.",
            )

    async def subscribe(asked: Asked, params: mcp.SubscribeRequestParams) -> mcp.EmptyResult:
        lasting()
        return await notices.subscribe(asked.memory, asked.ctx.session, str(params.uri))

    async def unsubscribe(asked: Asked, params: mcp.UnsubscribeRequestParams) -> mcp.EmptyResult:
        lasting()
        return await notices.unsubscribe(asked.memory, str(params.uri))

    async def listen(asked: Asked, params: mcp.SubscriptionsListenRequestParams) -> mcp.SubscriptionsListenResult:
        return await notices.listen(asked.memory, asked.ctx, params)

    async def list_prompts(asked: Asked, params: mcp.PaginatedRequestParams | None) -> mcp.ListPromptsResult:
        _first_page(params)
        return mcp.ListPromptsResult(prompts=prompts.listed())

    async def get_prompt(asked: Asked, params: mcp.GetPromptRequestParams) -> mcp.GetPromptResult:
        return await or_refuse(prompts.rendered(await met(asked), params.name, params.arguments or {}))

    async def complete(asked: Asked, params: mcp.CompleteRequestParams) -> mcp.CompleteResult:
        in_uri = isinstance(params.ref, mcp.ResourceTemplateReference)
        typed = params.argument
        found = await or_refuse(prompts.completed(await met(asked), typed.name, typed.value, in_uri=in_uri))
        return mcp.CompleteResult(completion=found)

    bound = tenancy.bound
    server = BackscrollServer(
        "backscroll",
        tenancy=tenancy,
        notices=notices,
        version=__version__,
        title="Backscroll",
        description="Session memory for AI agents",
        instructions=tools.INSTRUCTIONS,
        cache_hints=_HINTS,
        # Over HTTP the SDK would ask for the list before each call, to see which arguments are headers. None is.
        get_tool_input_schema=lambda _: None,
        on_list_tools=bound("tools/list", list_tools),
        on_call_tool=bound("tools/call", call_tool),
        on_list_resources=bound("resources/list", list_resources, without=mcp.ListResourcesResult(resources=[])),
        on_list_resource_templates=bound(
            "resources/templates/list", list_templates, without=mcp.ListResourceTemplatesResult(resource_templates=[])
        ),
        on_read_resource=bound("resources/read", read_resource),
        on_subscribe_resource=bound("resources/subscribe", subscribe),
        on_unsubscribe_resource=bound("resources/unsubscribe", unsubscribe),
        on_subscriptions_listen=bound("subscriptions/listen", listen),
        on_list_prompts=bound("prompts/list", list_prompts, without=mcp.ListPromptsResult(prompts=[])),
        on_get_prompt=bound("prompts/get", get_prompt),
        on_completion=bound("completion/complete", complete),
    )
    # The SDK puts a tracing span around every message; nothing here exports them.
    server.middleware.clear()
    return server


def _first_page(params: mcp.PaginatedRequestParams | None) -> None:
    """Every list here has one page, so any cursor is a made-up one."""
    if params is not None and params.cursor is not None:
        raise MCPError(mcp.INVALID_PARAMS, "This list has one page. Ask for it without a cursor.")
