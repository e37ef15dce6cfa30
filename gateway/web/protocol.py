"""The HTTP server's connection, with what uvicorn's lacks.

It tells a call at once that its client has hung up, so that no task per call has to watch for it; it bounds the size
of a request's head, of which uvicorn 0.54 takes any number of megabytes; it answers what it cannot parse in the
envelope; it wants the one `Host` that HTTP/1.1 asks for; and it keeps trailers out of the headers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

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

HANG_UP = "gateway.hang_up"
"""Key in a scope's extensions, under which a call finds its `HangUp`."""


class HangUp:
    """How a call learns that its client has gone, and how it can send it away."""

    __slots__ = ("_transport", "gone", "told")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.gone = False
        self.told: Callable[[], object] | None = None
        """Called once, when the client hangs up before its answer is complete."""

    def tell(self) -> None:
        self.gone = True
        if self.told is not None:
            self.told()

    def abort(self) -> None:
        """Ends the connection without another word."""
        self._transport.abort()


class GatewayProtocol(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head = 0
        self._untold = 0
        self._refusal: GatewayError | None = None
        self._deaf = False
        self._answering: RequestResponseCycle | None = None
        """The request that is being answered, or was last. With pipelining it is not `cycle`: that is the newest."""

    # From the event loop

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipeline.clear()
        super().connection_lost(exc)
        self._tell()

    def data_received(self, data: bytes) -> None:
        if self._deaf or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._untold += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        # A line that has not ended yet has not been told to on_header: only its bytes can be counted.
        if self._untold > 2 * MAX_HEAD:
            self._refusal = _too_large()
            self.send_400_response("")

    def _parse(self, data: bytes) -> None:
        """An upgrade is not accepted, and the connection goes on as it was (RFC 9110, section 7.8).

        The parser takes whatever follows an upgrade for another protocol, a request's body too: Java's client asks for
        one with every POST. So the head is read again without it.
        """
        rest = memoryview(data)
        while rest:
            try:
                return self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                head = self._without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(head)
        return None

    def _without_upgrade(self) -> bytes:
        """The head that has just been read, without the header that the parser stumbles over."""
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([line, *headers, b"", b""])

    # From the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head, self._untold = True, 0, 0
        self.scope["extensions"] = {HANG_UP: HangUp(self.transport)}  # type: ignore[dict-item]

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the body these are trailers, which may not pass for headers (RFC 9110, section 6.5.1).
        if self._in_head:
            super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._check_host()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError("not a proxy")
            return
        super().on_headers_complete()
        if len(self.pipeline) <= MAX_WAITING:
            self.flow.resume_reading()  # whoever does not read cannot see that the client has left

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._untold = 0

    def on_message_complete(self) -> None:
        self._untold = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _check_host(self) -> None:
        """RFC 9112, section 3.2. Where several stand, which one counts is for every server on the way to guess."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
            self._refusal = InvalidRequest("The request must have one Host header.")
            raise httptools.HttpParserError("host")

    def _count(self, size: int) -> None:
        self._head, self._untold = self._head + size, 0
        if self._head > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self._refusal = _too_large()
            raise httptools.HttpParserError("head too large")

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
            cycle.scope["extensions"][HANG_UP].tell()  # type: ignore[attr-defined]


def new_request_id() -> str:
    return "req_" + os.urandom(12).hex()


def _too_large() -> GatewayError:
    return NotServed(431, f"The request's headers are too large: at most {MAX_HEADERS} headers and {MAX_HEAD} bytes.")
