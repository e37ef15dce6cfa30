"""
Who is sent away when the gateway itself has more to do than it can. Pure: the measurements and chance are arguments.

The sign of it is the lag of the event loop: how late a timer rings. What one call costs does not matter then, nor where
the machine's limits are. A burst makes the loop late once; what must be answered is a queue that does not go away, and
CoDel has shown how the two are told apart: by the *least* lag of a while (its estimator in RFC 8289).

Calls of low priority give way first, and of those a share that grows with the lag, so that the lag comes to rest where
just enough of them are sent away. It is followed up at once and down slowly, so that a lag which swings does not shed
all calls now and none in the next moment.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.snapshot import Priority
from gateway.ports import Random

EVERY = 0.1
"""Seconds between two measurements of the lag. An overload is seen at the second of them."""

RAMPS: Mapping[Priority, tuple[float, float]] = {"low": (0.1, 0.3), "normal": (0.3, 0.6), "high": (1.0, 2.0)}
"""The lag in seconds from which on calls are shed, and that at which all are.

Those of high priority are too in the end: if they alone are more than can be done, then to answer some of them is
better than to answer all of them too late. As long as there are others to send away, the lag does not stay so high."""

FALL = 0.7
"""What is left of the level after a measurement of no lag: from a second of it to nobody being shed it takes 0.7 s."""

SHORTEST_WAIT = 1.0
"""Seconds after which another try may be made; twice as many at most, so that those sent away do not come back
together. By then nobody is shed any more, if what was too much has come to an end."""


class Shedding:
    """Whether calls are let in. Told each measurement of the lag, one about every `EVERY` seconds."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last = 0.0
        self._level = 0.0
        """The lag that counts, in seconds."""

    def lag(self, seconds: float) -> None:
        """The event loop has just been late by so much."""
        lasting = min(self._last, seconds)
        self._last = seconds
        self._level = max(lasting, self._level * FALL)

    def sheds(self, priority: Priority) -> float | None:
        """None lets the call in; else the seconds after which it may try again."""
        start, everyone = RAMPS[priority]
        if self._level <= start or self._random() >= (self._level - start) / (everyone - start):
            return None
        return SHORTEST_WAIT * (1 + self._random())
