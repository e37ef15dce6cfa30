"""A running gateway, put together."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from gateway.app import budgets, layers
from gateway.app.again import again
from gateway.app.budgets import Budgets
from gateway.app.layers import Layers
from gateway.app.reload import Reloading, Source
from gateway.app.replicas import open_counters, open_notices
from gateway.app.times import clock, now
from gateway.app.traces import open_traces
from gateway.app.upstreams import listed, look, open_upstreams
from gateway.config.resolve import Loaded
from gateway.config.snapshot import Snapshot
from gateway.engine.admission import Gates
from gateway.engine.entry import Entry, Sink
from gateway.engine.house import Grounds, House, Live
from gateway.engine.rediscovery import Rediscovery
from gateway.policy.estimate import Estimates
from gateway.policy.shedding import EVERY as LAG_EVERY
from gateway.policy.shedding import Shedding
from gateway.ports import Notice
from gateway.routing.board import EJECTED, WELL, Board
from gateway.routing.standings import standings
from gateway.sinks.batch import Batch
from gateway.sinks.logs import Logs
from gateway.sinks.metrics import CONTENT_TYPE, Metrics
from gateway.sinks.records import record
from gateway.store.archive import Archive
from gateway.store.books import Books
from gateway.upstream.media import Media
from gateway.web import dashboard
from gateway.web.api import routes
from gateway.web.api.desk import Desk
from gateway.web.app import App
from gateway.web.endpoint import Office
from gateway.web.reply import HEARTBEAT

EVENTS = {EJECTED: "target_ejected", WELL: "target_well"}
"""What the log calls it. Everything else is a cooldown."""

SHARED_WITHIN = 1.0
"""Seconds that a start waits for Redis, where replicas share their limits through it."""

LISTS_WITHIN = 3.0
"""Seconds that a start waits for providers to list their models, where the configuration publishes those."""


class Gateway:
    """A running gateway, but for the socket: an ASGI application with what it needs."""

    def __init__(
        self,
        loaded: Loaded,
        logs: Logs,
        sinks: Sequence[Sink] = (),
        heartbeat: float = HEARTBEAT,
        spell: Callable[[Metrics], bytes] = Metrics.exposition,
        source: Source | None = None,
    ) -> None:
        snapshot, state = loaded.snapshot, loaded.snapshot.state
        self.metrics = Metrics()
        self._logs = logs
        self._traces = open_traces(os.environ, lambda: self.live.house.snapshot.providers, logs.event)
        self._batch = Batch((self.metrics, logs) if self._traces is None else (self.metrics, logs, self._traces))
        self._notices = open_notices(state, self.metrics, logs.event)
        self._counters = open_counters(state, self.metrics, logs.event)
        self._books = Books(state, now=now, event=self._say) if state.database else None
        self._archive = Archive(state.database) if state.database else None
        self.board = Board(clock, random.random, self._changed)
        self._shedding = Shedding(random.random)
        self._grounds = Grounds(Media(), self.board, Gates(self.board, clock), self._counters, Estimates())
        self._layers = Layers(loaded, self._archive, changed=self._rebuild, event=logs.event)
        self.reload = Reloading(loaded, source, self._adopt, counted=self.metrics.reloaded, event=logs.event)
        self._rediscovery = Rediscovery(snapshot, listed, logs.event)
        self.live = Live(self._house(snapshot))
        self._budgets = Budgets(self._archive, self._counters, lambda: self.live.house.toll.budgets(), logs.event)
        self._tasks: set[asyncio.Task[None]] = set()
        self.metrics.running(snapshot.digest)
        self.metrics.also_litellms = snapshot.server.litellm_metrics
        office = self._office((self._batch, *sinks), heartbeat)
        self.app = App(
            office, lambda: spell(self.measured()), CONTENT_TYPE, [*routes(self._desk()), *dashboard.routes()]
        )

    async def swap(self, loaded: Loaded) -> None:
        """New calls run on the new configuration from now on; returns when the last call on the old one has ended."""
        await self._layers.write(loaded)
        await self._replace(self._combined())

    async def _adopt(self, loaded: Loaded) -> None:
        """The same, without waiting for calls."""
        await self._layers.write(loaded)
        self._rebuild()
        await asyncio.sleep(0)  # from here on it is in force

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gateway]:
        """The gateway with its background work, until the end."""
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as at_the_end:
            await self._begin(at_the_end)
            for work in (
                self._watch_lag(),
                again(budgets.EVERY, self._budgets.remember, self._logs.crashed),
                again(layers.EVERY, self._layers.look, self._logs.crashed),
                self.reload.watch(),
                self._rediscovery.run(self._replace),
            ):
                self._in_background(work)
            await self._rediscovery.ready(LISTS_WITHIN)
            yield self

    async def _begin(self, at_the_end: AsyncExitStack) -> None:
        """Starts what calls stand on, and says how each is ended: the other way round."""
        if self._traces is not None:
            at_the_end.push_async_callback(self._traces.aclose)
        if self._archive is not None:
            at_the_end.callback(self._archive.close)
        if self._books is not None:
            self._books.start()
            at_the_end.push_async_callback(self._loop.run_in_executor, None, self._books.close)
        self._counters.start()
        at_the_end.push_async_callback(self._counters.aclose)
        if self._notices is not None:
            self._notices.start(self.board.heard)
            at_the_end.push_async_callback(self._notices.aclose)
        self.live.house.start()
        at_the_end.push_async_callback(self._end)
        await self._counters.ready(SHARED_WITHIN)
        await self._budgets.remember()
        await self._layers.look()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._batch.flush()
        await self.live.house.aclose()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _rebuild(self) -> None:
        """The old house waits for its last call, which nobody here has to wait for."""
        self._in_background(self._replace(self._combined()))

    def _combined(self) -> Snapshot:
        """What is written, what was made at run time, and what providers list."""
        return self._rediscovery.adopt(self._layers.snapshot())

    async def _replace(self, snapshot: Snapshot) -> None:
        house = self._house(snapshot, self.live.house)
        house.start()
        old = self.live.swap(house)
        self.metrics.running(snapshot.digest)
        self.metrics.also_litellms = snapshot.server.litellm_metrics
        try:
            await old.retire()
        except asyncio.CancelledError:
            await old.aclose()
            raise

    def _house(self, snapshot: Snapshot, before: House | None = None) -> House:
        return House(snapshot, open_upstreams(snapshot, before), self._grounds)

    def _office(self, sinks: Sequence[Sink], heartbeat: float) -> Office:
        """What calls need of it."""
        return Office(
            live=self.live,
            sinks=sinks,
            clock=clock,
            now=now,
            random=random.random,
            crashed=self._logs.crashed,
            entered=self.metrics.entered,
            shedding=self._shedding,
            keep=self._keep if self._books else _nowhere,
            heartbeat=heartbeat,
            trace=None if self._traces is None else self._traces.begin,
        )

    def _desk(self) -> Desk:
        """What the admin API needs of it."""
        return Desk(
            snapshot=lambda: self.live.house.snapshot,
            written=lambda: self._layers.written,
            board=self.board,
            clock=clock,
            now=now,
            say=self._logs.event,
            crashed=self._logs.crashed,
            look=look,
            archive=self._archive,
            status=self.reload.status,
            reload=self.reload,
            refresh=self._layers.look,
        )

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

    def _say(self, level: str, event: str, **details: object) -> None:
        """For the log, from any thread."""
        self._loop.call_soon_threadsafe(partial(self._logs.event, level, event, **details))

    def _keep(self, entry: Entry) -> None:
        """Enters a call into the books, before the client can tell that it has ended."""
        assert self._books is not None
        self._books.enter(record(entry).line())

    def measured(self) -> Metrics:
        """The metrics, with what is only looked at when somebody wants to know."""
        self._batch.flush()
        if self._books is not None:
            self.metrics.behind(self._books.backlog)
        self.metrics.targets(standings(self.live.house.snapshot, self.board, clock()))
        self.metrics.look_at_process()
        return self.metrics

    async def _watch_lag(self) -> None:
        while True:
            due = self._loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            late = max(0.0, self._loop.time() - due)
            self.metrics.lag(late)
            self._shedding.lag(late)


def _nowhere(entry: Entry) -> None:
    """Where calls are entered when there are no books."""
