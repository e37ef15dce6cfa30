"""Gateways that are killed, stopped, or left without their database: no call that was answered is forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.accounting.kills import CLIENTS, Books, ask, backlog, client, kept_through, name_of, until_carried
from tests.accounting.process import serving
from tests.house.harness import Running, gateway

LIVES = 4


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


async def test_no_call_that_was_answered_is_lost_or_counted_twice_when_the_process_is_killed(books: Books) -> None:
    answered, kept = await kept_through(LIVES, books)
    assert len(answered) > CLIENTS
    assert answered - kept == set()
    assert list(books.journal.iterdir()) == []


async def test_when_a_stopped_gateway_has_ended_everything_is_in_its_database(books: Books) -> None:
    names = [f"call-{number}" for number in range(60)]
    async with (
        Simulator() as upstream,
        serving(books.written(upstream)) as (process, url),
        client(url) as calling,
    ):
        await asyncio.gather(*(ask(calling, name, stream=name.endswith("0")) for name in names))
        process.terminate()
        assert await process.wait() == 0
    assert books.names() == set(names)


EMBEDDING = "  t: {targets: [{provider: titan, model: 'amazon.titan-embed-text-v2:0'}]}\n"
"""A model that wants a request for each text."""


def titan(upstream: Simulator) -> str:
    access = f"endpoint_url: '{upstream.url}', region: eu-west-1, access_key_id: A, secret_access_key: s"
    return f"  titan: {{type: bedrock, {access}}}\n"


async def test_calls_that_outlive_the_drain_are_in_the_database_too(books: Books) -> None:
    async with (
        Simulator(Faults(stall_after=3)) as upstream,
        Simulator(Faults(fail=(("silent", 1.0),)), type="bedrock") as silent,
        serving(books.written(upstream, providers=titan(silent), models=EMBEDDING)) as (process, url),
        client(url) as calling,
    ):
        asked = asyncio.gather(
            ask(calling, "stream", stream=True),
            ask(calling, "whole"),
            calling.post("/v1/embeddings", json={"model": "t", "input": ["a", "b"]}, headers={"x-request-id": "parts"}),
            return_exceptions=True,
        )
        await upstream.until(lambda: upstream.received == 2)
        await silent.until(lambda: silent.received == 2)
        process.terminate()
        assert await process.wait() == 0
        assert True not in await asked
    kept = {name_of(record): record for record in books.records()}
    assert kept.keys() == {"stream", "whole", "parts"}
    assert (kept["stream"].outcome, kept["stream"].usage_source) == ("truncated", "estimated")


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else has the database for themselves."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def timed(running: Running, names: Iterator[int], calls: int) -> list[float]:
    """Seconds that each call takes."""
    clock, seconds = asyncio.get_running_loop().time, []
    for _ in range(calls):
        began = clock()
        assert await ask(running.client, f"call-{next(names)}")
        seconds.append(clock() - began)
    return seconds


async def test_a_locked_database_costs_no_call_any_time_and_no_record(books: Books) -> None:
    names, calls = count(), 50
    async with Simulator() as upstream, gateway(books.written(upstream).read_text()) as running:
        before = await timed(running, names, calls)
        await until_carried(running.client)
        with locked(books.database):
            during = await timed(running, names, calls)
            waiting = await backlog(running.client)
        await until_carried(running.client)
    assert waiting == calls
    assert median(during) < 4 * median(before) + 0.02
    assert max(during) < 2.0  # whoever waits for the database waits for five seconds
    assert books.names() == {f"call-{number}" for number in range(2 * calls)} | {"the-last"}


async def test_a_database_that_is_locked_when_the_gateway_starts_is_filled_later(books: Books) -> None:
    names = count()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Simulator())
        with locked(books.database):
            running = await stack.enter_async_context(gateway(books.written(upstream).read_text()))
            await timed(running, names, 20)
            assert await backlog(running.client) == 20
        await until_carried(running.client)
    assert books.names() == {f"call-{number}" for number in range(20)} | {"the-last"}
