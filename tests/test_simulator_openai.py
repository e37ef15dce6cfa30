"""What the simulator says: its answers, its examples, its refusals."""

from __future__ import annotations

import copy
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.simulator import openai
from gateway.simulator.words import example, pieces

SHARED = Path(__file__).resolve().parents[2] / "shared"
SCHEMAS = SHARED / "specs/openai/openai-sdk-3.52.0.jsonschema.json"
RECORDINGS = SHARED / "recordings/openai.chat.jsonl.gz"
needs_shared = pytest.mark.skipif(not SCHEMAS.is_file(), reason="the shared schemas are not here")

CITY: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
    "required": ["city", "days"],
}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
TIME: Any = {"type": "function", "function": {"name": "time"}}


def asking(text: Any = "hello there", **fields: Any) -> Json:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}


def answered(**fields: Any) -> Json:
    return openai.answer(asking(**fields), created=1, id="chatcmpl-1")


def said(**fields: Any) -> Any:
    return answered(**fields)["choices"][0]["message"]["content"]


def called(**fields: Any) -> list[str]:
    calls = answered(**fields)["choices"][0]["message"].get("tool_calls", [])
    return [call["function"]["name"] for call in calls]


def chunks(**fields: Any) -> list[Json]:
    told = openai.frames(asking(stream=True, **fields), created=1, id="chatcmpl-1")
    assert told[-1] == b"data: [DONE]\n\n"
    return [orjson.loads(frame.removeprefix(b"data: ")) for frame in told[:-1]]


def put_together(streamed: list[Json], choice: int = 0) -> tuple[str, list[tuple[str, str, str]], str]:
    """A choice's text, its calls (id, name, arguments) and why it stopped."""
    text, finish = "", ""
    calls: dict[int, list[str]] = {}
    for part in (part for chunk in streamed for part in chunk["choices"] if part["index"] == choice):
        text += part["delta"].get("content") or ""
        finish = part["finish_reason"] or finish
        for call in part["delta"].get("tool_calls", []):
            known = calls.setdefault(call["index"], [call.get("id"), call["function"].get("name"), ""])
            known[2] += call["function"]["arguments"]
    return text, [(id, name, arguments) for id, name, arguments in calls.values()], finish


# What is said


def test_it_says_back_what_the_user_said_last() -> None:
    asked = asking("first")
    asked["messages"] += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "second thought"}]
    answer = openai.answer(asked, created=1, id="x")
    assert answer["choices"][0]["message"]["content"] == "You said: second thought"


def test_images_are_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert said(text=[{"type": "text", "text": "What is this?"}, image]) == "You said: What is this? (1 image)"
    assert answered(text=[image, image])["usage"]["prompt_tokens"] == 170


def test_tools_are_called_with_arguments_that_their_schemas_allow() -> None:
    calls = answered(tools=[WEATHER, TIME])["choices"][0]["message"]["tool_calls"]
    assert [orjson.loads(call["function"]["arguments"]) for call in calls] == [{"city": "example", "days": 3}, {}]
    assert len({call["id"] for call in calls}) == 2


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["weather", "time"]),
        ({"parallel_tool_calls": False}, ["weather"]),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "required"}, ["weather", "time"]),
        ({"tool_choice": {"type": "function", "function": {"name": "time"}}}, ["time"]),
    ],
)
def test_the_client_decides_which_tools_are_called(fields: Json, names: list[str]) -> None:
    assert called(tools=[WEATHER, TIME], **fields) == names


def test_results_of_tools_are_quoted_and_no_tool_is_called_again() -> None:
    asked = asking("what is the weather?", tools=[WEATHER])
    call = openai.answer(asked, created=1, id="x")["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "it rains"}
    asked["messages"] += [call, result]
    assert openai.check(asked) is None
    told = openai.answer(asked, created=1, id="x")["choices"][0]
    assert (told["message"]["content"], told["finish_reason"]) == ("The tools answered: it rains", "stop")


def test_a_new_question_has_its_tools_called_again() -> None:
    asked = asking(tools=[WEATHER])
    call = openai.answer(asked, created=1, id="x")["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "it rains"}
    asked["messages"] += [call, result, {"role": "user", "content": "and tomorrow?"}]
    assert openai.answer(asked, created=1, id="x")["choices"][0]["finish_reason"] == "tool_calls"


def test_a_call_that_was_asked_for_by_name_ends_with_stop() -> None:
    choice: Json = {"type": "function", "function": {"name": "time"}}
    assert answered(tools=[WEATHER, TIME], tool_choice=choice)["choices"][0]["finish_reason"] == "stop"


def test_a_json_schema_is_answered_with_json_that_it_allows() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "trip", "schema": CITY}}
    jsonschema.validate(orjson.loads(said(response_format=wanted)), CITY)


