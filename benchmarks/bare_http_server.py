"""The least that an HTTP server of the same SDK can be: one tool, which does nothing, stateless, under uvicorn.

`python bare_http_server.py PORT`: the SDK's low-level Server, as Backscroll has it.
"""

import sys
from typing import Any

import mcp_types as mcp
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server

NOTHING = mcp.Tool(name="nothing", description="Do nothing.", input_schema={"type": "object"})


async def listed(ctx: ServerRequestContext[Any], params: mcp.PaginatedRequestParams | None) -> mcp.ListToolsResult:
    return mcp.ListToolsResult(tools=[NOTHING])


async def called(ctx: ServerRequestContext[Any], params: mcp.CallToolRequestParams) -> mcp.CallToolResult:
    return mcp.CallToolResult(content=[mcp.TextContent(type="text", text="done")])


def main(port: int) -> None:
    server: Server[Any] = Server("bare", on_list_tools=listed, on_call_tool=called)
    app = server.streamable_http_app(stateless_http=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
