"""What an OpenAI request asks for, beside its messages: read once here for every grammar that says it otherwise. Pure.

Fields that OpenAI's API knows are translated, or named in `dropped`. Any other field is the provider's own (`top_k`,
`thinking`, `safety_settings`): dialects pass it on as it is, into the body that they write.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from gateway.core.call import Call, Json, Target
from gateway.core.errors import InvalidRequest, Unsupported

USER_FIELDS = ("user", "safety_identifier")
"""Both name the end user: OpenAI replaces the first by the second, and a newer SDK must not give anyone away."""

SAME_BOUND = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Two spellings of one bound. OpenAI refuses a request that has both, so a default for one yields to the other."""

OPENAI_FIELDS = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "messages", "metadata", "modalities", "model", "moderation", "n", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
    "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options",
    "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
})  # fmt: skip
"""Every field of OpenAI's request (its API description, 2026)."""

SPEAKERS = frozenset({"system", "developer", "user", "assistant"})
"""Roles whose messages may have a `name`, which tells participants of one role apart. No other grammar has that."""

ALWAYS_READ = frozenset({"messages", "model", "stream", "stream_options"})
SOMETIMES_READ = OPENAI_FIELDS - ALWAYS_READ

UNFELT: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
}
"""Values that ask for what happens anyway: leaving them out loses nothing, so they are not named as dropped."""


JSON_HEADERS = ((b"content-type", b"application/json"), (b"accept", b"application/json"))
STREAM_HEADERS = ((b"content-type", b"application/json"), (b"accept", b"text/event-stream"))
"""What most grammars say of a request's body and of the answer they want."""


def wanted(call: Call, target: Target) -> Json:
    """The client's body with the target's defaults where it said nothing, and the end user's name only where it may go.

    A new mapping with the client's own values in it, none of which may be edited.
    """
    body = dict(call.body)
    if not target.send_user_id:
        for name in USER_FIELDS:
            body.pop(name, None)
    for name, value in target.defaults.items():
        if body.get(name) is None and body.get(SAME_BOUND.get(name, name)) is None:
            body[name] = value
    return body


def dropped(body: Json, translated: frozenset[str]) -> tuple[str, ...]:
    """The fields of a request that a grammar which knows only those `translated` has to leave out, by name."""
    others = [name for name in body if name in SOMETIMES_READ and name not in translated]
    felt = [name for name in others if body[name] is not None and body[name] not in UNFELT.get(name, ())]
    if any(message.get("name") and message["role"] in SPEAKERS for message in body["messages"]):
        felt.append("messages.name")
    return tuple(sorted(felt)) if felt else ()


def private(body: Json, read: frozenset[str] = frozenset()) -> Json:
    """The fields that OpenAI's API does not have, but for those `read`: between the client and the provider."""
    if body.keys() <= OPENAI_FIELDS:
        return {}
    names = [name for name in body if name not in OPENAI_FIELDS and name not in read]
    return {name: body[name] for name in names if body[name] is not None}


def max_tokens(body: Json) -> int | None:
    """The bound on the output, in tokens, by either of its names."""
    bound: int | None = body.get("max_completion_tokens")
    return bound if bound is not None else body.get("max_tokens") or None


def stops(body: Json) -> list[str]:
    """The texts that end the answer."""
    stop = body.get("stop")
    return [stop] if isinstance(stop, str) else list(stop or ())


# Tools.


class Tool(Struct, frozen=True):
    name: str
    description: str
    parameters: Json
    """A JSON schema of an object."""
    strict: bool
    extra: Json
    """Fields of the tool that OpenAI's grammar does not have, such as `cache_control`."""


