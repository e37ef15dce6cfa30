"""What a call is charged that has made more than one attempt, or whose cost is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.events import Usage
from tests.test_toll import EVERYTHING, LIMITED, World, call


@pytest.mark.parametrize("key", [EVERYTHING, "models: [m]"], ids=["limited key", "key without limits"])
async def test_a_target_that_has_failed_is_not_charged_for_what_the_next_one_did(key: str) -> None:
    world = World(key, first=LIMITED)
    entry = await world.enter(call())
    entry.note("server_error", 1.5)
    await world.enter(entry, world.second)
    assert world.used()["target tokens_per_minute"] == 0
    world.end(entry, Usage(400, 400))
    assert world.used()["target tokens_per_minute"] == 0


async def test_attempts_that_failed_after_they_had_told_their_usage_are_charged_at_their_own_price() -> None:
    world, entry = World(), call()
    await world.enter(entry)
    entry.usage = Usage(20, 1)
    entry.lose()
    entry.note("truncated", 1.5)
    dearer = replace(world.second, price=world.second.price._replace(output=1000))  # type: ignore[union-attr]
    await world.enter(entry, dearer)
    world.end(entry, Usage(30, 2))
    assert (entry.usage, entry.cost) == (Usage(50, 3), 20 * 10 + 100 + 30 * 10 + 2 * 1000)
    assert world.used()["key usd_budget"] == entry.cost
    assert world.used()["key token_budget"] == 53


async def test_a_call_all_of_whose_attempts_failed_is_charged_what_they_had_used() -> None:
    world, entry = World(), call()
    await world.enter(entry)
    entry.usage = Usage(20, 1)
    entry.lose()
    world.end(entry, None)
    assert (entry.usage, entry.cost, entry.usage_source) == (Usage(20, 1), 300, "reported")
    assert world.used()["key token_budget"] == 21


async def test_where_a_price_is_not_known_the_cost_is_not_known_and_tokens_count_all_the_same() -> None:
    world = World()
    entry = await world.enter(call(), replace(world.first, price=None))
    world.end(entry, Usage(30, 5))
    assert entry.cost is None
    assert world.used()["key token_budget"] == 35


async def test_a_budget_bears_what_is_known_of_a_cost_whose_other_part_is_not() -> None:
    world = World("budget: {usd: 5, every: day}")
    entry = await world.enter(call())
    entry.told = Usage(10)
    entry.lose()
    unpriced = replace(world.second, price=None)
    entry.begin(unpriced, 1.5)
    world.end(entry, Usage(20, 30))
    assert (entry.cost, entry.usage) == (None, Usage(30, 30))
    assert world.used() == {"key usd_budget": 100}
