"""Replicas that count together, through a server that is well."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.policy.limits import limit
from gateway.ports import Limit, Refused, Reservation, Use
from tests.house.valkey import Valkey, valkey
from tests.stores.worlds import CALLS, DOLLARS, KEY, PATIENT, REQUESTS, TOKENS, Replica, replica

ONE = Use()
YEAR_OF_DOLLARS = limit(KEY, "usd_budget", 10**12, "month")
MIDNIGHT_AWAY = 5
"""Seconds. A test of a budget does not begin so shortly before a new hour."""


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as one:
        yield one


@pytest.fixture(autouse=True)
def empty(server: Valkey) -> None:
    server.command("FLUSHALL")


@asynccontextmanager
async def replicas(server: Valkey, number: int) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(replica(server)) for _ in range(number)]


async def reserved(one: Replica, *limits: Limit, use: Use = ONE) -> Reservation:
    answer = await one.counters.reserve(limits, use)
    assert isinstance(answer, Reservation), answer
    return answer


async def refused(one: Replica, *limits: Limit, use: Use = ONE) -> Refused:
    answer = await one.counters.reserve(limits, use)
    assert isinstance(answer, Refused), answer
    return answer


async def granted_within(one: Replica, limit: Limit, seconds: float, use: Use = ONE) -> float:
    """Seconds until a call is let in."""
    began = time.monotonic()
    while isinstance(await one.counters.reserve((limit,), use), Refused):
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_thousand_calls_at_three_replicas_never_oversell(server: Valkey) -> None:
    places, rate = limit(KEY, "concurrent_requests", 37), limit(KEY, "requests_per_minute", 211)
    async with replicas(server, 3) as three:
        asked = [three[n % 3].counters.reserve((rate, places) if n % 2 else (rate,), ONE) for n in range(1000)]
        answers = await asyncio.gather(*asked)
        granted = [answer for answer in answers if isinstance(answer, Reservation)]
        assert 211 <= len(granted) <= 212  # a fraction of a second refills less than one
        assert sum(places in answer.limits for answer in granted) == 37
        assert all(one.failed == {} for one in three)


async def test_clients_that_come_and_go_at_all_replicas_stay_within_every_limit(server: Valkey) -> None:
    places, rate = limit(KEY, "concurrent_requests", 9), limit(KEY, "tokens_per_minute", 6000)
    under_way, most_under_way, used, began = 0, 0, 0, time.monotonic()

    async def client(one: Replica, dice: random.Random) -> None:
        nonlocal under_way, most_under_way, used
        for _ in range(25):
            await asyncio.sleep(dice.random() * 0.004)
            answer = await one.counters.reserve((places, rate), Use(tokens=60))
            if isinstance(answer, Reservation):
                under_way += 1
                most_under_way = max(most_under_way, under_way)
                await asyncio.sleep(dice.random() * 0.004)
                under_way -= 1
                really = dice.randrange(0, 60)
                used += really
                one.counters.settle(answer, Use(tokens=really))

    async with replicas(server, 3) as three:
        await asyncio.gather(*(client(three[n % 3], random.Random(n)) for n in range(60)))
        assert used <= 6000 + 6000 * (time.monotonic() - began) / 60
        assert used > 5000
        assert 5 <= most_under_way <= 9
        for one in three:  # and all of them left
            assert one.failed == {}
        for _ in range(9):
            await reserved(three[0], places)


async def test_a_budget_is_spent_exactly_by_all_replicas_together(server: Valkey) -> None:
    async with replicas(server, 3) as three:
        spent = 0
        for n in range(60):
            one = three[n % 3]
            call = await reserved(one, YEAR_OF_DOLLARS, use=Use(micros=1000))
            one.counters.settle(call, Use(micros=n))
            spent += n
        for one in three:  # whatever each of them has told has been heard
            call = await reserved(one, YEAR_OF_DOLLARS, use=Use(micros=0))
        assert call.standings[0].used == spent


async def test_the_places_of_a_replica_that_was_killed_are_free_after_its_lease(server: Valkey) -> None:
    async with replica(server, lease=0.5) as one, replica(server, lease=0.5) as other:
        await reserved(other, CALLS)
        for _ in range(2):
            await reserved(one, CALLS)
        await refused(other, CALLS)
        await one.dies()
        assert await granted_within(other, CALLS, 1.5) > 0.2


async def test_what_a_replica_that_was_killed_had_reserved_of_a_budget_comes_back(server: Valkey) -> None:
    async with replica(server, lease=0.5) as one, replica(server, lease=0.5) as other:
        one.counters.settle(await reserved(one, DOLLARS, use=Use(micros=1_000)), Use(micros=1_000))
        await reserved(one, DOLLARS, use=Use(micros=9_000))
        await refused(other, DOLLARS, use=Use(micros=1))
        await one.dies()
        await granted_within(other, DOLLARS, 1.5, Use(micros=9_000))
        await refused(other, DOLLARS, use=Use(micros=1))


async def test_a_long_stream_keeps_its_place(server: Valkey) -> None:
    async with replica(server, lease=0.3) as one, replica(server, lease=0.3) as other:
        calls = [await reserved(one, CALLS, DOLLARS, use=Use(micros=3_000)) for _ in range(3)]
        give_up = time.monotonic() + 1.2
        while time.monotonic() < give_up:
            await refused(other, CALLS)
            await refused(other, DOLLARS, use=Use(micros=1_001))
            await asyncio.sleep(0.01)
        one.counters.settle(calls[0], Use(micros=500))
        await granted_within(other, CALLS, 0.2)


async def test_a_call_whose_client_leaves_while_it_asks_reserves_nothing(server: Valkey) -> None:
    async with replica(server) as one:
        for turns in range(12):
            asking = asyncio.ensure_future(one.counters.reserve((CALLS, DOLLARS), Use(micros=10_000)))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait((asking,))
            if not asking.cancelled():
                one.counters.settle(asking.result(), Use(0, 0, 0))  # type: ignore[arg-type]
            await reserved(one, REQUESTS, use=Use(0))
        for _ in range(3):
            await reserved(one, CALLS)
        await reserved(one, DOLLARS, use=Use(micros=10_000))


async def test_a_call_whose_client_leaves_just_when_it_is_granted_reserves_nothing(server: Valkey) -> None:
    async with replica(server) as one:
        asking = asyncio.ensure_future(one.counters.reserve((CALLS, DOLLARS), Use(micros=10_000)))
        while not one.counters._open:  # noqa: ASYNC110  the next turn would be too late
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()
        await reserved(one, CALLS, DOLLARS, use=Use(micros=10_000))


async def test_a_server_that_has_forgotten_the_script_is_told_it_again(server: Valkey) -> None:
    async with replica(server) as one:
        await reserved(one, REQUESTS)
        server.command("SCRIPT", "FLUSH")
        answers = await asyncio.gather(*(one.counters.reserve((REQUESTS,), ONE) for _ in range(9)))
        assert sum(isinstance(answer, Reservation) for answer in answers) == 5
        assert one.failed == {}


async def test_nothing_stays_on_the_server_for_ever(server: Valkey) -> None:
    async with replica(server) as one:
        call = await reserved(one, REQUESTS, TOKENS, CALLS, DOLLARS, use=Use(1, 100, 100))
        await reserved(one, REQUESTS, TOKENS, CALLS, DOLLARS, use=Use(1, 100, 100))
        one.counters.settle(call, Use(1, 200, 200))
        one.counters.preload(YEAR_OF_DOLLARS, 5)
        await refused(one, REQUESTS, use=Use(6))
        keys = server.command("KEYS", "*")
        assert len(keys) >= 6
        assert all(0 < server.command("PTTL", key) < 32 * 86_400_000 for key in keys)
        assert all(key.startswith(b"gateway:{limits}:1:") for key in keys)


async def test_a_bucket_that_is_full_again_takes_no_memory(server: Valkey) -> None:
    quick = limit(KEY, "requests_per_minute", 60_000)
    async with replica(server) as one:
        await reserved(one, quick)
        give_up = time.monotonic() + PATIENT
        while server.command("EXISTS", f"gateway:{{limits}}:1:{quick.name}"):
            assert time.monotonic() < give_up
            await asyncio.sleep(0.05)


async def test_what_others_keep_on_the_server_is_left_alone(server: Valkey) -> None:
    server.command("SET", "gateway:{limits}:2:key:web-app:requests_per_minute:minute", "of another layout")
    async with replica(server) as one:
        await reserved(one, REQUESTS)
        assert server.command("TYPE", "gateway:{limits}:2:key:web-app:requests_per_minute:minute") == b"string"


async def test_a_name_as_long_as_a_client_can_write_makes_a_short_key(server: Valkey) -> None:
    async with replica(server) as one:
        for name in ("m" * 100_000, "n" * 100_000, "\ud800 {limits} \r\n"):
            rate = limit(("target", "openai", name), "requests_per_minute", 1)
            await reserved(one, rate)
            await refused(one, rate)
        assert max(map(len, server.command("KEYS", "*"))) < 300


async def test_a_replica_that_stops_is_no_longer_counted(server: Valkey) -> None:
    alive = "gateway:{limits}:1:alive"
    async with replica(server):
        async with replica(server):
            assert server.command("ZCARD", alive) == 2
        assert server.command("ZCARD", alive) == 1


async def test_what_is_settled_last_is_told_before_a_replica_stops(server: Valkey) -> None:
    async with replica(server) as other:
        async with replica(server) as one:
            call = await reserved(one, YEAR_OF_DOLLARS, use=Use(micros=1000))
            one.counters.settle(call, Use(micros=700))
        call = await reserved(other, YEAR_OF_DOLLARS, use=Use(micros=0))
        assert call.standings[0].used == 700


async def test_closing_is_done_at_once(server: Valkey) -> None:
    before = asyncio.all_tasks()
    async with replica(server) as one:
        await reserved(one, REQUESTS)
        began = time.monotonic()
        await one.counters.aclose()
        assert time.monotonic() - began < 0.2
        assert asyncio.all_tasks() == before
