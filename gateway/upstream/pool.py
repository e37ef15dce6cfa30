"""
The connections to one upstream: which are open, and which of those are idle.

Rule 1: the connection used last is taken first, so that a pool that was once large shrinks to what is needed.
Rule 2: an idle connection on which anything happens is gone. Nobody asked, so it is the end, or an error, or a lie.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from math import inf
from typing import Protocol, cast

from gateway.core.errors import Failure, UpstreamError
from gateway.outlet import Outlet
from gateway.ports import Clock

MAX_IDLE = 256
"""Idle connections that are kept. Open ones are not limited: how many calls may run is decided by policy."""

SMALL = 64 * 1024
"""Bytes of a body that are copied to stand behind the head."""

SWEEP = 0.1
"""Seconds between two looks at what has expired, at least: those that expire together are closed together."""

KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4))
"""A model that thinks for minutes sends nothing. Probes keep the NAT on the way from forgetting the connection
(AWS's after 350 s, Azure's after 240 s) and find out about a peer that is gone."""


class Listener(Protocol):
    """Whoever uses a connection, and is told what happens on it."""

    def heard(self, data: bytes) -> None:
        """Bytes came."""

    def ended(self) -> None:
        """The upstream has said all it will say."""

    def lost(self, error: Exception | None) -> None:
        """The connection broke."""

    def rung(self) -> None:
        """The time has come of which it wanted to be reminded, or an earlier one."""


class Connection(asyncio.Protocol):
    """One socket to an upstream, for one listener at a time."""

    __slots__ = ("_alarm", "_alarm_at", "_pool", "_transport", "listener")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: Outlet | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self.listener: Listener | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        own = cast(asyncio.Transport, transport)  # uvloop has its own, of no common class
        self._transport = Outlet(own, asyncio.get_running_loop())
        self._pool.opened(self)
        _probe_when_silent(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        if self.listener is None:
            self.abort()
        else:
            self.listener.heard(data)

    def eof_received(self) -> None:
        assert self._transport is not None
        if self.listener is not None and _said_goodbye(self._transport.get_extra_info("ssl_object")):
            self.listener.ended()
        self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._pool.closed(self)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self.listener is not None:
            self.listener.lost(error)

    def write(self, head: bytes, body: bytes) -> None:
        """Sends a request, in one piece as far as the loop can. To copy a small body costs less than a second piece."""
        assert self._transport is not None
        if len(body) <= SMALL:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def pause(self) -> None:
        """Stops reading, so that the upstream has to wait."""
        if self._transport is not None and self.is_open():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        if self._transport is not None and self.is_open():
            self._transport.resume_reading()

    def remind(self, due: float) -> None:
        """Rings no later than at `due`, a time of the pool's clock. It may ring too early, which costs only a look.

        The alarm outlives its listener and serves the next one: to set and to undo one for each exchange would cost as
        much as reading an answer's head.
        """
        if self._alarm is not None:
            if self._alarm_at <= due:
                return
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = asyncio.get_running_loop().call_later(max(0.0, due - self._pool.now()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self.listener is not None:
            self.listener.rung()

    def release(self, *, reusable: bool) -> None:
        """Its listener has done with it. It goes back to the pool, if it is fit for that and all was sent."""
        self.listener = None
        if reusable and self._transport is not None and not self._transport.get_write_buffer_size():
            self._pool.put(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Closes the socket at once; what was not sent yet never will be."""
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def is_open(self) -> bool:
        """Whether the socket is open on this side."""
        return self._transport is not None and not self._transport.is_closing()


class Pool:
    """All connections to one upstream."""

    def __init__(self, clock: Clock | None, idle_expiry: float) -> None:
        self._clock = clock
        self._idle_expiry = idle_expiry
        self._open: set[Connection] = set()
        self._idle: dict[Connection, float] = {}
        """When each became idle, the latest last."""
        self._sweep: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._closed = False

    def now(self) -> float:
        """The time by the clock that patience is measured with."""
        return self._clock() if self._clock else asyncio.get_running_loop().time()

    def take(self) -> Connection | None:
        """The idle connection that was used last, if it is fit for use."""
        while self._idle:
            connection, since = self._idle.popitem()
            if connection.is_open() and self.now() - since < self._idle_expiry:
                return connection
            connection.abort()
        return None

    def put(self, connection: Connection) -> None:
        """Keeps a connection for the next exchange."""
        self._idle[connection] = self.now()
        if len(self._idle) > MAX_IDLE:
            next(iter(self._idle)).abort()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_expiry, self._close_expired)

    def opened(self, connection: Connection) -> None:
        """A socket was opened. Called by the connection, as is `closed`."""
        self._open.add(connection)
        self._empty.clear()

    def forget(self, connection: Connection) -> None:
        """Not idle any more."""
        self._idle.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """The socket is closed on both sides."""
        self.forget(connection)
        self._open.discard(connection)
        if not self._open:
            self._empty.set()

    def check_open(self) -> None:
        """Raises UpstreamError once the pool is closed: a connection opened then would have no owner."""
        if self._closed:
            raise UpstreamError(Failure.UNREACHABLE, "this way to the provider is closed")

    async def aclose(self) -> None:
        """Closes every connection, in use or not, and waits until the sockets are closed."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            await self._empty.wait()

    def _close_expired(self) -> None:
        """One timer serves all idle connections: it goes off when the oldest may have expired."""
        self._sweep = None
        oldest = self.now() - self._idle_expiry
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            if since > oldest:
                delay = max(SWEEP, since - oldest)
                self._sweep = asyncio.get_running_loop().call_later(delay, self._close_expired)
                return
            connection.abort()


def _said_goodbye(secured: ssl.SSLObject | None) -> bool:
    """Whether an end of input is meant. TLS has an alert for that; without it anyone may have cut the connection.

    uvloop tells the two apart by itself, asyncio reports both as an end.
    """
    try:
        return secured is None or not secured.read(1)
    except ssl.SSLError:
        return False


def _probe_when_silent(connected: socket.socket) -> None:
    """Turns TCP keep-alive on. Which of its times can be set depends on the system."""
    with suppress(OSError):  # The peer may be gone already, which is for the first read to find out.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
