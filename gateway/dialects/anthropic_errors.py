"""What the Messages API says when it refuses or fails, and which `Failure` that is. Pure; never raises.

The same errors come with a status of their own, in a stream, and (from servers that follow the grammar) in a 200.

https://platform.claude.com/docs/en/api/errors
https://platform.claude.com/docs/en/api/rate-limits
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.refusals import SAID_LIMIT, by_status, by_words, error_in, message_of, read, retry_after

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that goes with an error's `type`, for one that comes without."""

WORDINGS: tuple[tuple[Failure, re.Pattern[str]], ...] = (
    (
        Failure.BILLING,
        re.compile(r"credit balance is too low|(api usage|spend(ing)?) limits?\b|plans & billing", re.IGNORECASE),
    ),
    (
        Failure.CONTEXT_TOO_LONG,
        re.compile(r"prompt is too long|exceeds? (the )?(context|maximum context)", re.IGNORECASE),
    ),
    (Failure.CONTENT_FILTERED, re.compile(r"blocked by (our )?content filter", re.IGNORECASE)),
    (Failure.REJECTED, re.compile(r"\bfile\b.{0,80}not found", re.IGNORECASE)),
)
"""What the words of an error say beyond its `type`. A missing file is a 404 too, and the model is well."""

_WORDED = frozenset({"invalid_request_error", "not_found_error", "rate_limit_error"})
"""Types that leave the reason open: a spent budget is told as the first or, by some limits, as the last."""


def refusal(reply: UpstreamReply) -> UpstreamError:
    """What went wrong, for every status but 200. Never raises, whatever the body."""
    body = read(reply.body)
    error = error_in(body)
    failure = classify(reply.status, error)
    wait = retry_after(reply, body, failure)
    if wait is None and failure is Failure.RATE_LIMITED:
        wait = _until_reset(reply)
    return _told(failure, error, reply.status, wait)


def failure_in(body: Any) -> UpstreamError | None:
    """The failure that stands where an answer, or an event of one, should be."""
    if not isinstance(body, dict) or (body.get("type") != "error" and not body.get("error")):
        return None
    error = error_in(body)
    status = STATUSES.get(_type_of(error), 500)
    return _told(classify(status, error), error, status, None)


def classify(status: int, error: Json) -> Failure:
    """Which failure an error is: by its code, by its words where its type leaves it open, else by type or status."""
    details = error.get("details")
    code = str(details.get("error_code", "")) if isinstance(details, dict) else ""
    if "spend_limit" in code or "billing" in code:
        return Failure.BILLING
    kind, message = _type_of(error), message_of(error)
    if kind in _WORDED or kind not in STATUSES:
        for failure, wording in WORDINGS:
            if wording.search(message):
                return failure
    if kind in STATUSES and kind != "invalid_request_error":
        return by_status(STATUSES[kind])
    return by_words(status, message) or by_status(status)


def _type_of(error: Json) -> str:
    kind = error.get("type")
    return kind if isinstance(kind, str) else ""


def _told(failure: Failure, error: Json, status: int, retry_after: float | None) -> UpstreamError:
    said = (message_of(error) or f"HTTP {status} without an explanation")[:SAID_LIMIT]
    return UpstreamError(failure, said, status=status, type=_type_of(error) or None, retry_after=retry_after)


# How long to wait.


def _until_reset(reply: UpstreamReply) -> float | None:
    """Seconds until the last of the spent limits is replenished; when none says that it is spent, until the first is.

    The resets are points in time (RFC 3339), and the server's own `date` is the only clock that is asked.
    """
    now = _http_date(reply.header(b"date"))
    spent: list[float] = []
    others: list[float] = []
    for kind in (b"requests", b"tokens", b"input-tokens", b"output-tokens"):
        reset = _timestamp(reply.header(b"anthropic-ratelimit-" + kind + b"-reset"))
        if reset is not None and now is not None:
            remaining = reply.header(b"anthropic-ratelimit-" + kind + b"-remaining")
            (spent if remaining == b"0" else others).append(max(0.0, reset - now))
    return max(spent) if spent else min(others, default=None)


def _timestamp(text: bytes) -> float | None:
    try:
        read = datetime.fromisoformat(text.decode())
        return read.timestamp() if read.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _http_date(text: bytes) -> float | None:
    try:
        return parsedate_to_datetime(text.decode()).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
