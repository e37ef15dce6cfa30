"""Moments, in seconds since 1970, as people write and read them. Always UTC. Pure: the time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.config import values


def asked(text: str, now: float) -> float:
    """A date, meaning its first moment, an ISO 8601 time, or how long ago: `7d`, `24h`. Raises ValueError."""
    for read in (values.moment, lambda ago: now - values.seconds(ago)):
        try:
            return read(text)
        except ValueError:
            continue
    raise ValueError("is neither a date (2027-01-01, 2027-01-01T12:00Z) nor how long ago it was (7d, 24h)")


def iso(moment: float) -> str:
    """As the configuration takes it: a date where it begins with that moment, else a time to the second."""
    when = datetime.fromtimestamp(moment, UTC)
    return f"{when:%Y-%m-%d}" if moment % 86400 == 0 else f"{when:%Y-%m-%dT%H:%M:%SZ}"


def told(moment: float) -> str:
    """For people."""
    when = datetime.fromtimestamp(moment, UTC)
    return f"{when:%Y-%m-%d}" if moment % 86400 == 0 else f"{when:%Y-%m-%d %H:%M} UTC"
