"""Pydantic AI: a tool call of a model is validated by the toolset's tool and called on the toolset."""

import json
from collections.abc import Mapping
from typing import Any

import conversation
from pydantic_ai import ModelRetry, RunContext, RunUsage
from pydantic_ai.models.test import TestModel


async def drive(names: Mapping[str, Any]) -> tuple[Mapping[str, Any], conversation.Call, str]:
    toolset = names["backscroll"]
    context = RunContext(deps=None, model=TestModel(), usage=RunUsage())
    tools = await toolset.get_tools(context)

    async def call(tool: str, arguments: str) -> conversation.Answer:
        found = tools[tool]
        checked = found.args_validator.validate_json(arguments)
        try:
            output = await toolset.call_tool(tool, checked, context, found)
        except ModelRetry as retry:
            return {"shown": retry.message, "failed": True}
        shown = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        return {"shown": shown, "failed": False}

    schemas = {name: tool.tool_def.parameters_json_schema for name, tool in tools.items()}
    return schemas, call, toolset.client.protocol_version


if __name__ == "__main__":
    conversation.main("Pydantic AI", drive)
