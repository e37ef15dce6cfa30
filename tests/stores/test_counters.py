"""What all counters do alike, wherever they are kept. The clock is the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.limits import MOST, limit
from gateway.ports import Every, Reservation, Standing, Use
from tests.house.valkey import Valkey
from tests.stores.oracle import Oracle
from tests.stores.worlds import CALLS, DOLLARS, KEY, REQUESTS, START, TOKENS, World, server_of, world

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

ONE = Use()
BEFORE_MIDNIGHT = 10 * MINUTE


@pytest.fixture(scope="module", params=["memory", "valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[Valkey | None]:
    with server_of(request.param) as running:
        yield running


@pytest_asyncio.fixture
async def here(server: Valkey | None) -> AsyncIterator[World]:
    async with world(server) as one:
        yield one


def tokens(amount: int) -> Use:
    return Use(tokens=amount)


def micros(amount: int) -> Use:
    return Use(micros=amount)


def use_of(standing: Standing) -> tuple[int, int]:
    return standing.used, standing.remaining


async def test_as_many_requests_as_the_limit_go_through_at_once_and_no_more(here: World) -> None:
    for _ in range(6):
        await here.granted((REQUESTS,), ONE)
    refused = await here.refused((REQUESTS,), ONE)
    assert refused.standing.limit == REQUESTS
    assert use_of(refused.standing) == (6, 0)
    assert refused.wait == 10.0


async def test_a_rate_refills_all_the_time(here: World) -> None:
    for _ in range(6):
        await here.granted((REQUESTS,), ONE)
    here.passes(9_999)
    assert (await here.refused((REQUESTS,), ONE)).wait == 0.001
    here.passes(1)
    await here.granted((REQUESTS,), ONE)
    await here.refused((REQUESTS,), ONE)


async def test_the_turn_of_a_minute_lets_nothing_more_through(here: World) -> None:
    here.set(START + 59_999)
    for _ in range(6):
        await here.granted((REQUESTS,), ONE)
    here.passes(1)
    await here.refused((REQUESTS,), ONE)


async def test_a_refusal_consumes_nothing_of_any_limit(here: World) -> None:
    await here.granted((CALLS, TOKENS), tokens(600))
    for _ in range(20):
        await here.refused((REQUESTS, CALLS, DOLLARS, TOKENS), Use(1, 600, 100))
    for _ in range(2):
        await here.granted((CALLS,), ONE)
    assert (await here.standing(REQUESTS)).used == 0
    assert (await here.standing(DOLLARS)).used == 0
    assert (await here.standing(TOKENS)).used == 600


async def test_of_several_limits_that_refuse_the_one_with_the_longest_wait_is_told(here: World) -> None:
    await here.granted((REQUESTS, TOKENS), Use(6, 900))
    refused = await here.refused((REQUESTS, TOKENS), Use(1, 500))
    assert (refused.standing.limit, refused.wait) == (TOKENS, 24.0)
    here.passes(24_000)
    await here.granted((REQUESTS, TOKENS), Use(1, 500))


async def test_each_owner_has_limits_of_its_own(here: World) -> None:
    await here.granted((CALLS, TOKENS), tokens(1000))
    for owner in (("key", "web"), ("key", "web:app"), ("key:web-app",), ("target", "web-app"), ("key", "web", "app")):
        other = limit(owner, "tokens_per_minute", 1000)
        await here.granted((other,), tokens(1000))


async def test_what_was_not_used_comes_back(here: World) -> None:
    call = await here.granted((TOKENS,), tokens(1000))
    await here.refused((TOKENS,), tokens(1))
    here.counters.settle(call, tokens(300))
    assert use_of(await here.standing(TOKENS)) == (300, 700)


async def test_what_time_has_given_back_does_not_come_back_again(here: World) -> None:
    slow = await here.granted((TOKENS,), tokens(1000))
    here.passes(MINUTE)
    await here.granted((TOKENS,), tokens(1000))
    here.counters.settle(slow, tokens(0))
    await here.refused((TOKENS,), tokens(1000))


async def test_a_refund_never_makes_more_than_a_full_bucket(here: World) -> None:
    call = await here.granted((TOKENS,), tokens(1000))
    here.passes(30_000)
    here.counters.settle(call, tokens(0))
    assert (await here.standing(TOKENS)).used == 0
    await here.granted((TOKENS,), tokens(1000))
    await here.refused((TOKENS,), tokens(1))


async def test_what_was_used_beyond_the_estimate_is_owed(here: World) -> None:
    call = await here.granted((TOKENS,), tokens(100))
    here.counters.settle(call, tokens(2500))
    refused = await here.refused((TOKENS,), tokens(500))
    assert use_of(refused.standing) == (2500, 0)
    assert refused.wait == 120.0
    assert refused.standing.reset == 150.0
    here.passes(119_999)
    await here.refused((TOKENS,), tokens(500))
    here.passes(1)
    await here.granted((TOKENS,), tokens(500))


async def test_a_call_larger_than_its_limit_waits_for_a_full_bucket(here: World) -> None:
    await here.granted((TOKENS,), tokens(1))
    assert (await here.refused((TOKENS,), tokens(5000))).wait == 0.06
    here.passes(60)
    large = await here.granted((TOKENS,), tokens(5000))
    assert use_of(large.standings[0]) == (1000, 0)
    here.counters.settle(large, tokens(5000))
    assert (await here.refused((TOKENS,), tokens(1000))).wait == 300.0


async def test_a_call_larger_than_its_limit_that_used_less_gets_the_rest_back(here: World) -> None:
    large = await here.granted((TOKENS,), tokens(5000))
    here.counters.settle(large, tokens(400))
    assert (await here.standing(TOKENS)).used == 400


async def test_no_more_calls_are_under_way_than_places(here: World) -> None:
    calls = [await here.granted((CALLS,), ONE) for _ in range(3)]
    refused = await here.refused((CALLS,), ONE)
    assert refused.standing == Standing(CALLS, 3, 0, 0.0)
    assert refused.wait == 1.0
    here.counters.settle(calls[1], ONE)
    await here.granted((CALLS,), ONE)
    await here.refused((CALLS,), ONE)


async def test_to_settle_twice_changes_nothing(here: World) -> None:
    limits = (TOKENS, CALLS, DOLLARS)
    calls = [await here.granted(limits, Use(1, 300, 3000)) for _ in range(3)]
    for _ in range(3):
        here.counters.settle(calls[0], Use(1, 200, 2000))
    assert (await here.standing(TOKENS)).used == 800
    assert (await here.standing(DOLLARS)).used == 8000
    await here.granted((CALLS,), ONE)
    await here.refused((CALLS,), ONE)


async def test_what_is_spent_of_a_budget_does_not_come_back_before_the_next_window(here: World) -> None:
    call = await here.granted((DOLLARS,), micros(9_000))
    here.counters.settle(call, micros(9_500))
    here.passes(BEFORE_MIDNIGHT - 1)
    refused = await here.refused((DOLLARS,), micros(501))
    assert refused.standing == Standing(DOLLARS, 9_500, 500, 0.001)
    assert refused.wait == 0.001
    await here.granted((DOLLARS,), micros(500))
    here.passes(1)
    assert (await here.standing(DOLLARS)) == Standing(DOLLARS, 0, 10_000, 86_400.0)


async def test_calls_under_way_cannot_overrun_a_budget_together(here: World) -> None:
    calls = [await here.granted((DOLLARS,), micros(2_500)) for _ in range(4)]
    refused = await here.refused((DOLLARS,), micros(1))
    assert refused.wait == 1.0  # and not until midnight: they may well use less
    for call in calls:
        here.counters.settle(call, micros(100))
    assert (await here.standing(DOLLARS)).used == 400


async def test_a_call_over_midnight_is_charged_to_the_day_on_which_it_began(here: World) -> None:
    call = await here.granted((DOLLARS,), micros(9_000))
    here.passes(BEFORE_MIDNIGHT)
    await here.granted((DOLLARS,), micros(10_000))
    here.counters.settle(call, micros(20))
    assert (await here.standing(DOLLARS)).used == 10_000


async def test_a_call_that_may_cost_more_than_the_whole_budget_is_refused_for_good(here: World) -> None:
    assert (await here.refused((DOLLARS,), micros(10_001))).wait == inf


async def test_a_spent_budget_refuses_what_costs_anything_and_nothing_else(here: World) -> None:
    here.counters.settle(await here.granted((DOLLARS,), micros(10_000)), micros(10_000))
    await here.refused((DOLLARS,), micros(1))
    await here.granted((DOLLARS,), micros(0))


async def test_a_budget_that_is_overrun_refuses_nothing_that_costs_nothing(here: World) -> None:
    here.counters.settle(await here.granted((DOLLARS,), micros(10_000)), micros(15_000))
    await here.refused((DOLLARS,), micros(1))
    await here.granted((DOLLARS,), micros(0))


@pytest.mark.parametrize(
    ("every", "seconds"), [("hour", 600), ("day", 600), ("week", 600 + 5 * 86_400), ("month", 600)]
)
async def test_windows_end_with_those_of_the_calendar(here: World, every: Every, seconds: int) -> None:
    budget = limit(KEY, "token_budget", 5, every)
    here.counters.settle(await here.granted((budget,), tokens(5)), tokens(5))
    assert (await here.refused((budget,), tokens(1))).wait == seconds
    here.passes(seconds * 1000 - 1)
    await here.refused((budget,), tokens(1))
    here.passes(1)
    await here.granted((budget,), tokens(5))


@given(st.integers(0, 4_102_444_800_000), st.sampled_from(["hour", "day", "week", "month"]))
def test_windows_are_those_of_the_calendar_at_any_time(server: Valkey | None, now: int, every: Every) -> None:
    budget = limit(KEY, "token_budget", 5, every)

    async def reset() -> float:
        async with world(server) as here:
            here.set(now)
            return (await here.standing(budget)).reset

    assert asyncio.run(reset()) == (Oracle.window(budget, now)[1].timestamp() * 1000 - now) / 1000


async def test_every_month_has_its_own_length(here: World) -> None:
    budget = limit(KEY, "token_budget", 5, "month")
    for year in (2027, 2028, 2100):
        for month in range(1, 13):
            first = datetime(year, month, 1, tzinfo=UTC)
            following = (first + timedelta(days=32)).replace(day=1)
            here.set(int(first.timestamp() * 1000))
            assert (await here.standing(budget)).reset == (following - first).total_seconds()
            here.set(int(following.timestamp() * 1000) - 1)
            assert (await here.standing(budget)).reset == 0.001


async def test_a_budget_begins_with_what_the_ledger_knows(here: World) -> None:
    here.counters.preload(DOLLARS, 8_000)
    here.counters.preload(DOLLARS, 7_000)
    assert (await here.standing(DOLLARS)).used == 8_000
    await here.refused((DOLLARS,), micros(2_001))
    here.counters.settle(await here.granted((DOLLARS,), micros(500)), micros(500))
    here.counters.preload(DOLLARS, 8_400)
    assert (await here.standing(DOLLARS)).used == 8_500


async def test_to_change_a_limit_forgets_nothing_that_was_counted(here: World) -> None:
    await here.granted((REQUESTS, TOKENS, DOLLARS, CALLS), Use(6, 900, 9_000))
    assert use_of(await here.standing(replace(TOKENS, most=2000))) == (900, 1100)
    assert use_of(await here.standing(replace(DOLLARS, most=20_000))) == (9_000, 11_000)
    assert use_of((await here.refused((replace(TOKENS, most=500),), tokens(1))).standing) == (900, 0)
    assert (await here.refused((replace(CALLS, most=1),), ONE)).standing.used == 1


async def test_a_clock_that_is_set_back_neither_gives_nor_blocks(here: World) -> None:
    await here.granted((TOKENS, DOLLARS), Use(1, 1000, 9_000))
    here.passes(-HOUR)
    assert (await here.refused((TOKENS,), tokens(500))).wait == 30.0
    await here.refused((DOLLARS,), micros(2_000))
    here.passes(30_000)
    await here.granted((TOKENS,), tokens(500))
    await here.refused((TOKENS,), tokens(1))


async def test_a_budget_whose_day_has_begun_does_not_go_back_to_the_day_before(here: World) -> None:
    here.passes(BEFORE_MIDNIGHT)
    here.counters.settle(await here.granted((DOLLARS,), micros(9_000)), micros(9_000))
    here.passes(-1)
    await here.refused((DOLLARS,), micros(2_000))


HOSTILE: list[Any] = [-1, -(10**30), 10**30, 2**63, 0.5, -0.5, nan, inf, -inf, None, "7", [], True]


@pytest.mark.parametrize("number", HOSTILE, ids=repr)
async def test_no_number_that_is_reserved_credits_anyone(here: World, number: Any) -> None:
    limits = (TOKENS, DOLLARS)
    await here.granted(limits, Use(1, 400, 400))
    answer = await here.counters.reserve(limits, Use(number, number, number))
    assert (await here.standing(TOKENS)).used >= 400
    assert (await here.standing(DOLLARS)).used >= 400
    if isinstance(answer, Reservation):
        here.counters.settle(answer, Use(0, 0, 0))
    assert (await here.standing(TOKENS)).used == 400


@pytest.mark.parametrize("number", HOSTILE, ids=repr)
async def test_no_number_that_is_settled_credits_anyone(here: World, number: Any) -> None:
    wide = limit(KEY, "usd_budget", 10**15, "day")
    limits = (TOKENS, wide)
    await here.granted(limits, Use(1, 400, 400))
    call = await here.granted(limits, Use(1, 100, 100))
    here.counters.settle(call, Use(number, number, number))
    used = (await here.standing(wide)).used
    assert 400 <= used <= 400 + MOST
    if number is None or number != number or isinstance(number, str | list):
        assert used == 500  # what is no number leaves what was reserved


async def test_a_call_without_limits_is_always_let_in(here: World) -> None:
    call = await here.granted((), Use(10**9, 10**9, 10**9))
    assert call.standings == ()
    here.counters.settle(call, ONE)


async def test_the_headers_of_an_answer_tell_how_each_limit_stands(here: World) -> None:
    call = await here.granted((REQUESTS, TOKENS, CALLS, DOLLARS), Use(1, 250, 1_000))
    assert call.standings == (
        Standing(REQUESTS, 1, 5, 10.0),
        Standing(TOKENS, 250, 750, 15.0),
        Standing(CALLS, 1, 2, 0.0),
        Standing(DOLLARS, 1_000, 9_000, 600.0),
    )
    here.counters.settle(call, ONE)


async def test_a_thousand_reservations_at_once_never_oversell(here: World) -> None:
    places = limit(KEY, "concurrent_requests", 40)
    rate = limit(KEY, "requests_per_minute", 300)
    asked = [here.counters.reserve((places, rate), ONE) for _ in range(500)]
    asked += [here.counters.reserve((rate,), ONE) for _ in range(500)]
    answers = await asyncio.gather(*asked)
    granted = [answer for answer in answers if isinstance(answer, Reservation)]
    assert len(granted) == 300
    assert sum(places in answer.limits for answer in granted) == 40
