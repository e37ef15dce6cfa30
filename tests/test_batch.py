from __future__ import annotations

import asyncio

from gateway.engine.entry import Entry
from gateway.sinks.batch import GATHER, Batch


def entry(name: str) -> Entry:
    return Entry(name, "chat", 0.0, 0.0)


async def test_settled_calls_are_told_in_order_and_by_themselves() -> None:
    told: list[str] = []
    arrived = asyncio.Event()
    batch = Batch([lambda entry: told.append(entry.id), lambda entry: arrived.set()])
    batch(entry("a"))
    batch(entry("b"))
    assert told == []
    await asyncio.wait_for(arrived.wait(), GATHER + 1)
    assert told == ["a", "b"]


async def test_whoever_looks_can_have_them_told_at_once_and_only_once() -> None:
    told: list[str] = []
    batch = Batch([lambda entry: told.append(entry.id)])
    batch(entry("a"))
    batch.flush()
    batch.flush()
    assert told == ["a"]
    await asyncio.sleep(2 * GATHER)
    assert told == ["a"]


async def test_calls_go_on_being_told_after_a_flush() -> None:
    told: list[str] = []
    batch = Batch([lambda entry: told.append(entry.id)])
    batch(entry("a"))
    batch.flush()
    batch(entry("b"))
    await asyncio.sleep(2 * GATHER)
    assert told == ["a", "b"]
