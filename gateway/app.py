"""The composition root: the only file that knows every room. It turns a snapshot into a running gateway."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from gateway.config.snapshot import Provider, Snapshot
from gateway.core.call import Headers, UpstreamRequest
from gateway.dialects import registry
from gateway.engine.entry import Sink
from gateway.engine.house import House, Live, Upstream
from gateway.ports import Authorize, Transport
from gateway.sinks.batch import Batch
from gateway.sinks.logs import Logs
from gateway.sinks.metrics import CONTENT_TYPE, Metrics
from gateway.upstream.echo import EchoTransport
from gateway.upstream.transport import HttpTransport
from gateway.web.app import App
from gateway.web.chat import Office
from gateway.web.reply import HEARTBEAT

now = time.time  # noqa: TID251  here, and nowhere else, is the time of day known

clock = time.monotonic
"""The time that calls are measured by. It is the event loop's own, whose `time()` stands still within one turn."""

SHORTEST_SECRET = 8
"""Characters of a header's value. A shorter one, such as `true`, would blot out words that mean nothing secret."""

LAG_EVERY = 0.5
"""Seconds between two looks at how late the event loop is."""


class Gateway:
    """A running gateway, but for the socket: an ASGI application with what it needs."""

    def __init__(
        self, snapshot: Snapshot, logs: Logs, sinks: Sequence[Sink] = (), heartbeat: float = HEARTBEAT
    ) -> None:
        self.metrics = Metrics()
        self.metrics.running(snapshot.digest)
        self._batch = Batch((self.metrics, logs))
        self.live = Live(open_house(snapshot))
        office = Office(
            live=self.live,
            sinks=(self._batch, *sinks),
            clock=clock,
            now=now,
            random=random.random,
            crashed=logs.crashed,
            entered=self.metrics.entered,
            heartbeat=heartbeat,
        )
        self.app = App(office, self._exposition, CONTENT_TYPE)

    async def swap(self, snapshot: Snapshot) -> None:
        """New calls run on the new snapshot from now on; returns when the last call on the old one has ended."""
        old = self.live.swap(open_house(snapshot))
        self.metrics.running(snapshot.digest)
        await old.retire()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gateway]:
        """The gateway with its background work, until the end."""
        watching = asyncio.get_running_loop().create_task(self._watch_lag())
        try:
            yield self
        finally:
            watching.cancel()
            self._batch.flush()
            await self.live.house.aclose()

    def _exposition(self) -> bytes:
        self._batch.flush()
        return self.metrics.exposition()

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.metrics.lag(max(0.0, loop.time() - due))


def open_house(snapshot: Snapshot) -> House:
    """Everything that calls on this snapshot need. Opens no connection yet: those come with the first call."""
    return House(snapshot, {name: _open(provider) for name, provider in snapshot.providers.items() if provider.enabled})


def _open(provider: Provider) -> Upstream:
    vendor = provider.vendor
    return Upstream(
        vendor.dialect, registry.load(vendor.dialect), _transport(provider), _authorize(provider), _secrets(provider)
    )


def _secrets(provider: Provider) -> tuple[str, ...]:
    """What a provider may quote to nobody: its key, and the headers that hold credentials and account names."""
    key = (provider.api_key.reveal(),) if provider.api_key else ()
    return key + tuple(value.decode("latin-1") for _, value in provider.headers if len(value) >= SHORTEST_SECRET)


def _transport(provider: Provider) -> Transport:
    if provider.vendor.in_process:
        return EchoTransport(now)
    url = urlsplit(provider.base_url)
    return HttpTransport(f"{url.scheme}://{url.netloc}", proxy=provider.proxy, ca_file=provider.ca_file, clock=clock)


def _authorize(provider: Provider) -> Authorize:
    """How requests to this provider show who pays."""
    headers: Headers = ()
    if provider.api_key:
        key = provider.api_key.reveal().encode()
        headers = {
            "bearer": ((b"authorization", b"Bearer " + key),),
            "api_key_header": ((b"api-key", key),),
            "none": (),
        }[provider.vendor.credential]

    def authorize(request: UpstreamRequest) -> Headers:
        return headers

    return authorize
