"""`gateway simulate`."""

from __future__ import annotations

import asyncio
import signal

import uvloop

from gateway.cli.telling import print_json, refuse
from gateway.config.complaints import did_you_mean, quoted
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
    as_json: bool,
) -> int:
    """Plays the provider until it is interrupted. Returns the exit status."""
    if type not in GRAMMARS:
        known = ", ".join(sorted(GRAMMARS))
        hint = did_you_mean(type, GRAMMARS)
        return refuse(f"there is no provider type {quoted(type)}{hint}; there are: {known}.", 2, as_json=as_json)
    try:
        faults = read(
            fail=fail,
            first_token_delay=first_token_delay,
            chunk_delay=chunk_delay,
            cut_after=cut_after,
            stall_after=stall_after,
        )
    except Unreadable as error:
        return refuse(str(error), 2, as_json=as_json)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_play(type, faults, port, as_json=as_json))


async def _play(type: str, faults: Faults, port: int, *, as_json: bool) -> int:
    stopped = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    simulator = Simulator(faults, type=type)
    try:
        await simulator.start(port)
    except OSError as error:
        return refuse(f"cannot listen on port {port}: {error.strerror}.", as_json=as_json)
    if as_json:
        print_json({"ok": True, "type": type, "url": simulator.url})
    else:
        print(f"{type}, simulated, at {simulator.url}. Ctrl-C stops it.", flush=True)
    await stopped.wait()
    await simulator.aclose()
    return 0
