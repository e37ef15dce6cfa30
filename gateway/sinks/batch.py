"""Settled calls wait here for a moment and are then told to the other sinks one after the other.

Done in a batch, counting and logging find their code and data in the processor's caches; done at the end of every call,
between two others, they cost it three times as much. What waits is lost if the process is killed, so nothing that must
not be lost may stand behind this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.engine.entry import Entry, Sink

GATHER = 0.05
"""Seconds that a settled call may wait."""


class Batch:
    """A sink in front of others."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._entries: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, entry: Entry) -> None:
        self._entries.append(entry)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER, self.flush)

    def flush(self) -> None:
        """Tells what has been waiting. To be called before anyone looks at the other sinks, and at the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        entries, self._entries = self._entries, []
        for sink in self._sinks:
            for entry in entries:
                sink(entry)
