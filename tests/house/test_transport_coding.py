"""Bodies that were compressed although nobody asked for it."""

from __future__ import annotations

import gzip
import zlib

import pytest

from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.exchange import MAX_UNREAD
from gateway.upstream.http1 import Answer
from gateway.upstream.inflate import STEP
from tests.house.scripted import Peer, ask, begin, saying, turns, upstream_of

HEAD = b"HTTP/1.1 200 OK\r\n"


def compressed(coding: bytes, body: bytes) -> bytes:
    return HEAD + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (coding, len(body)) + body


def bare(body: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(body) + coder.flush()


CODED = {
    "gzip": compressed(b"gzip", gzip.compress(b"hello")),
    "x-gzip": compressed(b"X-GZip", gzip.compress(b"hello")),
    "deflate": compressed(b"deflate", zlib.compress(b"hello")),
    "deflate without a wrapper": compressed(b"deflate", bare(b"hello")),
    "identity": compressed(b"identity", b"hello"),
}


@pytest.mark.parametrize("said", CODED.values(), ids=CODED)
async def test_a_body_compressed_against_our_wish_is_read_all_the_same(said: bytes) -> None:
    async with upstream_of(saying(said)) as (transport, origin):
        assert await ask(transport, origin) == b"hello"
    async with upstream_of(saying(*(said[n : n + 1] for n in range(len(said))))) as (transport, origin):
        assert await ask(transport, origin) == b"hello"


async def test_headers_speak_of_the_body_as_it_is_given() -> None:
    async with upstream_of(saying(CODED["gzip"])) as (transport, origin):
        assert (await begin(transport, origin)).headers == ()


async def test_each_piece_of_a_compressed_stream_is_read_as_it_comes() -> None:
    coder = zlib.compressobj(wbits=31)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + b"content-encoding: gzip\r\n\r\n")
        for piece in (b"one", b"two"):
            await peer.say(coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH))
            await turns()
        await peer.say(coder.flush())

    async with upstream_of(script) as (transport, origin):
        exchange = await begin(transport, origin)
        assert [await exchange.read() for _ in range(3)] == [b"one", b"two", b""]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (compressed(b"br", b"hello"), Failure.MALFORMED),
        (compressed(b"gzip, gzip", b"hello"), Failure.MALFORMED),
        (compressed(b"gzip", b"hello"), Failure.MALFORMED),
        (compressed(b"gzip", gzip.compress(b"hello")[:-1]), Failure.TRUNCATED),
        (compressed(b"gzip", gzip.compress(b"hello") + b"x"), Failure.MALFORMED),
        (compressed(b"deflate", bare(b"hello")[:-1]), Failure.TRUNCATED),
    ],
    ids=["unknown", "twice", "not at all", "cut short", "surplus", "bare cut short"],
)
async def test_a_damaged_compressed_body_is_the_upstreams_failure(said: bytes, expected: Failure) -> None:
    async with upstream_of(saying(said)) as (transport, origin):
        with pytest.raises(UpstreamError) as refused:
            await ask(transport, origin)
        assert refused.value.failure is expected


async def test_an_empty_body_needs_no_compression() -> None:
    async with upstream_of(saying(compressed(b"gzip", b""))) as (transport, origin):
        assert await ask(transport, origin) == b""


async def test_a_compression_bomb_goes_off_one_bounded_step_at_a_time() -> None:
    size = 64 * 1024 * 1024
    coder = zlib.compressobj(wbits=31)
    bomb = b"".join(coder.compress(bytes(1024 * 1024)) for _ in range(size // (1024 * 1024))) + coder.flush()
    assert len(bomb) < MAX_UNREAD
    async with upstream_of(saying(compressed(b"gzip", bomb))) as (transport, origin):
        exchange = await begin(transport, origin)
        for _ in range(20):
            assert 0 < len(await exchange.read()) <= STEP
        exchange.close()


@pytest.mark.parametrize("size", [*range(STEP - 2, STEP + 600, 7), 5 * STEP])
def test_where_a_step_ends_within_a_compressed_body_does_not_matter(size: int) -> None:
    answer = Answer()
    answer.feed(compressed(b"deflate", bare(bytes(size))))
    unpacked = 0
    while step := answer.take():
        unpacked += len(step)
    assert unpacked == size


async def test_a_body_that_unpacks_to_many_steps_is_read_to_its_end() -> None:
    body = bytes(5 * STEP)
    async with upstream_of(saying(compressed(b"gzip", gzip.compress(body)))) as (transport, origin):
        assert await ask(transport, origin) == body
