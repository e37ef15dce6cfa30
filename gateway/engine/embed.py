"""One attempt to embed what a client sent: one request, or several at once where a provider takes less in each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from gateway.core.call import Call, Target, UpstreamReply, UpstreamRequest
from gateway.core.embedded import Embedded, joined
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects import registry
from gateway.dialects.base import EmbeddingsDialect
from gateway.engine.house import Upstream
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
from gateway.routing.plan import Attempt
from gateway.surfaces import openai_embeddings

AT_ONCE = 4
"""Requests under way for one call. Bedrock's Titan wants one for each text: all at once would be its own denial."""

ANSWER_LIMIT = 192 * 2**20
"""Bytes of one answer. OpenAI's most, 2048 vectors of 3072 numbers each on a line of its own, has 140 MB."""


async def embed(visit: Visit, attempt: Attempt) -> None:
    """Asks one target for all vectors of the call, and answers the client. Raises UpstreamError unless all came."""
    call, entry, target = visit.call, visit.entry, attempt.target
    upstream = visit.house.upstreams[target.provider]
    dialect = _dialect(target, upstream)
    if upstream.credentials is not None:
        await waiting(upstream.credentials.ready(attempt.model.timeouts.connect), visit)
    requests = expressed(dialect.ask, call, target)
    entry.dropped = requests[0].dropped
    allow_dropped(entry.dropped, attempt.model)
    replies = await waiting(_replies(visit, attempt, upstream, requests), visit)
    embedded = joined([dialect.answer(reply) for reply in replies])
    _check_number(embedded, call)
    usage = embedded.usage
    if usage is not None and usage.total:
        entry.usage_source = "reported"
    else:  # whoever has answered has read something
        usage, entry.usage_source = visit.house.estimates.cut(call, target, 0), "estimated"
    body = openai_embeddings.answer(embedded, call, usage)
    entry.usage = usage
    await visit.client.whole(body)


def _dialect(target: Target, upstream: Upstream) -> EmbeddingsDialect:
    dialect = registry.embeddings(upstream.grammar)
    if dialect is None or "embeddings" not in target.urls:
        raise UpstreamError(Failure.UNSUPPORTED, f"The provider {target.provider} has no embeddings.", param="model")
    return dialect


def _check_number(embedded: Embedded, call: Call) -> None:
    """A vector too few or too many would give every later text that of another."""
    inputs = openai_embeddings.number_of_inputs(call.body)
    if len(embedded.vectors) != inputs:
        raise UpstreamError(Failure.MALFORMED, f"{len(embedded.vectors)} vectors for {inputs} inputs")


async def _replies(
    visit: Visit, attempt: Attempt, upstream: Upstream, requests: Sequence[UpstreamRequest]
) -> list[UpstreamReply]:
    """The answers in the order of the requests. The first failure ends all the others, and is raised."""
    if len(requests) == 1:
        return [await _reply(visit, attempt, upstream, requests[0])]
    replies: dict[int, UpstreamReply] = {}
    left = iter(enumerate(requests))

    async def work(left: Iterator[tuple[int, UpstreamRequest]]) -> None:
        for place, request in left:
            replies[place] = await _reply(visit, attempt, upstream, request)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(requests))):
                group.create_task(work(left))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [replies[place] for place in range(len(requests))]


async def _reply(visit: Visit, attempt: Attempt, upstream: Upstream, request: UpstreamRequest) -> UpstreamReply:
    """One request and its answer. Raises UpstreamError for every status but 200."""
    patience = first_patience(visit, attempt)
    connect = attempt.model.timeouts.connect
    request = authorized(request, upstream, visit.entry)
    exchange = await upstream.transport.send(request, connect=connect, patience=patience)
    try:
        if exchange.status != 200:
            raise upstream.dialect.refusal(await reply_of(exchange, REFUSAL_LIMIT))
        return await reply_of(exchange, ANSWER_LIMIT)
    finally:
        exchange.close()
