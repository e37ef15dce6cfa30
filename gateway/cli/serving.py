"""A gateway at work until somebody stops it: what `serve` and `demo` share."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from select import PIPE_BUF

from gateway.app.gateway import Gateway
from gateway.app.reload import Source
from gateway.app.times import now
from gateway.cli.worker import Worker
from gateway.config.resolve import Loaded
from gateway.sinks.logs import AT_ONCE, Logs, Writer
from gateway.web.bounds import Bounds, room
from gateway.web.server import BACKLOG, bind, listen, server


class NotListening(Exception):
    """The address cannot be had; the message is for the person who named it."""


def listening_on(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that listens; or one that does not yet, if others listen at the address too. Raises NotListening."""
    try:
        return bind(host, port, shared=True) if shared else listen(host, port)
    except OSError as error:
        raise NotListening(f"cannot listen on {host}:{port}: {error.strerror}.") from None


async def serve_until_stopped(
    loaded: Loaded,
    listening: socket.socket,
    *,
    human: bool,
    greet: Callable[[], None],
    worker: Worker | None = None,
    source: Source | None = None,
) -> None:
    """Answers what comes to the socket until SIGINT or SIGTERM, and logs to standard output.

    `greet` is called once calls are answered and a signal ends them well; `human` makes log lines plain text.
    `worker` tells that this process is one of several, and knows the others. What comes from a `source` is read once
    more when that changes, and on SIGHUP.
    """
    snapshot = loaded.snapshot
    writer = Writer(sys.stdout.fileno(), AT_ONCE if worker is None else PIPE_BUF)
    logs = Logs(writer, now, human=human)
    logging.basicConfig(level=logging.WARNING, handlers=[logs])
    try:
        async with opened(loaded, logs, worker, source) as gateway:
            bounds = Bounds(connections=room(snapshot.server.max_connections))
            serving = server(gateway.app, gateway.app.calls, drain=snapshot.server.drain, bounds=bounds)
            serving.stop_on_signals(asyncio.get_running_loop())
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.reload.soon)
            listening.listen(BACKLOG)  # a worker's does not before: calls would wait for it, which others could answer
            greet()
            host, port, *_ = listening.getsockname()
            at, config = f"{host}:{port}", snapshot.digest[:12]
            logs.event("info", "ready", address=at, config=config, connections=bounds.connections)
            if not snapshot.keys:
                logs.event("warning", "no_keys", message="No keys are configured: everyone on this machine may call.")
            _settle_down()
            if worker is not None:
                worker.ready(partial(setattr, serving, "should_exit", True))
            await serving.serve(sockets=[listening])
            logs.event("info", "stopped")
    finally:
        writer.close()


@asynccontextmanager
async def opened(loaded: Loaded, logs: Logs, worker: Worker | None, source: Source | None) -> AsyncIterator[Gateway]:
    """The gateway, whose metrics are those of all workers if there are several."""
    if worker is None:
        async with Gateway(loaded, logs, source=source).open() as gateway:
            yield gateway
    else:
        built = Gateway(loaded, logs, spell=worker.shared.exposition, source=source)
        # The totals are written once more when the gateway has closed: then every call is in them.
        async with worker.shared.written(built.measured), built.open() as gateway:
            yield gateway


def _settle_down() -> None:
    """What has been made so far stays for good, so the garbage collector need not look at it again and again.

    Calls leave few cycles behind: to look for them at every 700th object costs 3 % of a call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
