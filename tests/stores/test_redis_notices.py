"""Replicas tell each other of targets, through a server that is well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from statistics import median

import orjson
import pytest

from gateway.ports import Notice
from gateway.store.redis import LONGEST, MESSAGE_LIMIT, MOST_KEYS, NAME_LIMIT, encoded
from tests.house.valkey import Valkey, valkey
from tests.stores.replicas import FULL, ILL, WELL, channel, listening, replica, replicas, same, until

KEY = "gateway:target:openai:gpt-4o"

NOTICE = {"from": "x", "provider": "p", "model": "m", "why": "ejected", "times": 1, "asked": False}

GARBAGE = {
    "no time": encoded(ILL, "x"),
    "no notice": b"3000 ",
    "not JSON": b"3000 {",
    "a list": b"3000 []",
    "a time that is over": b"-1 " + encoded(ILL, "x"),
    "no whole number of milliseconds": b"1e3 " + encoded(ILL, "x"),
    "a number for a name": b"3000 " + orjson.dumps(NOTICE | {"model": 1}),
    "a long name": b"3000 " + orjson.dumps(NOTICE | {"model": "m" * (NAME_LIMIT + 1)}),
    "a reason nobody knows": b"3000 " + orjson.dumps(NOTICE | {"why": "because"}),
    "ejected less than never": b"3000 " + orjson.dumps(NOTICE | {"times": -1}),
    "much else": b"3000 " + orjson.dumps(NOTICE | {"more": "m" * MESSAGE_LIMIT}),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as one:
        yield one


@pytest.fixture(autouse=True)
def empty(server: Valkey) -> None:
    server.command("FLUSHALL")


async def test_a_notice_reaches_another_replica_within_a_tenth_of_a_second(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        took = []
        for times in range(9):
            began = time.monotonic()
            one.tell(ILL._replace(times=times))
            heard = await other.hears()
            took.append(time.monotonic() - began)
            assert heard.times == times
            assert same(heard._replace(times=2), ILL)
    assert median(took) < 0.1


async def test_every_kind_of_notice_arrives_as_it_was_told(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL, FULL, WELL)
        assert same(await other.hears(), ILL)
        assert same(await other.hears(), FULL)
        assert await other.hears() == WELL


async def test_a_replica_does_not_hear_its_own_notices(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL)
        await other.hears()
        other.tell(FULL)
        assert same(await one.hears(), FULL)


async def test_a_replica_that_starts_later_learns_what_still_holds(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL, FULL)
        await other.hears()
        await other.hears()
        async with replica(server.url()) as late:
            heard = sorted([await late.hears(), await late.hears()])
            assert same(heard[0], FULL)
            assert same(heard[1], ILL)


async def test_a_replica_that_starts_later_does_not_hear_of_what_is_over(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(FULL._replace(seconds=0.05))
        await other.hears()
        await until(lambda: server.command("DBSIZE") == 0)
        one.tell(ILL)
        await other.hears()
        async with replica(server.url()) as late:
            assert same(await late.hears(), ILL)


async def test_what_ends_while_it_is_read_is_not_taken_for_well_again(server: Valkey) -> None:
    fill = "for n = 1, 1000 do redis.call('SET', 'gateway:target:p:' .. n, ARGV[1], 'PX', math.ceil(n / 10)) end"
    server.command("EVAL", fill, 0, encoded(ILL, "x"))  # ten of them end in each millisecond from now on
    async with replica(server.url()) as late:
        await listening(server, 1)
        server.command("PUBLISH", channel(), b"1 " + encoded(FULL, "x"))
        seconds = []
        while (heard := await late.hears()).model != FULL.model:
            seconds.append(heard.seconds)
        assert all(each > 0 for each in seconds)
        assert late.failed == {}


async def test_a_longer_time_outlives_a_later_shorter_one(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL)
        await other.hears()
        other.tell(Notice("openai", "gpt-4o", "rate_limited", 5.0))
        await one.hears()
        async with replica(server.url()) as late:
            assert same(await late.hears(), ILL)


async def test_a_shorter_time_is_replaced_by_a_later_longer_one(server: Valkey) -> None:
    longer = Notice("openai", "gpt-4o", "credentials", 300.0)
    async with replicas(server) as (one, other):
        one.tell(ILL, longer)
        await other.hears()
        await other.hears()
        async with replica(server.url()) as late:
            assert same(await late.hears(), longer)


async def test_a_target_that_is_well_again_is_well_for_those_who_start_later(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL, WELL)
        await other.hears()
        assert await other.hears() == WELL
        assert server.command("DBSIZE") == 0


async def test_many_notices_at_once_all_arrive_in_their_order(server: Valkey) -> None:
    many = [Notice("openai", f"model-{n}", "ejected", 30.0, times=n) for n in range(500)]
    async with replicas(server) as (one, other):
        one.tell(*many)
        heard = [await other.hears() for _ in many]
        assert all(map(same, heard, many))
        async with replica(server.url()) as late:
            learnt = [await late.hears() for _ in many]
            assert {each.model for each in learnt} == {each.model for each in many}
        assert one.failed == other.failed == late.failed == {}


async def test_calls_go_on_while_a_flood_of_notices_is_heard(server: Valkey) -> None:
    async with replicas(server) as (_, other):
        turns = count()

        async def calls() -> None:
            while True:
                next(turns)
                await asyncio.sleep(0)

        going_on = asyncio.get_running_loop().create_task(calls())
        flood = f"for _ = 1, 300 do redis.call('PUBLISH', '{channel()}', ARGV[1]) end"
        server.command("EVAL", flood, 0, b"3000 " + encoded(ILL, "x"))
        await other.hears()
        before = next(turns)
        for _ in range(299):
            await other.hears()
        between = next(turns) - before
        going_on.cancel()
        assert between >= 290


async def test_what_was_told_before_the_start_is_told_after_it(server: Valkey) -> None:
    async with replica(server.url()) as other, replica(server.url(), started=False) as one:
        await listening(server, 1)
        one.tell(ILL)
        one.notices.start(one.heard.put_nowait)
        assert same(await other.hears(), ILL)


async def test_a_socket_in_the_file_system_leads_to_the_same_server(server: Valkey) -> None:
    async with replica(server.path_url()) as one, replica(server.url()) as other, replica(server.path_url(1)):
        await listening(server, 2)
        await listening(server, 1, database=1)
        one.tell(ILL)
        assert same(await other.hears(), ILL)


async def test_closing_is_done_at_once(server: Valkey) -> None:
    before = asyncio.all_tasks()
    async with replicas(server) as (one, other):
        assert await one.closes() < 0.3
        assert await other.closes() < 0.3
        assert asyncio.all_tasks() == before


async def test_two_databases_of_a_server_do_not_hear_each_other(server: Valkey) -> None:
    async with replicas(server) as (one, other), replicas(server, database=1) as (elsewhere, there):
        one.tell(ILL)
        await other.hears()
        elsewhere.tell(FULL)
        assert same(await there.hears(), FULL)
        async with replica(server.url(1)) as late:
            assert same(await late.hears(), FULL)


async def test_targets_with_colons_in_their_names_are_kept_apart(server: Valkey) -> None:
    alike = [
        Notice("a:b", "c", "ejected", 30.0),
        Notice("a", "b:c", "ejected", 30.0),
        Notice("a%3Ab", "c", "ejected", 9),
    ]
    async with replicas(server) as (one, other):
        one.tell(*alike)
        for _ in alike:
            await other.hears()
        async with replica(server.url()) as late:
            learnt = [await late.hears() for _ in alike]
            assert {each[:2] for each in learnt} == {each[:2] for each in alike}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_what_makes_no_sense_on_the_channel_is_counted_and_passed_over(server: Valkey, garbage: bytes) -> None:
    async with replicas(server) as (one, other):
        server.command("PUBLISH", channel(), garbage)
        one.tell(ILL)
        assert same(await other.hears(), ILL)
        assert other.failed == {"malformed": 1}
        assert other.log == []


async def test_what_makes_no_sense_under_a_key_is_counted_and_passed_over(server: Valkey) -> None:
    server.command("SET", KEY, encoded(ILL, "x"))  # for ever
    server.command("RPUSH", "gateway:target:a:list", "x")
    server.command("PEXPIRE", "gateway:target:a:list", 30_000)
    server.command("SET", "gateway:target:a:word", "x" * 10 * MESSAGE_LIMIT, "PX", 30_000)
    server.command("SET", "gateway:target:claude:haiku", encoded(FULL, "x"), "PX", 12_000)
    async with replica(server.url()) as late:
        assert same(await late.hears(), FULL)
        await until(lambda: late.failed == {"malformed": 3})


async def test_a_key_that_holds_for_ever_is_replaced(server: Valkey) -> None:
    server.command("SET", KEY, "nonsense")
    async with replicas(server) as (one, other):
        one.tell(ILL)
        await other.hears()
        assert 0 < server.command("PTTL", KEY) <= 30_000


async def test_nobody_is_left_alone_for_longer_than_the_longest_ejection(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        server.command("PUBLISH", channel(), b"999999999999 " + encoded(ILL, "x"))
        assert (await other.hears()).seconds == LONGEST
        one.tell(ILL._replace(seconds=1e12))
        assert LONGEST - 1 < (await other.hears()).seconds <= LONGEST
        assert server.command("PTTL", KEY) <= LONGEST * 1000


async def test_a_time_that_is_over_is_not_told(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL._replace(seconds=-0.001), ILL._replace(seconds=float("nan")), FULL)
        assert same(await other.hears(), FULL)


@pytest.mark.parametrize("name", ["m" * (NAME_LIMIT + 1), "", "\ud800"], ids=["long", "empty", "half a character"])
async def test_a_target_with_an_unbearable_name_is_not_told_of(server: Valkey, name: str) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL._replace(model=name), FULL)
        assert same(await other.hears(), FULL)
        assert one.failed == {"malformed": 1}


async def test_a_new_replica_reads_no_more_than_it_can_use(server: Valkey) -> None:
    fill = "for n = 1, ARGV[2] do redis.call('SET', 'gateway:target:p:' .. n, ARGV[1], 'PX', 60000) end"
    server.command("EVAL", fill, 0, encoded(ILL, "x"), 2 * MOST_KEYS)
    async with replica(server.url()) as late:
        for _ in range(MOST_KEYS):
            await late.hears()
        late.tell(FULL)
        await until(lambda: server.command("EXISTS", "gateway:target:claude:haiku") == 1)
        assert late.heard.empty()
        assert late.failed == {"unread": 1}


async def test_notices_are_found_among_many_other_keys(server: Valkey) -> None:
    server.command("EVAL", "for n = 1, 5000 do redis.call('SET', 'other:' .. n, 'x') end", 0)
    server.command("SET", KEY, encoded(ILL, "x"), "PX", 30_000)
    async with replica(server.url()) as late:
        assert same(await late.hears(), ILL)
        assert late.failed == {}
