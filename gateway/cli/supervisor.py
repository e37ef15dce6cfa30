"""The process behind `gateway serve --workers N`: it answers no calls itself, and keeps N processes that do.

Each of them is a `gateway serve` like this one. To each other they are what replicas are, but that they share an
address, which is kept here. A worker stops when its line to the supervisor ends, because all are to stop or because the
supervisor is gone. No signal is sent for that: service managers send theirs to every process, and a second one means
not to wait.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.app.times import now
from gateway.cli.worker import READY, SIGNALS, Place
from gateway.sinks.logs import Logs, Writer
from gateway.sinks.shared import depart
from gateway.web.server import bind

TWICE = (signal.SIGINT, signal.SIGTERM)
"""How a second signal is passed on, of which a worker may not have had the first. Two of a kind could come as one."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a worker that has died is replaced: twice as long each time, up to this, if it dies again and again."""

STEADY = 60.0
"""Seconds after which a worker that dies has not died again, but for the first time."""


def supervise(workers: int, listening: socket.socket, *, human: bool, greet: Callable[[], None]) -> int:
    """Keeps so many workers at this address until it is told to stop. Returns the worst of their exit statuses.

    `greet` is called once calls are answered; `human` makes log lines plain text.
    """
    writer = Writer(sys.stdout.fileno())
    logs = Logs(writer, now, human=human)
    try:
        # Not uvloop, whose processes begin without the signal mask of their parent.
        with _kept(listening) as port, TemporaryDirectory(prefix="gateway-") as folder, asyncio.Runner() as runner:
            return runner.run(Supervisor(port, Path(folder), logs).run(workers, greet))
    finally:
        writer.close()


@contextmanager
def _kept(listening: socket.socket) -> Iterator[int]:
    """Keeps an address that nobody else has, for processes that are to share it. Yields the port."""
    host, port, *_ = listening.getsockname()
    listening.close()
    with bind(host, port, shared=True):
        yield port


@dataclass(frozen=True, slots=True)
class Running:
    """A worker, as its supervisor sees it."""

    name: str
    process: Process
    line: socket.socket

    async def is_ready(self) -> bool:
        """Returns when it answers calls; or, with False, when it has ended before."""
        with suppress(ConnectionError):
            return await asyncio.get_running_loop().sock_recv(self.line, 1) == READY
        return False

    def let_go(self) -> None:
        """Makes it stop, and end the calls that it has begun."""
        with suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


class Supervisor:
    """The workers and whoever is to replace them."""

    def __init__(self, port: int, folder: Path, logs: Logs) -> None:
        self._port = port
        self._folder = folder
        self._logs = logs
        self._running: dict[int, Running] = {}
        self._names = count(1)
        self._stopped = asyncio.Event()

    async def run(self, workers: int, greet: Callable[[], None]) -> int:
        """Until a signal comes, or the first worker cannot start: then none could."""
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        first = await self._start(1, "worker_started")
        if not await first.is_ready():
            return await self._ended(1, first)
        greet()
        others = (self._keep(number) for number in range(2, workers + 1))
        return max(await asyncio.gather(self._keep(1, first), *others))

    async def _keep(self, number: int, worker: Running | None = None) -> int:
        """Sees to it that there is this worker until all are to stop. Gives the exit status of the last one."""
        clock, pause, event, status = asyncio.get_running_loop().time, SHORTEST_PAUSE, "worker_started", 0
        while worker is not None or not self._stopped.is_set():
            began = clock()
            try:
                status = await self._ended(number, worker or await self._start(number, event))
            except OSError as error:  # there is no room for another process
                self._logs.event("error", "worker_not_started", worker=number, error=str(error))
            if clock() - began > STEADY:
                pause = SHORTEST_PAUSE
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), pause)
            worker, event, pause = None, "worker_restarted", min(2 * pause, LONGEST_PAUSE)
        return status

    async def _start(self, number: int, event: str) -> Running:
        """The same command once more, as a process that knows that it is a worker."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        place = Place(self._port, theirs.fileno(), str(self._folder), f"worker-{next(self._names)}")
        # It inherits what is blocked here: a signal that comes before it can be handled waits for that.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *sys.orig_argv[1:],
                env=place.environment(),
                stdin=DEVNULL,
                pass_fds=[place.supervisor],
                process_group=0,  # else Ctrl-C would reach it twice, and not wait for its calls
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            theirs.close()
        self._running[number] = worker = Running(place.name, process, ours)
        self._logs.event("info", event, worker=number, pid=process.pid)
        if self._stopped.is_set():
            worker.let_go()
        return worker

    async def _ended(self, number: int, worker: Running) -> int:
        """Waits until it has ended. Gives its exit status, as a shell would."""
        status = await worker.process.wait()
        how = f"exit status {status}" if status >= 0 else f"signal {-status} ({signal.strsignal(-status)})"
        if status or not self._stopped.is_set():
            self._logs.event("error", "worker_died", worker=number, pid=worker.process.pid, how=how)
        del self._running[number]
        worker.line.close()
        with suppress(OSError):  # a full disk: it stays among the living, so that no counter goes down
            depart(self._folder, worker.name)
        return status if status >= 0 else 128 - status

    def _signalled(self, number: int) -> None:
        """The first signal to stop lets calls end; the next one does not, and others are for the workers to judge."""
        if number == signal.SIGHUP or self._stopped.is_set():
            passed_on = (number,) if number == signal.SIGHUP else TWICE
            for worker in self._running.values():
                for each in passed_on:
                    worker.signal(each)
            return
        self._stopped.set()
        for worker in self._running.values():
            worker.let_go()
