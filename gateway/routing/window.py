"""Counts over the last seconds: how many there were of something, and how much of that was bad. Pure."""

from __future__ import annotations

SLOTS = 10
"""Into how many parts a window is cut. It moves on by whole parts, so that it is shorter by up to one of them."""


class Window:
    """Two sums over the last `seconds`: everything, and the part of it that matters."""

    __slots__ = ("_all", "_newest", "_part", "_width", "all", "part", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._width = seconds / SLOTS
        self._all = [0.0] * SLOTS
        self._part = [0.0] * SLOTS
        self._newest = 0
        self.all = 0.0
        """As of the last `add` or `turn`."""
        self.part = 0.0

    def add(self, now: float, amount: float = 1.0, part: float = 0.0) -> None:
        """Counts something that has just happened."""
        slot = int(now / self._width)
        if slot != self._newest:
            self._forget(slot)
        self._all[slot % SLOTS] += amount
        self.all += amount
        if part:
            self._part[slot % SLOTS] += part
            self.part += part

    def turn(self, now: float) -> None:
        """Forgets what is too old by now."""
        if (slot := int(now / self._width)) != self._newest:
            self._forget(slot)

    def _forget(self, slot: int) -> None:
        for passed in range(max(self._newest + 1, slot - SLOTS + 1), slot + 1):
            self._all[passed % SLOTS] = self._part[passed % SLOTS] = 0.0
        self._newest = slot
        self.all, self.part = sum(self._all), sum(self._part)
