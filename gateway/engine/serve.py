"""One call through the house: try targets until one speaks, then carry its words to the client.

This is the one place that awaits a call from start to end. It knows every port; it knows neither HTTP on the client's
side (that is `gateway.web`) nor any provider (that is a dialect), and what is tried when is not its own decision (that
is `gateway.routing.plan`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from msgspec.structs import replace

from gateway.config.snapshot import Model
from gateway.core.call import Call, Target
from gateway.core.errors import Failure, GatewayError, UpstreamError
from gateway.engine.chat import chat
from gateway.engine.embed import embed
from gateway.engine.entry import Entry
from gateway.engine.hedge import race
from gateway.engine.house import House
from gateway.engine.visit import Client, Visit, waiting
from gateway.ports import Clock, Random
from gateway.routing.candidates import FULL
from gateway.routing.plan import Attempt, Plan, Route, attempts

PASSING = FULL | {Failure.SPENT}
"""Failures that pass by themselves: the client is told of the target that takes calls again first."""

WAYS: Mapping[str, Callable[[Visit, Attempt], Coroutine[Any, Any, None]]] = {"chat": chat, "embeddings": embed}
"""By endpoint: what one attempt does, from asking the upstream to answering the client."""


async def serve(
    call: Call,
    model: Model,
    house: House,
    client: Client,
    entry: Entry,
    clock: Clock,
    random: Random,
    within: float | None = None,
) -> None:
    """Answers the call from the first target that can. Raises the last UpstreamError when none could.

    `within` is how long the client waits, in seconds: for the whole answer, or for a stream to begin.
    """
    end = entry.started + model.timeouts.total
    deadline = end if within is None else min(end, entry.started + within)
    visit = Visit(call, house, client, entry, deadline, end if call.stream else deadline, clock)
    plan = attempts(Route(call, model, house.snapshot.model, house.board, clock, random, deadline))
    attempt = next(plan)
    while True:
        if attempt.delay:
            await waiting(asyncio.sleep(attempt.delay), visit)
            attempt = plan.send(None)
            continue
        try:
            if attempt.target.fetch_media and call.endpoint == "chat":  # a second time there is nothing left to fetch
                visit = await _with_media(visit, attempt.target)
            if call.stream and attempt.model.hedge:
                return await race(visit, attempt, plan, try_once)
            return await try_once(visit, attempt)
        except UpstreamError as failure:
            if entry.committed or client.gone:  # nobody else can finish half a sentence, and nobody listens
                raise
            attempt = _after(failure, plan, entry)


async def _with_media(visit: Visit, target: Target) -> Visit:
    """The same call, with the files in it that it only linked to. Raises InvalidRequest for what is not to be had."""
    try:
        async with asyncio.timeout(visit.deadline - visit.clock()):
            body = await waiting(visit.house.media.inline(visit.call.body, target.own_links), visit)
    except TimeoutError:
        raise UpstreamError(Failure.DEADLINE, "the files that the request links to took too long") from None
    return visit if body is visit.call.body else replace(visit, call=replace(visit.call, body=body))


def _after(failure: UpstreamError, plan: Plan, entry: Entry) -> Attempt:
    """The next attempt, or the failure again when there is none."""
    try:
        return plan.send(failure)
    except StopIteration as end:
        if failure.failure in PASSING and end.value is not None:
            failure.retry_after = end.value
        # SDKs try again by themselves; what has been tried to the end here would only be multiplied by that.
        if failure.failure is Failure.BILLING or (len(entry.tried) > 1 and failure.retry_after is None):
            failure.should_retry = False
        raise failure from None


async def try_once(visit: Visit, attempt: Attempt) -> None:
    """One attempt, told to the board and noted in the entry however it ends."""
    house, entry, clock, target = visit.house, visit.entry, visit.clock, attempt.target
    limits = house.toll.limits(entry.key, target)
    if limits or entry.reservation is not None:
        await house.toll.reserve(limits, visit.call, target, entry)
    if target.concurrent is not None:
        await _turn(visit, target)
    since, outcome, said = clock(), "cancelled", ""
    entry.begin(target, since)
    probe = house.board.begin(target, again=attempt.again)
    try:
        if visit.client.gone:  # while the call waited for its turn
            raise asyncio.CancelledError
        await WAYS[visit.call.endpoint](visit, attempt)
        outcome = "ok"
        house.board.succeeded(target, since, attempt.model)
    except UpstreamError as failure:
        failure.conceal(house.upstreams[target.provider].secrets)
        outcome, said = failure.failure, failure.noted
        house.board.failed(target, since, attempt.model, failure)
        if not entry.committed:
            entry.lose()
        raise
    except GatewayError:
        outcome = "refused"  # by ourselves: nothing was asked
        raise
    finally:
        house.board.end(target, probe=probe)
        house.gates.left(target)
        entry.note(outcome, clock(), said)


async def _turn(visit: Visit, target: Target) -> None:
    """Waits for room at a target. Raises Overloaded, or UpstreamError if it has asked to be left alone meanwhile."""
    house = visit.house
    await waiting(house.gates.enter(target, visit.entry.key, visit.deadline), visit)
    health = house.board.of(target)
    if (wait := health.asked(visit.clock())) and health.cooldown is not None:
        house.gates.left(target)
        raise UpstreamError(health.cooldown.why, "it has asked to be left alone", retry_after=wait)
