"""What Gemini says when it refuses or fails, and which `Failure` that is. Pure; never raises.

An error is a `google.rpc.Status`: a `code` (HTTP's), a `status` (gRPC's name) and `details`. The status alone is too
coarse: a wrong key is an INVALID_ARGUMENT, and a spent budget and a busy minute are both RESOURCE_EXHAUSTED.

https://ai.google.dev/gemini-api/docs/troubleshooting
https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import RULES, Failure, UpstreamError
from gateway.dialects.refusals import SAID_LIMIT, by_status, by_words, error_in, message_of, read, retry_after

REASONS: dict[str, Failure] = {
    **dict.fromkeys(
        ("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED",
         "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "IAM_PERMISSION_DENIED", "SERVICE_DISABLED",
         "CONSUMER_INVALID", "CONSUMER_SUSPENDED", "LOCATION_POLICY_VIOLATED"),
        Failure.CREDENTIALS,
    ),
    "BILLING_DISABLED": Failure.BILLING,
    "RATE_LIMIT_EXCEEDED": Failure.RATE_LIMITED,
}  # fmt: skip
"""The `reason` of an ErrorInfo: surer than anything else.

https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto
"""

WORDINGS: tuple[tuple[str, re.Pattern[str], Failure], ...] = (
    ("INVALID_ARGUMENT", re.compile(r"API key (not valid|expired)", re.IGNORECASE), Failure.CREDENTIALS),
    # This provider cannot be used from here, whatever is asked: the administrator's trouble, as a refused key is.
    ("FAILED_PRECONDITION", re.compile(r"location is not supported", re.IGNORECASE), Failure.CREDENTIALS),
    ("FAILED_PRECONDITION", re.compile(r"enable billing", re.IGNORECASE), Failure.BILLING),
    # Both name a thing of the client's own, which another model would not have either.
    ("PERMISSION_DENIED", re.compile(r"access the file|cached ?content", re.IGNORECASE), Failure.REJECTED),
    ("NOT_FOUND", re.compile(r"^(?!.*model)", re.IGNORECASE | re.DOTALL), Failure.REJECTED),
    # Without any quota, or with none left today, the `retryDelay` of some seconds that comes with it is no help.
    ("RESOURCE_EXHAUSTED", re.compile(r"limit: 0\b|credits are depleted|spend(ing)? (cap|limit)"), Failure.BILLING),
    ("RESOURCE_EXHAUSTED", re.compile(r"PerDay"), Failure.BILLING),
)
"""What the words of an error say beyond its status: the first that fits."""

STATUSES: dict[str, Failure] = {
    "CANCELLED": Failure.SERVER_ERROR,  # by whom is not said, and it was not us
    "DEADLINE_EXCEEDED": Failure.SERVER_ERROR,
    "RESOURCE_EXHAUSTED": Failure.RATE_LIMITED,
    "UNAVAILABLE": Failure.OVERLOADED,
}
"""Where the status says more than the HTTP code, as it does in the middle of a stream."""


def refusal(reply: UpstreamReply) -> UpstreamError:
    """What went wrong, for every status but 200. Never raises, whatever the body."""
    body = read(reply.body)
    error = error_in(body)
    failure = classify(reply.status, error)
    return _told(failure, error, reply.status, retry_after(reply, body, failure))


def failure_in(body: Json) -> UpstreamError:
    """The failure that an answer with status 200 holds instead of words, or after some."""
    error = error_in(body)
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return _told(classify(status, error), error, status, None)


def blocked(feedback: Json) -> UpstreamError:
    """The prompt was blocked, so there is no answer. OpenAI refuses such a prompt with 400 and this code."""
    reason = str(feedback.get("blockReason"))
    said = feedback.get("blockReasonMessage") or f"The prompt was blocked by the provider: {reason}."
    return UpstreamError(Failure.CONTENT_FILTERED, str(said)[:SAID_LIMIT], status=400)


def classify(status: int, error: Json) -> Failure:
    """Which failure an error is: by its details, else by its words, else by its status."""
    if status < 400:
        return by_status(status)
    for detail in _details(error):
        if (failure := REASONS.get(str(detail.get("reason")))) is not None:
            return failure
    name, message = str(error.get("status", "")), message_of(error)
    words = " ".join([message, *_detailed(error)])
    for status_name, wording, failure in WORDINGS:
        if status_name == name and wording.search(words):
            return failure
    return by_words(status, message) or STATUSES.get(name) or by_status(status)


def _details(error: Json) -> Iterator[Json]:
    details = error.get("details")
    return (detail for detail in details if isinstance(detail, dict)) if isinstance(details, list) else iter(())


def _detailed(error: Json) -> Iterator[str]:
    """What the details say in words: the names of the quotas that are spent, and notes for debugging."""
    for detail in _details(error):
        if isinstance(detail.get("detail"), str):
            yield detail["detail"]
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield str(violation.get("quotaId", ""))


def _told(failure: Failure, error: Json, status: int, retry_after: float | None) -> UpstreamError:
    said = (message_of(error) or f"HTTP {status} without an explanation")[:SAID_LIMIT]
    name: Any = error.get("status")
    rule = RULES[failure]
    # Where OpenAI has a code of its own, clients look for that one.
    code = name if isinstance(name, str) and not (rule.own_words and rule.code) else None
    return UpstreamError(failure, said, status=status, code=code, retry_after=retry_after)
