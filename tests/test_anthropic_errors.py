"""What the Messages API says when it refuses or fails, told for what it is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Headers, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.anthropic import answer, refusal, stream

DATE = (b"date", b"Sat, 21 Nov 2026 14:00:00 GMT")


def error(kind: str, message: str = "No.", **more: Any) -> bytes:
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_1"})


def refused(status: int, body: bytes, headers: Headers = ()) -> UpstreamError:
    return refusal(UpstreamReply(status, headers, body))


TYPES = [
    (400, "invalid_request_error", Failure.REJECTED),
    (401, "authentication_error", Failure.CREDENTIALS),
    (402, "billing_error", Failure.BILLING),
    (403, "permission_error", Failure.CREDENTIALS),
    (404, "not_found_error", Failure.MODEL_MISSING),
    (409, "conflict_error", Failure.REJECTED),
    (413, "request_too_large", Failure.REJECTED),
    (429, "rate_limit_error", Failure.RATE_LIMITED),
    (500, "api_error", Failure.SERVER_ERROR),
    (504, "timeout_error", Failure.SERVER_ERROR),
    (529, "overloaded_error", Failure.OVERLOADED),
]


@pytest.mark.parametrize(("status", "kind", "failure"), TYPES)
def test_each_type_of_error_is_a_failure(status: int, kind: str, failure: Failure) -> None:
    told = refused(status, error(kind, "Because."))
    assert (told.failure, told.said, told.upstream_status) == (failure, "Because.", status)


@pytest.mark.parametrize(("_", "kind", "failure"), TYPES)
def test_an_error_in_a_stream_is_the_same_failure(_: int, kind: str, failure: Failure) -> None:
    decoder = stream(Target("p", "claude", {}))
    with pytest.raises(UpstreamError) as failed:
        list(decoder.feed(b"event: error\ndata: " + error(kind) + b"\n\n"))
    assert failed.value.failure is failure


def test_the_type_is_surer_than_the_status() -> None:
    assert refused(500, error("overloaded_error")).failure is Failure.OVERLOADED


def test_an_error_with_status_200_is_a_failure() -> None:
    with pytest.raises(UpstreamError) as failed:
        list(answer(UpstreamReply(200, (), error("overloaded_error"))))
    assert failed.value.failure is Failure.OVERLOADED


@pytest.mark.parametrize(
    ("status", "kind", "message", "failure"),
    [
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", Failure.BILLING),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", Failure.BILLING),
        (429, "rate_limit_error", "Your organization has reached its monthly spend limit.", Failure.BILLING),
        (429, "rate_limit_error", "This request would exceed your organization's rate limit.", Failure.RATE_LIMITED),
        (400, "invalid_request_error", "prompt is too long: 209000 tokens > 200000 maximum", Failure.CONTEXT_TOO_LONG),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
            Failure.CONTEXT_TOO_LONG,
        ),
        (400, "invalid_request_error", "Output blocked by content filtering policy", Failure.CONTENT_FILTERED),
        (404, "not_found_error", "model: claude-ebb", Failure.MODEL_MISSING),
        (404, "not_found_error", "File not found: file_011", Failure.REJECTED),
        (400, "invalid_request_error", "model: Field required", Failure.REJECTED),
    ],
)
def test_the_words_say_more_than_the_type(status: int, kind: str, message: str, failure: Failure) -> None:
    assert refused(status, error(kind, message)).failure is failure


def test_a_spent_limit_is_known_by_its_code() -> None:
    body = error("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"})
    assert refused(429, body).failure is Failure.BILLING


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (502, b"<html><title>Bad gateway</title></html>", Failure.SERVER_ERROR),
        (529, b"", Failure.OVERLOADED),
        (401, b'{"error":{"code":"401","message":"Access denied"}}', Failure.CREDENTIALS),
        (404, b'{"error":"model \'ebb\' not found"}', Failure.MODEL_MISSING),
        (400, b"null", Failure.REJECTED),
        (307, b"", Failure.MALFORMED),
    ],
)
def test_what_others_in_between_say_is_understood(status: int, body: bytes, failure: Failure) -> None:
    assert refused(status, body).failure is failure


def test_the_providers_words_are_for_the_client_where_the_request_was_at_fault() -> None:
    told = refused(400, error("invalid_request_error", "messages: Field required"))
    assert told.envelope()["error"] == {
        "message": "messages: Field required",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert told.status == 400


# How long to wait.


def limit(kind: str, remaining: str, reset: str) -> Headers:
    name = f"anthropic-ratelimit-{kind}".encode()
    return ((name + b"-remaining", remaining.encode()), (name + b"-reset", reset.encode()))


def test_the_server_says_how_long_to_wait() -> None:
    headers: Headers = (DATE, (b"retry-after", b"7"), *limit("requests", "0", "2026-11-21T15:00:00Z"))
    assert refused(429, error("rate_limit_error"), headers).retry_after == 7


def test_or_when_the_limit_that_is_spent_is_replenished() -> None:
    headers: Headers = (
        DATE,
        *limit("requests", "41", "2026-11-21T14:00:01Z"),
        *limit("tokens", "0", "2026-11-21T14:00:30Z"),
        *limit("input-tokens", "0", "2026-11-21T14:00:20+00:00"),
    )
    assert refused(429, error("rate_limit_error"), headers).retry_after == 30


def test_or_when_the_first_limit_is_if_none_is_said_to_be_spent() -> None:
    headers: Headers = (
        DATE,
        *limit("requests", "4", "2026-11-21T14:00:09Z"),
        *limit("tokens", "1", "2026-11-21T14:01:00Z"),
    )
    assert refused(429, error("rate_limit_error"), headers).retry_after == 9


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (DATE,),
        limit("requests", "0", "2026-11-21T14:00:30Z"),
        (DATE, *limit("requests", "0", "soon")),
        (DATE, *limit("requests", "0", "2026-11-21T14:00:30")),
        ((b"date", b"today"), *limit("requests", "0", "2026-11-21T14:00:30Z")),
    ],
    ids=["nothing", "no limits", "no clock", "no time", "no zone", "no date"],
)
def test_without_two_times_there_is_no_wait(headers: Headers) -> None:
    assert refused(429, error("rate_limit_error"), headers).retry_after is None


def test_only_a_limited_request_waits_for_limits() -> None:
    headers: Headers = (DATE, *limit("requests", "0", "2026-11-21T14:00:30Z"))
    assert refused(500, error("api_error"), headers).retry_after is None
