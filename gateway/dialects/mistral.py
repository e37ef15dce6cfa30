"""Mistral's chat completions, as requests. The answers are OpenAI's, nearly, and read as such by `openai_answers`.

Mistral refuses what it does not know ("Extra inputs are not permitted", 422), in every object: so each is written anew,
with the fields of its API description and no others. It also wants ids of nine letters or digits, and messages in an
order: instructions first, and never a user's message right after a tool's, or an assistant's at the end.

https://docs.mistral.ai/api/endpoint/chat
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects import hub
from gateway.dialects.conversation import answerable
from gateway.dialects.hub import JSON_HEADERS, STREAM_HEADERS
from gateway.dialects.openai_answers import answer, refusal, stream

__all__ = ["answer", "ask", "refusal", "stream"]


def ask(call: Call, target: Target) -> UpstreamRequest:
    """The call as Mistral takes it. Raises Unsupported for a part of it that cannot be said there.

    Mistral's own fields (`safe_prompt`, `prompt_mode`, `guardrails`, ...) go out as the client sent them. A stream need
    not be asked for its usage, and may not.
    """
    body = hub.wanted(call, target)
    settings, moved = _settings(body)
    sent = {"model": target.model, "messages": list(_in_order(body["messages"])), **settings, **_tools(body)}
    if call.stream:
        sent["stream"] = True
    sent |= hub.private(body)
    headers = STREAM_HEADERS if call.stream else JSON_HEADERS
    url = target.urls.get("chat_stream", target.urls["chat"]) if call.stream else target.urls["chat"]
    dropped = (*hub.dropped(body, TRANSLATED), *moved)
    return UpstreamRequest("POST", url, headers + target.headers, orjson.dumps(sent), dropped)


# Fields.

SAME = ("frequency_penalty", "metadata", "n", "presence_penalty", "prompt_cache_key", "reasoning_effort", "top_p")
"""Fields that mean the same in both grammars."""

RANGES = {"temperature": hub.Range("temperature", 0, 1.5), "seed": hub.Range("random_seed", 0, 2**63 - 1)}

TRANSLATED = frozenset({
    *SAME, *RANGES, "function_call", "functions", "max_completion_tokens", "max_tokens", "parallel_tool_calls",
    "prediction", "response_format", "stop", "tool_choice", "tools",
})  # fmt: skip
"""Not `logprobs`: no model that was recorded has them enabled."""


def _settings(body: Json) -> tuple[Json, tuple[str, ...]]:
    """What is set by single fields, and the names of those that had to be moved into Mistral's range."""
    settings, moved = hub.within(body, RANGES)
    settings |= {name: body[name] for name in SAME if body.get(name) is not None}
    if (bound := hub.max_tokens(body)) is not None:
        settings["max_tokens"] = bound
    if stops := hub.stops(body):
        settings["stop"] = stops
    if prediction := body.get("prediction"):
        settings["prediction"] = {"type": "content", "content": _plain(prediction.get("content"))}
    if form := hub.response_format(body):
        settings["response_format"] = _form(form)
    return settings, moved


def _plain(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content or ())


def _form(form: hub.Format) -> Json:
    """https://docs.mistral.ai/capabilities/structured_output"""
    if form.schema is None:
        return {"type": "json_object"}
    described = {"description": form.description} if form.description else {}
    schema = {"name": form.name, **described, "schema": form.schema, "strict": form.strict}
    return {"type": "json_schema", "json_schema": schema}


def _tools(body: Json) -> Json:
    asked = hub.tools(body)
    offered, choice, parallel = asked.tools, asked.choice, asked.parallel
    if not offered:
        return {}
    sent: Json = {"tools": [{"type": "function", "function": _function(tool)} for tool in offered]}
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        sent["tool_choice"] = named if choice.mode == "named" else choice.mode
    if parallel is not None:
        sent["parallel_tool_calls"] = parallel
    return sent


def _function(tool: hub.Tool) -> Json:
    description = {"description": tool.description} if tool.description else {}
    strict = {"strict": True} if tool.strict else {}
    return {"name": tool.name, **description, "parameters": tool.parameters, **strict}


# Messages.

BRIDGE: Json = {"role": "assistant", "content": "OK"}
"""Stands between a tool's message and a user's. Some models take that order (recorded), others refuse it:
"Unexpected role 'user' after role 'tool'"."""


def _in_order(messages: Sequence[Json]) -> Iterator[Json]:
    """The messages as Mistral takes them, in an order that it takes.

    Of others it says, with 400, "Unexpected role 'system' after role 'assistant'" or "Expected last role User or Tool
    (or Assistant with prefix True)".
    """
    numbered = enumerate(answerable(messages))
    said = [told for index, message in numbered if (told := _message(message, f"messages[{index}]"))]
    said.sort(key=lambda told: told["role"] != "system")  # sorting is stable: within each kind the order stays
    last = said[-1] if said else {}
    before = ""
    for told in said:
        if before == "tool" and told["role"] == "user":
            yield BRIDGE
        is_begun = told is last and told["role"] == "assistant" and "tool_calls" not in told
        yield {**told, "prefix": True} if is_begun else told
        before = told["role"]


