"""One call through the house: try targets until one speaks, then carry its words to the client.

This is the one place that awaits a call from start to end. It knows every port; it knows neither HTTP on the client's
side (that is `gateway.web`) nor any provider (that is a dialect).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import NamedTuple, Protocol, TypeVar

from gateway.config.snapshot import Model
from gateway.core.call import Call, UpstreamReply, UpstreamRequest
from gateway.core.errors import Failure, UpstreamError
from gateway.engine.entry import Entry
from gateway.engine.house import House, Upstream
from gateway.engine.lanes import Lane, answer, lane, retold
from gateway.ports import Clock, Exchange, Patience, Random
from gateway.routing.plan import Attempt, attempts
from gateway.upstream.transport import read_all

T = TypeVar("T")

ANSWER_LIMIT = 64 * 2**20
"""Bytes of an unstreamed answer. The largest real ones carry images or audio in base64: a few megabytes."""

WHOLE_TYPES = (b"application/json", b"text/html")
"""Media types of what is no stream, whatever was asked for. A proxy's apology in HTML is one of them."""

REFUSAL_LIMIT = 256 * 1024
"""Bytes of an error's body: more than that explains nothing."""


class Client(Protocol):
    """The caller, as the engine sees it. The status goes out with the first byte: until then a call may still fail."""

    async def write(self, data: bytes) -> None:
        """The next piece of a streamed answer."""

    async def finish(self) -> None:
        """The streamed answer is complete."""

    async def whole(self, body: bytes) -> None:
        """The answer, all at once."""


class Visit(NamedTuple):
    """What every step of one call needs."""

    call: Call
    house: House
    client: Client
    entry: Entry
    deadline: float
    """The point in time at which the whole call must have ended, over all attempts."""
    clock: Clock


async def serve(
    call: Call, model: Model, house: House, client: Client, entry: Entry, clock: Clock, random: Random
) -> None:
    """Answers the call from the first target that can. Raises the last UpstreamError when none could."""
    visit = Visit(call, house, client, entry, entry.started + model.timeouts.total, clock)
    plan = attempts(model, house.snapshot.model, random)
    attempt = next(plan)
    while True:
        try:
            return await _attempt(visit, attempt)
        except UpstreamError as failure:
            if entry.committed:  # the client has heard half a sentence: no one else can finish it
                raise
            attempt = _after(failure, plan, entry, visit.deadline - clock())
        if attempt.delay:
            await _waiting(asyncio.sleep(attempt.delay), visit)


def _after(failure: UpstreamError, plan: Generator[Attempt, UpstreamError, None], entry: Entry, left: float) -> Attempt:
    """The next attempt, or the failure again when there is none or no time for it."""
    try:
        attempt = plan.send(failure)
    except StopIteration:
        attempt = None
    if attempt is None or attempt.delay >= left:
        # SDKs try again by themselves; what has been tried to the end here would only be multiplied by that.
        failure.should_retry = False if len(entry.tried) > 1 and failure.retry_after is None else failure.should_retry
        raise failure
    return attempt


async def _attempt(visit: Visit, attempt: Attempt) -> None:
    """One attempt, noted in the entry however it ends."""
    since, outcome, said = visit.clock(), "cancelled", ""
    visit.entry.target = attempt.target
    try:
        await _exchange(visit, attempt)
        outcome = "ok"
    except UpstreamError as failure:
        failure.conceal(visit.house.upstreams[attempt.target.provider].secrets)
        outcome, said = failure.failure, failure.noted
        raise
    finally:
        visit.entry.note(attempt.target, outcome, since, visit.clock(), said)


async def _exchange(visit: Visit, attempt: Attempt) -> None:
    upstream = visit.house.upstreams[attempt.target.provider]
    exchange = await _waiting(_send(visit, attempt, upstream), visit)
    try:
        if exchange.status != 200:
            raise upstream.dialect.refusal(await _reply(exchange, REFUSAL_LIMIT, visit))
        if visit.call.stream:
            await _stream(visit, attempt, upstream, exchange)
        else:
            await _whole(visit, upstream, exchange)
    finally:
        exchange.close()


