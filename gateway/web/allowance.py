"""How much a key may still ask for, in the headers that OpenAI's API has for it.

See https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil

from gateway.ports import Standing, What

COUNTED: Mapping[What, bytes] = {
    "requests_per_minute": b"requests",
    "tokens_per_minute": b"tokens",
    "token_budget": b"tokens",
}
"""Which limits these headers can tell of. For places and for dollars there are none."""


def allowance(standings: Sequence[Standing]) -> bytes:
    """Header lines: of each unit the limit that leaves the least."""
    tightest: dict[bytes, Standing] = {}
    for standing in standings:
        unit = COUNTED.get(standing.limit.what)
        if unit and ((other := tightest.get(unit)) is None or standing.remaining < other.remaining):
            tightest[unit] = standing
    return b"".join([_lines(unit, standing) for unit, standing in tightest.items()])


def duration(seconds: float) -> bytes:
    """As Go writes it, which OpenAI does: `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = ceil(seconds * 1000)
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, rest = divmod(milliseconds, 60_000)
    if not minutes:
        return b"%gs" % (rest / 1000)
    if minutes < 60:
        return b"%dm%gs" % (minutes, rest / 1000)
    return b"%dh%dm%gs" % (minutes // 60, minutes % 60, rest / 1000)


def _lines(unit: bytes, standing: Standing) -> bytes:
    limit, _, remaining, reset = standing
    return _template(unit, limit.most) % (remaining, duration(reset))


@lru_cache(maxsize=1024)
def _template(unit: bytes, most: int) -> bytes:
    lines = b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%b\r\n"
    return lines % (unit, most, unit, unit)