class Choice(Struct, frozen=True):
    """Which tools may or must be called."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""
    """The one that must be called, where the mode is `named`."""


class Tools(Struct, frozen=True):
    tools: tuple[Tool, ...]
    choice: Choice | None
    """None: the client left it open."""
    parallel: bool | None
    """Whether several calls at once are welcome. None: the client left it open."""


NO_TOOLS = Tools((), None, None)

TOOL_FIELDS = ("tools", "functions", "tool_choice", "function_call", "parallel_tool_calls")
"""A request without any of them has nothing to do with tools."""


def tools(body: Json) -> Tools:
    """The tools of a request, the older `functions` too. Where only some are allowed, those only.

    Raises Unsupported for tools that are no functions, and InvalidRequest for the choice of a tool that is not there.
    """
    if body.keys().isdisjoint(TOOL_FIELDS):
        return NO_TOOLS
    offered = tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(body.get("tools") or ()))
    offered += tuple(_function(function, {}) for function in body.get("functions") or ())
    choice, allowed = _choice(body)
    if allowed is not None:
        offered = tuple(tool for tool in offered if tool.name in allowed)
    if choice is not None and choice.mode == "named" and choice.name not in {tool.name for tool in offered}:
        raise InvalidRequest(f"`tool_choice` names {choice.name!r}, which is not among the tools.", param="tool_choice")
    return Tools(offered, choice, body.get("parallel_tool_calls"))


def _tool(tool: Json, place: str) -> Tool:
    if tool["type"] != "function":
        raise Unsupported(f"This provider does not take tools of the type {tool['type']}.", param=place)
    return _function(tool["function"], {name: tool[name] for name in tool if name not in ("type", "function")})


def _function(function: Json, extra: Json) -> Tool:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    strict = function.get("strict") is True
    return Tool(function["name"], function.get("description") or "", parameters, strict, extra)


def _choice(body: Json) -> tuple[Choice | None, frozenset[str] | None]:
    """The choice, and the names it is limited to, if it is."""
    chosen = body.get("tool_choice")
    match body.get("function_call") if chosen is None else chosen:
        case None:
            return None, None
        case ("auto" | "none" | "required") as mode:
            return Choice(mode), None
        case {"function": {"name": str(name)}} | {"type": "tool", "name": str(name)} | {"name": str(name)}:
            return Choice("named", name), None
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(allowed), **rest}}:
            names = frozenset(tool["function"]["name"] for tool in allowed if _is_named(tool))
            return Choice("required" if rest.get("mode") == "required" else "auto"), names
    raise InvalidRequest("`tool_choice` must be auto, none, required or name a function.", param="tool_choice")


def _is_named(tool: Any) -> bool:
    match tool:
        case {"function": {"name": str()}}:
            return True
    return False


# The form of the answer.


class Format(Struct, frozen=True):
    """A `response_format` other than text."""

    schema: Json | None
    """The JSON schema of the answer; None: any JSON object."""
    name: str = "answer"
    description: str = ""
    strict: bool = False


def response_format(body: Json) -> Format | None:
    """The form that the answer must have; None for text. Raises InvalidRequest for one nobody knows."""
    match body.get("response_format"):
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return Format(None)
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **rest}}:
            name, description = (str(rest.get(field) or "") for field in ("name", "description"))
            return Format(schema, name or "answer", description, rest.get("strict") is True)
    problem = "must have the type text, json_object or json_schema, the last with a `json_schema.schema`"
    raise InvalidRequest(f"`response_format` {problem}.", param="response_format")


# Numbers, ids and names that a provider would refuse.

NOTICEABLE = 0.02
"""A number moved by less does what was asked: nobody can tell a `top_p` of 1 from one of 0.99."""


class Range(NamedTuple):
    """What a provider takes for one of OpenAI's numbers."""

    name: str
    """Its own name for the field."""
    least: float
    greatest: float


def within(body: Json, ranges: Mapping[str, Range]) -> tuple[Json, tuple[str, ...]]:
    """Numbers of a request by the provider's names, moved into its ranges; and our names of those that had to be."""
    numbers: Json = {}
    moved = []
    for name, (own_name, least, greatest) in ranges.items():
        if (wanted := body.get(name)) is not None:
            numbers[own_name] = min(max(wanted, least), greatest)
            if abs(numbers[own_name] - wanted) >= NOTICEABLE:
                moved.append(name)
    return numbers, tuple(moved)


def fitting(name: str, pattern: re.Pattern[str], length: int) -> str:
    """An id or a name as a provider takes it: itself, or else one made from it, always the same.

    The same text in a call and in its result gives the same name, so nothing has to be remembered between requests.
    `length` is the longest that is allowed; what is made has letters and digits only.
    """
    if len(name) <= length and pattern.fullmatch(name):
        return name
    return hashlib.sha256(name.encode()).hexdigest()[: min(length, 24)]
