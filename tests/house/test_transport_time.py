"""Patience, slow readers, and leaving in the middle: what an exchange may cost while nothing moves."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from gateway.core.errors import Failure, UpstreamError
from gateway.ports import Patience
from gateway.upstream.exchange import MAX_UNREAD, HttpExchange
from gateway.upstream.transport import HttpTransport, read_all
from tests.house.scripted import (
    HELLO,
    Peer,
    Script,
    Upstream,
    answering,
    ask,
    begin,
    patience,
    request_to,
    scripted,
    turns,
    until,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"5\r\nhello\r\n"


def stalling_after(*pieces: bytes) -> Script:
    """Says this, then nothing, and expects the client to leave."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)
        await peer.gone()

    return script


@asynccontextmanager
async def stalled(*pieces: bytes) -> AsyncIterator[tuple[HttpTransport, Upstream]]:
    async with (
        scripted(stalling_after(*pieces)) as upstream,
        aclosing(HttpTransport(upstream.origin)) as transport,
    ):
        yield transport, upstream


@asynccontextmanager
async def unaccepting() -> AsyncIterator[str]:
    """The address of a server whose queue is full, so that the kernel answers nobody."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = []
        for _ in range(8):
            client = socket.socket()
            client.setblocking(False)
            waiting.append(client)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await loop.sock_connect(client, server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for client in waiting:
            client.close()


async def failure_of(waiting: Coroutine[Any, Any, object], *, within: float = 1.0) -> Failure:
    """How this fails, and that it does so in time."""
    began = monotonic()
    with pytest.raises(UpstreamError) as failed:
        await waiting
    assert monotonic() - began < within
    return failed.value.failure


async def test_a_server_that_never_accepts_is_a_connect_timeout() -> None:
    async with unaccepting() as origin:
        transport = HttpTransport(origin)
        waiting = transport.send(request_to(origin), connect=0.05, patience=patience())
        assert await failure_of(waiting) is Failure.CONNECT_TIMEOUT


async def test_a_deadline_that_comes_while_connecting_is_a_deadline() -> None:
    async with unaccepting() as origin:
        transport = HttpTransport(origin)
        waiting = transport.send(request_to(origin), connect=5, patience=patience(0.05))
        assert await failure_of(waiting) is Failure.DEADLINE


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_server_that_does_not_answer_fails_as_patience_says(said: bytes) -> None:
    async with stalled(said) as (transport, upstream):
        waiting = ask(transport, upstream.origin, limits=patience(0.05, Failure.FIRST_TOKEN_TIMEOUT))
        assert await failure_of(waiting) is Failure.FIRST_TOKEN_TIMEOUT
        await upstream.all_left()


async def test_a_server_that_falls_silent_in_its_body_is_an_idle_timeout() -> None:
    async with stalled(CHUNKED, CHUNK) as (transport, upstream):
        exchange = await begin(transport, upstream.origin, limits=patience(5, idle=0.05))
        assert await exchange.read() == b"hello"
        assert await failure_of(exchange.read()) is Failure.IDLE_TIMEOUT
        await upstream.all_left()


async def test_a_server_that_never_stops_meets_the_deadline() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        while True:
            await peer.say(CHUNK)
            await asyncio.sleep(0.005)

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        waiting = ask(transport, upstream.origin, limits=patience(0.1, idle=0.05))
        assert await failure_of(waiting) is Failure.DEADLINE


async def test_each_byte_ends_a_silence() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        for _ in range(10):
            await peer.say(CHUNK)
            await asyncio.sleep(0.03)
        await peer.say(b"0\r\n\r\n")

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        assert await ask(transport, upstream.origin, limits=patience(5, idle=0.15)) == b"hello" * 10


@pytest.mark.parametrize(
    ("until", "idle", "expected"),
    [(0.05, 9.0, Failure.DEADLINE), (9.0, 0.05, Failure.IDLE_TIMEOUT), (-1.0, 9.0, Failure.DEADLINE)],
)
async def test_new_patience_holds_at_once(until: float, idle: float, expected: Failure) -> None:
    async with stalled(CHUNKED) as (transport, upstream):
        exchange = await begin(transport, upstream.origin, limits=patience(9, Failure.FIRST_TOKEN_TIMEOUT))
        reading = asyncio.ensure_future(exchange.read())
        await turns()
        exchange.patience = patience(until, idle=idle)
        with pytest.raises(UpstreamError) as failed:
            await asyncio.wait_for(reading, 1)
        assert failed.value.failure is expected


async def test_more_patience_outlives_the_first_limit() -> None:
    longer = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        await longer.wait()
        await asyncio.sleep(0.1)
        await peer.say(CHUNK, b"0\r\n\r\n")

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        exchange = await begin(transport, upstream.origin, limits=patience(0.05, Failure.FIRST_TOKEN_TIMEOUT))
        exchange.patience = more = patience(5, idle=5)
        longer.set()
        assert exchange.patience is more
        assert await read_all(exchange, 100) == b"hello"


def keep_busy(seconds: float) -> None:
    """Holds up the event loop."""
    sleep(seconds)


async def test_what_came_in_time_and_is_not_read_yet_is_in_time() -> None:
    """A timer can ring between the arrival of some bytes and the turn of the task that waits for them."""
    async with stalled(CHUNKED) as (transport, upstream):
        exchange = await begin(transport, upstream.origin, limits=patience(0.05, Failure.FIRST_TOKEN_TIMEOUT))
        assert isinstance(exchange, HttpExchange)

        async def read() -> bytes:
            data = await exchange.read()
            exchange.patience = patience(0.05)
            return data

        reading = asyncio.get_running_loop().create_task(read())
        await turns()
        exchange.heard(CHUNK)
        keep_busy(0.06)
        exchange.rung()
        assert await reading == b"hello"
        with pytest.raises(UpstreamError) as failed:
            await exchange.read()
        assert failed.value.failure is Failure.DEADLINE


async def test_endless_patience_is_possible() -> None:
    async with scripted(stalling_after(HELLO)) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        endless = Patience(float("inf"), Failure.DEADLINE)
        request = request_to(upstream.origin)
        exchange = await transport.send(request, connect=float("inf"), patience=endless)
        assert await exchange.read() == b"hello"


async def test_a_complete_answer_may_be_read_after_its_deadline() -> None:
    async with stalled(HELLO) as (transport, upstream):
        exchange = await begin(transport, upstream.origin, limits=patience(0.05))
        await asyncio.sleep(0.1)
        assert await exchange.read() == b"hello"
        assert await exchange.read() == b""


async def test_a_slow_reader_makes_the_upstream_wait_and_loses_nothing() -> None:
    total = 64 * 1024 * 1024
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while sent < total:
            await peer.say(bytes(1024 * 1024))
            sent += 1024 * 1024

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        exchange = await begin(transport, upstream.origin, limits=patience(20, idle=10))
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < total
        held = len(await exchange.read())
        assert held <= 4 * MAX_UNREAD
        assert held + len(await read_all(exchange, total)) == total


async def test_silence_that_a_slow_reader_asked_for_is_not_the_upstreams() -> None:
    async with stalled(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n" + bytes(8 * MAX_UNREAD)) as (
        transport,
        upstream,
    ):
        exchange = await begin(transport, upstream.origin, limits=patience(9, idle=0.05))
        await asyncio.sleep(0.2)
        read = 0
        while read < 8 * MAX_UNREAD:
            read += len(await exchange.read())
        assert await failure_of(exchange.read()) is Failure.IDLE_TIMEOUT


async def test_after_a_slow_reader_the_upstream_has_its_full_time_again() -> None:
    first, rest = bytes(MAX_UNREAD + 1), bytes(1000)
    caught_up = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(first + rest), first)
        await caught_up.wait()
        await asyncio.sleep(0.02)
        await peer.say(rest)

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        exchange = await begin(transport, upstream.origin, limits=patience(9, idle=0.2))
        await asyncio.sleep(0.4)
        assert len(await exchange.read()) == len(first)
        caught_up.set()
        assert await read_all(exchange, 1000) == rest


async def cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_cancelling_a_request_closes_its_socket(said: bytes) -> None:
    async with stalled(said) as (transport, upstream):
        task = asyncio.ensure_future(begin(transport, upstream.origin))
        await until(lambda: bool(upstream.requests))
        await cancelled(task)
        await upstream.all_left(0.2)


async def test_cancelling_a_read_closes_its_socket() -> None:
    async with stalled(CHUNKED) as (transport, upstream):
        exchange = await begin(transport, upstream.origin)
        reading = asyncio.ensure_future(exchange.read())
        await turns()
        await cancelled(reading)
        await upstream.all_left(0.2)


async def test_cancelling_a_connect_leaves_nothing() -> None:
    async with unaccepting() as origin:
        transport = HttpTransport(origin)
        before = sockets()
        task = asyncio.ensure_future(begin(transport, origin))
        await turns()
        await cancelled(task)
        await turns()
        assert sockets() == before


async def test_closing_an_exchange_in_the_middle_closes_its_socket() -> None:
    async with stalled(CHUNKED, CHUNK) as (transport, upstream):
        exchange = await begin(transport, upstream.origin)
        exchange.close()
        await upstream.all_left(0.2)
        exchange.close()


async def test_closing_an_exchange_wakes_its_reader() -> None:
    async with stalled(CHUNKED) as (transport, upstream):
        exchange = await begin(transport, upstream.origin)
        reading = asyncio.ensure_future(exchange.read())
        await turns()
        exchange.close()
        assert await failure_of(asyncio.wait_for(reading, 1)) is Failure.TRUNCATED


async def test_cancelling_a_large_request_in_the_middle_of_it_closes_its_socket() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        asked.set()
        await cancelled_now.wait()
        await peer.gone()

    asked, cancelled_now = asyncio.Event(), asyncio.Event()
    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        task = asyncio.ensure_future(begin(transport, upstream.origin, body=bytes(32 * 1024 * 1024)))
        await asked.wait()
        await cancelled(task)
        cancelled_now.set()
        await upstream.all_left(0.5)


def sockets() -> int:
    """Sockets this process has open."""
    return sum(
        entry.is_symlink() and str(entry.readlink()).startswith("socket:") for entry in Path("/proc/self/fd").iterdir()
    )


def timers() -> int:
    """Timers that have yet to go off."""
    return sum(isinstance(thing, asyncio.TimerHandle) and not thing.cancelled() for thing in gc.get_objects())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets as Linux shows them")
@pytest.mark.parametrize("said", [b"", CHUNKED], ids=["before the head", "in the body"])
def test_a_thousand_abandoned_exchanges_leave_no_socket_task_or_timer(said: bytes) -> None:
    async def abandon(transport: HttpTransport, upstream: Upstream, count: int) -> None:
        expected = len(upstream.requests) + count
        tasks = [asyncio.ensure_future(ask(transport, upstream.origin)) for _ in range(count)]
        await until(lambda: len(upstream.requests) == expected)
        await turns(8)
        for task in tasks:
            await cancelled(task)

    async def scenario() -> None:
        async with scripted(stalling_after(said)) as upstream:
            gc.collect()  # or what earlier tests have left might be closed, and counted, in the midst of this one
            before = sockets(), timers(), len(asyncio.all_tasks())
            transport = HttpTransport(upstream.origin)
            for _ in range(20):
                await abandon(transport, upstream, 50)
            await upstream.all_left(2.0)
            await turns()
            assert len(upstream.peers) == 1000
            assert (sockets(), timers(), len(asyncio.all_tasks())) == before
            await transport.aclose()

    # The standard library's loop, since its timers can be counted.
    asyncio.run(scenario())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets as Linux shows them")
def test_a_closed_transport_leaves_no_socket_and_no_timer() -> None:
    async def scenario() -> None:
        async with scripted(answering) as upstream:
            gc.collect()  # likewise
            before = timers()
            transport = HttpTransport(upstream.origin)
            await asyncio.gather(*(ask(transport, upstream.origin) for _ in range(3)))
            opened = sockets()
            await transport.aclose()
            assert timers() == before
            assert sockets() == opened - 3

    asyncio.run(scenario())
