from __future__ import annotations

import asyncio

from gateway.config.snapshot import Server, Snapshot
from gateway.core.call import UpstreamRequest
from gateway.dialects import openai_chat
from gateway.engine.admission import Gates
from gateway.engine.house import Grounds, House, Live, Upstream
from gateway.policy.estimate import Estimates
from gateway.ports import Exchange, Patience
from gateway.routing.board import Board
from gateway.store.memory import MemoryCounters
from gateway.upstream.media import Media

SNAPSHOT = Snapshot(Server(), {}, {}, (), {})


class Door:
    """A transport that can only be closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def send(self, request: UpstreamRequest, *, connect: float, patience: Patience) -> Exchange:
        raise AssertionError

    async def aclose(self) -> None:
        self.closed += 1


class Courier:
    """Credentials that are fetched; and how often they were begun with and given up."""

    secrets = ("fetched",)

    def __init__(self) -> None:
        self.started = self.closed = 0

    def start(self) -> None:
        self.started += 1

    async def ready(self, within: float) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        self.closed += 1


def house(door: Door, courier: Courier | None = None) -> House:
    upstream = Upstream("openai_chat", openai_chat, door, lambda request: (), ("written",), courier)
    board = Board(lambda: 0.0, lambda: 0.5)
    grounds = Grounds(Media(), board, Gates(board, lambda: 0.0), MemoryCounters(lambda: 0), Estimates())
    return House(SNAPSHOT, {"p": upstream}, grounds)


async def test_an_empty_house_is_closed_at_once() -> None:
    door = Door()
    await house(door).retire()
    assert door.closed == 1


async def test_a_house_is_closed_when_its_last_visitor_has_left() -> None:
    door = Door()
    visited = house(door)
    with visited:
        with visited:
            retiring = asyncio.get_running_loop().create_task(visited.retire())
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert door.closed == 0
    await retiring
    assert door.closed == 1


async def test_a_visitor_leaves_even_by_an_error() -> None:
    door = Door()
    visited = house(door)
    try:
        with visited:
            raise KeyError
    except KeyError:
        pass
    await asyncio.wait_for(visited.retire(), 1)
    assert not visited.visitors


async def test_new_calls_go_to_the_new_house() -> None:
    first, second = house(Door()), house(Door())
    live = Live(first)
    with live.house as seen:
        assert live.swap(second) is first
        assert seen is first
        assert live.house is second


async def test_credentials_are_fetched_as_long_as_the_house_stands() -> None:
    courier = Courier()
    lived_in = house(Door(), courier)
    assert not courier.started
    lived_in.start()
    assert (courier.started, courier.closed) == (1, 0)
    await lived_in.retire()
    assert courier.closed == 1


def test_what_must_not_be_quoted_is_both_written_and_fetched() -> None:
    assert house(Door(), Courier()).upstreams["p"].secrets == ("written", "fetched")
    assert house(Door()).upstreams["p"].secrets == ("written",)
