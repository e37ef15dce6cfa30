"""Counters in a world whose clock a test sets, so that the same tests can run against each kind of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from gateway.core.secret import Secret
from gateway.policy.limits import limit
from gateway.ports import Counters, Limit, Refused, Reservation, Standing, Use
from gateway.store.memory import MemoryCounters
from gateway.store.redis_counters import LEASE, SCRIPT, Away, RedisCounters
from tests.house.valkey import Valkey, redis_binary, valkey

PATIENT = 10.0
"""Seconds after which a test gives up."""

CLOCK = "clock"
"""The key that a server of a virtual world reads the time from."""

VIRTUAL = SCRIPT.replace("redis.call('TIME')", f"redis.call('HMGET', '{CLOCK}', 'seconds', 'micros')")

START = 1_775_001_000_000
"""2026-03-31, ten minutes before midnight in UTC: an hour, a day and a month end soon. It is a Tuesday."""

KEY = ("key", "web-app")
REQUESTS = limit(KEY, "requests_per_minute", 6)
TOKENS = limit(KEY, "tokens_per_minute", 1000)
CALLS = limit(KEY, "concurrent_requests", 3)
DOLLARS = limit(KEY, "usd_budget", 10_000, "day")


@dataclass
class World:
    """Counters, and the time as they know it."""

    counters: Counters
    _set: Callable[[int], None]
    now: int = 0

    def set(self, now: int) -> None:
        """It is now so many milliseconds after 1970."""
        self.now = now
        self._set(now)

    def passes(self, milliseconds: float) -> None:
        """Time goes on."""
        self.set(self.now + int(milliseconds))

    async def granted(self, limits: tuple[Limit, ...], use: Use) -> Reservation:
        """A reservation, which must not be refused."""
        answer = await self.counters.reserve(limits, use)
        assert isinstance(answer, Reservation), answer
        return answer

    async def refused(self, limits: tuple[Limit, ...], use: Use) -> Refused:
        """A refusal, which must not be granted."""
        answer = await self.counters.reserve(limits, use)
        assert isinstance(answer, Refused), answer
        return answer

    async def hears(self) -> None:
        """What was settled has been counted, wherever that is: what is told is told in its order."""
        await self.granted((limit(("nobody",), "requests_per_minute", 1),), Use(0, 0, 0))

    async def standing(self, limit: Limit) -> Standing:
        """How a limit stands, found out without changing it. For rates and budgets."""
        reservation = await self.granted((limit,), Use(0, 0, 0))
        (standing,) = reservation.standings
        self.counters.settle(reservation, Use(0, 0, 0))
        return standing


@contextmanager
def server_of(kind: str) -> Iterator[Valkey | None]:
    """What counters of that kind need."""
    if kind == "memory":
        yield None
        return
    with valkey(binary=redis_binary() if kind == "redis" else None) as running:
        yield running


@asynccontextmanager
async def world(server: Valkey | None) -> AsyncIterator[World]:
    """Nothing has been counted yet, and it is `START`."""
    if server is None:
        times = [START]
        yield World(MemoryCounters(lambda: times[0]), lambda now: times.__setitem__(0, now), START)
        return
    with redis.Redis(port=server.port) as client:

        def set_(now: int) -> None:
            client.hset(CLOCK, mapping={"seconds": now // 1000, "micros": now % 1000 * 1000 + 999})

        client.flushall()
        set_(START)
        here = World(MemoryCounters(lambda: 0), set_, START)
        async with replica(server, script=VIRTUAL, lease=1e9, now=lambda: here.now) as one:
            here.counters = one.counters
            yield here


@dataclass
class Replica:
    """One replica that counts on a server."""

    counters: RedisCounters
    failed: Counter[str] = field(default_factory=Counter)
    shared: list[bool] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    words: str = ""

    async def dies(self) -> None:
        """As if it had been killed: it tells nobody, and renews nothing."""
        task = self.counters._task
        assert task is not None
        task.cancel()
        await asyncio.wait((task,))

    async def until(self, shared: bool) -> None:
        """Until it counts together with others, or alone."""
        give_up = time.monotonic() + PATIENT
        while not self.shared or self.shared[-1] is not shared:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.002)


def time_of_day() -> int:
    """Milliseconds since 1970: the server has the same."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def replica(
    server: Valkey,
    *,
    away: Away = "share",
    script: str = SCRIPT,
    lease: float = LEASE,
    patience: float = PATIENT,
    url: str = "",
    joined: bool = True,
    now: Callable[[], int] = time_of_day,
) -> AsyncIterator[Replica]:
    """A replica, as a rule one that counts with the others already, and is patient with a busy machine."""
    failed: Counter[str] = Counter()
    shared: list[bool] = []
    log: list[str] = []

    def event(level: str, name: str, **details: Any) -> None:
        log.append(name)
        one.words += f"{level} {name} {details}\n"

    counters = RedisCounters(
        Secret(url or server.url()),
        now=now,
        away=away,
        failed=lambda kind: failed.update([kind]),
        shared=shared.append,
        event=event,
        patience=patience,
        lease=lease,
        script=script,
    )
    one = Replica(counters, failed, shared, log)
    counters.start()
    if joined:
        await counters.ready(PATIENT)
    try:
        yield one
    finally:
        await counters.aclose()
