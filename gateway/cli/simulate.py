"""`gateway simulate`."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from gateway.simulator.api import GRAMMARS
from gateway.simulator.faults import Faults, Unreadable, read
from gateway.simulator.server import Simulator


def run(
    type: str,
    port: int,
    *,
    fail: list[str],
    first_token_delay: str | None,
    chunk_delay: str | None,
    cut_after: int | None,
    stall_after: int | None,
) -> int:
    """Plays the provider until it is interrupted. Returns the exit status."""
    if type not in GRAMMARS:
        known = ", ".join(sorted(GRAMMARS))
        print(f"gateway: there is no provider type `{type}`; there are: {known}.", file=sys.stderr)
        return 2
    try:
        faults = read(
            fail=fail,
            first_token_delay=first_token_delay,
            chunk_delay=chunk_delay,
            cut_after=cut_after,
            stall_after=stall_after,
        )
    except Unreadable as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_play(type, faults, port))


async def _play(type: str, faults: Faults, port: int) -> int:
    stopped = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    simulator = Simulator(faults, type=type)
    try:
        await simulator.start(port)
    except OSError as error:
        print(f"gateway: cannot listen on port {port}: {error.strerror}.", file=sys.stderr)
        return 1
    print(f"{type}, simulated, at {simulator.url}", flush=True)
    await stopped.wait()
    await simulator.aclose()
    return 0
