"""Agno: a tool call of a model becomes a FunctionCall on the toolkit's functions."""

from collections.abc import Mapping
from typing import Any

import conversation
from agno.utils.functions import get_function_call


async def drive(names: Mapping[str, Any]) -> tuple[Mapping[str, Any], conversation.Call, str]:
    [toolkit] = names["agent"].tools

    async def call(tool: str, arguments: str) -> conversation.Answer:
        function_call = get_function_call(tool, arguments, call_id="c", functions=toolkit.functions)
        assert function_call is not None and function_call.error is None
        outcome = await function_call.aexecute()
        assert outcome.status == "success" and outcome.result is not None, outcome.error
        shown = outcome.result.content
        return {"shown": shown, "failed": shown.startswith("Error from MCP tool")}

    schemas = {name: function.to_dict()["parameters"] for name, function in toolkit.functions.items()}
    return schemas, call, toolkit.session.protocol_version


if __name__ == "__main__":
    conversation.main("Agno", drive)
