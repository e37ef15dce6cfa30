"""Replicas of a gateway, as far as they tell each other of targets."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.core.secret import Secret
from gateway.ports import Notice
from gateway.store.redis import RedisNotices, encoded
from tests.house.valkey import Valkey

PATIENT = 10.0
"""Seconds after which a test gives up."""

ILL = Notice("openai", "gpt-4o", "ejected", 30.0, times=2)
FULL = Notice("claude", "haiku", "rate_limited", 12.0, asked=True)
WELL = Notice("openai", "gpt-4o", "well", 0.0)


@dataclass
class Replica:
    """One replica, and what has come to it."""

    notices: RedisNotices
    heard: asyncio.Queue[Notice]
    failed: Counter[str]
    log: list[tuple[str, str]] = field(default_factory=list)
    words: str = ""
    """Everything that was logged, in one string."""

    def tell(self, *notices: Notice) -> None:
        for notice in notices:
            self.notices.tell(notice)

    async def hears(self) -> Notice:
        """The next notice."""
        async with asyncio.timeout(PATIENT):
            return await self.heard.get()

    async def closes(self) -> float:
        """Seconds that it takes."""
        began = time.monotonic()
        await self.notices.aclose()
        return time.monotonic() - began


@asynccontextmanager
async def replica(url: str, *, started: bool = True) -> AsyncIterator[Replica]:
    """A replica with its Redis there."""

    def event(level: str, name: str, **details: object) -> None:
        one.log.append((level, name))
        one.words += f"{level} {name} {details}\n"

    failed: Counter[str] = Counter()
    notices = RedisNotices(Secret(url), failed=lambda kind: failed.update([kind]), event=event)
    one = Replica(notices, asyncio.Queue(), failed)
    if started:
        notices.start(one.heard.put_nowait)
    try:
        yield one
    finally:
        await notices.aclose()


@asynccontextmanager
async def replicas(server: Valkey, database: int = 0) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two that listen to each other, and have read what there was."""
    async with replica(server.url(database)) as one, replica(server.url(database)) as other:
        await listening(server, 2, database)
        server.command("PUBLISH", channel(database), b"1 " + encoded(FULL, "the test"))
        assert same(await one.hears(), FULL._replace(seconds=0.001))
        assert same(await other.hears(), FULL._replace(seconds=0.001))
        yield one, other


async def listening(server: Valkey, count: int, database: int = 0) -> None:
    """Waits until so many replicas listen. They may still be reading what holds already."""
    await until(lambda: server.command("PUBSUB", "NUMSUB", channel(database))[1] == count)


def channel(database: int = 0) -> str:
    """Where they listen."""
    return f"gateway:notices:{database}"


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what is to come."""
    async with asyncio.timeout(PATIENT):
        while not condition():  # noqa: ASYNC110  another process is looked at
            await asyncio.sleep(0.005)


def same(heard: Notice, told: Notice) -> bool:
    """Whether this is what was told, a while ago at most."""
    return heard._replace(seconds=0) == told._replace(seconds=0) and 0 <= told.seconds - heard.seconds < PATIENT
