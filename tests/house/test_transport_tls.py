"""TLS: what is trusted, and that nothing else about an exchange changes by it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.transport import HttpTransport, trusting_the_system
from tests.house.certificates import LOOPS, Authority, failure_of, new_authority, trusted
from tests.house.scripted import (
    HELLO,
    Peer,
    Script,
    answering,
    ask,
    begin,
    patience,
    request_to,
    saying,
    scripted,
    until,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=tuple(LOOPS.values()), ids=tuple(LOOPS))
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Each event loop has a TLS of its own, so both are tried."""
    with asyncio.Runner(loop_factory=request.param) as running:
        yield running


def test_a_provider_with_a_good_certificate_is_asked_over_one_connection(
    runner: asyncio.Runner, authority: Authority
) -> None:
    async def scenario() -> None:
        async with trusted(answering, authority) as (transport, upstream):
            for _ in range(3):
                assert await ask(transport, upstream.origin) == b"hello"
            (peer,) = upstream.peers
            secured = peer.writer.get_extra_info("ssl_object")
            assert secured.selected_alpn_protocol() == "http/1.1"

    runner.run(scenario())


@pytest.mark.parametrize(
    ("served", "known", "words"),
    [
        (lambda authority: authority.good, False, "unable to get local issuer certificate"),
        (lambda authority: authority.other_name, True, "certificate is not valid for"),
        (lambda authority: authority.expired, True, "certificate has expired"),
    ],
    ids=["unknown authority", "wrong name", "expired"],
)
def test_a_certificate_that_proves_nothing_is_unreachable_in_words(
    runner: asyncio.Runner,
    authority: Authority,
    served: Callable[[Authority], ssl.SSLContext],
    known: bool,
    words: str,
) -> None:
    async def scenario() -> None:
        async with (
            scripted(answering, tls=served(authority)) as upstream,
            aclosing(HttpTransport(upstream.origin, ca_file=authority.file if known else None)) as transport,
        ):
            failed = await failure_of(transport, upstream.origin)
            assert failed.failure is Failure.UNREACHABLE
            assert "certificate verify failed: " in failed.said
            assert words in failed.said
        assert not upstream.requests

    runner.run(scenario())


async def plain_speech(peer: Peer) -> None:
    await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def hang_up(peer: Peer) -> None:
    await peer.reader.read(1)


async def reset(peer: Peer) -> None:
    await peer.reader.read(1)
    peer.reset()


@pytest.mark.parametrize("script", [plain_speech, hang_up, reset])
def test_a_server_that_speaks_no_tls_is_unreachable(
    runner: asyncio.Runner, authority: Authority, script: Script
) -> None:
    async def scenario() -> None:
        async with scripted(script) as upstream:
            origin = upstream.origin.replace("http:", "https:")
            async with aclosing(HttpTransport(origin, ca_file=authority.file)) as transport:
                assert (await failure_of(transport, origin)).failure is Failure.UNREACHABLE
            await upstream.all_left()

    runner.run(scenario())


def test_a_handshake_that_stalls_is_a_connect_timeout(runner: asyncio.Runner, authority: Authority) -> None:
    async def scenario() -> None:
        async with scripted(Peer.gone) as upstream:
            origin = upstream.origin.replace("http:", "https:")
            transport = HttpTransport(origin, ca_file=authority.file)
            with pytest.raises(UpstreamError) as failed:
                await transport.send(request_to(origin), connect=0.1, patience=patience())
            assert failed.value.failure is Failure.CONNECT_TIMEOUT
            await upstream.all_left()
            await transport.aclose()

    runner.run(scenario())


def test_cancelling_a_handshake_closes_its_socket(runner: asyncio.Runner, authority: Authority) -> None:
    async def scenario() -> None:
        async with scripted(Peer.gone) as upstream:
            origin = upstream.origin.replace("http:", "https:")
            transport = HttpTransport(origin, ca_file=authority.file)
            task = asyncio.ensure_future(ask(transport, origin))
            await until(lambda: bool(upstream.peers))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await upstream.all_left()

    runner.run(scenario())


def test_an_answer_that_ends_with_its_connection_needs_the_closing_alert(
    runner: asyncio.Runner, authority: Authority
) -> None:
    said = b"HTTP/1.1 200 OK\r\n\r\nhello"

    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        peer.writer.transport.abort()

    async def scenario() -> None:
        async with trusted(saying(said), authority) as (transport, upstream):
            assert await ask(transport, upstream.origin) == b"hello"
        async with trusted(cut, authority) as (transport, upstream):
            assert (await failure_of(transport, upstream.origin)).failure is Failure.TRUNCATED

    runner.run(scenario())


def test_over_tls_too_leaving_in_the_middle_closes_the_socket(runner: asyncio.Runner, authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"half")
        await peer.gone()

    async def scenario() -> None:
        async with trusted(script, authority) as (transport, upstream):
            exchange = await begin(transport, upstream.origin)
            assert await exchange.read() == b"half"
            exchange.close()
            await upstream.all_left()
            reading = asyncio.ensure_future(ask(transport, upstream.origin))
            await until(lambda: len(upstream.requests) == 2)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await upstream.all_left()

    runner.run(scenario())


def test_over_tls_too_large_bodies_arrive_whole_and_slow_readers_are_waited_for(
    runner: asyncio.Runner, authority: Authority
) -> None:
    size = 8 * 1024 * 1024
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        assert len((await peer.request()).body) == size
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (4 * size))
        while sent < 4 * size:
            await peer.say(bytes(65536))
            sent += 65536

    async def scenario() -> None:
        async with trusted(script, authority) as (transport, upstream):
            exchange = await begin(transport, upstream.origin, body=bytes(size), limits=patience(20))
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.05)
            assert sent < 4 * size
            total = 0
            while piece := await exchange.read():
                total += len(piece)
            assert total == 4 * size

    runner.run(scenario())


def test_over_tls_too_a_dead_reused_connection_is_replaced(runner: asyncio.Runner, authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HELLO)
        await peer.request()
        peer.reset()

    async def scenario() -> None:
        async with trusted(script, authority) as (transport, upstream):
            for _ in range(3):
                assert await ask(transport, upstream.origin) == b"hello"
            assert len(upstream.peers) == 3

    runner.run(scenario())


def test_an_authority_file_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        HttpTransport("https://api.example", ca_file=str(tmp_path / "none.pem"))


def test_a_system_without_authorities_trusts_those_of_certifi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    trusting_the_system.cache_clear()
    assert trusting_the_system().cert_store_stats()["x509_ca"] > 50
    trusting_the_system.cache_clear()
