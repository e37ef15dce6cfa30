"""What Bedrock refuses is told for what it is: to the client what is its own, to the administrator what to do."""

from __future__ import annotations

import orjson
import pytest

from gateway.core.call import UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.bedrock import refusal
from gateway.dialects.bedrock_errors import CASES, KINDS


def refused(status: int, type: str, message: str, **headers: str) -> UpstreamError:
    named = (("x-amzn-errortype", f"{type}:http://internal.amazon.com/coral/com.amazon.bedrock/"), *headers.items())
    lines = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in named)
    return refusal(UpstreamReply(status, lines, orjson.dumps({"message": message})))


@pytest.mark.parametrize(
    ("status", "type", "message", "failure", "remedy"),
    [
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.",
         Failure.CREDENTIALS, "Enable this model"),
        (403, "AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel",
         Failure.CREDENTIALS, "bedrock:InvokeModelWithResponseStream"),
        (403, "AccessDeniedException", "Model access is denied due to INVALID_PAYMENT_INSTRUMENT:A valid one",
         Failure.BILLING, "payment method"),
        (403, "AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.",
         Failure.CREDENTIALS, "valid API key"),
        (400, "ValidationException", "The provided model identifier is invalid.", Failure.MODEL_MISSING, "model id"),
        (400, "ValidationException", "Invocation of model ID x with on-demand throughput is not supported.",
         Failure.MODEL_MISSING, "us., eu., apac. or global."),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model from the provided model identifier.",
         Failure.MODEL_MISSING, "in this region"),
        (404, "ResourceNotFoundException", "Model use case details have not been submitted for this account.",
         Failure.CREDENTIALS, "Submit the use case details"),
        (429, "ThrottlingException", "Too many requests, please wait before trying again.",
         Failure.OVERLOADED, "Service Quotas"),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.",
         Failure.RATE_LIMITED, "quota is spent"),
        (400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account.",
         Failure.RATE_LIMITED, "Service Quotas"),
        (403, "ExpiredTokenException", "The security token included in the request is expired",
         Failure.CREDENTIALS, "have expired"),
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.",
         Failure.CREDENTIALS, "access key id"),
        (403, "InvalidSignatureException", "The request signature we calculated does not match yours.",
         Failure.CREDENTIALS, "secret access key"),
        (403, "InvalidSignatureException", "Signature expired: 20251117T063822Z is now earlier than 20251117T063849Z",
         Failure.CREDENTIALS, "clock"),
    ],
)  # fmt: skip
def test_everyone_is_told_what_to_do_and_nobody_of_the_account(
    status: int, type: str, message: str, failure: Failure, remedy: str
) -> None:
    error = refused(status, type, message)
    assert error.failure is failure
    assert remedy in error.message
    assert remedy in error.noted
    assert message.rstrip(".") not in error.message + error.noted


@pytest.mark.parametrize(
    ("message", "failure", "code"),
    [
        ("Input is too long for requested model.", Failure.CONTEXT_TOO_LONG, "context_length_exceeded"),
        ("The model returned the following errors: prompt is too long: 9 tokens > 8 maximum",
         Failure.CONTEXT_TOO_LONG, "context_length_exceeded"),
        ("The model returned the following errors: input length and `max_tokens` exceed context limit: 9 + 9 > 8",
         Failure.CONTEXT_TOO_LONG, "context_length_exceeded"),
        ("Output blocked by content filtering policy", Failure.CONTENT_FILTERED, "content_filter"),
        ("This model doesn't support tool use.", Failure.REJECTED, None),
        ("The text field in the ContentBlock object at messages.0.content.0 is blank.", Failure.REJECTED, None),
    ],
)  # fmt: skip
def test_the_client_hears_what_was_wrong_with_its_own_request(message: str, failure: Failure, code: str | None) -> None:
    error = refused(400, "ValidationException", message)
    assert (error.failure, error.status, error.message, error.code) == (failure, 400, message, code)


@pytest.mark.parametrize(
    ("status", "type", "failure"),
    [
        (408, "ModelTimeoutException", Failure.SERVER_ERROR),
        (424, "ModelErrorException", Failure.SERVER_ERROR),
        (429, "ModelNotReadyException", Failure.OVERLOADED),
        (500, "InternalServerException", Failure.SERVER_ERROR),
        (503, "ServiceUnavailableException", Failure.OVERLOADED),
        (418, "ExceptionOfTomorrow", Failure.REJECTED),
    ],
)
def test_a_type_is_known_by_its_name_and_an_unknown_one_by_its_status(status: int, type: str, failure: Failure) -> None:
    assert refused(status, type, "Sorry.").failure is failure


def test_words_count_only_for_the_types_that_mean_something_by_them() -> None:
    assert refused(503, "ServiceUnavailableException", "Open 24 hours per day.").failure is Failure.OVERLOADED


def test_the_type_may_stand_in_the_body() -> None:
    body = b'{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"Authentication failed"}'
    error = refusal(UpstreamReply(403, (), body))
    assert (error.failure, error.upstream_code) == (Failure.CREDENTIALS, "AccessDeniedException")
    assert error.said.startswith("Authentication failed")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<title>502</title>", b'{"message":null}'])
def test_a_refusal_that_says_nothing_is_told_by_its_status(body: bytes) -> None:
    error = refusal(UpstreamReply(502, (), body))
    assert error.failure is Failure.SERVER_ERROR
    assert error.said


def test_a_time_to_wait_is_told() -> None:
    assert refused(429, "ThrottlingException", "Slow down.", retry_after="7").retry_after == 7


def test_every_special_case_is_of_a_type_that_is_known() -> None:
    assert {case.type for case in CASES} <= KINDS.keys()
