"""Keeps what providers publish by listing it (`models: discover`) up to date, while the gateway runs.

Providers are asked at the start, when the configuration changes, and every hour. One that is away keeps the models that
it listed last. The running snapshot is replaced only when a list has changed: each replacement opens connections anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Protocol

from gateway.config.discovered import with_discovered
from gateway.config.snapshot import Provider, Snapshot
from gateway.core.errors import UpstreamError

EVERY = 3600.0
"""Seconds between two rounds."""

AGAIN = 60.0
"""Seconds until the next round, after one in which a provider did not answer."""

Ask = Callable[[Provider], Awaitable[tuple[str, ...]]]
"""What a provider lists. Raises UpstreamError."""


class Tell(Protocol):
    """The log."""

    def __call__(self, level: str, event: str, **details: object) -> None: ...


class Rediscovery:
    """The configuration as it is written, and what its providers have listed."""

    def __init__(self, written: Snapshot, ask: Ask, tell: Tell, *, every: float = EVERY, again: float = AGAIN) -> None:
        self._written = written
        self._every = every
        self._again = again
        self._ask = ask
        self._tell = tell
        self._listed: Mapping[str, tuple[str, ...]] = {}
        self._wanted = asyncio.Event()
        self._asked_once = asyncio.Event()

    def adopt(self, written: Snapshot) -> Snapshot:
        """Goes on from another configuration. Returns it with what is known; its providers are asked at once."""
        self._written = written
        self._wanted.set()
        return with_discovered(written, self._listed)

    async def ready(self, within: float) -> None:
        """Returns once the first round is over, or after so many seconds."""
        if self._written.to_discover:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._asked_once.wait()

    async def run(self, replace: Callable[[Snapshot], Coroutine[None, None, None]]) -> None:
        """Round after round, until cancelled. `replace` may take as long as the calls on the old snapshot do."""
        async with asyncio.TaskGroup() as replacing:
            while True:
                self._wanted.clear()
                before = self._listed
                complete = await self._round()
                if self._listed != before:
                    replacing.create_task(replace(with_discovered(self._written, self._listed)))
                    await asyncio.sleep(0)  # lets it take effect before anyone is told to be ready
                self._asked_once.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every if complete else self._again):
                        await self._wanted.wait()

    async def _round(self) -> bool:
        """Asks every provider that publishes what it lists. Returns whether all of them answered."""
        providers = [self._written.providers[name] for name in self._written.to_discover]
        lists = await asyncio.gather(*(self._list(provider) for provider in providers))
        fresh = {provider.name: models for provider, models in zip(providers, lists, strict=True) if models is not None}
        self._listed = {**self._listed, **fresh}
        return len(fresh) == len(providers)

    async def _list(self, provider: Provider) -> tuple[str, ...] | None:
        try:
            models = await self._ask(provider)
        except UpstreamError as error:
            kept = len(self._listed.get(provider.name, ()))
            self._tell("warning", "models_not_listed", provider=provider.name, error=error.noted, kept=kept)
            return None
        if models != self._listed.get(provider.name):
            self._tell("info", "models_listed", provider=provider.name, models=len(models))
        return models
