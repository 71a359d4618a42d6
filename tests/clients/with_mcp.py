"""The MCP Python SDK's own client."""

import json
from collections.abc import Mapping
from typing import Any

import conversation
from mcp.types import TextContent


async def drive(names: Mapping[str, Any]) -> tuple[Mapping[str, Any], conversation.Call, str]:
    client = names["client"]

    async def call(tool: str, arguments: str) -> conversation.Answer:
        result = await client.call_tool(tool, json.loads(arguments))
        [content] = result.content
        assert isinstance(content, TextContent)
        return {"shown": content.text, "failed": result.is_error}

    tools = await client.list_tools()
    return {tool.name: tool.input_schema for tool in tools.tools}, call, client.protocol_version


if __name__ == "__main__":
    conversation.main("MCP Python SDK", drive)
