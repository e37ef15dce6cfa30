"""How much a key may still ask for, in the headers that OpenAI's API has for it.

See https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from gateway.ports import Standing

REQUESTS = b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\n"
TOKENS = REQUESTS.replace(b"requests", b"tokens")


def allowance(standings: Sequence[Standing]) -> bytes:
    """Header lines: of requests and of tokens the limit that leaves the least. There are none for places and dollars.

    A key has one limit of requests, and up to two of tokens.
    """
    requests = tokens = None
    for standing in standings:
        match standing.limit.what:
            case "requests_per_minute":
                requests = standing
            case "tokens_per_minute" | "token_budget" if tokens is None or standing.remaining < tokens.remaining:
                tokens = standing
    return _told(REQUESTS, requests) + _told(TOKENS, tokens)


def duration(seconds: float) -> bytes:
    """As Go writes it, which OpenAI does: `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = ceil(seconds * 1000)
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, rest = milliseconds // 60_000, milliseconds % 60_000 / 1000
    if not minutes:
        return b"%gs" % rest
    if minutes < 60:
        return b"%dm%gs" % (minutes, rest)
    return b"%dh%dm%gs" % (minutes // 60, minutes % 60, rest)


def _told(lines: bytes, standing: Standing | None) -> bytes:
    return lines % (standing.limit.most, standing.remaining, duration(standing.reset)) if standing else b""
