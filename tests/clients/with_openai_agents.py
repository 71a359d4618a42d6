"""OpenAI Agents SDK: a tool call of a model is handed to a FunctionTool of the agent."""

from collections.abc import Mapping
from typing import Any

import conversation
from agents.tool_context import ToolContext


async def drive(names: Mapping[str, Any]) -> tuple[Mapping[str, Any], conversation.Call, str]:
    agent, server = names["agent"], names["backscroll"]
    tools = {tool.name: tool for tool in await agent.get_mcp_tools(ToolContext(None, None, "", "", ""))}

    async def call(tool: str, arguments: str) -> conversation.Answer:
        output = await tools[tool].on_invoke_tool(ToolContext(None, None, tool, "c", arguments), arguments)
        # A refusal of the server comes back as any other text; one of the framework's own is a bare string.
        its_own = isinstance(output, str)
        return {"shown": output if its_own else output["text"], "failed": its_own}

    schemas = {name: tool.params_json_schema for name, tool in tools.items()}
    return schemas, call, server.session.protocol_version


if __name__ == "__main__":
    conversation.main("OpenAI Agents SDK", drive)
