"""Limits of calls that are made at more than one target: retries, failover, limits of targets, hedged streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import Running, config, gateway
from tests.house.scripted import Peer, scripted
from tests.house.test_hangup import SILENT, question, until
from tests.house.test_hedging import ENOUGH, HEDGED
from tests.house.test_limits import (
    COUNTED,
    ONE_TRY,
    USED,
    allowed,
    ask,
    assert_refused,
    counted,
    limited,
    settled,
    tokens_used,
)
from tests.house.test_limits_settled import all_free
from tests.house.test_protocol import wire
from tests.house.test_serve import failing

# Retries, and other targets


async def test_retries_and_other_targets_are_the_same_request() -> None:
    async with Simulator(failing("500")) as ill, Simulator() as well:
        text = limited(config(ill.url, well.url), f"limits: {{requests_per_minute: 3}}, {COUNTED}")
        async with gateway(text) as running:
            answers = [await ask(running, stream=stream) for stream in (True, False)]
            assert [answer.headers["x-gateway-provider"] for answer in answers] == ["p1", "p1"]
            assert ill.received >= 2
            assert [allowed(answer)["remaining-requests"] for answer in answers] == ["2", "1"]
            assert await tokens_used(running) == 2 * USED


def with_limits(text: str, *limits: str) -> str:
    """The configuration with limits for its targets, the first one's first."""
    for number, each in enumerate(limits):
        text = text.replace(f"model: upstream-{number}}}", f"model: upstream-{number}, limits: {{{each}}}}}")
    return text


@pytest.mark.parametrize("limit", ["requests_per_minute: 1", "tokens_per_minute: 30"])
async def test_a_target_whose_own_limit_is_spent_is_left_out_and_the_next_one_serves(limit: str) -> None:
    async with Simulator() as first, Simulator() as second:
        text = with_limits(config(first.url, second.url, model=ONE_TRY), limit)
        async with gateway(text) as running:
            answers = [await ask(running, max_tokens=30) for _ in range(4)]
            assert [answer.headers["x-gateway-provider"] for answer in answers] == ["p0", "p1", "p1", "p1"]
            assert {answer.headers["x-gateway-attempts"] for answer in answers} == {"1"}
            assert (first.received, second.received) == (1, 3)
            assert [len(entry.tried) for entry in running.entries] == [1] * 4
            assert {allowed(answer).get("limit-requests") for answer in answers} == {None}


async def test_when_every_target_is_spent_the_client_is_told_the_shortest_wait() -> None:
    async with Simulator() as first, Simulator() as second:
        text = with_limits(config(first.url, second.url), "requests_per_minute: 3", "requests_per_minute: 2")
        async with gateway(text) as running:
            assert {(await ask(running)).status_code for _ in range(5)} == {200}
            refused = await ask(running)
            assert_refused(refused, "own limit for this model's provider")
            assert 10 < int(refused.headers["retry-after"]) <= 20
            assert "x-should-retry" not in refused.headers
            assert (running.entries[-1].outcome, running.entries[-1].tried) == ("limited", [])
            assert first.received + second.received == 5


async def test_a_call_that_no_target_has_room_for_uses_nothing_of_its_keys_limits() -> None:
    async with Simulator() as upstream:
        text = with_limits(config(upstream.url), "requests_per_minute: 1")
        async with gateway(limited(text, f"limits: {{concurrent_requests: 1}}, {COUNTED}")) as running:
            assert [(await ask(running)).status_code for _ in range(4)] == [200, 429, 429, 429]
            assert await tokens_used(running) == USED


async def test_a_target_that_failed_is_not_charged_for_what_the_next_one_did() -> None:
    async with Simulator(failing("500")) as ill, Simulator() as well:
        text = with_limits(config(ill.url, well.url), "tokens_per_minute: 200")
        async with gateway(text) as running:
            long = [{"role": "user", "content": "a " * 300}]
            assert (await ask(running, messages=long, max_tokens=1)).headers["x-gateway-provider"] == "p1"
            ill.faults = Faults()
            assert (await ask(running, max_tokens=1)).headers["x-gateway-provider"] == "p0"


