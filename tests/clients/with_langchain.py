# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-mcp-adapters>=0.3,<0.4"]
# ///
"""LangChain's adapters. They need an MCP SDK before 2, so they cannot live beside the server's own."""

import json
from collections.abc import Mapping
from typing import Any

import conversation
from langchain_core.utils.function_calling import convert_to_openai_tool


async def drive(names: Mapping[str, Any]) -> tuple[Mapping[str, Any], conversation.Call, str]:
    tools = {tool.name: tool for tool in names["tools"]}

    async def call(tool: str, arguments: str) -> conversation.Answer:
        asked = {"type": "tool_call", "id": "c", "name": tool, "args": json.loads(arguments)}
        message = await tools[tool].ainvoke(asked)
        return {"shown": message.text, "failed": message.status == "error"}

    shown = (convert_to_openai_tool(tool)["function"] for tool in names["tools"])
    schemas = {function["name"]: function["parameters"] for function in shown}
    again = await names["session"].initialize()
    return schemas, call, again.protocolVersion


if __name__ == "__main__":
    conversation.main("LangChain", drive)
