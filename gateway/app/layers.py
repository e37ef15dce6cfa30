"""What is made at run time, laid over what is written: read from the database now and then, so that replicas agree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.admin.overlay import merged, unreadable
from gateway.admin.provider_overlay import Overlay
from gateway.app.times import now
from gateway.config.resolve import Loaded
from gateway.config.snapshot import Snapshot
from gateway.store.archive import Archive
from gateway.store.errors import DatabaseAway

if TYPE_CHECKING:
    from gateway.core.made_provider import MadeProvider
    from gateway.core.virtual_key import VirtualKey

EVERY = 2.0
"""Seconds between two looks into the database: a key that was revoked holds nowhere for more than twice as long."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made at run time, each kind with the version of its table."""

    keys: tuple[int, list[VirtualKey]]
    providers: tuple[int, list[MadeProvider]]

    @property
    def versions(self) -> tuple[int, int]:
        return self.keys[0], self.providers[0]


class Layers:
    """The configuration with everything that belongs over it. `changed` is called when that has become another."""

    def __init__(
        self, written: Loaded, archive: Archive | None, *, changed: Callable[[], None], event: Callable[..., None]
    ) -> None:
        self.written = written
        """The configuration alone."""
        self._archive = archive
        self._changed = changed
        self._event = event
        self._made: Made | None = None
        self._overlay: Overlay | None = None
        self._told: tuple[Mapping[str, str], ...] = ()
        self._looking = asyncio.Lock()
        self.loaded = written
        """What is written, with the providers that were made at run time."""

    def snapshot(self) -> Snapshot:
        """All of it."""
        keys = self._made.keys[1] if self._made else []
        return merged(self.loaded.snapshot, keys, now()) if keys else self.loaded.snapshot

    async def write(self, written: Loaded) -> None:
        """This is written from now on. One that goes without a database does so from the next start on."""
        async with self._looking:
            self.written = written
            self._overlay = None  # the keys that open secrets may be others
            await self._lay()

    async def look(self) -> None:
        """Looks once, and one at a time: what was seen before must not come after what was seen since."""
        async with self._looking:
            if self._archive is not None and await self._has_changed(self._archive):
                await self._lay()
                self._changed()

    async def _has_changed(self, archive: Archive) -> bool:
        before = self._made
        try:
            self._made = await asyncio.get_running_loop().run_in_executor(None, _read, archive, before)
        except DatabaseAway as error:
            if before is None:
                self._event("warning", "keys_unknown", error=str(error))
            return False
        return self._made is not before and (before is not None or bool(self._made.keys[1] or self._made.providers[1]))

    async def _lay(self) -> None:
        """Opens what is sealed, in a thread: a key service may have to be asked."""
        self.loaded = self.written
        if self._made is None:
            return
        told: list[Mapping[str, str]] = [unreadable(self._made.keys[1])]
        if self._made.providers[1]:
            found = await asyncio.get_running_loop().run_in_executor(None, self._over, self._made.providers[1])
            self.loaded, more = found
            told.append(more)
        before, self._told = self._told, tuple(told)
        for kind, whys, known in zip(("key", "provider"), told, (*before, {}, {}), strict=False):
            for name, why in whys.items():
                if known.get(name) != why:
                    self._event("error", f"{kind}_unreadable", **{kind: name}, error=why)

    def _over(self, providers: list[MadeProvider]) -> tuple[Loaded, Mapping[str, str]]:
        from gateway.store.vault import vault

        if self._overlay is None:
            self._overlay = Overlay(vault(self.written.snapshot.admin))
        found = self._overlay.over(self.written, providers)
        return found.loaded, found.told


def _read(archive: Archive, known: Made | None) -> Made:
    """What is there; the same object if nothing has changed. Blocks. Raises DatabaseAway."""
    shelves = archive.open()
    versions = shelves.keys.version(), shelves.providers.version()
    if known is not None and versions == known.versions:
        return known
    return Made((versions[0], shelves.keys.list()), (versions[1], shelves.providers.list()))
