"""Amazon Bedrock's Converse and ConverseStream: how a call is asked. Answers are read by `bedrock_answers`.

One grammar for the models of many makers; what each of them takes is known to `bedrock_models`. The two operations
have addresses of their own, and the model stands in the address.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.dialects import hub
from gateway.dialects.bedrock_answers import ANSWER_TOOL, answer, refusal, stream
from gateway.dialects.bedrock_messages import cache_point, messages, system_blocks, tool_name
from gateway.dialects.bedrock_models import Context, Family, family_of
from gateway.dialects.conversation import Conversation, TextPart, Thought, ToolResult, ToolUse, Turn, conversation
from gateway.dialects.hub import JSON_HEADERS

__all__ = ["answer", "ask", "refusal", "stream"]

STREAM_HEADERS = ((b"content-type", b"application/json"), (b"accept", b"application/vnd.amazon.eventstream"))

OWN_FIELDS = frozenset({
    "additionalModelRequestFields", "additionalModelResponseFieldPaths", "guardrailConfig", "inferenceConfig",
    "outputConfig", "performanceConfig", "promptVariables", "requestMetadata", "serviceTier", "system", "toolConfig",
})  # fmt: skip
"""Converse's own fields, which a client may send as they are. Any other that OpenAI lacks is the model's own."""

TRANSLATED = frozenset({
    "function_call", "functions", "max_completion_tokens", "max_tokens", "metadata", "reasoning_effort",
    "response_format", "service_tier", "stop", "temperature", "tool_choice", "tools", "top_p",
})  # fmt: skip
"""What is said here in Converse's words. What of it a model does not take is dropped by name."""

TIERS = frozenset({"flex", "priority"})
METADATA_LIMIT = 16
METADATA_WORD = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
"""What a name or a value in `requestMetadata` may be: AWS writes them into its invocation logs."""

JSON_ONLY = "Answer with one JSON object, and with nothing before or after it."


def ask(call: Call, target: Target) -> UpstreamRequest:
    """The call in Converse's words.

    What the client says in Converse's own fields wins over what is made of OpenAI's. Raises Unsupported for media that
    Bedrock does not take, and for tools whose names it refuses.
    """
    body = hub.wanted(call, target)
    written, lost = _written(body, target.model)
    dropped = hub.dropped(body, TRANSLATED.difference(lost)) + tuple(name for name in lost if name in hub.private(body))
    url = target.urls.get("chat_stream", target.urls["chat"]) if call.stream else target.urls["chat"]
    headers = (STREAM_HEADERS if call.stream else JSON_HEADERS) + target.headers
    return UpstreamRequest("POST", url, headers, orjson.dumps(written), dropped)


def _written(body: Json, model: str) -> tuple[Json, tuple[str, ...]]:
    """The request, and which of the client's fields the model does not take."""
    family = family_of(model)
    form = _form(body, family)
    talk = _told(conversation(body["messages"]), form, family)
    offer = _offer(body, talk, form, family)
    dials = family.tuning(body, Context(model, offer.forced, _unsealed(talk)))
    metadata = _metadata(body.get("metadata"))
    tier = body.get("service_tier")
    ours: Json = {
        "system": system_blocks(talk.system, family),
        "messages": messages(talk, family),
        "inferenceConfig": {**dials.inference, **(_stops(body) if family.stops else {})},
        "toolConfig": offer.config,
        "outputConfig": {**form.output, **({"effort": dials.effort} if dials.effort else {})},
        "requestMetadata": metadata,
        "serviceTier": {"type": tier} if tier in TIERS else {},
        "additionalModelRequestFields": dials.additional,
    }
    lost = dials.lost + offer.lost
    lost += () if metadata else ("metadata",)
    lost += () if tier in TIERS else ("service_tier",)
    lost += () if family.stops else ("stop",)
    return _with_private({name: said for name, said in ours.items() if said}, body, lost), lost


def _with_private(ours: Json, body: Json, lost: tuple[str, ...]) -> Json:
    """The request with the fields that OpenAI does not have: Converse's own, and the model's."""
    private = hub.private(body)
    models = {name: value for name, value in private.items() if name not in OWN_FIELDS and name not in lost}
    if models:
        ours["additionalModelRequestFields"] = {**models, **ours.get("additionalModelRequestFields", {})}
    for name, own in private.items():
        if name in OWN_FIELDS:
            both = isinstance(own, dict) and isinstance(ours.get(name), dict)
            ours[name] = {**ours[name], **own} if both else own
    return ours


def _stops(body: Json) -> Json:
    stops = [stop for stop in hub.stops(body) if stop]
    return {"stopSequences": stops} if stops else {}


