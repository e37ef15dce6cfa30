"""What Cohere is sent for an OpenAI request."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json, Target, UpstreamReply, UpstreamRequest
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.dialects.cohere import answer, ask
from gateway.surfaces.openai_chat import accept
from gateway.surfaces.openai_encoder import whole

URL = "https://api.example.com/v2/chat"
TARGET = Target("harbour", "tide-1", {"chat": URL}, headers=((b"x-client-name", b"pier"),))
HELLO: list[Json] = [{"role": "user", "content": "Hello"}]
PNG = "data:image/png;base64,iVBORw0KGgo="


def call(**fields: Any) -> Call:
    body = {"model": "public", "messages": HELLO, **fields}
    return accept(orjson.dumps(body), id="req_1", path_model=None, default_model=None)


def asked(**fields: Any) -> UpstreamRequest:
    return ask(call(**fields), TARGET)


def sent(**fields: Any) -> Any:
    return orjson.loads(asked(**fields).body)


def said(*messages: Json) -> Any:
    return sent(messages=list(messages))["messages"]


def tool(name: str, strict: bool | None = None, required: list[str] | None = None) -> Json:
    schema = {"type": "object", "properties": {"port": {"type": "string"}}, "required": required or []}
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": strict}}


# The request.


def test_a_plain_chat_is_sent_with_the_targets_model_and_headers() -> None:
    request = asked(temperature=0.5)
    assert (request.method, request.url, request.dropped) == ("POST", URL, ())
    assert orjson.loads(request.body) == {"model": "tide-1", "messages": HELLO, "temperature": 0.5}
    json = b"application/json"
    assert request.headers == ((b"content-type", json), (b"accept", json), (b"x-client-name", b"pier"))


def test_a_stream_is_asked_for_and_accepted() -> None:
    assert sent(stream=True)["stream"] is True
    assert (b"accept", b"text/event-stream") in asked(stream=True).headers


def test_a_stream_goes_to_its_own_address_where_there_is_one() -> None:
    target = Target("harbour", "tide-1", {"chat": URL, "chat_stream": URL + "/stream"})
    assert ask(call(stream=True), target).url == URL + "/stream"
    assert ask(call(), target).url == URL


@pytest.mark.parametrize(
    ("ours", "cohere_s"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"stop": "\n"}, {"stop_sequences": ["\n"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"top_p": 0.5}, {"p": 0.5}),
        ({"seed": 7}, {"seed": 7}),
        ({"frequency_penalty": 0.3, "presence_penalty": 0.4}, {"frequency_penalty": 0.3, "presence_penalty": 0.4}),
        ({"logprobs": True}, {"logprobs": True}),
        ({"logprobs": False}, {}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}),
        ({"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "token_budget": 2048}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"safety_mode": "STRICT", "k": 20}, {"safety_mode": "STRICT", "k": 20}),
    ],
)
def test_each_field_by_cohere_s_own_name(ours: Json, cohere_s: Json) -> None:
    assert sent(**ours) == {"model": "tide-1", "messages": HELLO, **cohere_s}
    assert asked(**ours).dropped == ()


@pytest.mark.parametrize(
    ("ours", "cohere_s", "moved"),
    [
        ({"temperature": 1.7}, {"temperature": 1}, ("temperature",)),
        ({"presence_penalty": -1}, {"presence_penalty": 0}, ("presence_penalty",)),
        ({"seed": -1}, {"seed": 0}, ("seed",)),
        ({"top_p": 1}, {"p": 0.99}, ()),
        ({"top_p": 0}, {"p": 0.01}, ()),
    ],
)
def test_a_number_beyond_cohere_s_range_is_moved_into_it_and_said_so(
    ours: Json, cohere_s: Json, moved: tuple[str, ...]
) -> None:
    assert sent(**ours).items() >= cohere_s.items()
    assert asked(**ours).dropped == moved


def test_the_form_of_an_answer_is_an_object_with_a_schema() -> None:
    schema = {"type": "object", "properties": {"port": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema, "description": "A port of call."}}
    described = {"type": "json_object", "json_schema": {**schema, "description": "A port of call."}}
    assert sent(response_format=form)["response_format"] == described


def test_what_cohere_cannot_do_is_left_out_and_named() -> None:
    fields: Json = {"n": 2, "logit_bias": {"5": 1}, "parallel_tool_calls": False, "store": True, "top_logprobs": 2}
    assert sent(**fields) == {"model": "tide-1", "messages": HELLO}
    assert asked(**fields).dropped == ("logit_bias", "n", "parallel_tool_calls", "store", "top_logprobs")


def test_what_asks_for_nothing_is_not_named() -> None:
    assert asked(n=1, parallel_tool_calls=True, store=False, logit_bias=None).dropped == ()


def test_a_field_of_cohere_s_own_wins_over_a_translated_one() -> None:
    thinking = {"type": "enabled", "token_budget": 9}
    assert sent(reasoning_effort="high", thinking=thinking)["thinking"] == thinking


# Tools.


def test_a_tool_has_parameters_though_the_client_gave_none() -> None:
    body = sent(tools=[{"type": "function", "function": {"name": "wind_now", "description": "The wind."}}])
    parameters = {"type": "object", "properties": {}}
    function = {"name": "wind_now", "description": "The wind.", "parameters": parameters}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert "tool_choice" not in body


@pytest.mark.parametrize(("ours", "cohere_s"), [("auto", None), ("none", "NONE"), ("required", "REQUIRED")])
def test_whether_a_tool_must_be_called(ours: str, cohere_s: str | None) -> None:
    assert sent(tools=[tool("wind_now")], tool_choice=ours).get("tool_choice") == cohere_s


def test_a_tool_that_must_be_called_is_offered_alone() -> None:
    choice = {"type": "function", "function": {"name": "tide_table"}}
    body = sent(tools=[tool("wind_now"), tool("tide_table")], tool_choice=choice)
    assert body["tool_choice"] == "REQUIRED"
    assert [offered["function"]["name"] for offered in body["tools"]] == ["tide_table"]


def test_a_choice_without_tools_is_none() -> None:
    assert "tool_choice" not in sent(tool_choice="none")


@pytest.mark.parametrize(
    ("tools", "strict", "lost"),
    [
        ([tool("a", True, ["port"])], True, ()),
        ([tool("a", True, ["port"]), tool("b", True, ["port"])], True, ()),
        ([tool("a", True, ["port"]), tool("b")], None, ("strict",)),
        ([tool("a", True)], None, ("strict",)),
        ([tool("a"), tool("b")], None, ()),
    ],
)
def test_tools_are_strict_all_together_or_not_at_all(
    tools: list[Json], strict: bool | None, lost: tuple[str, ...]
) -> None:
    assert sent(tools=tools).get("strict_tools") is strict
    assert asked(tools=tools).dropped == lost


# Messages.


def test_instructions_stand_first_and_are_the_systems() -> None:
    assert said({"role": "developer", "content": "Be brief."}, *HELLO, {"role": "system", "content": "Be kind."}) == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]},
        *HELLO,
    ]


def test_instructions_with_nothing_else_to_answer_are_what_the_user_says() -> None:
    greet = {"role": "developer", "content": "Greet me."}
    asked = {"role": "user", "content": "Greet me."}
    begun = {"role": "assistant", "content": "Aye."}
    assert said(greet) == [asked]
    assert said(*HELLO, begun, greet) == [*HELLO, begun, asked]
    assert said(*HELLO, greet) == [{**greet, "role": "system"}, *HELLO]


def test_images_are_shown_by_address_or_by_bytes() -> None:
    parts = [
        {"type": "text", "text": "Which port?"},
        {"type": "image_url", "image_url": {"url": "https://tides.example/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": PNG}},
    ]
    assert said({"role": "user", "content": parts}) == [{"role": "user", "content": parts}]


def test_what_the_assistant_says_before_it_calls_is_its_plan() -> None:
    function = {"name": "tide_table", "arguments": '{"port": "Brest"}'}
    calls = [{"id": "c1", "type": "function", "function": function}]
    answered = {"role": "assistant", "content": "I will look it up.", "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": "c1", "content": "14:05"}
    assert said(*HELLO, answered, result, {"role": "user", "content": "And then?"}) == [
        *HELLO,
        {"role": "assistant", "tool_plan": "I will look it up.", "tool_calls": calls},
        result,
        {"role": "user", "content": "And then?"},
    ]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    function = {"name": "wind_now", "arguments": ""}
    _, answered = said(*HELLO, {"role": "assistant", "tool_calls": [{"id": "c1", "function": function}]})
    assert answered == {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "wind_now", "arguments": "{}"}}],
    }


def test_an_assistant_that_said_nothing_is_not_heard_of() -> None:
    assert said(*HELLO, {"role": "assistant", "content": ""}, *HELLO) == [*HELLO, *HELLO]


def test_a_thought_sealed_by_another_provider_stays_there() -> None:
    sealed = [{"type": "reasoning.text", "text": "Hm.", "signature": "s", "index": 0}]
    answered = {"role": "assistant", "content": "Aye.", "reasoning_content": "Hm.", "reasoning_details": sealed}
    assert said(*HELLO, answered, *HELLO)[1] == {"role": "assistant", "content": "Aye."}


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklG"}}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}, "content[0]"),
        ({"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}, "content[0]"),
        (
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
            "content[0]",
        ),
    ],
)
def test_what_cohere_cannot_be_shown_is_refused_with_its_place(message: Json, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        said(*HELLO, message)
    assert refused.value.param == f"messages[1].{place}"


def test_the_choice_of_a_tool_that_is_not_there_is_the_clients_mistake() -> None:
    with pytest.raises(InvalidRequest):
        sent(tools=[tool("wind_now")], tool_choice={"type": "function", "function": {"name": "tide_table"}})


# From one turn to the next.

words = st.text(min_size=1, max_size=20)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
arguments = st.dictionaries(words, words | st.integers(-9, 9), min_size=1, max_size=3).map(
    lambda given: orjson.dumps(given).decode()
)


@given(plan=words, calls=st.lists(st.tuples(names, arguments), min_size=1, max_size=3))
def test_what_cohere_planned_and_called_comes_back_to_it_unchanged(plan: str, calls: list[tuple[str, str]]) -> None:
    told = [
        {"id": f"{name}_{index}", "type": "function", "function": {"name": name, "arguments": given}}
        for index, (name, given) in enumerate(calls)
    ]
    message = {"role": "assistant", "tool_plan": plan, "tool_calls": told}
    body = {"id": "1", "message": message, "finish_reason": "TOOL_CALL", "usage": {}}
    heard = whole(answer(UpstreamReply(200, (), orjson.dumps(body))), created=1)["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "done"} for one in heard["tool_calls"]]
    assert said(*HELLO, heard, *results) == [*HELLO, message, *results]
