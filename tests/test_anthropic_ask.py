"""What the Messages API is asked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Call, Headers, Json, Target, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects.anthropic import ask
from gateway.surfaces.openai_chat import accept

URL = "https://api.example.com/v1/messages"
HELLO: Json = {"role": "user", "content": "When is high water?"}
TOOL: Json = {
    "type": "function",
    "function": {"name": "tide_table", "parameters": {"type": "object", "properties": {"port": {"type": "string"}}}},
}

BUDGETED, ADAPTIVE, NEWEST, ELDER = "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5-5", "claude-sonnet-4-0"


def call(*messages: Json, **fields: Any) -> Call:
    body = {"model": "public", "messages": messages or [HELLO], **fields}
    return accept(orjson.dumps(body), id="req_1", path_model=None, default_model=None)


def asked(*messages: Json, model: str = BUDGETED, send_user_id: bool = False, **fields: Any) -> UpstreamRequest:
    return ask(call(*messages, **fields), Target("p", model, {"chat": URL}, send_user_id=send_user_id))


def sent(*messages: Json, model: str = BUDGETED, **fields: Any) -> Any:
    return orjson.loads(asked(*messages, model=model, **fields).body)


def called(id: str = "toolu_1", **more: Any) -> Json:
    """The assistant's turn that calls a tool."""
    function = {"name": "tide_table", "arguments": '{"port":"North"}'}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": id, "type": "function", "function": function}],
        **more,
    }


def result(content: Any = "04:12", id: str = "toolu_1", **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content, **more}


# The request as a whole.


def test_a_question_is_a_message() -> None:
    request = asked({"role": "system", "content": "Be brief."}, HELLO, max_tokens=100)
    assert (request.method, request.url, request.dropped) == ("POST", URL, ())
    assert orjson.loads(request.body) == {
        "model": BUDGETED,
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": [HELLO],
    }


def test_headers_name_the_version_and_then_come_the_configurations() -> None:
    beta: Headers = ((b"anthropic-beta", b"context-1m-2025-08-07"),)
    request = ask(call(), Target("p", BUDGETED, {"chat": URL}, headers=beta))
    assert request.headers == (
        (b"content-type", b"application/json"),
        (b"anthropic-version", b"2023-06-01"),
        (b"accept", b"application/json"),
        (b"anthropic-beta", b"context-1m-2025-08-07"),
    )


def test_a_stream_is_asked_for_as_events_and_at_its_own_address() -> None:
    request = ask(call(stream=True), Target("p", BUDGETED, {"chat": URL, "chat_stream": URL + "?stream"}))
    assert request.url == URL + "?stream"
    assert (b"accept", b"text/event-stream") in request.headers
    assert orjson.loads(request.body)["stream"] is True


def test_what_the_grammar_cannot_say_is_named() -> None:
    request = asked(n=2, seed=7, logit_bias={"1": 1}, metadata={"a": "b"}, frequency_penalty=0, user="ada")
    assert request.dropped == ("logit_bias", "metadata", "n", "seed")
    assert set(orjson.loads(request.body)) == {"model", "max_tokens", "messages"}


def test_the_providers_own_fields_pass() -> None:
    body = sent(top_k=5, container="c_1", output_config={"effort": "low"}, cache_control={"type": "ephemeral"})
    assert (body["top_k"], body["container"]) == (5, "c_1")
    assert (body["output_config"], body["cache_control"]) == ({"effort": "low"}, {"type": "ephemeral"})


def test_stops_tier_and_user_have_other_names() -> None:
    request = asked(stop=["END", " \n"], service_tier="default", user="ada", send_user_id=True)
    body = orjson.loads(request.body)
    assert (body["stop_sequences"], body["service_tier"]) == (["END"], "standard_only")
    assert body["metadata"] == {"user_id": "ada"}
    assert request.dropped == ("stop",)  # a blank one is refused there


def test_a_tier_nobody_knows_there_is_named() -> None:
    assert asked(service_tier="flex").dropped == ("service_tier",)


# Tools.


def test_tools_have_an_input_schema_and_keep_their_marks() -> None:
    bare = {"type": "function", "function": {"name": "wind_now", "description": "The wind."}}
    marked = {**TOOL, "cache_control": {"type": "ephemeral"}}
    assert sent(tools=[bare, marked])["tools"] == [
        {"name": "wind_now", "description": "The wind.", "input_schema": {"type": "object", "properties": {}}},
        {
            "name": "tide_table",
            "input_schema": TOOL["function"]["parameters"],
            "cache_control": {"type": "ephemeral"},
        },
    ]


