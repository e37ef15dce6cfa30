"""The way through a proxy: a tunnel for https, absolute form for http."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from gateway.core.errors import Failure, UpstreamError
from gateway.core.secret import Secret
from gateway.upstream.transport import HttpTransport
from tests.house.certificates import LOOPS, Authority, failure_of, new_authority
from tests.house.scripted import (
    Peer,
    Script,
    answering,
    ask,
    patience,
    request_to,
    saying,
    scripted,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=tuple(LOOPS.values()), ids=tuple(LOOPS))
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Each event loop has a TLS of its own, so both are tried."""
    with asyncio.Runner(loop_factory=request.param) as running:
        yield running


def relaying(port: int) -> Script:
    """An honest proxy to a port of this machine."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def script(peer: Peer) -> None:
        await peer.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.say(b"HTTP/1.1 200 Connection", b" established\r\nvia: us\r\n\r\n")
        try:
            await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))
        finally:
            writer.transport.abort()

    return script


def test_a_tunnel_leads_to_the_provider_and_is_used_again(runner: asyncio.Runner, authority: Authority) -> None:
    async def scenario() -> None:
        async with (
            scripted(answering, tls=authority.good) as upstream,
            scripted(relaying(upstream.port)) as proxy,
            aclosing(
                HttpTransport(
                    upstream.origin,
                    proxy=Secret(f"http://me:hunter%32@127.0.0.1:{proxy.port}"),
                    ca_file=authority.file,
                )
            ) as transport,
        ):
            for _ in range(2):
                assert await ask(transport, upstream.origin) == b"hello"
            (asked,) = proxy.requests
            assert asked.line == b"CONNECT 127.0.0.1:%d HTTP/1.1" % upstream.port
            assert asked.headers[b"host"] == b"127.0.0.1:%d" % upstream.port
            assert asked.headers[b"proxy-authorization"] == b"Basic " + b64encode(b"me:hunter2")
            assert all(b"proxy-authorization" not in request.headers for request in upstream.requests)

    runner.run(scenario())


def test_through_a_tunnel_too_the_providers_certificate_is_verified(
    runner: asyncio.Runner, authority: Authority
) -> None:
    async def scenario() -> None:
        async with (
            scripted(answering, tls=authority.other_name) as upstream,
            scripted(relaying(upstream.port)) as proxy,
            aclosing(
                HttpTransport(upstream.origin, proxy=Secret(f"http://127.0.0.1:{proxy.port}"), ca_file=authority.file)
            ) as transport,
        ):
            failed = await failure_of(transport, upstream.origin)
            assert failed.failure is Failure.UNREACHABLE
            assert failed.said.startswith(f"127.0.0.1:{upstream.port} through the proxy 127.0.0.1:{proxy.port}: ")
            assert "certificate verify failed" in failed.said
            await proxy.all_left()

    runner.run(scenario())


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", "407"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK", "HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "HTTP"),
        (b"", "HTTP"),
    ],
    ids=["407", "502", "cut short", "not HTTP", "surplus", "nothing"],
)
def test_a_proxy_that_opens_no_tunnel_is_unreachable_without_its_password(
    runner: asyncio.Runner, authority: Authority, reply: bytes, words: str
) -> None:
    async def scenario() -> None:
        async with scripted(saying(reply)) as proxy:
            secret = Secret(f"http://me:hunter2@127.0.0.1:{proxy.port}")
            async with aclosing(HttpTransport("https://api.example", proxy=secret)) as transport:
                failed = await failure_of(transport, "https://api.example")
            assert failed.failure is Failure.UNREACHABLE
            assert words in failed.said
            assert "hunter2" not in failed.said + repr(failed.__cause__)
            assert b64encode(b"me:hunter2").decode() not in failed.said
            await proxy.all_left()

    runner.run(scenario())


def test_a_proxy_that_goes_on_and_on_is_not_heard_to_the_end(runner: asyncio.Runner) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20000)
        await peer.gone()

    async def scenario() -> None:
        async with scripted(script) as proxy:
            transport = HttpTransport("https://api.example", proxy=Secret(f"http://127.0.0.1:{proxy.port}"))
            assert (await failure_of(transport, "https://api.example")).failure is Failure.UNREACHABLE
            await proxy.all_left()

    runner.run(scenario())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["before the tunnel", "before TLS"])
def test_a_proxy_that_stalls_is_a_connect_timeout(runner: asyncio.Runner, said: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        await peer.gone()

    async def scenario() -> None:
        async with scripted(script) as proxy:
            transport = HttpTransport("https://api.example", proxy=Secret(f"http://127.0.0.1:{proxy.port}"))
            with pytest.raises(UpstreamError) as failed:
                await transport.send(request_to("https://api.example"), connect=0.1, patience=patience())
            assert failed.value.failure is Failure.CONNECT_TIMEOUT
            await proxy.all_left()
            await transport.aclose()

    runner.run(scenario())


async def test_a_proxy_nobody_serves_is_unreachable_without_its_password() -> None:
    async with scripted(answering) as proxy:
        pass
    transport = HttpTransport("https://api.example", proxy=Secret(f"http://me:hunter2@127.0.0.1:{proxy.port}"))
    failed = await failure_of(transport, "https://api.example")
    assert failed.failure is Failure.UNREACHABLE
    assert "hunter2" not in failed.said + repr(failed.__cause__)


async def test_plain_http_goes_through_a_proxy_in_absolute_form() -> None:
    async with (
        scripted(answering) as proxy,
        aclosing(
            HttpTransport("http://api.example:8080", proxy=Secret(f"http://me:hunter2@127.0.0.1:{proxy.port}"))
        ) as transport,
    ):
        assert await ask(transport, "http://api.example:8080") == b"hello"
        (asked,) = proxy.requests
        assert asked.line == b"POST http://api.example:8080/v1/chat/completions HTTP/1.1"
        assert asked.headers[b"host"] == b"api.example:8080"
        assert asked.headers[b"proxy-authorization"] == b"Basic " + b64encode(b"me:hunter2")
