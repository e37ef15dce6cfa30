"""The clocks. Here, and nowhere else, is the time known; everybody else is told."""

from __future__ import annotations

import time

now = time.time  # noqa: TID251
"""The time of day, in seconds since 1970."""

clock = time.monotonic
"""The time that calls are measured by. It is the event loop's own, whose `time()` stands still within one turn."""


def milliseconds() -> int:
    """The time of day, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
