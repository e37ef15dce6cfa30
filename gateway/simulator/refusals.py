"""
What OpenAI's API refuses, in its own words.

The envelope is `{"error": {"message", "type", "param", "code"}}`; statuses and codes as in
https://platform.openai.com/docs/guides/error-codes. Only the first complaint about a request is told, as the API does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gateway.core.call import Json
from gateway.simulator.http import Refusal
from gateway.simulator.words import texts

ROLES = ("system", "assistant", "user", "function", "tool", "developer")


def refusal(
    status: int, message: str, *, type: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Refusal:
    """An error in the envelope."""
    return Refusal(status, {"error": {"message": message, "type": type, "param": param, "code": code}})


UNREADABLE = refusal(
    400,
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library"
    " correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
)
NO_KEY = refusal(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth"
    " (i.e. Authorization: Bearer YOUR_KEY).",
)


def wrong_key(key: str) -> Refusal:
    """The API shows a key's ends and hides what is between them."""
    shown = f"{key[:8]}{'*' * max(len(key) - 12, 4)}{key[-4:]}" if len(key) > 12 else "*" * len(key)
    told = f"Incorrect API key provided: {shown}. You can find your API key at https://platform.openai.com/account/api-keys."
    return refusal(401, told, code="invalid_api_key")


def no_such_model(name: str) -> Refusal:
    """A model that is not there, or not for this key."""
    told = f"The model `{name}` does not exist or you do not have access to it."
    return refusal(404, told, code="model_not_found")


def no_such_url(method: str, path: str) -> Refusal:
    """A path that the API does not have."""
    return refusal(404, f"Invalid URL ({method} {path})")


def no_such_method(method: str, path: str) -> Refusal:
    """A path that wants another method."""
    return refusal(405, f"Not allowed to {method} on {path}.")


REFUSALS: dict[str, Refusal] = {
    "400": refusal(400, "Invalid value for 'content': expected a string, got null.", param="messages.[0].content"),
    "401": wrong_key("sk-proj-simulated-simulated-key"),
    "403": refusal(
        403,
        "Country, region, or territory not supported",
        type="request_forbidden",
        code="unsupported_country_region_territory",
    ),
    "404": no_such_model("simulated"),
    "429": refusal(
        429,
        "Rate limit reached for this model in organization org-simulated on requests per min (RPM): Limit 500,"
        " Used 500, Requested 1. Visit https://platform.openai.com/account/rate-limits to learn more.",
        type="requests",
        code="rate_limit_exceeded",
    ),
    "500": refusal(
        500, "The server had an error while processing your request. Sorry about that!", type="server_error"
    ),
    "503": refusal(503, "The engine is currently overloaded, please try again later", type="server_error"),
    "insufficient-quota": refusal(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
        code="insufficient_quota",
    ),
    "context-length": refusal(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens."
        " Please reduce the length of the messages.",
        param="messages",
        code="context_length_exceeded",
    ),
    "content-filter": refusal(
        400,
        "The response was filtered due to the prompt triggering our content management policy.",
        param="prompt",
        code="content_filter",
    ),
}
"""Errors that can be asked for by name; any other status from 400 to 599 is answered too."""


def by_name(name: str) -> Refusal:
    """The refusal of that name, or for that status."""
    return REFUSALS.get(name) or refusal(int(name), "The simulator was asked to fail.", type="server_error")


def check(body: Any) -> tuple[int, Json] | None:
    """The status and the error with which the API would refuse a chat request, or None where it would serve it."""
    if not isinstance(body, dict):
        return UNREADABLE.status, UNREADABLE.envelope
    found = next((refused for rule in _RULES for refused in rule(body)), None)
    return None if found is None else (found.status, found.envelope)


Complaints = Iterator[Refusal]


def _missing(param: str) -> Refusal:
    return refusal(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def _wrong_type(param: str, expected: str, value: Any) -> Refusal:
    told = f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead."
    return refusal(400, told, param=param, code="invalid_type")


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        list: "an array",
        dict: "an object",
    }
    return kinds.get(type(value), "null")


def _model(body: Json) -> Complaints:
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield refusal(400, "you must provide a model parameter")


def _messages(body: Json) -> Complaints:
    messages = body.get("messages")
    if messages is None:
        yield _missing("messages")
    elif not isinstance(messages, list):
        yield _wrong_type("messages", "an array of objects", messages)
    elif not messages:
        wanted = "Expected an array with minimum length 1, but got an empty array instead."
        told = f"Invalid 'messages': empty array. {wanted}"
        yield refusal(400, told, param="messages", code="empty_array")


