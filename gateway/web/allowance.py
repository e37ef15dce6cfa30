"""How much a key may still ask for, in the headers that OpenAI's API has for it.

See https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.call import Headers
from gateway.ports import Standing, What

COUNTED: Mapping[What, bytes] = {
    "requests_per_minute": b"requests",
    "tokens_per_minute": b"tokens",
    "token_budget": b"tokens",
}
"""Which limits these headers can tell of. For places and for dollars there are none."""


def allowance(standings: Sequence[Standing]) -> Headers:
    """Of each unit the limit that leaves the least."""
    tightest: dict[bytes, Standing] = {}
    for standing in standings:
        unit = COUNTED.get(standing.limit.what)
        if unit and (unit not in tightest or standing.remaining < tightest[unit].remaining):
            tightest[unit] = standing
    return tuple(header for unit, standing in tightest.items() for header in _headers(unit, standing))


def duration(seconds: float) -> bytes:
    """As Go writes it, which OpenAI does: `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = -(-seconds * 1000 // 1)
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    spelt = b"%gs" % (rest / 1000)
    if hours or minutes:
        spelt = b"%dm%b" % (minutes, spelt)
    return b"%dh%b" % (hours, spelt) if hours else spelt


def _headers(unit: bytes, standing: Standing) -> Headers:
    return (
        (b"x-ratelimit-limit-" + unit, b"%d" % standing.limit.most),
        (b"x-ratelimit-remaining-" + unit, b"%d" % standing.remaining),
        (b"x-ratelimit-reset-" + unit, duration(standing.reset)),
    )
