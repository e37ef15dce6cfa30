"""The composition root: the only file that knows every room. It turns a snapshot into a running gateway."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.admin.overlay import merged, unreadable
from gateway.config.snapshot import Provider, Snapshot, State
from gateway.config.targets import target_of
from gateway.dialects import registry
from gateway.engine.admission import Gates
from gateway.engine.entry import Entry, Sink
from gateway.engine.house import Grounds, House, Live, Upstream
from gateway.engine.rediscovery import Rediscovery
from gateway.policy.estimate import Estimates
from gateway.policy.shedding import EVERY as LAG_EVERY
from gateway.policy.shedding import Shedding
from gateway.ports import Counters, Notice, Notices, Transport
from gateway.routing.board import EJECTED, WELL, Board
from gateway.routing.standings import standings
from gateway.sinks.batch import Batch
from gateway.sinks.logs import Logs
from gateway.sinks.metrics import CONTENT_TYPE, Metrics
from gateway.sinks.records import record
from gateway.store.books import Books
from gateway.store.errors import DatabaseAway
from gateway.store.memory import MemoryCounters
from gateway.upstream import discovery
from gateway.upstream.authorize import authorization
from gateway.upstream.discovery import Account
from gateway.upstream.echo import EchoTransport
from gateway.upstream.media import Media
from gateway.upstream.transport import HttpTransport
from gateway.web.app import App
from gateway.web.endpoint import Office
from gateway.web.reply import HEARTBEAT

if TYPE_CHECKING:
    from gateway.store.keys import VirtualKey

now = time.time  # noqa: TID251  here, and nowhere else, is the time of day known

clock = time.monotonic
"""The time that calls are measured by. It is the event loop's own, whose `time()` stands still within one turn."""

EVENTS = {EJECTED: "target_ejected", WELL: "target_well"}
"""What the log calls it. Everything else is a cooldown."""

SHARED_WITHIN = 1.0
"""Seconds that a start waits for Redis, where replicas share their limits through it."""

KEYS_EVERY = 2.0
"""Seconds between two looks into the database at the keys that were made at run time."""

BUDGETS_EVERY = 10.0
"""Seconds between two looks into the ledger at what the budgets have seen."""

ENDED_WITHIN = 1.0
"""Seconds that the end waits for calls that have been cancelled."""

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
        self._books = Books(snapshot.state, now=now, event=self._say) if snapshot.state.database else None
        self.board = Board(clock, random.random, self._changed)
        counters = self._open_counters(snapshot.state)
        self._grounds = Grounds(self._media, self.board, Gates(self.board, clock), counters, Estimates())
        self._written = snapshot
        self._made: list[VirtualKey] = []
        """The keys in the database, which are laid over those that are written."""
        self._keys_version: int | None = None
        self._replacing: set[asyncio.Task[None]] = set()
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
            keep=self._keep if self._books else _nowhere,
            heartbeat=heartbeat,
        )
        self.app = App(office, self._exposition, CONTENT_TYPE)

    async def swap(self, snapshot: Snapshot) -> None:
        """New calls run on the new snapshot from now on; returns when the last call on the old one has ended."""
        self._written = snapshot
        await self._replace(self._rediscovery.adopt(self._with_keys()))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gateway]:
        """The gateway with its background work, until the end."""
        self.live.house.start()
        if self._notices is not None:
            self._notices.start(self.board.heard)
        self._loop = asyncio.get_running_loop()
        if self._books is not None:
            self._books.start()
        counters = self._grounds.counters
        counters.start()
        await counters.ready(SHARED_WITHIN)
        await self._remember_budgets()
        await self._read_keys()
        work = (self._watch_lag(), self._watch_budgets(), self._watch_keys(), self._rediscovery.run(self._replace))
        background = [self._loop.create_task(each) for each in work]
        try:
            await self._rediscovery.ready(LISTS_WITHIN)
            yield self
        finally:
            background += self._replacing
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            await self._last_call()
            self._batch.flush()
            await self.live.house.aclose()
            if self._notices is not None:
                await self._notices.aclose()
            await counters.aclose()
            if self._books is not None:
                await self._loop.run_in_executor(None, self._books.close)

    async def _last_call(self) -> None:
        """Calls that the server has cancelled take some turns of the loop to end, and belong into the books as well."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDED_WITHIN):
                while self.metrics.calls_under_way:  # noqa: ASYNC110  it takes a few milliseconds, once
                    await asyncio.sleep(0.005)

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
        return House(snapshot, open_upstreams(snapshot), self._grounds)

    def _open_counters(self, state: State) -> Counters:
        """Where limits and budgets are counted: here, or in Redis with all other replicas."""
        if state.redis is None:
            return MemoryCounters(_milliseconds)
        from gateway.store.redis_counters import RedisCounters

        return RedisCounters(
            state.redis,
            now=_milliseconds,
            away=state.redis_down,
            failed=self.metrics.redis_failed,
            shared=self.metrics.limits_are_shared,
            event=self._logs.event,
        )

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

    def _say(self, level: str, event: str, **details: object) -> None:
        """For the log, from any thread."""
        self._loop.call_soon_threadsafe(partial(self._logs.event, level, event, **details))

    def _keep(self, entry: Entry) -> None:
        """Enters a call into the books, before the client can tell that it has ended."""
        assert self._books is not None
        self._books.enter(record(entry).line())

    def _exposition(self) -> bytes:
        self._batch.flush()
        if self._books is not None:
            self.metrics.behind(self._books.backlog)
        self.metrics.targets(standings(self.live.house.snapshot, self.board, clock()))
        return self.metrics.exposition()

    async def _watch_keys(self) -> None:
        """Keys that are made, changed or revoked in the database hold here within some seconds."""
        while self._books is not None:
            await asyncio.sleep(KEYS_EVERY)
            await self._read_keys()

    async def _read_keys(self) -> None:
        if self._books is None:
            return
        try:
            found = await self._loop.run_in_executor(None, self._books.keys, self._keys_version)
        except DatabaseAway as error:
            if self._keys_version is None:
                self._logs.event("warning", "keys_unknown", error=str(error))
            return
        if found is None:
            return
        before, (self._keys_version, self._made) = self._made, found
        if self._made != before:
            for name, why in unreadable(self._made).items():
                self._logs.event("error", "key_unreadable", key=name, error=why)
            # The old house waits for its last call, which nobody here has to wait for.
            task = self._loop.create_task(self._replace(self._rediscovery.adopt(self._with_keys())))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)

    def _with_keys(self) -> Snapshot:
        return merged(self._written, self._made, now()) if self._made else self._written

    async def _watch_budgets(self) -> None:
        """What the journal of a dead process still held reaches the database after the start; Redis may forget."""
        while True:
            await asyncio.sleep(BUDGETS_EVERY)
            await self._remember_budgets()

    async def _remember_budgets(self) -> None:
        """What budgets have seen before this start, or through others. Without a database they begin at zero."""
        budgets = self.live.house.toll.budgets()
        if self._books is None or not budgets:
            return
        loop = asyncio.get_running_loop()
        try:
            known = await loop.run_in_executor(None, self._books.spent, budgets)
        except DatabaseAway as error:
            self._logs.event("warning", "budgets_unknown", error=str(error))
            return
        for budget, spent in known:
            self._grounds.counters.preload(budget, spent)

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            late = max(0.0, loop.time() - due)
            self.metrics.lag(late)
            self._shedding.lag(late)


def _milliseconds() -> int:
    return int(now() * 1000)


def _nowhere(entry: Entry) -> None:
    """Where calls are entered when there are no books."""


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
