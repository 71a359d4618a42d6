# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=1.24,<2"]
# ///
"""The MCP Python SDK before 2, which most programs still use. It cannot live beside the server's own SDK."""

import json
from collections.abc import Mapping
from typing import Any

import conversation


async def drive(names: Mapping[str, Any]) -> tuple[Mapping[str, Any], conversation.Call, str]:
    session = names["session"]

    async def call(tool: str, arguments: str) -> conversation.Answer:
        result = await session.call_tool(tool, json.loads(arguments))
        [content] = result.content
        return {"shown": content.text, "failed": result.isError}

    tools = await session.list_tools()
    again = await session.initialize()
    return {tool.name: tool.inputSchema for tool in tools.tools}, call, again.protocolVersion


if __name__ == "__main__":
    conversation.main("MCP Python SDK 1", drive)
