"""The client's side of an exchange: statuses, headers, streams, heartbeats, errors. It knows nothing of providers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache

import orjson

from gateway.core.call import Headers
from gateway.core.errors import GatewayError
from gateway.engine.entry import Entry
from gateway.ports import Clock
from gateway.web.allowance import allowance
from gateway.web.line import Line, lines

HEARTBEAT = 15.0
"""Seconds of silence after which a stream's client is told that we are alive. Load balancers cut it off after 60."""

EARLY = 0.05
"""Seconds by which a heartbeat may come too soon: timers do not keep time to the millisecond."""

STALLED = 60.0
"""Seconds after which a client that takes no more bytes is sent away: it holds a provider's stream open."""

PING = b": ping\n\n"
"""A comment: the one form of heartbeat that every SDK ignores."""

LONG_WAIT = 60.0
"""Seconds. SDKs differ on longer waits (openai-node 6 sleeps them out, come what may): not theirs to retry."""

JSON = b"content-type: application/json\r\n"
EVENT_STREAM = lines(
    (
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
    )
)


class Reply:
    """Answers one call. The status goes out with the first byte, so until then a call may still fail with its own."""

    def __init__(
        self,
        line: Line,
        entry: Entry,
        clock: Clock,
        close_books: Callable[[Entry], None],
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._line = line
        self._entry = entry
        self._clock = clock
        self._close_books = close_books
        """Called before the client can tell that its answer is complete, whatever it is."""
        self._heartbeat = heartbeat
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None
        self._touched = entry.started
        self._writing = False
        self.started = False

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._line.gone

    def keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on until the end, the client of this stream hears from us at least once in a heartbeat."""
        self._timer = loop.call_later(self._heartbeat, self._beat, loop)

    async def write(self, data: bytes) -> None:
        if not self.started:
            # A heartbeat may be the first thing a client hears, when it is not yet known who will serve it.
            known = self._entry.committed
            told = served(self._entry, self._clock()) if known else lines(request_id(self._entry))
            self._start(200)
            self._line.begin(200, EVENT_STREAM + told)
        self._touched = self._clock()
        self._line.send(data)
        if self._line.full:
            await self._drained()

    async def conclude(self) -> None:
        self._entry.status = self._entry.status or 200  # of one that came whole nothing was written yet
        self._close_books(self._entry)

    async def finish(self) -> None:
        self._no_ping()
        if self._line.full:
            await self._drained()  # before the timer stops: a client that takes no more is sent away at the end too
        self._line.end()
        self.close()

    async def whole(self, body: bytes) -> None:
        self._start(200)
        self._close_books(self._entry)
        self._line.answer(200, JSON + served(self._entry, self._clock()), body)

    async def refuse(self, error: GatewayError) -> None:
        """Tells of an error: as a status, or inside a stream that has begun, which then ends without `[DONE]`."""
        self._no_ping()
        body = orjson.dumps(error.envelope())
        if not self.started:
            self.close()
            self._start(error.status)
            self._close_books(self._entry)
            self._line.answer(error.status, JSON + refused_headers(self._entry, error), body)
        else:
            self._close_books(self._entry)
            await self.write(b"data: " + body + b"\n\n")
            await self.finish()

    def close(self) -> None:
        """No more heartbeats."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._no_ping()

    def _no_ping(self) -> None:
        """One that is about to go out must not follow the end."""
        if self._ping is not None:
            self._ping.cancel()

    async def _drained(self) -> None:
        self._writing = True
        await self._line.drained()
        self._writing = False

    def _start(self, status: int) -> None:
        self.started = True
        self._entry.status = self._entry.status or status

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        silent = self._clock() - self._touched
        if self._writing:
            if silent >= STALLED:
                return self._line.abort()
        elif silent >= self._heartbeat - EARLY:
            self._ping = loop.create_task(self.write(PING))
            silent = 0.0
        self._timer = loop.call_later(max(self._heartbeat - silent, EARLY), self._beat, loop)
        return None


def request_id(entry: Entry) -> Headers:
    return ((b"x-request-id", entry.id.encode()),)


def served(entry: Entry, now: float) -> bytes:
    """Header lines: who answered, after how many attempts, and what the gateway itself took."""
    target = entry.target
    provider, model = (target.provider, target.model) if target else ("", "")
    return b"x-request-id: %b\r\n%b%bx-gateway-overhead-ms: %.2f\r\n" % (
        entry.id.encode(),
        _who(provider, model, len(entry.tried) + (entry.under_way is not None), entry.dropped),
        allowance(entry.standings) if entry.standings else b"",
        entry.overhead(now) * 1000,
    )


@lru_cache(maxsize=1024)
def _who(provider: str, model: str, attempts: int, dropped: tuple[str, ...]) -> bytes:
    headers: Headers = (
        (b"x-gateway-provider", _value(provider)),
        (b"x-gateway-model", _value(model)),
        (b"x-gateway-attempts", b"%d" % attempts),
    )
    if dropped:
        headers += ((b"x-gateway-dropped-params", _value(", ".join(dropped))),)
    return lines(headers)


def refused_headers(entry: Entry, error: GatewayError) -> bytes:
    """Header lines: what SDKs read of an error beside its body."""
    headers = request_id(entry)
    if entry.tried:
        headers += ((b"x-gateway-attempts", b"%d" % len(entry.tried)),)
    if error.status == 401:
        headers += ((b"www-authenticate", b"Bearer"),)
    wait, retry = error.retry_after, error.should_retry
    if wait is not None:
        headers += ((b"retry-after", b"%d" % -(-wait // 1)), (b"retry-after-ms", b"%d" % -(-wait * 1000 // 1)))
        retry = False if wait > LONG_WAIT else retry
    if retry is not None:
        headers += ((b"x-should-retry", b"true" if retry else b"false"),)
    return lines(headers) + allowance(entry.standings)


def _value(text: str) -> bytes:
    """Names from the configuration may be in any script; a header's value is ASCII."""
    return text.encode("ascii", "backslashreplace")