def test_an_answer_stops_at_the_limit_of_tokens() -> None:
    choice = answered(text="one two three", max_completion_tokens=3)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You said: one", "length")


def test_an_answer_stops_before_a_stop_sequence() -> None:
    assert said(text="one two three", stop=["nowhere", " two"]) == "You said: one"


@pytest.mark.parametrize(("words", "cached"), [(1023, 0), (1024, 896), (1025, 1024), (2000, 1920)])
def test_of_a_long_prompt_all_but_its_end_comes_from_the_cache(words: int, cached: int) -> None:
    usage = answered(text="word " * words)["usage"]
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (words, cached)


def test_each_choice_is_charged() -> None:
    one, three = answered(), answered(n=3)
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert three["usage"]["completion_tokens"] == 3 * one["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    "fields",
    [{}, {"text": "a much longer text than before"}, {"tools": [WEATHER, TIME]}, {"n": 2}, {"max_tokens": 2}],
    ids=["short", "long", "tools", "choices", "limited"],
)
def test_streamed_and_whole_answers_tell_the_same_story(fields: Json) -> None:
    whole, streamed = answered(**fields), chunks(stream_options={"include_usage": True}, **fields)
    for choice in whole["choices"]:
        message = choice["message"]
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", [])
        ]
        assert put_together(streamed, choice["index"]) == (message["content"] or "", calls, choice["finish_reason"])
    assert streamed[-1]["usage"] == whole["usage"]


def test_choices_take_turns_in_a_stream() -> None:
    assert [chunk["choices"][0]["index"] for chunk in chunks(text="hi", n=2)] == [0, 1] * 5


def test_each_output_chunk_is_one_token() -> None:
    asked = asking(tools=[WEATHER, TIME], stream=True)
    assert (
        openai.stream(asked, created=1, id="x").output
        == openai.answer(asked, created=1, id="x")["usage"]["completion_tokens"]
    )


def test_usage_is_streamed_only_if_asked_for() -> None:
    assert all("usage" not in chunk for chunk in chunks())
    *others, last = chunks(stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in others)
    assert last["choices"] == []


def test_padding_can_be_declined() -> None:
    assert all("obfuscation" in chunk for chunk in chunks())
    assert all("obfuscation" not in chunk for chunk in chunks(stream_options={"include_obfuscation": False}))


@given(st.text())
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


# Examples of schemas

leaves = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 12, "maxLength": 14},
        {"type": "integer", "minimum": 7, "multipleOf": 5},
        {"type": "integer", "exclusiveMaximum": -3},
        {"type": "number", "exclusiveMinimum": 0.25, "maximum": 0.5},
        {"type": ["null", "boolean"]},
        {"enum": ["red", "green"]},
        {"const": 4},
        {"$ref": "#/$defs/tree"},
    ]
)
TREE: Json = {
    "type": "object",
    "properties": {
        "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
        "leaves": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
    },
    "required": ["left", "leaves"],
    "additionalProperties": False,
}


