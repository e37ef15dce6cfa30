"""A chat completion request, as clients ask for it: bytes in, a `Call` out, or what is wrong with them.

Only what the gateway or a dialect acts on is checked, by type and by the ranges of OpenAI's API description; null means
absent, as it does there, and a field that is not named here passes through untouched.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.core.call import Call, Json
from gateway.core.errors import InvalidRequest

DEPTH_LIMIT = 100
"""Levels of nesting. orjson reads 1024 but writes only 254, and nothing that people send comes near 100."""

NAME_LIMIT = 256
"""Characters of a model's name."""

EXACT = 2**53
"""Beyond this a number is not the same in every JSON reader (RFC 8259, section 6)."""

Check = Callable[[Any], None]
"""Looks at one value that is not null, and raises `_Unfit`."""


def accept(raw: bytes, *, id: str, path_model: str | None, default_model: str | None) -> Call:
    """The call that these bytes ask for.

    The model is the body's, else the one in an Azure path, else the default one. Raises InvalidRequest, which names the
    field in `param`.
    """
    body = _read(raw)
    try:
        _request(body)
    except _Unfit as unfit:
        raise InvalidRequest(f"`{unfit.param}` {unfit.problem}.", param=unfit.param) from None
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    return Call(
        id=id,
        endpoint="chat",
        model=_model(body, path_model, default_model),
        stream=stream,
        include_usage=stream and options.get("include_usage") is True,
        body=body,
        size=len(raw),
    )


def _read(raw: bytes) -> Json:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(_unreadable(raw, error)) from None
    if type(body) is not dict:
        raise InvalidRequest(f"The body must be a JSON object, not {_shown(body)}.")
    if _brackets(raw) > DEPTH_LIMIT and _deeper_than(DEPTH_LIMIT, body):  # what has few brackets cannot be deep
        raise InvalidRequest(f"The body is nested deeper than {DEPTH_LIMIT} levels.")
    return body


def _brackets(raw: bytes) -> int:
    """How many are opened. By what is missing without them: `replace` looks with memchr, `count` at each byte."""
    return 2 * len(raw) - len(raw.replace(b"{", b"")) - len(raw.replace(b"[", b""))


def _unreadable(raw: bytes, error: orjson.JSONDecodeError) -> str:
    if not raw.strip():
        return "The body is empty; send a JSON object with `model` and `messages`."
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return f"The body is not UTF-8: byte {wrong.start} cannot be read."
    return f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."


def _deeper_than(limit: int, value: object) -> bool:
    """Level by level and not by recursion, which is what deep nesting would break."""
    level = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent) if type(child) in (dict, list)]
        if not level:
            return False
    return True


def _children(value: Any) -> Any:
    return value.values() if type(value) is dict else value


def _model(body: Json, path_model: str | None, default_model: str | None) -> str:
    named = body.get("model")
    if not named or named == "default":
        named = path_model if path_model and path_model != "default" else default_model
    if not named:
        raise InvalidRequest("`model` is required: no default model is configured.", param="model")
    if len(named) > NAME_LIMIT or not named.isprintable():
        problem = f"must have at most {NAME_LIMIT} characters, all of them printable"
        raise InvalidRequest(f"`model` {problem}.", param="model")
    return named


