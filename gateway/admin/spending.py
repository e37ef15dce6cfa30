"""How much of its budget each key has used in the window that is now, by the ledger's sums. The ledger blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.admin.usage import Sums
from gateway.config.snapshot import Budget
from gateway.core.ledger import Chosen
from gateway.policy.limits import window


class Used(NamedTuple):
    """What calls that have ended came to. Those under way hold a part of the budget besides."""

    usd_micros: int
    tokens: int
    resets: float
    """When the next window begins, in seconds since 1970."""


def used(ledger: Sums, budgets: Mapping[str, Budget], now: float) -> dict[str, Used]:
    """By the key's name. One question for each length of a window, however many keys there are."""
    found: dict[str, Used] = {}
    for every in {budget.every for budget in budgets.values()}:
        since, until = window(every, int(now * 1000))
        spent = {each.by: each for each in ledger.usage("key", Chosen(since=since / 1000))}
        for name in (name for name, budget in budgets.items() if budget.every == every):
            sums = spent.get(name)
            cost, tokens = (sums.cost_micros, sums.input_tokens + sums.output_tokens) if sums else (0, 0)
            found[name] = Used(cost, tokens, until / 1000)
    return found
