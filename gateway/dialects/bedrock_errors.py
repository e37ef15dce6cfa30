"""What Amazon Bedrock says when it refuses or fails, and which `Failure` that is. Pure; never raises.

An error has a type (`ThrottlingException`), told in a header, in the body's `__type`, or as the name of an event in a
stream that began well; what a type leaves open, its words tell. The words often speak of the AWS account, so clients
hear them only where the request itself was at fault.

https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from gateway.core.call import UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.refusals import SAID_LIMIT, by_status, by_words, error_in, message_of, read, retry_after


class Kind(NamedTuple):
    """What a type of error means, and what an administrator can do about it."""

    status: int
    """The status it has outside of a stream."""
    failure: Failure
    remedy: str = ""


ALLOW = "allow the identity bedrock:InvokeModel, and for streams bedrock:InvokeModelWithResponseStream"
QUOTA = "ask for a larger quota in the AWS Service Quotas console"

KINDS: dict[str, Kind] = {
    "AccessDeniedException": Kind(
        403, Failure.CREDENTIALS, f"Enable this model, in this region, in the Amazon Bedrock console, and {ALLOW}."
    ),
    "ConflictException": Kind(400, Failure.REJECTED),
    "ExpiredTokenException": Kind(
        403,
        Failure.CREDENTIALS,
        "The temporary credentials have expired: give new ones, or some that renew themselves.",
    ),
    "IncompleteSignatureException": Kind(400, Failure.CREDENTIALS),
    "InternalFailure": Kind(500, Failure.SERVER_ERROR),
    "InternalServerException": Kind(500, Failure.SERVER_ERROR),
    "InvalidSignatureException": Kind(
        403, Failure.CREDENTIALS, "Check the secret access key, and that the region is the one of the endpoint."
    ),
    "MissingAuthenticationTokenException": Kind(403, Failure.CREDENTIALS),
    "ModelErrorException": Kind(424, Failure.SERVER_ERROR),
    "ModelNotReadyException": Kind(429, Failure.OVERLOADED),
    "ModelStreamErrorException": Kind(424, Failure.SERVER_ERROR),
    "ModelTimeoutException": Kind(408, Failure.SERVER_ERROR),
    "ResourceNotFoundException": Kind(
        404, Failure.MODEL_MISSING, "Check that the model is offered in this region and has not been retired."
    ),
    "ServiceQuotaExceededException": Kind(400, Failure.RATE_LIMITED, f"To get more, {QUOTA}."),
    "ServiceUnavailableException": Kind(503, Failure.OVERLOADED),
    "ThrottlingException": Kind(
        429, Failure.OVERLOADED, f"Send fewer requests, {QUOTA}, or use an inference profile that spans regions."
    ),
    "TooManyRequestsException": Kind(429, Failure.OVERLOADED),
    "UnrecognizedClientException": Kind(
        403,
        Failure.CREDENTIALS,
        "Check the access key id, that its user is active, and the session token if it has one.",
    ),
    "ValidationException": Kind(400, Failure.REJECTED),
}


class Case(NamedTuple):
    """What a type of error means when it says certain words."""

    type: str
    words: re.Pattern[str]
    failure: Failure
    remedy: str = ""


def _case(type: str, words: str, failure: Failure, remedy: str = "") -> Case:
    return Case(type, re.compile(words, re.IGNORECASE), failure, remedy)


CASES: tuple[Case, ...] = (
    _case(
        "AccessDeniedException", r"payment.instrument|marketplace subscription", Failure.BILLING,
        "Add a valid payment method to the AWS account, or complete the model's AWS Marketplace subscription.",
    ),
    _case(
        "AccessDeniedException", r"API key", Failure.CREDENTIALS,
        "Give a valid API key: those from the console's short-term offer live for twelve hours at most.",
    ),
    _case(
        "AccessDeniedException", r"not authorized to perform", Failure.CREDENTIALS,
        f"In IAM, {ALLOW}, on this model and on its inference profile.",
    ),
    _case(
        "InvalidSignatureException", r"signature (expired|not yet current)", Failure.CREDENTIALS,
        "The clock of this machine is wrong: set it by NTP.",
    ),
    _case(
        "ResourceNotFoundException", r"use case details", Failure.CREDENTIALS,
        "Submit the use case details for Anthropic's models in the Amazon Bedrock console.",
    ),
    _case(
        "ThrottlingException", r"per day", Failure.RATE_LIMITED,
        f"The day's quota is spent: {QUOTA}, or add another target.",
    ),
    _case(
        "ValidationException", r"on-demand throughput", Failure.MODEL_MISSING,
        "Use an inference profile as the model: mostly the same id with us., eu., apac. or global. before it.",
    ),
    _case(
        "ValidationException", r"model identifier is invalid", Failure.MODEL_MISSING,
        "Compare the model id with the ones in the Amazon Bedrock console.",
    ),
    _case("ValidationException", r"content filtering policy", Failure.CONTENT_FILTERED),
)  # fmt: skip
"""The first that fits decides; where none does, the type's `Kind`."""

