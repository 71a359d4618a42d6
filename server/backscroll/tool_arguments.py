"""The arguments of a tool, by the signature of the method of its name: their schema, and the check of what is given.

The SDK makes schemas too, from functions. Ours are smaller, and every host's model pays for them.
"""

import inspect
import types
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from .auth.grants import MAX_USER_CHARS, is_user
from .errors import InvalidArgument
from .fitting import MAX_TOKENS, MIN_TOKENS
from .memory import Memory

if TYPE_CHECKING:
    from .tools import Tool

USER = "user_id"
"""The argument that names the user, where a server's caller is trusted with all of them."""

_WORDS = {
    "since": "ISO date, or age: 7d, 12h",
    "until": "Exclusive",
    "cursor": "From the last answer; pass it alone",
}
"""What is said of arguments that several tools take."""


@cache
def parameters(tool_name: str) -> Mapping[str, inspect.Parameter]:
    """The parameters of the tool's method, by name, with their annotations evaluated."""
    signature = inspect.signature(getattr(Memory, tool_name), eval_str=True)
    return {name: parameter for name, parameter in signature.parameters.items() if name != "self"}


def input_schema(tool: "Tool", *, names_user: bool = False) -> dict[str, Any]:
    """A JSON schema of the arguments. `names_user`: with the user before them, as `read_user` takes it off.

    That makes each tool heavier. To weigh no more than the profile may, it then says neither the bounds of
    `max_tokens`, which a refusal tells, nor that the first form of an answer is the default one.
    """
    properties: dict[str, Any] = {USER: {"type": "string"}} if names_user else {}
    required = list(properties)
    for name, parameter in parameters(tool.name).items():
        schema = _argument_schema(parameter.annotation)
        if name == "max_tokens" and not names_user:
            schema |= {"minimum": MIN_TOKENS, "maximum": MAX_TOKENS}
        if words := tool.arguments.get(name, _WORDS.get(name)):
            schema["description"] = words
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        elif parameter.default not in (None, "") and not (names_user and name == "format"):
            schema["default"] = parameter.default
        properties[name] = schema
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


_JSON_TYPES = {str: "string", int: "integer", bool: "boolean", float: "number", dict: "object"}


def _argument_schema(annotation: Any) -> dict[str, Any]:
    """A JSON schema of a parameter's type, as small as it can be; that a value may be left out needs no words."""
    members = [one for one in _members(annotation) if one is not type(None)]
    first = members[0]
    if get_origin(first) is Literal:
        return {"type": "string", "enum": list(get_args(first))}
    origin = get_origin(first) or first
    if origin in _JSON_TYPES:
        return {"type": _JSON_TYPES[origin]}
    inner = get_args(first)[0]
    return {"type": "array", "items": {"type": "object"} if inner is Any else _argument_schema(inner)}


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


@cache
def arguments_model(tool_name: str) -> type[BaseModel]:
    """A model that takes the tool's arguments and refuses all others, made when the tool is first called."""
    fields: dict[str, Any] = {
        name: (
            parameter.annotation | None if parameter.default is not inspect.Parameter.empty else parameter.annotation,
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for name, parameter in parameters(tool_name).items()
    }
    return create_model(tool_name, __config__=ConfigDict(extra="forbid", coerce_numbers_to_str=True), **fields)


def read_user(tool: "Tool", given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The user that a call names, and its other arguments as they are. Raises InvalidArgument."""
    others = dict(given)
    user_id = others.pop(USER, None)
    if user_id in (None, ""):
        raise InvalidArgument(f"{USER} is required: {tool.name} is for the sessions of the user that it names.")
    if not is_user(user_id):
        raise InvalidArgument(
            f"{USER} must be text on one line, of {MAX_USER_CHARS} characters at most and without control characters."
        )
    return user_id, others


def read_arguments(tool: "Tool", given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, checked. Raises InvalidArgument in a sentence that names what is wrong."""
    # A null, or an empty text, is what strict hosts send for an argument that their model left out.
    optional = {name for name, told in parameters(tool.name).items() if told.default is not inspect.Parameter.empty}
    told = {name: value for name, value in given.items() if name not in optional or value not in (None, "")}
    try:
        checked = arguments_model(tool.name).model_validate(told)
    except ValidationError as error:
        raise InvalidArgument(_complaint(tool, error)) from None
    return {name: getattr(checked, name) for name in told}


def _complaint(tool: "Tool", error: ValidationError) -> str:
    told = []
    for problem in error.errors(include_url=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else "arguments"
        if problem["type"] == "extra_forbidden":
            told.append(f"{tool.name} has no argument {name!r:.60}; it takes {', '.join(parameters(tool.name))}.")
        elif problem["type"] == "missing":
            told.append(f"{name} is required.")
        else:
            schema = _argument_schema(parameters(tool.name)[name].annotation)
            kind = f"one of {', '.join(schema['enum'])}" if "enum" in schema else f"of type {schema['type']}"
            told.append(f"{name} must be {kind}.")
    return " ".join(dict.fromkeys(told))
