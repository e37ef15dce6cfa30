"""The HTTP server's connection, with what uvicorn's lacks.

Calls go a way of their own, the `Line`; everything else goes the way of ASGI. A call is told at once that its client
has hung up, so that no task has to watch for it. The size of a request's head is bounded, of which uvicorn 0.54 takes
any number of megabytes, and so is the time that a client takes for each step, for which uvicorn waits for ever; what
cannot be parsed is answered in the envelope; the one `Host` that HTTP/1.1 asks for must be there; and trailers are kept
out of the headers.
"""

from __future__ import annotations

from asyncio import Transport
from collections.abc import Callable, Mapping
from random import getrandbits
from typing import Any

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.core.errors import GatewayError
from gateway.outlet import Outlet
from gateway.web.bounds import Bounds
from gateway.web.line import Handler, Line, lines
from gateway.web.refusals import (
    MAX_HEAD,
    MAX_HEADERS,
    head_too_large,
    not_one_host,
    shutting_down,
    too_many,
    too_slow,
    unreadable,
)

MAX_WAITING = 16
"""Pipelined requests for which the connection is read on while an earlier one is answered."""

CROWD = 128
"""Connections above the bound that are told so. There is no file to spare for more: they are closed without a word."""

Calls = Callable[[bytes, bytes], Handler | None]
"""Who answers a method and a path, the query with it, as a call; None for the pages, which go the way of ASGI."""