def _send(visit: Visit, attempt: Attempt, upstream: Upstream) -> Awaitable[Exchange]:
    """The request on its way. Its bytes, which may hold images, are not kept while the answer streams."""
    call, timeouts = visit.call, attempt.model.timeouts
    request = upstream.dialect.ask(call, attempt.target)
    visit.entry.dropped = request.dropped
    now = visit.clock()
    patience = Patience(visit.deadline, Failure.DEADLINE)
    if call.stream and now + timeouts.first_token < visit.deadline:
        patience = Patience(now + timeouts.first_token, Failure.FIRST_TOKEN_TIMEOUT)
    connect = min(timeouts.connect, visit.deadline - now)
    return upstream.transport.send(_authorized(request, upstream), connect=connect, patience=patience)


async def _whole(visit: Visit, upstream: Upstream, exchange: Exchange) -> None:
    reply = await _reply(exchange, ANSWER_LIMIT, visit)
    told = answer(visit.call, upstream.grammar, upstream.dialect, reply, int(visit.entry.time))
    visit.entry.usage, visit.entry.carried = told.usage, told.carried
    await visit.client.whole(told.body)


async def _stream(visit: Visit, attempt: Attempt, upstream: Upstream, exchange: Exchange) -> None:
    created = int(visit.entry.time)
    if _came_whole(exchange):  # an error that came with a 200, or a server that does not stream
        reply = await _reply(exchange, ANSWER_LIMIT, visit)
        way: Lane = retold(visit.call, upstream.dialect, reply, created)
    else:
        way = lane(visit.call, attempt.target, upstream.grammar, upstream.dialect, created)
    try:
        await _carry(visit, attempt, exchange, way)
    finally:
        visit.entry.usage, visit.entry.carried = way.usage, way.carried


async def _carry(visit: Visit, attempt: Attempt, exchange: Exchange, way: Lane) -> None:
    """Bytes from the upstream to the client until the answer is complete."""
    client, entry = visit.client, visit.entry
    while data := await _read(exchange, visit):
        try:
            out = way.feed(data)
        except UpstreamError:
            if entry.committed:
                await client.write(way.release())
            raise
        if way.spoke and not entry.committed:
            entry.first_token = visit.clock()
            exchange.patience = Patience(visit.deadline, Failure.DEADLINE, attempt.model.timeouts.idle)
        if out:
            await client.write(out)
    out = way.end()
    entry.first_token = entry.first_token or visit.clock()
    await client.write(out)
    await client.finish()


async def _reply(exchange: Exchange, limit: int, visit: Visit) -> UpstreamReply:
    """The whole answer. Raises UpstreamError when it is longer than the limit."""
    body = await _waiting(read_all(exchange, limit), visit)
    return UpstreamReply(exchange.status, exchange.headers, body)


async def _read(exchange: Exchange, visit: Visit) -> bytes:
    """As `_waiting(exchange.read(), visit)`, with a coroutine less for each chunk."""
    since = visit.clock()
    try:
        return await exchange.read()
    finally:
        visit.entry.waited += visit.clock() - since


async def _waiting(awaited: Awaitable[T], visit: Visit) -> T:
    """Waits for the upstream, and keeps count of it: what is not waiting is our own overhead."""
    since = visit.clock()
    try:
        return await awaited
    finally:
        visit.entry.waited += visit.clock() - since


def _authorized(request: UpstreamRequest, upstream: Upstream) -> UpstreamRequest:
    headers = request.headers + upstream.authorize(request)
    return UpstreamRequest(request.method, request.url, headers, request.body, request.dropped)


def _came_whole(exchange: Exchange) -> bool:
    return any(name == b"content-type" and value.startswith(WHOLE_TYPES) for name, value in exchange.headers)
