"""What Cohere answers, told as events, and its refusals, told for what they are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Headers, Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import (
    Cited,
    Event,
    Finished,
    LogProbs,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.cohere import answer, refusal, stream

TARGET = Target("harbour", "tide-1", {})
STARTED = Started("ans-1", "")
START: Json = {"type": "message-start", "id": "ans-1", "delta": {"message": {"role": "assistant", "content": []}}}
USAGE: Json = {
    "billed_units": {"input_tokens": 5, "output_tokens": 9},
    "tokens": {"input_tokens": 503, "output_tokens": 30, "reasoning_tokens": 12},
    "cached_tokens": 480,
}
REPORTED = UsageReported(Usage(503, 30, cache_read=480, reasoning=12))


def whole(message: Json, finish: str = "COMPLETE", **more: Any) -> list[Event]:
    body = {"id": "ans-1", "message": {"role": "assistant", **message}, "finish_reason": finish, **more}
    return list(answer(UpstreamReply(200, (), orjson.dumps(body))))


def written(*events: Json) -> bytes:
    return b"".join(
        b"event: " + str(event.get("type")).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n" for event in events
    )


def streamed(*events: Json, tail: bytes = b"") -> list[Event]:
    decoder = stream(TARGET)
    return [*decoder.feed(written(START, *events) + tail), *decoder.end()]


def saying(kind: str, **message: Any) -> Json:
    return {"type": kind, "index": 0, "delta": {"message": message}}


def end(finish: str = "COMPLETE", **more: Any) -> Json:
    return {"type": "message-end", "delta": {"finish_reason": finish, "usage": USAGE, **more}}


def call(id: str, arguments: str | None) -> Json:
    return {"id": id, "type": "function", "function": {"name": "wind_now", "arguments": arguments}}


# Answers.


def test_thoughts_and_words_are_told_in_order() -> None:
    content = [{"type": "thinking", "thinking": "Look."}, {"type": "text", "text": "Ebb."}]
    expected = [STARTED, Reasoning("Look."), Text("Ebb."), Finished("stop"), REPORTED]
    assert whole({"content": content}, usage=USAGE) == expected
    thought = saying("content-delta", content={"thinking": "Look."})
    assert streamed(thought, saying("content-delta", content={"text": "Ebb."}), end()) == expected


def test_a_plan_is_said_to_the_user() -> None:
    events = whole({"tool_plan": "I will look.", "tool_calls": [call("c1", "{}")]}, "TOOL_CALL")
    assert events == [
        STARTED,
        Text("I will look."),
        ToolCallStarted(0, "c1", "wind_now"),
        ToolCallArguments(0, "{}"),
        Finished("tool_calls"),
    ]
    assert streamed(saying("tool-plan-delta", tool_plan="I will"), end())[1] == Text("I will")


@pytest.mark.parametrize("nothing", ["", "null", None])
def test_a_call_without_arguments_has_none(nothing: str | None) -> None:
    calls = [ToolCallStarted(0, "c1", "wind_now")]
    assert whole({"tool_calls": [call("c1", nothing)]}, "TOOL_CALL")[1:-1] == calls
    assert streamed(saying("tool-call-start", tool_calls=call("c1", nothing)), end("TOOL_CALL"))[1:-2] == calls


def test_calls_are_counted_from_0_in_the_order_in_which_they_start() -> None:
    def at(index: int, event: Json) -> Json:
        return {**event, "index": index}

    more = saying("tool-call-delta", tool_calls={"function": {"arguments": "{}"}})
    told = streamed(
        at(3, saying("tool-call-start", tool_calls=call("c1", ""))),
        at(3, more),
        at(5, saying("tool-call-start", tool_calls=call("c2", ""))),
        at(5, more),
        end("TOOL_CALL"),
    )
    assert told[1:-2] == [
        ToolCallStarted(0, "c1", "wind_now"),
        ToolCallArguments(0, "{}"),
        ToolCallStarted(1, "c2", "wind_now"),
        ToolCallArguments(1, "{}"),
    ]


def test_a_source_is_named_by_its_address_or_as_the_clients_own() -> None:
    sources = [
        {"type": "document", "id": "almanac", "document": {"id": "almanac", "title": "Almanac", "text": "Springs."}},
        {"type": "tool", "id": "c1:0", "tool_output": {"url": "https://tides.example", "content": "14:05"}},
    ]
    cited = {"start": 0, "end": 3, "text": "Ebb", "sources": sources, "type": "TEXT_CONTENT"}
    told = [Cited("document:almanac", "Almanac", 0, 3), Cited("https://tides.example", "", 0, 3)]
    assert whole({"content": [{"type": "text", "text": "Ebb."}], "citations": [cited]})[2:-1] == told


def test_the_place_of_a_source_counts_from_the_beginning_of_all_text() -> None:
    cited = {"start": 4, "end": 9, "text": "14:05", "sources": [{"id": "d"}], "content_index": 1}
    content = [{"type": "text", "text": "Ebb. "}, {"type": "text", "text": "(At 14:05.)"}]
    (found,) = (event for event in whole({"content": content, "citations": [cited]}) if isinstance(event, Cited))
    assert "Ebb. (At 14:05.)"[found.start : found.end] == "14:05"


def test_the_source_of_a_thought_is_not_told_as_one_of_the_text() -> None:
    cited = {"start": 0, "end": 3, "sources": [{"id": "d"}], "type": "THINKING_CONTENT"}
    assert not any(isinstance(event, Cited) for event in streamed(saying("citation-start", citations=cited), end()))


def test_the_likelihood_of_a_text_is_that_of_its_tokens_together() -> None:
    likely = {"text": "ebb 潮", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}
    entry = {"token": "ebb 潮", "logprob": -0.75, "bytes": [101, 98, 98, 32, 230, 189, 174], "top_logprobs": []}
    assert LogProbs((entry,)) in whole({"content": []}, logprobs=[likely])
    delta = {**saying("content-delta", content={"text": "ebb 潮"}), "logprobs": likely}
    assert streamed(delta, end())[1:3] == [Text("ebb 潮"), LogProbs((entry,))]


@pytest.mark.parametrize(
    ("finish", "meant"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR_TOXIC", "content_filter"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_every_finish_reason_becomes_one_of_openai_s(finish: str, meant: Any) -> None:
    assert Finished(meant) in whole({"content": []}, finish)


def test_an_answer_with_calls_that_is_complete_finishes_with_them() -> None:
    assert Finished("tool_calls") in whole({"tool_calls": [call("c1", "{}")]}, "COMPLETE")
    assert Finished("length") in whole({"tool_calls": [call("c1", "{")]}, "MAX_TOKENS")


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (USAGE, [REPORTED]),
        ({"billed_units": {"input_tokens": 5, "output_tokens": 9}}, [UsageReported(Usage(5, 9))]),
        ({"tokens": {"input_tokens": 5.0, "output_tokens": 9}, "cached_tokens": 8}, [UsageReported(Usage(5, 9, 5))]),
        ({}, []),
        (None, []),
    ],
)
def test_tokens_count_and_not_what_is_billed(usage: Json | None, told: list[Event]) -> None:
    assert [event for event in whole({"content": []}, usage=usage) if isinstance(event, UsageReported)] == told


@pytest.mark.parametrize("tail", [b"data: [DONE]\n\n", b"data: [DO", b": bye\n\n", b"data: {}\n\n"])
def test_after_the_full_stop_nothing_more_is_looked_at(tail: bytes) -> None:
    assert streamed(end(), tail=tail) == streamed(end())


def test_an_event_that_nobody_knows_is_passed_over() -> None:
    assert streamed({"type": "debug", "prompt": "x"}, end()) == streamed(end())


# Failures.


def failed(*events: Json) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        streamed(*events)
    return raised.value


@pytest.mark.parametrize("finish", ["ERROR", "TIMEOUT", "ERROR_LIMIT"])
def test_an_answer_that_broke_off_is_a_failure(finish: str) -> None:
    assert failed(end(finish)).failure is Failure.SERVER_ERROR
    with pytest.raises(UpstreamError):
        whole({"content": []}, finish)


def test_what_broke_an_answer_off_is_kept() -> None:
    told = failed(end("ERROR", error="invalid tool generation", error_type="INVALID_TOOL_GENERATION"))
    assert (told.said, told.upstream_code) == ("invalid tool generation", "INVALID_TOOL_GENERATION")


def test_an_error_in_place_of_an_event_or_an_answer_is_a_failure() -> None:
    error = {"id": "e1", "message": "too many tokens: size limit exceeded"}
    assert failed(error).failure is Failure.CONTEXT_TOO_LONG
    with pytest.raises(UpstreamError) as raised:
        list(answer(UpstreamReply(200, (), orjson.dumps(error))))
    assert raised.value.failure is Failure.CONTEXT_TOO_LONG


def test_a_stream_without_its_full_stop_is_cut_short() -> None:
    assert failed(saying("content-delta", content={"text": "Ebb"})).failure is Failure.TRUNCATED
    decoder = stream(TARGET)
    list(decoder.feed(written(START) + b'event: message-end\ndata: {"type":"message-'))
    with pytest.raises(UpstreamError) as raised:
        list(decoder.end())
    assert raised.value.failure is Failure.TRUNCATED


def test_a_stream_that_begins_in_its_middle_makes_no_sense() -> None:
    decoder = stream(TARGET)
    with pytest.raises(UpstreamError) as raised:
        list(decoder.feed(written(saying("content-delta", content={"text": "Ebb"}))))
    assert raised.value.failure is Failure.MALFORMED


def refused(status: int, body: Json | bytes, headers: Headers = ()) -> UpstreamError:
    return refusal(UpstreamReply(status, headers, body if isinstance(body, bytes) else orjson.dumps(body)))


TRIAL = "You are using a Trial key, which is limited to {}. You can continue to use the Trial key for free."


@pytest.mark.parametrize(
    ("status", "said", "meant"),
    [
        (400, "invalid request: temperature must be between 0 and 1.0 inclusive.", Failure.REJECTED),
        (400, "too many tokens: size limit exceeded by 25836 tokens.", Failure.CONTEXT_TOO_LONG),
        (400, "too many tokens: max tokens must be less than or equal to 4096, the maximum output.", Failure.REJECTED),
        (401, "invalid api token", Failure.CREDENTIALS),
        (402, "Please add or update your payment method", Failure.BILLING),
        (404, "model 'xyz' not found, make sure the correct model ID was used", Failure.MODEL_MISSING),
        (422, "message must be at least 1 token long", Failure.REJECTED),
        (429, TRIAL.format("40 API calls / minute"), Failure.RATE_LIMITED),
        (429, "trial token rate limit exceeded, limit is 100000 tokens per minute", Failure.RATE_LIMITED),
        (429, TRIAL.format("1000 API calls / month"), Failure.BILLING),
        (498, "blocked input", Failure.CONTENT_FILTERED),
        (499, "request cancelled", Failure.SERVER_ERROR),
        (500, "internal server error", Failure.SERVER_ERROR),
        (503, "service unavailable", Failure.OVERLOADED),
    ],
)
def test_a_refusal_is_told_for_what_it_is(status: int, said: str, meant: Failure) -> None:
    error = refused(status, {"id": "e1", "message": said})
    assert (error.failure, error.said, error.upstream_status) == (meant, said, status)


def test_a_refusal_says_how_long_to_wait_and_which_kind_it_is() -> None:
    told = refused(429, {"message": "Please wait", "error_type": "RATE"}, ((b"retry-after", b"7"),))
    assert (told.retry_after, told.upstream_code) == (7.0, "RATE")


def test_a_refusal_without_words_is_told_by_its_status() -> None:
    assert refused(502, b"<html><title>Bad gateway</title></html>").said == "Bad gateway"
    assert refused(502, b"").said == "HTTP 502 without an explanation"
