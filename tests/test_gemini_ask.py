"""What Gemini is sent."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects.gemini import ask
from gateway.surfaces.openai_chat import accept

HELLO: Json = {"role": "user", "content": "When is high water?"}
TIDE_TABLE: Json = {"name": "tide_table", "description": "Tides of a port.", "parameters": {"type": "object"}}
URLS = {"chat": "http://127.0.0.1:1/m:generateContent", "chat_stream": "http://127.0.0.1:1/m:streamGenerateContent"}


def call(**fields: Any) -> Call:
    return accept(orjson.dumps({"messages": [HELLO], **fields}), id="r", path_model=None, default_model="any")


def request(model: str = "gemini-2.5-flash", **fields: Any) -> UpstreamRequest:
    return ask(call(**fields), Target("google", model, URLS, headers=((b"x-team", b"tides"),)))


def sent(model: str = "gemini-2.5-flash", **fields: Any) -> Any:
    return orjson.loads(request(model, **fields).body)


def test_a_plain_chat_is_a_turn_in_parts() -> None:
    asked = request(temperature=0.5)
    assert (asked.method, asked.url, asked.dropped) == ("POST", URLS["chat"], ())
    assert orjson.loads(asked.body) == {
        "contents": [{"role": "user", "parts": [{"text": "When is high water?"}]}],
        "generationConfig": {"temperature": 0.5},
    }


def test_a_stream_is_asked_for_at_its_own_address() -> None:
    asked = request(stream=True)
    assert asked.url == URLS["chat_stream"]
    assert (b"accept", b"text/event-stream") in asked.headers
    assert asked.headers[-1] == (b"x-team", b"tides")


def test_instructions_have_a_place_of_their_own() -> None:
    body = sent(messages=[{"role": "system", "content": "Be brief."}, HELLO, {"role": "developer", "content": "Now."}])
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Now."}]}
    assert [turn["role"] for turn in body["contents"]] == ["user"]


def test_instructions_alone_are_the_users_words() -> None:
    body = sent(messages=[{"role": "system", "content": "Say hello."}])
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}


# Settings.


def test_settings_have_other_names() -> None:
    fields: Json = {
        "temperature": 0, "top_p": 0.9, "n": 2, "presence_penalty": 0.5, "frequency_penalty": -0.5, "logprobs": True,
        "top_logprobs": 3, "max_tokens": 99, "stop": "END", "seed": 7,
    }  # fmt: skip
    assert sent(**fields)["generationConfig"] == {
        "temperature": 0, "topP": 0.9, "candidateCount": 2, "presencePenalty": 0.5, "frequencyPenalty": -0.5,
        "responseLogprobs": True, "logprobs": 3, "maxOutputTokens": 99, "stopSequences": ["END"], "seed": 7,
    }  # fmt: skip


def test_what_happens_anyway_is_not_asked_for() -> None:
    assert "generationConfig" not in sent(n=1, presence_penalty=0, logprobs=False, top_logprobs=0, modalities=["text"])


def test_a_seed_of_any_size_is_taken() -> None:
    assert sent(seed=2**40 + 5)["generationConfig"]["seed"] == 5


def test_stops_beyond_the_fifth_are_named_as_lost() -> None:
    asked = request(stop=list("abcdef"))
    assert orjson.loads(asked.body)["generationConfig"]["stopSequences"] == list("abcde")
    assert asked.dropped == ("stop",)


def test_fields_without_a_counterpart_are_named() -> None:
    asked = request(logit_bias={"1": 1}, parallel_tool_calls=False, metadata={"a": "b"}, service_tier="scale")
    assert asked.dropped == ("logit_bias", "metadata", "parallel_tool_calls", "service_tier")


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-flash-lite", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128, "includeThoughts": False}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("publishers/google/models/gemini-3.6-flash", "xhigh", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-pro-latest", "none", {"thinkingLevel": "LOW", "includeThoughts": False}),
    ],
)
def test_effort_is_what_the_model_knows_of_it(model: str, effort: str, thinking: Json) -> None:
    asked = request(model, reasoning_effort=effort)
    assert orjson.loads(asked.body)["generationConfig"]["thinkingConfig"] == thinking
    assert asked.dropped == ()


@pytest.mark.parametrize(("model", "effort"), [("gemini-2.0-flash", "low"), ("gemini-2.5-pro", "enormous")])
def test_effort_that_a_model_does_not_know_is_named_as_lost(model: str, effort: str) -> None:
    asked = request(model, reasoning_effort=effort)
    assert "generationConfig" not in orjson.loads(asked.body)
    assert asked.dropped == ("reasoning_effort",)


def test_a_schema_for_the_answer_goes_out_as_it_is() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "tides", "description": "Tides.", "schema": schema}}
    assert sent(response_format=form)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"description": "Tides.", **schema},
    }


def test_any_json_is_asked_for_by_its_type() -> None:
    assert sent(response_format={"type": "json_object"})["generationConfig"] == {"responseMimeType": "application/json"}


def test_pictures_may_be_asked_for_and_speech_may_not() -> None:
    assert sent(modalities=["text", "image"])["generationConfig"] == {"responseModalities": ["TEXT", "IMAGE"]}
    with pytest.raises(Unsupported):
        sent(modalities=["text", "audio"])


# Tools.


def tools(**fields: Any) -> Any:
    return sent(tools=[{"type": "function", "function": TIDE_TABLE}], **fields)


def test_tools_keep_their_schemas() -> None:
    declared = {"name": "tide_table", "description": "Tides of a port.", "parametersJsonSchema": {"type": "object"}}
    assert tools()["tools"] == [{"functionDeclarations": [declared]}]
    assert "toolConfig" not in tools()


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"function": {"name": "tide_table"}}, {"mode": "ANY", "allowedFunctionNames": ["tide_table"]}),
    ],
    ids=["auto", "none", "required", "named"],
)  # fmt: skip
def test_a_choice_of_tools_is_a_mode(choice: Any, config: Json) -> None:
    assert tools(tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}


def test_a_reference_in_a_schema_stands_alone() -> None:
    port = {"$ref": "#/$defs/Port", "description": "Which one."}
    parameters = {
        "type": "object",
        "properties": {"port": port, "from": {"$ref": "#/$defs/Port"}},
        "$defs": {"Port": {}},
    }
    body = sent(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    properties = body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]["properties"]
    assert properties["port"] == {"anyOf": [{"$ref": "#/$defs/Port"}], "description": "Which one."}
    assert properties["from"] == {"$ref": "#/$defs/Port"}


def test_googles_own_tools_stand_beside_ours() -> None:
    offered = [{"type": "google_search"}, {"type": "function", "function": TIDE_TABLE}, {"type": "code_execution"}]
    ours, *googles = sent(tools=offered)["tools"]
    assert list(ours) == ["functionDeclarations"]
    assert googles == [{"googleSearch": {}}, {"codeExecution": {}}]


def test_a_web_search_is_googles_and_its_settings_are_lost() -> None:
    asked = request(web_search_options={"search_context_size": "low"})
    assert orjson.loads(asked.body)["tools"] == [{"googleSearch": {}}]
    assert asked.dropped == ("web_search_options",)
    assert request(web_search_options={}).dropped == ()


def test_other_tools_are_refused_and_not_left_out() -> None:
    with pytest.raises(Unsupported) as refused:
        sent(tools=[{"type": "custom", "custom": {"name": "shell"}}])
    assert refused.value.param == "tools[0]"


# Gemini's own fields.


@pytest.mark.parametrize("safety", ["safety_settings", "safetySettings"])
def test_geminis_own_fields_go_where_they_belong(safety: str) -> None:
    own: Json = {"top_k": 3, "cached_content": "cachedContents/1", safety: [{"threshold": "OFF"}]}
    body = sent(temperature=0.5, **own)
    assert body["generationConfig"] == {"temperature": 0.5, "topK": 3}
    assert body["cachedContent"] == "cachedContents/1"
    assert body["safetySettings"] == [{"threshold": "OFF"}]


def test_geminis_own_settings_hold_against_openais() -> None:
    own = {"temperature": 1.5, "mediaResolution": "MEDIA_RESOLUTION_LOW"}
    body = sent(temperature=0.5, top_p=0.9, top_k=3, generation_config=own)
    assert body["generationConfig"] == {"topP": 0.9, "topK": 3, **own}


def test_what_its_openai_endpoint_takes_is_taken_here() -> None:
    own = {"thinking_config": {"thinking_budget": 5}}
    body = sent(extra_body={"google": own})
    assert body == {"contents": body["contents"], "generationConfig": {"thinkingConfig": {"thinking_budget": 5}}}


def test_our_choice_of_tools_and_geminis_settings_are_one() -> None:
    body = tools(tool_choice="auto", tool_config={"includeServerSideToolInvocations": True})
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "AUTO"},
        "includeServerSideToolInvocations": True,
    }


def test_any_other_field_passes_as_it_is() -> None:
    assert sent(labels={"team": "tides"})["labels"] == {"team": "tides"}
