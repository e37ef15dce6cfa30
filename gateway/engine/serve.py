"""One call through the house: try targets until one speaks, then carry its words to the client.

This is the one place that awaits a call from start to end. It knows every port; it knows neither HTTP on the client's
side (that is `gateway.web`) nor any provider (that is a dialect).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any

from gateway.config.snapshot import Model
from gateway.core.call import Call, Target
from gateway.core.errors import Failure, GatewayError, UpstreamError
from gateway.engine.embed import embed
from gateway.engine.entry import Entry
from gateway.engine.house import House, Upstream
from gateway.engine.lanes import Lane, answer, lane, retold
from gateway.engine.visit import REFUSAL_LIMIT, Client, Visit, allow_dropped, authorized, expressed, reply_of, waiting
from gateway.ports import Clock, Exchange, Patience, Random
from gateway.routing.plan import Attempt, attempts

ANSWER_LIMIT = 64 * 2**20
"""Bytes of an unstreamed answer. The largest real ones carry images or audio in base64: a few megabytes."""

WHOLE_TYPES = (b"application/json", b"text/html")
"""Media types of what is no stream, whatever was asked for. A proxy's apology in HTML is one of them."""


async def serve(
    call: Call, model: Model, house: House, client: Client, entry: Entry, clock: Clock, random: Random
) -> None:
    """Answers the call from the first target that can. Raises the last UpstreamError when none could."""
    visit = Visit(call, house, client, entry, entry.started + model.timeouts.total, clock)
    plan = attempts(model, house.snapshot.model, random)
    attempt = next(plan)
    while True:
        try:
            if attempt.target.fetch_media and call.endpoint == "chat":  # a second time there is nothing left to fetch
                visit = await _with_media(visit, attempt.target)
            return await _attempt(visit, attempt)
        except UpstreamError as failure:
            if entry.committed:  # the client has heard half a sentence: no one else can finish it
                raise
            attempt = _after(failure, plan, entry, visit.deadline - clock())
        if attempt.delay:
            await waiting(asyncio.sleep(attempt.delay), visit)


async def _with_media(visit: Visit, target: Target) -> Visit:
    """The same call, with the files in it that it only linked to. Raises InvalidRequest for what is not to be had."""
    try:
        async with asyncio.timeout(visit.deadline - visit.clock()):
            body = await waiting(visit.house.media.inline(visit.call.body, target.own_links), visit)
    except TimeoutError:
        raise UpstreamError(Failure.DEADLINE, "the files that the request links to took too long") from None
    return visit if body is visit.call.body else visit._replace(call=visit.call._replace(body=body))


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
        await WAYS[visit.call.endpoint](visit, attempt)
        outcome = "ok"
    except UpstreamError as failure:
        failure.conceal(visit.house.upstreams[attempt.target.provider].secrets)
        outcome, said = failure.failure, failure.noted
        raise
    except GatewayError:
        outcome = "refused"  # by ourselves: nothing was asked
        raise
    finally:
        visit.entry.note(attempt.target, outcome, since, visit.clock(), said)


async def _chat(visit: Visit, attempt: Attempt) -> None:
    upstream = visit.house.upstreams[attempt.target.provider]
    if upstream.credentials is not None:
        await waiting(upstream.credentials.ready(attempt.model.timeouts.connect), visit)
    exchange = await waiting(_send(visit, attempt, upstream), visit)
    try:
        if exchange.status != 200:
            raise upstream.dialect.refusal(await waiting(reply_of(exchange, REFUSAL_LIMIT), visit))
        if visit.call.stream:
            await _stream(visit, attempt, upstream, exchange)
        else:
            await _whole(visit, upstream, exchange)
    finally:
        exchange.close()


WAYS: Mapping[str, Callable[[Visit, Attempt], Coroutine[Any, Any, None]]] = {"chat": _chat, "embeddings": embed}
"""By endpoint: what one attempt does, from asking the upstream to answering the client."""


def _send(visit: Visit, attempt: Attempt, upstream: Upstream) -> Awaitable[Exchange]:
    """The request on its way. Its bytes, which may hold images, are not kept while the answer streams."""
    call, timeouts = visit.call, attempt.model.timeouts
    request = expressed(upstream.dialect.ask, call, attempt.target)
    visit.entry.dropped = request.dropped
    allow_dropped(request.dropped, attempt.model)
    now = visit.clock()
    patience = Patience(visit.deadline, Failure.DEADLINE)
    if call.stream and now + timeouts.first_token < visit.deadline:
        patience = Patience(now + timeouts.first_token, Failure.FIRST_TOKEN_TIMEOUT)
    connect = min(timeouts.connect, visit.deadline - now)
    return upstream.transport.send(authorized(request, upstream), connect=connect, patience=patience)


async def _whole(visit: Visit, upstream: Upstream, exchange: Exchange) -> None:
    reply = await waiting(reply_of(exchange, ANSWER_LIMIT), visit)
    told = answer(visit.call, upstream.grammar, upstream.dialect, reply, int(visit.entry.time))
    visit.entry.usage, visit.entry.carried = told.usage, told.carried
    await visit.client.whole(told.body)


async def _stream(visit: Visit, attempt: Attempt, upstream: Upstream, exchange: Exchange) -> None:
    created = int(visit.entry.time)
    if _came_whole(exchange):  # an error that came with a 200, or a server that does not stream
        reply = await waiting(reply_of(exchange, ANSWER_LIMIT), visit)
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


async def _read(exchange: Exchange, visit: Visit) -> bytes:
    """As `waiting(exchange.read(), visit)`, with a coroutine less for each chunk."""
    since = visit.clock()
    try:
        return await exchange.read()
    finally:
        visit.entry.waited += visit.clock() - since


def _came_whole(exchange: Exchange) -> bool:
    return any(name == b"content-type" and value.startswith(WHOLE_TYPES) for name, value in exchange.headers)
