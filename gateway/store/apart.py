"""
Counting alone, for as long as what replicas share is away: each keeps to its share of every limit. A limit of 100 is
one of 50 for each of two; of a budget it is the half of what was left; and calls that are under way keep their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from gateway.ports import Limit, Refused, Reservation, Standing, Use
from gateway.store.memory import MemoryCounters
from gateway.store.tallies import Tally


class Apart:
    """One replica, whenever it is left alone. Rates are remembered from one time to the next, so that a server that
    comes and goes does not bring a full bucket each time."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._replicas = 1
        self._counters = MemoryCounters(now)
        self._held: dict[int, Reservation] = {}
        """Ours, by the id of theirs."""
        self._rates: dict[str, Limit] = {}

    def begin(self, replicas: int, open_: Iterable[Reservation], tallies: Iterable[Tally]) -> None:
        """From now on it is one of so many, with these calls under way, and so much spent."""
        self._replicas = replicas
        self._counters.keep_rates()
        self._rates.clear()
        self._held.clear()
        for reservation in open_:
            limits = tuple(self._share(limit) for limit in reservation.limits if limit.kind != "rate")
            self._held[reservation.id] = self._counters.hold(limits, reservation.use)
        for tally in tallies:
            self.preload(tally.limit, tally.known)

    def reserve(self, asked: Reservation) -> tuple[Standing, ...] | Refused:
        """How its limits stand if it is granted."""
        limits = tuple(map(self._share, asked.limits))
        granted = self._counters.reserve_now(limits, asked.use)
        if isinstance(granted, Refused):
            return granted
        self._held[asked.id] = granted
        self._rates.update((limit.name, limit) for limit in limits if limit.kind == "rate")
        return granted.standings

    def settle(self, reservation: Reservation, used: Use) -> None:
        """Tells what was really used."""
        held = self._held.pop(reservation.id, None)
        if held is not None:
            self._counters.settle(held, used)

    def preload(self, limit: Limit, spent: int) -> None:
        """All replicas had spent so much of a budget."""
        share = self._share(limit)
        left = max(0, limit.most - spent) // self._replicas
        self._counters.preload(share, share.most - left)

    def rates(self) -> Iterator[tuple[Limit, int]]:
        """How much is in use now of each rate that has been counted since it began."""
        return self._counters.rates(list(self._rates.values()))

    def _share(self, limit: Limit) -> Limit:
        return limit if self._replicas == 1 else replace(limit, most=max(1, limit.most // self._replicas))
