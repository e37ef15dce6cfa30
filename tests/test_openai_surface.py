"""What clients may ask, and what they are told when it cannot be read."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json
from gateway.core.errors import InvalidRequest
from gateway.surfaces.checks import DEPTH_LIMIT, NAME_LIMIT
from gateway.surfaces.openai_chat import KNOWN, accept

HELLO: Json = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}

WRONG_VALUES: dict[str, list[Any]] = {
    "messages": [None, "hi", {}, [], 1],
    "model": [1, ["gpt-4o"], {}, True],
    "stream": ["true", 1, {}],
    "stream_options": [True, "usage", []],
    "temperature": ["0.5", -0.1, 2.1, True, []],
    "top_p": ["1", -0.1, 1.1, False],
    "frequency_penalty": [-2.1, 2.1, "0"],
    "presence_penalty": [-2.1, 2.1, {}],
    "n": [0, 129, 1.5, True, "1"],
    "max_tokens": [-1, 2**53 + 1, 1.5, 1e300, "10"],
    "max_completion_tokens": [0, -1, 2**53 + 1, 1e300, True],
    "logprobs": [1, "yes"],
    "top_logprobs": [-1, 21, 0.5],
    "logit_bias": [[], "x", 1],
    "seed": [1.5, "1", 2**63],
    "stop": [1, {}, True],
    "tools": [{}, "search", 1],
    "tool_choice": [1, [], True],
    "parallel_tool_calls": ["true", 1],
    "functions": [{}, "f"],
    "function_call": [1, []],
    "response_format": ["json", [], 1],
    "reasoning_effort": [1, {}],
    "verbosity": [1, []],
    "modalities": ["text", {}],
    "audio": ["alloy", []],
    "prediction": ["x", []],
    "web_search_options": [True, []],
    "service_tier": [1, {}],
    "store": ["true", 0],
    "metadata": ["x", []],
    "user": [1, {}],
    "safety_identifier": [1, []],
    "prompt_cache_key": [1, []],
    "prompt_cache_retention": [24, {}],
}

WRONG_INSIDE: dict[str, Json] = {
    "messages[0]": {"messages": ["Hello"]},
    "messages[1].role": {"messages": [*HELLO["messages"], {"content": "x"}]},
    "messages[0].role": {"messages": [{"role": "robot", "content": "x"}]},
    "messages[0].content": {"messages": [{"role": "user", "content": 1}]},
    "messages[0].content[1]": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, "y"]}]},
    "messages[0].content[0].type": {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
    "messages[0].content[0].text": {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
    "messages[0].content[0].image_url": {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    "messages[0].content[0].image_url.url": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]}]
    },
    "messages[0].tool_call_id": {"messages": [{"role": "tool", "content": "4"}]},
    "messages[0].name": {"messages": [{"role": "function", "content": "4"}]},
    "messages[0].tool_calls": {"messages": [{"role": "assistant", "tool_calls": {}}]},
    "messages[0].tool_calls[0].function": {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
    "messages[0].tool_calls[0].function.arguments": {
        "messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}]}]
    },
    "stream_options.include_usage": {"stream_options": {"include_usage": "yes"}},
    "stop[1]": {"stop": ["a", 1]},
    "tools[0].type": {"tools": [{"function": {"name": "f"}}]},
    "tools[0].function": {"tools": [{"type": "function"}]},
    "tools[1].function.name": {
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {}}]
    },
    "functions[0].name": {"functions": [{"description": "x"}]},
    "response_format.type": {"response_format": {}},
    "modalities[0]": {"modalities": [1]},
}

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def asked(default_model: str | None = None, path_model: str | None = None, **fields: Any) -> Call:
    raw = orjson.dumps({**HELLO, **fields})
    return accept(raw, id="req_1", path_model=path_model, default_model=default_model)


def refused(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        accept(raw, id="req_1", path_model=None, default_model=None)
    assert caught.value.status == 400
    return caught.value


def test_a_request_becomes_a_call() -> None:
    raw = orjson.dumps(HELLO)
    call = accept(raw, id="req_1", path_model=None, default_model=None)
    assert call == Call("req_1", "chat", "gpt-4o", False, False, HELLO, len(raw))


def test_fields_the_gateway_does_not_know_are_kept() -> None:
    extra: Json = {
        "top_k": 3,
        "venice_parameters": {"x": [1, None]},
        "messages": [{**HELLO["messages"][0], "cache": True}],
    }
    assert asked(**extra).body == {**HELLO, **extra}


def test_null_is_the_same_as_nothing() -> None:
    nulls: Json = {name: None for name in KNOWN if name not in ("messages", "model")}
    assert asked(**nulls).stream is False


@pytest.mark.parametrize(
    ("stream", "options", "include_usage"),
    [
        (True, {"include_usage": True}, True),
        (True, {"include_usage": False}, False),
        (True, {}, False),
        (True, None, False),
        (False, {"include_usage": True}, False),
        (None, {"include_usage": True}, False),
    ],
)
def test_usage_is_wanted_only_where_a_stream_asks_for_it(
    stream: bool | None, options: Json | None, include_usage: bool
) -> None:
    assert asked(stream=stream, stream_options=options).include_usage is include_usage


@pytest.mark.parametrize(
    ("body", "path", "default", "model"),
    [
        ("gpt-4o", "deployment", "fallback", "gpt-4o"),
        (None, "deployment", "fallback", "deployment"),
        ("", None, "fallback", "fallback"),
        (None, None, "fallback", "fallback"),
        ("default", None, "fallback", "fallback"),
        ("default", "default", "fallback", "fallback"),
    ],
)
def test_the_model_is_the_bodys_then_the_paths_then_the_default(
    body: str | None, path: str | None, default: str, model: str
) -> None:
    assert asked(model=body, path_model=path, default_model=default).model == model


@pytest.mark.parametrize("name", [None, "", "default"])
def test_a_request_without_a_model_is_refused_where_there_is_no_default(name: str | None) -> None:
    error = refused(orjson.dumps({**HELLO, "model": name}))
    assert error.param == "model"
    assert "no default model" in error.message


@pytest.mark.parametrize("name", ["x" * (NAME_LIMIT + 1), "a\nb", "a\x00", "a\x7f", "a\u2028b"])
def test_a_model_name_is_short_and_printable(name: str) -> None:
    assert refused(orjson.dumps({**HELLO, "model": name})).param == "model"
    with pytest.raises(InvalidRequest):
        asked(model=None, path_model=name)


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.3-70B", "qwen3:0.6b", "accounts/a/models/b", "模型", "x" * 256])
def test_model_names_as_vendors_write_them_are_taken(name: str) -> None:
    assert asked(model=name).model == name


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b'{"model": "m",\n "messages": oops}', "line 2, column 14"),
        (b'{"model": "m"', "not valid JSON"),
        (b'{"model": "\xff"}', "byte 11"),
        (b'{"model": "\\ud800"}', "not valid JSON"),
        (b'{"temperature": NaN}', "not valid JSON"),
        (b'{"temperature": 1e999}', "not valid JSON"),
        (b"[]", "must be a JSON object, not a list"),
        (b"null", "must be a JSON object, not null"),
        (b'"messages"', "must be a JSON object, not a string"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_explained(raw: bytes, says: str) -> None:
    assert says in refused(raw).message


def nested(levels: int) -> bytes:
    """A body of this many levels: itself, and lists in it."""
    inside = b"[" * (levels - 1) + b"]" * (levels - 1)
    return b'{"model":"m","messages":[{"role":"user","content":"x"}],"extra":' + inside + b"}"


def test_a_body_may_be_nested_only_so_deep() -> None:
    accept(nested(DEPTH_LIMIT), id="req_1", path_model=None, default_model=None)
    assert "100 levels" in refused(nested(DEPTH_LIMIT + 1)).message


def test_many_brackets_are_not_depth() -> None:
    messages = [{"role": "user", "content": "[{" * 500}]
    assert asked(extra=[{"a": []}] * 500, messages=messages).body["messages"] == messages


def test_every_field_that_is_looked_at_has_wrong_values_here() -> None:
    assert WRONG_VALUES.keys() == KNOWN.keys()


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in WRONG_VALUES for value in WRONG_VALUES[field]]
)
def test_a_wrong_value_is_refused_with_the_fields_name(field: str, value: Any) -> None:
    error = refused(orjson.dumps({**HELLO, field: value}))
    assert error.param == field
    assert f"`{field}`" in error.message


@pytest.mark.parametrize("param", WRONG_INSIDE)
def test_a_wrong_value_deep_inside_is_refused_with_its_place(param: str) -> None:
    assert refused(orjson.dumps({**HELLO, **WRONG_INSIDE[param]})).param == param


def test_a_message_says_what_was_wanted_and_what_came() -> None:
    error = refused(orjson.dumps({**HELLO, "temperature": 3}))
    assert error.message == "`temperature` must be a number from 0 to 2, not 3."


def test_a_clients_text_is_not_repeated_in_an_error() -> None:
    error = refused(orjson.dumps({**HELLO, "temperature": "my secret"}))
    assert "my secret" not in error.message


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("temperature", [0, 2, 0.5]),
        ("top_p", [0, 1]),
        ("n", [1, 128]),
        ("max_tokens", [0, 1, 2**53]),
        ("seed", [-(2**63), 2**63 - 1]),
        ("top_logprobs", [0, 20]),
        ("stop", ["x", ["x"], []]),
        ("tool_choice", ["any", {"type": "function", "function": {"name": "f"}}]),
        ("tools", [[], [{"type": "openrouter:web_search"}], [{"type": "custom", "custom": {"name": "c"}}]]),
    ],
)
def test_values_at_the_edge_are_taken(field: str, values: list[Any]) -> None:
    for value in values:
        assert asked(**{field: value}).body[field] == value


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "assistant", "refusal": "No."},
        {"role": "assistant", "audio": {"id": "audio_1"}},
        {"role": "assistant", "content": [], "reasoning_content": "Hm."},
        {"role": "assistant", "content": ""},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "4"}]},
        {"role": "function", "name": "f", "content": None},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://example.com/a.png"}]},
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}]},
        {"role": "user", "content": "x", "name": None, "tool_calls": None},
    ],
)
def test_messages_of_every_kind_are_taken(message: Json) -> None:
    assert asked(messages=[message]).body["messages"] == [message]


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant", "tool"])
def test_a_message_without_words_is_refused(role: str) -> None:
    error = refused(orjson.dumps({**HELLO, "messages": [{"role": role, "content": None, "tool_call_id": "a"}]}))
    assert error.param == "messages[0].content"


def outcome(raw: bytes) -> Call | InvalidRequest:
    """What comes of these bytes; anything but the two is a failure of the test."""
    try:
        return accept(raw, id="req_1", path_model=None, default_model=None)
    except InvalidRequest as error:
        return error


@given(st.binary(max_size=64))
def test_no_bytes_break_the_door(raw: bytes) -> None:
    assert isinstance(outcome(raw), InvalidRequest)


@given(st.dictionaries(st.sampled_from([*KNOWN, "other"]), ANY_JSON, max_size=6))
def test_no_json_breaks_the_door(fields: Json) -> None:
    match outcome(orjson.dumps({**HELLO, **fields})):
        case Call(body=body):
            assert body == {**HELLO, **fields}
        case error:
            assert error.param in KNOWN or re.match(r"\w+[.[]", error.param or "")
            assert orjson.dumps(error.envelope())


MESSAGE = st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name", "type"]), ANY_JSON)


@given(st.lists(MESSAGE, max_size=3), st.sampled_from(["user", "assistant", "tool"]))
def test_no_messages_break_the_door(messages: list[Json], role: str) -> None:
    messages = [{"role": role, **message} for message in messages]
    match outcome(orjson.dumps({**HELLO, "messages": messages})):
        case Call(body=body):
            assert body["messages"] == messages
        case error:
            assert error.param is not None
            assert error.param.startswith("messages")


@given(st.sampled_from(["temperature", "top_p", "max_tokens", "n", "seed"]), st.integers(-(2**63), 2**63) | st.floats())
def test_numbers_that_are_taken_are_finite_and_bounded(field: str, value: float) -> None:
    said = outcome(orjson.dumps(HELLO)[:-1] + f',"{field}":{value!r}}}'.encode())
    if isinstance(said, Call):
        taken = said.body[field]
        assert taken == value
        assert math.isfinite(taken)
        assert field == "seed" or 0 <= taken <= 2**53
