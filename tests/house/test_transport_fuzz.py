"""Whatever a server sends, the outcome is an answer or an `UpstreamError`: no other exception, no endless wait."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.http1 import Answer
from gateway.upstream.transport import HttpTransport, read_all
from tests.house.scripted import Peer, begin, patience, scripted

PACKED = gzip.compress(b"hello" * 20)
GOOD = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED) + PACKED,
    b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\n\r\n" + PACKED,
]
PARTS = [
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.0 304 \r\n"),
    *(b"content-length: 3\r\n", b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n"),
    *(b"content-encoding: gzip\r\n", b"content-encoding: deflate\r\n", b"upgrade: x\r\n", b"connection: upgrade\r\n"),
    *(b"\r\n", b"\n", b"\0", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", PACKED, b"x: y\r\n", b": \r\n", b" folded\r\n"),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good answer, with a few bytes changed, left out or put in."""
    said = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(said)))
        end = draw(st.integers(start, min(start + 3, len(said))))
        said[start:end] = draw(st.binary(max_size=3))
    return bytes(said)


answers = st.one_of(
    mutated(),
    st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join),
    st.binary(max_size=200),
    st.sampled_from(GOOD),
)
cuts = st.lists(st.integers(1, 40), max_size=20)


def pieces(said: bytes, sizes: list[int]) -> list[bytes]:
    """The answer in pieces of these sizes, and the rest."""
    cut = []
    for size in sizes:
        cut.append(said[:size])
        said = said[size:]
    return [piece for piece in (*cut, said) if piece]


def outcome(said: list[bytes]) -> tuple[int, bytes, Failure | None]:
    """What becomes of an answer: its status, its body as far as it came, and how it failed."""
    answer = Answer()
    body = b""
    try:
        for piece in said:
            if not answer.complete:
                answer.feed(piece)
        if not answer.complete:
            answer.end()
        while more := answer.take():
            body += more
    except UpstreamError as error:
        return answer.status, body, error.failure
    return answer.status, body, None


@given(answers, cuts)
@example(b"HTTP/1.1 101 \r\n\r\n", [])
def test_any_bytes_are_an_answer_or_the_upstreams_failure(said: bytes, sizes: list[int]) -> None:
    status, _, failed = outcome(pieces(said, sizes))
    assert failed in (None, Failure.UNREACHABLE, Failure.MALFORMED, Failure.TRUNCATED)
    if failed is None:
        assert 200 <= status <= 599


@given(answers, cuts)
def test_any_bytes_come_to_the_same_however_they_are_cut(said: bytes, sizes: list[int]) -> None:
    whole, cut = outcome([said] if said else []), outcome(pieces(said, sizes))
    assert whole[0] == cut[0]
    assert (whole[2] is None) == (cut[2] is None)
    if whole[2] is None:
        assert whole[1] == cut[1]


@pytest.mark.parametrize("end", ["hang up", "reset", "stay"])
def test_whatever_a_server_sends_the_transport_survives_it(end: str) -> None:
    said = [b""]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*said)
        if end == "reset":
            peer.reset()
        if end == "stay":
            await peer.gone()

    async def once(transport: HttpTransport, origin: str) -> None:
        limits = patience(0.02, Failure.FIRST_TOKEN_TIMEOUT)
        with suppress(UpstreamError):
            exchange = await begin(transport, origin, limits=limits)
            assert 200 <= exchange.status <= 599
            await read_all(exchange, 10_000)

    async def serve(stopped: asyncio.Event, origin: asyncio.Future[str]) -> None:
        async with scripted(script) as upstream:
            origin.set_result(upstream.origin)
            await stopped.wait()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        stopped, origin = asyncio.Event(), loop.create_future()
        serving = loop.create_task(serve(stopped, origin))
        address = loop.run_until_complete(origin)
        transport = HttpTransport(address)

        @given(answers, cuts)
        def survives(answer: bytes, sizes: list[int]) -> None:
            said[:] = pieces(answer, sizes)
            loop.run_until_complete(asyncio.wait_for(once(transport, address), 2))

        survives()
        stopped.set()
        loop.run_until_complete(transport.aclose())
        loop.run_until_complete(serving)