def _metadata(metadata: Json | None) -> Json:
    """The client's notes, where AWS takes them as they are; else none of them."""
    if not metadata or len(metadata) > METADATA_LIMIT or "" in metadata:
        return {}
    words = [*metadata, *metadata.values()]
    return metadata if all(isinstance(word, str) and METADATA_WORD.fullmatch(word) for word in words) else {}


def _told(talk: Conversation, form: _Form, family: Family) -> Conversation:
    """The conversation with what is asked of the answer's form, in the place where the model takes instructions."""
    system = talk.system
    if form.instruction:
        system += (TextPart(form.instruction, {}, "response_format"),)
    if not family.instructions and system:
        return Conversation((), (Turn("user", system), *talk.turns))
    return Conversation(system, talk.turns)


def _unsealed(talk: Conversation) -> bool:
    """Whether there are results of tools to go on from, and the turns that called them have lost their thoughts."""
    answered = False
    for turn in reversed(talk.turns):
        if any(isinstance(part, Thought) for part in turn.parts):
            return False
        if turn.side == "user":
            if not any(isinstance(part, ToolResult) for part in turn.parts):
                break
            answered = True
    return answered


# The form of the answer.


class _Form(NamedTuple):
    """How the form that the answer must have is asked for. Nothing in it: the answer is text."""

    output: Json
    """For `outputConfig`."""
    instruction: str
    """What is said of it to the model."""
    tool: hub.Tool | None
    """The tool that must be called with the answer."""


def _form(body: Json, family: Family) -> _Form:
    form = hub.response_format(body)
    if form is None:
        return _Form({}, "", None)
    if form.schema is None:
        return _Form({}, JSON_ONLY, None)
    schema = orjson.dumps(form.schema).decode()
    if family.schema == "native":
        described = {"description": form.description} if form.description else {}
        definition = {"jsonSchema": {"schema": schema, "name": form.name, **described}}
        return _Form({"textFormat": {"type": "json_schema", "structure": definition}}, "", None)
    if family.schema == "tool" and form.schema.get("type") == "object":  # the arguments of a tool are no other thing
        description = form.description or "Takes the whole answer. Call it once, and say nothing else."
        return _Form({}, "", hub.Tool(ANSWER_TOOL, description, form.schema, False, {}))
    return _Form({}, f"{JSON_ONLY} It must be valid by this JSON schema: {schema}", None)


# Tools.


CHOOSING = ("tool_choice", "function_call")


class _Offer(NamedTuple):
    """The tools on offer."""

    config: Json
    """For `toolConfig`; empty where there are none."""
    forced: bool
    """Whether one must be called."""
    lost: tuple[str, ...]


def _offer(body: Json, talk: Conversation, form: _Form, family: Family) -> _Offer:
    asked = hub.tools(body)
    tools = () if asked.choice is not None and asked.choice.mode == "none" else asked.tools
    choice, lost = _choice(asked.choice, family)
    if form.tool is not None and not choice:
        choice = {"tool": {"name": ANSWER_TOOL}} if not tools and "tool" in family.choices else {"any": {}}
        tools = (*tools, form.tool)
    if not tools and (called := _called(talk)):
        # "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        tools, lost = asked.tools or called, CHOOSING
    if not tools:
        return _Offer({}, False, lost)
    specs = [block for tool in tools for block in _spec(tool, family)]
    return _Offer({"tools": specs, **({"toolChoice": choice} if choice else {})}, bool(choice), lost)


def _choice(choice: hub.Choice | None, family: Family) -> tuple[Json, tuple[str, ...]]:
    """`toolChoice`, and what of the client's choice the model does not take. `auto` goes without saying."""
    if choice is None or choice.mode in ("auto", "none"):
        return {}, ()
    told: Json = {"tool": {"name": choice.name}} if choice.mode == "named" else {"any": {}}
    return (told, ()) if family.choices.issuperset(told) else ({}, CHOOSING)


def _called(talk: Conversation) -> tuple[hub.Tool, ...]:
    """The tools that were called before, of which no more is known than their names."""
    parts = [part for turn in talk.turns for part in turn.parts if isinstance(part, ToolUse | ToolResult)]
    names = dict.fromkeys(part.name or "tool" for part in parts)
    return tuple(hub.Tool(name, "", {"type": "object", "properties": {}}, False, {}) for name in names)


def _spec(tool: hub.Tool, family: Family) -> list[Json]:
    """One tool, with the mark for the cache behind it. Converse wants every schema to be of an object."""
    schema = tool.parameters if "type" in tool.parameters else {"type": "object", **tool.parameters}
    spec: Json = {"name": tool_name(tool.name, "tools"), "inputSchema": {"json": schema}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict and family.schema == "native":
        spec["strict"] = True
    return [{"toolSpec": spec}, *(cache_point(tool.extra) if "tools" in family.caches else [])]
