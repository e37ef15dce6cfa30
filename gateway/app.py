"""The composition root: the only file that knows every room. It turns a snapshot into a running gateway."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from gateway.config.snapshot import Provider, Snapshot
from gateway.config.targets import target_of
from gateway.dialects import registry
from gateway.engine.admission import Gates
from gateway.engine.entry import Sink
from gateway.engine.house import House, Live, Upstream
from gateway.engine.rediscovery import Rediscovery
from gateway.policy.shedding import EVERY as LAG_EVERY
from gateway.policy.shedding import Shedding
from gateway.ports import Notice, Notices, Transport
from gateway.routing.board import EJECTED, WELL, Board
from gateway.routing.standings import standings
from gateway.sinks.batch import Batch
from gateway.sinks.logs import Logs
from gateway.sinks.metrics import CONTENT_TYPE, Metrics
from gateway.upstream import discovery
from gateway.upstream.authorize import authorization
from gateway.upstream.discovery import Account
from gateway.upstream.echo import EchoTransport
from gateway.upstream.media import Media
from gateway.upstream.transport import HttpTransport
from gateway.web.app import App
from gateway.web.endpoint import Office
from gateway.web.reply import HEARTBEAT

now = time.time  # noqa: TID251  here, and nowhere else, is the time of day known

clock = time.monotonic
"""The time that calls are measured by. It is the event loop's own, whose `time()` stands still within one turn."""

EVENTS = {EJECTED: "target_ejected", WELL: "target_well"}
"""What the log calls it. Everything else is a cooldown."""

LISTS_WITHIN = 3.0
"""Seconds that a start waits for providers to list their models, where the configuration publishes those."""


class Gateway:
    """A running gateway, but for the socket: an ASGI application with what it needs."""

    def __init__(
        self, snapshot: Snapshot, logs: Logs, sinks: Sequence[Sink] = (), heartbeat: float = HEARTBEAT
    ) -> None:
        self.metrics = Metrics()
        self.metrics.running(snapshot.digest)
        self._batch = Batch((self.metrics, logs))
        self._logs = logs
        self._media = Media()
        self._notices = self._open_notices(snapshot)
        self.board = Board(clock, random.random, self._changed)
        self._gates = Gates(self.board, clock)
        self._shedding = Shedding(random.random)
        self.live = Live(self._house(snapshot))
        self._rediscovery = Rediscovery(snapshot, _listed, logs.event)
        office = Office(
            live=self.live,
            sinks=(self._batch, *sinks),
            clock=clock,
            now=now,
            random=random.random,
            crashed=logs.crashed,
            entered=self.metrics.entered,
            shedding=self._shedding,
            heartbeat=heartbeat,
        )
        self.app = App(office, self._exposition, CONTENT_TYPE)

    async def swap(self, snapshot: Snapshot) -> None:
        """New calls run on the new snapshot from now on; returns when the last call on the old one has ended."""
        await self._replace(self._rediscovery.adopt(snapshot))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gateway]:
        """The gateway with its background work, until the end."""
        self.live.house.start()
        if self._notices is not None:
            self._notices.start(self.board.heard)
        loop = asyncio.get_running_loop()
        background = [loop.create_task(work) for work in (self._watch_lag(), self._rediscovery.run(self._replace))]
        try:
            await self._rediscovery.ready(LISTS_WITHIN)
            yield self
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            self._batch.flush()
            await self.live.house.aclose()
            if self._notices is not None:
                await self._notices.aclose()

    async def _replace(self, snapshot: Snapshot) -> None:
        house = self._house(snapshot)
        house.start()
        old = self.live.swap(house)
        self.metrics.running(snapshot.digest)
        try:
            await old.retire()
        except asyncio.CancelledError:
            await old.aclose()
            raise

    def _house(self, snapshot: Snapshot) -> House:
        return House(snapshot, open_upstreams(snapshot), self._media, self.board, self._gates)

    def _open_notices(self, snapshot: Snapshot) -> Notices | None:
        """The way to the other replicas. Its library is only imported where there may be some."""
        if snapshot.state.redis is None:
            return None
        from gateway.store.redis import RedisNotices

        return RedisNotices(snapshot.state.redis, failed=self.metrics.redis_failed, event=self._logs.event)

    def _changed(self, notice: Notice) -> None:
        """A target is to be left alone, or is well again: for the log, and for the other replicas."""
        level = "warning" if notice.seconds else "info"
        event = EVENTS.get(notice.why, "target_cooling_down")
        why = {} if notice.why in EVENTS else {"why": notice.why}
        self._logs.event(
            level, event, provider=notice.provider, target=notice.model, seconds=round(notice.seconds, 1), **why
        )
        if self._notices is not None:
            self._notices.tell(notice)

    def _exposition(self) -> bytes:
        self._batch.flush()
        self.metrics.targets(standings(self.live.house.snapshot, self.board, clock()))
        return self.metrics.exposition()

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            late = max(0.0, loop.time() - due)
            self.metrics.lag(late)
            self._shedding.lag(late)


def open_upstreams(snapshot: Snapshot) -> dict[str, Upstream]:
    """The way to each provider. Opens no connection yet: those come with the first call."""
    return {name: _open(provider) for name, provider in snapshot.providers.items() if provider.enabled}


def _open(provider: Provider) -> Upstream:
    dialect = provider.vendor.dialect
    shown = authorization(provider, now)
    return Upstream(
        dialect, registry.load(dialect), _transport(provider), shown.authorize, shown.secrets, shown.credentials
    )


async def _listed(provider: Provider) -> tuple[str, ...]:
    return await discovery.models(account(provider), clock)


def account(provider: Provider) -> Account:
    """A provider as it is looked at from outside, whether calls may go there or not."""
    return Account(
        provider=provider,
        dialect=registry.load(provider.vendor.dialect),
        authorization=authorization(provider, now),
        target=partial(target_of, provider),
        transport=partial(_transport, provider),
    )


def _transport(provider: Provider, origin: str | None = None) -> Transport:
    """The way to a provider, or to another host of its vendor."""
    if provider.vendor.in_process:
        return EchoTransport(now)
    url = urlsplit(provider.base_url)
    origin = origin or f"{url.scheme}://{url.netloc}"
    return HttpTransport(origin, proxy=provider.proxy, ca_file=provider.ca_file, clock=clock)
