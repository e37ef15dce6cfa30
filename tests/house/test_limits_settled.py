"""What is left of a limit when a call has ended, however it has: what it has really used, and every place."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from gateway.config.resolve import loads_all
from gateway.ports import Reservation, Use
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import Running, config, gateway
from tests.house.test_hangup import SILENT, STALLS, first_output, question
from tests.house.test_limits import (
    COUNTED,
    ONE_TRY,
    USED,
    allowed,
    ask,
    assert_refused,
    house,
    limited,
    settled,
    tokens_used,
)
from tests.house.test_protocol import wire
from tests.house.test_serve import failing

QUICK = "    timeouts: {first_token: 150ms, total: 200ms}\n"


async def all_free(upstream: Simulator, running: Running, places: int) -> None:
    """So many calls at once are let in, and one more is not."""
    upstream.faults, before = SILENT, upstream.received
    calls = [asyncio.get_running_loop().create_task(ask(running)) for _ in range(places)]
    await upstream.until(lambda: upstream.received == before + places)
    assert_refused(await ask(running), "concurrent_requests")
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


async def test_what_was_reserved_too_much_comes_back() -> None:
    async with house("limits: {tokens_per_minute: 12k}") as (_, running):
        for stream in (False, True) * 3:
            assert (await ask(running, max_tokens=10_000, stream=stream)).status_code == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_what_was_used_beyond_the_reservation_is_debited(stream: bool) -> None:
    async with house("limits: {tokens_per_minute: 300}") as (_, running):
        long = [{"role": "user", "content": "a " * 400}]
        assert (await ask(running, messages=long, max_tokens=1, stream=stream)).status_code == 200
        refused = await ask(running, max_tokens=1)
        assert_refused(refused, "300 tokens in a minute", "are used")
        assert allowed(refused)["remaining-tokens"] == "0"
        assert int(refused.headers["retry-after"]) > 18  # a hundred tokens more than there were, of five in a second


ENDS = {
    "500": (failing("500"), 502, 0),
    "400": (failing("400"), 400, 0),
    "no money": (failing("insufficient-quota"), 503, 0),
    "401": (failing("401"), 502, 0),
    "unreachable": (failing("reset"), 502, 0),
    "garbage": (failing("garbage"), 502, 0),
    "an error in a 200": (failing("error-in-200"), 502, 0),
    "cut before the first token": (Faults(cut_after=0), 502, 0),
    "silent": (SILENT, 504, 0),
    "well": (Faults(), 200, USED),
}
"""By how a provider may end a call: the fault, the client's status, and the tokens to be charged."""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("faults", "status", "tokens"), ENDS.values(), ids=ENDS)
async def test_however_a_call_ends_it_is_settled_once_and_truly(
    faults: Faults, status: int, tokens: int, stream: bool
) -> None:
    rules = f"limits: {{requests_per_minute: 2, concurrent_requests: 1}}, {COUNTED}"
    async with house(rules, faults=faults, model=ONE_TRY + QUICK) as (upstream, running):
        answer = await ask(running, stream=stream)
        assert answer.status_code == status
        assert await tokens_used(running) == tokens
        upstream.faults = Faults()
        answer = await ask(running)
        assert (answer.status_code, allowed(answer)["remaining-requests"]) == (200, "0")
        assert await tokens_used(running) == tokens + USED


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_hang_up_before_the_first_token_costs_no_tokens_and_gives_the_place_back(stream: bool) -> None:
    async with house(f"limits: {{concurrent_requests: 1}}, {COUNTED}", faults=SILENT) as (upstream, running):
        async with wire(running.port) as client:
            client.send(question(stream=stream, max_tokens=5_000))
            await upstream.until(lambda: upstream.received == 1)
            assert await tokens_used(running) > 5_000
        await settled(running, 2)
        assert await tokens_used(running) == 0
        await all_free(upstream, running, 1)


async def test_a_hang_up_after_the_first_token_costs_what_was_carried() -> None:
    async with house(f"limits: {{concurrent_requests: 1}}, {COUNTED}", faults=STALLS) as (upstream, running):
        async with wire(running.port) as client:
            client.send(question(stream=True, max_tokens=5_000))
            await first_output(client)
        await settled(running, 1)
        usage = running.entries[0].usage
        assert usage is not None
        assert 0 < await tokens_used(running) == usage.total < 200
        await all_free(upstream, running, 1)


async def test_a_stream_that_breaks_off_costs_what_was_carried() -> None:
    async with house(f"limits: {{concurrent_requests: 1}}, {COUNTED}", faults=Faults(cut_after=2)) as (
        upstream,
        running,
    ):
        assert "[DONE]" not in (await ask(running, stream=True)).text
        usage = running.entries[0].usage
        assert usage is not None
        assert 0 < await tokens_used(running) == usage.total
        await all_free(upstream, running, 1)


async def test_a_call_that_is_under_way_at_the_end_of_the_gateway_is_settled() -> None:
    async with Simulator(SILENT) as upstream:
        text = limited(config(upstream.url), f"limits: {{concurrent_requests: 1}}, {COUNTED}")
        async with gateway(text) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(question())
            await upstream.until(lambda: upstream.received == 1)
        assert b"server_shutting_down" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        (entry,) = running.entries
        assert entry.reservation is not None
        assert (entry.status, entry.usage) == (503, None)
        place = await running.gateway._grounds.counters.reserve(entry.reservation.limits, Use())
        assert isinstance(place, Reservation)


MIXED = Faults(
    fail=(("500", 0.1), ("400", 0.1), ("reset", 0.1), ("error-in-200", 0.1), ("garbage", 0.1), ("silent", 0.05)),
    chunk_delay=0.001,
)


async def test_after_a_thousand_calls_of_every_kind_all_places_are_free() -> None:
    places = 25
    async with Simulator(MIXED) as upstream, AsyncExitStack() as stack:
        text = limited(config(upstream.url, model=ONE_TRY + QUICK), f"limits: {{concurrent_requests: {places}}}")
        running = await stack.enter_async_context(gateway(text))

        async def hang_up(stream: bool) -> None:
            async with wire(running.port) as client:
                client.send(question(stream=stream))
                await asyncio.sleep(0.005 if stream else 0)

        async def worker(number: int) -> None:
            for turn in range(40):
                if turn % 4 == 3:
                    await hang_up(stream=turn % 8 == 3)
                else:
                    await ask(running, stream=turn % 2 == number % 2)

        await asyncio.gather(*map(worker, range(places)))
        await settled(running, 40 * places)
        outcomes = Counter(entry.outcome for entry in running.entries)
        assert set(outcomes) >= {"ok", "upstream_error", "client_error", "cancelled"}
        await running.gateway.swap(loads_all(text.replace(QUICK, ""), name="test.yaml", environ={}))
        await all_free(upstream, running, places)
