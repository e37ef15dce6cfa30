"""A gateway at work until somebody stops it: what `serve` and `demo` share."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable

from gateway.app import Gateway, now
from gateway.config.snapshot import Snapshot
from gateway.sinks.logs import Logs, Writer
from gateway.web.server import listen, server


class NotListening(Exception):
    """The address cannot be had; the message is for the person who named it."""


def listening_on(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises NotListening."""
    try:
        return listen(host, port)
    except OSError as error:
        raise NotListening(f"cannot listen on {host}:{port}: {error.strerror}.") from None


async def serve_until_stopped(
    snapshot: Snapshot, listening: socket.socket, *, human: bool, greet: Callable[[], None]
) -> None:
    """Answers what comes to the socket until SIGINT or SIGTERM, and logs to standard output.

    `greet` is called once calls are answered and a signal ends them well; `human` makes log lines plain text.
    """
    writer = Writer(sys.stdout.fileno())
    logs = Logs(writer, now, human=human)
    logging.basicConfig(level=logging.WARNING, handlers=[logs])
    try:
        async with Gateway(snapshot, logs).open() as gateway:
            serving = server(gateway.app, gateway.app.calls, drain=snapshot.server.drain)
            serving.stop_on_signals(asyncio.get_running_loop())
            greet()
            address = listening.getsockname()
            logs.event("info", "ready", address=f"{address[0]}:{address[1]}", config=snapshot.digest[:12])
            if not snapshot.keys:
                logs.event("warning", "no_keys", message="No keys are configured: everyone on this machine may call.")
            _settle_down()
            await serving.serve(sockets=[listening])
            logs.event("info", "stopped")
    finally:
        writer.close()


def sorry(message: str, status: int = 1) -> int:
    """Tells why a command does not run. Returns the exit status."""
    print(f"gateway: {message}", file=sys.stderr)
    return status


def _settle_down() -> None:
    """What has been made so far stays for good, so the garbage collector need not look at it again and again.

    Calls leave few cycles behind: to look for them at every 700th object costs 3 % of a call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
