"""Clients that leave: the provider is told at once, the call is settled once, and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from gateway.app.times import clock
from gateway.routing.health import Standing
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from gateway.upstream.transport import HttpTransport
from tests.house.harness import KEY, QUESTION, Running, config, gateway
from tests.house.scripted import answering, ask, scripted, turns
from tests.house.test_hostile import resident
from tests.house.test_protocol import PATIENCE, Wire, wire

AT_ONCE = 0.2
"""Seconds within which a provider hears that nobody is listening any more."""

HANG_UPS = 1000
ROUNDS = 5
"""All alike. The first fills what stays filled: pools, caches, the allocator's own reserves."""

GROWTH = 2**20
"""Bytes by which the process may grow in the best of the later rounds: 5 KB for each hang-up would be found out."""

SILENT = Faults(fail=(("silent", 1.0),))
STALLS = Faults(stall_after=1)


def question(**fields: object) -> bytes:
    body = orjson.dumps({**QUESTION, **fields})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def house(faults: Faults, *, idle: int = 0) -> AsyncIterator[tuple[Simulator, Running]]:
    """A gateway before a provider with these faults. At the end no task is left, and no connection to the provider but
    those that wait for the next call."""
    async with Simulator(faults) as upstream, gateway(config(upstream.url)) as under_test:
        before = asyncio.all_tasks()
        yield upstream, under_test
        await until(lambda: not asyncio.all_tasks() - before)
        await upstream.until(lambda: upstream.open_connections == idle)


