"""A chat completion request, as clients ask for it: bytes in, a `Call` out, or what is wrong with them.

Only what the gateway or a dialect acts on is checked, by type and by the ranges of OpenAI's API description; null means
absent, as it does there, and a field that is not named here passes through untouched.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Any

from gateway.core.call import Call, Json
from gateway.surfaces.checks import (
    EXACT,
    Check,
    Unfit,
    an_object,
    boolean,
    fields,
    integer,
    kinds,
    list_of,
    model_of,
    number,
    read,
    string,
    string_or,
    string_or_object,
    strings,
)


def accept(raw: bytes, *, id: str, path_model: str | None, default_model: str | None) -> Call:
    """The call that these bytes ask for.

    The model is the body's, else the one in an Azure path, else the default one. Raises InvalidRequest, which names the
    field in `param`.
    """
    body = read(raw, _request)
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    model = model_of(body, path_model, default_model)
    return Call(id, "chat", model, stream, stream and options.get("include_usage") is True, body, len(raw))


_named = fields({"name": string}, "name")

# Some clients of OpenAI-shaped servers send an image's URL as a bare string, and those servers take it (recorded).
_image = string_or(fields({"url": string, "detail": string}, "url"))

_PARTS: dict[str, Check] = {
    "text": fields({"text": string}, "text"),
    "refusal": fields({"refusal": string}, "refusal"),
    "image_url": fields({"image_url": _image}, "image_url"),
    "input_audio": fields({"input_audio": fields({"data": string, "format": string}, "data")}, "input_audio"),
    "file": fields({"file": fields({"file_data": string, "file_id": string, "filename": string})}, "file"),
}
_content = string_or(list_of(kinds("type", _PARTS), "a string or a list of content parts"))

_TOOL_CALLS: dict[str, Check] = {
    "function": fields(
        {"id": string, "function": fields({"name": string, "arguments": string}, "name", "arguments")}, "function"
    ),
    "custom": fields({"id": string, "custom": fields({"name": string, "input": string}, "name")}, "custom"),
}

_instruction = fields({"content": _content, "name": string}, "content")

_assistant_fields = fields(
    {
        "content": _content,
        "name": string,
        "refusal": string,
        "audio": an_object,
        "tool_calls": list_of(kinds("type", _TOOL_CALLS, default="function")),
        "function_call": fields({"name": string, "arguments": string}, "name", "arguments"),
        "reasoning_content": string,
    }
)


_SAYING = ("content", "tool_calls", "function_call", "refusal", "audio")
_THINKING = ("reasoning_content", "reasoning", "reasoning_details")


def _assistant(message: Json) -> None:
    _assistant_fields(message)
    if all(message.get(name) is None for name in (*_SAYING, *_THINKING)):
        raise Unfit("is required, or `tool_calls`", ".content")


_ROLES: dict[str, Check] = {
    "developer": _instruction,
    "system": _instruction,
    "user": _instruction,
    "assistant": _assistant,
    "tool": fields({"content": _content, "tool_call_id": string}, "content", "tool_call_id"),
    "function": fields({"content": _content, "name": string}, "name"),
}


_SPEAKERS = ("user", "assistant", "system", "developer")


def _message(message: Any) -> None:
    if type(message) is not dict:
        an_object(message)
    role = message.get("role")
    # Nearly every message is a role and a text, and a long talk has hundreds: this is three times as fast.
    if len(message) == 2 and type(message.get("content")) is str and role in _SPEAKERS:
        return
    check = _ROLES.get(role) if type(role) is str else None
    if check is None:
        raise Unfit(f"must be one of {', '.join(_ROLES)}", ".role")
    check(message)


_list_of_messages = list_of(_message, "a list of messages")


def _messages(messages: Any) -> None:
    _list_of_messages(messages)
    if not messages:
        raise Unfit("must hold at least one message")


_function = fields({"name": string, "description": string, "parameters": an_object, "strict": boolean}, "name")
_TOOLS: dict[str, Check] = {
    "function": fields({"function": _function}, "function"),
    "custom": fields({"custom": _named}, "custom"),
}

KNOWN: dict[str, Check] = {
    "messages": _messages,
    "model": string,
    "stream": boolean,
    "stream_options": fields({"include_usage": boolean, "include_obfuscation": boolean}),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "n": integer(1, 128),
    # Ollama takes 0 for its own default (recorded), so whether 0 makes sense is left to the server.
    "max_tokens": integer(0, EXACT),
    "max_completion_tokens": integer(1, EXACT),
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "logit_bias": an_object,
    "seed": integer(-(2**63), 2**63 - 1),  # OpenAI's own range, wider than EXACT; a seed is never reckoned with
    "stop": string_or(list_of(string, "a string or a list of strings")),
    "tools": list_of(kinds("type", _TOOLS), "a list of tools"),
    "tool_choice": string_or_object,
    "parallel_tool_calls": boolean,
    "functions": list_of(_function, "a list of functions"),
    "function_call": string_or_object,
    "response_format": fields({"type": string, "json_schema": an_object}, "type"),
    "reasoning_effort": string,
    "verbosity": string,
    "modalities": strings,
    "audio": an_object,
    "prediction": an_object,
    "web_search_options": an_object,
    "service_tier": string,
    "store": boolean,
    "metadata": an_object,
    "user": string,
    "safety_identifier": string,
    "prompt_cache_key": string,
    "prompt_cache_retention": string,
}
"""Every field that is looked at. The rest is between the client and the server."""

_request = fields(KNOWN, "messages")
