"""A house: one snapshot of the configuration with its open connections. Houses are swapped, never changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

from gateway.config.snapshot import Snapshot
from gateway.dialects.base import Dialect
from gateway.engine.admission import Gates
from gateway.engine.toll import Toll
from gateway.policy.estimate import Estimates
from gateway.ports import Authorize, Counters, Credentials, Media, Transport
from gateway.routing.board import Board


@dataclass(slots=True)
class Upstream:
    """A provider with its door open. Houses that follow each other share it, and the last one closes it."""

    grammar: str
    """The dialect's name."""
    dialect: Dialect
    transport: Transport
    authorize: Authorize
    written_secrets: tuple[str, ...] = field(default=(), repr=False)
    """Those of the configuration."""
    credentials: Credentials | None = None
    """What `authorize` takes them from, where they are fetched. A call awaits `credentials.ready` before it asks."""
    houses: int = 0
    """That it belongs to."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What a provider may quote of what it was sent, and nobody else may read."""
        return self.written_secrets + self.credentials.secrets if self.credentials else self.written_secrets


class Grounds(NamedTuple):
    """What houses stand on, one after the other: no configuration makes a provider well, or a budget full."""

    media: Media
    board: Board
    gates: Gates
    counters: Counters
    estimates: Estimates


class House:
    """What a call runs on, from its first to its last moment: `with live.house as house`."""

    def __init__(self, snapshot: Snapshot, upstreams: Mapping[str, Upstream], grounds: Grounds) -> None:
        self.snapshot = snapshot
        self.upstreams = upstreams
        self.media, self.board, self.gates, counters, self.estimates = grounds
        self.toll = Toll(snapshot, counters, self.estimates)
        self.visitors = 0
        self._left: asyncio.Future[None] | None = None
        self._closed = False
        for upstream in upstreams.values():
            upstream.houses += 1

    def __enter__(self) -> House:
        self.visitors += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.visitors -= 1
        if not self.visitors and self._left is not None and not self._left.done():
            self._left.set_result(None)

    def start(self) -> None:
        """Begins what goes on in the background, in the running loop."""
        for upstream in self.upstreams.values():
            if upstream.credentials and upstream.houses == 1:
                upstream.credentials.start()

    async def retire(self) -> None:
        """Waits until the last call has left, then closes every connection that no other house has."""
        if self.visitors:
            self._left = asyncio.get_running_loop().create_future()
            await self._left
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection that no other house has, whoever uses it, and ends its work in the background."""
        if self._closed:
            return
        self._closed = True
        for upstream in self.upstreams.values():
            upstream.houses -= 1
            if not upstream.houses:
                await upstream.transport.aclose()
                if upstream.credentials:
                    await upstream.credentials.aclose()


class Live:
    """The one pointer: which house new calls go to."""

    def __init__(self, house: House) -> None:
        self.house = house

    def swap(self, new: House) -> House:
        """New calls go to the new house from now on. Returns the old one, to be retired."""
        old, self.house = self.house, new
        return old
