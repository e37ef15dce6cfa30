"""What one replica finds out about a target, the others know: two whole gateways and one Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, Running, config, gateway
from tests.house.valkey import Valkey, valkey
from tests.stores.replicas import listening, until

FULL = Faults(fail=(("429", 1.0),), retry_after=30)
ILL = Faults(fail=(("500", 1.0),))
KEY = "gateway:target:p0:upstream-0"


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as one:
        yield one


@asynccontextmanager
async def two_gateways(server: Valkey, *urls: str) -> AsyncIterator[tuple[Running, Running]]:
    """Replicas: one configuration, one Redis."""
    text = config(*urls, extra=f"state: {{redis: '{server.url()}'}}")
    async with gateway(text) as one, gateway(text) as other:
        await listening(server, 2)
        yield one, other


async def served_by(running: Running) -> tuple[str, int]:
    """Which provider answers, and after how many attempts."""
    answer = await running.client.post("/v1/chat/completions", json=QUESTION)
    assert answer.status_code == 200
    return answer.headers["x-gateway-provider"], int(answer.headers["x-gateway-attempts"])


async def test_a_provider_that_one_replica_found_full_is_left_alone_by_the_other(server: Valkey) -> None:
    async with Simulator(FULL) as full, Simulator() as well, two_gateways(server, full.url, well.url) as (one, other):
        assert await served_by(one) == ("p1", 2)
        await until(lambda: server.command("EXISTS", KEY) == 1)
        assert await served_by(other) == ("p1", 1)
        assert len(full.requests) == 1


async def test_a_provider_that_one_replica_ejected_is_left_alone_by_one_that_starts_later(server: Valkey) -> None:
    async with Simulator(ILL) as ill, Simulator() as well, two_gateways(server, ill.url, well.url) as (one, _):
        while (await served_by(one))[1] > 1:
            pass
        asked = len(ill.requests)
        await until(lambda: server.command("EXISTS", KEY) == 1)
        text = config(ill.url, well.url, extra=f"state: {{redis: '{server.url()}'}}")
        async with gateway(text) as late:
            await listening(server, 3)
            await until(lambda: ("p0", "upstream-0") in late.gateway.board.known())
            assert await served_by(late) == ("p1", 1)
            assert len(ill.requests) == asked


async def test_calls_are_answered_while_redis_is_frozen(server: Valkey) -> None:
    async with Simulator(FULL) as full, Simulator() as well, two_gateways(server, full.url, well.url) as (one, other):
        server.freeze()
        assert await served_by(one) == ("p1", 2)
        assert await served_by(other) == ("p1", 2)
        assert await served_by(other) == ("p1", 1)
        server.thaw()
