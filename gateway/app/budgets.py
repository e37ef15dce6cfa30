"""What budgets have seen before this start, or through other replicas, is read from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from gateway.app.times import milliseconds
from gateway.core.ledger import Chosen
from gateway.policy.limits import window
from gateway.ports import Counters, Limit
from gateway.store.archive import Archive
from gateway.store.errors import DatabaseAway

EVERY = 10.0
"""Seconds between two looks: what the journal of a dead process still held comes late, and Redis may forget."""


class Budgets:
    """The memory of budgets. Without a database they begin at zero."""

    def __init__(
        self,
        archive: Archive | None,
        counters: Counters,
        all_of_them: Callable[[], Sequence[Limit]],
        event: Callable[..., None],
    ) -> None:
        self._archive = archive
        self._counters = counters
        self._all = all_of_them
        self._event = event

    async def remember(self) -> None:
        """Reads once."""
        budgets = self._all()
        if self._archive is None or not budgets:
            return
        try:
            known = await asyncio.get_running_loop().run_in_executor(None, _spent, self._archive, budgets)
        except DatabaseAway as error:
            self._event("warning", "budgets_unknown", error=str(error))
            return
        for budget, spent in known:
            self._counters.preload(budget, spent)


def _spent(archive: Archive, budgets: Sequence[Limit]) -> list[tuple[Limit, int]]:
    """What keys' budgets have seen in their present windows, as far as the database knows. Blocks."""
    return [found for budget in budgets for found in _of_one(archive, budget)]


def _of_one(archive: Archive, budget: Limit) -> Iterator[tuple[Limit, int]]:
    since, _ = window(budget.every, milliseconds())
    for sums in archive.open().ledger.usage("key", Chosen(key=budget.owner[1], since=since / 1000)):
        tokens = sums.input_tokens + sums.output_tokens
        yield budget, sums.cost_micros if budget.what == "usd_budget" else tokens
