"""
Cohere's chat and embeddings as requests: what they must look like, what is refused in which words, what they ask for.

https://docs.cohere.com/reference/chat. Where no refusal was recorded the words are in the manner of those that were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from gateway.core.call import Json
from gateway.simulator import openai_reading
from gateway.simulator.http import UNIQUE, Refusal
from gateway.simulator.shapes import Each, Either, Fields, Mismatch, Tagged, first_mismatch
from gateway.simulator.story import Question
from gateway.simulator.words import objects


def refusal(status: int, message: str, **more: Any) -> Refusal:
    """An error: a message, and an id."""
    return Refusal(status, {**more, "id": UNIQUE, "message": message})


_TEXT = Fields({"text": str}, {"type": str})
_DOCUMENT = Fields({"document": Fields({"data": object}, {"id": str})}, {"type": str})
_IMAGE = Fields({"image_url": Fields({"url": str}, {"detail": str})}, {"type": str})
_THINKING = Fields({"thinking": str}, {"type": str})
_USER_PART = Tagged("type", {"text": _TEXT, "image_url": _IMAGE})
_OWN_PART = Tagged("type", {"text": _TEXT, "thinking": _THINKING})
_RESULT_PART = Tagged("type", {"text": _TEXT, "document": _DOCUMENT})
_CALL = Fields({"id": str, "function": Fields({"name": str, "arguments": str})}, {"type": str})
_ROLE = {"role": str}
_MESSAGE = Tagged(
    "role",
    {
        "system": Fields({**_ROLE, "content": Either(_TEXT)}),
        "developer": Fields({**_ROLE, "content": Either(_TEXT)}),
        "user": Fields({**_ROLE, "content": Either(_USER_PART)}),
        "assistant": Fields(
            _ROLE, {"content": Either(_OWN_PART), "tool_calls": Each(_CALL), "tool_plan": str, "citations": list}
        ),
        "tool": Fields({**_ROLE, "tool_call_id": str, "content": Either(_RESULT_PART)}),
    },
)
_FUNCTION = Fields({"name": str, "parameters": dict}, {"description": str, "strict": bool})
_NUMBERS = ("temperature", "p", "frequency_penalty", "presence_penalty")
CHAT = Fields(
    {"model": str, "messages": Each(_MESSAGE)},
    {
        **dict.fromkeys(_NUMBERS, float),
        **dict.fromkeys(("max_tokens", "seed", "k", "priority"), int),
        **dict.fromkeys(("stream", "strict_tools", "logprobs", "raw_prompting"), bool),
        **dict.fromkeys(("safety_mode", "tool_choice"), str),
        "stop_sequences": Each(str),
        "tools": Each(Fields({"function": _FUNCTION}, {"type": str})),
        "documents": list,
        "citation_options": Fields({}, {"mode": str}),
        "response_format": Fields({"type": str}, {"json_schema": dict, "schema": dict}),
        "thinking": Fields({"type": str}, {"token_budget": int}),
    },
)
EMBED = Fields(
    {"model": str, "input_type": str},
    {
        **dict.fromkeys(("texts", "images"), Each(str)),
        "inputs": list,
        **dict.fromkeys(("max_tokens", "output_dimension", "priority"), int),
        "embedding_types": Each(str),
        "truncate": str,
    },
)


def told(wrong: Mismatch) -> Refusal:
    """A mismatch in the API's words."""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in wrong.place)[1:]
    match wrong.kind:
        case "missing":
            return refusal(400, f"invalid request: {place} is required")
        case "unknown":
            return refusal(422, f"unknown field: parameter '{place}' is not a valid field")
        case "tag":
            return refusal(400, f"invalid request: {place} must be one of {wrong.expected}, not '{wrong.value}'")
        case _:
            return refusal(400, f"invalid type: parameter {place} should be of type {wrong.expected}")


Complaints = Iterator[str]


def _turns(body: Json) -> Complaints:
    messages = body["messages"]
    if not messages:
        yield "invalid request: at least one message is required"
    elif messages[-1]["role"] not in ("user", "tool"):
        yield "invalid request: the last message must be from a user or a tool"
    for place, message in enumerate(messages):
        if message["role"] == "assistant" and not message.get("content") and not message.get("tool_calls"):
            yield f"invalid request: messages[{place}] must have content or tool calls"


def _results(body: Json) -> Complaints:
    open_calls: list[str] = []
    for place, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                id = message["tool_call_id"]
                yield f"invalid request: messages[{place}].tool_call_id '{id}' was not found in previous tool calls"
            open_calls = [id for id in open_calls if id != message["tool_call_id"]]
        elif open_calls:
            break
        else:
            open_calls = [call["id"] for call in message.get("tool_calls") or ()]
    if open_calls:
        yield f"invalid request: tool calls have no results: {', '.join(open_calls)}"


def _options(body: Json) -> Complaints:
    choice = body.get("tool_choice")
    if choice not in (None, "REQUIRED", "NONE") or (choice == "REQUIRED" and not body.get("tools")):
        yield "invalid request: tool_choice must be REQUIRED or NONE, and REQUIRED needs tools"
    if (body.get("response_format") or {}).get("type") == "json_object" and body.get("tools"):
        yield "invalid request: response_format is not supported together with tools"
    for name, most in (("temperature", 1), ("p", 0.99), ("frequency_penalty", 1), ("presence_penalty", 1)):
        if not 0 <= (body.get(name) or 0) <= most:
            yield f"invalid request: {name} must be between 0 and {most} inclusive."


_RULES: tuple[Callable[[Json], Complaints], ...] = (_turns, _results, _options)


def check(body: Any) -> Refusal | None:
    """Why the API would refuse a chat request, or None."""
    if wrong := first_mismatch(body, CHAT):
        return told(wrong)
    return next((refusal(400, words) for rule in _RULES for words in rule(body)), None)


def question(body: Json) -> Question:
    """What a request that passed asks for, read in OpenAI's words."""
    wanted = body.get("response_format") or {}
    schema = wanted.get("json_schema") or wanted.get("schema")
    return openai_reading.question(
        {
            "messages": [_message(message) for message in body["messages"]],
            "tools": body.get("tools"),
            "tool_choice": "none" if body.get("tool_choice") == "NONE" else None,
            "response_format": {"type": wanted.get("type"), "json_schema": {"schema": schema}},
            "max_tokens": body.get("max_tokens"),
            "stop": body.get("stop_sequences"),
        },
        thinks=(body.get("thinking") or {}).get("type") == "enabled",
    )


def _message(message: Json) -> Json:
    """With the documents that a tool found as text."""
    parts = [
        {"type": "text", "text": _document(part["document"]["data"])} if part.get("type") == "document" else part
        for part in objects(message.get("content"))
    ]
    return {**message, "content": parts} if parts else message


def _document(data: Any) -> str:
    if isinstance(data, dict) and len(data) == 1:
        (data,) = data.values()
    return data if isinstance(data, str) else orjson.dumps(data).decode()
