"""What Mistral is sent for an OpenAI request."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json, Target, UpstreamReply, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects.mistral import BRIDGE, answer, ask
from gateway.surfaces.openai_chat import accept
from gateway.surfaces.openai_encoder import whole

URL = "https://api.example.com/v1/chat/completions"
TARGET = Target("harbour", "tide-1", {"chat": URL}, headers=((b"x-client", b"pier"),))
HELLO: Json = {"role": "user", "content": "Hello"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="


def call(**fields: Any) -> Call:
    body = {"model": "public", "messages": [HELLO], **fields}
    return accept(orjson.dumps(body), id="req_1", path_model=None, default_model=None)


def asked(**fields: Any) -> UpstreamRequest:
    return ask(call(**fields), TARGET)


def sent(**fields: Any) -> Any:
    return orjson.loads(asked(**fields).body)


def said(*messages: Json) -> Any:
    return sent(messages=list(messages))["messages"]


def a_call(id: str, **function: Any) -> Json:
    return {"id": id, "type": "function", "function": {"name": "tide_table", "arguments": "{}", **function}}


# The request.


def test_a_plain_chat_is_sent_with_the_targets_model_and_headers() -> None:
    request = asked(temperature=0.5, top_p=1, n=2)
    assert (request.method, request.url, request.dropped) == ("POST", URL, ())
    body = {"model": "tide-1", "messages": [HELLO], "temperature": 0.5, "top_p": 1, "n": 2}
    assert orjson.loads(request.body) == body
    assert request.headers[-1] == (b"x-client", b"pier")


def test_a_stream_is_not_asked_for_its_usage_which_it_tells_anyway() -> None:
    assert sent(stream=True, stream_options={"include_usage": True}) == {
        "model": "tide-1",
        "messages": [HELLO],
        "stream": True,
    }
    assert (b"accept", b"text/event-stream") in asked(stream=True).headers


@pytest.mark.parametrize(
    ("ours", "mistral_s"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"seed": 7}, {"random_seed": 7}),
        ({"stop": "\n"}, {"stop": ["\n"]}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ({"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
        ({"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"safe_prompt": True, "prompt_mode": "reasoning"}, {"safe_prompt": True, "prompt_mode": "reasoning"}),
        ({"temperature": None, "tools": [], "tool_choice": "auto", "parallel_tool_calls": False}, {}),
    ],
)
def test_each_field_by_mistral_s_own_name(ours: Json, mistral_s: Json) -> None:
    assert sent(**ours) == {"model": "tide-1", "messages": [HELLO], **mistral_s}
    assert asked(**ours).dropped == ()


def test_a_number_beyond_mistral_s_range_is_moved_into_it_and_said_so() -> None:
    assert sent(temperature=1.9, seed=-1).items() >= {"temperature": 1.5, "random_seed": 0}.items()
    assert asked(temperature=1.9, seed=-1).dropped == ("temperature", "seed")


def test_what_mistral_would_refuse_is_left_out_and_named() -> None:
    fields: Json = {"store": True, "logprobs": True, "top_logprobs": 2, "service_tier": "flex", "verbosity": "low"}
    assert sent(**fields) == {"model": "tide-1", "messages": [HELLO]}
    assert asked(**fields).dropped == ("logprobs", "service_tier", "store", "top_logprobs", "verbosity")


def test_the_end_user_is_never_named_to_mistral() -> None:
    target = Target("harbour", "tide-1", {"chat": URL}, send_user_id=True)
    request = ask(call(user="u1"), target)
    assert b"u1" not in request.body
    assert request.dropped == ("user",)


@pytest.mark.parametrize("content", ["a b", [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]])
def test_a_prediction_is_one_text(content: Any) -> None:
    prediction = {"type": "content", "content": "a b"}
    assert sent(prediction={"type": "content", "content": content})["prediction"] == prediction


def test_a_schema_is_sent_with_the_fields_that_mistral_knows() -> None:
    schema = {"type": "object", "properties": {}}
    form = {"type": "json_schema", "json_schema": {"schema": schema, "strict": True, "x": 1}}
    named = {"name": "answer", "schema": schema, "strict": True}
    assert sent(response_format=form)["response_format"] == {"type": "json_schema", "json_schema": named}


# Tools.


def test_a_tool_is_sent_with_the_fields_that_mistral_knows() -> None:
    function = {"name": "wind_now", "description": None, "parameters": None, "strict": None}
    body = sent(tools=[{"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}])
    bare = {"name": "wind_now", "parameters": {"type": "object", "properties": {}}}
    assert body["tools"] == [{"type": "function", "function": bare}]
    full = {**bare, "description": "The wind.", "strict": True}
    assert sent(tools=[{"type": "function", "function": full}])["tools"] == [{"type": "function", "function": full}]


@pytest.mark.parametrize("choice", ["auto", "none", "required", {"type": "function", "function": {"name": "wind_now"}}])
def test_which_tool_is_to_be_called_is_said_as_openai_says_it(choice: Any) -> None:
    tools = [{"type": "function", "function": {"name": "wind_now"}}]
    assert sent(tools=tools, tool_choice=choice)["tool_choice"] == choice
    assert sent(tools=tools, parallel_tool_calls=False)["parallel_tool_calls"] is False


def test_functions_of_the_older_grammar_are_tools() -> None:
    body = sent(functions=[{"name": "wind_now"}], function_call={"name": "wind_now"})
    assert body["tools"][0]["function"]["name"] == "wind_now"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "wind_now"}}


# Messages.


def test_messages_have_the_fields_that_mistral_knows() -> None:
    answered = {"role": "assistant", "content": "Aye.", "name": "b", "refusal": None, "reasoning_content": "Hm."}
    assert said({"role": "user", "content": "Hello", "name": "a"}, answered, HELLO) == [
        HELLO,
        {"role": "assistant", "content": "Aye."},
        HELLO,
    ]


@pytest.mark.parametrize("id", ["call_vs3aB0x9", "toolu_01", "a" * 9 + "b", "D681PevK-", "ÄÖÜäöüßßß", ""])
def test_an_id_becomes_nine_letters_and_digits_in_the_call_and_its_result(id: str) -> None:
    _, answered, result = said(
        HELLO,
        {"role": "assistant", "content": None, "tool_calls": [a_call(id)]},
        {"role": "tool", "tool_call_id": id, "content": "14:05"},
    )
    (told,) = answered["tool_calls"]
    assert told["id"] == result["tool_call_id"]
    assert len(told["id"]) == 9
    assert told["id"].isascii()
    assert told["id"].isalnum()


def test_mistral_s_own_ids_stay_and_a_call_has_no_other_fields() -> None:
    calls = [{**a_call("D681PevKs", arguments=""), "index": 0, "extra_content": {"google": {}}}]
    told = said(HELLO, {"role": "assistant", "content": "", "tool_calls": calls})[1]
    assert told == {"role": "assistant", "content": "", "tool_calls": [a_call("D681PevKs")]}


def test_calls_of_the_older_grammar_are_answered_by_name() -> None:
    _, answered, result = said(
        HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "tide_table", "arguments": "{}"}},
        {"role": "function", "name": "tide_table", "content": "14:05"},
    )
    assert answered["tool_calls"][0]["id"] == result["tool_call_id"]
    assert (result["role"], result["name"]) == ("tool", "tide_table")


def test_instructions_stand_first() -> None:
    rules = {"role": "developer", "content": "Be brief."}
    assert said(HELLO, {"role": "assistant", "content": "Aye."}, rules, HELLO)[0] == {**rules, "role": "system"}


def test_instructions_with_nothing_else_to_answer_are_what_the_user_says() -> None:
    greet = {"role": "developer", "content": "Greet me."}
    asked = {"role": "user", "content": "Greet me."}
    begun = {"role": "assistant", "content": "Aye."}
    assert said(greet) == [asked]
    assert said(HELLO, begun, greet) == [HELLO, begun, asked]
    assert said(HELLO, greet) == [{**greet, "role": "system"}, HELLO]


def test_between_a_tool_and_the_user_the_assistant_says_a_word() -> None:
    result = {"role": "tool", "tool_call_id": "D681PevKs", "content": "14:05"}
    calling = {"role": "assistant", "content": "", "tool_calls": [a_call("D681PevKs")]}
    assert said(HELLO, calling, result, HELLO) == [HELLO, calling, result, BRIDGE, HELLO]


def test_a_last_word_of_the_assistants_is_to_be_continued() -> None:
    begun = {"role": "assistant", "content": "High water is"}
    assert said(HELLO, begun) == [HELLO, {**begun, "prefix": True}]
    assert said(HELLO, begun, HELLO) == [HELLO, begun, HELLO]
    assert said(HELLO, {**begun, "prefix": False}, HELLO) == [HELLO, {**begun, "prefix": False}, HELLO]


def test_an_assistant_that_said_nothing_is_not_heard_of() -> None:
    assert said(HELLO, {"role": "assistant", "content": ""}, HELLO) == [HELLO, HELLO]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No."),
        ("Hm. ", "Hm. No."),
        ([{"type": "text", "text": "Hm."}], [{"type": "text", "text": "Hm."}, {"type": "text", "text": "No."}]),
    ],
)
def test_a_refusal_is_what_the_assistant_said(content: Any, told: Any) -> None:
    assert said(HELLO, {"role": "assistant", "content": content, "refusal": "No."}, HELLO)[1]["content"] == told


@pytest.mark.parametrize(
    ("ours", "mistral_s"),
    [
        ({"type": "text", "text": "a", "cache_control": {}}, {"type": "text", "text": "a"}),
        ({"type": "image_url", "image_url": PNG}, {"type": "image_url", "image_url": PNG}),
        (
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low", "format": "png"}},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
            {"type": "input_audio", "input_audio": "UklG"},
        ),
        (
            {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            {"type": "document_url", "document_url": PDF, "document_name": "a.pdf"},
        ),
        ({"type": "file", "file": {"file_data": "JVBERi0="}}, {"type": "document_url", "document_url": PDF}),
        ({"type": "file", "file": {"file_id": "f1"}}, {"type": "file", "file_id": "f1"}),
        ({"type": "document_url", "document_url": PDF}, {"type": "document_url", "document_url": PDF}),
    ],
)
def test_each_kind_of_part_as_mistral_takes_it(ours: Json, mistral_s: Json) -> None:
    assert said({"role": "user", "content": [ours]}) == [{"role": "user", "content": [mistral_s]}]


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "file", "file": {"filename": "a"}}]}, "content[0]"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}, "content"),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, "audio"),
        ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"name": "a"}}]}, "tool_calls[0]"),
    ],
)
def test_what_mistral_cannot_be_told_is_refused_with_its_place(message: Json, place: str) -> None:
    with pytest.raises(Unsupported) as refused:
        said(HELLO, message)
    assert refused.value.param == f"messages[1].{place}"


# From one turn to the next.

ids = st.from_regex(r"[A-Za-z0-9]{9}", fullmatch=True)
arguments = st.dictionaries(st.text(), st.text() | st.integers(-9, 9)).map(lambda given: orjson.dumps(given).decode())


@given(content=st.text(), calls=st.lists(st.tuples(ids, arguments), min_size=1, max_size=3))
def test_what_mistral_called_comes_back_to_it_unchanged(content: str, calls: list[tuple[str, str]]) -> None:
    told = [{"id": id, "function": {"name": "tide_table", "arguments": given}} for id, given in calls]
    message = {"role": "assistant", "content": content, "tool_calls": told}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    reply = UpstreamReply(200, (), orjson.dumps({"id": "1", "created": 1, "model": "m", "choices": choices}))
    heard = whole(answer(reply), created=1)["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": id, "content": "done"} for id, _ in calls]
    again = {**message, "tool_calls": [{**call, "type": "function"} for call in told]}
    assert said(HELLO, heard, *results) == [HELLO, again, *results]
