"""What every refusal has, whichever grammar it is in: words, a status, a time to wait. Pure; nothing here raises.

The shapes of error bodies: `{"error": {...}}` (OpenAI), `{"error": "..."}` (Venice, Ollama), the error itself
(`{"object": "error", "message": ...}`, older vLLM; `{"code", "message"}`, Doubleword), `{"detail": ...}` (FastAPI), a
list of one (Gemini's OpenAI endpoint), `{"message": {"detail": ...}}` (Mistral), a page of HTML, plain words, nothing.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import Failure

SAID_LIMIT = 2000
"""Characters of a server's own words that are kept."""

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
"""Statuses that leave the reason open."""
_NOT_THE_MODEL = re.compile(r"not supported (in|by|with) this model", re.IGNORECASE)
"""OpenAI refuses tools for some models with 404: the request is at fault, and a retry elsewhere would not mend it."""


def read(body: bytes) -> Any:
    """The body of a refusal: what its JSON says, else its words."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _words_of(body)


def by_status(status: int) -> Failure:
    """What a status means by itself."""
    if status in STATUSES:
        return STATUSES[status]
    return Failure.REJECTED if 400 <= status < 500 else Failure.SERVER_ERROR if status >= 500 else Failure.MALFORMED


def by_words(status: int, message: str) -> Failure | None:
    """What the words of a refusal say, where its status leaves it open."""
    if status not in _WORDED:
        return None
    if _NOT_THE_MODEL.search(message):
        return Failure.REJECTED
    return next((failure for failure, wording in WORDINGS if wording.search(message)), None)


def error_in(body: Any) -> Json:
    """The object that describes the error, whatever it is wrapped in; empty where there is none."""
    for _ in range(WRAPPINGS):
        if isinstance(body, list):
            body = body[0] if body else None
        elif isinstance(body, dict):
            said = body.get("message")
            wrapped = said if isinstance(said, dict) else None
            inner = next((body[name] for name in ("error", "errors", "detail") if body.get(name)), wrapped)
            if inner is None:
                return body
            body = inner
    return {"message": body} if isinstance(body, str) else {}


WRAPPINGS = 6
"""How many lists and objects around an error are looked into: `[{"error": {...}}]` is the deepest that is known."""


def message_of(error: Json) -> str:
    """What an error says of itself, for people."""
    said = (error.get(name) for name in ("message", "msg", "title"))
    return next((words for words in said if isinstance(words, str) and words), "")


def _words_of(body: bytes) -> str:
    """A body that is no JSON: the title of a page, or what words there are."""
    text = body[: 4 * SAID_LIMIT].decode(errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return " ".join((title[1] if title else text).split())


# How long to wait.

LONGEST = 1e9
"""What is greater is no time to wait, and would only overflow where it is counted in milliseconds."""


def retry_after(reply: UpstreamReply, body: Any, failure: Failure) -> float | None:
    """Seconds until another try makes sense, where the server says so."""
    if failure is Failure.BILLING:  # no account is filled by waiting: OpenAI asks for a second's patience all the same
        return None
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
    return max(0.0, number) if -LONGEST <= number <= LONGEST else None


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
        reset = duration(reply.header(b"x-ratelimit-reset-" + kind))
        if reset is not None:
            remaining = reply.header(b"x-ratelimit-remaining-" + kind)
            (spent if remaining == b"0" else others).append(reset)
    return max(spent) if spent else min(others, default=None)


_DURATION = re.compile(rb"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
_SECONDS = {b"h": 3600.0, b"m": 60.0, b"s": 1.0, b"ms": 1e-3, b"us": 1e-6, b"ns": 1e-9}


def duration(text: bytes) -> float | None:
    """A duration as Go writes it (`6m0s`, `12ms`); Azure writes plain seconds, -1 for unknown."""
    if (parts := _DURATION.findall(text)) and b"".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        return seconds if seconds <= LONGEST else None
    return _number(text) if not text.startswith(b"-") else None


def _gemini_delay(body: Any) -> float | None:
    """`retryDelay` of google.rpc.RetryInfo, which Gemini's OpenAI endpoint has among an error's details."""
    details = error_in(body).get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return duration(detail["retryDelay"].encode())
    return None
