"""
An upstream that does what a script says, on a real socket: for all that an honest server would not do.

A script is an async function of a `Peer`, run once per connection. When it returns, the connection is closed; when the
client leaves in the middle, it ends quietly; when it fails an assertion, the test fails at the end of `scripted`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf

from gateway.core.call import Headers, UpstreamRequest
from gateway.core.errors import Failure
from gateway.ports import Exchange, Patience, Transport
from gateway.upstream.transport import HttpTransport, read_all

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
"""The shortest good answer."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    line: bytes
    headers: dict[bytes, bytes]
    body: bytes


class Peer:
    """One connection, seen from the upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.requests: list[Received] = []
        self.left = False
        """Whether the connection is closed."""

    async def request(self) -> Received:
        """Reads one request whole."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].split(b"\r\n")
        headers = dict(each.split(b": ", 1) for each in lines)
        body = await self.reader.readexactly(int(headers.get(b"content-length", b"0")))
        received = Received(line, headers, body)
        self.requests.append(received)
        return received

    async def say(self, *pieces: bytes) -> None:
        """Sends each piece by itself, and lets the loop turn so that it is also received by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await turns()

    def half_close(self) -> None:
        """Sends nothing more, and still listens."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Breaks the connection: with no time to linger, the kernel sends RST in place of FIN."""
        connected: socket.socket = self.writer.get_extra_info("socket")
        if connected.fileno() < 0:  # the client was quicker
            return
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self, within: float = 5.0) -> None:
        """Waits until the client has closed. Fails if it takes longer."""
        with suppress(ConnectionError):
            async with asyncio.timeout(within):
                while await self.reader.read(65536):
                    pass

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await self.writer.wait_closed()
        self.left = True


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Upstream:
    """A running script."""

    port: int
    scheme: str
    peers: list[Peer] = field(default_factory=list)
    """Every connection there was, in order."""

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Received]:
        return [request for peer in self.peers for request in peer.requests]

    async def all_left(self, within: float = 0.2) -> None:
        """Waits until the client has closed every connection. Fails if it takes longer."""
        await until(lambda: all(peer.left for peer in self.peers), within)


@asynccontextmanager
async def scripted(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Serves the script on a free port of this machine."""
    tasks: list[asyncio.Task[None] | None] = []
    mistakes: list[BaseException] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        peer = Peer(reader, writer)
        upstream.peers.append(peer)
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        except Exception as mistake:
            mistakes.append(mistake)
        await peer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    upstream = Upstream(server.sockets[0].getsockname()[1], "https" if tls else "http")
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            assert task is not None
            task.cancel()
            await asyncio.wait([task])
        await server.wait_closed()
    if mistakes:
        raise mistakes[0]


@asynccontextmanager
async def upstream_of(script: Script) -> AsyncIterator[tuple[HttpTransport, str]]:
    """A server with this script, and the way to it."""
    async with scripted(script) as upstream, aclosing(HttpTransport(upstream.origin)) as transport:
        yield transport, upstream.origin


async def turns(count: int = 4) -> None:
    """Lets the loop turn, so that what was sent within this process is received."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(happened: Callable[[], bool], within: float = 2.0) -> None:
    """Waits until this is so. Fails if it takes longer."""
    async with asyncio.timeout(within):
        while not happened():  # noqa: ASYNC110 - what happens on another's socket sets no event here
            await asyncio.sleep(0.001)


async def answering(peer: Peer) -> None:
    """The script of an honest server: the same short answer, for as long as somebody asks."""
    while True:
        await peer.request()
        await peer.say(HELLO)


def saying(*pieces: bytes) -> Script:
    """The script of a server that says this once, and hangs up."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)

    return script


def request_to(
    origin: str, path: str = "/v1/chat/completions", *, headers: Headers = (), body: bytes = b"{}"
) -> UpstreamRequest:
    return UpstreamRequest("POST", origin + path, headers, body)


def patience(seconds: float = 5.0, failure: Failure = Failure.DEADLINE, idle: float = inf) -> Patience:
    """Patience for so long from now."""
    return Patience(asyncio.get_running_loop().time() + seconds, failure, idle)


async def begin(transport: Transport, origin: str, *, body: bytes = b"{}", limits: Patience | None = None) -> Exchange:
    """Sends a request, and returns once the head of the answer is there."""
    return await transport.send(request_to(origin, body=body), connect=5.0, patience=limits or patience())


async def ask(transport: Transport, origin: str, *, body: bytes = b"{}", limits: Patience | None = None) -> bytes:
    """Sends a request, and returns the whole body of the answer."""
    return await read_all(await begin(transport, origin, body=body, limits=limits), 64 * 1024 * 1024)
