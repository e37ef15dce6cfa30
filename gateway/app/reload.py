"""Reading the configuration once more: because its file has changed, on SIGHUP, or because somebody asks for it.

A file that cannot be served changes nothing. It is told of, each complaint with its line and column, and what runs goes
on. Reading is done in a thread: a file may be on a disk that is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from gateway.admin.service import NoFile
from gateway.app.times import now
from gateway.config.complaints import ConfigError
from gateway.config.resolve import Loaded
from gateway.config.snapshot import Snapshot
from gateway.web.api.desk import Reload, Status

EVERY = 1.0
"""Seconds between two looks at the file.

The file is looked at, and not only watched: a ConfigMap arrives as another target of a link, and a mounted folder of
another machine tells nobody of changes.
"""

FIXED: tuple[tuple[str, Callable[[Snapshot], object]], ...] = (
    ("server.host", lambda snapshot: snapshot.server.host),
    ("server.port", lambda snapshot: snapshot.server.port),
    ("server.drain", lambda snapshot: snapshot.server.drain),
    ("server.max_connections", lambda snapshot: snapshot.server.max_connections),
    ("state", lambda snapshot: snapshot.state),
)
"""What is only looked at when the gateway starts."""


class Source(NamedTuple):
    """Where a configuration comes from."""

    file: Path
    read: Callable[[], Loaded]
    """Blocks. Raises ConfigError."""
    others: Callable[[], None] = lambda: None
    """Has everybody else who runs on it read it once more, too."""
    every: float = EVERY
    """Seconds between two looks."""


class Reloading:
    """The configuration of one gateway, kept up with its source. `adopt` lets another come into force."""

    def __init__(
        self,
        written: Loaded,
        source: Source | None,
        adopt: Callable[[Loaded], Awaitable[None]],
        *,
        counted: Callable[[str], None],
        event: Callable[..., None],
    ) -> None:
        self._written = written
        self._source = source
        self._adopt = adopt
        self._counted = counted
        self._event = event
        self._since = now()
        self._last: Reload | None = None
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._read_last = written.snapshot.digest
        """Of what stood in the file when it was read."""

    def status(self) -> Status:
        """What there is to know of it."""
        return Status(str(self._source.file) if self._source else None, self._since, self._last)

    def soon(self) -> None:
        """Once more, within a moment. What is wrong is in the log."""
        self._wanted.set()

    async def __call__(self) -> Reload:
        """Once more, now. Raises ConfigError for a file that cannot be served, and NoFile where there is none."""
        if self._source is None:
            raise NoFile
        try:
            return await self._read(self._source)
        finally:
            self._source.others()

    async def _read(self, source: Source) -> Reload:
        async with self._lock:
            self._read_last = await _look(source.file)
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(None, source.read)
            except ConfigError as error:
                self._last = Reload(now(), complaints=tuple(error.complaints))
                self._counted("failed")
                self._event("error", "config_refused", complaints=[str(each) for each in error.complaints])
                raise
            await self._take(loaded)
            self._last = Reload(now(), loaded.snapshot.digest)
            self._counted("ok")
            return self._last

    async def _take(self, loaded: Loaded) -> None:
        before, snapshot = self._written.snapshot, loaded.snapshot
        self._written = loaded
        await self._adopt(loaded)
        if snapshot.digest != before.digest:
            self._since = now()
        self._event("info", "config_loaded", config=snapshot.digest[:12], changed=snapshot.digest != before.digest)
        if fixed := [name for name, part in FIXED if part(snapshot) != part(before)]:
            self._event("warning", "restart_needed", changed=fixed)

    async def watch(self) -> None:
        """Reads the file once more when it has changed and is not being written any more. Until cancelled."""
        if self._source is None:
            return
        seen = self._read_last
        while True:
            wanted = await self._pause(self._source.every)
            before, seen = seen, await _look(self._source.file)
            if wanted or (seen == before and seen != self._read_last):
                await self._try(self._source)

    async def _try(self, source: Source) -> None:
        """Whatever comes of it, the next change is looked at again."""
        try:
            await self._read(source)
        except ConfigError:
            pass  # it has been told of
        except Exception as error:
            self._counted("failed")
            self._event("error", "config_not_read", error=type(error).__name__)

    async def _pause(self, seconds: float) -> bool:
        """Until the next look; whether it was cut short."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        wanted = self._wanted.is_set()
        self._wanted.clear()
        return wanted


async def _look(file: Path) -> str:
    """The SHA-256 of what stands there, as a snapshot has it; empty if it cannot be read."""
    return await asyncio.get_running_loop().run_in_executor(None, _digest, file)


def _digest(file: Path) -> str:
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
