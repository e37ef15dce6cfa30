"""`gateway serve`."""

from __future__ import annotations

import asyncio
import socket
import sys
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console

from gateway.cli.configuration import complain, configured
from gateway.cli.serving import NotListening, listening_on, serve_until_stopped, sorry
from gateway.config.addresses import is_loopback
from gateway.config.environment import Found
from gateway.config.read import ConfigError
from gateway.config.snapshot import Snapshot


def run(config: Path | None, *, host: str | None, port: int | None, workers: int, as_json: bool) -> int:
    """Serves until it is told to stop. Returns the exit status."""
    if workers > 1:
        return sorry("--workers above 1 is not supported yet; run one process per core, each on a port of its own.", 2)
    try:
        snapshot, found = configured(config)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    snapshot = _listening_on(snapshot, host, port)
    where = snapshot.server
    if not snapshot.keys and not is_loopback(where.host):
        return sorry(
            f"will not listen on {where.host} while no keys are configured: everyone could spend your money.\n"
            "Add `keys:` to the configuration, or listen on 127.0.0.1."
        )
    try:
        listening = listening_on(where.host, where.port)
    except NotListening as error:
        return sorry(str(error))
    human = sys.stdout.isatty() and not as_json

    def greet() -> None:
        if human or (config is None and not as_json):
            _greet(Console(highlight=False), snapshot, found, listening)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped(snapshot, listening, human=human, greet=greet))
    return 0


def _listening_on(snapshot: Snapshot, host: str | None, port: int | None) -> Snapshot:
    """The command line's word on the address is the last one."""
    written = snapshot.server
    chosen = replace(written, host=host or written.host, port=written.port if port is None else port)
    return replace(snapshot, server=chosen)


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