UNKNOWN = Kind(500, Failure.SERVER_ERROR)
"""An error inside of an answer, of a type that nobody knows."""


def refusal(reply: UpstreamReply) -> UpstreamError:
    """What went wrong, for every status but 200. Never raises, whatever the body."""
    body = read(reply.body)
    error = failed(_type_of(reply, body), message_of(error_in(body)) or _message_in(body), reply.status)
    error.retry_after = retry_after(reply, body, error.failure)
    return error


def failure_in(body: Any) -> UpstreamError | None:
    """The failure that an answer with status 200 holds instead of words."""
    type, message = _type_in(body), _message_in(body)
    return failed(type, message, KINDS.get(type, UNKNOWN).status) if type or message else None


def in_stream(type: str, message: str) -> UpstreamError:
    """The failure that an event of a stream tells: its type may begin with a small letter there."""
    type = type[:1].upper() + type[1:]
    return failed(type, message, KINDS.get(type, UNKNOWN).status)


def failed(type: str, message: str, status: int) -> UpstreamError:
    """A failure of a type, in the provider's words, and what to do about it in ours."""
    failure, remedy = _meaning(type, message, status)
    said = (message or type or f"HTTP {status} without an explanation")[:SAID_LIMIT]
    error = UpstreamError(failure, said, status=status, remedy=remedy)
    error.upstream_code = type or None  # for the log; clients look for OpenAI's codes
    return error


def _meaning(type: str, message: str, status: int) -> tuple[Failure, str]:
    for case in CASES:
        if case.type == type and case.words.search(message):
            return case.failure, case.remedy
    known = KINDS.get(type, Kind(status, by_status(status)))
    worded = by_words(status, message) if known.failure is Failure.REJECTED else None
    return worded or known.failure, known.remedy


def _type_of(reply: UpstreamReply, body: Any) -> str:
    """The type of an error, without where it is from: `ValidationException:http://internal.amazon.com/coral/...`."""
    header = reply.header(b"x-amzn-errortype").decode(errors="replace")
    return _bare(header) if header else _type_in(body)


def _type_in(body: Any) -> str:
    """`__type` of a body, or of the `Output` in which AWS wraps errors of requests it could make nothing of."""
    for holder in (body, body.get("Output")) if isinstance(body, dict) else ():
        if isinstance(holder, dict) and isinstance(holder.get("__type"), str):
            return _bare(holder["__type"])
    return ""


def _bare(type: str) -> str:
    return type.partition(":")[0].rpartition("#")[2]


def _message_in(body: Any) -> str:
    """`message`; some services of AWS write `Message`."""
    said = [body.get(name) for name in ("message", "Message")] if isinstance(body, dict) else []
    return next((words for words in said if isinstance(words, str) and words), "")
