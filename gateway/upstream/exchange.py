"""
One request under way on a connection: writes it, reads the answer, keeps the time.

An exchange lets go of its connection as soon as the answer has come to its end, whoever has read it by then. From that
moment there is nothing left that could go wrong, and nothing to close.
"""

from __future__ import annotations

import asyncio
from math import inf

from gateway.core.call import Headers
from gateway.core.errors import Failure, UpstreamError
from gateway.ports import Clock, Patience
from gateway.upstream.http1 import Answer
from gateway.upstream.pool import Connection

MAX_UNREAD = 256 * 1024
"""Bytes of body that may wait for a slow reader before the upstream has to wait too."""

TICK = 0.001
"""Seconds by which a timer may be early: uvloop's count whole milliseconds."""


class HttpExchange:
    """`gateway.ports.Exchange` over HTTP/1.1. One task may wait for it at a time."""

    __slots__ = (
        *("_answer", "_clock", "_connection", "_failure", "_heard_at", "_patience", "_paused", "_waiter"),
        *("headers", "status", "unheard"),
    )

    def __init__(self, connection: Connection, patience: Patience, clock: Clock) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.unheard = False
        """Whether the connection was lost before a single byte of the answer had come."""
        self._connection: Connection | None = connection
        self._clock = clock
        self._answer = Answer()
        self._failure: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._heard_at = clock()
        self._patience = patience
        self._arm()
        connection.listener = self

    @property
    def patience(self) -> Patience:
        return self._patience

    @patience.setter
    def patience(self, patience: Patience) -> None:
        self._patience = patience
        self._arm()

    async def ask(self, head: bytes, body: bytes) -> HttpExchange:
        """Sends the request, and waits for the head of the answer."""
        assert self._connection is not None
        self._connection.write(head, body)
        try:
            while not self._answer.status:
                await self._news()
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None
        self.status = self._answer.status
        self.headers = self._answer.headers
        return self

    async def read(self) -> bytes:
        """See the port. Cancelling it closes the exchange. Body that came before a failure is given before that."""
        assert self._waiter is None, "two tasks wait for one exchange"
        try:
            while not (data := self._take()) and not self._answer.complete:
                await self._news()
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None
        return data

    def close(self) -> None:
        """See the port."""
        if self._connection is not None:
            self._fail(UpstreamError(Failure.TRUNCATED, "the exchange was closed on this side"))

    def heard(self, data: bytes) -> None:
        """See `gateway.upstream.pool.Listener`, for `ended` and `lost` too."""
        self._heard_at = self._clock()
        try:
            self._answer.feed(data)
        except UpstreamError as error:
            self._fail(error)
            return
        if self._answer.complete:
            self._leave(reusable=self._answer.reusable)
        elif self._answer.unread > MAX_UNREAD and not self._paused:
            self._pause()
        self._wake()

    def ended(self) -> None:
        self.unheard = not self._answer.begun
        try:
            self._answer.end()
        except UpstreamError as error:
            self._fail(error)
        else:
            self._leave(reusable=False)
            self._wake()

    def lost(self, error: Exception | None) -> None:
        # No way to end, not even for an answer that ends with its connection: TLS that stops without its closing
        # alert comes here too, and may have been cut by anyone (RFC 9112 section 9.8).
        self.unheard = not self._answer.begun
        failure = Failure.TRUNCATED if self._answer.status else Failure.UNREACHABLE
        self._fail(UpstreamError(failure, f"the connection broke: {error or 'closed'}"))

    def _take(self) -> bytes:
        try:
            data = self._answer.take()
        except UpstreamError as error:
            self._fail(error)
            raise
        if self._paused and self._answer.unread <= MAX_UNREAD:
            self._resume()
        return data

    def _pause(self) -> None:
        assert self._connection is not None
        self._paused = True
        self._connection.pause()

    def _resume(self) -> None:
        self._paused = False
        if self._connection is not None:
            self._connection.resume()
            self._heard_at = self._clock()
            self._arm()

    def _news(self) -> asyncio.Future[None]:
        """Done as soon as something happens; a coroutine would cost each chunk more. Raises what has failed already."""
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        self._failure = error
        self._leave(reusable=False)
        self._wake()

    def _leave(self, *, reusable: bool) -> None:
        """Lets go of the parser and the connection. The first call counts."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._answer.stop()
            connection.release(reusable=reusable)

    def _due(self) -> float:
        """When patience runs out. Silence that we asked for, by not reading, is not counted."""
        silent = inf if self._paused else self._heard_at + self._patience.idle
        return min(self._patience.until, silent)

    def _arm(self) -> None:
        if self._connection is not None and (due := self._due()) < inf:
            self._connection.remind(due)

    def rung(self) -> None:
        due = self._due()
        if self._clock() < due - TICK:
            self._arm()
        elif self._waiter is not None and self._waiter.done():
            # News has come in time, and its reader, who is up next, may have more patience after it.
            asyncio.get_running_loop().call_soon(self.rung)
        elif due == self._patience.until:
            self._fail(UpstreamError(self._patience.failure, "the time for this answer ran out"))
        else:
            self._fail(UpstreamError(Failure.IDLE_TIMEOUT, f"silent for {self._patience.idle:g} s"))
