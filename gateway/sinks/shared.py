"""The metrics of several workers as one: /metrics reaches any of them, and each answers for all.

Each writes what it has counted into a folder, every second and whenever it is asked, and adds up what stands there.
So a counter never goes down: what a worker has told of itself can be read by all others. What a worker that is gone
had counted is moved to the file of the departed, which names those that it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from gateway.sinks.metrics import Metrics

EVERY = 1.0
"""Seconds between two writes: by so much a worker is behind in what the others tell of it."""
SHARE = 0.01
"""Of a worker's time, which writing may take: with tens of thousands of series it is done less often."""

SUFFIX, UNFINISHED = ".json", ".new"
DEPARTED = "departed"
OF = "of"
"""In the file of the departed: whose totals it holds."""


class Shared:
    """One worker's place among the others. Its name is unlike that of any worker before it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def exposition(self, metrics: Metrics) -> bytes:
        """What Prometheus reads: of this worker now, and of the others as they last wrote it. Raises OSError."""
        self._write(metrics)
        everybody = added_up(self._folder)
        everybody.also_litellms = metrics.also_litellms
        return everybody.exposition()

    @asynccontextmanager
    async def written(self, measured: Callable[[], Metrics]) -> AsyncIterator[None]:
        """Writes them every second, and at the end. `measured` gives them as they are now."""
        task = asyncio.get_running_loop().create_task(self._keep_writing(measured))
        try:
            yield
        finally:
            task.cancel()
            self._try_to_write(measured())

    async def _keep_writing(self, measured: Callable[[], Metrics]) -> None:
        while True:
            began = monotonic()
            self._try_to_write(measured())
            await asyncio.sleep(max(EVERY, (monotonic() - began) / SHARE))

    def _try_to_write(self, metrics: Metrics) -> None:
        with suppress(OSError):  # a full disk: whoever asks is told of it, and the next second may be better
            self._write(metrics)

    def _write(self, metrics: Metrics) -> None:
        _replace(self._folder / f"{self._name}{SUFFIX}", metrics.totals())


def added_up(folder: Path) -> Metrics:
    """What all workers have counted, those that are gone included."""
    living = list(_living(folder))
    # Last, because a worker may go while we read: its file is removed once it stands here.
    departed = _read(folder / f"{DEPARTED}{SUFFIX}") or {}
    metrics = Metrics()
    metrics.add(departed)
    for name, totals in living:
        if name not in departed.get(OF, ()):
            metrics.add(totals)
    return metrics


def depart(folder: Path, name: str) -> None:
    """Keeps what a worker had counted that is gone. For one process, which is none of the workers. Raises OSError."""
    own, all_ = folder / f"{name}{SUFFIX}", folder / f"{DEPARTED}{SUFFIX}"
    departed = _read(all_) or {}
    metrics = Metrics()
    metrics.add(departed)
    metrics.add(_read(own) or {})
    _replace(all_, {**metrics.lasting(), OF: [*departed.get(OF, ()), name]})
    for path in (own, own.with_suffix(UNFINISHED)):
        path.unlink(missing_ok=True)


def _living(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in folder.glob(f"*{SUFFIX}"):
        if path.stem != DEPARTED and (totals := _read(path)) is not None:
            yield path.stem, totals


def _read(path: Path) -> Any:
    """What stands in a file; None if it is not there."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def _replace(path: Path, content: object) -> None:
    """Whoever reads the file finds all of it, or all of what was there before."""
    unfinished = path.with_suffix(UNFINISHED)
    unfinished.write_bytes(orjson.dumps(content))
    unfinished.replace(path)
