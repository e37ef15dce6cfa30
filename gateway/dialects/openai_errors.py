"""What an OpenAI-shaped server says when it refuses or fails, and which `Failure` that is. Pure; never raises.

The shapes of error bodies: `{"error": {...}}` (OpenAI), `{"error": "..."}` (Venice, Ollama), the error itself
(`{"object": "error", "message": ...}`, older vLLM; `{"code", "message"}`, Doubleword), `{"detail": ...}` (FastAPI), a
list of one (Gemini's OpenAI endpoint), a page of HTML, plain words, nothing.

The body's own code decides where it names a reason; the status where it does not.

https://platform.openai.com/docs/guides/error-codes/api-errors
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import orjson

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import Failure, UpstreamError

SAID_LIMIT = 2000
"""Characters of a server's own words that are kept."""

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
        ("model_not_found", "model_decommissioned", "deploymentnotfound", "unknown_model", "model_not_available"),
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

STATUSES: dict[int, Failure] = {
    401: Failure.CREDENTIALS,
    402: Failure.BILLING,
    403: Failure.CREDENTIALS,
    404: Failure.MODEL_MISSING,
    408: Failure.SERVER_ERROR,
    429: Failure.RATE_LIMITED,
    498: Failure.RATE_LIMITED,  # Groq: the flex tier is at its capacity
    503: Failure.OVERLOADED,
    529: Failure.OVERLOADED,
}
"""What is not here: other 4xx REJECTED, other 5xx SERVER_ERROR, anything else MALFORMED."""

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

WORDINGS: tuple[tuple[Failure, re.Pattern[str]], ...] = (
    (
        Failure.CONTEXT_TOO_LONG,
        re.compile(
            r"context (length|window|size)|maximum (context|prompt) length|(prompt|input) is too long"
            r"|too many (input |prompt )?tokens|total length of all messages|input token count .* exceeds"
            r"|(prompt|input|messages?)[^.]{0,60}(exceeds?|longer than)[^.]{0,40}(token|context)"
            r"|reduce the length of the (input|messages|prompt)",
            re.IGNORECASE,
        ),
    ),
    (
        Failure.MODEL_MISSING,
        re.compile(
            r"model\b[^.]{0,120}(does not exist|not found|has been decommissioned)|model not found|unknown model"
            r"|supported API model names",
            re.IGNORECASE,
        ),
    ),
)
"""What servers say instead of a code when they refuse a request."""

_WORDED = frozenset({400, 404, 413, 422, 500})
_NOT_THE_MODEL = re.compile(r"not supported (in|by|with) this model", re.IGNORECASE)
"""OpenAI refuses tools for some models with 404: the request is at fault, and a retry elsewhere would not mend it."""


def refusal(reply: UpstreamReply) -> UpstreamError:
    """What went wrong, for every status but 200. Never raises, whatever the body."""
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = _words_of(reply.body)
    error = _error_in(body)
    failure = classify(reply.status, error)
    return _told(failure, error, reply.status, _retry_after(reply, body, failure))


def failure_in(body: Any, event: bytes = b"") -> UpstreamError | None:
    """The failure that an answer with status 200 holds instead of words, or beside them."""
    if isinstance(body, dict) and event != b"error" and not _holds_error(body):
        return None
    error = _error_in(body)
    status = _status_in(error)
    return _told(classify(status, error), error, status, None) if error else None


def classify(status: int, error: Json) -> Failure:
    """Which failure an error is, by what it says of itself, else by its status."""
    for code in _codes(error):
        if code in CODES:
            return CODES[code]
    if _was_flagged(error):
        return Failure.CONTENT_FILTERED
    if status in _WORDED and (worded := _by_words(_message(error))):
        return worded
    if status in STATUSES:
        return STATUSES[status]
    return Failure.REJECTED if 400 <= status < 500 else Failure.SERVER_ERROR if status >= 500 else Failure.MALFORMED


def _by_words(message: str) -> Failure | None:
    if _NOT_THE_MODEL.search(message):
        return Failure.REJECTED
    return next((failure for failure, wording in WORDINGS if wording.search(message)), None)


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