def _message(message: Json, place: str) -> Json | None:
    """One message; nothing for one that says nothing."""
    return ROLES[message["role"]](message, place)


def _instruction(message: Json, place: str) -> Json:
    content = _content(message["content"], place)
    if isinstance(content, list) and any(part["type"] not in ("text", "thinking") for part in content):
        raise Unsupported("Instructions can only be text.", param=f"{place}.content")
    return {"role": "system", "content": content}


def _user(message: Json, place: str) -> Json:
    return {"role": "user", "content": _content(message["content"], place)}


def _assistant(message: Json, place: str) -> Json | None:
    """Mistral wants "either content or tool_calls". Reasoning is not sent back: not every model takes thoughts."""
    calls = [_call(call, f"{place}.tool_calls[{index}]") for index, call in enumerate(message.get("tool_calls") or ())]
    if legacy := message.get("function_call"):
        calls.append({"id": _id(legacy["name"]), "type": "function", "function": _called(legacy)})
    content = _content(message.get("content") or "", place)
    if refused := message.get("refusal"):
        content = content + refused if isinstance(content, str) else [*content, {"type": "text", "text": refused}]
    if not content and not calls:
        if message.get("audio"):
            raise Unsupported("Only OpenAI knows what an earlier answer in `audio` said.", param=f"{place}.audio")
        return None
    told: Json = {"role": "assistant", "content": content}
    if calls:
        told["tool_calls"] = calls
    if message.get("prefix") is not None:
        told["prefix"] = message["prefix"]
    return told


def _call(call: Json, place: str) -> Json:
    if "function" not in call:
        raise Unsupported("Mistral knows only tools of the type function.", param=place)
    return {"id": _id(call.get("id") or ""), "type": "function", "function": _called(call["function"])}


def _called(function: Json) -> Json:
    return {"name": function["name"], "arguments": function["arguments"] or "{}"}


def _tool(message: Json, place: str) -> Json:
    """A tool's result; or a function's, which had no id but its name."""
    name = {"name": message["name"]} if message.get("name") else {}
    id = message.get("tool_call_id") or message.get("name") or ""
    return {"role": "tool", "tool_call_id": _id(id), **name, "content": _content(message["content"], place)}


ROLES: dict[str, Callable[[Json, str], Json | None]] = {
    "system": _instruction,
    "developer": _instruction,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
    "function": _tool,
}

NINE = re.compile(r"[A-Za-z0-9]{9}")


def _id(id: str) -> str:
    """ "Tool call id was ... but must be a-z, A-Z, 0-9, with a length of 9." """
    return hub.fitting(id, NINE, 9)


# Parts of a message.


def _content(content: Any, place: str) -> Any:
    if isinstance(content, str):
        return content
    return [_part(part, f"{place}.content[{index}]") for index, part in enumerate(content)]


def _part(part: Json, place: str) -> Json:
    if part["type"] in OWN_PARTS:
        return part
    if part["type"] not in PARTS:
        raise Unsupported(f"Mistral does not take parts of the type {part['type']}.", param=place)
    return PARTS[part["type"]](part, place)


def _text(part: Json, place: str) -> Json:
    return {"type": "text", "text": part[part["type"]]}


def _image(part: Json, place: str) -> Json:
    image = part["image_url"]
    if isinstance(image, dict):
        image = {name: image[name] for name in ("url", "detail") if image.get(name)}
    return {"type": "image_url", "image_url": image}


def _audio(part: Json, place: str) -> Json:
    """Mistral sees the format by itself."""
    return {"type": "input_audio", "input_audio": part["input_audio"]["data"]}


def _file(part: Json, place: str) -> Json:
    """A document. OpenAI takes its bytes as a data URL; some clients send the bare base64 of a PDF."""
    file = part["file"]
    data, name, id = (file.get(field) or "" for field in ("file_data", "filename", "file_id"))
    if id and not data:
        return {"type": "file", "file_id": id}
    if not data:
        raise Unsupported("A file needs `file_data` or `file_id`.", param=place)
    document = data if ":" in data else f"data:application/pdf;base64,{data}"
    return {"type": "document_url", "document_url": document, **({"document_name": name} if name else {})}


OWN_PARTS = frozenset({"document_url", "reference", "thinking"})
"""What Mistral has and OpenAI has not: sent as it came."""

PARTS: dict[str, Callable[[Json, str], Json]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}
