"""
What one replica knows of budgets that are shared: what it has spent of them itself, and what all have, as far as it was
told. From this a server that has lost its memory learns what was spent, and a replica that is left alone what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.policy.limits import window
from gateway.ports import Limit


@dataclass(slots=True)
class Tally:
    """One budget in its current window. Times in milliseconds since 1970."""

    limit: Limit
    start: int
    end: int
    own: int = 0
    """Spent by this replica."""
    confirmed: int = 0
    """Of this, what the server has known at some time."""
    told: int | None = None
    """Of this, what the server knows now; None: it may have lost its memory since."""
    known: int = 0
    """Spent by all replicas, at least."""


class Tallies:
    """Of all budgets, those of windows that are over being forgotten."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def at(self, limit: Limit, at: int) -> Tally | None:
        """The tally of the window that was at that time; None: that one is over."""
        tally = self._tallies.get(limit.name)
        if tally is None or at >= tally.end:
            tally = self._tallies[limit.name] = Tally(limit, *window(limit.every, at))
        return tally if at >= tally.start else None

    def heard(self, limit: Limit, spent: int, at: int) -> None:
        """All replicas had spent so much at that time."""
        tally = self.at(limit, at)
        if tally is not None and spent > tally.known:
            tally.known = spent

    def spend(self, limit: Limit, amount: int, at: int) -> None:
        """This replica has settled a call that was reserved at that time."""
        tally = self.at(limit, at)
        if tally is not None:
            tally.own += amount
            tally.known += amount

    def confirm(self, limit: Limit, own: int, at: int) -> None:
        """The server knows that this replica has spent so much."""
        tally = self.at(limit, at)
        if tally is not None:
            tally.told = tally.confirmed = max(own, tally.confirmed)

    def doubt(self) -> None:
        """Nothing is certain any more of what the server knows."""
        for tally in self._tallies.values():
            tally.told = None

    def current(self, now: int) -> Iterator[Tally]:
        """Those of windows that are not over."""
        self._tallies = {name: tally for name, tally in self._tallies.items() if now < tally.end}
        yield from list(self._tallies.values())
