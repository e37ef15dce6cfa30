"""One of the processes of `gateway serve --workers N`: what its supervisor gives it, and what it tells that one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

from gateway.sinks.shared import Shared

VARIABLE = "GATEWAY_WORKER"
"""In the environment of a worker: its place."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Those that wait until a worker has started: else they would kill it."""

READY = b"."


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker is given."""

    port: int
    supervisor: int
    """Its line to the supervisor: the number of an open file."""
    folder: str
    """Where all workers write their totals."""
    name: str

    def environment(self) -> dict[str, str]:
        """That of a process at this place."""
        return {**os.environ, VARIABLE: orjson.dumps(self).decode()}


class Worker:
    """This process, as a worker."""

    def __init__(self, place: Place) -> None:
        self.port = place.port
        self.shared = Shared(Path(place.folder), place.name)
        self._supervisor = socket.socket(fileno=place.supervisor)

    @classmethod
    def here(cls) -> Self | None:
        """None if this process is none."""
        written = os.environ.get(VARIABLE)
        return None if written is None else cls(Place(**orjson.loads(written)))

    def all_again(self) -> None:
        """Has all workers read their configuration once more, this one included: the supervisor passes it on."""
        os.kill(os.getppid(), signal.SIGHUP)

    def ready(self, stop: Callable[[], None]) -> None:
        """Tells that calls are answered. `stop` is called when the supervisor lets go of its workers, or is gone."""
        # What nobody here listens to stays blocked.
        heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_DFL]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
        loop = asyncio.get_running_loop()

        def let_go() -> None:
            loop.remove_reader(self._supervisor)
            stop()

        loop.add_reader(self._supervisor, let_go)
        with suppress(OSError):  # it is gone, which the reader is told of too
            self._supervisor.send(READY)