async def test_who_finds_the_queue_of_a_target_full_has_used_nothing() -> None:
    async with Simulator(SILENT) as upstream:
        text = with_limits(config(upstream.url, model=ONE_TRY), "concurrent_requests: 1")
        rules = f"limits: {{requests_per_minute: 100, concurrent_requests: 30}}, {COUNTED}"
        async with gateway(limited(text, rules)) as running:
            calls = [asyncio.get_running_loop().create_task(ask(running)) for _ in range(12)]
            await until(lambda: sum(call.done() for call in calls) == 12 - 1 - 4)
            assert {call.result().status_code for call in calls if call.done()} == {503}
            for call in calls:
                call.cancel()
            await settled(running, 12)
            assert await tokens_used(running) == 0
            upstream.faults = Faults()
            assert allowed(await ask(running))["remaining-requests"] == "98"


# Hedged streams


@asynccontextmanager
async def race(rules: str, second: str | None = None) -> AsyncIterator[tuple[Simulator, Simulator, Running]]:
    """A gateway that asks a second target when the first one is slow, which it was not so far."""
    async with Simulator() as first, Simulator() as other:
        text = config(first.url, second or other.url, model=HEDGED)
        async with gateway(limited(text, rules)) as running:
            for _ in range(ENOUGH):
                await ask(running, stream=True)
            await settled(running, ENOUGH)
            running.entries.clear()
            yield first, other, running


@pytest.mark.parametrize("heard", ["p0", "p1"])
async def test_a_stream_that_is_asked_for_twice_holds_two_places_and_counts_once(heard: str) -> None:
    rules = f"limits: {{requests_per_minute: 1000, concurrent_requests: 2}}, {COUNTED}"
    async with race(rules) as (first, second, running):
        before = await tokens_used(running)
        late, never = Faults(first_token_delay=0.2), SILENT
        first.faults, second.faults = (late, never) if heard == "p0" else (never, late)
        call = asyncio.get_running_loop().create_task(ask(running, stream=True))
        await second.until(lambda: second.received == 1)
        assert_refused(await ask(running), "concurrent_requests", "2 are used")
        assert (await call).headers["x-gateway-provider"] == heard
        assert await tokens_used(running) == before + USED
        second.faults = Faults()
        await all_free(first, running, 2)


async def test_a_key_with_one_place_is_not_asked_for_twice() -> None:
    async with race("limits: {concurrent_requests: 1}") as (first, second, running):
        first.faults = Faults(first_token_delay=0.1)
        answer = await ask(running, stream=True)
        assert (answer.status_code, answer.headers["x-gateway-attempts"]) == (200, "1")
        assert second.received == 0
        assert await counted(running, "tester", "concurrent_requests") == 0
        await all_free(first, running, 1)


WHOLE: Json = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "n",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


async def answering_whole(peer: Peer) -> None:
    body = orjson.dumps(WHOLE)
    while True:
        await peer.request()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        await peer.say(head.encode() + body)


async def test_a_race_that_is_won_by_a_server_that_does_not_stream_leaves_nothing_held() -> None:
    async with (
        scripted(answering_whole) as whole,
        race(f"limits: {{concurrent_requests: 2}}, {COUNTED}", second=f"{whole.origin}/v1") as (first, _, running),
    ):
        before = await tokens_used(running)
        first.faults = SILENT
        answer = await ask(running, stream=True)
        assert (answer.headers["x-gateway-provider"], answer.text.count('"content":"hi"')) == ("p1", 1)
        await first.until(lambda: len(first.hangups) == 1)
        assert await tokens_used(running) == before + 4
        (entry,) = [entry for entry in running.entries if entry.outcome == "ok"]
        assert [(tried.provider, tried.outcome) for tried in entry.tried] == [("p0", "outpaced"), ("p1", "ok")]
        await all_free(first, running, 2)


async def test_when_both_fail_or_the_client_leaves_every_place_is_free() -> None:
    async with race("limits: {concurrent_requests: 4}") as (first, second, running):
        first.faults = second.faults = SILENT
        async with wire(running.port) as client:
            client.send(question(stream=True))
            await second.until(lambda: second.received == 1)
        await settled(running, 1)
        first.faults = second.faults = Faults(fail=(("500", 1.0),), first_token_delay=0.1)
        assert (await ask(running, stream=True)).status_code == 502
        await all_free(first, running, 4)
