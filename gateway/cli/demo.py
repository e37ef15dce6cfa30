"""`gateway demo`: the gateway with a simulator for every provider type. It reads no environment, so no key of yours."""

from __future__ import annotations

import asyncio
import socket
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_bytes
from tempfile import TemporaryDirectory

import uvloop

from gateway.cli.demo_configuration import CREDENTIAL, KEYS, TEXT, filled
from gateway.cli.demo_tour import Tour, show, show_json
from gateway.cli.serving import NotListening, listening_on, serve_until_stopped
from gateway.cli.telling import refuse
from gateway.config.resolve import load_all
from gateway.config.vendor_table import VENDORS
from gateway.simulator.faults import Faults, Unreadable, read
from gateway.simulator.server import Simulator

HOST = "127.0.0.1"

DRAIN = "1s"
"""Who stops a demo wants it gone: what still runs is a simulator's answer."""

TYPES = (
    "openai",
    "azure",
    "anthropic",
    "bedrock",
    "gemini",
    "cohere",
    "mistral",
    "ollama",
    "vllm",
    "openai_compatible",
)
"""Provider types that have a simulator of their own. Where each is found stands in a variable, such as OPENAI_URL."""

ALWAYS_FULL = Faults(fail=(("429", 1.0),), retry_after=0.0)
"""A full provider is left for the next one at once, where one with a 503 would first be asked again."""


def run(
    port: int,
    *,
    fail: list[str],
    first_token_delay: str | None,
    chunk_delay: str | None,
    print_config: bool,
    as_json: bool,
) -> int:
    """Serves until it is told to stop, or prints the configuration. Returns the exit status."""
    if print_config:
        print(TEXT, end="")
        return 0
    try:
        faults = read(fail=fail, first_token_delay=first_token_delay, chunk_delay=chunk_delay)
    except Unreadable as error:
        return refuse(str(error), 2, as_json=as_json)
    try:
        listening = listening_on(HOST, port)
    except NotListening as error:
        return refuse(f"{error} Choose a free port with `--port`, or any with `--port 0`.", as_json=as_json)
    with (
        TemporaryDirectory(prefix="gateway-demo-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_demonstrate(listening, faults, Path(folder, "gateway.yaml"), as_json=as_json))
    return 0


async def _demonstrate(listening: socket.socket, faults: Faults, file: Path, *, as_json: bool) -> None:
    port = listening.getsockname()[1]
    async with _simulated(faults) as urls:
        _write(filled({"GATEWAY_PORT": str(port), "GATEWAY_DRAIN": DRAIN, **_kept_beside(file), **urls}), file)
        loaded = load_all(file, {})
        greet = partial(show_json if as_json else show, Tour(f"http://{HOST}:{port}", file, loaded.snapshot, KEYS))
        human = sys.stdout.isatty() and not as_json
        await serve_until_stopped(loaded, listening, human=human, greet=greet)


@asynccontextmanager
async def _simulated(faults: Faults) -> AsyncIterator[Mapping[str, str]]:
    """Every provider on a free port. Yields their addresses, by the variables that hold them."""
    cast = {type: Simulator(faults, type=type, api_key=_wanted(type)) for type in TYPES}
    cast["always_full"] = Simulator(ALWAYS_FULL, type="openai_compatible")
    async with AsyncExitStack() as stack:
        for simulator in cast.values():
            await stack.enter_async_context(simulator)
        yield {f"{name.upper()}_URL": simulator.url for name, simulator in cast.items()}


def _wanted(type: str) -> str | None:
    """The key that a simulator asks for."""
    return CREDENTIAL if VENDORS[type].key_required else None


def _kept_beside(file: Path) -> Mapping[str, str]:
    """The variables for what is kept: all of it goes with the demo's folder, and the key with the process."""
    return {
        "GATEWAY_DATABASE": f"sqlite:///{file.with_name('gateway.db')}",
        "GATEWAY_ENCRYPTION_KEY": b64encode(token_bytes(32)).decode(),
    }


def _write(text: str, file: Path) -> None:
    """For other commands, which can read it there as long as the demo runs."""
    file.write_text(text)
