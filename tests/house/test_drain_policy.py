"""`on_hangup: drain`: an answer is read to its end when its client has left, so that what it cost is known."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from gateway.core.call import Json
from gateway.engine.entry import Entry
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import Running, config, gateway
from tests.house.scripted import Peer, scripted
from tests.house.test_hangup import SILENT, STALLS, first_output, in_flight, question, until
from tests.house.test_protocol import Wire, wire
from tests.house.test_serve import LONG

DRAIN = "    on_hangup: drain\n"
SLOWLY = Faults(chunk_delay=0.02)
MESSAGES = LONG["messages"]


@asynccontextmanager
async def house(faults: Faults, more: str = "") -> AsyncIterator[tuple[Simulator, Simulator, Running]]:
    """A gateway before a provider with these faults, and one that is well. At the end no task is left."""
    async with (
        Simulator(faults) as upstream,
        Simulator() as other,
        gateway(config(upstream.url, other.url, model=DRAIN + more)) as running,
    ):
        before = asyncio.all_tasks()
        yield upstream, other, running
        await until(lambda: not asyncio.all_tasks() - before)
        assert in_flight(running) == 0


async def settled(running: Running) -> Entry:
    """The only entry, which is that of a client who has left."""
    await until(lambda: len(running.entries) == 1)
    (entry,) = running.entries
    assert (entry.outcome, entry.status) == ("cancelled", 499)
    return entry


def assert_paid_in_full(entry: Entry, upstream: Simulator) -> None:
    """The usage is what the provider has reported, to the token."""
    (truth,) = upstream.served
    assert not truth.client_left
    assert truth.completion_tokens > 0
    assert entry.usage is not None
    assert (entry.usage.input, entry.usage.output) == (truth.prompt_tokens, truth.completion_tokens)
    assert entry.usage_source == "reported"


async def test_a_client_that_leaves_after_the_first_token_pays_for_the_whole_answer() -> None:
    async with house(SLOWLY) as (upstream, _, running):
        async with wire(running.port) as client:
            client.send(question(stream=True, messages=MESSAGES))
            await first_output(client)
        entry = await settled(running)
        assert_paid_in_full(entry, upstream)
        assert [tried.outcome for tried in entry.tried] == ["ok"]
        assert upstream.hangups == []


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_client_that_leaves_before_the_answer_pays_for_it_too(stream: bool) -> None:
    async with house(Faults(first_token_delay=0.2)) as (upstream, _, running):
        async with wire(running.port) as client:
            client.send(question(stream=stream, messages=MESSAGES))
            await upstream.until(lambda: upstream.received == 1)
        assert_paid_in_full(await settled(running), upstream)
        assert upstream.hangups == []


async def test_the_connection_to_the_provider_is_kept_for_the_next_call() -> None:
    async with house(SLOWLY) as (upstream, _, running):
        for _ in range(3):
            async with wire(running.port) as client:
                client.send(question(stream=True))
                await first_output(client)
            await settled(running)
            running.entries.clear()
        assert upstream.connections == 1


@pytest.mark.parametrize(("fault", "stream"), [("500", True), ("429", False), ("reset", False), ("html", True)])
async def test_nobody_else_is_asked_for_a_client_that_has_left(fault: str, stream: bool) -> None:
    late = Faults(fail=((fault, 1.0),), first_token_delay=0.2)
    async with house(late) as (upstream, other, running):
        async with wire(running.port) as client:
            client.send(question(stream=stream))
            await upstream.until(lambda: upstream.received == 1)
        entry = await settled(running)
        assert (len(entry.tried), entry.usage_source) == (1, "none")
        assert (upstream.received, other.received) == (1, 0)


async def test_a_stream_that_breaks_off_is_paid_for_as_far_as_it_came() -> None:
    async with house(Faults(chunk_delay=0.02, cut_after=5)) as (_, other, running):
        async with wire(running.port) as client:
            client.send(question(stream=True, messages=MESSAGES))
            await first_output(client)
        entry = await settled(running)
        assert [tried.outcome for tried in entry.tried] == ["truncated"]
        assert entry.usage_source == "estimated"
        assert other.received == 0


@pytest.mark.parametrize(
    ("limit", "outcome"), [("idle: 300ms", "idle_timeout"), ("total: 400ms", "deadline")], ids=["idle", "total"]
)
async def test_no_provider_is_read_for_longer_than_if_the_client_were_there(limit: str, outcome: str) -> None:
    async with house(STALLS, f"    timeouts: {{{limit}}}\n") as (upstream, _, running):
        async with wire(running.port) as client:
            client.send(question(stream=True))
            await first_output(client)
        entry = await settled(running)
        assert [tried.outcome for tried in entry.tried] == [outcome]
        assert entry.latency < 0.6
        await upstream.until(lambda: len(upstream.hangups) == 1)


@pytest.mark.parametrize("faults", [STALLS, SILENT], ids=["within the stream", "before the stream"])
async def test_the_end_of_the_gateway_ends_it(faults: Faults) -> None:
    async with Simulator(faults) as upstream:
        async with gateway(config(upstream.url, model=DRAIN)) as running:
            async with wire(running.port) as client:
                client.send(question(stream=True))
                await upstream.until(lambda: upstream.received == 1)
                if faults is STALLS:
                    await first_output(client)
            assert running.entries == []
        await upstream.until(lambda: upstream.open_connections == 0)
    await settled(running)
    (record,) = [line for line in map(orjson.loads, running.log.splitlines()) if line["event"] == "call"]
    assert (record["status"], record["outcome"]) == (499, "cancelled")


async def test_a_client_that_took_nothing_more_before_it_left_is_in_nobodys_way() -> None:
    blocked = asyncio.Event()

    async def flood(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        told = 0
        while not blocked.is_set():
            told += 1
            peer.writer.write(_event({"content": "x" * 65536}))
            try:
                await asyncio.wait_for(peer.writer.drain(), 0.2)
            except TimeoutError:
                blocked.set()
        peer.writer.write(_event(None, prompt_tokens=3, completion_tokens=told) + b"data: [DONE]\n\n")
        await peer.writer.drain()

    async with scripted(flood) as upstream, gateway(config(upstream.origin + "/v1", model=DRAIN)) as running:
        async with wire(running.port) as client:
            narrow(client)
            client.send(question(stream=True))
            await blocked.wait()
            assert running.entries == []
            client.writer.transport.abort()
        entry = await settled(running)
        assert entry.usage is not None
        assert (entry.usage.input, entry.usage_source) == (3, "reported")
        assert entry.tried[0].outcome == "ok"


def narrow(client: Wire) -> None:
    """Lets little come in before the client reads it."""
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


def _event(delta: Json | None, **usage: int) -> bytes:
    finish = {"index": 0, "delta": delta or {}, "finish_reason": None if delta else "stop"}
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "upstream-0"}
    total = {"total_tokens": sum(usage.values())}
    return b"data: %b\n\n" % orjson.dumps({**told, "choices": [finish], "usage": {**usage, **total} if usage else None})
