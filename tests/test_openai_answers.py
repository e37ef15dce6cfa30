"""OpenAI-shaped answers told as events, and OpenAI-shaped refusals told for what they are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Headers, Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import (
    Event,
    Finished,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.openai_answers import answer, refusal, stream

NAMED: Json = {"id": "gen-1", "created": 1760000000, "model": "tide-1"}
STARTED = Started("gen-1", "tide-1", 1760000000)
TARGET = Target("harbour", "tide-1", {})


def told(message: Json, finish: str | None = "stop", **more: Any) -> list[Event]:
    """The events of one unstreamed answer."""
    body = {**NAMED, "choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}
    return list(answer(UpstreamReply(200, (), orjson.dumps(body))))


def streamed(*choices: Json, last: bytes = b"data: [DONE]\n\n") -> list[Event]:
    decoder = stream(TARGET)
    events = [
        event
        for choice in choices
        for event in decoder.feed(b"data: " + orjson.dumps({**NAMED, "choices": [choice]}) + b"\n\n")
    ]
    return [*events, *decoder.feed(last), *decoder.end()]


def test_an_answer_is_told_in_order() -> None:
    counted = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
    assert told({"content": "ebb", "reasoning": "Look.", "refusal": "no"}, usage=counted) == [
        STARTED,
        Reasoning("Look."),
        Text("ebb"),
        Refusal("no"),
        Finished("stop"),
        UsageReported(Usage(21, 9)),
    ]


def test_tool_calls_begin_before_their_arguments() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "tide_table", "arguments": '{"days":2}'}}
    events = [
        STARTED,
        ToolCallStarted(0, "c", "tide_table"),
        ToolCallArguments(0, '{"days":2}'),
        Finished("tool_calls"),
    ]
    assert told({"content": None, "tool_calls": [call]}, "tool_calls") == events


def test_fragments_of_a_call_are_told_as_they_come() -> None:
    first = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}
    more = [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in ('{"a":', "1}")]
    assert streamed(*({"index": 0, "delta": delta} for delta in (first, *more))) == [
        STARTED,
        ToolCallStarted(0, "c", "f"),
        ToolCallArguments(0, '{"a":'),
        ToolCallArguments(0, "1}"),
        Finished("tool_calls"),
    ]


def test_a_function_call_of_the_older_grammar_is_told_as_a_tool_call() -> None:
    events = told({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call")
    assert events[1:] == [ToolCallStarted(0, "call_0", "f"), ToolCallArguments(0, "{}"), Finished("tool_calls")]


def test_a_custom_call_s_text_is_told_as_json() -> None:
    events = told(
        {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "calc", "input": "4 + 4"}}]}, "tool_calls"
    )
    assert events[1:3] == [ToolCallStarted(0, "c", "calc"), ToolCallArguments(0, '"4 + 4"')]


def test_spoken_output_is_told_as_its_transcript() -> None:
    assert Text("beep") in told({"content": None, "audio": {"id": "a", "transcript": "beep", "data": ""}})


def test_choices_keep_their_numbers() -> None:
    events = streamed(
        {"index": 1, "delta": {"content": "ebb"}, "finish_reason": "length"},
        {"index": 0, "delta": {"content": "flood"}, "finish_reason": "stop"},
    )
    assert events == [STARTED, Text("ebb", 1), Finished("length", 1), Text("flood"), Finished("stop")]


def test_a_choice_finishes_once() -> None:
    done = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
    assert streamed(done, {**done, "delta": {}}).count(Finished("stop")) == 1


def test_usage_is_reported_once_and_the_last_counts() -> None:
    usage = [
        orjson.dumps({**NAMED, "choices": [], "usage": {"prompt_tokens": n, "completion_tokens": n}}) for n in (1, 2)
    ]
    last = b"".join(b"data: " + one + b"\n\n" for one in usage) + b"data: [DONE]\n\n"
    events = streamed({"index": 0, "delta": {"content": "x"}}, last=last)
    assert [event for event in events if isinstance(event, UsageReported)] == [UsageReported(Usage(2, 2))]


# Refusals.


def refused(status: int, body: Any, headers: Headers = ()) -> UpstreamError:
    return refusal(UpstreamReply(status, headers, body if isinstance(body, bytes) else orjson.dumps(body)))


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        (400, Failure.REJECTED),
        (401, Failure.CREDENTIALS),
        (402, Failure.BILLING),
        (403, Failure.CREDENTIALS),
        (404, Failure.MODEL_MISSING),
        (405, Failure.REJECTED),
        (408, Failure.SERVER_ERROR),
        (413, Failure.REJECTED),
        (422, Failure.REJECTED),
        (429, Failure.RATE_LIMITED),
        (498, Failure.RATE_LIMITED),
        (500, Failure.SERVER_ERROR),
        (502, Failure.SERVER_ERROR),
        (503, Failure.OVERLOADED),
        (504, Failure.SERVER_ERROR),
        (529, Failure.OVERLOADED),
        (204, Failure.MALFORMED),
        (302, Failure.MALFORMED),
    ],
)
def test_without_a_reason_of_its_own_the_status_says_what_happened(status: int, meant: Failure) -> None:
    assert refused(status, {"error": {"message": "no"}}).failure is meant
    assert refused(status, b"").failure is meant


@pytest.mark.parametrize(
    ("status", "error", "meant"),
    [
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, Failure.BILLING),
        (403, {"code": "billing_not_active"}, Failure.BILLING),
        (400, {"code": "context_length_exceeded"}, Failure.CONTEXT_TOO_LONG),
        (400, {"type": "exceed_context_size_error", "code": 400}, Failure.CONTEXT_TOO_LONG),
        (400, {"message": "This model's maximum context length is 4096 tokens."}, Failure.CONTEXT_TOO_LONG),
        (400, {"message": "The prompt is too long: 9000, model maximum: 8192"}, Failure.CONTEXT_TOO_LONG),
        (422, {"message": "Input exceeds the limit of 4096 tokens"}, Failure.CONTEXT_TOO_LONG),
        (400, {"message": "max_tokens is too large: 99999"}, Failure.REJECTED),
        (400, {"innererror": {"code": "ResponsibleAIPolicyViolation"}}, Failure.CONTENT_FILTERED),
        (400, {"code": "content_filter"}, Failure.CONTENT_FILTERED),
        (403, {"code": 403, "metadata": {"flagged_input": "..."}}, Failure.CONTENT_FILTERED),
        (400, {"code": "model_decommissioned"}, Failure.MODEL_MISSING),
        (400, {"message": "The model `x` does not exist"}, Failure.MODEL_MISSING),
        (404, {"code": "DeploymentNotFound"}, Failure.MODEL_MISSING),
        (404, {"message": "tools is not supported in this model."}, Failure.REJECTED),
        (413, {"code": "rate_limit_exceeded"}, Failure.RATE_LIMITED),
        (503, {"code": "slow_down"}, Failure.OVERLOADED),
        (500, {"message": "the context length is 4096"}, Failure.CONTEXT_TOO_LONG),
        (503, {"message": "the context length is 4096"}, Failure.OVERLOADED),
    ],
)  # fmt: skip
def test_a_reason_of_its_own_is_surer_than_the_status(status: int, error: Json, meant: Failure) -> None:
    assert refused(status, {"error": error}).failure is meant


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no tide"}},
        {"error": "no tide"},
        {"error": {"error": {"message": "no tide"}}},
        {"object": "error", "message": "no tide", "code": 400},
        {"detail": "no tide"},
        {"detail": [{"loc": ["body"], "msg": "no tide"}]},
        {"message": "no tide"},
        [{"error": {"message": "no tide"}}],
        {"errors": [{"message": "no tide"}]},
        "no tide",
        b"no tide",
        b"<html><head><title>no\n tide</title></head><body>x</body></html>",
    ],
)
def test_every_shape_of_error_gives_its_words(body: Any) -> None:
    assert refused(400, body).message == "no tide"


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b"[]", b"7", b'{"error":null}', b'{"error":{"message":{}}}', b"\xff"]
)
def test_a_refusal_without_words_still_says_something(body: bytes) -> None:
    assert refused(400, body).message


def test_what_was_wrong_with_a_request_is_passed_on() -> None:
    error = {
        "message": "too hot",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "decimal_above_max_value",
    }
    failed = refused(400, {"error": error})
    assert failed.envelope() == {"error": error}
    assert failed.status == 400


def test_a_status_in_place_of_a_code_is_not_passed_on() -> None:
    assert refused(400, {"error": {"message": "no", "code": 400}}).code is None
    assert refused(400, {"error": {"message": "no", "code": "400"}}).code is None


def test_words_about_our_account_are_not_passed_on() -> None:
    failed = refused(
        429, {"error": {"message": "Limit reached in organization org-secret", "code": "rate_limit_exceeded"}}
    )
    assert "org-secret" not in failed.message
    assert "org-secret" in failed.said


DATE = (b"date", b"Sat, 01 Nov 2025 10:00:00 GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"retry-after", b"20")], 20),
        ([(b"retry-after", b"1.5")], 1.5),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"1")], 0.25),
        ([(b"retry-after-ms", b"0"), (b"retry-after", b"1")], 1),
        ([(b"retry-after", b"Sat, 01 Nov 2025 10:00:30 GMT"), DATE], 30),
        ([(b"retry-after", b"Sat, 01 Nov 2025 09:00:00 GMT"), DATE], 0),
        ([(b"retry-after", b"Sat, 01 Nov 2025 10:00:30 GMT")], None),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"-5")], 0),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"x-ratelimit-reset-requests", b"12ms"), (b"x-ratelimit-reset-tokens", b"6m0s")], 0.012),
        (
            [
                (b"x-ratelimit-reset-requests", b"120ms"),
                (b"x-ratelimit-remaining-requests", b"49"),
                (b"x-ratelimit-reset-tokens", b"5.42s"),
                (b"x-ratelimit-remaining-tokens", b"0"),
            ],
            5.42,
        ),
        ([(b"x-ratelimit-reset-tokens", b"1h2m3s")], 3723),
        ([(b"x-ratelimit-reset-tokens", b"-1")], None),
        ([(b"x-ratelimit-reset-tokens", b"7")], 7),
        ([], None),
    ],
)
def test_how_long_to_wait_is_read_in_every_dialect(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert refused(429, b"", tuple(headers)).retry_after == (pytest.approx(seconds) if seconds is not None else None)


def test_gemini_says_in_the_body_how_long_to_wait() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]
    assert refused(429, [{"error": {"code": 429, "message": "no", "details": details}}]).retry_after == 17


def test_a_limit_that_was_not_hit_is_no_reason_to_wait() -> None:
    assert refused(400, b"", ((b"x-ratelimit-reset-requests", b"12ms"),)).retry_after is None


@given(
    st.integers(0, 999),
    st.lists(
        st.tuples(
            st.sampled_from([b"retry-after", b"retry-after-ms", b"x-ratelimit-reset-tokens", b"date"]), st.binary()
        )
    ),
    st.binary(),
)
def test_no_header_makes_a_refusal_fail(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    assert isinstance(refused(status, body, tuple(headers)), UpstreamError)
