"""Where an answer ends: however it is cut, whoever hangs up, whatever a server claims."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.http1 import MAX_HEAD, MAX_HEADER_LINES, MAX_INTERIM, Answer
from gateway.upstream.transport import HttpTransport
from tests.house.scripted import HELLO, Peer, Script, ask, begin, saying, scripted, upstream_of

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

ANSWERS = {
    "content-length": HELLO,
    "chunked": CHUNKED + b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\ntrailer: x\r\n\r\n",
    "close-delimited": HEAD + b"\r\nhello",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "1xx first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + HELLO,
    "no reason": b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello",
    "empty lines first": b"\r\n\r\n" + HELLO,
}


def read(*pieces: bytes, end: bool = True) -> Answer:
    """What becomes of an answer that comes in these pieces, and is then ended by the server."""
    answer = Answer()
    for piece in pieces:
        answer.feed(piece)
    if end and not answer.complete:
        answer.end()
    return answer


def failure(*pieces: bytes) -> Failure:
    with pytest.raises(UpstreamError) as refused:
        read(*pieces)
    return refused.value.failure


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
def test_where_an_answer_is_cut_does_not_matter(said: bytes) -> None:
    for cut in range(1, len(said)):
        answer = read(said[:cut], said[cut:])
        assert (answer.status, answer.take(), answer.complete) == (200, b"hello", True)


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_may_come_byte_by_byte(said: bytes) -> None:
    answer = read(*(said[n : n + 1] for n in range(len(said))))
    assert (answer.status, answer.take(), answer.complete) == (200, b"hello", True)


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
async def test_where_the_network_cuts_an_answer_does_not_matter(said: bytes) -> None:
    cuts = iter(range(1, len(said)))

    async def script(peer: Peer) -> None:
        await peer.request()
        cut = next(cuts)
        await peer.say(said[:cut], said[cut:])

    async with upstream_of(script) as (transport, origin):
        for _ in range(1, len(said)):
            assert await ask(transport, origin) == b"hello"


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
async def test_the_network_may_bring_an_answer_byte_by_byte(said: bytes) -> None:
    script = saying(*(said[n : n + 1] for n in range(len(said))))
    async with upstream_of(script) as (transport, origin):
        assert await ask(transport, origin) == b"hello"


async def test_chunks_that_came_together_are_read_together() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
        await peer.gone()

    async with upstream_of(script) as (transport, origin):
        exchange = await begin(transport, origin)
        assert await exchange.read() == b"ab"
        exchange.close()


async def test_each_chunk_is_read_as_soon_as_it_comes() -> None:
    first_is_read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED, b"1\r\na\r\n")
        await first_is_read.wait()
        await peer.say(b"1\r\nb\r\n")
        await peer.gone()

    async with upstream_of(script) as (transport, origin):
        exchange = await begin(transport, origin)
        assert await exchange.read() == b"a"
        first_is_read.set()
        assert await exchange.read() == b"b"
        exchange.close()


async def test_trailers_are_not_headers() -> None:
    async with upstream_of(saying(ANSWERS["chunked"])) as (transport, origin):
        exchange = await begin(transport, origin)
        assert exchange.headers == ((b"transfer-encoding", b"chunked"),)


CUT_SHORT = {
    "before the head": (b"", Failure.UNREACHABLE),
    "in the status line": (b"HTTP/1.1 2", Failure.UNREACHABLE),
    "in the head": (HEAD + b"content-le", Failure.UNREACHABLE),
    "after an interim answer": (b"HTTP/1.1 100 Continue\r\n\r\n", Failure.UNREACHABLE),
    "after the head": (CHUNKED, Failure.TRUNCATED),
    "in a chunk size": (CHUNKED + b"5", Failure.TRUNCATED),
    "in a chunk": (CHUNKED + b"5\r\nhe", Failure.TRUNCATED),
    "between chunks": (CHUNKED + b"2\r\nhe\r\n", Failure.TRUNCATED),
    "before the last line": (CHUNKED + b"2\r\nhe\r\n0\r\n", Failure.TRUNCATED),
    "short of the length": (HEAD + b"content-length: 5\r\n\r\nhell", Failure.TRUNCATED),
}


async def hang_up(peer: Peer) -> None:
    return


async def reset(peer: Peer) -> None:
    peer.reset()


async def half_close(peer: Peer) -> None:
    peer.half_close()
    await peer.gone(0.2)


@pytest.mark.parametrize("how", [hang_up, reset, half_close])
@pytest.mark.parametrize(("said", "expected"), CUT_SHORT.values(), ids=CUT_SHORT)
async def test_no_prefix_of_an_answer_is_taken_for_a_whole(said: bytes, expected: Failure, how: Script) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        await how(peer)

    async with upstream_of(script) as (transport, origin):
        with pytest.raises(UpstreamError) as broken:
            await ask(transport, origin)
        assert broken.value.failure is expected


async def test_a_reset_does_not_complete_an_answer_that_ends_with_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD + b"\r\nhel")
        peer.reset()

    async with upstream_of(script) as (transport, origin):
        with pytest.raises(UpstreamError) as broken:
            await ask(transport, origin)
        assert broken.value.failure is Failure.TRUNCATED


async def test_what_came_before_a_failure_is_given_before_it() -> None:
    async with upstream_of(saying(CHUNKED + b"2\r\nhe\r\n")) as (transport, origin):
        exchange = await begin(transport, origin)
        assert await exchange.read() == b"he"
        for _ in range(2):
            with pytest.raises(UpstreamError) as broken:
                await exchange.read()
            assert broken.value.failure is Failure.TRUNCATED


async def test_a_peer_that_half_closes_after_its_answer_was_heard() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(HEAD + b"\r\nhello")
        await half_close(peer)

    async with upstream_of(script) as (transport, origin):
        assert await ask(transport, origin) == b"hello"


SMUGGLED = {
    "length and chunked": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "a list of lengths": HEAD + b"content-length: 5, 5\r\n\r\nhello",
    "a signed length": HEAD + b"content-length: +5\r\n\r\nhello",
    "a length beyond numbers": HEAD + b"content-length: 99999999999999999999\r\n\r\nhello",
    "an unknown transfer coding": HEAD + b"transfer-encoding: xchunked\r\n\r\nhello",
    "a coding under chunked": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked undone": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": HEAD + b"x: a\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": HELLO.replace(b"\r\n", b"\n"),
    "white space that is no blank": HEAD + b"transfer-encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
    "a NUL in a header": HEAD + b"x: \0\r\n\r\n",
    "an interim answer with a length": b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n" + HELLO,
    "an interim answer in chunks": b"HTTP/1.1 103 Hints\r\ntransfer-encoding: chunked\r\n\r\n" + HELLO,
    "another protocol": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello",
    "another protocol, unnamed": b"HTTP/1.1 101 Switching\r\n\r\nhello",
    "a bad chunk size": CHUNKED + b"zz\r\n",
    "a chunk size beyond numbers": CHUNKED + b"f" * 17 + b"\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "no HTTP": b"220 mail.example ESMTP\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\nhello",
    "HTTP/2.0 in letters": b"HTTP/2.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "no such status": b"HTTP/1.1 000 OK\r\ncontent-length: 5\r\n\r\nhello",
    "a status of no class": b"HTTP/1.1 600 OK\r\ncontent-length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("said", SMUGGLED.values(), ids=SMUGGLED)
def test_an_answer_two_readers_could_read_differently_is_refused(said: bytes) -> None:
    assert failure(said) is Failure.MALFORMED
    assert failure(*(said[n : n + 1] for n in range(len(said)))) is Failure.MALFORMED


@pytest.mark.parametrize("said", [SMUGGLED["length and chunked"], SMUGGLED["no HTTP"], SMUGGLED["another protocol"]])
async def test_a_malformed_answer_costs_its_connection(said: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        await peer.gone(0.2)

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        with pytest.raises(UpstreamError) as refused:
            await ask(transport, upstream.origin)
        assert refused.value.failure is Failure.MALFORMED
        await upstream.all_left()


def test_another_protocol_is_refused_in_words() -> None:
    with pytest.raises(UpstreamError, match="101"):
        read(SMUGGLED["another protocol"])


def endless(start: bytes, more: bytes) -> tuple[int, Failure | None]:
    """How many bytes of an endless answer are taken before it is refused, and as what."""
    answer = Answer()
    answer.feed(start)
    taken = len(start)
    while taken < 1_000_000:
        try:
            answer.feed(more)
        except UpstreamError as refused:
            return taken, refused.failure
        taken += len(more)
    return taken, None


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 ", b"x" * 100),
        (HEAD + b"x", b"x" * 100),
        (HEAD + b"x: ", b"x" * 100),
        (HEAD, b"x: " + b"y" * 1000 + b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED + b"0\r\nx: ", b"x" * 100),
        (CHUNKED + b"0\r\n", b"x: y\r\n"),
        (CHUNKED + b"1;x=", b"x" * 100),
    ],
    ids=["reason", "name", "value", "lines", "interim", "trailer", "trailers", "extension"],
)
def test_what_is_not_body_is_bounded(start: bytes, more: bytes) -> None:
    taken, refused = endless(start, more)
    assert taken <= MAX_HEAD + len(start)
    assert refused is Failure.MALFORMED


def test_a_large_head_is_refused_even_when_it_comes_at_once() -> None:
    lines = b"".join(b"x%d: " % n + b"y" * 1000 + b"\r\n" for n in range(70))
    assert failure(HEAD + lines + b"content-length: 0\r\n\r\n") is Failure.MALFORMED


def test_a_small_head_may_come_at_once_with_a_large_body() -> None:
    body = bytes(2 * MAX_HEAD)
    assert read(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body).take() == body


def test_the_number_of_header_lines_is_bounded() -> None:
    def head(lines: int) -> bytes:
        return HEAD + b"x: y\r\n" * (lines - 1) + b"content-length: 0\r\n\r\n"

    assert len(read(head(MAX_HEADER_LINES)).headers) == MAX_HEADER_LINES
    assert failure(head(MAX_HEADER_LINES + 1)) is Failure.MALFORMED


def test_the_number_of_interim_answers_is_bounded() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert read(interim * MAX_INTERIM + HELLO).take() == b"hello"
    assert failure(interim * (MAX_INTERIM + 1) + HELLO) is Failure.MALFORMED


def test_a_long_answer_of_tiny_chunks_is_not_mistaken_for_an_endless_head() -> None:
    answer = Answer()
    answer.feed(CHUNKED)
    for _ in range(MAX_HEAD):
        answer.feed(b"1\r\na\r\n")
    answer.feed(b"0\r\n\r\n")
    assert answer.complete
    assert answer.take() == b"a" * MAX_HEAD