async def until(condition: Callable[[], bool], within: float = PATIENCE) -> None:
    """Waits for something that nobody tells of."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  nothing tells of what is waited for
            await asyncio.sleep(0.002)


@contextmanager
def soon() -> Iterator[None]:
    """What is inside takes no longer than a provider may be left uninformed."""
    since = asyncio.get_running_loop().time()
    yield
    assert asyncio.get_running_loop().time() - since < AT_ONCE


async def assert_cancelled(under_test: Running, calls: int = 1) -> None:
    await until(lambda: len(under_test.entries) >= calls)
    told = [(entry.outcome, entry.status) for entry in under_test.entries]
    assert told == [("cancelled", 499)] * calls


async def first_output(client: Wire) -> None:
    async with asyncio.timeout(PATIENCE):
        await client.reader.readuntil(b'"content":"You')


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_client_that_leaves_before_the_first_byte_ends_the_call_at_the_provider(stream: bool) -> None:
    async with house(SILENT) as (upstream, under_test):
        async with wire(under_test.port) as client:
            client.send(question(stream=stream))
            await upstream.until(lambda: upstream.received == 1)
        with soon():
            await upstream.until(lambda: len(upstream.hangups) == 1)
        await assert_cancelled(under_test)
        assert [tried.outcome for tried in under_test.entries[0].tried] == ["cancelled"]
        assert under_test.entries[0].usage is None


async def test_a_client_that_leaves_after_the_first_token_pays_for_what_it_was_sent() -> None:
    async with house(STALLS) as (upstream, under_test):
        async with wire(under_test.port) as client:
            client.send(question(stream=True))
            await first_output(client)
        with soon():
            await upstream.until(lambda: len(upstream.hangups) == 1)
        await assert_cancelled(under_test)
        assert under_test.entries[0].carried > 0
        assert under_test.entries[0].usage_source == "estimated"


async def test_a_client_that_leaves_during_a_whole_answer_ends_it_at_the_provider() -> None:
    async with house(STALLS) as (upstream, under_test):
        async with wire(under_test.port) as client:
            client.send(question())
            await upstream.until(lambda: upstream.received == 1)
        with soon():
            await upstream.until(lambda: len(upstream.hangups) == 1)
        await assert_cancelled(under_test)


async def test_a_client_that_resets_its_connection_has_left_too() -> None:
    async with house(SILENT) as (upstream, under_test):
        async with wire(under_test.port) as client:
            client.send(question())
            await upstream.until(lambda: upstream.received == 1)
            client.writer.transport.abort()
            with soon():
                await upstream.until(lambda: len(upstream.hangups) == 1)
        await assert_cancelled(under_test)


async def test_a_client_that_leaves_while_it_still_asks_never_reaches_a_provider() -> None:
    async with house(Faults()) as (upstream, under_test):
        async with wire(under_test.port) as client:
            client.send(question()[:-10])
            await until(lambda: in_flight(under_test) == 1)
        await assert_cancelled(under_test)
        assert upstream.received == 0


async def test_a_client_that_leaves_between_two_attempts_is_not_tried_for_again() -> None:
    async with house(Faults(fail=(("503", 1.0),)), idle=1) as (upstream, under_test):
        async with wire(under_test.port) as client:
            client.send(question())
            await upstream.until(lambda: upstream.received == 1)
        await assert_cancelled(under_test)
        assert upstream.received == 1


async def test_a_client_that_leaves_with_its_answer_has_not_hung_up() -> None:
    async with house(Faults(), idle=1) as (upstream, under_test):
        for stream in (True, False):
            async with wire(under_test.port) as client:
                client.send(question(stream=stream))
                assert (await client.answer()).status == 200
        await until(lambda: len(under_test.entries) == 2)
        assert {(entry.outcome, entry.status) for entry in under_test.entries} == {("ok", 200)}
        assert upstream.hangups == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_a_thousand_hang_ups_leave_nothing_behind() -> None:
    upstreams = [Simulator(faults) for faults in (SILENT, STALLS, SILENT, STALLS)]
    async with AsyncExitStack() as stack:
        for upstream in upstreams:
            await stack.enter_async_context(upstream)
        under_test = await stack.enter_async_context(gateway(one_model_each(upstreams)))
        before, sizes = asyncio.all_tasks(), []
        gc.collect()  # or what earlier tests have left might be closed, and counted, in the midst of this one
        for _ in range(ROUNDS):
            await asyncio.gather(*(leaving(under_test, number, each) for number, each in enumerate(upstreams)))
            await assert_cancelled(under_test, calls=HANG_UPS // ROUNDS)
            await until(lambda: not asyncio.all_tasks() - before)
            under_test.entries.clear()
            sizes.append((resident(), len(os.listdir("/proc/self/fd"))))  # noqa: PTH208
        assert min(after - before for (before, _), (after, _) in pairwise(sizes)) < GROWTH, sizes
        assert len({descriptors for _, descriptors in sizes}) == 1, sizes
        assert in_flight(under_test) == 0
        for health in under_test.gateway.board.known().values():
            assert (health.in_flight, health.standing(clock()), health.cooldown) == (0, Standing.READY, None)


def one_model_each(upstreams: list[Simulator]) -> str:
    """Models `m0`, `m1`, ..., each of its own provider."""
    text = config(*(upstream.url for upstream in upstreams))
    start, end = text.index("  m:"), text.index("keys:")
    rows = [f"  m{n}: {{targets: [{{provider: p{n}, model: x}}]}}\n" for n in range(len(upstreams))]
    return text[:start] + "".join(rows) + text[end:]


async def leaving(under_test: Running, number: int, upstream: Simulator) -> None:
    """A client that asks and leaves, again and again. The first two want streams; every second one gets some output."""
    stream = number < 2
    for _ in range(HANG_UPS // ROUNDS // 4):
        received, heard = upstream.received, len(upstream.hangups)
        async with wire(under_test.port) as client:
            client.send(question(model=f"m{number}", stream=stream))
            if stream and upstream.faults is STALLS:
                await first_output(client)
            await upstream.until(lambda received=received: upstream.received > received)  # type: ignore[misc]
            left = asyncio.get_running_loop().time()
        await upstream.until(lambda heard=heard: len(upstream.hangups) > heard)  # type: ignore[misc]
        assert upstream.hangups[-1] - left < AT_ONCE
        upstream.served.clear()


async def test_a_call_that_is_cancelled_while_it_connects_leaves_nothing_that_would_be_waited_for() -> None:
    async with scripted(answering) as upstream:
        for moment in range(20):
            transport = HttpTransport(upstream.origin)
            asking = asyncio.get_running_loop().create_task(ask(transport, upstream.origin))
            await turns(moment)
            asking.cancel()
            await asyncio.wait([asking])
            await asyncio.wait_for(transport.aclose(), 1)


async def test_a_probe_whose_client_leaves_lets_the_next_call_probe() -> None:
    quick = "    retries: {attempts: 2}\n    breaker: {failures: 1, ejection: 100ms}\n"
    async with (
        Simulator(Faults(fail=(("500", 1.0),))) as ill,
        Simulator() as well,
        gateway(config(ill.url, well.url, model=quick)) as under_test,
    ):
        await under_test.client.post("/v1/chat/completions", json=QUESTION)
        health = under_test.gateway.board.known()["p0", "upstream-0"]
        assert health.standing(clock()) is Standing.EJECTED
        await until(lambda: health.standing(clock()) is Standing.READY)
        ill.faults = SILENT
        async with wire(under_test.port) as client:
            client.send(question())
            await ill.until(lambda: ill.received == 2)
            assert health.standing(clock()) is Standing.EJECTED
        await until(lambda: health.standing(clock()) is Standing.READY)
        ill.faults = Faults()
        answer = await under_test.client.post("/v1/chat/completions", json=QUESTION)
        assert answer.headers["x-gateway-provider"] == "p0"


async def test_a_client_that_leaves_the_queue_of_a_full_target_gives_up_its_place() -> None:
    async with Simulator(SILENT) as upstream:
        text = config(upstream.url).replace("upstream-0", "upstream-0, limits: {concurrent_requests: 1}")
        async with gateway(text) as under_test, wire(under_test.port) as first, wire(under_test.port) as last:
            first.send(question())
            await upstream.until(lambda: upstream.received == 1)
            async with wire(under_test.port) as second:
                second.send(question())
                await until(lambda: in_flight(under_test) == 2)
            await assert_cancelled(under_test)
            last.send(question())
            await until(lambda: in_flight(under_test) == 2)
            upstream.faults = Faults()
            first.writer.transport.abort()
            assert (await last.answer()).status == 200
            assert upstream.received == 2
            assert under_test.gateway.board.known()["p0", "upstream-0"].in_flight == 0


def in_flight(under_test: Running) -> float:
    return under_test.gateway.metrics.in_flight.series[()]


@pytest.mark.parametrize("faults", [STALLS, SILENT], ids=["within the stream", "before the stream"])
async def test_a_stream_that_outlives_the_drain_ends_with_an_error_and_is_never_called_done(faults: Faults) -> None:
    async with Simulator(faults) as upstream:
        async with gateway(config(upstream.url)) as under_test:
            reader, writer = await asyncio.open_connection("127.0.0.1", under_test.port)
            writer.write(question(stream=True))
            await upstream.until(lambda: upstream.received == 1)
            if faults is STALLS:
                await first_output(Wire(reader, writer))
        async with asyncio.timeout(PATIENCE):
            rest = await reader.read()
        writer.close()
    assert b'"code":"server_shutting_down"' in rest
    assert b"[DONE]" not in rest
    assert (rest.startswith(b"HTTP/1.1 503")) is (faults is SILENT)
    (entry,) = under_test.entries
    assert (entry.outcome, entry.status) == (("truncated", 200) if faults is STALLS else ("limited", 503))