class _Unfit(Exception):
    """A value is not what its place wants. The place is put together on the way out, so a good request pays nothing."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place

    def inside(self, place: str) -> _Unfit:
        self.place = place + self.place
        return self

    @property
    def param(self) -> str:
        """Such as `messages[2].content`."""
        return self.place.removeprefix(".")


def _shown(value: object) -> str:
    """A wrong value in a message: numbers as they are, of anything longer only its kind."""
    match value:
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return orjson.dumps(value).decode()


# Checks, and what they are made of. JSON has only exact types here, so `type(x) is int` is true of no boolean.


def _typed(wanted: str, *types: type) -> Check:
    def check(value: Any) -> None:
        if type(value) not in types:
            raise _Unfit(f"must be {wanted}, not {_shown(value)}")

    return check


def _within(low: float, high: float, wanted: str, *types: type) -> Check:
    def check(value: Any) -> None:
        if type(value) not in types or not low <= value <= high:
            raise _Unfit(f"must be {wanted}, not {_shown(value)}")

    return check


def _number(low: float, high: float) -> Check:
    return _within(low, high, f"a number from {low} to {high}", int, float)


def _integer(low: int, high: int) -> Check:
    return _within(low, high, f"an integer from {low} to {high}", int)


def _list_of(check: Check, wanted: str = "a list") -> Check:
    def check_list(value: Any) -> None:
        if type(value) is not list:
            raise _Unfit(f"must be {wanted}, not {_shown(value)}")
        for index, item in enumerate(value):
            try:
                check(item)
            except _Unfit as unfit:
                raise unfit.inside(f"[{index}]") from None

    return check_list


def _fields(table: Mapping[str, Check], *required: str) -> Check:
    """An object: the fields of the table where they are given, and those that must be."""

    def check_object(value: Any) -> None:
        if type(value) is not dict:
            raise _Unfit(f"must be an object, not {_shown(value)}")
        for name, item in value.items():
            if item is None or (check := table.get(name)) is None:
                continue
            try:
                check(item)
            except _Unfit as unfit:
                raise unfit.inside(f".{name}") from None
        for name in required:
            if value.get(name) is None:
                raise _Unfit("is required", f".{name}")

    return check_object


def _kinds(tag: str, table: Mapping[str, Check], default: str = "") -> Check:
    """An object that names its kind in `tag`. Kinds that are not in the table pass: servers have their own."""

    def check_kind(value: Any) -> None:
        _object(value)
        kind = default if value.get(tag) is None else value[tag]
        if type(kind) is not str or not kind:
            raise _Unfit("is required, as a string", f".{tag}")
        if check := table.get(kind):
            check(value)

    return check_kind


def _string_or(check: Check) -> Check:
    def check_either(value: Any) -> None:
        if type(value) is not str:
            check(value)

    return check_either


_string = _typed("a string", str)
_boolean = _typed("true or false", bool)
_object = _typed("an object", dict)
_string_or_object = _typed("a string or an object", str, dict)
_strings = _list_of(_string, "a list of strings")
_named = _fields({"name": _string}, "name")

# Some clients of OpenAI-shaped servers send an image's URL as a bare string, and those servers take it (recorded).
_image = _string_or(_fields({"url": _string, "detail": _string}, "url"))

_PARTS: dict[str, Check] = {
    "text": _fields({"text": _string}, "text"),
    "refusal": _fields({"refusal": _string}, "refusal"),
    "image_url": _fields({"image_url": _image}, "image_url"),
    "input_audio": _fields({"input_audio": _fields({"data": _string, "format": _string}, "data")}, "input_audio"),
    "file": _fields({"file": _fields({"file_data": _string, "file_id": _string, "filename": _string})}, "file"),
}
_content = _string_or(_list_of(_kinds("type", _PARTS), "a string or a list of content parts"))

_TOOL_CALLS: dict[str, Check] = {
    "function": _fields(
        {"id": _string, "function": _fields({"name": _string, "arguments": _string}, "name", "arguments")}, "function"
    ),
    "custom": _fields({"id": _string, "custom": _fields({"name": _string, "input": _string}, "name")}, "custom"),
}

_instruction = _fields({"content": _content, "name": _string}, "content")

_assistant_fields = _fields(
    {
        "content": _content,
        "name": _string,
        "refusal": _string,
        "audio": _object,
        "tool_calls": _list_of(_kinds("type", _TOOL_CALLS, default="function")),
        "function_call": _fields({"name": _string, "arguments": _string}, "name", "arguments"),
        "reasoning_content": _string,
    }
)


_SAYING = ("content", "tool_calls", "function_call", "refusal", "audio")
_THINKING = ("reasoning_content", "reasoning", "reasoning_details")


def _assistant(message: Json) -> None:
    _assistant_fields(message)
    if all(message.get(name) is None for name in (*_SAYING, *_THINKING)):
        raise _Unfit("is required, or `tool_calls`", ".content")


_ROLES: dict[str, Check] = {
    "developer": _instruction,
    "system": _instruction,
    "user": _instruction,
    "assistant": _assistant,
    "tool": _fields({"content": _content, "tool_call_id": _string}, "content", "tool_call_id"),
    "function": _fields({"content": _content, "name": _string}, "name"),
}


_SPEAKERS = ("user", "assistant", "system", "developer")


def _message(message: Any) -> None:
    if type(message) is not dict:
        _object(message)
    role = message.get("role")
    # Nearly every message is a role and a text, and a long talk has hundreds: this is three times as fast.
    if len(message) == 2 and type(message.get("content")) is str and role in _SPEAKERS:
        return
    check = _ROLES.get(role) if type(role) is str else None
    if check is None:
        raise _Unfit(f"must be one of {', '.join(_ROLES)}", ".role")
    check(message)


_list_of_messages = _list_of(_message, "a list of messages")


def _messages(messages: Any) -> None:
    _list_of_messages(messages)
    if not messages:
        raise _Unfit("must hold at least one message")


_function = _fields({"name": _string, "description": _string, "parameters": _object, "strict": _boolean}, "name")
_TOOLS: dict[str, Check] = {
    "function": _fields({"function": _function}, "function"),
    "custom": _fields({"custom": _named}, "custom"),
}

KNOWN: dict[str, Check] = {
    "messages": _messages,
    "model": _string,
    "stream": _boolean,
    "stream_options": _fields({"include_usage": _boolean, "include_obfuscation": _boolean}),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "n": _integer(1, 128),
    # Ollama takes 0 for its own default (recorded), so whether 0 makes sense is left to the server.
    "max_tokens": _integer(0, EXACT),
    "max_completion_tokens": _integer(1, EXACT),
    "logprobs": _boolean,
    "top_logprobs": _integer(0, 20),
    "logit_bias": _object,
    "seed": _integer(-(2**63), 2**63 - 1),  # OpenAI's own range, wider than EXACT; a seed is never reckoned with
    "stop": _string_or(_list_of(_string, "a string or a list of strings")),
    "tools": _list_of(_kinds("type", _TOOLS), "a list of tools"),
    "tool_choice": _string_or_object,
    "parallel_tool_calls": _boolean,
    "functions": _list_of(_function, "a list of functions"),
    "function_call": _string_or_object,
    "response_format": _fields({"type": _string, "json_schema": _object}, "type"),
    "reasoning_effort": _string,
    "verbosity": _string,
    "modalities": _strings,
    "audio": _object,
    "prediction": _object,
    "web_search_options": _object,
    "service_tier": _string,
    "store": _boolean,
    "metadata": _object,
    "user": _string,
    "safety_identifier": _string,
    "prompt_cache_key": _string,
    "prompt_cache_retention": _string,
}
"""Every field that is looked at. The rest is between the client and the server."""

_request = _fields(KNOWN, "messages")
