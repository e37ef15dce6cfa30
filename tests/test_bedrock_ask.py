"""What a client wants in OpenAI's words is asked for in Converse's, as far as the model takes it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Call, Json, Target
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.dialects.bedrock import ask
from gateway.dialects.bedrock_answers import ANSWER_TOOL

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_4_6 = "global.anthropic.claude-opus-4-6-v1"
OLDER_CLAUDE = "anthropic.claude-opus-4-1-20250805-v1:0"
ARN = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{CLAUDE}"
NOVA = "eu.amazon.nova-lite-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
URLS = {"chat": "https://aws.example/model/m/converse", "chat_stream": "https://aws.example/model/m/converse-stream"}

QUESTION = {"role": "user", "content": "When is high water?"}
TABLE = {
    "type": "function",
    "function": {"name": "tide_table", "description": "Tides", "parameters": {"type": "object"}},
}
LOOK_UP: Json = {"id": "call_1", "type": "function", "function": {"name": "tide_table", "arguments": '{"day":2}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [LOOK_UP]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "14:10"}


def request(model: str = CLAUDE, stream: bool = False, **body: Any) -> Any:
    asked = {"model": "tide", "messages": [QUESTION], "stream": stream, **body}
    return ask(Call("1", "chat", "tide", stream, False, asked), Target("aws", model, URLS, ((b"x-mine", b"1"),)))


def asked(model: str = CLAUDE, **body: Any) -> Any:
    return orjson.loads(request(model, **body).body)


def schema_of(**properties: Any) -> Json:
    schema = {"type": "object", "properties": properties}
    return {"type": "json_schema", "json_schema": {"name": "tide", "schema": schema}}


# Addresses.


def test_a_stream_has_an_address_of_its_own() -> None:
    assert request().url == URLS["chat"]
    assert request(stream=True).url == URLS["chat_stream"]
    assert request(stream=True).headers[1:] == ((b"accept", b"application/vnd.amazon.eventstream"), (b"x-mine", b"1"))


def test_the_model_stands_in_the_address_only() -> None:
    assert asked() == {"messages": [{"role": "user", "content": [{"text": "When is high water?"}]}]}


# Length, sampling, reasoning.


def test_length_and_sampling_have_their_own_names() -> None:
    body = asked(NOVA, max_completion_tokens=50, temperature=0.5, top_p=0.9, stop="ebb")
    assert body["inferenceConfig"] == {"maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["ebb"]}


def test_claude_is_bound_and_sampled_as_any_other() -> None:
    assert asked(max_tokens=50, temperature=0.5)["inferenceConfig"] == {"maxTokens": 50, "temperature": 0.5}


def test_a_temperature_that_converse_does_not_know_is_lowered_and_named() -> None:
    assert asked(NOVA, temperature=1.5)["inferenceConfig"] == {"temperature": 1}
    assert request(NOVA, temperature=1.5).dropped == ("temperature",)


@pytest.mark.parametrize("model", ["openai.gpt-oss-20b-1:0", "qwen.qwen3-32b-v1:0"])
def test_models_that_do_not_stop_at_words_are_not_asked_to(model: str) -> None:
    assert "inferenceConfig" not in asked(model, stop="ebb")
    assert request(model, stop="ebb").dropped == ("stop",)


def test_what_converse_has_no_words_for_is_named() -> None:
    lost = request(NOVA, seed=1, n=2, presence_penalty=0.5, logprobs=True, parallel_tool_calls=False, verbosity="low")
    assert lost.dropped == ("logprobs", "n", "parallel_tool_calls", "presence_penalty", "seed", "verbosity")


@pytest.mark.parametrize(
    ("model", "effort", "fields"),
    [
        (CLAUDE, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (ARN, "minimal", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (CLAUDE, "none", None),
        (CLAUDE_4_6, "high", {"thinking": {"type": "adaptive"}}),
        (NOVA_2, "low", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (NOVA_2, "none", {"reasoningConfig": {"type": "disabled"}}),
        ("openai.gpt-oss-120b-1:0", "minimal", {"reasoning_effort": "low"}),
        ("qwen.qwen3-32b-v1:0", "high", {"reasoning_config": "high"}),
    ],
)  # fmt: skip
def test_reasoning_is_asked_for_as_each_model_wants_it(model: str, effort: str, fields: Json | None) -> None:
    assert asked(model, reasoning_effort=effort).get("additionalModelRequestFields") == fields
    assert request(model, reasoning_effort=effort).dropped == ()


def test_newer_claudes_are_told_an_effort() -> None:
    assert asked(CLAUDE_4_6, reasoning_effort="medium")["outputConfig"] == {"effort": "medium"}


@pytest.mark.parametrize("model", [LLAMA, NOVA, "anthropic.claude-3-haiku-20240307-v1:0", "amazon.titan-text-lite-v1"])
def test_models_that_do_not_reason_are_not_asked_to(model: str) -> None:
    assert "additionalModelRequestFields" not in asked(model, reasoning_effort="high")
    assert request(model, reasoning_effort="high").dropped == ("reasoning_effort",)


def test_claude_does_not_think_where_it_must_call_a_tool() -> None:
    sent = request(reasoning_effort="low", tools=[TABLE], tool_choice="required")
    assert "additionalModelRequestFields" not in orjson.loads(sent.body)
    assert sent.dropped == ("reasoning_effort",)


def test_claude_does_not_think_on_about_tools_it_called_in_thoughts_that_are_lost() -> None:
    sent = request(reasoning_effort="low", tools=[TABLE], messages=[QUESTION, CALLED, RESULT])
    assert "additionalModelRequestFields" not in orjson.loads(sent.body)
    assert sent.dropped == ("reasoning_effort",)


def test_its_own_way_to_ask_for_thinking_is_left_out_there_too() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert asked(thinking=thinking)["additionalModelRequestFields"] == {"thinking": thinking}
    sent = request(thinking=thinking, tools=[TABLE], messages=[QUESTION, CALLED, RESULT])
    assert "additionalModelRequestFields" not in orjson.loads(sent.body)
    assert sent.dropped == ("thinking",)


def test_claude_thinks_on_where_its_thoughts_came_back() -> None:
    thought = {**CALLED, "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln"}]}
    messages = [QUESTION, thought, RESULT, CALLED, RESULT]
    sent = request(reasoning_effort="low", tools=[TABLE], messages=messages)
    assert "thinking" in orjson.loads(sent.body)["additionalModelRequestFields"]


def test_nova_keeps_a_bound_rather_than_its_highest_effort() -> None:
    free, bound = asked(NOVA_2, reasoning_effort="high"), asked(NOVA_2, reasoning_effort="high", max_tokens=99)
    assert free["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "high"
    assert bound["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "medium"
    assert request(NOVA_2, reasoning_effort="high", temperature=0.5).dropped == ("temperature",)


# Tools.


def test_tools_are_offered_with_their_schemas() -> None:
    bare = {"type": "function", "function": {"name": "sea_state", "parameters": {"properties": {}}, "strict": True}}
    config = asked(tools=[TABLE, bare])["toolConfig"]
    first = {"name": "tide_table", "description": "Tides", "inputSchema": {"json": {"type": "object"}}}
    second = {"name": "sea_state", "inputSchema": {"json": {"type": "object", "properties": {}}}, "strict": True}
    assert config == {"tools": [{"toolSpec": first}, {"toolSpec": second}]}
    assert b"strict" not in request(NOVA, tools=[bare]).body


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", None),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "tide_table"}}, {"tool": {"name": "tide_table"}}),
    ],
)
def test_a_choice_of_tools_is_told(choice: Any, told: Json | None) -> None:
    assert asked(tools=[TABLE], tool_choice=choice)["toolConfig"].get("toolChoice") == told


@pytest.mark.parametrize("model", [LLAMA, "us.anthropic.claude-opus-5-1-v1:0"])
def test_a_model_that_cannot_be_made_to_call_a_tool_is_not_and_that_is_named(model: str) -> None:
    sent = request(model, tools=[TABLE], tool_choice="required")
    assert "toolChoice" not in orjson.loads(sent.body)["toolConfig"]
    assert sent.dropped == ("tool_choice",)


def test_tools_that_must_not_be_called_are_not_offered() -> None:
    sent = request(tools=[TABLE], tool_choice="none")
    assert "toolConfig" not in orjson.loads(sent.body)
    assert sent.dropped == ()


def test_once_tools_were_called_converse_wants_some_on_offer() -> None:
    withheld = request(messages=[QUESTION, CALLED, RESULT], tools=[TABLE], tool_choice="none")
    forgotten = request(messages=[QUESTION, CALLED, RESULT])
    for sent in (withheld, forgotten):
        (tool,) = orjson.loads(sent.body)["toolConfig"]["tools"]
        assert tool["toolSpec"]["name"] == "tide_table"
    assert (withheld.dropped, forgotten.dropped) == (("tool_choice",), ())


@pytest.mark.parametrize("name", ["tide.table", "ti de", "t" * 65])
def test_a_tool_by_a_name_that_bedrock_refuses_is_refused_here(name: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(tools=[{"type": "function", "function": {"name": name}}])
    assert refused.value.param == "tools"


# The form of the answer.


def test_a_schema_is_native_where_the_model_takes_it() -> None:
    text_format = asked(response_format=schema_of(hour={"type": "integer"}))["outputConfig"]["textFormat"]
    told = text_format["structure"]["jsonSchema"]
    assert told["name"] == "tide"
    assert orjson.loads(told["schema"]) == {"type": "object", "properties": {"hour": {"type": "integer"}}}


@pytest.mark.parametrize("model", [NOVA, OLDER_CLAUDE])
def test_elsewhere_it_is_the_tool_that_must_be_called(model: str) -> None:
    config = asked(model, response_format=schema_of())["toolConfig"]
    assert config["toolChoice"] == {"tool": {"name": ANSWER_TOOL}}
    both = asked(model, response_format=schema_of(), tools=[TABLE])["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in both["tools"]] == ["tide_table", ANSWER_TOOL]
    assert both["toolChoice"] == {"any": {}}


def test_a_client_that_demands_a_tool_gets_one_of_its_own() -> None:
    config = asked(NOVA, response_format=schema_of(), tools=[TABLE], tool_choice="required")["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["tide_table"]


def test_models_without_either_are_asked_in_words() -> None:
    (instruction,) = asked(LLAMA, response_format=schema_of(hour={"type": "integer"}))["system"]
    assert '"hour"' in instruction["text"]
    anything = {"type": "json_schema", "json_schema": {"name": "tide", "schema": {"anyOf": []}}}
    (instruction,) = asked(NOVA, response_format=anything)["system"]
    assert '"anyOf"' in instruction["text"]
    (instruction,) = asked(response_format={"type": "json_object"})["system"]
    assert "JSON" in instruction["text"]


def test_a_format_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        asked(response_format={"type": "grammar"})


# Cache, tier, notes, fields of Bedrock's own.


def test_what_is_marked_for_the_cache_has_a_cache_point_behind_it() -> None:
    mark, hour = {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body: Json = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", **hour}]},
            {"role": "user", "content": [{"type": "text", "text": "Ahoy.", **mark}, {"type": "text", "text": "When?"}]},
        ],
        "tools": [{**TABLE, **mark}],
    }
    point, long = {"cachePoint": {"type": "default"}}, {"cachePoint": {"type": "default", "ttl": "1h"}}
    sent = asked(**body)
    assert sent["system"] == [{"text": "Be brief."}, long]
    assert sent["messages"][0]["content"] == [{"text": "Ahoy."}, point, {"text": "When?"}]
    assert sent["toolConfig"]["tools"][1] == point
    assert len(asked(NOVA, **body)["toolConfig"]["tools"]) == 1
    assert b"cachePoint" not in request(LLAMA, **body).body


def test_a_tier_is_told_where_bedrock_has_it() -> None:
    assert asked(service_tier="flex")["serviceTier"] == {"type": "flex"}
    assert "serviceTier" not in asked(service_tier="auto")
    assert request(service_tier="scale").dropped == ("service_tier",)


@pytest.mark.parametrize(
    "notes", [{"ship": "Étoile"}, {"ship": "x" * 257}, {f"n{n}": "1" for n in range(17)}, {"": "x"}]
)
def test_notes_that_aws_would_refuse_are_dropped_by_name(notes: Json) -> None:
    assert asked(metadata={"ship": "Argo"})["requestMetadata"] == {"ship": "Argo"}
    assert "requestMetadata" not in asked(metadata=notes)
    assert request(metadata=notes).dropped == ("metadata",)


def test_fields_of_converse_go_as_they_are_and_others_to_the_model() -> None:
    guardrail = {"guardrailIdentifier": "abc", "guardrailVersion": "1"}
    sent = asked(
        guardrailConfig=guardrail,
        additionalModelRequestFields={"anthropic_beta": ["x"]},
        top_k=20,
        inferenceConfig={"maxTokens": 7},
        max_tokens=9,
        stop=["ebb"],
    )
    assert sent["guardrailConfig"] == guardrail
    assert sent["additionalModelRequestFields"] == {"top_k": 20, "anthropic_beta": ["x"]}
    assert sent["inferenceConfig"] == {"maxTokens": 7, "stopSequences": ["ebb"]}
