"""
The counters of one process: exact, and gone with it. Nobody else counts here, and nothing here waits, so that what is
found free is still free when it is taken.

Calls that are under way hold what they have reserved; whoever reserves must settle. Counters that hold nothing are
thrown away from time to time, because a pattern of models has as many of them as clients have ideas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count

from gateway.policy.limits import COUNTERS, Bucket, Budget, Counter, bounded
from gateway.ports import Limit, Refused, Reservation, Use

FEW = 1000
"""Counters that are kept without asking whether they hold anything."""


Counted = list[tuple[Counter, Limit, int]]
"""Limits, each with what counts it and how much a call takes of it."""


class MemoryCounters:
    """Counters in process. Implements `gateway.ports.Counters`.

    `now` is the time in milliseconds since 1970.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._counters: dict[str, Counter] = {}
        self._many = FEW
        self._ids = count(1)
        self._open: dict[int, Counted] = {}
        """By reservation: what counts it."""

    def start(self) -> None:
        """There is no background work."""

    async def ready(self, within: float) -> None:
        """It always is."""

    async def aclose(self) -> None:
        """There is nothing to end."""

    async def reserve(self, limits: tuple[Limit, ...], use: Use) -> Reservation | Refused:
        """Takes what a call is expected to use from all of its limits, or nothing from any."""
        return self.reserve_now(limits, use)

    def reserve_now(self, limits: tuple[Limit, ...], use: Use) -> Reservation | Refused:
        """As `reserve`, which does not wait either."""
        use, now, longest, refusing = bounded(use), self._now(), 0.0, None
        counted = self._counted(limits, use)
        for counter, limit, amount in counted:
            wait = counter.wait(limit, amount, now)
            if wait > longest:
                longest, refusing = wait, (counter, limit)
        if refusing is not None:
            counter, limit = refusing
            return Refused(counter.standing(limit, now), longest / 1000)
        return self._taken(counted, limits, use, now)

    def hold(self, limits: tuple[Limit, ...], use: Use) -> Reservation:
        """Reserves what is in use already, whether there is room or not."""
        use = bounded(use)
        return self._taken(self._counted(limits, use), limits, use, self._now())

    def _taken(self, counted: Counted, limits: tuple[Limit, ...], use: Use, now: int) -> Reservation:
        standings = tuple([counter.take(limit, amount, now) for counter, limit, amount in counted])
        id = next(self._ids)
        self._open[id] = counted
        if len(self._counters) > self._many:
            self._tidy(now)
        return Reservation(id, limits, use, now, standings)

    def settle(self, reservation: Reservation, used: Use) -> None:
        """Tells what was really used. What is no number leaves what was reserved."""
        counted = self._open.pop(reservation.id, None)
        if counted is None:
            return
        used, at, now = bounded(used, reservation.use), reservation.at, self._now()
        for counter, limit, reserved in counted:
            counter.settle(limit, reserved, used[limit.unit], at, now)

    def preload(self, limit: Limit, spent: int) -> None:
        """A budget's current window has seen at least so much."""
        budget = self._counter(limit)
        assert isinstance(budget, Budget)
        budget.preload(limit, spent, self._now())

    def keep_rates(self) -> None:
        """Forgets everything else, calls under way included."""
        self._counters = {name: counter for name, counter in self._counters.items() if isinstance(counter, Bucket)}
        self._open.clear()

    def rates(self, limits: Iterable[Limit]) -> Iterator[tuple[Limit, int]]:
        """How much is used now of those that are rates."""
        now = self._now()
        for limit in limits:
            counter = self._counters.get(limit.name)
            if isinstance(counter, Bucket) and (used := counter.standing(limit, now).used):
                yield limit, used

    def _counted(self, limits: Iterable[Limit], use: Use) -> Counted:
        known = self._counters
        return [(known.get(limit.name) or self._counter(limit), limit, use[limit.unit]) for limit in limits]

    def _counter(self, limit: Limit) -> Counter:
        return self._counters.setdefault(limit.name, COUNTERS[limit.kind]())

    def _tidy(self, now: int) -> None:
        """Each time there are twice as many as were in use last time, so that it costs each of them very little."""
        under_way = {limit.name for counted in self._open.values() for _, limit, _ in counted}
        self._counters = {
            name: counter for name, counter in self._counters.items() if name in under_way or not counter.idle(now)
        }
        self._many = max(FEW, 2 * len(self._counters))
