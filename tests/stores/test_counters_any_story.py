"""Any story at all that counters can live through, beside an oracle. The clock is the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from fractions import Fraction
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.limits import limit
from gateway.ports import Limit, Refused, Reservation, Use
from tests.house.valkey import Valkey
from tests.stores.oracle import Held, Oracle
from tests.stores.worlds import KEY, World, server_of, world

MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture(scope="module", params=["memory", "valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[Valkey | None]:
    with server_of(request.param) as running:
        yield running


TARGET = ("target", "openai", "gpt-4o")
LIMITS: tuple[Limit, ...] = (
    limit(KEY, "requests_per_minute", 7),
    limit(KEY, "tokens_per_minute", 997),
    limit(KEY, "concurrent_requests", 3),
    limit(KEY, "usd_budget", 5_000, "hour"),
    limit(KEY, "token_budget", 9_000, "day"),
    limit(TARGET, "tokens_per_minute", 641),
)

AMOUNT = st.one_of(st.integers(0, 400), st.sampled_from([0, 1, 640, 641, 642, 997, 5_000, 20_000]))
USES = st.builds(Use, st.integers(0, 3), AMOUNT, AMOUNT)
SOME = st.lists(st.sampled_from(LIMITS), min_size=1, unique=True).map(tuple)
STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.one_of(st.just(LIMITS), SOME), USES),
    st.tuples(st.just("settle"), st.integers(0, 9), USES),
    st.tuples(st.just("time"), st.one_of(st.integers(0, 20_000), st.sampled_from([1, MINUTE, 590_000, HOUR]))),
)


class Story:
    """Counters and the oracle live through the same, and say the same."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.oracle = Oracle(here.now)
        self.calls: list[tuple[Reservation, Held]] = []

    async def time(self, milliseconds: int) -> None:
        self.here.passes(milliseconds)
        self.oracle.now = self.here.now
        for each in LIMITS:  # so that it notices each bucket that is full
            self.oracle.used(each)

    async def reserve(self, limits: tuple[Limit, ...], use: Use) -> None:
        expected = self.oracle.reserve(limits, use)
        answer = await self.here.counters.reserve(limits, use)
        if isinstance(answer, Refused):
            assert expected == (answer.standing.limit, answer.wait if answer.wait == inf else round(answer.wait * 1000))
            self.agree([answer.standing])
        else:
            assert isinstance(expected, Held)
            self.calls.append((answer, expected))
            self.agree(answer.standings)

    async def settle(self, which: int, used: Use) -> None:
        if self.calls:
            reservation, held = self.calls.pop(which % len(self.calls))
            self.here.counters.settle(reservation, used)
            self.oracle.settle(held, used)
            await self.here.hears()

    def agree(self, standings: Any) -> None:
        for each in standings:
            of, used = each.limit, each.used
            assert (used, round(each.reset * 1000)) == (self.oracle.used(of), self.oracle.reset(of))
            assert each.remaining == max(0, of.most - used)


@given(st.lists(STEPS, max_size=40))
def test_any_story_is_counted_as_by_the_oracle(server: Valkey | None, steps: list[tuple[Any, ...]]) -> None:
    async def live() -> None:
        async with world(server) as here:
            story = Story(here)
            for action, *details in steps:
                await getattr(story, action)(*details)

    asyncio.run(live())


@given(st.lists(st.tuples(st.integers(0, 40_000), AMOUNT, AMOUNT, st.booleans()), min_size=1, max_size=30))
def test_no_more_is_used_than_a_full_bucket_and_what_time_adds(
    server: Valkey | None, calls: list[tuple[int, int, int, bool]]
) -> None:
    """From any moment at which the bucket was full to any at which a call is let in."""
    rate = limit(KEY, "tokens_per_minute", 997)

    async def live() -> None:
        async with world(server) as here:
            since, charged = here.now, Fraction(0)
            for passes, reserved, used, settled in calls:
                here.passes(passes)
                answer = await here.counters.reserve((rate,), Use(tokens=reserved))
                if isinstance(answer, Refused):
                    continue
                if answer.standings[0].used == min(reserved, rate.most):
                    since, charged = here.now, Fraction(0)
                charged += min(reserved, rate.most)
                assert charged <= rate.most + Fraction((here.now - since) * rate.most, 60_000)
                if settled:
                    here.counters.settle(answer, Use(tokens=used))
                    charged += used - min(reserved, rate.most)

    asyncio.run(live())


@given(st.lists(st.tuples(st.integers(1, 1_200), st.integers(0, 9_000)), min_size=1, max_size=12), AMOUNT)
def test_who_waits_as_long_as_told_is_let_in_and_not_before(
    server: Valkey | None, before: list[tuple[int, int]], amount: int
) -> None:
    rate, budget = limit(KEY, "tokens_per_minute", 997), limit(KEY, "token_budget", 4_000, "hour")

    async def live() -> None:
        async with world(server) as here:
            for used, passes in before:
                answer = await here.counters.reserve((rate, budget), Use(tokens=used))
                if isinstance(answer, Reservation):
                    here.counters.settle(answer, Use(tokens=used))
                here.passes(passes)
            answer = await here.counters.reserve((rate, budget), Use(tokens=amount))
            while isinstance(answer, Refused) and answer.wait < inf:
                milliseconds = round(answer.wait * 1000)
                here.passes(milliseconds - 1)
                await here.refused((rate, budget), Use(tokens=amount))
                here.passes(1)
                answer = await here.granted((rate, budget), Use(tokens=amount))

    asyncio.run(live())
