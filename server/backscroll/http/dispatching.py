"""What happens between HTTP and the server's handlers: each request is named, timed, bounded; streams are watched."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import mcp_types as mcp
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from ..errors import StoreBusy, StoreError, StoreUnusable
from .exchange import KEY, Exchange
from .meter import Meter

CHECK_SECONDS = 5.0
"""How soon a stream of notices ends after its token was revoked or ran out."""

Context = ServerRequestContext[Any]


class Dispatching:
    """A middleware of the SDK's server."""

    def __init__(self, meter: Meter, *, call_timeout_s: float, left: Callable[[Exchange], None]) -> None:
        """`left` is told of a request that will take as long as its client wants, and is under way no more."""
        self._meter = meter
        self._call_timeout_s = call_timeout_s
        self._left = left

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        assert ctx.request is not None  # over HTTP there is one
        exchange: Exchange = ctx.request.scope[KEY]
        exchange.method = ctx.method
        if ctx.method == "tools/call":
            exchange.tool = _tool(ctx.params)
        if ctx.method == "subscriptions/listen":
            return await self._counted(exchange, self._listening(exchange, ctx, call_next))
        return await self._counted(exchange, self._in_time(ctx, call_next))

    async def _counted(self, exchange: Exchange, work: Awaitable[HandlerResult]) -> HandlerResult:
        exchange.outcome = "cancelled"
        try:
            result = await work
        except Exception as error:
            exchange.outcome = "timeout" if isinstance(error, _TookTooLong) else "error"
            # Handlers raise the protocol's errors, from ours.
            self.failed(error.__cause__)
            raise
        exchange.outcome = "failed" if isinstance(result, Mapping) and result.get("isError") else "ok"
        return result

    async def _in_time(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        deadline = asyncio.timeout(self._call_timeout_s)
        try:
            async with deadline:
                return await call_next(ctx)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise _TookTooLong(self._call_timeout_s) from None

    async def _listening(self, exchange: Exchange, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Open for as long as the client wants and its token is good."""
        self._left(exchange)
        if exchange.deadline is not None:
            exchange.deadline.reschedule(None)
        revoked = False
        result: HandlerResult = None
        refused: Exception | None = None

        async def watch(scope: anyio.CancelScope) -> None:
            nonlocal revoked
            while not revoked:
                await asyncio.sleep(CHECK_SECONDS)
                try:
                    revoked = exchange.still is not None and not await exchange.still()
                except StoreError as error:
                    self.failed(error)  # Nothing can be said of the token: the stream stays as it is.
            scope.cancel()

        self._meter.listening(1)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch, tasks.cancel_scope)
                try:
                    result = await call_next(ctx)
                except Exception as error:
                    refused = error  # raised from within, it would come out as a group of errors
                tasks.cancel_scope.cancel()
        finally:
            self._meter.listening(-1)
        if refused is not None:
            raise refused
        if revoked:
            raise MCPError(mcp.INVALID_REQUEST, "The token is not valid any more. Ask the operator for a new one.")
        return result

    def failed(self, error: object) -> None:
        """Count an error of the store; anything else is not one."""
        if isinstance(error, StoreError):
            known = "busy" if isinstance(error, StoreBusy) else "unusable"
            self._meter.store_failed(known if isinstance(error, StoreBusy | StoreUnusable) else "other")


class _TookTooLong(MCPError):
    def __init__(self, seconds: float) -> None:
        super().__init__(
            mcp.INTERNAL_ERROR,
            f"This took longer than {seconds:g} s (BACKSCROLL_HTTP_CALL_TIMEOUT_S) and was given up. What it wrote is "
            "there as a whole or not at all; recording again under the same run_id is safe.",
        )


def _tool(params: Mapping[str, Any] | None) -> str:
    name = (params or {}).get("name")
    return name if isinstance(name, str) else ""
