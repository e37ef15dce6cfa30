"""Anthropic's Messages API. `ask` writes the request; the answers are read by `anthropic_answers`.

Where the grammar has no words for a wish, the nearest that the API takes is sent and the field is named as dropped.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

import re

import orjson
from msgspec import Struct

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects import hub
from gateway.dialects.anthropic_answers import ANSWER_TOOL, answer, refusal, stream
from gateway.dialects.anthropic_schema import closed
from gateway.dialects.anthropic_turns import NAME, NAME_LIMIT, lacks_thought, messages, system
from gateway.dialects.claude_models import Thinking, Traits, is_budgeted, object_in, sampling, thinking, traits_of
from gateway.dialects.conversation import answerable, conversation

__all__ = ["answer", "ask", "refusal", "stream"]

# 2023-06-01 is the last version that takes `temperature` and `top_p`; 2026-10-21 refuses them for every model.
_VERSION = ((b"content-type", b"application/json"), (b"anthropic-version", b"2023-06-01"))
JSON_HEADERS = (*_VERSION, (b"accept", b"application/json"))
STREAM_HEADERS = (*_VERSION, (b"accept", b"text/event-stream"))

TRANSLATED = frozenset({
    "function_call", "functions", "max_completion_tokens", "max_tokens", "parallel_tool_calls", "reasoning_effort",
    "response_format", "safety_identifier", "service_tier", "stop", "temperature", "tool_choice", "tools", "top_p",
    "user",
})  # fmt: skip

TIERS = {"auto": "auto", "default": "standard_only", "priority": "auto", "standard_only": "standard_only"}
"""OpenAI's words for a service tier. Anthropic's `auto` is its priority tier where one is paid for."""

USER_LIMIT = 256
"""Characters of `metadata.user_id`."""
_ANYTHING = re.compile(r".+", re.DOTALL)

OWN = frozenset({"thinking", "output_config", "top_k"})
"""Fields of the Messages API that OpenAI does not have, and that are put together here. Others go out as they are."""

TOOL_EXTRA = frozenset({"cache_control", "defer_loading", "allowed_callers", "eager_input_streaming", "input_examples"})
"""Fields of a tool that OpenAI does not have."""

ONE_OBJECT = "Answer with one JSON object and nothing else: no words before or after it, no code fence around it."
AS_DESCRIBED = "It must satisfy this JSON schema:"


def ask(call: Call, target: Target) -> UpstreamRequest:
    """The call as a message. Raises Unsupported for what the API cannot be told, such as audio."""
    body = hub.wanted(call, target)
    written, dropped = _written(body, traits_of(target.model))
    written["model"] = target.model
    url, headers = target.urls["chat"], JSON_HEADERS
    if call.stream:
        written["stream"] = True
        url, headers = target.urls.get("chat_stream", url), STREAM_HEADERS
    return UpstreamRequest("POST", url, headers + target.headers, orjson.dumps(written), dropped)


def _written(body: Json, traits: Traits) -> tuple[Json, tuple[str, ...]]:
    """The body for a model of these traits, and what it could not hold."""
    spoken = conversation(answerable(body["messages"]))
    thought = thinking(body, traits, hub.max_tokens(body), lacks_thought(spoken.turns))
    sampled, unsampled = sampling(body, traits, thought.active)
    offered = hub.tools(body)
    forcing = traits.forced_tools and not is_budgeted(thought.config)
    form = _form(body, offered, traits, forcing)
    tools, unforced = _tools(offered, form, forcing)
    plain, unsaid = _plain(body)
    written: Json = {
        **hub.private(body, OWN),
        "max_tokens": thought.bound,
        "messages": messages(spoken.turns),
        **sampled,
        **tools,
        **plain,
    }
    if instructions := system(spoken.system, *form.told):
        written["system"] = instructions
    if thought.config is not None:
        written["thinking"] = thought.config
    if output := _output_config(body, thought, form):
        written["output_config"] = output
    lost = (*hub.dropped(body, TRANSLATED), *thought.dropped, *unsampled, *unforced, *unsaid)
    return written, tuple(sorted(set(lost))) if lost else ()


def _plain(body: Json) -> tuple[Json, tuple[str, ...]]:
    """The fields that only have another name."""
    written: Json = {}
    lost: list[str] = []
    stops = hub.stops(body)
    taken = [stop for stop in stops if stop and not stop.isspace()]  # "must contain non-whitespace"
    if taken:
        written["stop_sequences"] = taken
    if len(taken) < len(stops):
        lost.append("stop")
    if user := body.get("safety_identifier") or body.get("user"):
        written["metadata"] = {"user_id": hub.fitting(user, _ANYTHING, USER_LIMIT)}
    if tier := body.get("service_tier"):
        if tier in TIERS:
            written["service_tier"] = TIERS[tier]
        else:
            lost.append("service_tier")
    return written, tuple(lost)


# The form of the answer.


class Form(Struct, frozen=True):
    """How an answer is held to a `response_format`: in one of three ways, or not at all."""

    schema: Json | None = None
    """By the API itself: what is generated cannot be anything else."""
    tool: Json | None = None
    """By a tool that has to be called with the answer. `anthropic_answers` tells the call as text."""
    told: tuple[str, ...] = ()
    """By an instruction, which is all there is for an object of any shape, and while tools cannot be forced."""


def _form(body: Json, offered: hub.Tools, traits: Traits, forcing: bool) -> Form:
    """The surest way there is. Structured outputs take closed schemas only, and no model before 4.1 has them."""
    wanted = hub.response_format(body)
    if wanted is None:
        return Form()
    if wanted.schema is None:
        return Form(told=(ONE_OBJECT,))
    if traits.structured and (schema := closed(wanted.schema)):
        return Form(schema=schema)
    left_open = offered.choice is None or offered.choice.mode in ("auto", "none")
    if forcing and left_open and wanted.schema.get("type") == "object":
        description = wanted.description or "Gives the answer."
        return Form(tool={"name": ANSWER_TOOL, "description": description, "input_schema": wanted.schema})
    return Form(told=(f"{ONE_OBJECT} {AS_DESCRIBED}\n{orjson.dumps(wanted.schema).decode()}",))


def _output_config(body: Json, thought: Thinking, form: Form) -> Json:
    """How much effort, and in which form. What the client itself says of it comes last."""
    config: Json = {}
    if thought.effort:
        config["effort"] = thought.effort
    if form.schema is not None:
        config["format"] = {"type": "json_schema", "schema": form.schema}
    return {**config, **(object_in(body, "output_config") or {})}


# Tools.


def _tools(offered: hub.Tools, form: Form, forcing: bool) -> tuple[Json, tuple[str, ...]]:
    """`tools` and `tool_choice`."""
    tools = [_tool(tool) for tool in offered.tools]
    if form.tool:
        tools.append(form.tool)
    if not tools:
        return {}, ()
    choice, lost = _choice(offered, form, forcing)
    # Strict tools are left out: the API allows 20 of them, of limited complexity (recorded), where OpenAI has no bound.
    dropped = ("tools.strict",) if any(tool.strict for tool in offered.tools) else ()
    return {"tools": tools, **({"tool_choice": choice} if choice else {})}, (*lost, *dropped)


def _tool(tool: hub.Tool) -> Json:
    if tool.name == ANSWER_TOOL or len(tool.name) > NAME_LIMIT or not NAME.fullmatch(tool.name):
        problem = f"takes names of letters, digits, _ and - up to {NAME_LIMIT} characters for tools, not {tool.name!r}"
        raise Unsupported(f"This provider {problem}.", param="tools")
    schema = tool.parameters
    written: Json = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = schema if schema.get("type") == "object" else {**schema, "type": "object"}
    return written | {name: value for name, value in tool.extra.items() if name in TOOL_EXTRA and value is not None}


_MODES = {"auto": "auto", "none": "none", "required": "any"}


def _choice(offered: hub.Tools, form: Form, forcing: bool) -> tuple[Json, tuple[str, ...]]:
    """Which tools are to be called, and what of the client's choice is lost."""
    wanted = offered.choice
    choice: Json = {}
    lost: tuple[str, ...] = ()
    if form.tool:
        others = offered.tools and (wanted is None or wanted.mode == "auto")
        choice = {"type": "any"} if others else {"type": "tool", "name": ANSWER_TOOL}
    elif wanted is not None and wanted.mode in ("required", "named") and not forcing:
        choice, lost = {"type": "auto"}, ("tool_choice",)
    elif wanted is not None:
        choice = {"type": "tool", "name": wanted.name} if wanted.mode == "named" else {"type": _MODES[wanted.mode]}
    if offered.parallel is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return choice, lost
