"""`gateway serve`."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console

from gateway.app import Gateway, now
from gateway.cli.check import complain
from gateway.cli.configuration import configured
from gateway.config.addresses import is_loopback
from gateway.config.environment import Found
from gateway.config.read import ConfigError
from gateway.config.snapshot import Snapshot
from gateway.sinks.logs import Logs, Writer
from gateway.web.server import listen, server


def run(config: Path | None, *, host: str | None, port: int | None, workers: int, as_json: bool) -> int:
    """Serves until it is told to stop. Returns the exit status."""
    if workers > 1:
        return _sorry("--workers above 1 is not supported yet; run one process per core, each on a port of its own.", 2)
    try:
        snapshot, found = configured(config)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    snapshot = _listening_on(snapshot, host, port)
    where = snapshot.server
    if not snapshot.keys and not is_loopback(where.host):
        return _sorry(
            f"will not listen on {where.host} while no keys are configured: everyone could spend your money.\n"
            "Add `keys:` to the configuration, or listen on 127.0.0.1."
        )
    try:
        listening = listen(where.host, where.port)
    except OSError as error:
        return _sorry(f"cannot listen on {where.host}:{where.port}: {error.strerror}.")
    human = sys.stdout.isatty() and not as_json
    if human or (config is None and not as_json):
        _greet(Console(highlight=False), snapshot, found, listening)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(snapshot, listening, human=human))
    return 0


def _listening_on(snapshot: Snapshot, host: str | None, port: int | None) -> Snapshot:
    """The command line's word on the address is the last one."""
    written = snapshot.server
    chosen = replace(written, host=host or written.host, port=written.port if port is None else port)
    return replace(snapshot, server=chosen)


def _sorry(message: str, status: int = 1) -> int:
    print(f"gateway: {message}", file=sys.stderr)
    return status


async def _serve(snapshot: Snapshot, listening: socket.socket, *, human: bool) -> None:
    writer = Writer(sys.stdout.fileno())
    logs = Logs(writer, now, human=human)
    logging.basicConfig(level=logging.WARNING, handlers=[logs])
    try:
        async with Gateway(snapshot, logs).open() as gateway:
            address = listening.getsockname()
            logs.event("info", "ready", address=f"{address[0]}:{address[1]}", config=snapshot.digest[:12])
            if not snapshot.keys:
                logs.event("warning", "no_keys", message="No keys are configured: everyone on this machine may call.")
            _settle_down()
            serving = server(gateway.app, gateway.app.calls, drain=snapshot.server.drain)
            serving.stop_on_signals(asyncio.get_running_loop())
            await serving.serve(sockets=[listening])
            logs.event("info", "stopped")
    finally:
        writer.close()


def _settle_down() -> None:
    """What has been made so far stays for good, so the garbage collector need not look at it again and again.

    Calls leave few cycles behind: to look for them at every 700th object costs 3 % of a call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _greet(console: Console, snapshot: Snapshot, found: tuple[Found, ...], listening: socket.socket) -> None:
    """What was found, and a first call to try."""
    port = listening.getsockname()[1]
    console.print(f"[bold]gateway[/bold] on http://{snapshot.server.host}:{port}")
    for each in found:
        console.print(f"  {each}", markup=False)
    model = next(iter(snapshot.models), "echo")
    if not snapshot.keys:
        console.print("[yellow]No keys are configured: everyone on this machine may call, and nobody else.[/yellow]")
    console.print("\nTry it:\n", markup=False)
    console.print(
        f"  curl http://127.0.0.1:{port}/v1/chat/completions -H 'content-type: application/json' \\\n"
        f'    -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}\'\n',
        markup=False,
        soft_wrap=True,
    )