def test_a_schema_without_a_type_gets_the_one_it_must_have() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}
    assert sent(tools=[tool])["tools"][0]["input_schema"]["type"] == "object"


def test_strictness_is_not_promised() -> None:
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}
    assert asked(tools=[strict]).dropped == ("tools.strict",)


@pytest.mark.parametrize("name", ["tide.table", "gateway_answer", "t" * 129])
def test_a_tool_whose_name_cannot_be_kept_is_refused(name: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(tools=[{"type": "function", "function": {"name": name}}])
    assert refused.value.param == "tools"


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "tide_table"}}},
            {"type": "tool", "name": "tide_table"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": "required", "parallel_tool_calls": False}, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_a_choice_of_tools_is_told(fields: Json, choice: Json) -> None:
    assert sent(tools=[TOOL], **fields)["tool_choice"] == choice


def test_without_tools_there_is_no_choice() -> None:
    assert "tool_choice" not in sent(tool_choice="none", parallel_tool_calls=False)


@pytest.mark.parametrize("fields", [{"model": NEWEST}, {"reasoning_effort": "low"}], ids=["newest", "budgeted"])
def test_where_no_tool_can_be_forced_the_choice_is_the_models_and_named(fields: Json) -> None:
    request = asked(tools=[TOOL], tool_choice="required", **fields)
    assert orjson.loads(request.body)["tool_choice"] == {"type": "auto"}
    assert request.dropped == ("tool_choice",)


def test_adaptive_thinking_and_a_forced_tool_go_together() -> None:
    request = asked(model=ADAPTIVE, tools=[TOOL], tool_choice="required", reasoning_effort="low")
    assert orjson.loads(request.body)["tool_choice"] == {"type": "any"}
    assert request.dropped == ()


# The form of the answer.

SCHEMA: Json = {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}


def form(schema: Json = SCHEMA, **more: Any) -> Json:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "tide", "schema": schema, **more}}}


@pytest.mark.parametrize("model", [BUDGETED, ADAPTIVE, NEWEST])
def test_an_answer_is_held_to_its_schema_by_the_api_where_it_can_be(model: str) -> None:
    body = sent(model=model, reasoning_effort="low", **form())
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {**SCHEMA, "additionalProperties": False},
    }
    assert "tools" not in body


def test_an_older_model_has_to_call_a_tool_with_its_answer() -> None:
    body = sent(model=ELDER, **form(description="When and where."))
    assert body["tools"] == [{"name": "gateway_answer", "description": "When and where.", "input_schema": SCHEMA}]
    assert body["tool_choice"] == {"type": "tool", "name": "gateway_answer"}


def test_beside_other_tools_it_may_call_those_first() -> None:
    body = sent(model=ELDER, tools=[TOOL], **form())
    assert [tool["name"] for tool in body["tools"]] == ["tide_table", "gateway_answer"]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    "fields", [{"reasoning_effort": "low"}, {"tools": [TOOL], "tool_choice": "required"}], ids=["thinking", "forced"]
)
def test_where_that_cannot_be_forced_it_is_told(fields: Json) -> None:
    body = sent(model=ELDER, **form(), **fields)
    assert '"port":{"type":"string"}' in body["system"]
    assert "gateway_answer" not in [tool["name"] for tool in body.get("tools", ())]


def test_a_map_which_no_closed_schema_describes_is_a_tools_argument() -> None:
    tides = {"type": "object", "additionalProperties": {"type": "number"}}
    assert sent(**form(tides))["tools"][0]["input_schema"] == tides


def test_what_is_no_object_cannot_be_an_argument_and_is_told() -> None:
    body = sent(model=ELDER, **form({"type": "array", "items": {"type": "string"}}))
    assert '"type":"array"' in body["system"]
    assert "tools" not in body


def test_any_json_object_is_asked_for_in_words() -> None:
    body = sent({"role": "system", "content": "Be brief."}, HELLO, response_format={"type": "json_object"})
    assert body["system"].startswith("Be brief.\n\nAnswer with one JSON object")


def test_instructions_alone_are_the_users_words() -> None:
    body = sent({"role": "system", "content": "Say hello."})
    assert (body["messages"], "system" in body) == ([{"role": "user", "content": "Say hello."}], False)
