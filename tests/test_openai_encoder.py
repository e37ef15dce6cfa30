"""What a model said, spelt for clients of OpenAI's API."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    LogProbs,
    Pictured,
    Reasoning,
    ReasoningSealed,
    Refusal,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.openai_answers import Decoder
from gateway.surfaces.openai_encoder import DONE, Encoder, whole

STARTED = Started("gen-1", "tide-1", 1760000000)
USAGE = Usage(21, 9, cache_read=16, cache_write=2, reasoning=4)
COUNTED = {
    "prompt_tokens": 21,
    "completion_tokens": 9,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def spelt(*events: Event, include_usage: bool = False) -> bytes:
    encoder = Encoder(created=7, include_usage=include_usage, id="call-1")
    return b"".join([encoder.encode(event) for event in events] + [encoder.end()])


def chunks(*events: Event, include_usage: bool = False) -> list[Any]:
    """What openai-python reads, each chunk checked against its types."""
    *read, last = SSEDecoder().iter_bytes(iter([spelt(*events, include_usage=include_usage)]))
    assert last.data == "[DONE]"
    told = [orjson.loads(one.data) for one in read]
    for one in told:
        ChatCompletionChunk.model_validate(one)
    return told


def deltas(*events: Event) -> list[Any]:
    return [one["choices"][0]["delta"] for one in chunks(*events)]


OPENING = {"role": "assistant", "content": ""}


def test_every_chunk_names_the_answer() -> None:
    told = chunks(STARTED, Text("ebb"), Finished("stop"))
    named = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1760000000, "model": "tide-1"}
    assert all({name: one[name] for name in named} == named for one in told)


def test_what_the_upstream_did_not_name_is_named_by_us() -> None:
    opening, *_ = chunks(Started("", "tide-1"), Text("ebb"), Finished("stop"))
    assert (opening["id"], opening["created"], opening["model"]) == ("call-1", 7, "tide-1")


def test_each_event_is_one_delta() -> None:
    assert deltas(
        STARTED,
        Reasoning("Look."),
        Text('he said "ebb"\u2028'),
        Refusal("no"),
        ToolCallStarted(0, "c", "f"),
        ToolCallArguments(0, "{}"),
        Finished("tool_calls"),
    ) == [
        OPENING,
        {"reasoning_content": "Look."},
        {"content": 'he said "ebb"\u2028'},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]


def test_sealed_reasoning_is_handed_out_for_the_next_turn() -> None:
    details = [
        told["reasoning_details"]
        for told in deltas(STARTED, ReasoningSealed("Look.", "s"), ReasoningSealed(data="x"), Finished("stop"))
        if "reasoning_details" in told
    ]
    assert details == [
        [{"type": "reasoning.text", "text": "Look.", "signature": "s", "index": 0}],
        [{"type": "reasoning.encrypted", "data": "x", "index": 1}],
    ]


def test_a_signed_call_carries_its_signature_where_gemini_has_it() -> None:
    (called,) = (
        told["tool_calls"][0]
        for told in deltas(ToolCallStarted(0, "c", "f", signature="s"), Finished("length"))
        if "tool_calls" in told
    )
    assert called["extra_content"] == {"google": {"thought_signature": "s"}}


def test_sources_and_pictures_are_told_as_they_come() -> None:
    said = deltas(
        STARTED, Cited("https://t.example", "Tides", 2, 5), Pictured("data:image/png;base64,AA=="), Finished("stop")
    )
    cited = {"url": "https://t.example", "title": "Tides", "start_index": 2, "end_index": 5}
    assert said[1:3] == [
        {"annotations": [{"type": "url_citation", "url_citation": cited, "index": 0}]},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}, "index": 0}]},
    ]


def test_the_items_of_a_list_are_numbered_so_that_openais_sdk_can_gather_them() -> None:
    said = deltas(STARTED, Cited("https://t.example"), Pictured("data:,"), Cited("https://u.example"), Finished("stop"))
    assert [told["annotations"][0]["index"] for told in said if "annotations" in told] == [0, 1]


TOKEN = {"token": "ebb", "logprob": -0.5, "bytes": None, "top_logprobs": []}


def test_likelihoods_stand_beside_the_delta() -> None:
    told = chunks(STARTED, LogProbs((TOKEN,)), Text("ebb"), Finished("stop"))
    assert [one["choices"][0]["logprobs"] for one in told][1:3] == [{"content": [TOKEN], "refusal": None}, None]


def test_every_choice_opens_with_its_role_and_ends_with_its_reason() -> None:
    told = chunks(STARTED, Text("ebb", 1), Text("flood"), Finished("length", 1), Finished("stop"))
    said = [
        (one["choices"][0]["index"], one["choices"][0]["delta"], one["choices"][0]["finish_reason"]) for one in told
    ]
    assert said == [
        (0, OPENING, None),
        (1, OPENING, None),
        (1, {"content": "ebb"}, None),
        (0, {"content": "flood"}, None),
        (1, {}, "length"),
        (0, {}, "stop"),
    ]


def test_a_call_without_arguments_is_given_empty_ones() -> None:
    calls: list[Event] = [ToolCallStarted(0, "a", "f"), ToolCallStarted(1, "b", "g"), ToolCallArguments(1, '{"x":1}')]
    *_, last, _ = deltas(STARTED, *calls, Finished("tool_calls"))
    assert last == {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}


def test_a_call_that_was_cut_off_is_not_completed() -> None:
    events: list[Event] = [STARTED, ToolCallStarted(0, "a", "f"), Finished("length")]
    assert len(chunks(*events)) == 3
    assert whole(events, created=7)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == ""


def test_usage_is_told_once_at_the_end_to_those_who_asked() -> None:
    events: list[Event] = [STARTED, UsageReported(Usage(1, 1)), Text("ebb"), Finished("stop"), UsageReported(USAGE)]
    *others, last = chunks(*events, include_usage=True)
    assert (last["choices"], last["usage"]) == ([], COUNTED)
    assert all(one["usage"] is None for one in others)
    assert all("usage" not in one for one in chunks(*events))


def test_usage_that_nobody_reported_is_not_told() -> None:
    assert all(one["usage"] is None for one in chunks(STARTED, Text("ebb"), Finished("stop"), include_usage=True))


def test_the_last_thing_said_is_the_full_stop() -> None:
    assert spelt(STARTED, Text("ebb"), Finished("stop")).endswith(b"\n\n" + DONE)


@pytest.mark.parametrize("name", ["", '""', '"content":""', "\\"])
def test_no_name_disturbs_the_text(name: str) -> None:
    told = chunks(Started(name, name), Text('""'), Finished("stop"), include_usage=True)
    assert told[1]["choices"][0]["delta"] == {"content": '""'}


def test_a_story_is_one_object() -> None:
    calls: list[Event] = [
        ToolCallStarted(0, "a", "f"),
        ToolCallStarted(1, "b", "g"),
        ToolCallArguments(1, '{"x":'),
        ToolCallArguments(1, "1}"),
    ]
    body = whole(
        [
            STARTED,
            Reasoning("Lo"),
            Reasoning("ok."),
            ReasoningSealed("Look.", "s"),
            Text("e"),
            Text("bb"),
            Cited("https://t.example"),
            Pictured("data:,"),
            LogProbs((TOKEN,)),
            *calls,
            Finished("tool_calls"),
            UsageReported(USAGE),
        ],
        created=7,
    )
    ChatCompletion.model_validate(body)
    message = {
        "role": "assistant",
        "content": "ebb",
        "refusal": None,
        "reasoning_content": "Look.",
        "reasoning_details": [{"type": "reasoning.text", "text": "Look.", "signature": "s", "index": 0}],
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"url": "https://t.example", "title": "", "start_index": 0, "end_index": 0},
            }
        ],
        "images": [{"type": "image_url", "image_url": {"url": "data:,"}}],
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}},
        ],
    }
    assert body == {
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "tide-1",
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": {"content": [TOKEN], "refusal": None},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": COUNTED,
    }


def test_an_answer_without_words_has_no_content() -> None:
    body = whole([Started("", "tide-1"), Refusal("no", choice=1), Finished("length")], created=7)
    assert body["created"] == 7
    assert [choice["message"]["content"] for choice in body["choices"]] == [None, None]
    assert [choice["message"]["refusal"] for choice in body["choices"]] == [None, "no"]
    assert "usage" not in body


reasons: list[FinishReason] = ["stop", "length", "tool_calls", "content_filter"]
words = st.text(min_size=1, max_size=9)
numbers = st.integers(0, 2)
stories = st.lists(
    st.builds(Text, words, numbers)
    | st.builds(Reasoning, words, choice=numbers)
    | st.builds(Refusal, words, numbers)
    | st.builds(UsageReported, st.builds(lambda asked, told: Usage(asked, told), numbers, numbers))
)


@given(stories, st.sampled_from(reasons), st.booleans())
def test_streamed_and_whole_tell_the_same_story(story: list[Event], reason: FinishReason, include_usage: bool) -> None:
    spoken = {event.choice for event in story if not isinstance(event, UsageReported | Started)} | {0}
    events: list[Event] = [STARTED, *story, *(Finished(reason, choice) for choice in sorted(spoken))]
    decoder = Decoder()
    heard = [*decoder.feed(spelt(*events, include_usage=include_usage)), *decoder.end()]
    told, meant = whole(heard, created=7), whole(events, created=7)
    assert told["choices"] == meant["choices"]
    assert told.get("usage") == (meant.get("usage") if include_usage else None)
