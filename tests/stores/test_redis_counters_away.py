"""Replicas that count together, and what becomes of that when the server is slow, away, or back without its memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

import pytest

from gateway.core.errors import Overloaded
from gateway.core.secret import Secret
from gateway.policy.limits import limit
from gateway.ports import Refused, Reservation, Use
from gateway.store.redis_counters import ALIVE, ANSWER_WITHIN, PREFIX, RedisCounters
from tests.house.scripted import Peer, scripted
from tests.house.valkey import Valkey, valkey
from tests.stores.replicas import until
from tests.stores.test_redis_counters import refused, reserved
from tests.stores.worlds import CALLS, KEY, Replica, time_of_day
from tests.stores.worlds import replica as patient_replica

replica = partial(patient_replica, patience=ANSWER_WITHIN)

ONE = Use()
RATE = limit(KEY, "requests_per_minute", 10)
PLACES = limit(KEY, "concurrent_requests", 10)
DOLLARS = limit(KEY, "usd_budget", 10_000, "month")

BOUND = 0.15
"""Seconds: fifty milliseconds, and as much again and more for a busy machine."""

AT_ONCE = 0.03
"""Seconds. What nobody else is asked about takes some microseconds."""


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as one:
        yield one


async def spends(one: Replica, micros: int) -> None:
    call = await reserved(one, DOLLARS, use=Use(micros=micros))
    one.counters.settle(call, Use(micros=micros))


async def spent(one: Replica) -> int:
    """By all, as far as the server knows."""
    call = await reserved(one, DOLLARS, use=Use(micros=0))
    used = call.standings[0].used
    one.counters.settle(call, Use(micros=0))
    return used


async def agreed(one: Replica, other: Replica, micros: int) -> None:
    """Both come to know that so much was spent: a slow machine may take a replica for alone for a moment."""
    async with asyncio.timeout(20):
        while not await spent(one) == await spent(other) == micros:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.01)


async def number_granted(one: Replica, limit_: object = RATE) -> int:
    answers = [await one.counters.reserve((limit_,), ONE) for _ in range(30)]  # type: ignore[arg-type]
    return sum(isinstance(answer, Reservation) for answer in answers)


async def know_each_other(server: Valkey, one: Replica) -> None:
    """A replica that was there first hears of the second with its next sign of life."""
    score = server.command("ZSCORE", ALIVE, one.counters._name)
    await until(lambda: server.command("ZSCORE", ALIVE, one.counters._name) != score)


async def lose(server: Valkey, *all_: Replica) -> None:
    """The server freezes, and everyone has noticed."""
    server.freeze()
    for one in all_:
        await one.counters.reserve((limit(("nobody",), "requests_per_minute", 10**6),), ONE)
        await one.until(shared=False)


async def test_no_call_waits_for_a_frozen_server_for_more_than_a_moment(server: Valkey) -> None:
    async with replica(server) as one:
        server.freeze()
        began = time.monotonic()
        asked = [one.counters.reserve((RATE,), ONE) for _ in range(30)]
        answers = await asyncio.gather(*asked)
        assert 0.03 < time.monotonic() - began < BOUND
        assert sum(isinstance(answer, Reservation) for answer in answers) == 10
        began = time.monotonic()
        await refused(one, RATE)
        assert time.monotonic() - began < AT_ONCE
        assert one.failed["timeout"] >= 1
        assert one.shared == [True, False]
        assert one.log == ["limits_not_shared"]
        server.thaw()


async def test_a_burst_of_calls_is_not_taken_for_a_slow_server(server: Valkey) -> None:
    async with replica(server) as one:
        answers = await asyncio.gather(*(one.counters.reserve((RATE, PLACES, DOLLARS), ONE) for _ in range(4000)))
        assert sum(isinstance(answer, Reservation) for answer in answers) == 10
        assert one.failed == {}


async def test_a_server_that_is_killed_is_not_waited_for_at_all(server: Valkey) -> None:
    async with replica(server) as one:
        server.kill()
        began = time.monotonic()
        await reserved(one, RATE)
        assert time.monotonic() - began < BOUND
        await one.until(shared=False)


async def test_each_of_two_replicas_enforces_its_half(server: Valkey) -> None:
    async with replica(server) as one, replica(server) as other:
        await know_each_other(server, one)
        await lose(server, one, other)
        assert await number_granted(one) == 5
        assert await number_granted(other) == 5
        standing = (await refused(one, RATE)).standing
        assert (standing.limit.most, standing.used) == (5, 5)
        server.thaw()


async def test_a_share_is_at_least_one(server: Valkey) -> None:
    single = limit(KEY, "concurrent_requests", 1)
    async with replica(server) as one, replica(server) as other:
        await know_each_other(server, one)
        await lose(server, one, other)
        assert await number_granted(one, single) == 1
        server.thaw()


async def test_calls_are_refused_for_as_long_as_it_lasts_where_that_is_wanted(server: Valkey) -> None:
    async with replica(server, away="closed") as one:
        call = await reserved(one, RATE)
        server.freeze()
        for _ in range(2):
            with pytest.raises(Overloaded) as refusal:
                await one.counters.reserve((RATE,), ONE)
            assert refusal.value.status == 503
            assert refusal.value.retry_after
        one.counters.settle(call, ONE)
        await reserved(one)  # what has no limits needs nobody
        server.thaw()
        await one.until(shared=True)
        await reserved(one, RATE)


async def test_counting_is_shared_again_when_the_server_is_back(server: Valkey) -> None:
    async with replica(server) as one, replica(server) as other:
        await lose(server, one, other)
        server.thaw()
        await one.until(shared=True)
        await other.until(shared=True)
        assert one.log == ["limits_not_shared", "limits_shared"]
        assert await number_granted(one) + await number_granted(other) == 10


async def test_what_was_settled_while_the_server_was_frozen_is_not_lost(server: Valkey) -> None:
    async with replica(server) as one, replica(server) as other:
        await spends(one, 1_000)
        calls = [await reserved(one, DOLLARS, PLACES, use=Use(micros=500)) for _ in range(4)]
        await lose(server, one, other)
        for call in calls:
            one.counters.settle(call, Use(micros=400))
        await spends(one, 30)
        await spends(other, 7)
        server.thaw()
        await one.until(shared=True)
        await other.until(shared=True)
        await agreed(one, other, 1_000 + 4 * 400 + 30 + 7)
        assert await number_granted(other, PLACES) == 10


async def test_a_server_that_comes_back_without_its_memory_learns_what_was_spent(server: Valkey) -> None:
    async with replica(server) as one, replica(server) as other:
        async with patient_replica(server) as gone:
            await spends(gone, 1_000)
            await until(lambda: server.command("HGET", f"{PREFIX}{DOLLARS.name}", "spent") == b"1000")
        await spends(one, 300)
        await spends(other, 50)
        await agreed(one, other, 1_350)
        server.kill()
        await one.until(shared=False)
        await other.until(shared=False)
        await spends(one, 20)
        await spends(other, 4)
        server.start()
        await one.until(shared=True)
        await other.until(shared=True)
        await agreed(one, other, 1_374)


async def test_a_server_that_is_emptied_learns_again_what_is_spent(server: Valkey) -> None:
    async with replica(server) as one:
        await spends(one, 1_000)
        server.command("FLUSHALL")
        await spends(one, 1)
        assert await spent(one) == 1_001


async def test_a_replica_that_is_left_alone_spends_its_share_of_what_is_left(server: Valkey) -> None:
    async with replica(server) as one, replica(server) as other:
        await spends(one, 6_000)
        assert await spent(other) == 6_000
        await know_each_other(server, one)
        await lose(server, one, other)
        await refused(one, DOLLARS, use=Use(micros=2_001))
        await spends(one, 2_000)
        await refused(one, DOLLARS, use=Use(micros=1))
        await spends(other, 2_000)
        server.thaw()
        await one.until(shared=True)
        await other.until(shared=True)
        await refused(one, DOLLARS, use=Use(micros=1))
        await refused(other, DOLLARS, use=Use(micros=1))


async def test_a_budget_from_the_ledger_holds_while_the_server_is_away(server: Valkey) -> None:
    async with replica(server) as one:
        await lose(server, one)
        one.counters.preload(DOLLARS, 9_000)
        await refused(one, DOLLARS, use=Use(micros=1_001))
        server.thaw()
        await one.until(shared=True)
        assert await spent(one) == 9_000


async def test_calls_under_way_keep_their_places_when_the_server_is_lost_and_when_it_is_back(server: Valkey) -> None:
    async with replica(server) as one:
        before = [await reserved(one, CALLS), await reserved(one, CALLS)]
        server.kill()
        await one.until(shared=False)
        during = await reserved(one, CALLS)
        await refused(one, CALLS)
        server.start()
        await one.until(shared=True)
        await refused(one, CALLS)
        for call in (*before, during):
            one.counters.settle(call, ONE)
        assert await number_granted(one, CALLS) == 3


async def test_what_was_used_of_a_rate_while_alone_counts_afterwards(server: Valkey) -> None:
    async with replica(server) as one:
        await lose(server, one)
        assert await number_granted(one) == 10
        server.thaw()
        await one.until(shared=True)
        await asyncio.sleep(0)
        assert await number_granted(one) == 0


async def test_what_a_frozen_server_grants_when_nobody_waits_any_more_is_given_back(server: Valkey) -> None:
    async with replica(server) as one:
        await spends(one, 1)
        server.freeze()
        for call in await asyncio.gather(*(reserved(one, CALLS) for _ in range(3))):
            one.counters.settle(call, ONE)
        server.thaw()
        await one.until(shared=True)
        assert await number_granted(one, CALLS) == 3


async def test_a_server_without_memory_to_spare_is_as_good_as_away(server: Valkey) -> None:
    async with replica(server) as one:
        server.command("CONFIG", "SET", "maxmemory", "1")
        assert await number_granted(one) == 10
        assert one.failed["refused"] >= 1
        server.command("CONFIG", "SET", "maxmemory", "0")
        await one.until(shared=True)


async def test_a_replica_starts_without_a_server_and_finds_it_later(server: Valkey) -> None:
    server.kill()
    async with replica(server, joined=False) as one:
        began = time.monotonic()
        await one.counters.ready(0.05)
        assert time.monotonic() - began < 0.2
        assert await number_granted(one) == 10
        server.start()
        await one.until(shared=True)


async def test_a_server_that_comes_and_goes_never_lets_through_more_than_twice_as_much(server: Valkey) -> None:
    async with replica(server) as one:
        granted = 0
        for _ in range(3):
            granted += await number_granted(one)
            await lose(server, one)
            granted += await number_granted(one)
            server.thaw()
            await one.until(shared=True)
        assert 10 <= granted <= 21


async def test_closing_does_not_wait_for_a_frozen_server(server: Valkey) -> None:
    async with replica(server) as one:
        server.freeze()
        began = time.monotonic()
        await one.counters.aclose()
        assert time.monotonic() - began < 0.5
        server.thaw()


async def test_a_thousand_calls_under_way_survive_the_loss_of_the_server(server: Valkey) -> None:
    many = limit(KEY, "concurrent_requests", 1_000)
    async with replica(server) as one:
        calls = await asyncio.gather(*(reserved(one, many, DOLLARS, use=Use(micros=1)) for _ in range(1_000)))
        server.kill()
        await one.until(shared=False)
        for call in calls[:600]:
            one.counters.settle(call, Use(micros=2))
        server.start()
        await one.until(shared=True)
        answers = await asyncio.gather(*(one.counters.reserve((many,), ONE) for _ in range(700)))
        assert sum(not isinstance(answer, Refused) for answer in answers) == 600
        assert await spent(one) == 600 * 2 + 400


@dataclass
class Wire:
    """A way to the server that takes as long as a test wants."""

    port: int = 0
    delay: float = 0.0


@asynccontextmanager
async def wire(server: Valkey) -> AsyncIterator[Wire]:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            await asyncio.sleep(between.delay)
            writer.write(piece)
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

    between = Wire()
    async with await asyncio.start_server(carry, "127.0.0.1", 0) as listener:
        between.port = listener.sockets[0].getsockname()[1]
        yield between
        listener.close()


async def test_a_server_that_becomes_slow_is_not_waited_for_until_it_is_quick_again(server: Valkey) -> None:
    async with wire(server) as between, replica(server, url=f"redis://127.0.0.1:{between.port}") as one:
        await reserved(one, RATE)
        between.delay = 0.04  # there, and back again
        began = time.monotonic()
        await reserved(one, RATE)
        assert 0.03 < time.monotonic() - began < BOUND
        took = []
        give_up = time.monotonic() + 1.5
        while time.monotonic() < give_up:  # it is looked for, and found too slow
            began = time.monotonic()
            await one.counters.reserve((RATE,), ONE)
            took.append(time.monotonic() - began)
            assert one.shared == [True, False]
            await asyncio.sleep(0.005)
        assert median(took) < AT_ONCE
        between.delay = 0
        await one.until(shared=True)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n" * 50, b"*-1\r\n" * 50, b"\0" * 99])
async def test_a_server_that_is_no_redis_harms_nobody(server: Valkey, answer: bytes) -> None:
    async def somebody_else(peer: Peer) -> None:
        await peer.reader.read(1024)
        await peer.say(answer)

    async with (
        scripted(somebody_else) as upstream,
        replica(server, url=f"redis://127.0.0.1:{upstream.port}", joined=False) as one,
    ):
        await until(lambda: one.failed.total() >= 2)
        assert await number_granted(one) == 10
        assert one.shared == []


def test_what_is_no_url_is_refused_without_being_quoted() -> None:
    with pytest.raises(ValueError, match="redis://") as refusal:
        RedisCounters(
            Secret("redis://:hun/ter2@127.0.0.1"),
            now=time_of_day,
            away="share",
            failed=lambda kind: None,
            shared=lambda now: None,
            event=lambda *_, **__: None,
        )
    assert "ter2" not in str(refusal.value)
