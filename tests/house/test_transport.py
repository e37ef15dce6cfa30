"""Requests, answers, and the failures of a provider that cannot be asked."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from gateway.core.call import UpstreamRequest
from gateway.core.errors import Failure, UpstreamError
from gateway.core.secret import Secret
from gateway.upstream.transport import HttpTransport, read_all
from tests.house.scripted import (
    HELLO,
    Peer,
    answering,
    ask,
    begin,
    patience,
    request_to,
    saying,
    scripted,
    turns,
    until,
)


async def test_a_request_arrives_as_it_was_meant() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        request = request_to(upstream.origin, "/v1/x?y=%20", headers=((b"authorization", b"Bearer k"),), body=b"[1]")
        exchange = await transport.send(request, connect=5, patience=patience())
        assert await read_all(exchange, 100) == b"hello"
    (received,) = upstream.requests
    assert received.line == b"POST /v1/x?y=%20 HTTP/1.1"
    assert received.body == b"[1]"
    assert received.headers[b"authorization"] == b"Bearer k"
    assert received.headers[b"host"] == upstream.origin.removeprefix("http://").encode()
    assert received.headers[b"content-length"] == b"3"
    assert received.headers[b"accept-encoding"] == b"identity"
    assert received.headers[b"user-agent"].startswith(b"gateway/")


async def test_a_get_without_a_body_claims_none() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        request = UpstreamRequest("GET", upstream.origin + "/v1/models", (), b"")
        exchange = await transport.send(request, connect=5, patience=patience())
        assert exchange.status == 200
    assert b"content-length" not in upstream.requests[0].headers


async def test_a_user_agent_from_the_configuration_is_the_only_one() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        request = request_to(upstream.origin, headers=((b"user-agent", b"acme"),))
        await transport.send(request, connect=5, patience=patience())
    assert upstream.requests[0].headers[b"user-agent"] == b"acme"


async def test_status_and_headers_are_there_with_the_exchange() -> None:
    said = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7 \r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n"
    async with scripted(saying(said)) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        exchange = await begin(transport, upstream.origin)
        assert exchange.status == 429
        assert exchange.headers == (
            (b"retry-after", b"7"),
            (b"x-a", b"1"),
            (b"x-a", b"2"),
            (b"content-length", b"0"),
        )
        assert await exchange.read() == b""


@pytest.mark.parametrize(
    "headers",
    [
        ((b"x", b"a\r\nhost: evil"),),
        ((b"x", b"a\nb"),),
        ((b"x", b"a\0b"),),
        ((b"x\r\ny", b"a"),),
        ((b"x: y", b"a"),),
        ((b"", b"a"),),
        ((b"content-length", b"0"),),
        ((b"transfer-encoding", b"chunked"),),
        ((b"host", b"evil"),),
    ],
)
async def test_a_header_that_would_break_the_head_is_never_sent(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        with pytest.raises(ValueError):
            await transport.send(request_to(upstream.origin, headers=headers), connect=5, patience=patience())
    assert not upstream.peers


@pytest.mark.parametrize("path", ["/a b", "/a\r\nhost: evil", "/a\0", "/\N{SNOWMAN}", "", "@evil/", ".evil/"])
async def test_an_address_that_is_not_the_providers_is_never_asked(path: str) -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        with pytest.raises(ValueError):
            await transport.send(request_to(upstream.origin, path), connect=5, patience=patience())
    assert not upstream.peers


@pytest.mark.parametrize("method", ["HEAD", "POST /evil", "", "P\r\nX"])
async def test_a_method_that_cannot_be_read_back_is_never_sent(method: str) -> None:
    transport = HttpTransport("http://127.0.0.1:9")
    with pytest.raises(ValueError):
        await transport.send(UpstreamRequest(method, "http://127.0.0.1:9/", (), b""), connect=5, patience=patience())


@pytest.mark.parametrize(
    "origin", ["ftp://a", "a.example", "http://", "http://a/v1", "http://a:x", "http://u:p@a", "http://a?b"]
)
def test_an_origin_that_is_none_is_refused_at_once(origin: str) -> None:
    with pytest.raises(ValueError):
        HttpTransport(origin)


@pytest.mark.parametrize("proxy", ["socks5://u:hunter2@p:1", "https://u:hunter2@p:1", "http://u:hun/ter2@p:1"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(ValueError) as refused:
        HttpTransport("http://a", proxy=Secret(proxy))
    assert "hun" not in str(refused.value)
    assert refused.value.__cause__ is None


async def test_an_answer_that_comes_before_the_request_is_sent_is_read_and_the_connection_dropped() -> None:
    too_large = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig"

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(too_large)
        await peer.gone(1.0)

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        exchange = await begin(transport, upstream.origin, body=bytes(32 * 1024 * 1024))
        assert exchange.status == 413
        assert await exchange.read() == b"big"
        await upstream.all_left(1.0)


async def test_an_early_answer_is_read_even_when_a_reset_follows_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
        peer.reset()

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        exchange = await begin(transport, upstream.origin, body=bytes(32 * 1024 * 1024))
        assert exchange.status == 413
        assert await exchange.read() == b"big"


async def test_a_large_body_arrives_whole() -> None:
    body = bytes(range(256)) * 32 * 1024
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        assert await ask(transport, upstream.origin, body=body) == b"hello"
    assert upstream.requests[0].body == body


async def test_a_body_beyond_the_readers_limit_is_refused_and_its_connection_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + bytes(1001))
        await peer.gone(0.2)

    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        exchange = await begin(transport, upstream.origin)
        with pytest.raises(UpstreamError) as refused:
            await read_all(exchange, 1000)
        assert refused.value.failure is Failure.MALFORMED
        await upstream.all_left()


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        assert await read_all(await begin(transport, upstream.origin), 5) == b"hello"


async def test_nobody_listening_is_unreachable_in_words() -> None:
    async with scripted(answering) as upstream:
        pass
    transport = HttpTransport(upstream.origin)
    with pytest.raises(UpstreamError) as refused:
        await ask(transport, upstream.origin)
    assert refused.value.failure is Failure.UNREACHABLE
    assert "Connection refused" in refused.value.said
    assert str(upstream.port) in refused.value.said


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
async def test_a_name_without_an_address_is_unreachable(host: str) -> None:
    transport = HttpTransport(f"http://{host}")
    with pytest.raises(UpstreamError) as refused:
        await ask(transport, f"http://{host}")
    assert refused.value.failure is Failure.UNREACHABLE


async def test_closing_the_transport_ends_what_is_running_and_what_is_idle() -> None:
    async def script(peer: Peer) -> None:
        if (await peer.request()).body == b"short":
            await peer.say(HELLO)
        else:
            await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        await peer.gone()

    async with scripted(script) as upstream:
        transport = HttpTransport(upstream.origin)
        running = await begin(transport, upstream.origin)
        await ask(transport, upstream.origin, body=b"short")
        await transport.aclose()
        await upstream.all_left()
        assert await running.read() == b"half"
        with pytest.raises(UpstreamError) as ended:
            await running.read()
        assert ended.value.failure is Failure.TRUNCATED


async def test_a_connection_that_opens_while_the_transport_closes_is_closed_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async with scripted(script) as upstream:
        transport = HttpTransport(upstream.origin)
        asking = asyncio.ensure_future(ask(transport, upstream.origin))
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(UpstreamError) as refused:
            await asking
        assert refused.value.failure is Failure.UNREACHABLE
        await until(lambda: bool(upstream.peers))
        await upstream.all_left()


async def test_a_closed_transport_opens_nothing() -> None:
    async with scripted(answering) as upstream:
        transport = HttpTransport(upstream.origin)
        await transport.aclose()
        await transport.aclose()
        with pytest.raises(UpstreamError) as refused:
            await ask(transport, upstream.origin)
        assert refused.value.failure is Failure.UNREACHABLE
        await turns()
        assert not upstream.peers


def test_everything_works_on_the_event_loop_of_the_standard_library() -> None:
    async def scenario() -> None:
        async with scripted(answering) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
            assert await asyncio.gather(*(ask(transport, upstream.origin) for _ in range(5))) == [b"hello"] * 5
            assert await ask(transport, upstream.origin) == b"hello"
            assert len(upstream.peers) == 5
        async with (
            scripted(saying(b"HTTP/1.1 200 OK\r\n\r\n", b"a", b"b")) as upstream,
            aclosing(HttpTransport(upstream.origin)) as transport,
        ):
            assert await ask(transport, upstream.origin) == b"ab"
        async with scripted(Peer.gone) as silent, aclosing(HttpTransport(silent.origin)) as transport:
            hasty = patience(0.01, Failure.FIRST_TOKEN_TIMEOUT)
            with pytest.raises(UpstreamError) as late:
                await ask(transport, silent.origin, limits=hasty)
            assert late.value.failure is Failure.FIRST_TOKEN_TIMEOUT
            await silent.all_left()

    asyncio.run(scenario())