def larger(schemas: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    properties = st.dictionaries(st.text(max_size=5), schemas, max_size=4)
    return st.one_of(
        properties.map(lambda named: {"type": "object", "properties": named, "required": sorted(named)}),
        st.builds(lambda item, least: {"type": "array", "items": item, "minItems": least}, schemas, st.integers(0, 3)),
        st.lists(schemas, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
        schemas.map(lambda schema: {"allOf": [schema]}),
    )


@given(st.recursive(leaves, larger, max_leaves=8))
def test_the_example_of_a_schema_is_valid(schema: Json) -> None:
    schema = {**schema, "$defs": {"tree": TREE}}
    jsonschema.validate(orjson.loads(example(schema)), schema)


# What is refused

BAD_REQUESTS: list[tuple[Any, str | None, str | None]] = [
    ([], None, None),
    ({"messages": [{"role": "user", "content": "hi"}]}, None, None),
    ({"model": "m"}, "messages", "missing_required_parameter"),
    ({"model": "m", "messages": "hi"}, "messages", "invalid_type"),
    ({"model": "m", "messages": []}, "messages", "empty_array"),
    ({"model": "m", "messages": [{"role": "robot"}]}, "messages[0].role", "invalid_value"),
    (asking(temperature=99.0), "temperature", "decimal_above_max_value"),
    (asking(max_tokens=0), "max_tokens", "integer_below_min_value"),
    (asking(n="2"), "n", "invalid_type"),
    (asking(tool_choice="auto"), "tool_choice", None),
    (asking(tools=[{"type": "function", "function": {}}]), "tools[0].function.name", "missing_required_parameter"),
    (asking(stream_options={"include_usage": True}), "stream_options", None),
    (asking(response_format={"type": "json_object"}), "messages", None),
    ({"model": "m", "messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}, "messages.[0].role", None),
    ({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages", None),
]


@pytest.mark.parametrize(("body", "param", "code"), BAD_REQUESTS)
def test_what_the_api_refuses_is_refused_in_its_words(body: Any, param: str | None, code: str | None) -> None:
    refused = openai.check(body)
    assert refused is not None
    status, envelope = refused
    assert (status, envelope["error"]["param"], envelope["error"]["code"]) == (400, param, code)
    assert envelope["error"]["type"] == "invalid_request_error"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "content",
    "tool_calls",
    "tools",
    "tool_choice",
    "response_format",
    "stop",
    "stream_options",
    "n",
    "max_tokens",
]


@given(st.dictionaries(st.sampled_from(FIELDS), values), values, values)
def test_no_request_breaks_it(fields: Json, content: Any, parameters: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    for body in (asking(content, **fields), asking(content, **{"tools": [tool], **fields})):
        if openai.check(body) is None:
            openai.answer(body, created=1, id="x")
            openai.frames(body, created=1, id="x")


def test_a_request_is_left_as_it_was() -> None:
    asked = asking(tools=[WEATHER], n=2, stream=True)
    before = copy.deepcopy(asked)
    openai.frames(asked, created=1, id="x")
    assert asked == before


# Against the shared schemas and recordings


def recorded() -> Iterator[Json]:
    with gzip.open(RECORDINGS) as lines:
        for line in lines:
            recording = orjson.loads(line)
            if recording["response"]["status"] == 200 and recording["request"]["body"]:
                yield recording


@needs_shared
@pytest.mark.recordings
def test_answers_to_recorded_requests_are_what_the_official_schemas_describe() -> None:
    schemas = orjson.loads(SCHEMAS.read_bytes())["schemas"]
    whole = jsonschema.Draft202012Validator(schemas["ChatCompletion"])
    chunk = jsonschema.Draft202012Validator(schemas["ChatCompletionChunk"])
    for recording in list(recorded())[::12]:
        body = recording["request"]["body"]
        if body.get("stream"):
            for frame in openai.frames(body, created=1, id="x")[:-1][::9]:
                chunk.validate(orjson.loads(frame.removeprefix(b"data: ")))
        else:
            whole.validate(openai.answer(body, created=1, id="x"))


@needs_shared
@pytest.mark.recordings
def test_no_request_that_openai_took_is_refused() -> None:
    refused = {
        recording["name"]: complaint
        for recording in recorded()
        if (complaint := openai.check(recording["request"]["body"]))
    }
    assert refused == {}


@needs_shared
@pytest.mark.recordings
def test_chunks_have_the_keys_of_recorded_ones_in_their_order() -> None:
    recording = next(recording for recording in recorded() if '"obfuscation"' in recording["response"]["body_text"])
    real = [line for line in recording["response"]["body_text"].split("\n\n") if line]
    ours = openai.frames(recording["request"]["body"], created=1, id="x")
    for at in (0, -2):
        theirs = orjson.loads(real[at].removeprefix("data: "))
        assert list(orjson.loads(ours[at].removeprefix(b"data: "))) == list(theirs)
