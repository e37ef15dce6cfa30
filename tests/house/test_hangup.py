"""Clients that leave: the provider is told at once, the call is settled once, and nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import orjson
import pytest

from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, QUESTION, Running, config, gateway
from tests.house.test_protocol import PATIENCE, Wire, wire

AT_ONCE = 0.2
"""Seconds within which a provider hears that nobody is listening any more."""

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


async def test_three_hundred_hang_ups_leave_nothing_behind() -> None:
    async with house(STALLS) as (upstream, under_test):
        for _ in range(300):
            async with wire(under_test.port) as client:
                client.send(question(stream=True))
                await first_output(client)
        await upstream.until(lambda: len(upstream.hangups) == 300)
        await assert_cancelled(under_test, calls=300)
        assert in_flight(under_test) == 0


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
    assert (entry.outcome, entry.status) == (("truncated", 200) if faults is STALLS else ("upstream_error", 503))
