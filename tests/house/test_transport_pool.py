"""Which connection a request goes over, which are kept, and what happens when one has died in the meantime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.pool import MAX_IDLE
from gateway.upstream.transport import IDLE_EXPIRY, HttpTransport
from tests.house.scripted import HELLO, Peer, Script, answering, ask, begin, patience, scripted, turns, until


async def test_one_connection_serves_many_requests() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        for _ in range(5):
            assert await ask(transport, upstream.origin) == b"hello"
        assert len(upstream.peers) == 1


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        answers = await asyncio.gather(*(ask(transport, upstream.origin) for _ in range(20)))
        assert answers == [b"hello"] * 20
        assert len(upstream.peers) == 20


async def test_the_connection_used_last_is_taken_first() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        await asyncio.gather(*(ask(transport, upstream.origin) for _ in range(5)))
        for _ in range(5):
            await ask(transport, upstream.origin)
        assert sorted(len(peer.requests) for peer in upstream.peers) == [1, 1, 1, 1, 6]


async def test_a_connection_is_free_again_before_its_answer_is_read() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        first = await begin(transport, upstream.origin)
        assert await ask(transport, upstream.origin) == b"hello"
        assert await first.read() == b"hello"
        assert len(upstream.peers) == 1


async def test_closing_an_exchange_whose_answer_is_complete_keeps_the_connection() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        (await begin(transport, upstream.origin)).close()
        assert await ask(transport, upstream.origin) == b"hello"
        assert len(upstream.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        HELLO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        HELLO.replace(b"1.1", b"1.0"),
        HELLO.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n"),
        HELLO + b"x",
        HELLO + HELLO,
        b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    ],
    ids=["close", "1.0", "1.0 keep-alive", "surplus", "two answers", "204 with a length", "304 with a length"],
)
async def test_a_connection_of_doubtful_state_is_not_used_again(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer)
        await peer.gone(0.2)

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        first = await ask(transport, upstream.origin)
        assert await ask(transport, upstream.origin) == first
        assert len(upstream.peers) == 2


async def test_a_204_leaves_its_connection_usable() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        assert await ask(transport, upstream.origin) == b""
        assert await ask(transport, upstream.origin) == b""
        assert len(upstream.peers) == 1


async def unasked_bytes(peer: Peer) -> None:
    await peer.say(HELLO)
    await peer.gone(0.2)


async def end(peer: Peer) -> None:
    peer.half_close()
    await peer.gone(0.2)


async def reset(peer: Peer) -> None:
    peer.reset()


@pytest.mark.parametrize("then", [unasked_bytes, end, reset])
async def test_an_idle_connection_on_which_anything_happens_leaves_the_pool(then: Script) -> None:
    happened = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HELLO)
        if not happened.is_set():
            await then(peer)
            happened.set()

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        assert await ask(transport, upstream.origin) == b"hello"
        await happened.wait()
        await turns()
        assert await ask(transport, upstream.origin) == b"hello"
        assert [len(peer.requests) for peer in upstream.peers] == [1, 1]


async def test_idle_connections_expire_by_the_clock() -> None:
    now = 1000.0

    def clock() -> float:
        return now

    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin, clock=clock)) as transport:
        limits = patience(1e6)
        assert await ask(transport, upstream.origin, limits=limits) == b"hello"
        now += IDLE_EXPIRY - 1
        assert await ask(transport, upstream.origin, limits=limits) == b"hello"
        assert len(upstream.peers) == 1
        now += IDLE_EXPIRY + 1
        assert await ask(transport, upstream.origin, limits=limits) == b"hello"
        assert len(upstream.peers) == 2
        await upstream.peers[0].gone(0.2)


async def test_idle_connections_are_closed_when_they_expire_though_nobody_asks() -> None:
    async with (
        scripted(answering) as upstream,
        aclosing(HttpTransport(upstream.origin, idle_expiry=0.05)) as transport,
    ):
        await asyncio.gather(*(ask(transport, upstream.origin) for _ in range(3)))
        await asyncio.sleep(0.03)
        await asyncio.gather(*(ask(transport, upstream.origin) for _ in range(2)))
        await upstream.all_left(1.0)
        assert len(upstream.peers) == 3


async def test_no_more_idle_connections_are_kept_than_is_useful() -> None:
    asked = asyncio.Event()
    waiting = 0

    async def script(peer: Peer) -> None:
        nonlocal waiting
        await peer.request()
        waiting += 1
        if waiting == MAX_IDLE + 8:
            asked.set()
        await asked.wait()
        await peer.say(HELLO)
        await peer.gone()

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        await asyncio.gather(*(ask(transport, upstream.origin) for _ in range(MAX_IDLE + 8)))
        await until(lambda: sum(peer.left for peer in upstream.peers) >= 8)
        await turns(50)
        assert sum(peer.left for peer in upstream.peers) == 8


async def lost_by_reset(peer: Peer) -> None:
    peer.reset()


async def lost_by_end(peer: Peer) -> None:
    return


def dying_after_the_first(how: Script) -> tuple[Script, Callable[[], int]]:
    """Each connection answers once, and dies when asked again."""
    died = 0

    async def script(peer: Peer) -> None:
        nonlocal died
        await peer.request()
        await peer.say(HELLO)
        await peer.request()
        died += 1
        await how(peer)

    return script, lambda: died


@pytest.mark.parametrize("how", [lost_by_reset, lost_by_end])
async def test_a_reused_connection_that_dies_unheard_is_replaced_once(how: Script) -> None:
    script, died = dying_after_the_first(how)
    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        await ask(transport, upstream.origin, body=b"1")
        assert await ask(transport, upstream.origin, body=b"2") == b"hello"
        assert died() == 1
        assert [request.body for request in upstream.requests] == [b"1", b"2", b"2"]


async def test_a_fresh_connection_that_dies_is_not_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        with pytest.raises(UpstreamError) as broken:
            await ask(transport, upstream.origin)
        assert broken.value.failure is Failure.UNREACHABLE
        assert len(upstream.peers) == 1


async def test_the_replacement_of_a_dead_connection_is_not_replaced_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if len(upstream.peers) == 1:
            await peer.say(HELLO)
            await peer.request()
        peer.reset()

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        await ask(transport, upstream.origin)
        with pytest.raises(UpstreamError) as broken:
            await ask(transport, upstream.origin)
        assert broken.value.failure is Failure.UNREACHABLE
        assert len(upstream.peers) == 2


async def test_a_reused_connection_that_dies_after_a_byte_is_not_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HELLO)
        await peer.request()
        await peer.say(b"H")
        peer.reset()

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        await ask(transport, upstream.origin)
        with pytest.raises(UpstreamError) as broken:
            await ask(transport, upstream.origin)
        assert broken.value.failure is Failure.UNREACHABLE
        assert len(upstream.peers) == 1
