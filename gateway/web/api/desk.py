"""What the admin API needs of the gateway that it manages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from gateway.admin.providers import Look
from gateway.admin.service import NoDatabase
from gateway.config.complaints import Complaint
from gateway.config.resolve import Loaded
from gateway.config.snapshot import Snapshot
from gateway.core.deed import Deed
from gateway.core.errors import Overloaded
from gateway.ports import Clock
from gateway.routing.board import Board

if TYPE_CHECKING:
    from gateway.store.archive import Archive, Shelves

AT_ONCE = 4
"""Threads for what blocks. A database that hangs makes callers of this API wait, and nobody else."""

WAITING = 64
"""Requests that may wait for one of them. More are refused."""

Found = TypeVar("Found")


class Reload(NamedTuple):
    """What came of reading the configuration once more."""

    time: float
    """Seconds since 1970."""
    digest: str = ""
    """Of the configuration that is in force since; empty where none came of it."""
    complaints: tuple[Complaint, ...] = ()
    """Why not."""


class Status(NamedTuple):
    """What the gateway knows of its configuration besides what is in it."""

    file: str | None = None
    """None: it runs without one."""
    since: float | None = None
    """When it came into force, in seconds since 1970."""
    last_reload: Reload | None = None


class Reloading(Protocol):
    """Reads the configuration once more, and lets it come into force."""

    def __call__(self) -> Awaitable[Reload]:
        """Raises ConfigError for one that cannot be, and NotDone where there is none to read."""


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Desk:
    """All of it. What is called is called in the event loop, but for `now`."""

    snapshot: Callable[[], Snapshot]
    """What calls run on now: the configuration, and what was made at run time."""
    written: Callable[[], Loaded]
    """The configuration alone, with what it was made of."""
    board: Board
    clock: Clock
    now: Callable[[], float]
    """The time of day, in seconds since 1970."""
    say: Callable[..., None]
    """The log: `say(level, event, **details)`."""
    crashed: Callable[[str, BaseException], None]
    """Told of what should not have happened: a defect of ours, with the request's id."""
    look: Look
    """Looks at a provider from outside."""
    archive: Archive | None = None
    """None: the configuration names no database."""
    status: Callable[[], Status] = Status
    reload: Reloading | None = None
    """None: what it runs on cannot be read once more."""
    refresh: Callable[[], Awaitable[None]] = _nothing
    """Takes over at once what has been changed in the database, without which it takes some seconds."""
    threads: Threads = field(default_factory=lambda: Threads())

    def tell(self, deeds: Iterable[Deed]) -> None:
        """One line in the log for each. Of what was changed it has the names: the values are in the audit log."""
        for deed in deeds:
            self.say(
                "info",
                "admin_change",
                who=deed.actor.name,
                address=deed.actor.address,
                action=deed.action,
                subject=deed.subject,
                fields=[change.field for change in deed.changes],
            )

    async def shelves(self, work: Callable[[Shelves], Found]) -> Found:
        """Does something with the database, in a thread. Raises NoDatabase, DatabaseAway and Overloaded."""
        archive = self.archive
        if archive is None:
            raise NoDatabase
        return await self.threads.run(lambda: work(archive.open()))


class Threads:
    """Where blocking work is done: so much at once, and so much in waiting."""

    def __init__(self, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._pool = ThreadPoolExecutor(at_once, "admin")
        self._most = at_once + waiting
        self._under_way = 0

    async def run(self, work: Callable[[], Found]) -> Found:
        """Raises Overloaded."""
        if self._under_way >= self._most:
            raise Overloaded("Too many requests wait for the database; try again later.")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1
