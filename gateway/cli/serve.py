"""`gateway serve`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe

import uvloop
from rich.console import Console

from gateway.app.reload import Source
from gateway.cli.configuration import complain, configured
from gateway.cli.serving import NotListening, listening_on, serve_until_stopped
from gateway.cli.supervisor import supervise
from gateway.cli.telling import refuse
from gateway.cli.worker import Worker
from gateway.config.addresses import is_loopback
from gateway.config.environment import Found
from gateway.config.read import ConfigError
from gateway.config.resolve import Loaded
from gateway.config.snapshot import PERMISSIONS, Admin, AdminToken, Snapshot

ALONE = (
    "--workers above 1 needs Redis or Valkey: if each worker counted for itself, limits would be multiplied.\n"
    "Write `state: {redis: redis://127.0.0.1:6379}` into the configuration, or leave --workers out."
)

OPEN = (
    "will not listen on {host} while no keys are configured: everyone could spend your money.\n"
    "Add `keys:` to the configuration, or listen on 127.0.0.1."
)


def run(config: Path | None, *, host: str | None, port: int | None, workers: int, as_json: bool) -> int:
    """Serves until it is told to stop. Returns the exit status."""
    try:
        loaded, found = configured(config)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    token = ""
    if config is None:
        loaded, token = _managed(loaded)
    loaded = _listening_on(loaded, host, port)
    snapshot, where = loaded.snapshot, loaded.snapshot.server
    if _is_open(snapshot):
        return refuse(OPEN.format(host=where.host), as_json=as_json)
    if workers > 1 and snapshot.state.redis is None:
        return refuse(ALONE, 2, as_json=as_json)
    human = sys.stdout.isatty() and not as_json
    worker = Worker.here()
    try:
        listening = listening_on(where.host, worker.port if worker else where.port, shared=worker is not None)
    except NotListening as error:
        return refuse(str(error), as_json=as_json)
    address = listening.getsockname()

    def greet() -> None:
        if worker is None and (human or (config is None and not as_json)):
            _greet(Console(highlight=False), snapshot, found, address[1], token)

    if workers > 1 and worker is None:
        return supervise(workers, listening, human=human, greet=greet)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        source = _source(config, host, port, worker) if config else None
        runner.run(serve_until_stopped(loaded, listening, human=human, greet=greet, worker=worker, source=source))
    return 0


def _listening_on(loaded: Loaded, host: str | None, port: int | None) -> Loaded:
    """The command line's word on the address is the last one."""
    written = loaded.snapshot.server
    chosen = replace(written, host=host or written.host, port=written.port if port is None else port)
    return replace(loaded, snapshot=replace(loaded.snapshot, server=chosen))


def _managed(loaded: Loaded) -> tuple[Loaded, str]:
    """Without a file there is no admin token either: one is made for as long as this process lives."""
    token = token_urlsafe(18)
    admin = Admin(tokens=(AdminToken("local", sha256(token.encode()).digest(), frozenset(PERMISSIONS)),))
    return replace(loaded, snapshot=replace(loaded.snapshot, admin=admin)), token


def _is_open(snapshot: Snapshot) -> bool:
    """Whether anybody could call who can reach the address."""
    return not snapshot.keys and not is_loopback(snapshot.server.host)


def _source(config: Path, host: str | None, port: int | None, worker: Worker | None) -> Source:
    """What is looked at again while the gateway runs."""
    return Source(config, lambda: _once_more(config, host, port), worker.all_again if worker else lambda: None)


def _once_more(config: Path, host: str | None, port: int | None) -> Loaded:
    """The configuration as it is now, for a gateway that listens already. Raises ConfigError."""
    loaded = _listening_on(configured(config)[0], host, port)
    if _is_open(loaded.snapshot):
        loaded.review.complain(("keys",), OPEN.format(host=loaded.snapshot.server.host).replace("\n", " "))
        raise ConfigError(loaded.review.complaints)
    return loaded


def _greet(console: Console, snapshot: Snapshot, found: tuple[Found, ...], port: int, token: str) -> None:
    """What was found, where the dashboard is, and a first call to try."""
    address = f"http://{snapshot.server.host}:{port}"
    console.print(f"[bold]gateway[/bold] on {address}")
    if snapshot.admin.tokens:
        console.print(f"[bold]dashboard[/bold] on {address}/dashboard")
    if token:
        console.print(f"  sign in with {token}, which is valid until the gateway stops", soft_wrap=True)
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