# The shapes of errors.


def _holds_error(body: Json) -> bool:
    if body.get("error"):
        return True
    return "choices" not in body and (isinstance(body.get("message"), str) or "detail" in body)


def _error_in(body: Any) -> Json:
    """The object that describes the error, whatever it is wrapped in; empty where there is none."""
    for _ in range(WRAPPINGS):
        if isinstance(body, list):
            body = body[0] if body else None
        elif isinstance(body, dict):
            inner = next((body[name] for name in ("error", "errors", "detail") if body.get(name)), None)
            if inner is None:
                return body
            body = inner
    return {"message": body} if isinstance(body, str) else {}


WRAPPINGS = 6
"""How many lists and objects around an error are looked into: `[{"error": {...}}]` is the deepest that is known."""


def _message(error: Json) -> str:
    said = (error.get(name) for name in ("message", "msg", "title"))
    return next((words for words in said if isinstance(words, str) and words), "")


def _words_of(body: bytes) -> str:
    """A body that is no JSON: the title of a page, or what words there are."""
    text = body[: 4 * SAID_LIMIT].decode(errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return " ".join((title[1] if title else text).split())


def _status_in(error: Json) -> int:
    """The status that an error inside a 200 claims for itself."""
    for name in ("status_code", "status", "code"):
        claimed = str(error.get(name, ""))
        if re.fullmatch(r"[45]\d\d", claimed):
            return int(claimed)
    return STATUS_OF_TYPE.get(str(error.get("type", "")).lower(), 500)


def _told(failure: Failure, error: Json, status: int, retry_after: float | None) -> UpstreamError:
    message = _message(error) or f"HTTP {status} without an explanation"
    code, param, kind = (
        error.get(name) if isinstance(error.get(name), str) else None for name in ("code", "param", "type")
    )
    if code is not None and code.isdecimal():
        code = None  # the status once more, which no client looks for there
    said = message[:SAID_LIMIT]
    return UpstreamError(failure, said, status=status, param=param, code=code, type=kind, retry_after=retry_after)


# How long to wait.


def _retry_after(reply: UpstreamReply, body: Any, failure: Failure) -> float | None:
    """Seconds until another try makes sense, where the server says so."""
    milliseconds = _number(reply.header(b"retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    told = reply.header(b"retry-after")
    seconds = _number(told) if _number(told) is not None else _until(told, reply.header(b"date"))
    if seconds is not None:
        return seconds
    return _until_reset(reply) or _gemini_delay(body) if failure is Failure.RATE_LIMITED else None


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if isfinite(number) else None


def _until(date: bytes, now: bytes) -> float | None:
    """Seconds between two HTTP dates (RFC 9110, 10.2.3). The server's own clock is the only one asked."""
    try:
        wait = parsedate_to_datetime(date.decode()) - parsedate_to_datetime(now.decode())
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def _until_reset(reply: UpstreamReply) -> float | None:
    """The longest reset of the limits that are spent; when none says that it is, the shortest."""
    spent: list[float] = []
    others: list[float] = []
    for kind in (b"requests", b"tokens"):
        reset = _duration(reply.header(b"x-ratelimit-reset-" + kind))
        if reset is not None:
            remaining = reply.header(b"x-ratelimit-remaining-" + kind)
            (spent if remaining == b"0" else others).append(reset)
    return max(spent) if spent else min(others, default=None)


_DURATION = re.compile(rb"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
_SECONDS = {b"h": 3600.0, b"m": 60.0, b"s": 1.0, b"ms": 1e-3, b"us": 1e-6, b"ns": 1e-9}


def _duration(text: bytes) -> float | None:
    """A duration as Go writes it (`6m0s`, `12ms`); Azure writes plain seconds, -1 for unknown."""
    if (parts := _DURATION.findall(text)) and b"".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return _number(text) if not text.startswith(b"-") else None


def _gemini_delay(body: Any) -> float | None:
    """`retryDelay` of google.rpc.RetryInfo, which Gemini's OpenAI endpoint has among an error's details."""
    details = _error_in(body).get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return _duration(detail["retryDelay"].encode())
    return None
