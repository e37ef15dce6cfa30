"""What Gemini refuses, told for what it is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Headers, Json, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.gemini_errors import refusal


def refused(
    code: int, status: str, message: str = "No.", *details: Json, headers: Headers = (), wrapped: bool = False
) -> UpstreamError:
    body: Any = {"error": {"code": code, "status": status, "message": message, "details": list(details)}}
    return refusal(UpstreamReply(code, headers, orjson.dumps([body] if wrapped else body)))


def reason(name: str) -> Json:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "domain": "googleapis.com"}


def quota(name: str) -> Json:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
A_MINUTE = quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
A_DAY = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")


@pytest.mark.parametrize(
    ("code", "status", "message", "failure"),
    [
        (400, "INVALID_ARGUMENT", "Please use a valid role: user, model.", Failure.REJECTED),
        (400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", Failure.CREDENTIALS),
        (400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens (8).",
         Failure.CONTEXT_TOO_LONG),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", Failure.CREDENTIALS),
        (400, "FAILED_PRECONDITION", "Please enable billing on your project.", Failure.BILLING),
        (400, "FAILED_PRECONDITION", "The File abc is not in an ACTIVE state.", Failure.REJECTED),
        (401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", Failure.CREDENTIALS),
        (403, "PERMISSION_DENIED", "Your API key was reported as leaked.", Failure.CREDENTIALS),
        (403, "PERMISSION_DENIED", "You do not have permission to access the File abc.", Failure.REJECTED),
        (403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)", Failure.REJECTED),
        (404, "NOT_FOUND", "models/tide-9 is not found for API version v1beta.", Failure.MODEL_MISSING),
        (404, "NOT_FOUND", "Not found: cache content metadata 875.", Failure.REJECTED),
        (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", Failure.RATE_LIMITED),
        (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", Failure.BILLING),
        (429, "RESOURCE_EXHAUSTED", "* Quota exceeded for metric: requests, limit: 0, model: x", Failure.BILLING),
        (499, "CANCELLED", "The operation was cancelled.", Failure.SERVER_ERROR),
        (500, "INTERNAL", "An internal error has occurred.", Failure.SERVER_ERROR),
        (503, "UNAVAILABLE", "The model is overloaded. Please try again later.", Failure.OVERLOADED),
        (504, "DEADLINE_EXCEEDED", "The request timed out. Please try again.", Failure.SERVER_ERROR),
    ],
)  # fmt: skip
def test_an_error_is_told_by_its_status_and_its_words(code: int, status: str, message: str, failure: Failure) -> None:
    error = refused(code, status, message)
    assert error.failure is failure
    assert error.said == message


@pytest.mark.parametrize(
    ("code", "status", "detail", "failure"),
    [
        (400, "INVALID_ARGUMENT", reason("API_KEY_INVALID"), Failure.CREDENTIALS),
        (403, "PERMISSION_DENIED", reason("BILLING_DISABLED"), Failure.BILLING),
        (429, "RESOURCE_EXHAUSTED", A_MINUTE, Failure.RATE_LIMITED),
        (429, "RESOURCE_EXHAUSTED", A_DAY, Failure.BILLING),
    ],
)
def test_details_are_surer_than_the_status(code: int, status: str, detail: Json, failure: Failure) -> None:
    assert refused(code, status, "No.", detail).failure is failure


def test_a_reason_that_only_the_debugging_notes_name_is_found() -> None:
    notes = {"detail": "[ORIGINAL ERROR] generic::failed_precondition: User location is not supported."}
    assert refused(400, "FAILED_PRECONDITION", "$grpcMessage", notes).failure is Failure.CREDENTIALS


def test_a_limit_says_how_long_to_wait() -> None:
    assert refused(429, "RESOURCE_EXHAUSTED", "No.", A_MINUTE, RETRY).retry_after == 34.4


def test_an_error_may_be_wrapped_in_a_list() -> None:
    assert refused(503, "UNAVAILABLE", wrapped=True).failure is Failure.OVERLOADED


def test_a_prompt_too_long_has_openais_code() -> None:
    error = refused(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens (8).")
    assert (error.code, error.status) == ("context_length_exceeded", 400)


def test_a_request_that_was_refused_keeps_googles_code_and_words() -> None:
    error = refused(400, "INVALID_ARGUMENT", "Please use a valid role.")
    assert error.envelope()["error"]["code"] == "INVALID_ARGUMENT"
    assert error.envelope()["error"]["message"] == "Please use a valid role."


@pytest.mark.parametrize(
    "body", [b"", b"<html><title>Error 404 (Not Found)!!1</title>", b"[]", b'{"error": {"status": 5}}']
)
def test_a_refusal_of_any_shape_goes_by_its_status(body: bytes) -> None:
    assert refusal(UpstreamReply(404, (), body)).failure is Failure.MODEL_MISSING


@pytest.mark.parametrize("details", [5, [5], [{"reason": []}], [{"violations": 5}], [{"violations": [5]}]])
def test_details_of_any_shape_are_survived(details: Any) -> None:
    body = {"error": {"code": 500, "status": "INTERNAL", "message": "No.", "details": details}}
    assert refusal(UpstreamReply(500, (), orjson.dumps(body))).failure is Failure.SERVER_ERROR


def test_words_do_not_make_a_refusal_of_a_redirect() -> None:
    error = refused(302, "NOT_FOUND", "Gone elsewhere.")
    assert (error.failure, error.status) == (Failure.MALFORMED, 502)
