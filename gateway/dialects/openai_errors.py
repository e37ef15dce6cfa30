"""What an OpenAI-shaped server says when it refuses or fails, and which `Failure` that is. Pure; never raises.

The body's own code decides where it names a reason; the status where it does not.

https://platform.openai.com/docs/guides/error-codes/api-errors
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.refusals import SAID_LIMIT, by_status, by_words, error_in, message_of, read, retry_after

CODES: dict[str, Failure] = {
    **dict.fromkeys(
        ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit_balance_exhausted",
         "organization_spend_limit_exceeded", "project_spend_limit_exceeded", "organization_usage_limit_exceeded",
         "insufficient_balance", "insufficient_funds"),
        Failure.BILLING,
    ),
    **dict.fromkeys(
        ("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked",
         "invalid_prompt", "data_inspection_failed"),
        Failure.CONTENT_FILTERED,
    ),
    **dict.fromkeys(
        ("context_length_exceeded", "too_many_prompt_tokens", "exceed_context_size_error", "context_window_exceeded",
         "prompt_too_long"),
        Failure.CONTEXT_TOO_LONG,
    ),
    **dict.fromkeys(
        ("model_not_found", "model_decommissioned", "deploymentnotfound", "unknown_model", "model_not_available",
         "invalid_model"),
        Failure.MODEL_MISSING,
    ),
    **dict.fromkeys(
        ("rate_limit_exceeded", "ratelimitreached", "rate_limit_error", "too_many_requests", "toomanyrequests"),
        Failure.RATE_LIMITED,
    ),
    **dict.fromkeys(("slow_down", "overloaded", "overloaded_error", "engine_overloaded"), Failure.OVERLOADED),
    "invalid_api_key": Failure.CREDENTIALS,
    "authentication_error": Failure.CREDENTIALS,
}  # fmt: skip
"""By `code`, `type` or an inner code, in lower case. These are surer than any status."""

STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "bad_request_error": 400,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "notfounderror": 404,
}
"""The status that an error inside a 200 would have had, by its `type`. Any other is a failing server: 500."""


def refusal(reply: UpstreamReply) -> UpstreamError:
    """What went wrong, for every status but 200. Never raises, whatever the body."""
    body = read(reply.body)
    error = error_in(body)
    failure = classify(reply.status, error)
    return _told(failure, error, reply.status, retry_after(reply, body, failure))


def failure_in(body: Any, event: bytes = b"") -> UpstreamError | None:
    """The failure that an answer with status 200 holds instead of words, or beside them."""
    if isinstance(body, dict) and event != b"error" and not _holds_error(body):
        return None
    error = error_in(body)
    status = _status_in(error)
    return _told(classify(status, error), error, status, None) if error else None


def classify(status: int, error: Json) -> Failure:
    """Which failure an error is, by what it says of itself, else by its status."""
    for code in _codes(error):
        if code in CODES:
            return CODES[code]
    if _was_flagged(error):
        return Failure.CONTENT_FILTERED
    return by_words(status, message_of(error)) or by_status(status)


def _codes(error: Json) -> Iterator[str]:
    inner = error.get("innererror")
    for holder in (error, inner if isinstance(inner, dict) else {}):
        for name in ("code", "type"):
            if isinstance(holder.get(name), str):
                yield holder[name].lower()


def _was_flagged(error: Json) -> bool:
    """OpenRouter answers 403 for input that a moderator refused; the credentials are well."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and "flagged_input" in metadata


def _holds_error(body: Json) -> bool:
    if body.get("error"):
        return True
    return "choices" not in body and (isinstance(body.get("message"), str) or "detail" in body)


def _status_in(error: Json) -> int:
    """The status that an error inside a 200 claims for itself."""
    for name in ("status_code", "status", "code"):
        claimed = str(error.get(name, ""))
        if re.fullmatch(r"[45]\d\d", claimed):
            return int(claimed)
    return STATUS_OF_TYPE.get(str(error.get("type", "")).lower(), 500)


def _told(failure: Failure, error: Json, status: int, retry_after: float | None) -> UpstreamError:
    message = message_of(error) or f"HTTP {status} without an explanation"
    code, param, kind = (
        error.get(name) if isinstance(error.get(name), str) else None for name in ("code", "param", "type")
    )
    if code is not None and code.isdecimal():
        code = None  # the status once more, which no client looks for there
    if param is None and isinstance(error.get("loc"), list):
        param = ".".join(str(step) for step in error["loc"] if step != "body")  # FastAPI's own name for the place
    said = message[:SAID_LIMIT]
    return UpstreamError(failure, said, status=status, param=param, code=code, type=kind, retry_after=retry_after)
