"""The line to the client of one call: its request on the way in, the answer on the way out.

It stands where uvicorn's cycle of ASGI stands for all other requests. ASGI would tell the same with a scope, two
coroutines, an event and half a dozen messages, which cost as much as all else that the gateway does for a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.core.call import Headers
from gateway.core.errors import GatewayError
from gateway.web.refusals import too_large

Handler = Callable[["Line"], Coroutine[Any, Any, None]]
"""Answers one call, whatever it is."""


class Connection(Protocol):
    """What carries the line: `gateway.web.protocol.GatewayProtocol`."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    expect_100_continue: bool
    """Whether the client waits to be told before it sends the body."""
    tasks: set[asyncio.Task[None]]
    """Those that answer, on this connection and all others."""

    def default_lines(self) -> bytes:
        """The header lines of every answer."""

    def on_response_complete(self) -> None:
        """The answer has been written: the next request may be taken."""

    def hang_up(self) -> None:
        """The answer has been written, and was the last."""


GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Line:
    """One request and its answer, on a connection that may carry others before and after."""

    __slots__ = (
        *("_connection", "_failure", "_framed", "_pieces", "_size", "_waiter", "_waits_to_be_told", "gone", "handler"),
        *("headers", "keep_alive", "more_body", "path", "response_complete", "task", "told"),
    )

    task: asyncio.Task[None]
    """In which it is answered, once that has begun."""

    def __init__(
        self, connection: Connection, handler: Handler, path: bytes, headers: list[tuple[bytes, bytes]], version: str
    ) -> None:
        self.handler = handler
        self.path = path
        """As it was sent, with the query."""
        self.headers = headers
        self.gone = False
        """Whether the client has hung up before its answer was complete."""
        self.told: Callable[[], object] | None = None
        """Called once, when it does."""
        self.keep_alive = version != "1.0"
        self.more_body = True
        self.response_complete = False
        self._connection = connection
        self._framed = version != "1.0"
        self._waits_to_be_told = connection.expect_100_continue
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._failure: GatewayError | None = None

    def start(self) -> None:
        """Has it answered."""
        self.task = self._connection.loop.create_task(self._handled())
        self._connection.tasks.add(self.task)

    async def _handled(self) -> None:
        """Strikes itself off the list: a callback at the end of the task would cost twice as much."""
        try:
            await self.handler(self)
        finally:
            self._connection.tasks.discard(self.task)

    # The request

    async def body(self, limit: int) -> bytes:
        """All of it. Raises NotServed as soon as it is known to have more than `limit` bytes, or has failed.

        Raises CancelledError when the client hangs up before its end.
        """
        while self._size <= limit and self.more_body:
            if self.gone:
                raise asyncio.CancelledError
            if self._failure is not None:
                raise self._failure
            if self._waits_to_be_told:
                self._waits_to_be_told = False
                self._write(GO_ON)
            self._waiter = self._connection.loop.create_future()
            await self._waiter
        if self._size > limit:
            raise too_large(limit)
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def take(self, piece: bytes) -> None:
        """The next piece of the body has come. After the answer nobody wants it any more."""
        if not self.response_complete:
            self._pieces.append(piece)
            self._size += len(piece)
            self._wake()

    def take_end(self) -> None:
        """The body is complete."""
        self.more_body = False
        self._wake()

    def fail(self, error: GatewayError) -> None:
        """The rest of the body does not come; whoever waits for it is told why."""
        self._failure = error
        self.keep_alive = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The client

    def tell(self) -> None:
        """It has hung up, or has been sent away."""
        self.gone = True
        self._wake()
        if self.told is not None:
            self.told()

    def abort(self) -> None:
        """Ends the connection without another word."""
        self._connection.transport.abort()

    # The answer

    @property
    def full(self) -> bool:
        """Whether the client has so much still to take that whoever writes should wait: `await line.drained()`."""
        return self._connection.flow.write_paused and not self.gone

    async def drained(self) -> None:
        """Waits until the client has taken most of what was written."""
        await self._connection.flow.drain()

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """A whole answer, in one write. `head` are header lines: see `lines`."""
        opening = self._opening(status)
        self._write(b"%b%bcontent-length: %d\r\n\r\n%b" % (opening, head, len(body), body))
        self._complete()

    def begin(self, status: int, head: bytes) -> None:
        """The head of a stream. HTTP/1.0 knows no chunks: there the end of the connection is that of the stream."""
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._framed else b"\r\n"
        self._write(self._opening(status) + head + framing)

    def send(self, data: bytes) -> None:
        """The next piece of a stream."""
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._framed else data)

    def end(self) -> None:
        """The stream is complete."""
        if self._framed:
            self._write(b"0\r\n\r\n")
        self._complete()

    def _opening(self, status: int) -> bytes:
        close = b"" if self.keep_alive else b"connection: close\r\n"
        return STATUS_LINE[status] + self._connection.default_lines() + close

    def _write(self, data: bytes) -> None:
        if not self.gone:
            self._connection.transport.write(data)

    def _complete(self) -> None:
        """Lets the connection take its next request."""
        if self.gone:
            return
        self.response_complete = True
        self._pieces.clear()
        if not self.keep_alive:
            self._connection.hang_up()
        self._connection.on_response_complete()


def lines(headers: Headers) -> bytes:
    """Headers as they are sent, each on its line."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])
