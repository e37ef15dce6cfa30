"""The HTTP server's connection, with what uvicorn's lacks.

It tells a call at once that its client has hung up, so that no task per call has to watch for it; it bounds the size
of a request's head, of which uvicorn 0.54 takes any number of megabytes; it answers what it cannot parse in the
envelope; it wants the one `Host` that HTTP/1.1 asks for; it keeps trailers out of the headers; and it has a quicker way
out than ASGI's.
"""

from __future__ import annotations

from collections.abc import Callable
from random import getrandbits
from typing import Any

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.core.call import Headers
from gateway.core.errors import GatewayError, InvalidRequest, NotServed

MAX_HEAD = 64 * 1024
"""Bytes of a request's target and headers, spaces and colons between them not counted. Real ones stay far below 8 KiB;
other apps' cookies may add to that."""
MAX_HEADERS = 100

MAX_WAITING = 16
"""Pipelined requests for which the connection is read on while an earlier one is answered."""

LINGER = 1.0
"""Seconds for which a refused client may go on sending. Closing under it would reset the connection, and the refusal
could be lost before it was read (RFC 9112, section 9.6)."""

LINE = "gateway.line"
"""Key in a scope's extensions, under which a call finds the `Line` to its client."""


class Line:
    """The way back to the client of one call.

    It does what ASGI's `send` would do with a coroutine, two messages and a look at each header: that costs as much as
    all the rest of a relayed chunk.
    """

    __slots__ = ("_cycle", "_framed", "gone", "told")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._framed = cycle.scope["http_version"] != "1.0"
        self.gone = False
        """Whether the client has hung up before its answer was complete."""
        self.told: Callable[[], object] | None = None
        """Called once, when it does."""

    def tell(self) -> None:
        self.gone = True
        if self.told is not None:
            self.told()

    def abort(self) -> None:
        """Ends the connection without another word."""
        self._cycle.transport.abort()

    @property
    def full(self) -> bool:
        """Whether the client has so much still to take that whoever writes should wait: `await line.drained()`."""
        return self._cycle.flow.write_paused and not self._cycle.disconnected

    async def drained(self) -> None:
        """Waits until the client has taken most of what was written."""
        await self._cycle.flow.drain()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer, in one write."""
        self._write(self._head(status, (*headers, (b"content-length", b"%d" % len(body)))) + body)
        self._complete()

    def begin(self, status: int, headers: Headers) -> None:
        """The head of a stream. HTTP/1.0 knows no chunks: there the end of the connection is that of the stream."""
        if self._framed:
            headers = (*headers, (b"transfer-encoding", b"chunked"))
        else:
            self._cycle.keep_alive = False
        self._write(self._head(status, headers))

    def send(self, data: bytes) -> None:
        """The next piece of a stream."""
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._framed else data)

    def end(self) -> None:
        """The stream is complete."""
        if self._framed:
            self._write(b"0\r\n\r\n")
        self._complete()

    def _head(self, status: int, headers: Headers) -> bytes:
        self._cycle.response_started = True
        lines = [b"%b: %b\r\n" % header for header in (*self._cycle.default_headers, *headers)]
        if not self._cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        return b"".join((STATUS_LINE[status], *lines, b"\r\n"))

    def _write(self, data: bytes) -> None:
        if not self._cycle.disconnected:
            self._cycle.transport.write(data)

    def _complete(self) -> None:
        """Lets the connection take its next request, as uvicorn's own `send` does at the end."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_complete = True
        cycle.message_event.set()
        del cycle.scope["extensions"]  # it leads back to the cycle, and only the garbage collector could undo that
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


class GatewayProtocol(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read = 0
        """Bytes of the piece that is being parsed."""
        self._untold = 0
        """Bytes that have come since the head began, or since the last of the body: those may be a line without end."""
        self._idle_since = 0.0
        self._refusal: GatewayError | None = None
        self._deaf = False
        self._answering: RequestResponseCycle | None = None
        """The request that is being answered, or was last. With pipelining it is not `cycle`: that is the newest."""

    # From the event loop

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipeline.clear()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._tell()

    def data_received(self, data: bytes) -> None:
        if self._deaf or self.transport.is_closing():
            return
        self._read = len(data)
        self._untold += self._read
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if self._untold > 2 * MAX_HEAD:
            self._refusal = _too_large()
            self.send_400_response("")

    def _parse(self, data: bytes) -> None:
        """An upgrade is not accepted, and the connection goes on as it was (RFC 9110, section 7.8).

        The parser takes whatever follows an upgrade for another protocol, a request's body too: Java's client asks for
        one with every POST. So the head is read again without it.
        """
        rest: bytes | memoryview = data
        while rest:
            try:
                return self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                head = self._without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(head)
        return None

    def _without_upgrade(self) -> bytes:
        """The head that has just been read, without the header that the parser stumbles over."""
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([line, *headers, b"", b""])

    def on_response_complete(self) -> None:
        """As uvicorn's, but that the timer for idle connections is kept over all calls, not made and undone in each."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection if it has been idle for so long, or else looks again when that can have come true."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        if self._deaf:
            self.transport.close()
        elif self._answering is None or self._answering.response_complete:
            left = self._idle_since + self.timeout_keep_alive - self.loop.time()
            if left <= 0:
                self.transport.close()
            else:
                self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    # From the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._untold = self._read

    def on_headers_complete(self) -> None:
        self._check_head()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError("not a proxy")
            return
        super().on_headers_complete()
        self.scope["extensions"] = {LINE: Line(self.cycle)}  # type: ignore[dict-item]
        self.headers = []  # for trailers, which may not pass for headers (RFC 9110, section 6.5.1)
        self._untold = 0
        if len(self.pipeline) <= MAX_WAITING:
            self.flow.resume_reading()  # whoever does not read cannot see that the client has left

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._untold = 0

    def on_message_complete(self) -> None:
        self._untold = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _check_head(self) -> None:
        """Its size; and its one Host: where several stand, every server on the way may take another (RFC 9112, 3.2)."""
        if len(self.headers) > MAX_HEADERS or (self._untold > MAX_HEAD and self._head_size() > MAX_HEAD):
            self._refusal = _too_large()
            raise httptools.HttpParserError("head too large")
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
            self._refusal = InvalidRequest("The request must have one Host header.")
            raise httptools.HttpParserError("host")

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    # Refusing

    def send_400_response(self, msg: str) -> None:
        """Answers what could not be parsed, and closes; after the answers that are due before."""
        due = self._answering is not None and not self._answering.response_complete
        if due and not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif self.pipeline:
            self.transport.close()
        else:
            self._refuse(self._refusal or InvalidRequest("This is not an HTTP request the gateway can read."))

    def _refuse(self, error: GatewayError) -> None:
        body = orjson.dumps(error.envelope())
        head = (
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {new_request_id()}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[error.status] + head.encode() + body)
        self.transport.write_eof()
        self._deaf = True
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER, self.timeout_keep_alive_handler)
        self._tell()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _tell(self) -> None:
        """The client of the call under way is gone, or has been sent away."""
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            cycle.scope["extensions"][LINE].tell()  # type: ignore[attr-defined]


def new_request_id() -> str:
    return f"req_{getrandbits(96):024x}"  # unlike any other; that it cannot be guessed is not asked of it


def _too_large() -> GatewayError:
    return NotServed(431, f"The request's headers are too large: at most {MAX_HEADERS} headers and {MAX_HEAD} bytes.")
