"""One attempt at a chat: ask one target, and carry its answer to the client, whole or as a stream."""

from __future__ import annotations

from collections.abc import Awaitable

from gateway.core.call import UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.engine.house import Upstream
from gateway.engine.lanes import Lane, answer, lane, retold
from gateway.engine.visit import (
    REFUSAL_LIMIT,
    Visit,
    allow_dropped,
    authorized,
    expressed,
    first_patience,
    reply_of,
    waiting,
)
from gateway.ports import Exchange, Patience
from gateway.routing.plan import Attempt

ANSWER_LIMIT = 64 * 2**20
"""Bytes of an unstreamed answer. The largest real ones carry images or audio in base64: a few megabytes."""

WHOLE_TYPES = (b"application/json", b"text/html")
"""Media types of what is no stream, whatever was asked for. A proxy's apology in HTML is one of them."""


async def chat(visit: Visit, attempt: Attempt) -> None:
    """Asks one target, and answers the client. Raises UpstreamError, also after the first output has gone out."""
    since = visit.clock()
    upstream = visit.house.upstreams[attempt.target.provider]
    if upstream.credentials is not None:
        await waiting(upstream.credentials.ready(attempt.model.timeouts.connect), visit)
    exchange = await waiting(_send(visit, attempt, upstream), visit)
    try:
        if exchange.status != 200:
            raise upstream.dialect.refusal(await waiting(reply_of(exchange, REFUSAL_LIMIT), visit))
        if visit.call.stream:
            await _stream(visit, attempt, upstream, exchange, since)
        else:
            reply = await waiting(reply_of(exchange, ANSWER_LIMIT), visit)
            await visit.client.whole(_retold(visit, upstream, reply))
    finally:
        exchange.close()


def _send(visit: Visit, attempt: Attempt, upstream: Upstream) -> Awaitable[Exchange]:
    """The request on its way. Its bytes, which may hold images, are not kept while the answer streams."""
    call, timeouts = visit.call, attempt.model.timeouts
    request = expressed(upstream.dialect.ask, call, attempt.target)
    visit.entry.dropped = request.dropped
    allow_dropped(request.dropped, attempt.model)
    patience = first_patience(visit, attempt)
    request = authorized(request, upstream, visit.entry)
    return upstream.transport.send(request, connect=timeouts.connect, patience=patience)


def _retold(visit: Visit, upstream: Upstream, reply: UpstreamReply) -> bytes:
    """The answer as the client gets it."""
    told = answer(visit.call, upstream.grammar, upstream.dialect, reply, int(visit.entry.time))
    visit.entry.heard(told.usage, told.carried)
    return told.body


async def _stream(visit: Visit, attempt: Attempt, upstream: Upstream, exchange: Exchange, since: float) -> None:
    created = int(visit.entry.time)
    if _came_whole(exchange):  # an error that came with a 200, or a server that does not stream
        reply = await waiting(reply_of(exchange, ANSWER_LIMIT), visit)
        way: Lane = retold(visit.call, upstream.dialect, reply, created)
    else:
        way = lane(visit.call, attempt.target, upstream.grammar, upstream.dialect, created)
    try:
        await _carry(visit, attempt, exchange, way, since)
    finally:
        visit.entry.heard(way.usage, way.carried, way.told)


async def _carry(visit: Visit, attempt: Attempt, exchange: Exchange, way: Lane, since: float) -> None:
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
            _commit(visit, attempt, since)
            exchange.patience = Patience(visit.end, Failure.DEADLINE, attempt.model.timeouts.idle)
        if out:
            await client.write(out)
    out = way.end()
    if not entry.committed:
        _commit(visit, attempt, since)
    entry.heard(way.usage, way.carried)
    await client.conclude()
    await client.write(out)
    await client.finish()


def _commit(visit: Visit, attempt: Attempt, since: float) -> None:
    """The commit point: from here on nobody else can be asked. `since` is when this target was."""
    visit.entry.first_token = visit.clock()
    visit.house.board.spoke(attempt.target, since)


async def _read(exchange: Exchange, visit: Visit) -> bytes:
    """As `waiting(exchange.read(), visit)`, with a coroutine less for each chunk."""
    since = visit.clock()
    try:
        return await exchange.read()
    finally:
        visit.entry.waited += visit.clock() - since


def _came_whole(exchange: Exchange) -> bool:
    return any(name == b"content-type" and value.startswith(WHOLE_TYPES) for name, value in exchange.headers)
