"""A second target is asked when the first is slow to begin: who is heard, who is told to stop, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import orjson
import pytest

from gateway.engine.entry import Entry
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, Running, config, gateway
from tests.house.test_hangup import AT_ONCE, question, until
from tests.house.test_protocol import wire
from tests.house.test_serve import LONG, failing, said

HEDGED = "    hedge: 50%\n"
SLOW = Faults(first_token_delay=0.5)
ENOUGH = 25
"""Streams after which it is known how soon a target begins. 20 would do."""


class Race(NamedTuple):
    """A gateway before two providers that it can ask at the same time."""

    first: Simulator
    second: Simulator
    running: Running


@asynccontextmanager
async def race(model: str = HEDGED, *, known: int = ENOUGH, more: str = "", retries: int = 3) -> AsyncIterator[Race]:
    """The first provider has begun so many streams quickly. At the end no task is left, and no call under way."""
    async with Simulator() as first, Simulator() as second:
        urls = (first.url, second.url, more) if more else (first.url, second.url)
        text = config(*urls, model=f"{model}    retries: {{attempts: {retries}}}\n")
        async with gateway(text) as running:
            before = asyncio.all_tasks()
            for _ in range(known):
                await ask(running)
            await until(lambda: len(running.entries) == known)
            running.entries.clear()
            yield Race(first, second, running)
            await until(lambda: not asyncio.all_tasks() - before)
            assert [health.in_flight for health in running.gateway.board.known().values() if health.in_flight] == []


async def ask(running: Running, **fields: Any) -> httpx.Response:
    return await running.client.post("/v1/chat/completions", json={**QUESTION, "stream": True, **fields})


async def settled(running: Running, calls: int = 1) -> Entry:
    """The last entry, once there are so many: the answer may be with its client before that."""
    await until(lambda: len(running.entries) >= calls)
    return running.entries[-1]


async def trail(running: Running) -> list[tuple[str, str]]:
    """The attempts of the only call, as its record tells them."""
    return [(tried.provider, tried.outcome) for tried in (await settled(running)).tried]


def models(stream: str) -> set[str]:
    """Whose words a stream holds."""
    return {orjson.loads(line[6:])["model"] for line in stream.splitlines() if line.startswith("data: {")}


def assert_served(answer: httpx.Response, by: str, attempts: int) -> None:
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
    assert models(answer.text) == {f"upstream-{by[1:]}"}
    told = (answer.headers["x-gateway-provider"], answer.headers["x-gateway-attempts"])
    assert told == (by, str(attempts))


# Who is heard


async def test_the_second_is_heard_when_the_first_is_slow_and_the_first_is_told_to_stop() -> None:
    async with race() as (first, second, running):
        first.faults, second.faults = Faults(fail=(("silent", 1.0),)), Faults(chunk_delay=0.03)
        answer = await ask(running, messages=LONG["messages"])
        assert_served(answer, by="p1", attempts=2)
        assert said(answer.text) == "You said: one two three four five six seven eight nine ten"
        assert await trail(running) == [("p0", "outpaced"), ("p1", "ok")]
        assert (len(first.hangups), second.hangups) == (1, [])


async def test_the_first_is_heard_when_it_begins_before_the_second_after_all() -> None:
    async with race() as (first, second, running):
        first.faults, second.faults = Faults(first_token_delay=0.2, chunk_delay=0.03), Faults(fail=(("silent", 1.0),))
        assert_served(await ask(running, messages=LONG["messages"]), by="p0", attempts=2)
        assert await trail(running) == [("p1", "outpaced"), ("p0", "ok")]
        assert (first.hangups, len(second.hangups)) == ([], 1)


async def test_the_one_that_is_not_heard_is_told_at_once() -> None:
    async with race() as (first, _, running):
        first.faults = Faults(fail=(("silent", 1.0),))
        await ask(running)
        begun = (await settled(running)).first_token
        assert begun is not None
        await first.until(lambda: len(first.hangups) == 1)
        assert first.hangups[0] - begun < AT_ONCE


async def test_two_that_begin_in_the_same_moment_are_never_mixed() -> None:
    async with race() as (first, second, running):
        first.faults = second.faults = Faults(first_token_delay=0.1, chunk_delay=0.001)
        answers = await asyncio.gather(*(ask(running, messages=LONG["messages"]) for _ in range(20)))
        assert second.received > 0
        for answer in answers:
            assert len(models(answer.text)) == 1
            assert said(answer.text) == "You said: one two three four five six seven eight nine ten"


async def test_what_is_settled_is_the_winners_alone_and_once() -> None:
    async with race() as (first, second, running):
        first.faults, second.faults = SLOW, Faults(chunk_delay=0.03)
        await ask(running, messages=LONG["messages"])
        entry, truth = await settled(running), second.served[0]
        assert entry.usage is not None
        assert (entry.usage.input, entry.usage.output) == (truth.prompt_tokens, truth.completion_tokens)
        assert (entry.provider, entry.outcome, entry.usage_source) == ("p1", "ok", "reported")
        assert entry.latency > 0.3
        assert entry.overhead(entry.ended) < 0.1


# When it is done, and when not


@pytest.mark.parametrize(
    ("model", "known", "fields"),
    [("", ENOUGH, {}), (HEDGED, 15, {}), (HEDGED, ENOUGH, {"stream": False})],
    ids=["off by default", "little is known", "whole answers"],
)
async def test_nobody_is_asked_twice(model: str, known: int, fields: dict[str, Any]) -> None:
    async with race(model, known=known) as (first, second, running):
        first.faults = SLOW
        answer = await ask(running, **fields)
        assert (answer.status_code, answer.headers["x-gateway-attempts"]) == (200, "1")
        assert second.received == 0


async def test_no_more_streams_are_asked_for_twice_than_the_share_allows() -> None:
    async with race("    hedge: 10%\n") as (first, second, running):
        first.faults = second.faults = SLOW
        await asyncio.gather(*(ask(running) for _ in range(40)))
        assert first.received == ENOUGH + 40
        assert 1 <= second.received <= 0.1 * (ENOUGH + 40)


async def test_a_target_that_asked_to_be_left_alone_is_not_asked_beside() -> None:
    async with race(retries=2) as (first, second, running):
        first.faults, second.faults = failing("500"), Faults(fail=(("429", 1.0),), retry_after=20)
        await ask(running)
        first.faults = SLOW
        assert_served(await ask(running), by="p0", attempts=1)
        assert second.received == 1


# Failures


FAILS_LATE = Faults(fail=(("500", 1.0),), first_token_delay=0.2)


async def test_when_the_second_fails_the_first_goes_on() -> None:
    async with race() as (first, second, running):
        first.faults, second.faults = SLOW, failing("500")
        assert_served(await ask(running), by="p0", attempts=2)
        assert await trail(running) == [("p1", "server_error"), ("p0", "ok")]


async def test_when_the_first_fails_the_second_goes_on() -> None:
    async with race() as (first, second, running):
        first.faults, second.faults = FAILS_LATE, SLOW
        assert_served(await ask(running), by="p1", attempts=2)
        assert await trail(running) == [("p0", "server_error"), ("p1", "ok")]


async def test_when_both_fail_the_call_goes_on_to_the_next() -> None:
    async with Simulator() as third, race(more=third.url) as (first, second, running):
        first.faults = second.faults = FAILS_LATE
        assert_served(await ask(running), by="p2", attempts=3)
        assert await trail(running) == [("p0", "server_error"), ("p1", "server_error"), ("p2", "ok")]


async def test_when_all_have_failed_the_client_is_told_the_last_failure() -> None:
    async with race(retries=2) as (first, second, running):
        first.faults, second.faults = FAILS_LATE, Faults(fail=(("401", 1.0),), first_token_delay=0.4)
        answer = await ask(running)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_auth_error")
        assert answer.headers["x-gateway-attempts"] == "2"
        entry = await settled(running)
        assert (entry.provider, entry.outcome, entry.usage_source) == ("p1", "upstream_error", "none")
        assert entry.overhead(entry.ended) < 0.1


async def test_the_winner_is_not_replaced_when_it_breaks_off() -> None:
    async with race() as (first, second, running):
        first.faults, second.faults = SLOW, Faults(cut_after=3)
        answer = await ask(running, messages=LONG["messages"])
        assert "[DONE]" not in answer.text
        assert models(answer.text.rpartition("data: ")[0]) == {"upstream-1"}
        assert await trail(running) == [("p0", "outpaced"), ("p1", "truncated")]
        assert running.entries[0].outcome == "truncated"


# Leaving


async def test_a_client_that_leaves_during_the_race_ends_both() -> None:
    async with race() as (first, second, running):
        first.faults = second.faults = Faults(fail=(("silent", 1.0),))
        async with wire(running.port) as client:
            client.send(question(stream=True))
            await second.until(lambda: second.received == 1)
        for upstream in (first, second):
            await upstream.until(lambda upstream=upstream: len(upstream.hangups) == 1, within=AT_ONCE)  # type: ignore[misc]
        entry = await settled(running)
        assert (entry.outcome, entry.status) == ("cancelled", 499)
        assert sorted(await trail(running)) == [("p0", "cancelled"), ("p1", "cancelled")]


async def test_nobody_else_is_asked_for_a_client_that_has_left() -> None:
    drained = HEDGED + "    on_hangup: drain\n    timeouts: {first_token: 700ms}\n"
    async with race(drained, known=0) as (first, second, running):
        first.faults = Faults(first_token_delay=0.3)
        await asyncio.gather(*(ask(running) for _ in range(ENOUGH)))
        first.faults = Faults(fail=(("silent", 1.0),))
        async with wire(running.port) as client:
            client.send(question(stream=True))
            await first.until(lambda: first.received == ENOUGH + 1)
        entry = await settled(running, ENOUGH + 1)
        assert [tried.outcome for tried in entry.tried] == ["first_token_timeout"]
        assert second.received == 0


async def test_a_race_that_outlives_the_drain_is_recorded() -> None:
    async with Simulator() as first, Simulator() as second:
        async with gateway(config(first.url, second.url, model=HEDGED)) as running:
            for _ in range(ENOUGH):
                await ask(running)
            first.faults = second.faults = Faults(fail=(("silent", 1.0),))
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(question(stream=True))
            await second.until(lambda: second.received == 1)
        rest = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert b'"code":"server_shutting_down"' in rest
    records = [orjson.loads(line) for line in running.log.splitlines()]
    assert [record["status"] for record in records if record["event"] == "call"][ENOUGH:] == [503]
