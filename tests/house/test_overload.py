"""More calls than can be served at once: some wait, fairly, and the others are told when to come again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import orjson

from gateway.core.call import Target
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, Running, gateway
from tests.house.test_hangup import in_flight, until

KEYS = {name: f"a-key-of-the-test-suite-{name}" for name in ("greedy", "modest", "low", "high")}


def config(*urls: str, limit: int) -> str:
    """A model `m` that tries these in order. The first takes so many calls at once, and a model `n` is there alone."""
    providers = "\n".join(f"  p{n}: {{type: openai, base_url: '{url}', api_key: sk-{n}}}" for n, url in enumerate(urls))
    others = "\n".join(f"      - {{provider: p{n}, model: up}}" for n in range(1, len(urls)))
    return f"""
providers:
{providers}
models:
  m:
    strategy: ordered
    targets:
      - {{provider: p0, model: up, limits: {{concurrent_requests: {limit}}}}}
{others}
keys:
  - {{name: greedy, key: {KEYS["greedy"]}}}
  - {{name: modest, key: {KEYS["modest"]}}}
  - {{name: low, key: {KEYS["low"]}, priority: low}}
  - {{name: high, key: {KEYS["high"]}, priority: high}}
"""


@asynccontextmanager
async def house(limit: int, seconds: float) -> AsyncIterator[tuple[Simulator, Running]]:
    """A gateway before a provider that takes so many calls at once, and so long for each. At the end none is left."""
    slow = Faults(first_token_delay=seconds)
    async with Simulator(slow) as upstream, gateway(config(upstream.url, limit=limit)) as under_test:
        yield upstream, under_test
        await until(lambda: in_flight(under_test) == 0)
        assert under_test.gateway.board.of(Target("p0", "up", {})).in_flight == 0
        assert waiting(under_test) == 0


def asks(under_test: Running, key: str = "greedy", say: str = "hello") -> asyncio.Task[httpx.Response]:
    """A call on its way."""
    body = {**QUESTION, "messages": [{"role": "user", "content": say}]}
    headers = {"authorization": f"Bearer {KEYS[key]}"}
    asked = under_test.client.post("/v1/chat/completions", json=body, headers=headers)
    return asyncio.get_running_loop().create_task(asked)


def waiting(under_test: Running) -> int:
    return under_test.gateway.live.house.gates.waiting


def order(upstream: Simulator) -> list[str]:
    """What the provider was told, in order."""
    return [orjson.loads(request.body)["messages"][0]["content"] for request in upstream.requests]


async def test_a_target_is_never_asked_more_at_once_than_it_takes_and_keys_take_turns() -> None:
    async with house(limit=2, seconds=0.5) as (upstream, under_test):
        calls = [asks(under_test, say=say) for say in ("g", "g")]
        await upstream.until(lambda: upstream.received == 2)
        upstream.faults = Faults(first_token_delay=0.05)
        for ahead, say in enumerate(("g1", "g2", "m1", "m2")):
            calls.append(asks(under_test, "greedy" if say[0] == "g" else "modest", say))
            await until(lambda ahead=ahead: waiting(under_test) == ahead + 1)  # type: ignore[misc]
        assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 6
        assert order(upstream) == ["g", "g", "g1", "m1", "g2", "m2"]
        assert upstream.connections == 2  # each carries one request at a time


async def test_who_finds_the_queue_full_is_told_when_to_come_again_and_then_let_in() -> None:
    async with house(limit=2, seconds=0.3) as (upstream, under_test):
        await asks(under_test)  # so that it is known how long one takes
        calls = [asks(under_test) for _ in range(6)]
        await until(lambda: waiting(under_test) == 4)
        refused = await asks(under_test)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        wait = int(refused.headers["retry-after-ms"])
        assert 750 <= wait < 1000
        assert upstream.received == 3
        await asyncio.sleep(wait / 1000)
        assert (await asks(under_test)).status_code == 200
        assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 6


async def test_a_client_that_leaves_the_queue_is_never_asked_for() -> None:
    async with house(limit=1, seconds=0.4) as (upstream, under_test):
        first = asks(under_test, say="first")
        await upstream.until(lambda: upstream.received == 1)
        leaves, last = asks(under_test, say="leaves"), asks(under_test, say="last")
        await until(lambda: waiting(under_test) == 2)
        leaves.cancel()
        await until(lambda: waiting(under_test) == 1)
        assert [(await call).status_code for call in (first, last)] == [200, 200]
        assert order(upstream) == ["first", "last"]
        await until(lambda: len(under_test.entries) == 3)
        assert [(entry.outcome, entry.status) for entry in under_test.entries] == [
            ("cancelled", 499),
            ("ok", 200),
            ("ok", 200),
        ]


async def test_a_call_does_not_wait_for_a_full_target_while_another_has_room() -> None:
    slow = Faults(first_token_delay=0.5)
    async with (
        Simulator(slow) as full,
        Simulator() as other,
        gateway(config(full.url, other.url, limit=1)) as under_test,
    ):
        first = asks(under_test)
        await full.until(lambda: full.received == 1)
        second = await asks(under_test)
        assert second.headers["x-gateway-provider"] == "p1"
        assert not first.done()
        assert (await first).headers["x-gateway-provider"] == "p0"


async def test_calls_of_low_priority_are_refused_while_the_gateway_cannot_keep_up() -> None:
    async with house(limit=9, seconds=0.0) as (_, under_test):
        for _ in range(2):
            time.sleep(0.6)  # noqa: ASYNC251  the loop is to stand still
            await asyncio.sleep(0.01)
        low, high = await asyncio.gather(asks(under_test, "low"), asks(under_test, "high"))
        assert high.status_code == 200
        assert (low.status_code, low.json()["error"]["code"]) == (503, "overloaded")
        wait = int(low.headers["retry-after-ms"])
        assert 1000 <= wait <= 2000
        await asyncio.sleep(wait / 1000)
        assert (await asks(under_test, "low")).status_code == 200
