"""The HTTP server's connection, with what uvicorn's lacks.

Calls go a way of their own, the `Line`; everything else goes the way of ASGI. A call is told at once that its client
has hung up, so that no task has to watch for it. The size of a request's head is bounded, of which uvicorn 0.54 takes
any number of megabytes; what cannot be parsed is answered in the envelope; the one `Host` that HTTP/1.1 asks for must
be there; and trailers are kept out of the headers.
"""

from __future__ import annotations

from collections.abc import Callable
from random import getrandbits
from typing import Any

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.core.errors import GatewayError, InvalidRequest, NotServed
from gateway.web.line import Handler, Line, lines

MAX_HEAD = 64 * 1024
"""Bytes of a request's target and headers, spaces and colons between them not counted. Real ones stay far below 8 KiB;
other apps' cookies may add to that."""
MAX_HEADERS = 100

MAX_WAITING = 16
"""Pipelined requests for which the connection is read on while an earlier one is answered."""

LINGER = 1.0
"""Seconds for which a refused client may go on sending. Closing under it would reset the connection, and the refusal
could be lost before it was read (RFC 9112, section 9.6)."""

Calls = Callable[[bytes, bytes], Handler | None]
"""Who answers a method and a path, the query with it, as a call; None for the pages, which go the way of ASGI."""


class GatewayProtocol(HttpToolsProtocol):
    """One client's connection."""

    cycle: Line | RequestResponseCycle | None  # type: ignore[assignment]
    """The newest request."""

    def __init__(self, calls: Calls, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._calls = calls
        self._read = 0
        """Bytes of the piece that is being parsed."""
        self._untold = 0
        """Bytes that have come since the head began, or since the last of the body: those may be a line without end."""
        self._idle_since = 0.0
        self._refusal: GatewayError | None = None
        self._deaf = False
        self._answering: Line | RequestResponseCycle | None = None
        """The request that is being answered, or was last. With pipelining it is not `cycle`: that is the newest."""
        self._due: Line | None = None
        """A call whose head has just been read: it begins when all that came with the head has been read too."""
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""

    # From the event loop

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipeline.clear()
        self.connections.discard(self)
        self.flow.resume_writing()
        self._tell()
        self.transport.close()
        self._unset_keepalive_if_required()
        self.parser = None  # type: ignore[assignment]  # it knows us as we know it

    def data_received(self, data: bytes) -> None:
        if self._deaf or self.transport.is_closing():
            return
        self._read = len(data)
        self._untold += self._read
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        else:
            if self._untold > 2 * MAX_HEAD:
                self._refusal = _too_large()
                self.send_400_response("")
        if self._due is not None:
            line, self._due = self._due, None
            self._begin(line)

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
        """uvicorn would make a scope here; calls need none."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._untold = self._read

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._check_head()
        method = self.parser.get_method()
        if self.parser.should_upgrade():
            if method == b"CONNECT":
                raise httptools.HttpParserError("not a proxy")
            return
        handler = self._calls(method, self.url)
        if handler is None:
            self._go_the_way_of_asgi()
        else:
            self._take_call(handler)
        self.headers = []  # for trailers, which may not pass for headers (RFC 9110, section 6.5.1)
        self._untold = 0
        if self.pipeline and len(self.pipeline) <= MAX_WAITING:
            self.flow.resume_reading()  # whoever does not read cannot see that the client has left

    def _take_call(self, handler: Handler) -> None:
        before = self.cycle
        self.cycle = line = Line(self, handler, self.url, self.headers, self.parser.get_http_version())
        line.keep_alive = line.keep_alive and self.parser.should_keep_alive()
        if before is None or before.response_complete:
            self._answering = self._due = line
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((line, handler))  # type: ignore[arg-type]

    def _go_the_way_of_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._untold = 0
        if type(self.cycle) is Line:
            self.cycle.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._untold = 0
        if type(self.cycle) is Line:
            self.cycle.take_end()
        elif not self.parser.should_upgrade():
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
        if due and self.cycle is not None and not self.cycle.more_body:
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

    # Answering

    def _begin(self, line: Line) -> None:
        task = self.loop.create_task(line.handler(line))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _start_asgi_task(self, cycle: Line | RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        if isinstance(cycle, Line):
            self._begin(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _tell(self) -> None:
        """The client of the request under way is gone, or has been sent away."""
        under_way = self._answering
        if under_way is None or under_way.response_complete:
            return
        if isinstance(under_way, Line):
            under_way.tell()
        else:
            under_way.disconnected = True
            under_way.message_event.set()

    def default_lines(self) -> bytes:
        """The header lines of every answer (the date), which uvicorn makes anew each second."""
        headers = self.server_state.default_headers
        if headers is not self._default_headers:
            self._default_headers, self._default_lines = headers, lines(tuple(headers))
        return self._default_lines


def new_request_id() -> str:
    return f"req_{getrandbits(96):024x}"  # unlike any other; that it cannot be guessed is not asked of it


def _too_large() -> GatewayError:
    return NotServed(431, f"The request's headers are too large: at most {MAX_HEADERS} headers and {MAX_HEAD} bytes.")
