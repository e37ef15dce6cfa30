"""Whatever an OpenAI-shaped server writes, what comes out fits OpenAI's own types, and nothing said is lost."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.call import Json
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Usage
from gateway.dialects.openai_mend import Mender, mend_body, mend_usage, read_usage, without_null

ENVELOPE: Json = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1760000000, "model": "tide-1"}


def chunk(choice: Any, **more: Any) -> Json:
    return {**ENVELOPE, "choices": [choice], **more}


def sound(delta: Json, finish: str | None = None) -> Json:
    return chunk({"index": 0, "delta": delta, "finish_reason": finish})


def mended(*chunks: Json) -> list[Json]:
    """The chunks of one stream, mended; each fits the SDK's types."""
    mender = Mender()
    for one in chunks:
        mender.mend(one)
        ChatCompletionChunk.model_validate(one)
    return list(chunks)


def delta(told: Json) -> Json:
    return dict(mended(sound(told))[0]["choices"][0]["delta"])


def body(message: Any, **choice: Any) -> Json:
    return {**ENVELOPE, "object": "chat.completion", "choices": [{"message": message, **choice}]}


def mended_body(one: Json) -> Json:
    mend_body(one)
    ChatCompletion.model_validate(one)
    return one


@pytest.mark.parametrize(
    "one",
    [
        sound({"role": "assistant", "content": "", "refusal": None}),
        sound({"content": "ebb"}),
        sound({"refusal": "no"}),
        sound({}, "stop"),
        sound(
            {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}
        ),
        {**ENVELOPE, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
        {**sound({"content": "x"}), "service_tier": None, "usage": None, "obfuscation": "k", "x_extra": {"a": None}},
    ],
)
def test_what_is_right_stays_as_it_is(one: Json) -> None:
    before = copy.deepcopy(one)
    assert not Mender().mend(one)
    assert one == before


def test_a_choice_without_delta_gets_one() -> None:
    (azure,) = mended(chunk({"index": 0, "content_filter_results": {}}))
    assert azure["choices"] == [{"index": 0, "content_filter_results": {}, "delta": {}, "finish_reason": None}]
    (text,) = mended(chunk({"index": 0, "text": "ebb"}))
    assert text["choices"][0]["delta"] == {"content": "ebb"}
    (message,) = mended(chunk({"index": 0, "message": {"role": "assistant", "content": "ebb"}}))
    assert message["choices"][0]["delta"]["content"] == "ebb"


def test_what_names_a_stream_is_told_in_all_its_chunks() -> None:
    first, second = mended(sound({"content": "a"}), {"choices": [{"delta": {"content": "b"}}]})
    assert {name: second[name] for name in ENVELOPE} == {name: first[name] for name in ENVELOPE}
    assert second["choices"][0]["index"] == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("something new", "stop"),
        ("tool_call", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("content_filter", "content_filter"),
        ("function_call", "function_call"),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_every_finish_reason_becomes_one_of_openai_s(written: Any, meant: str | None) -> None:
    (one,) = mended(sound({}, written))
    assert one["choices"][0]["finish_reason"] == meant


@pytest.mark.parametrize("written", ["error", "insufficient_system_resource", "abort"])
def test_a_finish_reason_that_says_the_answer_broke_off_is_a_failure(written: str) -> None:
    with pytest.raises(UpstreamError) as failed:
        mended(sound({"content": "x"}, written))
    assert failed.value.failure is Failure.SERVER_ERROR


def test_nulls_are_left_out_where_the_grammar_has_none() -> None:
    nulls: Json = {"role": None, "tool_calls": None, "function_call": None, "content": "ebb"}
    assert delta(nulls) == {"content": "ebb"}
    (one,) = mended({**sound({}), "system_fingerprint": None, "obfuscation": None, "usage": None})
    assert "system_fingerprint" not in one
    assert "obfuscation" not in one
    assert one["usage"] is None


def test_the_role_is_named_once_for_each_choice() -> None:
    repeated = [sound({"role": "assistant", "content": text}) for text in ("e", "bb")]
    other = {**sound({"role": "assistant", "content": "flood"})}
    other["choices"] = [{**other["choices"][0], "index": 1}]
    told = [one["choices"][0]["delta"] for one in mended(*repeated, other)]
    assert told == [{"role": "assistant", "content": "e"}, {"content": "bb"}, {"role": "assistant", "content": "flood"}]


def test_reasoning_is_told_where_clients_look_for_it() -> None:
    assert delta({"reasoning": "Look it up."}) == {"reasoning": "Look it up.", "reasoning_content": "Look it up."}
    assert delta({"reasoning": "a", "reasoning_content": "b"})["reasoning_content"] == "b"
    assert delta({"reasoning": None, "content": "x"}) == {"reasoning": None, "content": "x"}


def test_content_in_parts_becomes_text() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Look "}, {"type": "text", "text": "it up."}]}
    told = delta({"content": [thinking, {"type": "text", "text": "High "}, "water"]})
    assert told == {"content": "High water", "reasoning_content": "Look it up."}


def calls_of(*fragments: Json) -> list[Json]:
    return [
        one["choices"][0]["delta"]["tool_calls"][0] for one in mended(*(sound({"tool_calls": [f]}) for f in fragments))
    ]


def test_a_call_without_index_id_type_or_arguments_gets_them() -> None:
    first, second, third = calls_of(
        {"function": {"name": "tide_table"}}, {"function": {"arguments": "{}"}}, {"function": {"name": "wind_now"}}
    )
    assert first["id"].startswith("call_")
    assert first == {
        "index": 0,
        "id": first["id"],
        "type": "function",
        "function": {"name": "tide_table", "arguments": ""},
    }
    assert second == {"index": 0, "function": {"arguments": "{}"}}
    assert (third["index"], third["function"]["name"]) == (1, "wind_now")
    assert third["id"] != first["id"]


def test_a_made_id_is_the_same_each_time_and_another_one_in_another_answer() -> None:
    fragment: Json = {"index": 0, "id": "", "function": {"name": "f"}}
    other = {**sound({"tool_calls": [copy.deepcopy(fragment)]}), "id": "gen-2"}
    one, again = calls_of(copy.deepcopy(fragment)), calls_of(copy.deepcopy(fragment))
    assert one == again
    assert mended(other)[0]["choices"][0]["delta"]["tool_calls"][0]["id"] != one[0]["id"]


def test_arguments_as_an_object_become_text() -> None:
    (call,) = calls_of({"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}})
    assert call["function"]["arguments"] == '{"a":1}'


def test_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    told = calls_of(
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"index": 0, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
    )
    assert [call["index"] for call in told] == [0, 1, 1]


def test_an_id_or_name_said_in_each_fragment_is_said_once() -> None:
    fragment: Json = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
    _, later = calls_of(copy.deepcopy(fragment), copy.deepcopy(fragment))
    assert later == {"index": 0, "type": "function", "function": {"arguments": "{"}}


def test_log_probabilities_are_complete() -> None:
    token = {"token": "ebb", "logprob": -0.5, "top_logprobs": [{"token": "ebb", "logprob": None}]}
    (one,) = mended(chunk({"index": 0, "delta": {}, "finish_reason": None, "logprobs": {"content": [token]}}))
    top = {"token": "ebb", "logprob": -9999.0, "bytes": None}
    content = [{"token": "ebb", "logprob": -0.5, "bytes": None, "top_logprobs": [top]}]
    assert one["choices"][0]["logprobs"] == {"content": content, "refusal": None}


def test_a_whole_answer_gets_what_the_grammar_requires() -> None:
    one = mended_body({"choices": [{"message": {"content": "ebb"}}]})
    message = {"role": "assistant", "content": "ebb", "refusal": None}
    assert one["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    assert (one["id"], one["created"], one["model"]) == ("", 0, "")


def test_a_whole_answer_that_calls_tools_without_a_reason_finishes_with_tool_calls() -> None:
    one = mended_body(body({"tool_calls": [{"function": {"name": "f"}}]}, finish_reason=""))
    (choice,) = one["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}


def test_a_forced_call_that_finishes_with_stop_is_left_so() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    one = mended_body(body({"content": None, "tool_calls": [call]}, finish_reason="stop"))
    assert one["choices"][0]["finish_reason"] == "stop"


def test_what_had_to_be_mended_is_said_to_have_been() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    mender = Mender()
    assert mender.mend(sound({"tool_calls": [dict(call)]}))
    assert mender.mend(sound({"tool_calls": [{"function": {"arguments": "{}"}}]}))
    right: Json = {
        "message": {"role": "assistant", "content": "x", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert mend_body({**ENVELOPE, "object": "chat.completion", "choices": [dict(right)]})
    assert not mend_body({**ENVELOPE, "object": "chat.completion", "choices": [{**right, "index": 0}]})


def test_custom_calls_stay_custom() -> None:
    call = {"id": "c", "type": "custom", "custom": {"name": "calc", "input": "4 + 4"}}
    one = mended_body(body({"content": None, "tool_calls": [dict(call)]}, finish_reason="tool_calls"))
    assert one["choices"][0]["message"]["tool_calls"] == [call]


def test_unknown_fields_pass() -> None:
    one = mended_body({**body({"content": "x", "citations": [1], "padding": None}), "timings": {"ms": 4.5}})
    assert one["timings"] == {"ms": 4.5}
    assert one["choices"][0]["message"]["citations"] == [1]


@pytest.mark.parametrize("tier", ["on_demand", "standard"])
def test_a_tier_of_another_name_is_the_default_one(tier: str) -> None:
    assert mended_body({**body({"content": "x"}), "service_tier": tier})["service_tier"] == "default"


FEW: Json = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 18}
MANY: Json = {"prompt_tokens": 9, "completion_tokens": 8}


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, Usage(9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 4)),
        ({"prompt_tokens": 9.0, "completion_tokens": "4", "total_tokens": None}, Usage(9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": None, "total_tokens": 9}, Usage(9, 0)),
        ({"prompt_tokens": -9, "completion_tokens": -4, "total_tokens": -13}, Usage(0, 0)),
        ({**FEW, "completion_tokens_details": {"reasoning_tokens": 7}}, Usage(9, 9, reasoning=7)),
        (FEW, Usage(9, 9)),
        ({**MANY, "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3}}, Usage(9, 8, 5, 3)),
        ({**MANY, "num_cached_tokens": 5}, Usage(9, 8, cache_read=5)),
        ({**MANY, "prompt_cache_hit_tokens": 5}, Usage(9, 8, cache_read=5)),
        ({**MANY, "prompt_tokens_details": None, "reasoning_tokens": 6}, Usage(9, 8, reasoning=6)),
    ],
)
def test_token_counts_have_one_convention(told: Json, meant: Usage) -> None:
    mend_usage(told := dict(told))
    assert read_usage(told) == meant


def test_usage_that_counts_nothing_is_none() -> None:
    (one,) = mended({**sound({}), "usage": {"queue_time": 0.1}})
    assert one["usage"] is None
    assert "usage" not in mended_body({**body({"content": "x"}), "usage": {}})


def test_a_null_is_cut_out_of_the_text_and_nothing_else() -> None:
    assert without_null(b'data: {"a":1,"usage":null,"b":2}\n\n', "usage") == b'data: {"a":1,"b":2}\n\n'
    said = orjson.dumps({"content": ',"usage":null', "x": 1})
    assert without_null(said, "usage") == b""
    assert without_null(b'{"timings":{"a":1,"usage":null},"usage":null}', "usage") == b""
    assert without_null(b'{"usage": null,"a":1}', "usage") == b""


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "stop", "x", "function"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def shuffled(fields: dict[str, Any]) -> st.SearchStrategy[Json]:
    """An object with any of these fields, each with a fitting value or any other."""
    return st.fixed_dictionaries({}, optional={name: value | json_values for name, value in fields.items()})


functions = shuffled({"name": st.just("f"), "arguments": st.just("{}")})
calls = shuffled(
    {"index": st.integers(0, 2), "id": st.sampled_from(["a", "b"]), "type": st.just("function"), "function": functions}
)
said = shuffled({
    "role": st.just("assistant"), "content": st.just("ebb"), "reasoning": st.just("r"), "refusal": st.none(),
    "tool_calls": st.lists(calls, max_size=3), "function_call": functions, "audio": st.none(),
    "annotations": st.just([]),
})  # fmt: skip
tokens = shuffled({"token": st.just("t"), "logprob": st.just(-1.0), "bytes": st.none(), "top_logprobs": st.just([])})
tokens = tokens.filter(
    lambda token: not isinstance(token.get("bytes"), list)
)  # what such a list holds is not looked at
logprobs = shuffled({"content": st.lists(tokens, max_size=2), "refusal": st.none()})
details = shuffled({"cached_tokens": st.integers(0, 9), "reasoning_tokens": st.integers(0, 9)})
usages = shuffled({
    "prompt_tokens": st.integers(0, 9), "completion_tokens": st.integers(0, 9), "total_tokens": st.integers(0, 9),
    "prompt_tokens_details": details, "completion_tokens_details": details,
})  # fmt: skip
choices = shuffled({
    "index": st.integers(0, 1), "delta": said, "message": said, "logprobs": logprobs,
    "finish_reason": st.sampled_from(["stop", None, "length"]),
})  # fmt: skip
answers = shuffled({
    **{name: st.just(value) for name, value in ENVELOPE.items()},
    "choices": st.lists(choices, max_size=2), "usage": usages, "service_tier": st.just("default"),
    "system_fingerprint": st.just("fp"), "obfuscation": st.just("k"),
})  # fmt: skip

NO_OBJECTS = (ValueError, LookupError, TypeError, AttributeError, UpstreamError)
"""What a list of something else than objects raises; `malformed` takes it for the server's failure."""


@given(st.lists(answers, max_size=3))
def test_chunks_fit_the_sdk_s_types_whatever_a_server_writes(written: list[Json]) -> None:
    mender = Mender()
    for one in written:
        try:
            mender.mend(one)
        except NO_OBJECTS:
            return
        without_sound = [{**choice, "delta": {**choice["delta"], "audio": None}} for choice in one["choices"]]
        ChatCompletionChunk.model_validate({**one, "choices": without_sound, "moderation": None})
        has_calls = any("tool_calls" in choice["delta"] for choice in one["choices"])  # a lone fragment is no opening
        assert has_calls or not Mender().mend(one)


@given(answers)
def test_bodies_fit_the_sdk_s_types_whatever_a_server_writes(one: Json) -> None:
    try:
        mend_body(one)
    except NO_OBJECTS:
        return
    aside: Json = {"audio": None, "annotations": []}
    choices = [{**choice, "message": {**choice["message"], **aside}} for choice in one["choices"]]
    ChatCompletion.model_validate({**one, "choices": choices, "moderation": None, "metadata": None})
    assert not mend_body(one)


@given(answers)
def test_a_chunk_that_passes_for_more_text_would_not_have_been_mended(one: Json) -> None:
    mender = Mender()
    mender.mend(sound({"content": "ebb"}))
    again = copy.deepcopy(one)
    if mender.is_more_text(one):
        assert not mender.mend(again)