class GatewayProtocol(HttpToolsProtocol):
    """One client's connection."""

    cycle: Line | RequestResponseCycle | None  # type: ignore[assignment]
    """The newest request."""

    def __init__(self, calls: Calls, bounds: Bounds, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._calls = calls
        self._bounds = bounds
        self._read = 0
        """Bytes of the piece that is being parsed."""
        self._untold = 0
        """Bytes that have come since the head began, or since the last of the body: those may be a line without end."""
        self._pieces = 0
        """How many have come."""
        self._awaited: Awaited | None = None
        """What the client had to do when it was looked at."""
        self._since = 0.0
        """When it was first seen to have to do that."""
        self._refusal: GatewayError | None = None
        self._deaf = False
        self._last = False
        """Whether the request that is under way is the last one."""
        self._answering: Line | RequestResponseCycle | None = None
        """The request that is being answered, or was last. With pipelining it is not `cycle`: that is the newest."""
        self._due: Line | None = None
        """A call whose head has just been read: it begins when all that came with the head has been read too."""
        self._hosts = 0
        """How many of the newest head's lines name a host."""
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""

    # From the event loop

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(Outlet(transport, self.loop))
        there = len(self.connections)
        if there > self._bounds.connections + CROWD:
            transport.abort()
        elif there > self._bounds.connections:
            self._refuse(too_many())

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipeline.clear()
        self.connections.discard(self)
        self.flow.resume_writing()
        self._tell()
        self.transport.close()
        self.parser = None  # type: ignore[assignment]  # it knows us as we know it

    def data_received(self, data: bytes) -> None:
        if self._deaf or self.transport.is_closing():
            return
        self._read = len(data)
        self._pieces += 1
        self._untold += self._read
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        else:
            if self._untold > 2 * MAX_HEAD:
                self._refusal = head_too_large()
                self.send_400_response("")
        if self._due is not None:
            line, self._due = self._due, None
            line.start()

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
        """As uvicorn's, but that no timer is set, and that a client has to take an answer before it gets the next."""
        self.server_state.total_requests += 1
        if self._deaf or self.transport.is_closing():
            return
        if self.flow.write_paused:
            self.flow.pause_reading()
        else:
            self._go_on()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answered and not (self._deaf or self.transport.is_closing()):
            self._go_on()

    def _go_on(self) -> None:
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    # From the server

    def look(self, now: float) -> None:
        """Parts with a client that has had its time for what it is to do. Called about once a second.

        A timer for each step of each call would cost more than all these looks.
        """
        awaited = self._awaits()
        if awaited != self._awaited:
            self._awaited, self._since = awaited, now
        elif awaited is not None and now - self._since >= getattr(self._bounds, awaited[0]):
            PARTINGS[awaited[0]](self)

    def _awaits(self) -> Awaited | None:
        if self.transport.is_closing() or (self._answered and self.flow.write_paused):
            return "taking", self.transport.get_write_buffer_size()
        if self._deaf:
            return "leaving", None
        newest = self.cycle
        if self._answered:
            asking = self._untold and (newest is None or not newest.more_body)
            return "head" if asking else "idle", newest
        if self.flow.read_paused or newest is None:
            return None
        if newest.more_body:
            return "body", self._pieces
        return ("head", newest) if self._untold else None

    def head_is_late(self) -> None:
        """Refuses a request that does not come to the end of its head."""
        self._refusal = too_slow("head")
        self.send_400_response("")

    def body_is_late(self) -> None:
        """Refuses the newest request, the rest of whose body does not come."""
        if isinstance(self.cycle, Line):
            self.cycle.fail(too_slow("body"))
        else:
            self._refuse_page(too_slow("body"))

    def shutdown(self) -> None:
        """What is being asked or answered is the last that this connection carries."""
        self._last = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        """Closes if nothing is being asked or answered."""
        awaited = self._awaits()
        if awaited is not None and awaited[0] == "idle":
            self.hang_up()

    def give_up(self) -> None:
        """Hears nothing more, and tells a client that is still asking. A call tells so itself when it is cancelled."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        if not self._answered:
            if not isinstance(self.cycle, Line):
                self._refuse_page(shutting_down())
        elif self._untold:
            self._refuse(shutting_down())
        else:
            self.transport.close()

    # From the parser

    def on_message_begin(self) -> None:
        """uvicorn would make a scope here; calls need none."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._untold = self._read
        self._hosts = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
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
        line.keep_alive = line.keep_alive and self.parser.should_keep_alive() and not self._last
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
        self.scope["state"]["stopping"] = self._last
        super().on_headers_complete()
        if self._last and self.cycle is not None:
            self.cycle.keep_alive = False

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
            self._refusal = head_too_large()
            raise httptools.HttpParserError("head too large")
        if self._hosts > 1 or (not self._hosts and self.parser.get_http_version() != "1.0"):
            self._refusal = not_one_host()
            raise httptools.HttpParserError("host")

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    # Refusing

    def send_400_response(self, msg: str) -> None:
        """Answers what could not be parsed, and closes; after the answers that are due before."""
        if not self._answered and self.cycle is not None and not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif self.pipeline:
            self.transport.close()
        else:
            self._refuse(self._refusal or unreadable())

    def _refuse(self, error: GatewayError) -> None:
        body = orjson.dumps(error.envelope())
        head = (
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {new_request_id(self.loop.time())}\r\nconnection: close\r\n"
        )
        if error.retry_after is not None:
            head += f"retry-after: {error.retry_after:.0f}\r\n"
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[error.status], head.encode(), body))
        self._linger()
        self._tell()

    def _refuse_page(self, error: GatewayError) -> None:
        """Refuses the newest request, which goes the way of ASGI; or only closes, if something is said already."""
        page = self.cycle
        if page is self._answering and isinstance(page, RequestResponseCycle) and not page.response_started:
            self._refuse(error)
        else:
            self.transport.close()

    def hang_up(self) -> None:
        """Closes once everything is sent."""
        if self.cycle is not None and self.cycle.more_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Says nothing more, but does not close under a client that is still sending: see `Bounds.leaving`."""
        self.transport.write_eof()
        self._deaf = True

    # Answering

    @property
    def _answered(self) -> bool:
        """Whether nothing is being answered."""
        return self._answering is None or self._answering.response_complete

    def _start_asgi_task(self, cycle: Line | RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        if isinstance(cycle, Line):
            cycle.start()
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


def new_request_id(now: float) -> str:
    """Unlike any other; that it cannot be guessed is not asked of it. `now` is in seconds.

    Those of later calls sort behind: a database finds the place of each in the pages of those before it. Of random ones
    each would touch a page of its own, and seven times as much would be written.
    """
    return f"req_{int(now * 1_000_000):014x}{getrandbits(40):010x}"


Awaited = tuple[str, object]
"""What a client is to do, as `Bounds` names it, and what changes as it gets on with that. None: it waits for us."""

PARTINGS: Mapping[str, Callable[[GatewayProtocol], None]] = {
    "head": GatewayProtocol.head_is_late,
    "body": GatewayProtocol.body_is_late,
    "idle": GatewayProtocol.hang_up,
    "taking": lambda connection: connection.transport.abort(),
    "leaving": lambda connection: connection.transport.close(),
}
"""What comes of a client that has had its time."""