def _each_message(body: Json) -> Complaints:
    for place, message in enumerate(body["messages"]):
        param = f"messages[{place}]"
        if not isinstance(message, dict):
            yield _wrong_type(param, "an object", message)
        elif (role := message.get("role")) is None:
            yield _missing(f"{param}.role")
        elif role not in ROLES:
            supported = ", ".join(f"'{name}'" for name in ROLES[:-1]) + f", and '{ROLES[-1]}'"
            told = f"Invalid value: '{role}'. Supported values are: {supported}."
            yield refusal(400, told, param=f"{param}.role", code="invalid_value")


def _tool_results(body: Json) -> Complaints:
    """Each call of an assistant is answered right after it, and nothing else is."""
    asked: set[str] = set()
    may_answer = False
    for place, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if not may_answer:
                # The misspelling is the API's own.
                told = (
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                    " 'tool_calls'."
                )
                yield refusal(400, told, param=f"messages.[{place}].role")
            asked.discard(str(message.get("tool_call_id")))
            continue
        if asked:
            break
        calls = message.get("tool_calls")
        asked = {str(call.get("id")) for call in calls if isinstance(call, dict)} if isinstance(calls, list) else set()
        may_answer = bool(asked)
    if asked:
        told = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            f" 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(sorted(asked))}"
        )
        yield refusal(400, told, param="messages")


def _tools(body: Json) -> Complaints:
    tools = body.get("tools")
    if tools is None:
        for field in ("tool_choice", "parallel_tool_calls"):
            if body.get(field) is not None:
                told = f"Invalid value for '{field}': '{field}' is only allowed when 'tools' are specified."
                yield refusal(400, told, param=field)
    elif not isinstance(tools, list):
        yield _wrong_type("tools", "an array of objects", tools)
    else:
        for place, tool in enumerate(tools):
            yield from _tool(f"tools[{place}]", tool)


def _tool(param: str, tool: Any) -> Complaints:
    if not isinstance(tool, dict):
        yield _wrong_type(param, "an object", tool)
    elif tool.get("type") is None:
        yield _missing(f"{param}.type")
    elif tool["type"] == "function":
        function = tool.get("function")
        if not isinstance(function, dict):
            yield _missing(f"{param}.function")
        elif not isinstance(function.get("name"), str):
            yield _missing(f"{param}.function.name")


BOUNDS: dict[str, tuple[str, float, float]] = {
    "temperature": ("decimal", 0, 2),
    "top_p": ("decimal", 0, 1),
    "presence_penalty": ("decimal", -2, 2),
    "frequency_penalty": ("decimal", -2, 2),
    "n": ("integer", 1, 128),
    "max_tokens": ("integer", 1, 2**31),
    "max_completion_tokens": ("integer", 1, 2**31),
}


def _numbers(body: Json) -> Complaints:
    for field, (kind, low, high) in BOUNDS.items():
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else (int, float)):
            yield _wrong_type(field, "an integer" if kind == "integer" else "a decimal", value)
        elif not low <= value <= high:
            side, sign, bound = ("below min", ">=", low) if value < low else ("above max", "<=", high)
            wanted = f"Expected a value {sign} {bound}, but got {value} instead."
            told = f"Invalid '{field}': {kind} {side}imum value. {wanted}"
            yield refusal(400, told, param=field, code=f"{kind}_{side.replace(' ', '_')}_value")


def _stream_options(body: Json) -> Complaints:
    if body.get("stream_options") is not None and body.get("stream") is not True:
        told = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        yield refusal(400, told, param="stream_options")


def _json_mode(body: Json) -> Complaints:
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_object":
        return
    if not any("json" in text.lower() for message in body["messages"] for text in texts(message)):
        told = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        yield refusal(400, told, param="messages")


_RULES: tuple[Callable[[Json], Complaints], ...] = (
    _model,
    _messages,
    _each_message,
    _tool_results,
    _tools,
    _numbers,
    _stream_options,
    _json_mode,
)
"""In this order: each rule relies on those before it."""


def check_embeddings(body: Any) -> Complaints:
    """What is wrong with a request for embeddings, as far as it matters here."""
    if not isinstance(body, dict):
        yield UNREADABLE
        return
    yield from _model(body)
    given = body.get("input")
    if given is None:
        yield _missing("input")
    elif not _embeddable(given):
        yield refusal(
            400, "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
        )
    size = body.get("dimensions")
    if size is not None and (not isinstance(size, int) or size < 1):
        yield refusal(400, f"{size} is less than the minimum of 1 - 'dimensions'")


def _embeddable(given: Any) -> bool:
    """A text, several, the tokens of one, or the tokens of several."""
    if isinstance(given, str) or not isinstance(given, list):
        return isinstance(given, str)
    kinds = {type(item) for item in given}
    tokens = (token for item in given if isinstance(item, list) for token in item)
    return len(kinds) == 1 and kinds <= {str, int, list} and all(isinstance(token, int) for token in tokens)
