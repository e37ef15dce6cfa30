"""Cohere's chat, the second version of its API, as requests. The answers are read by `cohere_answers`.

What differs from OpenAI's grammar, beside names: instructions stand first; what the assistant says before it calls
tools is its `tool_plan`; a tool choice can force a call but name no tool, so a named one is offered alone; tools are
strict all together or not at all; the form of an answer is a JSON object, with or without a schema.

https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import orjson

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects import hub
from gateway.dialects.cohere_answers import answer, refusal, stream
from gateway.dialects.conversation import MediaPart, TextPart, ToolResult, ToolUse, Turn, answerable, conversation
from gateway.dialects.hub import JSON_HEADERS, STREAM_HEADERS

__all__ = ["answer", "ask", "refusal", "stream"]


def ask(call: Call, target: Target) -> UpstreamRequest:
    """The call in Cohere's grammar. Raises Unsupported for a part of it that cannot be said there.

    Cohere's own fields (`documents`, `safety_mode`, `k`, `thinking`, ...) go out as the client sent them, and win over
    what was translated to the same name.
    """
    body = hub.wanted(call, target)
    settings, moved = _settings(body)
    tools, loose = _tools(body)
    sent = {"model": target.model, "messages": list(_messages(body["messages"])), **settings, **tools}
    if call.stream:
        sent["stream"] = True
    sent |= hub.private(body)
    headers = STREAM_HEADERS if call.stream else JSON_HEADERS
    url = target.urls.get("chat_stream", target.urls["chat"]) if call.stream else target.urls["chat"]
    dropped = (*hub.dropped(body, TRANSLATED), *moved, *loose)
    return UpstreamRequest("POST", url, headers + target.headers, orjson.dumps(sent), dropped)


TRANSLATED = frozenset({
    "frequency_penalty", "function_call", "functions", "logprobs", "max_completion_tokens", "max_tokens",
    "presence_penalty", "reasoning_effort", "response_format", "seed", "stop", "temperature", "tool_choice", "tools",
    "top_p",
})  # fmt: skip


# Fields.

RANGES = {
    "temperature": hub.Range("temperature", 0, 1),
    "top_p": hub.Range("p", 0.01, 0.99),
    "frequency_penalty": hub.Range("frequency_penalty", 0, 1),
    "presence_penalty": hub.Range("presence_penalty", 0, 1),
    "seed": hub.Range("seed", 0, 2**64 - 1),
}


def _settings(body: Json) -> tuple[Json, tuple[str, ...]]:
    """What is set by single fields, and the names of those that had to be moved into Cohere's range."""
    settings, moved = hub.within(body, RANGES)
    if (bound := hub.max_tokens(body)) is not None:
        settings["max_tokens"] = bound
    if stops := hub.stops(body):
        settings["stop_sequences"] = stops
    if body.get("logprobs"):
        settings["logprobs"] = True
    if effort := body.get("reasoning_effort"):
        settings["thinking"] = _thinking(effort)
    if form := hub.response_format(body):
        settings["response_format"] = _form(form)
    return settings, moved


BUDGETS = {"minimal": 512, "low": 2048, "medium": 8192}
"""Tokens of thinking for each effort. Higher ones have no bound: Cohere's own OpenAI endpoint takes `high` so.

https://docs.cohere.com/docs/compatibility-api
"""


def _thinking(effort: str) -> Json:
    """How much the model shall think. https://docs.cohere.com/docs/reasoning"""
    if effort == "none":
        return {"type": "disabled"}
    return {"type": "enabled", **({"token_budget": BUDGETS[effort]} if effort in BUDGETS else {})}


def _form(form: hub.Format) -> Json:
    """https://docs.cohere.com/docs/structured-outputs"""
    if form.schema is None:
        return {"type": "json_object"}
    described = {"description": form.description, **form.schema} if form.description else form.schema
    return {"type": "json_object", "json_schema": described}


# Tools.


def _tools(body: Json) -> tuple[Json, tuple[str, ...]]:
    """The fields about tools, and the name of what is lost of them."""
    asked = hub.tools(body)
    offered, choice = asked.tools, asked.choice
    if not offered:
        return {}, ()
    sent: Json = {}
    if choice is not None and choice.mode == "none":
        sent["tool_choice"] = "NONE"
    elif choice is not None and choice.mode != "auto":
        sent["tool_choice"] = "REQUIRED"
    if choice is not None and choice.mode == "named":
        offered = tuple(tool for tool in offered if tool.name == choice.name)
    sent["tools"] = [{"type": "function", "function": _function(tool)} for tool in offered]
    strict = [tool for tool in offered if tool.strict]
    if len(strict) == len(offered) and all(tool.parameters.get("required") for tool in strict):
        sent["strict_tools"] = True
    return sent, ("strict",) if strict and "strict_tools" not in sent else ()


def _function(tool: hub.Tool) -> Json:
    description = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **description, "parameters": tool.parameters}


# Messages.


def _messages(messages: Sequence[Json]) -> Iterator[Json]:
    """Instructions first: "system turn must be the first in the list" (https://docs.cohere.com/reference/errors)."""
    said = conversation(answerable(messages))
    if said.system:
        yield {"role": "system", "content": _content(said.system)}
    for turn in said.turns:
        yield from _asked(turn) if turn.side == "user" else _answered(turn)


def _asked(turn: Turn) -> Iterator[Json]:
    """What the user's side says: each tool's result is a message of its own."""
    for is_result, parts in groupby(turn.parts, key=lambda part: isinstance(part, ToolResult)):
        if is_result:
            yield from (_result(part) for part in parts if isinstance(part, ToolResult))
        else:
            said = [part for part in parts if isinstance(part, TextPart | MediaPart)]
            yield {"role": "user", "content": _content(said)}


def _result(result: ToolResult) -> Json:
    for part in result.parts:
        if isinstance(part, MediaPart):
            raise Unsupported("Cohere takes the results of tools as text only.", param=part.place)
    return {"role": "tool", "tool_call_id": result.id, "content": _content(result.parts)}


def _answered(turn: Turn) -> Iterator[Json]:
    """What the assistant said. Thoughts are left out: they were sealed by another provider, Cohere seals none."""
    for part in turn.parts:
        if isinstance(part, MediaPart):
            raise Unsupported("Cohere takes images from the user only.", param=part.place)
    words = [part for part in turn.parts if isinstance(part, TextPart)]
    calls = [_call(part) for part in turn.parts if isinstance(part, ToolUse)]
    if calls:
        plan = "".join(part.text for part in words)
        yield {"role": "assistant", **({"tool_plan": plan} if plan else {}), "tool_calls": calls}
    elif any(part.text for part in words):  # "message must not be empty in a turn"
        yield {"role": "assistant", "content": _content(words)}


def _call(call: ToolUse) -> Json:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _content(parts: Sequence[TextPart | MediaPart]) -> str | list[Json]:
    """Parts as Cohere takes them: a single text bare, which every place allows."""
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return [_text(part) if isinstance(part, TextPart) else _image(part) for part in parts]


DETAILS = frozenset({"auto", "low", "high"})
"""How closely an image may be looked at; the model decides where the client says anything else."""


def _text(part: TextPart) -> Json:
    return {"type": "text", "text": part.text}


def _image(part: MediaPart) -> Json:
    if part.kind != "image":
        raise Unsupported(f"Cohere takes texts and images, not parts of the kind {part.kind}.", param=part.place)
    image = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
    if part.detail in DETAILS:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}
