"""A house: one snapshot of the configuration with its open connections. Houses are swapped, never changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from gateway.config.snapshot import Snapshot
from gateway.dialects.base import Dialect
from gateway.ports import Authorize, Transport


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider with its door open."""

    grammar: str
    """The dialect's name."""
    dialect: Dialect
    transport: Transport
    authorize: Authorize
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What a provider may quote of what it was sent, and nobody else may read."""


class House:
    """What a call runs on, from its first to its last moment: `with live.house as house`."""

    def __init__(self, snapshot: Snapshot, upstreams: Mapping[str, Upstream]) -> None:
        self.snapshot = snapshot
        self.upstreams = upstreams
        self.visitors = 0
        self._retiring: asyncio.Future[None] | None = None

    def __enter__(self) -> House:
        self.visitors += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.visitors -= 1
        if not self.visitors and self._retiring is not None and not self._retiring.done():
            self._retiring.set_result(None)

    async def retire(self) -> None:
        """Waits until the last call has left, then closes every connection."""
        if self.visitors:
            self._retiring = asyncio.get_running_loop().create_future()
            await self._retiring
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection, whoever still uses it."""
        for upstream in self.upstreams.values():
            await upstream.transport.aclose()


class Live:
    """The one pointer: which house new calls go to."""

    def __init__(self, house: House) -> None:
        self.house = house

    def swap(self, new: House) -> House:
        """New calls go to the new house from now on. Returns the old one, to be retired."""
        old, self.house = self.house, new
        return old
