"""
Mistral's chat and embeddings as requests: what they must look like, and what is refused in which words.

https://docs.mistral.ai/api. Two readers complain in different shapes: that of the fields, and that of the conversation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from gateway.core.call import Json
from gateway.simulator.http import Refusal
from gateway.simulator.shapes import Each, Either, Fields, Mismatch, Tagged, first_mismatch


def refusal(status: int, type: str, message: str, code: str | None) -> Refusal:
    """An error of the model's server."""
    told = {"object": "error", "message": message, "type": type, "param": None, "code": code}
    return Refusal(status, {**told, "raw_status_code": status})


def wrong_order(message: str) -> Refusal:
    """Messages that do not follow on each other."""
    return refusal(400, "invalid_request_message_order", message, "3230")


_PART = Tagged(
    "type",
    {
        "text": Fields({"type": str, "text": str}),
        "image_url": Fields({"image_url": object}, {"type": str}),
        "thinking": Fields({"thinking": list}, {"type": str, "closed": bool, "signature": str}),
        **dict.fromkeys(("document_url", "reference", "input_audio", "file"), Fields(open=True)),
    },
    default="text",
)
_CALL = Fields({"function": Fields({"name": str, "arguments": object})}, {"id": str, "type": str, "index": int})
_ROLE = {"role": str}
_MESSAGE = Tagged(
    "role",
    {
        "system": Fields({**_ROLE, "content": Either(_PART)}),
        "user": Fields({**_ROLE, "content": Either(_PART)}),
        "assistant": Fields(_ROLE, {"content": Either(_PART), "tool_calls": Each(_CALL), "prefix": bool}),
        "tool": Fields({**_ROLE, "content": Either(_PART)}, {"tool_call_id": str, "name": str}),
    },
)
_FUNCTION = Fields({"name": str, "parameters": dict}, {"description": str, "strict": bool})
_NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
CHAT = Fields(
    {"model": str, "messages": Each(_MESSAGE)},
    {
        **dict.fromkeys(_NUMBERS, float),
        **dict.fromkeys(("max_tokens", "random_seed", "n", "top_logprobs"), int),
        **dict.fromkeys(("stream", "parallel_tool_calls", "safe_prompt", "logprobs"), bool),
        **dict.fromkeys(("metadata", "prediction"), dict),
        **dict.fromkeys(("prompt_mode", "reasoning_effort", "prompt_cache_key"), str),
        "stop": Either(str),
        "response_format": Fields({}, {"type": str, "json_schema": dict}),
        "tools": Each(Fields({"function": _FUNCTION}, {"type": str})),
        "tool_choice": object,
        "guardrails": list,
    },
)
EMBEDDINGS = Fields(
    {"model": str, "input": Either(str)},
    {"metadata": dict, "output_dimension": int, "output_dtype": str, "encoding_format": str},
)

_TYPES = {"string": "string_type", "integer": "int_type", "number": "float_type", "boolean": "bool_type"}


def unprocessable(wrong: Mismatch) -> Refusal:
    """What the reader of requests says: its list is inside the message."""
    kinds = {
        "missing": ("missing", "Field required"),
        "unknown": ("extra_forbidden", "Extra inputs are not permitted"),
        "tag": (
            "union_tag_invalid",
            f"Input tag '{wrong.value}' does not match any of the expected tags: {wrong.expected}",
        ),
    }
    other = (_TYPES.get(wrong.expected, f"{wrong.expected}_type"), f"Input should be a valid {wrong.expected}")
    kind, told = kinds.get(wrong.kind, other)
    detail = {"type": kind, "loc": ["body", *wrong.place], "msg": told, "input": wrong.value}
    fields = {
        "object": "error",
        "message": {"detail": [detail]},
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    return Refusal(422, fields)


Complaints = Iterator[Refusal]


def _turns(body: Json) -> Complaints:
    messages = body["messages"]
    last = messages[-1] if messages else {"role": "nothing"}
    if last["role"] not in ("user", "tool") and not (last["role"] == "assistant" and last.get("prefix")):
        told = "Expected last role User or Tool (or Assistant with prefix True) for serving but got"
        yield wrong_order(f"{told} {last['role']}")
    before = "system"
    for message in messages:
        role = message["role"]
        if role == "tool" and before not in ("tool", "calls"):
            yield wrong_order(f"Unexpected role 'tool' after role '{before}'")
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            told = "Assistant message must have either content or tool_calls, but not none."
            yield refusal(400, "invalid_request_assistant_message", told, "3240")
        before = "calls" if message.get("tool_calls") else role


def _calls(body: Json) -> Complaints:
    open_calls: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            if (id := str(message.get("tool_call_id"))) not in open_calls:
                yield wrong_order(f"Unexpected tool call id {id} in tool results")
            open_calls = [call for call in open_calls if call != id]
            continue
        if open_calls:
            break
        for call in message.get("tool_calls") or ():
            yield from _call_names(call)
            open_calls.append(str(call.get("id")))
    if open_calls:
        yield wrong_order("Not the same number of function calls and responses")


def _call_names(call: Json) -> Complaints:
    if not re.fullmatch("[a-zA-Z0-9]{9}", str(call.get("id"))):
        told = f"Tool call id was {call.get('id')} but must be a-z, A-Z, 0-9, with a length of 9."
        yield refusal(400, "invalid_function_call", told, "3280")
    yield from _name(call["function"]["name"])


def _name(name: str) -> Complaints:
    if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", name):
        rule = "must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length of 64."
        yield refusal(400, "invalid_function_name", f"Function name was {name} but {rule}", "3290")


def _arguments(body: Json) -> Complaints:
    for tool in body.get("tools") or ():
        yield from _name(tool["function"]["name"])
    choice = body.get("tool_choice")
    if choice is not None and not isinstance(choice, dict) and choice not in ("auto", "none", "any", "required"):
        yield unprocessable(Mismatch("tag", ("tool_choice",), "'auto', 'none', 'any', 'required'", choice))
    if body.get("logprobs"):
        yield refusal(400, "invalid_request_invalid_args", "Logprobs are not enabled for this model", "3051")
    if not 0 <= (body.get("temperature") or 0) <= 1.5:
        yield unprocessable(Mismatch("type", ("temperature",), "number less than or equal to 1.5", body["temperature"]))


_RULES: tuple[Callable[[Json], Complaints], ...] = (_turns, _calls, _arguments)


def check(body: Any) -> Refusal | None:
    """Why the API would refuse a chat request, or None."""
    if wrong := first_mismatch(body, CHAT):
        return unprocessable(wrong)
    return next((found for rule in _RULES for found in rule(body)), None)
