"""A gateway as a process of its own, or as several."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson

PATIENCE = 20.0
"""Seconds after which a client, or a test, gives up."""


@asynccontextmanager
async def serving(configuration: Path, *, workers: int = 1) -> AsyncIterator[tuple[Process, str]]:
    """The gateway, or its supervisor, and its address. It is killed in the end, if it runs still."""
    command = (sys.executable, "-m", "gateway", "serve", "--config", str(configuration), "--port", "0")
    process = await asyncio.create_subprocess_exec(*command, "--workers", str(workers), stdout=PIPE, limit=2**20)
    assert process.stdout is not None
    draining: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            for _ in range(workers):
                while (said := orjson.loads(await process.stdout.readline()))["event"] != "ready":
                    pass
        draining = asyncio.get_running_loop().create_task(_drained(process.stdout))
        yield process, f"http://{said['address']}"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if draining is not None:
            await draining


async def _drained(output: asyncio.StreamReader) -> None:
    while await output.read(2**16):
        pass
