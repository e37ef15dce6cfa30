"""The world's clock. Nothing waits: the time is that of the next thing that happens."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random


class World:
    """What will happen, in order of time; and chance, which is the same at each run."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.chance = Random(seed)
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def clock(self) -> float:
        """Seconds since the world began."""
        return self.now

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        """Something happens so many seconds from now; of two things at once, that which was said first."""
        heappush(self._coming, (self.now + seconds, next(self._number), happens))

    def run(self, until: float) -> None:
        """Lets everything happen that comes before `until`."""
        coming = self._coming
        while coming and coming[0][0] < until:
            self.now, _, happens = heappop(coming)
            happens()
        self.now = until
